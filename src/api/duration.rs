//! Durations as users write them: `90s`, `10m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration written as numbers with units `h`, `m`, `s`, `ms`, largest first (the form of Gateway API's
/// GEP-2257, which CEL's `duration()` reads too).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiDuration(Duration);

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a duration: write numbers with units, such as 90s, 10m or 1h30m")]
pub struct ParseDurationError(String);

impl ApiDuration {
    /// Wraps whole milliseconds; what is below one is dropped.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Wraps whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The plain duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for ApiDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| ParseDurationError(text.chars().take(40).collect()))
    }
}

fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&n| n > 0 && n <= 9)?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| n + digits);
        let millis = match &rest[digits..unit_end] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &rest[unit_end..];
    }
    Some(total)
}

impl fmt::Display for ApiDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if left >= millis {
                write!(f, "{}{unit}", left / millis)?;
                left %= millis;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ApiDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ApiDuration {
    type Error = ParseDurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ApiDuration> for String {
    fn from(duration: ApiDuration) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for ApiDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]{1,9}(h|m|s|ms)){1,4}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_as_people_write_it_and_prints_the_same() {
        for text in ["0s", "90s", "10m", "1h30m", "1500ms"] {
            let duration: ApiDuration = text.parse().unwrap();
            let again: ApiDuration = duration.to_string().parse().unwrap();
            assert_eq!(duration, again, "{text}");
        }
        assert_eq!("1h30m".parse::<ApiDuration>().unwrap().get(), Duration::from_secs(5400));
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence_that_says_what_to_write() {
        for text in ["", "10", "m", "10 m", "-5s", "1d", "9999999999s"] {
            let error = text.parse::<ApiDuration>().unwrap_err().to_string();
            assert!(error.contains("such as 90s"), "{error}");
        }
    }
}
