//! What the plan says of one ledger: horizon, ttl, limits and whether new sessions are granted.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::types::{Generation, LimitId};

/// Most limits of one ledger: with names of [`MAX_LIMIT_NAME`] bytes, promises and usage of all of
/// them stay below etcd's 1.5 MB.
pub const MAX_SETTINGS_LIMITS: usize = 4096;
/// Longest limit name in bytes: `grant/`, a namespace and a name of 63 characters each fit.
pub const MAX_LIMIT_NAME: usize = 136;
/// Longest horizon and ttl: beyond a month a lost seat is lost for good as far as people care.
pub const MAX_SETTING_DURATION: Duration = Duration::from_secs(31 * 24 * 3600);

/// Longest borrow: R11 may close what is lent for as long.
pub const MAX_BORROW: Duration = Duration::from_secs(366 * 24 * 3600);

/// How units are lent (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Borrowing {
    /// Most units lent at once: of all documents together, and so of each limit.
    pub max_units: NonZeroU32,
    /// Longest period of a document, in whole seconds.
    pub longest: Duration,
}

impl Borrowing {
    /// As many units and as long as either of them.
    fn or(self, other: Self) -> Self {
        Self { max_units: self.max_units.max(other.max_units), longest: self.longest.max(other.longest) }
    }
}

/// The order in which those who wait get units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// As they came.
    #[default]
    Fifo,
    /// The higher priority first; of one priority, as they came.
    Priority,
    /// The grant that uses the fewest units first; of one grant, as they came.
    FairShare,
}

/// The queue of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queueing {
    /// Most checkouts that wait; 0: none does.
    pub max_length: u32,
    /// Who is next.
    pub order: Order,
}

/// Something countable: the pool's seats, a grant's `max`, a tier's or a feature's seats. An id and a
/// name belong together for good: sessions are counted by id, and promised by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Its name in tokens.
    pub id: LimitId,
    /// Its name in the ledger.
    pub name: Arc<str>,
    /// Most units out at once, overdraft included; None: counted, but never limiting.
    pub cap: Option<u32>,
}

/// The settings of one ledger, checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    horizon: Duration,
    ttl: Duration,
    limits: Vec<Limit>,
    min_generation: Generation,
    longest_horizon: Duration,
    accepting: bool,
    borrowing: Option<Borrowing>,
    may_have_lent: Option<Borrowing>,
    queueing: Queueing,
    keeps_time: bool,
}

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Zero, too long, or not in whole milliseconds.
    #[error("{what} is {value:?}: give whole milliseconds, from 1 ms to 31 days")]
    Duration {
        /// `horizon` or `ttl`.
        what: &'static str,
        /// What was given.
        value: Duration,
    },
    /// The longest borrow is zero, too long, or not in whole seconds.
    #[error("longest borrow is {0:?}: give whole seconds, from 1 s to 366 days")]
    LongestBorrow(Duration),
    /// More limits than a ledger can hold.
    #[error("{0} limits, the most is {MAX_SETTINGS_LIMITS}: split the pool")]
    TooManyLimits(usize),
    /// Two limits of one name or id.
    #[error("limit {0:?} is given twice, by name or by id: name each limit once")]
    Twice(Arc<str>),
    /// A name of no length, or too long.
    #[error("limit name {0:?} is empty or longer than {MAX_LIMIT_NAME} bytes: shorten it")]
    Name(Arc<str>),
}

impl Settings {
    /// Settings that accept new sessions and lend nothing, of a ledger of which no generation was seen yet.
    pub fn new(horizon: Duration, ttl: Duration, limits: Vec<Limit>) -> Result<Self, SettingsError> {
        for (what, value) in [("horizon", horizon), ("ttl", ttl)] {
            let whole = value.subsec_nanos().is_multiple_of(1_000_000);
            if value.is_zero() || value > MAX_SETTING_DURATION || !whole {
                return Err(SettingsError::Duration { what, value });
            }
        }
        if limits.len() > MAX_SETTINGS_LIMITS {
            return Err(SettingsError::TooManyLimits(limits.len()));
        }
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for limit in &limits {
            if limit.name.is_empty() || limit.name.len() > MAX_LIMIT_NAME {
                return Err(SettingsError::Name(limit.name.clone()));
            }
            if !ids.insert(limit.id) || !names.insert(&limit.name) {
                return Err(SettingsError::Twice(limit.name.clone()));
            }
        }
        Ok(Self {
            horizon,
            ttl,
            limits,
            min_generation: Generation(0),
            longest_horizon: Duration::ZERO,
            accepting: true,
            borrowing: None,
            may_have_lent: None,
            queueing: Queueing::default(),
            keeps_time: false,
        })
    }

    /// With the last generation that anybody saw (R3, R11): a record that is missing or older was
    /// lost, and is recovered from as if every cap were out.
    pub fn with_min_generation(self, min_generation: Generation) -> Self {
        Self { min_generation, ..self }
    }

    /// With the longest horizon that somebody saw recorded: what a lost record spoke of lasts no longer (R11).
    pub fn with_longest_horizon(self, longest_horizon: Duration) -> Self {
        Self { longest_horizon, ..self }
    }

    /// With new sessions granted or not; renewals go on in either case.
    pub fn with_accepting(self, accepting: bool) -> Self {
        Self { accepting, ..self }
    }

    /// With units lent or not (R9); what is lent already stays so in either case. A lost ledger closes what may have been
    /// lent (R11) by this plan, or by an earlier one of this process.
    pub fn with_borrowing(self, borrowing: Option<Borrowing>) -> Result<Self, SettingsError> {
        match borrowing.map(|borrowing| borrowing.longest) {
            Some(longest) if longest.is_zero() || longest > MAX_BORROW || longest.subsec_nanos() > 0 => {
                Err(SettingsError::LongestBorrow(longest))
            }
            _ => Ok(Self { borrowing, ..self }.with_may_have_lent(borrowing)),
        }
    }

    /// With units that an earlier plan may have lent.
    pub(crate) fn with_may_have_lent(self, earlier: Option<Borrowing>) -> Self {
        let may_have_lent = match (self.may_have_lent, earlier) {
            (Some(this), Some(earlier)) => Some(this.or(earlier)),
            (this, earlier) => this.or(earlier),
        };
        Self { may_have_lent, ..self }
    }

    /// With a queue, for checkouts that wait for units.
    pub fn with_queueing(self, queueing: Queueing) -> Self {
        Self { queueing, ..self }
    }

    /// With the latest wall-clock time kept in the ledger or not: for plans of which something ends by it.
    pub fn with_time_kept(self, keeps_time: bool) -> Self {
        Self { keeps_time, ..self }
    }

    /// X: how long an owner may work without an acknowledged Lease renewal.
    pub fn horizon(&self) -> Duration {
        self.horizon
    }

    /// How long a session is valid at a time.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The limits in force.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The last generation that anybody saw.
    pub fn min_generation(&self) -> Generation {
        self.min_generation
    }

    /// The longest horizon that somebody saw recorded.
    pub fn longest_horizon(&self) -> Duration {
        self.longest_horizon
    }

    /// How units are lent; None: not at all.
    pub fn borrowing(&self) -> Option<Borrowing> {
        self.borrowing
    }

    /// The most that documents may be out for, by this plan or an earlier one; None: nothing was ever lent.
    pub(crate) fn may_have_lent(&self) -> Option<Borrowing> {
        self.may_have_lent
    }

    /// The queue.
    pub fn queueing(&self) -> Queueing {
        self.queueing
    }

    /// Whether the latest wall-clock time is kept.
    pub fn keeps_time(&self) -> bool {
        self.keeps_time
    }

    /// Whether new sessions are granted.
    pub fn accepting(&self) -> bool {
        self.accepting
    }
}
