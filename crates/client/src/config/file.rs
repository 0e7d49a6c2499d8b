//! Reading small text files: bounded, and with errors that say what the file is for.

use std::{fs::File, io::Read, path::Path};

use super::ConfigError;

/// Longest piece of a wrong value that an error repeats.
const EXCERPT: usize = 100;

/// The text of a file of at most `limit` bytes that holds `what`.
pub(super) fn text(path: &Path, what: &'static str, limit: u64) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { what, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(ConfigError::TooLarge { what, path: path.to_owned(), limit });
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText { what, path: path.to_owned() })
}

/// The beginning of a value, for an error.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(EXCERPT).collect()
}
