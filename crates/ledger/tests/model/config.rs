//! The bounds of one search: how many processes and clients, which clocks, how much of each fault.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::*;

use super::client::{ClientMutant, True};
use crate::support::{FEATURE, POOL, limit, secs, settings};

/// How often each thing may still happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Steps of time.
    pub time: u8,
    /// Calls of clients, retries included.
    pub calls: u8,
    /// Store requests that are not answered at once: anything may happen before they are carried out,
    /// and again before the answer arrives.
    pub slow: u8,
    /// Store requests of unknown outcome: never, at once or later carried out.
    pub lost: u8,
    /// Times that a replica is cut off from the store.
    pub cuts: u8,
    /// Client messages that are lost, late or doubled.
    pub net: u8,
    pub crashes: u8,
    pub releases: u8,
    /// Owners that stop and give their table to another replica.
    pub handovers: u8,
    /// Fresh processes in place of those that ended.
    pub processes: u8,
    /// Sights of the Lease or the ledger by watch.
    pub watches: u8,
    /// Sights of an older Lease or ledger than the store's.
    pub stale: u8,
    pub takeovers: u8,
    pub revokes: u8,
    /// Leases that are deleted and made again.
    pub leases: u8,
    /// Ledgers that are deleted and made again, or set back to what they said before.
    pub losses: u8,
    /// Ledgers that are set back to what they said before in the same generation.
    pub setbacks: u8,
}

/// What one client asks for, and what its clock counts in 100 true seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    pub limits: LimitSet,
    pub count: u32,
    pub rate: u32,
    /// For how long it borrows; None: it checks out.
    pub borrows: Option<Duration>,
}

impl Asks {
    pub fn units(&self) -> NonZeroU32 {
        NonZeroU32::new(self.count).expect("at least one unit")
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    /// The plan, and what it is changed to, in order.
    pub plans: Vec<Settings>,
    /// All clocks stand still between multiples of this.
    pub grain: Duration,
    /// What each process's clock counts in 100 true seconds.
    pub rates: Vec<u32>,
    pub clients: Vec<Asks>,
    pub budget: Budget,
    /// Whether it becomes known that a process has ended.
    pub evidence: bool,
    /// The rules that are switched off.
    pub mutants: Vec<Mutant>,
    pub client_mutant: Option<ClientMutant>,
    /// Whether a replica that was cut off may reach the store again.
    pub heals: bool,
    /// Processes that never wake by themselves: they do nothing but answer calls.
    pub sleepers: Vec<usize>,
    /// Whether the ledger is new; else the first process owns it already.
    pub fresh: bool,
    /// Whether what clients hold must be in the ledger's promises too; not where ledgers are lost.
    pub strict: bool,
    /// Whether every replica that is not cut off sees each write of the ledger at once.
    pub prompt: bool,
    /// Whether the operator notices a ledger that was set back within a generation, and tells everybody.
    pub told: bool,
    /// Whether it is looked at that no two operations renew one session from one counter (R12).
    pub clones: bool,
}

/// ttl and L are two grains and X is four, on the clocks that make them so: a replica's own at 110 %,
/// a client's at 90 %, and X at 90 % for an owner that is cut off.
pub const GRAIN: Duration = secs_const(5);
pub const TTL: Duration = secs_const(10);
pub const X: Duration = secs_const(20);

const fn secs_const(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub fn pool(cap: u32) -> Settings {
    settings(X, TTL, vec![limit(POOL, "pool", cap)])
}

pub fn pool_and_feature(pool: u32, feature: u32) -> Settings {
    settings(X, TTL, vec![limit(POOL, "pool", pool), limit(FEATURE, "feature", feature)])
}

pub fn asks(limits: &[LimitId], count: u32) -> Asks {
    Asks {
        limits: LimitSet::new(limits.iter().copied()).expect("few limits"),
        count,
        rate: 90,
        borrows: None,
    }
}

/// A client that borrows a unit of the pool for as long as one grain is on wall clocks; it may work with it
/// for two, since its wall clock is behind by the margin.
pub fn borrows() -> Asks {
    Asks { borrows: Some(BORROW_SKEW), ..asks(&[POOL], 1) }
}

/// Wall clocks go on so fast that a grain is the margin for their skew; no boot clock knows of it.
pub fn wall(now: True) -> UnixSeconds {
    UnixSeconds(1_800_000_000 + now.as_secs() * BORROW_SKEW.as_secs() / GRAIN.as_secs())
}

impl Config {
    /// A world without faults, of these processes' clock rates and so many clients of one unit.
    pub fn new(plan: Settings, rates: &[u32], clients: usize, time: u8, calls: u8) -> Self {
        Self {
            plans: vec![plan],
            grain: GRAIN,
            rates: rates.to_vec(),
            clients: vec![asks(&[POOL], 1); clients],
            budget: Budget { time, calls, takeovers: 1, ..Budget::default() },
            evidence: false,
            mutants: vec![Mutant::LeaseTakenAtAnyTime],
            client_mutant: None,
            heals: true,
            sleepers: Vec::new(),
            fresh: false,
            strict: true,
            prompt: false,
            told: false,
            clones: false,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Budget)) -> Self {
        change(&mut self.budget);
        self.strict = self.budget.losses + self.budget.setbacks == 0;
        self
    }

    /// Its first owner wakes no more, and nobody who is cut off comes back: smaller, for one fault.
    pub fn directed(mut self) -> Self {
        self.heals = false;
        self.sleepers = vec![0];
        self
    }

    pub fn also(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Longer than anything is looked back to.
    pub fn far(&self) -> Duration {
        let longest = self.plans.iter().map(|plan| plan.horizon().max(plan.ttl())).max();
        stretch(stretch(stretch(longest.unwrap_or_default().max(LEASE_DURATION)))) + secs(1)
    }

    /// All plans lend one unit, for up to `longest`.
    pub fn lending(mut self, longest: Duration) -> Self {
        let borrowing = Borrowing { max_units: NonZeroU32::MIN, longest };
        let lends = |plan: Settings| plan.with_borrowing(Some(borrowing)).expect("a short time");
        self.plans = self.plans.into_iter().map(lends).collect();
        self
    }

    pub fn lends(&self) -> bool {
        self.plans.iter().any(|plan| plan.borrowing().is_some())
    }

    /// Every limit of any plan, with the largest cap that it has in any.
    pub fn limits(&self) -> Vec<(LimitId, Arc<str>, u32)> {
        let mut all: Vec<(LimitId, Arc<str>, u32)> = Vec::new();
        for limit in self.plans.iter().flat_map(|plan| plan.limits()) {
            let cap = limit.cap.unwrap_or(u32::MAX);
            match all.iter_mut().find(|(id, ..)| *id == limit.id) {
                Some((_, _, most)) => *most = cap.max(*most),
                None => all.push((limit.id, limit.name.clone(), cap)),
            }
        }
        all
    }
}
