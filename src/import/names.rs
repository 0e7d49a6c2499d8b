//! Names of old files → names that Kubernetes takes: lower-case letters, digits and hyphens.

use std::collections::HashMap;

/// Longest name of a LicensePool.
pub(super) const POOL_NAME: usize = 40;
/// Longest name of everything else.
pub(super) const LABEL: usize = 63;

/// The nearest label of at most `most` characters; empty where nothing of `text` can be kept.
pub(super) fn label(text: &str, most: usize) -> String {
    let mut label = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
        if label.len() >= most {
            break;
        }
    }
    label.trim_end_matches('-').to_owned()
}

/// The nearest name of a LicensePool: it begins with a letter.
pub(super) fn pool_name(text: &str) -> String {
    let name = label(text, POOL_NAME);
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name
    } else {
        label(&format!("pool-{name}"), POOL_NAME)
    }
}

/// Gives each name once.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Given names, each with the number that was last put behind it.
    given: HashMap<String, u32>,
}

impl Names {
    /// `wanted`, or, where that is given, with a number behind it.
    pub fn give(&mut self, wanted: String, most: usize) -> String {
        let wanted = if wanted.is_empty() { "unnamed".to_owned() } else { wanted };
        let mut name = wanted.clone();
        while self.given.contains_key(&name) {
            let number = self.given.entry(wanted.clone()).or_insert(1);
            *number += 1;
            let suffix = format!("-{number}");
            name = label(&wanted, most - suffix.len()) + &suffix;
        }
        self.given.insert(name.clone(), 1);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_the_nearest_label() {
        let long = "x".repeat(62) + "_y";
        for (text, name) in [
            ("RENDER", "render"),
            ("MSim_Pro+", "msim-pro"),
            ("__2D__", "2d"),
            ("größe", "gr-e"),
            ("日本", ""),
        ] {
            assert_eq!(label(text, LABEL), name);
        }
        assert_eq!(label(&long, LABEL), "x".repeat(62));
        assert_eq!(pool_name("3dsoft"), "pool-3dsoft");
        assert_eq!(pool_name("日本"), "pool");
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names = Names::default();
        let wanted = ["a", "a", "a-2", "a", ""].map(|name| names.give(name.to_owned(), LABEL));
        assert_eq!(wanted, ["a", "a-2", "a-2-2", "a-3", "unnamed"]);
        let long = "y".repeat(LABEL);
        names.give(long.clone(), LABEL);
        assert_eq!(names.give(long, LABEL), "y".repeat(LABEL - 2) + "-2");
    }
}
