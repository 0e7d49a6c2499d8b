//! Verdicts put into words: a code for programs, and a sentence for people that says what to do next.

use std::time::Duration;

use genie_ledger::{Answer, Denial};
use genie_proto::v1::{self, Code, Verdict};
use jiff::Timestamp;

use super::error::CallError;
use super::pool::Pool;
use crate::license::{Judgment, PlanView};

/// When nobody owns a pool: a takeover takes about this long (lease 10 s, noticed within it).
pub(crate) const TAKEOVER_RETRY: Duration = Duration::from_secs(1);
/// When seats are short and the ledger does not know when one comes back.
const SEAT_RETRY: Duration = Duration::from_secs(5);

/// The common part of every answer.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    pub(crate) verdict: Verdict,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) retryable: bool,
    pub(crate) retry_after: Option<pbjson_types::Duration>,
    /// Of ends that are near.
    pub(crate) warnings: Vec<String>,
}

impl From<&Judgment> for Words {
    fn from(judgment: &Judgment) -> Self {
        plain(judgment.verdict, judgment.code, judgment.message.clone()).warning(judgment)
    }
}

impl Words {
    /// The same, with what else is to be told of the caller's grant.
    pub(crate) fn warning(self, judgment: &Judgment) -> Self {
        Self { warnings: judgment.warnings.clone(), ..self }
    }
}

/// Every response begins with the same five fields; most have warnings. The rest is empty.
macro_rules! respond_with_words {
    ($($response:ident $($warnings:ident)?),*) => {$(
        #[allow(clippy::needless_update)] // where there is no rest
        impl From<Words> for v1::$response {
            fn from(words: Words) -> Self {
                Self {
                    verdict: words.verdict.into(),
                    code: words.code.into(),
                    message: words.message,
                    retryable: words.retryable,
                    retry_after: words.retry_after,
                    $($warnings: words.warnings,)?
                    ..Self::default()
                }
            }
        }
    )*};
}

respond_with_words!(
    ActivateResponse warnings,
    ValidateResponse warnings,
    CheckoutResponse warnings,
    RenewResponse warnings,
    CheckinResponse
);

fn plain(verdict: Verdict, code: Code, message: impl Into<String>) -> Words {
    Words {
        verdict,
        code,
        message: message.into(),
        retryable: false,
        retry_after: None,
        warnings: Vec::new(),
    }
}

/// Neither key nor product exists as far as this caller is told.
pub(crate) fn unknown_key() -> Words {
    plain(
        Verdict::Denied,
        Code::UnknownKey,
        "No license is known for this product and key; check both, or ask for a new key.",
    )
}

/// Whoever holds a token or session of ours may know that it ended.
pub(crate) fn revoked() -> Words {
    plain(Verdict::Denied, Code::Revoked, "This grant or its key was withdrawn; ask for a new one.")
}

pub(crate) fn session_unknown() -> Words {
    plain(Verdict::Denied, Code::SessionUnknown, "This session is not known here; check a seat out again.")
}

pub(crate) fn returned() -> Words {
    plain(Verdict::Authorized, Code::Ok, "The seat was given back.")
}

/// Words for everything that the ledger answers but a grant, to a call for `count` seats.
pub(crate) fn refusal(view: &PlanView, count: u32, answer: Answer) -> Words {
    match answer {
        Answer::Denied { reason: Denial::NoUnits { limit, in_recovery, retry_after } } => {
            let name = view.limit_name(limit).unwrap_or("seats");
            no_units(view, name, count, in_recovery, retry_after.unwrap_or(SEAT_RETRY))
        }
        Answer::Denied { reason: Denial::NotAccepting } => plain(
            Verdict::Denied,
            Code::Suspended,
            format!("The pool of {} grants no new seats for now; ask who runs it.", view.plan.product),
        ),
        Answer::Denied { reason: Denial::SessionExpired } => plain(
            Verdict::Expired,
            Code::SessionExpired,
            "The session ran out before it was renewed; check a seat out again.",
        ),
        Answer::Denied { reason: Denial::CloneDetected } => plain(
            Verdict::Denied,
            Code::CloneDetected,
            "Another program has renewed this session; each program must check out a seat of its own.",
        ),
        Answer::Denied { reason: Denial::SessionRevoked } => {
            plain(Verdict::Denied, Code::Revoked, "This session was ended by an administrator.")
        }
        Answer::Denied { reason: Denial::UnknownLimit { .. } } => Words {
            retryable: true,
            retry_after: Some(duration(TAKEOVER_RETRY)),
            ..plain(Verdict::Denied, Code::NoSeats, "The pool has just changed; try again.")
        },
        _ => session_unknown(),
    }
}

/// It waits in the queue, and is to call again at once.
pub(crate) fn queued(view: &PlanView, position: u32) -> Words {
    let product = &view.plan.product;
    let message = format!(
        "Place {position} in the queue for {product}; call again with the same operationId and the queueTicket within 5 s to keep it."
    );
    Words {
        retryable: true,
        retry_after: Some(duration(Duration::ZERO)),
        ..plain(Verdict::Denied, Code::Queued, message)
    }
}

fn no_units(view: &PlanView, limit: &str, count: u32, in_recovery: bool, retry_after: Duration) -> Words {
    let product = &view.plan.product;
    let cap = view.settings().limits().iter().find(|l| *l.name == *limit).and_then(|l| l.cap).unwrap_or(0);
    let (code, what) = match limit.split_once('/') {
        Some(("grant", _)) => (Code::GrantLimit, "of this grant".to_owned()),
        Some(("tier", tier)) => (Code::TierLimit, format!("of tier {tier}")),
        Some(("feature", limit)) => (
            Code::FeatureLimit,
            match limit.split_once('>') {
                Some((feature, version)) => format!("of feature {feature} for versions above {version}"),
                None => format!("of feature {limit}"),
            },
        ),
        _ => (Code::NoSeats, format!("of {product}")),
    };
    if count > cap {
        let message =
            format!("There are {cap} seats {what}, and this asks for {count} at once: ask for fewer.");
        return plain(Verdict::Denied, code, message);
    }
    let seconds = retry_after.as_secs().max(1);
    let (code, message) = match in_recovery {
        true => (
            Code::Recovering,
            format!(
                "Seats {what} that were given out before a server was lost still count; try again in {seconds} s."
            ),
        ),
        false => (code, format!("Too few of the {cap} seats {what} are free; try again in {seconds} s.")),
    };
    Words {
        retryable: true,
        retry_after: Some(duration(retry_after)),
        ..plain(Verdict::Denied, code, message)
    }
}

/// A token of ours for a pool that this replica does not serve yet, or any more; or of a key that it has not got yet.
pub(crate) fn not_served_here() -> CallError {
    CallError::Unavailable {
        message: "this server cannot serve the session now; retry with the same operation id".into(),
        retry_after: TAKEOVER_RETRY,
    }
}

/// Nobody decides for this pool now.
pub(crate) fn unavailable(pool: &Pool, retry_after: Duration) -> CallError {
    CallError::Unavailable {
        message: format!(
            "no server decides for {} right now; retry with the same operation id",
            pool.id.product
        ),
        retry_after,
    }
}

pub(crate) fn duration(duration: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Whole milliseconds, rounded down: nobody needs more, and JSON stays short.
        nanos: i32::try_from(duration.subsec_millis() * 1_000_000).unwrap_or(0),
    }
}

pub(crate) fn timestamp(time: Timestamp) -> genie_proto::Timestamp {
    genie_proto::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}
