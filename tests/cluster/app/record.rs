//! What a worker of the witness says of its seat: a line of JSON each. Written by the witness, read by the judge.

use serde::{Deserialize, Serialize};

/// One thing that happened to one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When: milliseconds since the machine started (CLOCK_BOOTTIME), which all nodes of one kernel share.
    pub(crate) t: u64,
    /// Kind, feature and number.
    pub(crate) worker: String,
    /// The feature that its seat has.
    pub(crate) feature: String,
    /// What.
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened. Moments and durations are in milliseconds; `took` counts from the call to its outcome, with all of
/// the client's own retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A seat was given, and is believed in from now on until then.
    Held { until: u64, took: u64 },
    /// It is believed in until then.
    Renewed { until: u64 },
    /// A renewal failed, and is tried again.
    CutOff { why: String },
    /// It is not believed in anymore.
    Lost { why: String },
    /// It is not believed in anymore; the server has not been told yet.
    GivenBack,
    /// The server was told.
    Returned { took: u64 },
    /// The server judged that there is no seat now.
    Refused { why: String, took: u64 },
    /// The client gave up.
    Failed { why: String, took: u64 },
}
