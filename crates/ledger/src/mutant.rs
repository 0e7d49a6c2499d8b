//! Rules that the model check can switch off (feature `model`), by thread, to see
//! that it would notice. Without the feature no rule can be switched off.

/// A rule of the seat protocol that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "model"), allow(dead_code))]
pub enum Mutant {
    /// R1: units are given out that no written promise covers.
    UseBeforePromise,
    /// R1: a raise of unknown outcome is used as if it were written.
    UnknownRaiseCounts,
    /// R1: a lowering is obeyed only once it is acknowledged.
    LowerUnobeyed,
    /// R1: a promise is lowered below what is out.
    LowerBelowUse,
    /// R2: tokens reach beyond the horizon.
    NoHorizon,
    /// R2: the horizon counts from the answer to a renewal, not from its send.
    HorizonFromAnswer,
    /// R2: a renewal of unknown outcome moves the horizon.
    UnknownRenewalCounts,
    /// R3: the ledger is read after the Lease is taken.
    LedgerReadAfterLease,
    /// R3: the owner serves before its fence is known.
    ServeBeforeFence,
    /// R4: what earlier owners promised does not count.
    OldUncounted,
    /// R4: recovery ends by the clock, without a write.
    RecoveryEndsByClock,
    /// R4: a limit that the record lacks counts as nothing promised.
    MissingCountsNothing,
    /// R4: recovery counts from the first sight of any state of the Lease.
    RecoveryFromFirstSight,
    /// R4: recovery lasts X on a clock that may be fast.
    RecoveryUnstretched,
    /// R5: an adopted session frees its units before recovery ends.
    AdoptedFreesEarly,
    /// R5: a token of a newer generation is served like any other.
    NewerTokenServed,
    /// Q: units of a session that ran out are used again at once.
    RunOutReusedAtOnce,
    /// Q: a session runs out on the owner's clock after its bare duration.
    ExpiryUnstretched,
    /// R6: the shortcut is taken over a record that was still recovering.
    ShortcutFromRecovery,
    /// R6: the end of any process counts as the end of the last owner.
    AnyEvidenceCounts,
    /// R6: the table of any owner is good for any seal.
    AnyTableCounts,
    /// R6: a handed session runs out on the successor's clock after the bare rest of its token.
    HandedUnstretched,
    /// R12: any token of a session renews it.
    ClonesRenewed,
    /// R8: a retried checkout gets its full duration again.
    RetryGetsFullDuration,
    /// R9: a document is issued while the write of its entry is undecided.
    IssuedBeforeKnown,
    /// R9: units of an entry are used again before its removal is known.
    ReturnedReusedAtOnce,
    /// R9: an entry is not counted until it is known to be written.
    UnknownBorrowUncounted,
    /// R9: units of a document are used again at its end by a clock that may be fast.
    NoMarginForSkew,
    /// R10: a successor ignores the X and ttl that were recorded.
    PlannedHorizonOnly,
    /// R10: a smaller X or ttl is recorded while longer tokens are out.
    ShorterRecordedAtOnce,
    /// R10: a lowered cap is not obeyed.
    LoweredCapIgnored,
    /// R10: a document that was asked for is issued though the cap was lowered before its entry was known.
    AskedDocumentKept,
    /// R10: a revoked session frees its units while its token is good.
    RevokedFreesAtOnce,
    /// R11: an older or missing record is taken for the newest.
    RegressionUnnoticed,
    /// R11: an older record of the newest generation is taken for the newest.
    OlderSeqUnnoticed,
    /// R11: an owner stays on when the plan knows of a newer generation.
    OldOwnerStays,
    /// R11: what an older record promised is believed.
    RegressedPromisesCount,
    /// R11: what may have been lent by a record that was lost does not count.
    LostLoansForgotten,
    /// R11: the recovery from an older record lasts as long as that record says.
    LongestHorizonForgotten,
    /// No rule: a replica takes the Lease without waiting for it to be left alone. Safety must not rest on
    /// that wait, so the check must find nothing, and its searches use this to get further.
    LeaseTakenAtAnyTime,
}

#[cfg(feature = "model")]
thread_local! {
    static MUTANTS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// From now on this thread's replicas do not keep these rules, and keep all others.
#[cfg(feature = "model")]
pub fn mutate(mutants: &[Mutant]) {
    MUTANTS.set(mutants.iter().fold(0, |all, mutant| all | 1 << *mutant as u32));
}

/// Whether this rule is switched off.
#[cfg(feature = "model")]
pub(crate) fn mutated(mutant: Mutant) -> bool {
    MUTANTS.get() & 1 << mutant as u32 != 0
}

/// Whether this rule is switched off.
#[cfg(not(feature = "model"))]
pub(crate) const fn mutated(_: Mutant) -> bool {
    false
}
