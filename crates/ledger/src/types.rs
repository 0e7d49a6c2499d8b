//! The names and numbers that the protocol speaks of: who owns, what a token claims, which units.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::record::UnixSeconds;

/// Number of ownerships of one ledger so far; grows by one at each takeover. 0: nobody ever owned it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Fresh name of one owner process; a restart is a new one, and it is never used again after a stop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Nonce(pub Arc<str>);

impl Nonce {
    /// What tokens carry of it.
    pub fn issuer(&self) -> Issuer {
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
        Issuer(self.0.bytes().fold(2_166_136_261, mix))
    }
}

/// Which process issued a token: a hash (FNV-1a) of its nonce. Tells apart two owners of one generation, which there are
/// where the ledger was set back (R11); that it does not, once in 4 billion times, loses a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct Issuer(pub u32);

/// The store's opaque version of an object (resourceVersion): equal or not, never ordered. It must
/// change with every write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct Version(pub Arc<str>);

/// A limit as tokens name it: stable over restarts, owners and changes of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u64);

/// The grant under which a session was checked out; the protocol only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct GrantId(pub u64);

/// A mutating call as its client names it; a retry carries the same id (R8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct OperationId(pub u128);

/// A session, unique over all owners of a ledger: the generation that granted it and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct SessionId(pub u64);

impl SessionId {
    /// Half of 44 bits lasts 2 years at 100,000 checkouts a second; the 20 bits left for the generation come
    /// round after a million takeovers, when no token of the first is valid any more.
    const COUNTER_BITS: u32 = 44;

    /// Where an owner begins to count: two owners of one generation (R11) must not give out the same ids. In the lower half.
    pub(crate) fn first_of(issuer: Issuer) -> u64 {
        u64::from(issuer.0) << (Self::COUNTER_BITS - 1 - u32::BITS)
    }

    /// The id of the `counter`-th session of `origin`, or None when the counter is used up.
    pub fn new(origin: Generation, counter: u64) -> Option<Self> {
        (counter >> Self::COUNTER_BITS == 0).then_some(Self(origin.0 << Self::COUNTER_BITS | counter))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counter = self.0 & ((1 << Self::COUNTER_BITS) - 1);
        write!(f, "{}-{}", self.0 >> Self::COUNTER_BITS, counter)
    }
}

/// The process that owns, or wants to own, a ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The process's fresh name.
    pub nonce: Nonce,
    /// UID of its Pod; empty outside a cluster.
    pub pod_uid: Arc<str>,
    /// Name of its Pod; empty outside a cluster.
    pub pod_name: Arc<str>,
    /// Name of its Node, or of the host.
    pub node: Arc<str>,
    /// Where other replicas reach it, as `host:port`.
    pub address: Arc<str>,
    /// When its process started, by its node's wall clock, rounded up; 0: unknown. Nothing but evidence of
    /// its end (R6b) reads it, to tell two processes of one Pod apart.
    #[serde(default)]
    pub started: UnixSeconds,
}

/// How many limits one session may touch: pool, grant, tier, the user's own, and a dozen features.
pub const MAX_LIMITS: usize = 16;

/// The limits that one session touches: sorted, each once, at most [`MAX_LIMITS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitSet(SmallVec<[LimitId; 4]>);

/// A session asked for more than [`MAX_LIMITS`] limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session touches {0} limits, the most is {MAX_LIMITS}: ask for fewer features at once")]
pub struct TooManyLimits(pub usize);

impl LimitSet {
    /// The set of `limits`, or an error when it holds too many.
    pub fn new(limits: impl IntoIterator<Item = LimitId>) -> Result<Self, TooManyLimits> {
        let mut set = SmallVec::<[LimitId; 4]>::new();
        let mut seen = 0;
        for limit in limits {
            seen += 1;
            match set.binary_search(&limit) {
                Ok(_) => {}
                Err(_) if set.len() == MAX_LIMITS => return Err(TooManyLimits(seen)),
                Err(at) => set.insert(at, limit),
            }
        }
        Ok(Self(set))
    }

    /// `limits` taken from a set before, still ascending.
    pub(crate) fn from_sorted(limits: SmallVec<[LimitId; 4]>) -> Self {
        debug_assert!(limits.is_sorted() && limits.len() <= MAX_LIMITS);
        Self(limits)
    }

    /// The limits, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = LimitId> + '_ {
        self.0.iter().copied()
    }

    /// How many limits the set holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set holds no limit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a MAC'd token says about its session; encoding and MAC are the caller's, and so is the check
/// of the MAC before a claim is shown to a [`Replica`](crate::Replica).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The generation of the owner that issued the token; not always the one that granted the session.
    pub generation: Generation,
    /// That owner.
    pub issuer: Issuer,
    /// The session.
    pub session: SessionId,
    /// How often the session was renewed (by any owner).
    pub counter: u32,
    /// Units it takes of each of its limits.
    pub count: NonZeroU32,
    /// The grant it was checked out under.
    pub grant: GrantId,
    /// The limits that it touches.
    pub limits: LimitSet,
}
