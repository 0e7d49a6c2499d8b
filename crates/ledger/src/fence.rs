//! The record that a new owner writes over the one it found, and how long its recovery lasts
//! (R3, R4, R6b, R11).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::borrowing::BORROW_SKEW;
use crate::canonical::Seq;
use crate::latest::{Wall, raised};
use crate::meter;
use crate::mutant::{Mutant, mutated};
use crate::record::{Borrowed, Record, Sealed, UnixSeconds};
use crate::settings::{Borrowing, Settings};
use crate::time::{BootInstant, stretch, stretch_twice};
use crate::types::{Generation, Holder, Nonce};

/// What a fence rests on besides the record that was found.
pub(crate) struct Basis<'a> {
    /// Since when this replica saw the Lease state that it replaced.
    pub(crate) replaced_seen: BootInstant,
    /// When the record was read.
    pub(crate) read_at: BootInstant,
    /// The wall clock, as far as it was told.
    pub(crate) wall: Wall,
    /// Processes known to have ended.
    pub(crate) evidence: &'a BTreeMap<Nonce, BootInstant>,
    /// Whose session table this replica holds.
    pub(crate) table: Option<&'a Sealed>,
}

/// The newest that this replica, or the plan, knows of the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) generation: Generation,
    /// The largest of that generation.
    pub(crate) seq: Seq,
    /// The longest that was recorded of what may be out.
    pub(crate) horizon: Duration,
}

/// A new owner's first record, and the earliest moment at which its recovery may end; None: there is
/// nothing to recover from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    pub(crate) record: Record,
    pub(crate) recovery_ends: Option<BootInstant>,
    /// Whose end, if it becomes known, would shorten the recovery (R6b).
    pub(crate) shortened_by: Option<Nonce>,
    /// Whose session table this owner begins with (R6a).
    pub(crate) table: Option<Sealed>,
}

/// The fence over `found`.
pub(crate) fn fence(
    found: Option<&Record>,
    me: &Holder,
    settings: &Settings,
    known: &Known,
    basis: &Basis<'_>,
) -> Fence {
    let found_generation = found.map_or(Generation(0), |record| record.generation);
    let older =
        found.is_some_and(|record| record.generation == known.generation && Seq(record.seq) < known.seq);
    let older = older && !mutated(Mutant::OlderSeqUnnoticed);
    let lost = older || found_generation < known.generation && !mutated(Mutant::RegressionUnnoticed);
    let recorded = found.filter(|_| !mutated(Mutant::PlannedHorizonOnly));
    let longer = |planned: Duration, recorded: Option<Duration>| planned.max(recorded.unwrap_or_default());
    let horizon = longer(settings.horizon(), recorded.map(Record::horizon));
    let remembered = lost && !mutated(Mutant::LongestHorizonForgotten);
    let horizon = longer(horizon, Some(known.horizon).filter(|_| remembered));
    let ttl = longer(settings.ttl(), recorded.map(|record| Duration::from_millis(record.ttl_ms)));
    // The shortcuts of R6 hold only for what is known to be the last owner's alone.
    let alone = found.filter(|record| !lost && (!record.recovering || mutated(Mutant::ShortcutFromRecovery)));
    let sealed = alone.and_then(seal);
    let table = sealed.filter(|sealed| holds(basis.table, sealed)).cloned();
    let recovery_ends = (table.is_none() && (found.is_some() || lost)).then(|| {
        let unstretched = mutated(Mutant::RecoveryUnstretched);
        let full = basis.replaced_seen + if unstretched { horizon } else { stretch(horizon) };
        let ended = alone.and_then(|record| ended_at(&record.holder.nonce, basis.evidence));
        let told = ended.into_iter().chain(sealed.map(|_| basis.read_at)).min();
        told.map_or(full, |told_at| full.min(told_at + stretch_twice(ttl)))
    });
    let generation = Generation(found_generation.max(known.generation).0 + 1);
    let mut borrowed = found.map(|record| record.borrowed.clone()).unwrap_or_default();
    if lost && !mutated(Mutant::LostLoansForgotten) {
        close_what_was_lent(&mut borrowed, generation, settings, basis.wall.latest);
    }
    let recorded = found.map(|record| record.latest_time).unwrap_or_default();
    let record = Record {
        generation,
        holder: me.clone(),
        seq: found.map_or(0, |record| record.seq) + 1,
        recovering: recovery_ends.is_some(),
        sealed: None,
        promises: promises(found, lost, settings),
        horizon_ms: horizon.as_millis() as u64,
        ttl_ms: ttl.as_millis() as u64,
        borrowed,
        usage: found.map(|record| record.usage.clone()).unwrap_or_default(),
        clones: found.map_or(0, |record| record.clones),
        queued: 0,
        latest_time: if settings.keeps_time() { raised(recorded, basis.wall) } else { recorded },
    };
    let shortened_by = alone.map(|record| record.holder.nonce.clone());
    Fence { record, recovery_ends, shortened_by, table }
}

/// The seal of this very owner, if it sealed.
fn seal(record: &Record) -> Option<&Sealed> {
    let own = |s: &&Sealed| s.generation == record.generation && s.nonce == record.holder.nonce;
    record.sealed.as_ref().filter(own)
}

fn holds(table: Option<&Sealed>, sealed: &Sealed) -> bool {
    table.is_some_and(|table| table == sealed || mutated(Mutant::AnyTableCounts))
}

fn ended_at(nonce: &Nonce, evidence: &BTreeMap<Nonce, BootInstant>) -> Option<BootInstant> {
    match mutated(Mutant::AnyEvidenceCounts) {
        true => evidence.values().next().copied(),
        false => evidence.get(nonce).copied(),
    }
}

/// R10: what was found, and what was in use of a limit that had no cap, and so no promise, where the plan has a cap below it
/// now: the cap takes nothing away. (As of the last write of the usage, some seconds ago at the most.)
fn found_promises(record: &Record, settings: &Settings) -> BTreeMap<Arc<str>, u32> {
    let mut promises = record.promises.clone();
    for limit in settings.limits() {
        let above = record.usage.get(&limit.name).filter(|used| limit.cap.is_some_and(|cap| **used > cap));
        if let Some(used) = above {
            promises.entry(limit.name.clone()).or_insert(*used);
        }
    }
    promises
}

/// W as it was found; no entry where the record was lost, so that each limit counts as its cap.
fn promises(found: Option<&Record>, lost: bool, settings: &Settings) -> BTreeMap<Arc<str>, u32> {
    match found {
        _ if lost && !mutated(Mutant::RegressedPromisesCount) => BTreeMap::new(),
        Some(record) => found_promises(record, settings),
        None => {
            let capped = settings.limits().iter().filter_map(|l| Some((l.name.clone(), l.cap?)));
            capped.map(|(name, cap)| (name, meter::ahead(cap))).collect()
        }
    }
}

/// R11: one entry stands for all documents that may be out, known ones too: together they are no more than
/// may be lent at once. It counts on every limit until the longest of them has ended; without a wall clock,
/// until its end is known. An earlier one of its kind is part of it.
fn close_what_was_lent(
    borrowed: &mut Vec<Borrowed>,
    generation: Generation,
    settings: &Settings,
    wall: Option<UnixSeconds>,
) {
    let Some(Borrowing { max_units, longest }) = settings.may_have_lent() else { return };
    let ends = wall.map_or(UnixSeconds::NEVER, |wall| wall.plus(longest).plus(BORROW_SKEW));
    let mut lost = Borrowed::lost(generation, max_units, ends);
    for earlier in borrowed.extract_if(.., |entry| entry.is_lost()) {
        lost.count = lost.count.max(earlier.count);
        lost.ends = lost.ends.max(earlier.ends);
    }
    borrowed.push(lost);
}
