//! Versions of applications: numbers with dots between, compared number by number.

use std::{borrow::Cow, cmp::Ordering, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

const MAX_PARTS: usize = 4;
const MAX_DIGITS: usize = 9;
const MAX_LENGTH: usize = MAX_PARTS * (MAX_DIGITS + 1) - 1;

/// A version such as `2026.1`. What is left out counts as 0, so `2` and `2.0` are the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    parts: [u32; MAX_PARTS],
}

/// Why a text is not a version.
#[derive(Debug, thiserror::Error)]
#[error("a version must be one to four numbers with dots between, such as \"2026.1\"")]
pub struct ParseVersionError;

impl Version {
    /// The same for versions that are the same: `2` for `2.0` and for `02`.
    pub fn normal(&self) -> String {
        let used = self.parts.iter().rposition(|part| *part > 0).map_or(1, |last| last + 1);
        self.parts[..used].iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = [0; MAX_PARTS];
        for (i, part) in text.split('.').enumerate() {
            let digits = (1..=MAX_DIGITS).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
            let number = Some(part).filter(|_| digits).and_then(|part| part.parse().ok());
            *parts.get_mut(i).ok_or(ParseVersionError)? = number.ok_or(ParseVersionError)?;
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl TryFrom<String> for Version {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts.cmp(&other.parts)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Version {}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": MAX_LENGTH,
            "pattern": r"^[0-9]{1,9}([.][0-9]{1,9}){0,3}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("2026.10") > version("2026.9"));
        assert!(version("10") > version("9.9.9.9"));
        assert_eq!(version("2"), version("2.0.0"));
        for (text, normal) in [("2.0", "2"), ("02.10", "2.10"), ("0.0", "0"), ("2026.0.1", "2026.0.1")] {
            assert_eq!(version(text).normal(), normal);
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", ".", "1.", "v1", "1.2.3.4.5", "1-2", "+1", "1234567890"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
