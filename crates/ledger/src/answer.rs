//! What clients ask for and what they are told.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::record::Borrowed;
use crate::time::BootInstant;
use crate::types::{Claim, Generation, GrantId, LimitId, LimitSet, OperationId};

/// A request for `count` units of each of `limits`, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckoutRequest<M> {
    /// The client's name for this call; a retry carries the same.
    pub operation: OperationId,
    /// The grant it is made under.
    pub grant: GrantId,
    /// The limits that the session will touch.
    pub limits: LimitSet,
    /// Units it takes of each.
    pub count: NonZeroU32,
    /// What the caller wants to remember of the session.
    pub meta: M,
    /// How it waits where there are too few units; None: it is denied at once.
    pub wait: Option<Wait>,
}

/// How a checkout waits for units, where the plan has a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// Until when; then it is denied.
    pub until: BootInstant,
    /// The place that this operation had before, at this owner or an earlier one.
    pub place: Option<Place>,
    /// The higher, the earlier ([`Order::Priority`](crate::Order::Priority)).
    pub priority: u32,
    /// The limit whose units are compared ([`Order::FairShare`](crate::Order::FairShare)): that of the grant.
    pub share: LimitId,
}

/// A place in the queue of a ledger: an earlier owner's places come first, and of one owner's the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The owner that gave it.
    pub generation: Generation,
    /// From 1.
    pub number: u64,
}

/// A place in the line of those whose answer depends on a write of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct Ticket(pub u64);

impl Ticket {
    /// The next one of `drawn` so far.
    pub(crate) fn draw(drawn: &mut u64) -> Self {
        let ticket = Self(*drawn);
        *drawn += 1;
        ticket
    }
}

/// An answer, or the promise of one by [`Replica::take_completion`](crate::Replica::take_completion).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Tell the client this.
    Answer(Answer),
    /// The answer depends on a write that is under way.
    Wait(Ticket),
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The session is the client's.
    Granted {
        /// What the new token says.
        claim: Claim,
        /// How long it is valid, from the client's first send of this operation; ρ is subtracted.
        valid_for: Duration,
        /// When the client should renew, counted likewise.
        renew_after: Duration,
        /// Whether the session was taken over from an earlier owner by this very call (R5).
        adopted: bool,
    },
    /// No, and a retry alone will not change it.
    Denied {
        /// Why.
        reason: Denial,
    },
    /// The units are the client's until the end that the document states, without a server (R9). The entry
    /// is in the ledger.
    Lent {
        /// What the document says.
        borrowed: Borrowed,
        /// The owner that answers; the document shows it when it is given back.
        generation: Generation,
    },
    /// The session, or the borrowed document, is over, now or already before.
    Returned,
    /// It waits for units, and has to call again, with the same operation and this place.
    Queued {
        /// Its place, which it keeps over a change of owners.
        place: Place,
        /// How many get units before it, and one.
        position: u32,
    },
    /// Ask the owner.
    NotOwner {
        /// Where it is, if this replica knows.
        address: Option<Arc<str>>,
    },
    /// Not now; retry with the same operation id.
    Unavailable {
        /// After this long.
        retry_after: Duration,
    },
}

/// Why a client was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// A limit has too few units free.
    NoUnits {
        /// The first such limit.
        limit: LimitId,
        /// Whether units that earlier owners promised still count (R4).
        in_recovery: bool,
        /// When units come back at the latest known moment, if one is known.
        retry_after: Option<Duration>,
    },
    /// The pool grants nothing new for now; renewals go on.
    NotAccepting,
    /// The plan in force has no such limit.
    UnknownLimit {
        /// The limit asked for.
        limit: LimitId,
    },
    /// The session has run out, or was checked in.
    SessionExpired,
    /// The session was revoked; its last token is good until it runs out.
    SessionRevoked,
    /// The presented token was renewed already, by another operation: two programs use one session (R12).
    CloneDetected,
    /// A session of an earlier owner that this owner never took over.
    SessionUnknown,
    /// The plan lends no units.
    BorrowingOff,
    /// The end asked for is past, or further off than the plan lends units for.
    BorrowPeriod {
        /// The longest period.
        longest: Duration,
    },
    /// As many units, or documents, are lent as may be.
    BorrowLimit,
}

impl Answer {
    pub(crate) fn denied(reason: Denial) -> Self {
        Self::Denied { reason }
    }
}
