//! The record that a new owner writes over the one it found, and how long its recovery lasts
//! (R3, R4, R6b, R11).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::meter;
use crate::mutant::{Mutant, mutated};
use crate::record::Record;
use crate::settings::Settings;
use crate::time::{BootInstant, stretch, stretch_twice};
use crate::types::{Generation, Holder, Nonce};

/// A new owner's first record, and the earliest moment at which its recovery may end; None: there is
/// nothing to recover from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    pub(crate) record: Record,
    pub(crate) recovery_ends: Option<BootInstant>,
}

/// The fence over `found`, by a replica that saw the Lease state it replaced since `replaced_seen`.
/// `known` is the last generation that it, or the plan, knows of.
pub(crate) fn fence(
    found: Option<&Record>,
    me: &Holder,
    settings: &Settings,
    known: Generation,
    replaced_seen: BootInstant,
    evidence: &BTreeMap<Nonce, BootInstant>,
) -> Fence {
    let found_generation = found.map_or(Generation(0), |record| record.generation);
    let lost = found_generation < known && !mutated(Mutant::RegressionUnnoticed);
    let longer =
        |planned: Duration, recorded: Option<u64>| planned.max(Duration::from_millis(recorded.unwrap_or(0)));
    let longer = |planned, recorded| {
        if mutated(Mutant::PlannedHorizonOnly) { planned } else { longer(planned, recorded) }
    };
    let horizon = longer(settings.horizon(), found.map(|record| record.horizon_ms));
    let ttl = longer(settings.ttl(), found.map(|record| record.ttl_ms));
    let recovery_ends = (found.is_some() || lost).then(|| {
        let full =
            replaced_seen + if mutated(Mutant::RecoveryUnstretched) { horizon } else { stretch(horizon) };
        // R6b holds only for what is known to be the last owner's alone.
        let ended =
            found.filter(|record| !lost && (!record.recovering || mutated(Mutant::ShortcutFromRecovery)));
        let evidence_of = |nonce: &Nonce| match mutated(Mutant::AnyEvidenceCounts) {
            true => evidence.values().next(),
            false => evidence.get(nonce),
        };
        match ended.and_then(|record| evidence_of(&record.holder.nonce)) {
            Some(known_at) => full.min(*known_at + stretch_twice(ttl)),
            None => full,
        }
    });
    let record = Record {
        generation: Generation(found_generation.max(known).0 + 1),
        holder: me.clone(),
        seq: found.map_or(0, |record| record.seq) + 1,
        recovering: recovery_ends.is_some(),
        sealed: None,
        promises: promises(found, lost, settings),
        horizon_ms: horizon.as_millis() as u64,
        ttl_ms: ttl.as_millis() as u64,
        borrowed: found.map(|record| record.borrowed.clone()).unwrap_or_default(),
        usage: found.map(|record| record.usage.clone()).unwrap_or_default(),
    };
    Fence { record, recovery_ends }
}

/// W as it was found; no entry where the record was lost, so that each limit counts as its cap.
fn promises(found: Option<&Record>, lost: bool, settings: &Settings) -> BTreeMap<Arc<str>, u32> {
    match found {
        _ if lost && !mutated(Mutant::RegressedPromisesCount) => BTreeMap::new(),
        Some(record) => record.promises.clone(),
        None => {
            let capped = settings.limits().iter().filter_map(|l| Some((l.name.clone(), l.cap?)));
            capped.map(|(name, cap)| (name, meter::ahead(cap))).collect()
        }
    }
}
