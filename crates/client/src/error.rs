//! What can go wrong with a question to genie-lm: a verdict against the caller, a server that could not be asked, or
//! a configuration that does not say whom to ask.

use std::time::Duration;

use genie_proto::v1::{self, Code, Verdict};
use thiserror::Error;

use crate::config::ConfigError;

/// Why there is no seat, or no answer.
#[derive(Debug, Error)]
pub enum Error {
    /// The server judged, and the caller may not run.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The server could not be asked, or could not judge.
    #[error(transparent)]
    Transport(#[from] Transport),
    /// What is needed to ask was not found, or is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Error {
    /// Whether the same question may be answered otherwise later.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Denied(denied) => denied.retryable,
            Error::Transport(transport) => transport.retryable(),
            Error::Config(_) => false,
        }
    }

    /// When the server says to ask again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Denied(denied) => denied.retry_after,
            Error::Transport(transport) => transport.retry_after(),
            Error::Config(_) => None,
        }
    }
}

/// A verdict that is not AUTHORIZED.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{} ({}): {message}", verdict.as_str_name(), code.as_str_name())]
pub struct Denied {
    /// DENIED or EXPIRED.
    pub verdict: Verdict,
    /// Why; each has a section in the documentation of verdicts.
    pub code: Code,
    /// A sentence for a person.
    pub message: String,
    /// Whether it may change by itself.
    pub retryable: bool,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

/// The server could not be asked, or could not judge.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Transport {
    /// No address of the server could be connected to.
    #[error(
        "cannot reach the license server at {server} ({reason}); check that it runs, and that this is its address"
    )]
    Connect {
        /// Its URI.
        server: String,
        /// Each address tried, and what happened there.
        reason: String,
    },
    /// The server did not answer in time.
    #[error("the license server at {server} did not answer within {:.1} s; try again, and look at its health", .after.as_secs_f32())]
    NoAnswer {
        /// Its URI.
        server: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server answered that it cannot judge this call.
    #[error("the license server at {server} {}: {message}{}", finding(*code), advice(*code))]
    Status {
        /// Its URI.
        server: String,
        /// The gRPC status.
        code: tonic::Code,
        /// What the server says.
        message: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The answer came when the seat that it gave had already run out.
    #[error("the license server at {server} answered too late: the seat had run out; try again")]
    TooLate {
        /// Its URI.
        server: String,
    },
}

impl Transport {
    /// The same, with the whole wait instead of the last attempt's.
    pub(crate) fn after(self, waited: Duration) -> Self {
        match self {
            Self::NoAnswer { server, .. } => Self::NoAnswer { server, after: waited },
            other => other,
        }
    }

    /// Whether another attempt may succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Transport::Connect { .. } | Transport::NoAnswer { .. } | Transport::TooLate { .. } => true,
            Transport::Status { code, .. } => !matches!(
                code,
                tonic::Code::InvalidArgument
                    | tonic::Code::Unimplemented
                    | tonic::Code::OutOfRange
                    | tonic::Code::Unauthenticated
                    | tonic::Code::PermissionDenied
            ),
        }
    }

    /// Whether the next attempt should be with another replica: not where this one is only busy, since a new
    /// connection would make it busier.
    pub(crate) fn is_for_another_replica(&self) -> bool {
        let busy = matches!(self, Transport::Status { code: tonic::Code::ResourceExhausted, .. });
        self.retryable() && !busy
    }

    /// When the server says to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Transport::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What a status says of the server.
fn finding(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::NotFound => {
            "refused the request"
        }
        Code::Unauthenticated | Code::PermissionDenied => "does not accept this caller",
        Code::Unimplemented => "does not know this call",
        Code::ResourceExhausted => "is busy",
        Code::Internal | Code::Unknown | Code::DataLoss => "failed",
        _ => "cannot answer now",
    }
}

/// What to do about it, where its message cannot know it.
fn advice(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Unauthenticated | Code::PermissionDenied => {
            "; check the key or token, and that it is for this server"
        }
        Code::Unimplemented => {
            "; check that this is the address of a license server, and that it is not older than this program"
        }
        Code::Internal | Code::Unknown | Code::DataLoss => "; try again, and look into the log of the server",
        Code::ResourceExhausted => "; try again later",
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::NotFound => "",
        _ => "; try again",
    }
}

/// An answer with a verdict.
pub trait Judged: Sized {
    /// The verdict where it is not AUTHORIZED.
    fn denied(&self) -> Option<Denied>;

    /// The answer where the verdict is AUTHORIZED.
    ///
    /// # Errors
    /// The verdict is another one.
    fn authorized(self) -> Result<Self, Denied> {
        match self.denied() {
            None => Ok(self),
            Some(denied) => Err(denied),
        }
    }
}

macro_rules! judged {
    ($($answer:ident),*) => {$(
        impl Judged for v1::$answer {
            fn denied(&self) -> Option<Denied> {
                (self.verdict() != Verdict::Authorized).then(|| Denied {
                    verdict: self.verdict(),
                    code: self.code(),
                    message: self.message.clone(),
                    retryable: self.retryable,
                    retry_after: self.retry_after.as_ref().and_then(duration),
                })
            }
        }
    )*};
}

judged!(ActivateResponse, ValidateResponse, CheckoutResponse, RenewResponse, CheckinResponse);

/// A duration of the wire; None where it is negative or not normal.
pub(crate) fn duration(wire: &pbjson_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_in_words_and_with_what_to_do() {
        let said = |code| {
            let (server, message) = ("https://a:1453".into(), "no".into());
            Transport::Status { server, code, message, retry_after: None }.to_string()
        };
        for code in (1..=16).map(tonic::Code::from) {
            assert!(!said(code).contains(&format!("{code:?}")), "{}", said(code));
        }
        assert_eq!(
            said(tonic::Code::Unavailable),
            "the license server at https://a:1453 cannot answer now: no; try again"
        );
        assert!(said(tonic::Code::Unimplemented).contains("address of a license server"));
    }
}
