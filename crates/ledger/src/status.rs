//! What a replica says about itself: views for status pages, metrics and logs.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::meter::Meter;
use crate::replica::{Phase, Replica};
use crate::time::BootInstant;
use crate::types::{Generation, GrantId, Holder, LimitId, SessionId};

/// The part that a replica plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Watches the owner.
    Follower,
    /// Is taking over.
    Candidate,
    /// Decides.
    Owner,
    /// Was told to stop and gives up the Lease; serves no more.
    Leaving,
    /// Is done for good; the driver may make a new replica with a fresh nonce.
    Stopped(StopReason),
}

/// Why a replica stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It was told to.
    Released,
    /// Its Lease was deleted, or is another object now.
    LeaseGone,
    /// Another process holds the Lease.
    LeaseTaken,
    /// The ledger's record is gone, older than its own, or of another owner.
    Fenced,
    /// A client showed a token of a newer generation (R5).
    NewerToken,
    /// A client showed a token of another owner of its own generation: the ledger was set back (R11).
    RivalToken,
}

/// A replica's view of its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The part it plays.
    pub role: Role,
    /// The owner as far as it knows; itself, when it is.
    pub owner: Option<Holder>,
    /// The last generation it knows of; [`Replica::anew`](crate::Replica::anew) passes it on.
    pub generation: Option<Generation>,
    /// Whether it is the owner and its horizon is not reached (R2).
    pub serving: bool,
    /// Owner only: until when what earlier owners promised counts as used, at least.
    pub recovery_ends: Option<BootInstant>,
    /// Owner only: until when it can issue tokens without another Lease renewal (R2).
    pub horizon_ends: Option<BootInstant>,
    /// Owner only: live sessions.
    pub sessions: usize,
    /// Owner only: checkouts that wait for a promise to be raised.
    pub waiting: usize,
    /// Owner only: checkouts that wait for units.
    pub queued: usize,
    /// Owner only: its limits, in the order of the plan.
    pub limits: Vec<LimitStatus>,
}

/// One limit in an owner's [`Status`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitStatus {
    /// Its name in tokens.
    pub id: LimitId,
    /// Its name in the ledger.
    pub name: Arc<str>,
    /// The plan's cap.
    pub cap: Option<u32>,
    /// Units that live sessions hold.
    pub in_use: u64,
    /// Units of borrowed documents, and of entries whose write is undecided (R9); where the ledger was lost,
    /// of all that may have been lent (R11).
    pub borrowed: u64,
    /// The promise that may be used now; None: none is recorded.
    pub promised: Option<u32>,
    /// max(cap, W + borrowed): what may be out until a lower W is acknowledged (R10).
    pub in_force: Option<u32>,
}

/// One live session of an owner.
#[derive(Debug, PartialEq, Eq)]
pub struct SessionView<'a, M> {
    /// The session.
    pub session: SessionId,
    /// Its grant.
    pub grant: GrantId,
    /// Units it takes of each of its limits.
    pub count: NonZeroU32,
    /// How often it was renewed.
    pub counter: u32,
    /// When this owner's clock ends it unless it is renewed.
    pub expires: BootInstant,
    /// Whether it was revoked and only its last token is left.
    pub revoked: bool,
    /// What the caller remembers of it.
    pub meta: &'a M,
}

impl<M> Replica<M> {
    /// The part it plays.
    pub fn role(&self) -> Role {
        match &self.phase {
            Phase::Seeking(seeking) if seeking.is_candidate() => Role::Candidate,
            Phase::Seeking(_) => Role::Follower,
            Phase::Owner(_) => Role::Owner,
            Phase::Leaving(_) => Role::Leaving,
            Phase::Stopped(reason) => Role::Stopped(*reason),
        }
    }

    /// The last generation that it knows of, from the ledger or from a token.
    pub fn generation(&self) -> Option<Generation> {
        let shown = Some(self.shown).filter(|shown| shown.0 > 0);
        self.owner.as_ref().map(|(generation, _)| *generation).max(shown)
    }

    /// What this replica knows. Cheap for a few limits; not for every call of a client.
    pub fn status(&self, now: BootInstant) -> Status {
        let owner = match &self.phase {
            Phase::Owner(owner) => Some(owner),
            _ => None,
        };
        let me = owner.map(|_| &self.me);
        Status {
            role: self.role(),
            owner: me.or(self.known_owner()).cloned(),
            generation: self.generation(),
            serving: owner.is_some_and(|o| now < o.horizon_ends(&self.settings)),
            recovery_ends: owner.and_then(|o| o.recovery_ends),
            horizon_ends: owner.map(|o| o.horizon_ends(&self.settings)),
            sessions: owner.map_or(0, |o| o.seats.sessions.len()),
            waiting: owner.map_or(0, |o| o.waiting.len()),
            queued: owner.map_or(0, |o| o.queue.len()),
            limits: owner.map_or(Vec::new(), |o| o.seats.limits.plan().filter_map(Meter::status).collect()),
        }
    }

    /// The owner's live sessions; none elsewhere. A session that has run out is among them until the
    /// next call that has the time.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView<'_, M>> {
        let owner = match &self.phase {
            Phase::Owner(owner) => Some(owner),
            _ => None,
        };
        owner.into_iter().flat_map(|o| o.seats.sessions.iter()).map(|(session, s)| SessionView {
            session,
            grant: s.grant,
            count: s.count,
            counter: s.counter,
            expires: s.expires,
            revoked: s.revoked,
            meta: &s.meta,
        })
    }
}
