//! The world of one seed: a store that delays, loses and applies late; replicas that pause, crash and
//! are cut off, with clocks at the bounds of ρ; clients that check out, renew and check in.

use std::collections::BTreeMap;
use std::time::Duration;

use genie_ledger::*;

#[path = "trouble.rs"]
mod trouble;

use super::client::{Client, LONGEST, True, Wall};
use super::rng::Rng;
use crate::support::{Call, FEATURE, POOL, Store, holder, limit, secs, settings};

pub const REPLICAS: usize = 3;
/// Clients that borrow; the others check out.
const BORROWERS: u64 = 2;
pub const HORIZON: Duration = Duration::from_secs(60);
pub const TTL: Duration = Duration::from_secs(20);
const STORMY: Duration = Duration::from_secs(500);
/// Long enough for a take-over and a full recovery by the slowest clock.
const CALM: Duration = Duration::from_secs(130);
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

pub struct Node {
    pub replica: Replica<()>,
    /// Which process: what was meant for an earlier one is dropped.
    process: u64,
    /// What this machine's clock counts in 100 true seconds.
    rate: u32,
    boot: Duration,
    wall: Wall,
    paused_until: True,
    cut_until: True,
    wake: Option<True>,
    waiting: BTreeMap<Ticket, (usize, OperationId)>,
}

impl Node {
    fn clock(&self, now: True) -> BootInstant {
        BootInstant::from_boot(self.boot + now * self.rate / 100)
    }

    fn truly(&self, at: BootInstant) -> True {
        at.since_boot().saturating_sub(self.boot) * 100 / self.rate + Duration::from_nanos(1)
    }
}

#[derive(Clone)]
enum Event {
    Wake,
    Reply(RequestId, StoreReply),
    SawLease(Option<ObservedLease>),
    SawLedger(Option<ObservedLedger>),
    /// The store can be reached again: its watches begin with what there is.
    Relist,
    Called(usize, OperationId, Call),
}

#[derive(Clone)]
enum Happening {
    At { node: usize, process: u64, event: Event },
    Store { node: usize, process: u64, id: RequestId, request: StoreRequest, answered: bool },
    Act(usize),
    Hear(usize, OperationId, Answer),
    Trouble,
}

pub struct World {
    pub now: True,
    rng: Rng,
    queue: BTreeMap<(True, u64), Happening>,
    happenings: u64,
    store: Store,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    targets: Vec<usize>,
    pub caps: [u32; 2],
    /// The largest caps that were ever in force.
    pub most: [u32; 2],
    /// Units that the plan lends.
    lends: u32,
    resizes: bool,
    horizon: Duration,
    min_generation: Generation,
    processes: u64,
    pub ownerships: u32,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let caps = [1 + rng.below(3) as u32, 1 + rng.below(2) as u32];
        let mut clients = Vec::new();
        for i in 0..3 + rng.below(2) + BORROWERS {
            let wall = (i < BORROWERS).then(|| Wall::any(&mut rng));
            clients.push(Client::new(i.into(), rng.pick(&[91, 100, 111]), wall));
        }
        let mut world = Self {
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            happenings: 0,
            store: Store::new(),
            nodes: Vec::new(),
            targets: vec![0; clients.len()],
            clients,
            caps,
            most: caps,
            lends: 1 + rng.below(2) as u32,
            resizes: rng.chance(30),
            horizon: HORIZON,
            min_generation: Generation(0),
            processes: 0,
            ownerships: 0,
            rng,
        };
        for _ in 0..REPLICAS {
            let node = world.start_process();
            world.nodes.push(node);
        }
        for node in 0..REPLICAS {
            world.after(Duration::ZERO, node, Event::Wake);
        }
        for client in 0..world.clients.len() {
            let start = world.rng.millis(0..3_000);
            world.schedule(start, Happening::Act(client));
        }
        world.schedule(secs(5), Happening::Trouble);
        world
    }

    pub fn run(&mut self) {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > STORMY + CALM {
                return;
            }
            self.now = at;
            self.happen(happening);
        }
    }

    fn stormy(&self) -> bool {
        self.now < STORMY
    }

    fn settings(&self) -> Settings {
        let limits = vec![limit(POOL, "pool", self.caps[0]), limit(FEATURE, "feature", self.caps[1])];
        let settings = settings(self.horizon, TTL, limits).with_min_generation(self.min_generation);
        let order = [Order::Fifo, Order::Priority, Order::FairShare][self.caps[0] as usize % 3];
        let settings = settings.with_queueing(Queueing { max_length: 4 * (self.lends - 1), order });
        let max_units = self.lends.try_into().expect("one or two");
        settings.with_borrowing(Some(Borrowing { max_units, longest: LONGEST })).expect("short enough")
    }

    fn start_process(&mut self) -> Node {
        self.processes += 1;
        let name = format!("p{}", self.processes);
        let (rate, boot) = (self.rng.pick(&[90, 100, 110]), self.rng.millis(0..1_000_000));
        let now = BootInstant::from_boot(boot + self.now * rate / 100);
        Node {
            replica: Replica::new(holder(&name), self.settings(), now),
            process: self.processes,
            rate,
            boot,
            wall: Wall::any(&mut self.rng),
            paused_until: Duration::ZERO,
            cut_until: Duration::ZERO,
            wake: None,
            waiting: BTreeMap::new(),
        }
    }

    fn schedule(&mut self, at: True, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((at, self.happenings), happening);
    }

    fn after(&mut self, delay: Duration, node: usize, event: Event) {
        let process = self.nodes[node].process;
        self.schedule(self.now + delay, Happening::At { node, process, event });
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::At { node, process, event } => {
                let n = &self.nodes[node];
                if n.process != process {
                } else if n.paused_until > self.now {
                    self.schedule(n.paused_until, Happening::At { node, process, event });
                } else {
                    self.handle(node, event);
                    self.pump(node);
                }
            }
            Happening::Store { node, process, id, request, answered } => {
                let reply = self.store.apply(&request);
                if matches!(reply, StoreReply::Written { .. }) {
                    self.tell_watchers(matches!(request, StoreRequest::WriteLease { .. }));
                }
                if answered && self.nodes[node].process == process {
                    let delay = self.rng.millis(1..150);
                    self.after(delay, node, Event::Reply(id, reply));
                }
            }
            Happening::Act(client) => self.act(client),
            Happening::Hear(client, operation, answer) => {
                if let Answer::NotOwner { address } = &answer {
                    self.targets[client] = self.redirect(address.as_deref());
                }
                self.clients[client].hear(self.now, operation, &answer, &mut self.rng);
            }
            Happening::Trouble => self.trouble(),
        }
    }

    fn redirect(&mut self, address: Option<&str>) -> usize {
        let known =
            address.and_then(|to| self.nodes.iter().position(|n| format!("p{}:1453", n.process) == to));
        known.unwrap_or(self.rng.below(REPLICAS as u64) as usize)
    }

    fn handle(&mut self, node: usize, event: Event) {
        let n = &mut self.nodes[node];
        let now = n.clock(self.now);
        let was_owner = n.replica.status(now).role == Role::Owner;
        match event {
            Event::Wake => {
                n.wake = None;
                n.replica.tick(now);
            }
            Event::Reply(id, reply) => n.replica.reply(now, id, reply),
            Event::SawLease(lease) => n.replica.observe_lease(now, lease),
            Event::SawLedger(ledger) => n.replica.observe_ledger(now, ledger),
            Event::Relist if n.cut_until > self.now => {}
            Event::Relist => {
                n.replica.observe_lease(now, self.store.lease.clone());
                n.replica.observe_ledger(now, self.store.ledger.clone());
            }
            Event::Called(client, operation, call) => {
                let outcome = match &call {
                    Call::Checkout(request) => {
                        let wait = queues(now, operation, &mut self.rng);
                        n.replica.checkout(now, CheckoutRequest { wait, ..request.clone() })
                    }
                    Call::Renew(claim, operation) => n.replica.renew(now, claim, *operation, || ()),
                    Call::Checkin(claim, operation) => n.replica.checkin(now, claim, *operation),
                    Call::Borrow(request) => n.replica.borrow(now, request),
                    Call::Return(id, generation, _) => n.replica.give_back_borrowed(now, id, *generation),
                };
                match outcome {
                    Outcome::Answer(answer) => self.respond(client, operation, answer),
                    // Some callers are told to call again, some go away, and most wait.
                    Outcome::Wait(ticket) => match self.rng.below(10) {
                        0 | 1 if let Some(answer) = n.replica.postpone(now, ticket) => {
                            self.respond(client, operation, answer);
                        }
                        2 => n.replica.cancel(now, ticket),
                        _ => {
                            n.waiting.insert(ticket, (client, operation));
                        }
                    },
                }
            }
        }
        let n = &self.nodes[node];
        self.ownerships += u32::from(!was_owner && n.replica.status(now).role == Role::Owner);
    }

    /// Does what a driver does after every event.
    fn pump(&mut self, node: usize) {
        let (now, wall) = (self.nodes[node].clock(self.now), self.nodes[node].wall.shows(self.now));
        self.nodes[node].replica.set_wall_clock(now, wall);
        self.nodes[node].replica.tick(now);
        while let Some((id, request)) = self.nodes[node].replica.take_request(now) {
            self.send(node, id, request);
        }
        while let Some((ticket, answer)) = self.nodes[node].replica.take_completion() {
            if let Some((client, operation)) = self.nodes[node].waiting.remove(&ticket) {
                self.respond(client, operation, answer);
            }
        }
        let n = &self.nodes[node];
        if let Role::Stopped(_) = n.replica.status(now).role {
            let seen = n.replica.status(now).generation.unwrap_or(Generation(0));
            self.min_generation = self.min_generation.max(seen);
            return self.replace(node);
        }
        if let Some(due) = n.replica.next_tick() {
            assert!(due > now, "a replica asks to be woken in the past");
            let wake = n.truly(due);
            if n.wake.is_none_or(|at| at > wake) {
                self.nodes[node].wake = Some(wake);
                self.after(wake.saturating_sub(self.now), node, Event::Wake);
            }
        }
    }

    fn replace(&mut self, node: usize) {
        self.nodes[node] = self.start_process();
        let delay = self.rng.millis(100..3_000);
        self.after(delay, node, Event::Wake);
    }

    fn send(&mut self, node: usize, id: RequestId, request: StoreRequest) {
        let process = self.nodes[node].process;
        let cut = self.nodes[node].cut_until > self.now;
        let fate = match (self.stormy(), cut) {
            (_, true) => 100,
            (true, false) => self.rng.below(110),
            (false, false) => 0,
        };
        let (applied, answered) = match fate {
            0..88 => (Some(self.rng.millis(1..150)), true),
            88..92 => (Some(self.rng.millis(1..4_900)), false),
            92..97 => (Some(REQUEST_DEADLINE + self.rng.millis(0..40_000)), false),
            97..99 => (None, false),
            99 => (Some(self.rng.millis(1_000..4_000)), true),
            _ if self.rng.chance(20) => (Some(self.rng.millis(1..40_000)), false),
            _ => (None, false),
        };
        if let Some(delay) = applied {
            let at = self.now + delay;
            self.schedule(at, Happening::Store { node, process, id, request, answered });
        }
        if !answered {
            self.after(REQUEST_DEADLINE, node, Event::Reply(id, StoreReply::Unknown));
        }
    }

    fn tell_watchers(&mut self, lease: bool) {
        for node in 0..REPLICAS {
            if self.nodes[node].cut_until > self.now {
                continue;
            }
            let slow = self.stormy() && self.rng.chance(5);
            let delay = self.rng.millis(1..if slow { 20_000 } else { 300 });
            let event = match lease {
                true => Event::SawLease(self.store.lease.clone()),
                false => Event::SawLedger(self.store.ledger.clone()),
            };
            self.after(delay, node, event);
        }
    }

    fn respond(&mut self, client: usize, operation: OperationId, answer: Answer) {
        if let Some(delay) = self.carriage() {
            self.schedule(self.now + delay, Happening::Hear(client, operation, answer));
        }
    }

    /// How long a message between client and server takes; None: it is lost.
    fn carriage(&mut self) -> Option<Duration> {
        match self.rng.below(if self.stormy() { 100 } else { 94 }) {
            0..94 => Some(self.rng.millis(1..100)),
            94..97 => Some(self.rng.millis(1..30_000)),
            _ => None,
        }
    }

    fn act(&mut self, client: usize) {
        let next = self.now + self.rng.millis(500..1_500);
        self.schedule(next, Happening::Act(client));
        let Some(call) = self.clients[client].act(self.now, &mut self.rng) else { return };
        let operation = call.operation();
        if self.rng.chance(20) {
            self.targets[client] = self.rng.below(REPLICAS as u64) as usize;
        }
        let copies = if self.rng.chance(3) { 2 } else { 1 };
        for _ in 0..copies {
            if let Some(delay) = self.carriage() {
                let event = Event::Called(client, operation, call.clone());
                self.after(delay, self.targets[client], event);
            }
        }
    }
}

/// Every third checkout waits for units, and some of those say that they did so before.
fn queues(now: BootInstant, operation: OperationId, rng: &mut Rng) -> Option<Wait> {
    let until = now + rng.millis(500..30_000);
    let place = Place { generation: Generation(1), number: rng.below(6) };
    let wait =
        Wait { until, place: rng.chance(30).then_some(place), priority: rng.below(3) as u32, share: POOL };
    operation.0.is_multiple_of(3).then_some(wait)
}
