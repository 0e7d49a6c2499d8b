//! One state of a search: processes, store, clients and all that is under way between them; and the
//! judge of what the clients believe.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{canonical, *};

use super::client::{Client, True};
use super::config::{Budget, Config, wall};
use crate::support::{Call, Store, holder};

/// A process and its replica.
#[derive(Clone)]
pub struct Node {
    pub replica: Replica<()>,
    pub process: u32,
    /// The plan that it was told last.
    pub told: usize,
    /// Whether nothing that it asks of the store gets there.
    pub cut: bool,
    pub waiting: Vec<(Ticket, usize, OperationId, Heard)>,
}

/// What a record lends of a limit.
fn lent(record: &Record, name: &str) -> u32 {
    record.borrowed.iter().filter(|entry| entry.touches(name)).map(|entry| entry.count.get()).sum()
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heard {
    Now,
    Later,
    Never,
}

/// Where a store request is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Sent,
    Answered(Box<StoreReply>),
    /// Its sender has given it up, and it may be carried out all the same.
    Orphan,
}

#[derive(Clone, Debug)]
pub struct Flight {
    pub node: usize,
    pub id: RequestId,
    pub request: StoreRequest,
    pub way: Way,
}

/// A message between a client and the servers that is late.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    Call(usize, Call),
    Answer(usize, OperationId, Answer),
}

/// What the store said before: the last states of each object, the newest first.
#[derive(Clone, Default)]
pub struct Past {
    pub leases: Vec<ObservedLease>,
    pub ledgers: Vec<ObservedLedger>,
}

impl Past {
    /// How many states of each object are remembered.
    const DEPTH: usize = 2;

    /// A write has replaced what was before.
    pub fn remember(
        &mut self,
        (lease, ledger): (Option<ObservedLease>, Option<ObservedLedger>),
        written: &StoreRequest,
    ) {
        match written {
            StoreRequest::WriteLease { .. } => remember(&mut self.leases, lease),
            _ => remember(&mut self.ledgers, ledger),
        }
    }
}

fn remember<T>(states: &mut Vec<T>, state: Option<T>) {
    states.splice(0..0, state);
    states.truncate(Past::DEPTH);
}

#[derive(Clone)]
pub struct World {
    pub config: Arc<Config>,
    pub now: True,
    pub left: Budget,
    pub plan: usize,
    pub store: Arc<Store>,
    /// What the ledger said at some time before.
    pub backup: Option<ObservedLedger>,
    pub past: Past,
    /// Which operation renewed which session from which counter, and under which generation.
    pub renewals: Vec<((Generation, SessionId, u32), OperationId)>,
    /// The last generation that the operator saw.
    pub min_generation: Generation,
    /// The longest horizon that it saw recorded, of a ledger that was lost or set back.
    pub longest: Duration,
    pub nodes: Vec<Option<Arc<Node>>>,
    pub flights: Vec<Flight>,
    pub messages: Vec<Message>,
    pub clients: Vec<Client>,
    /// Processes that have ended, and of which it may become known.
    pub ended: Vec<Nonce>,
    /// The most units of each limit that may be out (R10).
    pub allowed: Vec<u32>,
    pub processes: u32,
    pub broken: Option<String>,
    pub notes: Option<Vec<String>>,
}

impl World {
    /// Node 0 is the first owner of a new ledger, and the others have seen its Lease.
    pub fn new(config: &Arc<Config>) -> Self {
        mutate(&[]);
        let clients = config.clients.iter().enumerate().map(|(i, asks)| Client::new(i, asks.clone()));
        let mut world = Self {
            config: config.clone(),
            now: Duration::ZERO,
            left: Budget::default(),
            plan: 0,
            store: Arc::new(Store::new()),
            backup: None,
            past: Past::default(),
            renewals: Vec::new(),
            min_generation: Generation(0),
            longest: Duration::ZERO,
            nodes: Vec::new(),
            flights: Vec::new(),
            messages: Vec::new(),
            clients: clients.collect(),
            ended: Vec::new(),
            allowed: config.limits().into_iter().map(|(.., most)| most).collect(),
            processes: 0,
            broken: None,
            notes: None,
        };
        let mut no_choice = super::choices::Choices::default();
        for node in 0..config.rates.len() {
            world.nodes.push(None);
            world.start(node);
            if !config.fresh {
                world.pump(node, &mut no_choice);
            }
        }
        world.backup = world.store.ledger.clone().filter(|_| config.budget.losses > 0);
        world.left = config.budget.clone();
        mutate(&config.mutants);
        world
    }

    pub fn settings(&self) -> Settings {
        let plan = self.config.plans[self.plan].clone();
        plan.with_min_generation(self.min_generation).with_longest_horizon(self.longest)
    }

    /// A fresh process.
    pub fn start(&mut self, node: usize) {
        self.processes += 1;
        let me = holder(&format!("p{}", self.processes));
        let replica = Replica::new(me, self.settings(), self.clock(node));
        let fresh =
            Node { replica, process: self.processes, told: self.plan, cut: false, waiting: Vec::new() };
        self.nodes[node] = Some(Arc::new(fresh));
        self.tell_wall(node);
    }

    pub fn clock(&self, node: usize) -> BootInstant {
        let boot = Duration::from_secs(1000);
        BootInstant::from_boot(boot + self.now * self.config.rates[node] / 100)
    }

    pub fn node(&self, node: usize) -> Option<&Node> {
        self.nodes[node].as_deref()
    }

    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(self.nodes[node].as_mut().expect("only what runs is asked"))
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(what());
        }
    }

    /// Forgets what can have no effect any more, and looks at what clients hold.
    pub fn settle(&mut self) {
        let store = self.store.clone();
        self.flights.retain(|flight| match (&flight.way, &flight.request) {
            (Way::Orphan, StoreRequest::WriteLease { expect, .. }) => {
                store.lease.as_ref().is_some_and(|lease| lease.version == *expect)
            }
            (Way::Orphan, StoreRequest::WriteLedger { expect, .. }) => {
                store.ledger.as_ref().is_some_and(|ledger| ledger.version == *expect)
            }
            (Way::Orphan, _) => false,
            _ => true,
        });
        let clients = &self.clients;
        self.messages.retain(|message| match message {
            Message::Answer(client, operation, _) => clients[*client].listens(*operation),
            Message::Call(..) => true,
        });
        if self.left.stale + self.left.setbacks == 0 {
            self.past = Past::default();
        }
        self.judge();
    }

    /// The most that the ledger, or a write under way, promises of a limit, and the most that it lends;
    /// None: it promises nothing.
    fn promised(&self, name: &str) -> Option<(u32, u32)> {
        let record = self.store.ledger.as_ref()?.record.as_ref()?;
        let flying = self.flights.iter().filter_map(|flight| match &flight.request {
            StoreRequest::WriteLedger { record, .. } => Some(record),
            _ => None,
        });
        let says = |record: &Record| Some((*record.promises.get(name)?, lent(record, name)));
        let most = |(w, lent): (u32, u32), (more, lends)| (w.max(more), lent.max(lends));
        says(record).map(|now| flying.filter_map(says).fold(now, most))
    }

    /// What the ledger lends of a limit.
    fn lent(&self, name: &str) -> u32 {
        let record = self.store.ledger.as_ref().and_then(|ledger| ledger.record.as_ref());
        record.map_or(0, |record| lent(record, name))
    }

    fn judge(&mut self) {
        let told = self.nodes.iter().flatten().map(|node| node.told).min().unwrap_or(self.plan);
        for (i, (id, name, most)) in self.config.limits().into_iter().enumerate() {
            let plans = &self.config.plans[told.min(self.plan)..=self.plan];
            let caps = plans.iter().flat_map(|plan| plan.limits()).filter(|limit| limit.id == id);
            let cap = caps.map(|limit| limit.cap.unwrap_or(u32::MAX)).max().unwrap_or(0);
            let promised = self.promised(&name);
            let in_force = promised.map_or(most, |(w, lent)| w + lent);
            self.allowed[i] = cap.max(self.allowed[i].min(in_force));
            let allowed = self.allowed[i];
            let held = |borrowed| {
                let those = self.clients.iter().filter(|client| client.borrows() == borrowed);
                those.map(|client| client.holds(self.now, id, &name)).sum::<u32>()
            };
            let (floating, borrowed) = (held(false), held(true));
            let lent = self.lent(&name);
            if floating + borrowed > allowed {
                self.broken = Some(format!(
                    "clients hold {floating} + {borrowed} units of {name}, {allowed} are allowed"
                ));
            } else if self.config.strict && promised.is_some_and(|(w, _)| floating > w || borrowed > lent) {
                let why = format!("clients hold {floating} + {borrowed} units of {name}, the ledger says");
                self.broken = Some(format!("{why} {promised:?}"));
            } else if self.config.strict && floating + lent > allowed {
                // Any owner may issue a document that is in the ledger (R8).
                self.broken = Some(format!("clients hold {floating} units of {name}, and {lent} are lent"));
            }
        }
    }

    /// As a state of the search: all that decides what can happen from here.
    pub fn hash<H: Hasher>(&self, state: &mut H) {
        let far = self.config.far();
        canonical::begin();
        let record = self.store.ledger.as_ref().and_then(|ledger| ledger.record.as_ref());
        let seq = record.map_or(0, |record| record.seq);
        canonical::ledger_is_at((self.config.budget.setbacks > 0).then_some(seq));
        canonical::wall_clocks_show(wall(self.now));
        (&self.left, self.plan, self.min_generation, self.longest, &self.allowed).hash(state);
        for (index, node) in self.nodes.iter().enumerate() {
            canonical::look_from(self.clock(index), far, index as u64);
            node.is_some().hash(state);
            if let Some(node) = node {
                (&node.replica, node.told, node.cut, &node.waiting).hash(state);
            }
        }
        let lease = self.store.lease.as_ref().map(|lease| (&lease.uid, &lease.version, &lease.record));
        let ledger = self.store.ledger.as_ref().map(|ledger| (&ledger.version, &ledger.record));
        (lease, ledger).hash(state);
        self.backup.as_ref().map(|ledger| &ledger.record).hash(state);
        (&self.past.leases, &self.past.ledgers, &self.renewals).hash(state);
        for flight in &self.flights {
            canonical::look_from(BootInstant::from_boot(Duration::ZERO), far, flight.node as u64);
            (flight.node, &flight.request, &flight.way).hash(state);
            if flight.way != Way::Orphan {
                flight.id.hash(state);
            }
        }
        self.messages.hash(state);
        self.clients.iter().for_each(|client| client.hash(self.now, far, state));
        self.ended.hash(state);
    }
}
