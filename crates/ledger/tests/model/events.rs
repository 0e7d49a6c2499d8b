//! What can happen next in a world, and how it happens.

use std::sync::Arc;
use std::time::Duration;

use genie_ledger::*;

use super::choices::Choices;
use super::client::Act;
use super::world::{Heard, Message, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// All clocks go on, whoever is due or not: those who do not act now are paused.
    Time,
    Wake(usize),
    Advance(usize),
    Act(usize, Act, usize),
    /// A late message arrives, a call at this node.
    Late(usize, usize),
    Cut(usize),
    Heal(usize),
    Crash(usize),
    Release(usize),
    /// This owner's table goes to that replica, and whether it hears so.
    HandOver(usize, usize, bool),
    /// This node hears that this process has ended.
    Evidence(usize, usize),
    SeeLease(usize),
    SeeLedger(usize),
    /// A late sight of what was before.
    SeeOldLease(usize, usize),
    SeeOldLedger(usize, usize),
    ChangePlan,
    Tell(usize),
    Revoke(usize, usize),
    RemakeLease,
    RemakeLedger,
    RestoreLedger,
    SetBack(usize),
}

impl World {
    /// One thing happens.
    pub fn step(&mut self, choices: &mut Choices) {
        let events = self.events();
        let event = events[choices.pick(events.len())];
        self.note(|| format!("{event:?}"));
        self.happen(event, choices);
        self.settle();
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::with_capacity(16);
        for node in 0..self.nodes.len() {
            self.events_of_node(node, &mut events);
        }
        for client in 0..self.clients.len() {
            self.events_of_client(client, &mut events);
        }
        events.extend((0..self.flights.len()).map(Event::Advance));
        for (at, message) in self.messages.iter().enumerate() {
            match message {
                Message::Answer(..) => events.push(Event::Late(at, 0)),
                Message::Call(..) => events.extend(self.owners().map(|node| Event::Late(at, node))),
            }
        }
        if self.plan + 1 < self.config.plans.len() {
            events.push(Event::ChangePlan);
        }
        if self.left.leases > 0 {
            events.push(Event::RemakeLease);
        }
        if self.left.losses > 0 {
            events.push(Event::RemakeLedger);
            events.extend(self.may_be_set_back().then_some(Event::RestoreLedger));
        }
        if self.left.setbacks > 0 {
            let same =
                |old: &&ObservedLedger| generation(Some(old)) == generation(self.store.ledger.as_ref());
            events.extend((0..self.past.ledgers.iter().filter(same).count()).map(Event::SetBack));
        }
        if self.left.time > 0 || events.is_empty() {
            events.push(Event::Time);
        }
        events
    }

    /// Only a restore to an earlier generation can be noticed.
    fn may_be_set_back(&self) -> bool {
        self.backup.is_some() && generation(self.backup.as_ref()) < generation(self.store.ledger.as_ref())
    }

    fn seeks(&self, node: usize) -> bool {
        self.node(node).is_some_and(|n| matches!(n.replica.role(), Role::Follower | Role::Candidate))
    }

    fn owners(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|n| self.node(*n).is_some_and(|node| node.replica.role() == Role::Owner))
    }

    fn events_of_node(&self, node: usize, events: &mut Vec<Event>) {
        let Some(n) = self.node(node) else { return };
        let role = n.replica.role();
        let due = n.replica.next_tick().is_some_and(|at| at <= self.clock(node));
        let due = due && !self.config.sleepers.contains(&node);
        if due && (role != Role::Follower || self.may_take_over()) {
            events.push(Event::Wake(node));
        }
        if n.cut {
            events.extend(self.config.heals.then_some(Event::Heal(node)));
        } else if self.left.cuts > 0 && role == Role::Owner {
            events.push(Event::Cut(node));
        }
        if self.left.crashes > 0 {
            events.push(Event::Crash(node));
        }
        if self.left.releases > 0 && role == Role::Owner {
            events.push(Event::Release(node));
        }
        if self.left.handovers > 0 && role == Role::Owner {
            for other in (0..self.nodes.len()).filter(|other| self.seeks(*other)) {
                events.extend([true, false].map(|heard| Event::HandOver(node, other, heard)));
            }
        }
        if self.config.evidence && self.seeks(node) {
            events.extend((0..self.ended.len()).map(|ended| Event::Evidence(node, ended)));
        }
        if self.left.watches > 0 {
            events.extend([Event::SeeLease(node), Event::SeeLedger(node)]);
        }
        if self.left.stale > 0 {
            events.extend((0..self.past.leases.len()).map(|old| Event::SeeOldLease(node, old)));
            events.extend((0..self.past.ledgers.len()).map(|old| Event::SeeOldLedger(node, old)));
        }
        if n.told < self.plan {
            events.push(Event::Tell(node));
        }
        if self.left.revokes > 0 && role == Role::Owner {
            let held = (0..self.clients.len()).filter(|c| self.clients[*c].session().is_some());
            events.extend(held.map(|client| Event::Revoke(node, client)));
        }
    }

    fn may_take_over(&self) -> bool {
        let record = self.store.ledger.as_ref().and_then(|ledger| ledger.record.as_ref());
        let taken = record.map_or(self.min_generation, |record| record.generation);
        taken.0 <= u64::from(self.config.budget.takeovers)
    }

    fn events_of_client(&self, client: usize, events: &mut Vec<Event>) {
        if self.left.calls == 0 {
            return;
        }
        let (me, asks) = (&self.clients[client], &self.config.clients);
        // Clients that ask for the same are interchangeable: the first of them comes first.
        let comes_too_early = client > 0
            && me.operations == 0
            && asks[client - 1] == asks[client]
            && self.clients[client - 1].operations == 0;
        if comes_too_early {
            return;
        }
        for act in me.acts(self.now, self.config.client_mutant) {
            events.extend(self.owners().map(|node| Event::Act(client, act, node)));
        }
    }

    fn happen(&mut self, event: Event, choices: &mut Choices) {
        match event {
            Event::Time => self.pass_time(),
            Event::Wake(node) => {
                let now = self.clock(node);
                self.node_mut(node).replica.tick(now);
                self.pump(node, choices);
            }
            Event::Advance(at) => self.advance(at, choices),
            Event::Act(client, act, node) => {
                self.left.calls -= 1;
                let call = self.clients[client].act(self.now, act, self.config.client_mutant);
                self.call(client, call, node, choices);
            }
            Event::Late(at, node) => match self.messages.remove(at) {
                Message::Call(client, call) => self.arrive(client, call, node, Heard::Now, choices),
                Message::Answer(client, operation, answer) => {
                    self.clients[client].hear(self.now, operation, &answer, self.config.client_mutant);
                }
            },
            Event::Cut(node) => {
                self.left.cuts -= 1;
                self.node_mut(node).cut = true;
            }
            Event::Heal(node) => self.node_mut(node).cut = false,
            Event::Crash(node) => {
                self.left.crashes -= 1;
                self.end(node);
            }
            Event::Release(node) => {
                self.left.releases -= 1;
                let now = self.clock(node);
                self.node_mut(node).replica.release(now);
                self.pump(node, choices);
            }
            Event::HandOver(node, other, heard) => self.hand_over(node, other, heard, choices),
            Event::Evidence(node, ended) => {
                let (now, nonce) = (self.clock(node), self.ended[ended].clone());
                self.node_mut(node).replica.previous_ended(now, nonce);
            }
            Event::SeeLease(node) => {
                self.left.watches -= 1;
                self.see_lease(node, self.store.lease.clone(), choices);
            }
            Event::SeeLedger(node) => {
                self.left.watches -= 1;
                self.see_ledger(node, self.store.ledger.clone(), choices);
            }
            Event::SeeOldLease(node, old) => {
                self.left.stale -= 1;
                self.see_lease(node, Some(self.past.leases[old].clone()), choices);
            }
            Event::SeeOldLedger(node, old) => {
                self.left.stale -= 1;
                self.see_ledger(node, Some(self.past.ledgers[old].clone()), choices);
            }
            Event::ChangePlan => self.plan += 1,
            Event::Tell(node) => self.tell(node, choices),
            Event::Revoke(node, client) => {
                self.left.revokes -= 1;
                let now = self.clock(node);
                if let Some(session) = self.clients[client].session() {
                    self.node_mut(node).replica.revoke(now, session);
                }
                self.pump(node, choices);
            }
            Event::RemakeLease => self.remake_lease(),
            Event::RemakeLedger => self.lose_ledger(None, choices),
            Event::RestoreLedger => {
                let record = self.backup.take().and_then(|ledger| ledger.record);
                self.lose_ledger(record, choices);
            }
            Event::SetBack(old) => self.set_back(old, choices),
        }
    }

    fn see_lease(&mut self, node: usize, lease: Option<ObservedLease>, choices: &mut Choices) {
        let now = self.clock(node);
        self.node_mut(node).replica.observe_lease(now, lease);
        self.pump(node, choices);
    }

    fn see_ledger(&mut self, node: usize, ledger: Option<ObservedLedger>, choices: &mut Choices) {
        let now = self.clock(node);
        self.node_mut(node).replica.observe_ledger(now, ledger);
        self.pump(node, choices);
    }

    /// The store is restored to what the ledger said before, in the same generation. An operator that notices
    /// takes this generation for one that was never whole.
    fn set_back(&mut self, old: usize, choices: &mut Choices) {
        self.left.setbacks -= 1;
        let now = generation(self.store.ledger.as_ref());
        let horizon = horizon(self.store.ledger.as_ref());
        let record = self.past.ledgers.iter().filter(|old| generation(Some(old)) == now).nth(old);
        let record = record.and_then(|old| old.record.clone());
        let store = Arc::make_mut(&mut self.store);
        store.ledger = Some(ObservedLedger { version: store.next_version(), record });
        if self.config.told {
            self.longest = self.longest.max(horizon);
            self.min_generation = now.map_or(Generation(0), |now| Generation(now.0 + 1));
            self.tell_all(choices);
        }
    }

    /// An owner that does not hear that its table has arrived seals for nobody.
    fn hand_over(&mut self, node: usize, other: usize, heard: bool, choices: &mut Choices) {
        self.left.handovers -= 1;
        let (now, then) = (self.clock(node), self.clock(other));
        let table = self.node_mut(node).replica.hand_over(now);
        let name = table.and_then(|table| self.node_mut(other).replica.accept_handover(then, table));
        self.node_mut(node).replica.handed_over(now, name.filter(|_| heard));
        self.pump(node, choices);
    }

    fn pass_time(&mut self) {
        self.left.time = self.left.time.saturating_sub(1);
        self.now += self.config.grain;
        for client in &mut self.clients {
            client.end_what_ran_out(self.now, self.config.client_mutant);
        }
    }

    fn tell(&mut self, node: usize, choices: &mut Choices) {
        let (now, settings, plan) = (self.clock(node), self.settings(), self.plan);
        let n = self.node_mut(node);
        n.replica.configure(now, settings);
        n.told = plan;
        self.pump(node, choices);
    }

    fn remake_lease(&mut self) {
        self.left.leases -= 1;
        let store = Arc::make_mut(&mut self.store);
        let version = store.next_version();
        let uid = format!("lease-{}", self.left.leases).into();
        store.lease = Some(ObservedLease { uid, version, record: LeaseRecord::default(), stale: false });
    }

    /// The operator tells everybody what it saw of the old ledger before there is another.
    fn lose_ledger(&mut self, record: Option<Record>, choices: &mut Choices) {
        self.left.losses -= 1;
        let before = self.store.ledger.as_ref().and_then(|ledger| ledger.record.as_ref());
        let seen = before.map_or(Generation(0), |record| record.generation);
        self.min_generation = self.min_generation.max(seen);
        self.longest = self.longest.max(horizon(self.store.ledger.as_ref()));
        let store = Arc::make_mut(&mut self.store);
        store.ledger = Some(ObservedLedger { version: store.next_version(), record });
        self.tell_all(choices);
    }

    fn tell_all(&mut self, choices: &mut Choices) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_some() {
                self.tell(node, choices);
            }
        }
    }
}

fn horizon(ledger: Option<&ObservedLedger>) -> Duration {
    ledger.and_then(|ledger| ledger.record.as_ref()).map_or(Duration::ZERO, Record::horizon)
}

fn generation(ledger: Option<&ObservedLedger>) -> Option<Generation> {
    Some(ledger?.record.as_ref()?.generation)
}
