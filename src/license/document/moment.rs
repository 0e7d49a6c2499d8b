//! Moments as people write them: RFC 3339, the same sentence for whatever is none.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Why a text is not a moment.
#[derive(Debug, thiserror::Error)]
#[error("a moment must be a date and a time of day, such as 2027-12-31T00:00:00Z")]
pub struct ParseMomentError;

/// Reads a moment.
pub fn moment(text: &str) -> Result<Timestamp, ParseMomentError> {
    text.parse().map_err(|_| ParseMomentError)
}

pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| moment(&text)).transpose().map_err(D::Error::custom)
}
