//! How far the deletion of a pool is. Pure: the pool, what its ledger says, a time.

use std::time::Duration;

use genie_ledger::{Record, stretch};
use jiff::Timestamp;

use crate::api::{LedgerReclaimPolicy, LicensePool};

/// How long it takes until the usage in a ledger speaks of a server that knows that it drains: servers write usage within
/// 5 s of a change, and see a new plan well within the rest.
const SETTLE: Duration = Duration::from_secs(10);

/// Name of the limit that all sessions of a pool take.
const SEATS: &str = "seats";

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not being deleted.
    Serving,
    /// No new seats; looked at again then, if nothing happens before.
    Draining(Timestamp),
    /// No renewals either, until then.
    Revoked(Timestamp),
    /// No seat is out any more.
    Gone,
}

/// See the module. A pool whose namespace is being deleted does not wait: its servers are being ended anyway.
pub fn stage(pool: &LicensePool, record: Option<&Record>, terminating: bool, now: Timestamp) -> Stage {
    let Some(deleted) = pool.metadata.deletion_timestamp.as_ref().map(|time| time.0) else {
        return Stage::Serving;
    };
    let Some(record) = record.filter(|_| !terminating) else { return Stage::Gone };
    let settled = deleted + settle(pool);
    let in_use = record.usage.get(SEATS).copied().unwrap_or(0);
    // In recovery, seats are out that this owner has not heard of.
    let free = in_use == 0 && !record.recovering;
    if free && now >= settled {
        return Stage::Gone;
    }
    let deadline = deleted + pool.spec.deletion.drain_deadline.get();
    // A session that was renewed just before the deadline lives for one more ttl, on the slowest clock.
    let end = settled.max(deadline + stretch(pool.spec.session.ttl.get()) + SETTLE);
    if now >= end {
        Stage::Gone
    } else if now >= deadline {
        Stage::Revoked(if free { settled } else { end })
    } else {
        Stage::Draining(if free { settled.min(deadline) } else { deadline })
    }
}

/// A ledger that goes takes along what an owner promised that is cut off from the API server, and does not know yet: it
/// may serve for the outage tolerance, on the slowest clock. A ledger that stays remembers.
fn settle(pool: &LicensePool) -> Duration {
    match pool.spec.deletion.ledger_reclaim_policy {
        LedgerReclaimPolicy::Delete => SETTLE.max(stretch(pool.spec.availability.outage_tolerance.get())),
        LedgerReclaimPolicy::Retain => SETTLE,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(deleted: bool) -> LicensePool {
        let mut pool: LicensePool = serde_json::from_value(json!({
            "apiVersion": "genie-lm.io/v1alpha1", "kind": "LicensePool", "metadata": {"name": "cad"},
            "spec": {"product": "cad", "seats": 3, "session": {"ttl": "60s"}, "deletion": {"drainDeadline": "10m"}},
        }))
        .unwrap();
        if deleted {
            pool.metadata.deletion_timestamp = serde_json::from_value(json!("2030-01-01T00:00:00Z")).unwrap();
        }
        pool
    }

    fn record(in_use: u32) -> Record {
        serde_json::from_value(json!({
            "generation": 1, "holder": {"nonce": "n", "podUid": "u", "podName": "p", "node": "n", "address": "a"},
            "seq": 1, "recovering": false, "horizonMs": 600_000, "ttlMs": 60_000, "usage": {"seats": in_use},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        format!("2030-01-01T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_pool_with_seats_out_drains_then_revokes_then_is_gone() {
        let (pool, record) = (pool(true), record(2));
        let stage = |text| stage(&pool, Some(&record), false, at(text));
        assert_eq!(stage("00:00:01"), Stage::Draining(at("00:10:00")));
        assert_eq!(stage("00:10:00"), Stage::Revoked(at("00:11:16")));
        assert_eq!(stage("00:11:16"), Stage::Gone);
    }

    #[test]
    fn a_pool_without_seats_out_waits_only_until_its_servers_have_heard_of_it() {
        let (pool, record) = (pool(true), record(0));
        assert_eq!(stage(&pool, Some(&record), false, at("00:00:01")), Stage::Draining(at("00:00:10")));
        assert_eq!(stage(&pool, Some(&record), false, at("00:00:10")), Stage::Gone);
    }

    #[test]
    fn a_ledger_that_goes_waits_for_an_owner_that_may_be_cut_off() {
        let mut pool = pool(true);
        pool.spec.deletion.ledger_reclaim_policy = LedgerReclaimPolicy::Delete;
        for record in [record(0), record(2)] {
            let stage = |text| stage(&pool, Some(&record), false, at(text));
            assert_eq!(stage("00:00:10"), Stage::Draining(at("00:10:00")));
            let Stage::Revoked(end) = stage("00:10:00") else { panic!("it is revoked at its deadline") };
            assert!(end >= at("00:11:00"), "{end}");
            assert_eq!(super::stage(&pool, Some(&record), false, end), Stage::Gone);
        }
    }

    #[test]
    fn nothing_waits_without_an_owner_or_with_the_namespace_going() {
        assert_eq!(stage(&pool(false), None, false, at("00:00:01")), Stage::Serving);
        assert_eq!(stage(&pool(true), None, false, at("00:00:01")), Stage::Gone);
        assert_eq!(stage(&pool(true), Some(&record(2)), true, at("00:00:01")), Stage::Gone);
    }
}
