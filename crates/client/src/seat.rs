//! One held seat as a pure state machine (rules R7 and R8 of the seat protocol): takes the time and the server's
//! answers, says what to send when, and until when the seat may be used. No I/O, no clock.
//!
//! Validity counts from the first send of an operation. A retry carries the same operation id, because the server
//! takes another one for a clone. A seat that ran out is never renewed, and a late answer never revives it.

use std::time::Duration;

use genie_proto::v1::{Client, Code, RenewRequest, RenewResponse};

use crate::{
    clock::BootInstant,
    error::{Denied, Judged, Transport, duration},
    retry::{Jitter, pause},
};

/// Renewals are spread over the last tenth of the wait, so that seats taken together drift apart.
const EARLIEST_RENEWAL: f64 = 0.9;

/// Whether the seat may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It may, and renewals succeed.
    Valid {
        /// Until when without another renewal.
        until: BootInstant,
    },
    /// It still may, but is not being renewed.
    CutOff {
        /// Until when.
        until: BootInstant,
        /// What went wrong with the last renewal.
        why: String,
    },
    /// It may not, and never will again.
    Lost(Loss),
}

/// Why a seat is no longer held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server refused to renew it.
    Refused(Denied),
    /// It ran out before a renewal succeeded.
    RanOut {
        /// What went wrong with the last renewal.
        why: String,
    },
    /// It was given back.
    GivenBack,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Refused(denied) if denied.code == Code::CloneDetected => f.write_str(
                "another copy of this process renewed the same seat (CLONE_DETECTED), as a restored snapshot or \
                 checkpoint does, and one seat is for one of them: start each copy anew, so that it takes a seat of \
                 its own",
            ),
            Loss::Refused(denied) => write!(f, "the license server does not renew the seat: {denied}"),
            Loss::RanOut { why } => write!(f, "the seat ran out: {why}"),
            Loss::GivenBack => f.write_str("the seat was given back"),
        }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing until then.
    Wait(BootInstant),
    /// Send this, and drop it when the seat runs out meanwhile.
    Send(RenewRequest),
    /// The seat is no longer held.
    Over(Loss),
}

/// A held seat.
#[derive(Debug)]
pub(crate) struct Seat {
    token: String,
    until: BootInstant,
    next_send: BootInstant,
    renewal: Option<Renewal>,
    /// Who to name in the next renewal, where the server asked for it.
    client: Client,
    want_client: bool,
    refused: Option<Denied>,
    failed: Option<String>,
}

/// A renewal that was begun and not answered.
#[derive(Debug)]
struct Renewal {
    operation: String,
    first_sent: BootInstant,
    failures: u32,
}

impl Seat {
    /// A seat from the answer to a checkout first sent at `first_sent`.
    pub(crate) fn new(
        token: String,
        first_sent: BootInstant,
        valid_for: Duration,
        renew_after: Duration,
        client: Client,
        jitter: Jitter,
    ) -> Seat {
        Seat {
            token,
            until: first_sent + valid_for,
            next_send: first_sent + jitter.shorten(renew_after, EARLIEST_RENEWAL),
            renewal: None,
            client,
            want_client: false,
            refused: None,
            failed: None,
        }
    }

    pub(crate) fn until(&self) -> BootInstant {
        self.until
    }

    /// The token for the check-in, given up with the seat.
    pub(crate) fn into_token(self) -> String {
        self.token
    }

    pub(crate) fn state(&self, now: BootInstant) -> State {
        let until = self.until;
        match (self.over(now), &self.refused, &self.failed) {
            (Some(loss), ..) => State::Lost(loss),
            (_, Some(denied), _) => State::CutOff { until, why: denied.to_string() },
            (.., Some(why)) => State::CutOff { until, why: why.clone() },
            _ => State::Valid { until },
        }
    }

    fn over(&self, now: BootInstant) -> Option<Loss> {
        match &self.refused {
            Some(denied) if now >= self.until || at_once(denied) => Some(Loss::Refused(denied.clone())),
            None if now >= self.until => {
                let why = self.failed.clone().unwrap_or_else(|| "it was not renewed in time".to_owned());
                Some(Loss::RanOut { why })
            }
            _ => None,
        }
    }

    /// What to do at `now`; `operation` makes the id of a new renewal.
    pub(crate) fn step(&mut self, now: BootInstant, operation: impl FnOnce() -> String) -> Step {
        if let Some(loss) = self.over(now) {
            return Step::Over(loss);
        }
        if self.refused.is_some() {
            return Step::Wait(self.until);
        }
        if now < self.next_send {
            return Step::Wait(self.next_send.min(self.until));
        }
        let renewal = self.renewal.get_or_insert_with(|| Renewal {
            operation: operation(),
            first_sent: now,
            failures: 0,
        });
        Step::Send(RenewRequest {
            session: self.token.clone(),
            operation_id: renewal.operation.clone(),
            client: self.want_client.then(|| self.client.clone()),
        })
    }

    /// Takes the answer to what `step` said to send, at the moment of its arrival.
    pub(crate) fn answered(
        &mut self,
        now: BootInstant,
        answer: Result<RenewResponse, Transport>,
        jitter: Jitter,
    ) {
        if self.over(now).is_some() {
            return;
        }
        match answer {
            Err(transport) => self.failed(now, transport.to_string(), transport.retry_after(), jitter),
            Ok(answer) => match answer.denied() {
                None => self.renewed(now, answer, jitter),
                Some(denied) if denied.retryable => {
                    self.failed(now, denied.to_string(), denied.retry_after, jitter);
                }
                Some(denied) => self.refused = Some(denied),
            },
        }
    }

    fn failed(&mut self, now: BootInstant, why: String, server_says: Option<Duration>, jitter: Jitter) {
        self.failed = Some(why);
        if let Some(renewal) = &mut self.renewal {
            self.next_send = now + pause(renewal.failures, server_says, jitter);
            renewal.failures = renewal.failures.saturating_add(1);
        }
    }

    fn renewed(&mut self, now: BootInstant, answer: RenewResponse, jitter: Jitter) {
        let Some(renewal) = self.renewal.take() else { return };
        let wire =
            |field: Option<pbjson_types::Duration>| field.as_ref().and_then(duration).unwrap_or_default();
        let (valid_for, renew_after) = (wire(answer.valid_for), wire(answer.renew_after));
        // An earlier answer's end still holds: a retry is answered with what remains, counted from the first send
        // of all the same, and the server keeps a session to its latest end.
        self.until = self.until.max(renewal.first_sent + valid_for);
        self.next_send = renewal.first_sent + jitter.shorten(renew_after, EARLIEST_RENEWAL);
        if self.next_send <= now {
            self.next_send = now + pause(0, None, jitter);
        }
        if !answer.session.is_empty() {
            self.token = answer.session;
        }
        self.want_client = answer.want_client;
        self.failed = None;
    }
}

/// The server knows no such session, or another process holds it: there is nothing left to use.
fn at_once(denied: &Denied) -> bool {
    matches!(denied.code, Code::SessionExpired | Code::SessionUnknown | Code::CloneDetected)
}

#[cfg(test)]
#[path = "seat_properties.rs"]
mod properties;
#[cfg(test)]
#[path = "seat_tests.rs"]
mod tests;
