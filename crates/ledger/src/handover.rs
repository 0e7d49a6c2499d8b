//! R6a: the session table of an owner that has stopped for good, on its way to its successor.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::record::Sealed;
use crate::settings::MAX_SETTINGS_LIMITS;
use crate::types::{GrantId, LimitId, LimitSet, OperationId, SessionId};

/// What an owner that was told to stop leaves behind. It is good for the ledger that is sealed with
/// exactly this generation and nonce, and for no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handover<M> {
    /// Whose table it is.
    pub sealed: Sealed,
    /// All live sessions.
    pub sessions: Vec<HandedSession<M>>,
}

/// One session in a [`Handover`]. The two durations count from the moment the table was made, on the
/// clock of the owner that made it; who takes them counts them anew from the receipt, which is later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandedSession<M> {
    /// The session.
    pub session: SessionId,
    /// Its grant.
    pub grant: GrantId,
    /// Units it takes of each of its limits.
    pub count: NonZeroU32,
    /// The limits that it touches.
    pub limits: LimitSet,
    /// The checkout that opened it (R8), unless it was adopted.
    pub opened: Option<OperationId>,
    /// The last call that was answered with a token (R8).
    pub last: OperationId,
    /// How often it was renewed.
    pub counter: u32,
    /// Whether it was revoked and only its last token is left.
    pub revoked: bool,
    /// What is left of its last token, ρ not subtracted.
    pub left: Duration,
    /// How long until its units are free by time; ρ is in it already (Q).
    pub counted: Duration,
    /// What the caller remembers of it.
    pub meta: M,
}

impl<M> Handover<M> {
    /// Whether a successor can count all of it: no more limits than a plan may have.
    pub(crate) fn fits(&self) -> bool {
        let mut limits: BTreeSet<LimitId> = BTreeSet::new();
        self.sessions.iter().all(|session| {
            limits.extend(session.limits.iter());
            limits.len() <= MAX_SETTINGS_LIMITS
        })
    }
}
