//! The limits of an owner's ledger: every meter in one table, found by id and counted by slot.
//! Takes the plan's limits and what sessions take and free; gives what fits, and the promises to record.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::meter::{Fit, Meter};
use crate::record::{Borrowed, Record};
use crate::settings::{Limit, MAX_SETTINGS_LIMITS};
use crate::types::{LimitId, LimitSet};

/// Most meters: the plan's, and as many again of limits that only old sessions still touch.
const MAX_METERS: usize = 2 * MAX_SETTINGS_LIMITS;

/// A meter's place in the table; stable while anything is counted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(u32);

/// The meters that one session is counted on.
pub(crate) type Slots = SmallVec<[Slot; 4]>;

/// All meters of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    meters: Vec<Meter>,
    by_id: BTreeMap<LimitId, Slot>,
    plan: Vec<Slot>,
    free: Vec<Slot>,
    /// Promises found under names that the plan lacks; kept while recovering.
    foreign: BTreeMap<Arc<str>, u32>,
    /// Whether what earlier owners promised still counts (R4).
    recovering: bool,
    /// A promise is too small for what is wanted now, or soon.
    pub(crate) pressed: bool,
    /// Something was counted since the last full look at what to record.
    pub(crate) changed: bool,
    /// Clones noticed by all owners so far (R12): recorded with the usage.
    pub(crate) clones: u64,
    /// Checkouts in the queue: recorded with the usage.
    pub(crate) queued: u64,
}

impl Limits {
    /// The meters of a new owner whose fence wrote `record`.
    pub(crate) fn fenced(record: &Record, plan: &[Limit]) -> Self {
        let mut limits = Self {
            meters: Vec::new(),
            by_id: BTreeMap::new(),
            plan: Vec::new(),
            free: Vec::new(),
            foreign: record.promises.clone(),
            recovering: record.recovering,
            pressed: false,
            changed: false,
            clones: record.clones,
            queued: 0,
        };
        limits.configure(plan, record.borrowed.iter());
        if !limits.recovering {
            limits.foreign.clear();
        }
        limits
    }

    pub(crate) fn recovering(&self) -> bool {
        self.recovering
    }

    /// The plan's limits are these now.
    pub(crate) fn configure<'a>(&mut self, plan: &[Limit], lent: impl Iterator<Item = &'a Borrowed>) {
        for slot in std::mem::take(&mut self.plan) {
            self.meter_mut(slot).unplan();
        }
        self.forget_idle();
        for limit in plan {
            let slot = self.slot_of(limit.id);
            let promised = self.foreign.remove(&limit.name);
            let recovering = self.recovering;
            self.meter_mut(slot).plan(limit, promised, recovering);
            self.plan.push(slot);
        }
        lent.for_each(|entry| self.lend(entry));
        self.pressed = true;
        self.changed = true;
    }

    fn forget_idle(&mut self) {
        let idle: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, slot)| self.meter(**slot).idle())
            .map(|(id, s)| (*id, *s))
            .collect();
        for (id, slot) in idle {
            self.by_id.remove(&id);
            self.free.push(slot);
        }
    }

    fn slot_of(&mut self, id: LimitId) -> Slot {
        if let Some(slot) = self.by_id.get(&id) {
            return *slot;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.meter_mut(slot) = Meter::new(id);
                slot
            }
            None => {
                self.meters.push(Meter::new(id));
                Slot(self.meters.len() as u32 - 1)
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    fn meter(&self, slot: Slot) -> &Meter {
        &self.meters[slot.0 as usize]
    }

    fn meter_mut(&mut self, slot: Slot) -> &mut Meter {
        &mut self.meters[slot.0 as usize]
    }

    /// The meters of a new session's limits, or the first limit that the plan lacks.
    pub(crate) fn planned(&self, limits: &LimitSet) -> Result<Slots, LimitId> {
        limits
            .iter()
            .map(|id| self.by_id.get(&id).copied().filter(|slot| self.meter(*slot).planned()).ok_or(id))
            .collect()
    }

    /// The meters of an adopted session's limits, made where they lack; None when there are too many.
    pub(crate) fn adopted(&mut self, limits: &LimitSet) -> Option<Slots> {
        let missing = limits.iter().filter(|id| !self.by_id.contains_key(id)).count();
        if self.by_id.len() + missing > MAX_METERS {
            return None;
        }
        Some(limits.iter().map(|id| self.slot_of(id)).collect())
    }

    /// R9: the units of this entry are lent from now on.
    pub(crate) fn lend(&mut self, entry: &Borrowed) {
        self.each_named(entry, Meter::lend);
    }

    /// R9: the units of this entry may be used again.
    pub(crate) fn take_back(&mut self, entry: &Borrowed) {
        self.each_named(entry, Meter::take_back);
    }

    /// R10: whether more may be out of a limit that this entry touches than its cap.
    pub(crate) fn overfull(&self, entry: &Borrowed) -> bool {
        let named = |meter: &&Meter| meter.name().is_some_and(|name| entry.touches(name));
        self.plan().filter(named).any(|meter| meter.overfull(self.recovering))
    }

    fn each_named(&mut self, entry: &Borrowed, change: fn(&mut Meter, u64)) {
        for slot in &self.plan {
            let meter = &mut self.meters[slot.0 as usize];
            if meter.name().is_some_and(|name| entry.touches(name)) {
                change(meter, entry.count.get().into());
            }
        }
        self.changed = true;
    }

    /// The names behind `slots`.
    pub(crate) fn names(&self, slots: &Slots) -> Vec<Arc<str>> {
        slots.iter().filter_map(|slot| self.meter(*slot).name().cloned()).collect()
    }

    /// The ids behind `slots`.
    pub(crate) fn ids(&self, slots: &Slots) -> LimitSet {
        LimitSet::from_sorted(slots.iter().map(|slot| self.meter(*slot).id()).collect())
    }

    /// R6a: counts a session that an earlier owner handed over; its limits may not be the plan's.
    pub(crate) fn handed(&mut self, limits: &LimitSet, count: NonZeroU32) -> Slots {
        let slots = limits.iter().map(|id| self.slot_of(id)).collect();
        self.each(&slots, count, Meter::open);
        slots
    }

    /// Whether `count` more units of each fit, and the first limit that decides it.
    pub(crate) fn fit(&self, slots: &Slots, count: NonZeroU32) -> (Fit, Option<LimitId>) {
        let mut worst = (Fit::Fits, None);
        for slot in slots {
            let meter = self.meter(*slot);
            let fit = meter.fit(count.get().into(), self.recovering);
            if fit > worst.0 {
                worst = (fit, Some(meter.id()));
            }
        }
        worst
    }

    /// Those of the limits that have too few units for `count` more.
    pub(crate) fn full(&self, slots: &Slots, count: NonZeroU32) -> impl Iterator<Item = LimitId> {
        let meters = slots.iter().map(|slot| self.meter(*slot));
        meters.filter(move |meter| meter.fit(count.get().into(), self.recovering) == Fit::Full).map(Meter::id)
    }

    /// Whether `count` units of each could ever be had.
    pub(crate) fn possible(&self, limits: &LimitSet, count: NonZeroU32) -> bool {
        let meters = limits.iter().filter_map(|id| self.by_id.get(&id)).map(|slot| self.meter(*slot));
        meters.into_iter().all(|meter| meter.cap().is_none_or(|cap| count.get() <= cap))
    }

    /// Units of this limit that live sessions hold.
    pub(crate) fn used(&self, id: LimitId) -> u64 {
        self.by_id.get(&id).map_or(0, |slot| self.meter(*slot).live())
    }

    /// Whether `count` units of each are inside what earlier owners promised and nobody adopted yet,
    /// or the first limit where they are not (R5).
    pub(crate) fn adoptable(&self, slots: &Slots, count: NonZeroU32) -> Result<(), LimitId> {
        match slots.iter().map(|s| self.meter(*s)).find(|m| !m.adoptable(count.get().into())) {
            Some(meter) => Err(meter.id()),
            None => Ok(()),
        }
    }

    /// Whether units of this limit wait for the next Lease renewal (Q).
    pub(crate) fn frees_soon(&self, id: LimitId) -> bool {
        self.by_id.get(&id).is_some_and(|slot| self.meter(*slot).waits())
    }

    /// Applies `change` to each of the meters.
    pub(crate) fn each(&mut self, slots: &Slots, count: NonZeroU32, change: fn(&mut Meter, u64)) {
        for slot in slots {
            change(self.meter_mut(*slot), count.get().into());
        }
        self.changed = true;
        self.pressed = self.pressed || slots.iter().any(|s| self.meter(*s).short(self.recovering));
    }

    /// A Lease renewal is sent now (Q).
    pub(crate) fn lease_sent(&mut self) {
        self.meters.iter_mut().for_each(Meter::lease_sent);
    }

    /// The last Lease renewal sent is acknowledged (Q).
    pub(crate) fn lease_acknowledged(&mut self) {
        for meter in &mut self.meters {
            self.changed |= meter.lease_acknowledged();
        }
    }

    /// The write that ended recovery is acknowledged (R4).
    pub(crate) fn end_recovery(&mut self) {
        self.recovering = false;
        self.foreign.clear();
        self.meters.iter_mut().for_each(Meter::end_recovery);
        self.pressed = true;
        self.changed = true;
    }

    /// The promises to record now; lower ones only if `may_lower`, and never in recovery (R1).
    pub(crate) fn promises(&self, may_lower: bool) -> BTreeMap<Arc<str>, u32> {
        let mut promises = self.foreign.clone();
        let may_lower = may_lower && !self.recovering;
        for meter in &self.meters {
            if let (Some(name), Some(w)) = (meter.name(), meter.target(self.recovering, may_lower)) {
                promises.insert(name.clone(), w);
            }
        }
        promises
    }

    /// The usage to record now.
    pub(crate) fn usage(&self) -> BTreeMap<Arc<str>, u32> {
        let used = self.meters.iter().filter(|m| m.live() > 0);
        used.filter_map(|m| Some((m.name()?.clone(), u32::try_from(m.live()).unwrap_or(u32::MAX)))).collect()
    }

    /// A record with these promises is sent: a lowering is obeyed from now on.
    pub(crate) fn sent(&mut self, promises: &BTreeMap<Arc<str>, u32>) {
        for meter in &mut self.meters {
            let w = meter.name().and_then(|name| promises.get(name).copied());
            meter.sent(w);
        }
    }

    /// A record with these promises is known to be written, and nothing sent before can be any more.
    pub(crate) fn acknowledged(&mut self, promises: &BTreeMap<Arc<str>, u32>) {
        for meter in &mut self.meters {
            let w = meter.name().and_then(|name| promises.get(name).copied());
            meter.acknowledged(w);
        }
    }

    /// The plan's meters, in its order.
    pub(crate) fn plan(&self) -> impl Iterator<Item = &Meter> {
        self.plan.iter().map(|slot| self.meter(*slot))
    }
}
