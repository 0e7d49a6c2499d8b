//! What is not a verdict: calls that could not be judged. Maps to gRPC statuses and to HTTP problems alike.

use std::time::Duration;

use http::StatusCode;
use tonic::{Code, Status};

/// Why a call could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The request is malformed; says what to write instead.
    #[error("{0}")]
    Invalid(String),
    /// Not in this version.
    #[error("{0}")]
    Unimplemented(&'static str),
    /// Nobody can answer now.
    #[error("{message}")]
    Unavailable {
        /// What is going on, and what to do.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
}

impl CallError {
    /// The HTTP status, RFC 9457 title and gRPC code.
    pub(crate) fn kind(&self) -> (StatusCode, &'static str, Code) {
        match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "bad request", Code::InvalidArgument),
            Self::Unimplemented(_) => (StatusCode::NOT_IMPLEMENTED, "not implemented", Code::Unimplemented),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Code::Unavailable),
        }
    }

    /// When to try again, where trying again helps.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Invalid(_) | Self::Unimplemented(_) => None,
        }
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let mut status = Self::new(error.kind().2, error.to_string());
        if let Some(after) = error.retry_after() {
            let millis = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
            status.metadata_mut().insert("retry-after-ms", millis.into());
        }
        status
    }
}
