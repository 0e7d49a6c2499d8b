//! One limit's counts: who takes its units, what is promised, and which units wait to be used again.

use std::sync::Arc;

use crate::mutant::{Mutant, mutated};
use crate::settings::Limit;
use crate::status::LimitStatus;
use crate::types::LimitId;

/// A promise is raised ahead of need by this fraction of the cap (R1).
const AHEAD_FRACTION: u32 = 16;

/// How far a promise is raised ahead of need. Nothing in a small pool: what is promised and unused is
/// what a successor cannot give out.
pub(crate) fn ahead(cap: u32) -> u32 {
    cap / AHEAD_FRACTION
}

/// Whether more units of a limit can be given out; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fit {
    /// Yes, now.
    Fits,
    /// Yes, once a larger promise is known to be written.
    NeedsPromise,
    /// No.
    Full,
}

/// One limit's counts, in units.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Meter {
    id: LimitId,
    /// None: only old sessions speak of it, and no plan of this owner ever did.
    name: Option<Arc<str>>,
    cap: Option<u32>,
    planned: bool,
    /// Held by live sessions.
    live: u64,
    /// Out by this owner, units that wait under Q included; after recovery, adopted ones too.
    floating: u64,
    /// Adopted in this recovery, and live (R5).
    adopted: u64,
    /// Adopted in this recovery, and ended: part of W_old until its end.
    spent: u64,
    /// W_old: what earlier owners promised; None: their record lacks it, so it counts as the cap (R4).
    base: Option<u32>,
    /// Lent, or about to be (R9).
    borrowed: u64,
    /// Asked for by checkouts that wait for a larger promise.
    reserved: u64,
    /// Freed by time since the last Lease renewal was sent (Q).
    freed: u64,
    /// Freed by time before the last Lease renewal was sent, and not yet acknowledged (Q).
    covered: u64,
    /// The least that the record may say now: last acknowledged or sent since; None: maybe nothing.
    usable: Option<u32>,
    /// The most that the record may say now.
    highest: u32,
}

impl Meter {
    pub(crate) fn new(id: LimitId) -> Self {
        Self {
            id,
            name: None,
            cap: None,
            planned: false,
            live: 0,
            floating: 0,
            adopted: 0,
            spent: 0,
            base: None,
            borrowed: 0,
            reserved: 0,
            freed: 0,
            covered: 0,
            usable: None,
            highest: 0,
        }
    }

    /// The plan has this limit; `promised` is what an earlier owner recorded, if it is news. What is lent
    /// of it is counted anew.
    pub(crate) fn plan(&mut self, limit: &Limit, promised: Option<u32>, recovering: bool) {
        self.name = Some(limit.name.clone());
        self.cap = if mutated(Mutant::LoweredCapIgnored) { self.cap.max(limit.cap) } else { limit.cap };
        self.planned = true;
        self.borrowed = 0;
        if let Some(w) = promised {
            (self.usable, self.highest) = (Some(w), w);
            self.base = recovering.then_some(w);
        }
    }

    /// The plan lacks this limit.
    pub(crate) fn unplan(&mut self) {
        self.planned = false;
        if !mutated(Mutant::LoweredCapIgnored) {
            self.cap = None;
        }
    }

    pub(crate) fn id(&self) -> LimitId {
        self.id
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    pub(crate) fn cap(&self) -> Option<u32> {
        self.cap
    }

    pub(crate) fn planned(&self) -> bool {
        self.planned
    }

    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Whether nothing is lost when this meter is forgotten.
    pub(crate) fn idle(&self) -> bool {
        let counted = self.floating + self.adopted + self.spent + self.reserved;
        !self.planned && counted == 0 && self.usable.is_none() && self.base.is_none()
    }

    fn old(&self, cap: u32) -> u64 {
        let missing = if mutated(Mutant::MissingCountsNothing) { 0 } else { cap };
        u64::from(self.base.unwrap_or(missing)).max(self.adopted)
    }

    /// What counts against the promise: all that may be out.
    fn taken(&self, cap: u32, recovering: bool) -> u64 {
        let recovering = recovering && !mutated(Mutant::OldUncounted);
        self.floating + if recovering { self.old(cap) } else { 0 }
    }

    /// R1, R4: whether `count` more units stay within the cap, and within the promise.
    pub(crate) fn fit(&self, count: u64, recovering: bool) -> Fit {
        let Some(cap) = self.cap else { return Fit::Fits };
        let after = self.taken(cap, recovering) + count;
        if after + self.borrowed + self.reserved > u64::from(cap) {
            Fit::Full
        } else if after > u64::from(self.usable.unwrap_or(0)) && !mutated(Mutant::UseBeforePromise) {
            Fit::NeedsPromise
        } else {
            Fit::Fits
        }
    }

    /// R5: whether `count` more adopted units are inside what earlier owners promised. Those that have ended are not among
    /// them: an earlier owner that goes on inside its promise may have heard of the end as well, and given them out again.
    pub(crate) fn adoptable(&self, count: u64) -> bool {
        self.cap.is_none_or(|cap| self.adopted + count <= u64::from(self.base.unwrap_or(cap)))
    }

    pub(crate) fn lend(&mut self, count: u64) {
        self.borrowed += count;
    }

    pub(crate) fn take_back(&mut self, count: u64) {
        self.borrowed -= count;
    }

    /// Whether more may be out than the cap.
    pub(crate) fn overfull(&self, recovering: bool) -> bool {
        self.cap.is_some_and(|cap| self.taken(cap, recovering) + self.borrowed > cap.into())
    }

    /// What the cap leaves for floating units.
    fn room(&self, cap: u32) -> u32 {
        u32::try_from(u64::from(cap).saturating_sub(self.borrowed)).unwrap_or(0)
    }

    /// A new session of this owner.
    pub(crate) fn open(&mut self, count: u64) {
        self.live += count;
        self.floating += count;
    }

    /// A session of an earlier owner goes on here.
    pub(crate) fn adopt(&mut self, count: u64) {
        self.live += count;
        self.adopted += count;
    }

    /// The client gave the units back: they are free at once.
    pub(crate) fn give_back(&mut self, count: u64) {
        self.live -= count;
        self.floating -= count;
    }

    /// The session ran out: its units wait for the next Lease renewal.
    pub(crate) fn run_out(&mut self, count: u64) {
        if mutated(Mutant::RunOutReusedAtOnce) {
            return self.give_back(count);
        }
        self.live -= count;
        self.freed += count;
    }

    /// An adopted session ended in recovery: its units are free after it.
    pub(crate) fn spend(&mut self, count: u64) {
        self.live -= count;
        self.adopted -= count;
        if mutated(Mutant::AdoptedFreesEarly) {
            self.base = self.base.map(|base| base.saturating_sub(count as u32));
        } else {
            self.spent += count;
        }
    }

    /// A checkout waits for a larger promise.
    pub(crate) fn reserve(&mut self, count: u64) {
        self.reserved += count;
    }

    /// It waits no more.
    pub(crate) fn unreserve(&mut self, count: u64) {
        self.reserved -= count;
    }

    /// Whether units wait under Q.
    pub(crate) fn waits(&self) -> bool {
        self.freed + self.covered > 0
    }

    pub(crate) fn lease_sent(&mut self) {
        self.covered += std::mem::take(&mut self.freed);
    }

    /// Whether units came free.
    pub(crate) fn lease_acknowledged(&mut self) -> bool {
        let free = std::mem::take(&mut self.covered);
        self.floating -= free;
        free > 0
    }

    /// What was adopted counts as this owner's; what ended of it waits under Q like all that time freed, as far as
    /// it is inside W_old.
    pub(crate) fn end_recovery(&mut self) {
        let adopted = std::mem::take(&mut self.adopted);
        let most = self.base.take().or(self.cap).map_or(u64::MAX, u64::from);
        let waits = std::mem::take(&mut self.spent).min(most.saturating_sub(adopted));
        self.floating += adopted + waits;
        self.freed += waits;
    }

    /// Whether the promise should be raised now.
    pub(crate) fn short(&self, recovering: bool) -> bool {
        let Some(cap) = self.cap else { return false };
        match self.usable {
            None => !recovering,
            Some(w) => {
                let need = self.taken(cap, recovering) + self.reserved;
                need > u64::from(w)
                    || (w < self.room(cap) && u64::from(w) - need < u64::from(ahead(cap)).div_ceil(2))
            }
        }
    }

    /// The promise to record now. A limit that the fenced record lacked stays missing in recovery, so
    /// that a next owner counts it as its cap too.
    pub(crate) fn target(&self, recovering: bool, may_lower: bool) -> Option<u32> {
        let Some(cap) = self.cap else {
            return self.usable.filter(|_| !may_lower);
        };
        let Some(w) = self.usable else {
            let known = !recovering || mutated(Mutant::MissingCountsNothing);
            return known.then(|| self.enough(cap, recovering));
        };
        let spare = u64::from(w).saturating_sub(self.taken(cap, recovering) + self.reserved);
        if self.short(recovering) {
            Some(w.max(self.enough(cap, recovering)))
        } else if may_lower && (spare > 2 * u64::from(ahead(cap)) || w > self.room(cap)) {
            let enough = if mutated(Mutant::LowerBelowUse) { 0 } else { self.enough(cap, recovering) };
            Some(w.min(enough))
        } else {
            Some(w)
        }
    }

    /// Enough for what is out and wanted, and a chunk ahead within what the cap leaves.
    fn enough(&self, cap: u32, recovering: bool) -> u32 {
        let need = self.taken(cap, recovering) + self.reserved;
        let roomy = need + u64::from(ahead(cap));
        u32::try_from(roomy.min(self.room(cap).into()).max(need)).unwrap_or(u32::MAX)
    }

    /// A record with the promise `w` is sent.
    pub(crate) fn sent(&mut self, w: Option<u32>) {
        if !mutated(Mutant::LowerUnobeyed) {
            self.usable = self.usable.zip(w).map(|(usable, w)| usable.min(w));
        }
        self.highest = self.highest.max(w.unwrap_or(0));
    }

    /// A record with the promise `w` is known to be the one.
    pub(crate) fn acknowledged(&mut self, w: Option<u32>) {
        self.usable = w;
        self.highest = w.unwrap_or(0);
    }

    /// R10: the caps and promises as people see them. Only for a planned limit.
    pub(crate) fn status(&self) -> Option<LimitStatus> {
        let in_force = u32::try_from(u64::from(self.highest) + self.borrowed).unwrap_or(u32::MAX);
        Some(LimitStatus {
            id: self.id,
            name: self.name.clone()?,
            cap: self.cap,
            in_use: self.live,
            borrowed: self.borrowed,
            promised: self.usable,
            in_force: self.cap.map(|cap| cap.max(in_force)),
        })
    }
}
