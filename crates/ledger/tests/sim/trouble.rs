//! What goes wrong in a world: pauses, cuts, crashes, orderly stops, lost objects, changed plans.

use std::time::Duration;

use genie_ledger::*;

use super::super::client::{True, Wall};
use super::{Event, HORIZON, Happening, REPLICAS, STORMY, World};
use crate::support::secs;

impl World {
    pub(super) fn trouble(&mut self) {
        if !self.stormy() {
            return;
        }
        let next = self.now + self.rng.millis(2_000..30_000);
        self.schedule(next, Happening::Trouble);
        let node = self.rng.below(REPLICAS as u64) as usize;
        let until = self.now + self.rng.millis(1_000..70_000).min(STORMY - self.now);
        match self.rng.below(100) {
            0..25 => self.nodes[node].paused_until = until,
            25..55 => self.cut(node, until),
            55..75 => self.crash(node),
            75..82 => self.release(node),
            82..85 => self.nodes[node].wall = Wall::any(&mut self.rng),
            85..88 => self.recreate_lease(),
            88..90 => self.lose_ledger(),
            _ if self.resizes => self.resize(),
            _ => {}
        }
    }

    fn cut(&mut self, node: usize, until: True) {
        self.nodes[node].cut_until = until;
        self.after(until - self.now, node, Event::Relist);
    }

    /// The process is gone for sure; now and then somebody knows.
    fn crash(&mut self, node: usize) {
        let ended = self.nodes[node].replica.status(self.nodes[node].clock(self.now)).owner;
        let nonce = Nonce(format!("p{}", self.nodes[node].process).into());
        self.replace(node);
        if ended.is_some() && self.rng.chance(50) {
            for other in 0..REPLICAS {
                let now = self.nodes[other].clock(self.now);
                if self.nodes[other].paused_until <= self.now {
                    self.nodes[other].replica.previous_ended(now, nonce.clone());
                    self.after(Duration::ZERO, other, Event::Wake);
                }
            }
        }
    }

    /// Told to stop; most of the time another takes its table.
    fn release(&mut self, node: usize) {
        if self.nodes[node].paused_until > self.now {
            return;
        }
        let now = self.nodes[node].clock(self.now);
        let table = self.nodes[node].replica.hand_over(now);
        let other = (node + 1 + self.rng.below(REPLICAS as u64 - 1) as usize) % REPLICAS;
        let reached = self.nodes[other].paused_until <= self.now && self.rng.chance(80);
        let successor = table.filter(|_| reached).and_then(|table| {
            let other = &mut self.nodes[other];
            other.replica.accept_handover(other.clock(self.now), table)
        });
        self.nodes[node].replica.handed_over(now, successor);
        self.pump(node);
    }

    fn recreate_lease(&mut self) {
        let version = self.store.next_version();
        let (uid, record) = (format!("lease-{}", version.0).into(), LeaseRecord::default());
        self.store.lease = Some(ObservedLease { uid, version, record, stale: false });
        self.tell_watchers(true);
    }

    /// The operator makes the ledger again, and says in everybody's plan what it saw of the old one.
    fn lose_ledger(&mut self) {
        let record = self.store.ledger.take().and_then(|ledger| ledger.record);
        let seen = record.map_or(Generation(0), |record| record.generation);
        self.min_generation = self.min_generation.max(seen);
        self.store.ledger = Some(ObservedLedger { version: self.store.next_version(), record: None });
        self.tell_watchers(false);
        self.reconfigure();
    }

    fn resize(&mut self) {
        self.caps = [1 + self.rng.below(3) as u32, 1 + self.rng.below(2) as u32];
        self.most = [self.most[0].max(self.caps[0]), self.most[1].max(self.caps[1])];
        self.horizon = self.rng.pick(&[HORIZON, secs(30), secs(45)]);
        self.reconfigure();
    }

    fn reconfigure(&mut self) {
        let settings = self.settings();
        for node in 0..REPLICAS {
            let now = self.nodes[node].clock(self.now);
            self.nodes[node].replica.configure(now, settings.clone());
            if self.nodes[node].paused_until <= self.now {
                self.pump(node);
            }
        }
    }
}
