//! `google.protobuf.Timestamp` with the JSON form that proto3 gives it: RFC 3339, in UTC, ending in `Z`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// A moment: seconds since 1970 in UTC, and nanoseconds that count forward from there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// From 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::new(self.seconds, self.nanos).map_err(S::Error::custom)?;
        serializer.collect_str(&time)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        let nanos = time.subsec_nanosecond();
        // jiff counts the nanoseconds of a moment before 1970 backward.
        let borrow = i64::from(nanos < 0);
        Ok(Self {
            seconds: time.as_second() - borrow,
            nanos: if nanos < 0 { nanos + 1_000_000_000 } else { nanos },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn json_is_in_utc_and_reads_back() {
        for (seconds, nanos, text) in [
            (4_102_358_400, 0, "\"2099-12-31T00:00:00Z\""),
            (0, 500_000_000, "\"1970-01-01T00:00:00.5Z\""),
            (-2, 500_000_000, "\"1969-12-31T23:59:58.5Z\""),
        ] {
            let time = Timestamp { seconds, nanos };
            assert_eq!(serde_json::to_string(&time).unwrap(), text);
            assert_eq!(serde_json::from_str::<Timestamp>(text).unwrap(), time);
        }
        let offset: Timestamp = serde_json::from_str("\"2100-01-01T01:00:00+01:00\"").unwrap();
        assert_eq!(offset.seconds, 4_102_444_800);
    }
}
