//! A store in memory and a bench to run replicas on by hand: every test says itself what time it is,
//! which requests are answered, and how.

#![allow(dead_code)] // each test file uses its part

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::*;

pub const X: Duration = Duration::from_secs(600);
pub const TTL: Duration = Duration::from_secs(90);
pub const POOL: LimitId = LimitId(1);
pub const FEATURE: LimitId = LimitId(2);

pub fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub fn nonce(name: &str) -> Nonce {
    Nonce(name.into())
}

pub fn holder(name: &str) -> Holder {
    Holder {
        nonce: nonce(name),
        pod_uid: name.into(),
        pod_name: name.into(),
        node: "node".into(),
        address: format!("{name}:1453").into(),
        started: Default::default(),
    }
}

pub fn limit(id: LimitId, name: &str, cap: impl Into<Option<u32>>) -> Limit {
    Limit { id, name: name.into(), cap: cap.into() }
}

pub fn pool_of(cap: u32) -> Settings {
    settings(X, TTL, vec![limit(POOL, "pool", cap)])
}

pub fn settings(horizon: Duration, ttl: Duration, limits: Vec<Limit>) -> Settings {
    Settings::new(horizon, ttl, limits).expect("settings of a test are valid")
}

pub fn operation(n: u128) -> OperationId {
    OperationId(n)
}

pub fn ask(n: u128, count: u32, limits: &[LimitId]) -> CheckoutRequest<()> {
    CheckoutRequest {
        operation: operation(n),
        grant: GrantId(7),
        limits: LimitSet::new(limits.iter().copied()).expect("few limits"),
        count: NonZeroU32::new(count).expect("at least one unit"),
        meta: (),
        wait: None,
    }
}

/// What a client asks of an owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Checkout(CheckoutRequest<()>),
    Renew(Claim, OperationId),
    Checkin(Claim, OperationId),
    Borrow(BorrowRequest),
    Return(Arc<str>, Generation, OperationId),
}

impl Call {
    pub fn operation(&self) -> OperationId {
        match self {
            Call::Checkout(request) => request.operation,
            Call::Borrow(request) => request.operation,
            Call::Renew(_, operation) | Call::Checkin(_, operation) | Call::Return(.., operation) => {
                *operation
            }
        }
    }
}

/// The Lease and the ledger, with versions that change with every write.
#[derive(Clone, Debug)]
pub struct Store {
    pub lease: Option<ObservedLease>,
    pub ledger: Option<ObservedLedger>,
    pub versions: u64,
    pub ledger_writes: u64,
    pub lease_writes: u64,
}

impl Store {
    pub fn new() -> Self {
        let version = Version("0".into());
        let record = LeaseRecord::default();
        Self {
            lease: Some(ObservedLease {
                uid: "lease-1".into(),
                version: version.clone(),
                record,
                stale: false,
            }),
            ledger: Some(ObservedLedger { version, record: None }),
            versions: 0,
            ledger_writes: 0,
            lease_writes: 0,
        }
    }

    pub fn next_version(&mut self) -> Version {
        self.versions += 1;
        Version(self.versions.to_string().into())
    }

    pub fn record(&self) -> &Record {
        self.ledger.as_ref().and_then(|l| l.record.as_ref()).expect("the ledger has a record")
    }

    pub fn promise(&self, name: &str) -> Option<u32> {
        self.record().promises.get(name).copied()
    }

    /// Carries the request out now.
    pub fn apply(&mut self, request: &StoreRequest) -> StoreReply {
        match request {
            StoreRequest::ReadLease => StoreReply::Lease(self.lease.clone()),
            StoreRequest::ReadLedger => StoreReply::Ledger(self.ledger.clone()),
            StoreRequest::WriteLease { expect, record } => {
                let version = self.next_version();
                match &mut self.lease {
                    Some(lease) if lease.version == *expect => {
                        self.lease_writes += 1;
                        (lease.version, lease.record, lease.stale) = (version.clone(), record.clone(), false);
                        StoreReply::Written { version }
                    }
                    _ => StoreReply::Conflict,
                }
            }
            StoreRequest::WriteLedger { expect, record } => {
                let version = self.next_version();
                match &mut self.ledger {
                    Some(ledger) if ledger.version == *expect => {
                        self.ledger_writes += 1;
                        *ledger = ObservedLedger { version: version.clone(), record: Some(record.clone()) };
                        StoreReply::Written { version }
                    }
                    _ => StoreReply::Conflict,
                }
            }
        }
    }
}

/// One store and one clock.
pub struct Bench {
    pub store: Store,
    pub now: BootInstant,
}

pub type Held = (RequestId, StoreRequest);

impl Bench {
    pub fn new() -> Self {
        Self { store: Store::new(), now: BootInstant::from_boot(secs(1000)) }
    }

    pub fn replica(&self, name: &str, settings: Settings) -> Replica<()> {
        Replica::new(holder(name), settings, self.now)
    }

    /// A first owner of a new ledger.
    pub fn owner(&mut self, name: &str, settings: Settings) -> Replica<()> {
        let mut replica = self.replica(name, settings);
        self.pump(&mut replica);
        assert_eq!(replica.status(self.now).role, Role::Owner, "{:?}", replica.status(self.now));
        replica
    }

    /// Sends all requests, each answered at once.
    pub fn pump(&mut self, replica: &mut Replica<()>) {
        for _ in 0..50 {
            let Some((id, request)) = replica.take_request(self.now) else { return };
            let reply = self.store.apply(&request);
            replica.reply(self.now, id, reply);
        }
        panic!("the replica never stops asking: {:?}", replica.take_request(self.now));
    }

    /// Sends all requests and answers none.
    pub fn hold(&mut self, replica: &mut Replica<()>) -> Vec<Held> {
        std::iter::from_fn(|| replica.take_request(self.now)).collect()
    }

    /// Answers a held request late, having carried it out now.
    pub fn answer(&mut self, replica: &mut Replica<()>, (id, request): Held) {
        let reply = self.store.apply(&request);
        replica.reply(self.now, id, reply);
    }

    /// Lets time pass with the store at work, waking the replica whenever it asks for it.
    pub fn run(&mut self, replica: &mut Replica<()>, by: Duration) {
        let end = self.now + by;
        self.pump(replica);
        while let Some(due) = replica.next_tick().filter(|due| *due <= end) {
            assert!(due > self.now, "the replica asks to be woken in the past");
            self.now = due;
            replica.tick(due);
            self.pump(replica);
        }
        self.now = end;
        replica.tick(end);
        self.pump(replica);
    }

    /// Lets time pass with nobody looking.
    pub fn sleep(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// Lets time pass with every request failing, without any of them carried out.
    pub fn run_cut_off(&mut self, replica: &mut Replica<()>, by: Duration) {
        let end = self.now + by;
        loop {
            while let Some((id, _)) = replica.take_request(self.now) {
                replica.reply(self.now, id, StoreReply::Unknown);
            }
            let Some(due) = replica.next_tick().filter(|due| *due <= end) else { break };
            assert!(due > self.now, "the replica asks to be woken in the past");
            self.now = due;
            replica.tick(due);
        }
        self.now = end;
        replica.tick(end);
    }

    /// Makes `replica` the owner after the last one is gone without a trace.
    pub fn take_over(&mut self, replica: &mut Replica<()>) {
        self.pump(replica);
        self.run(replica, stretch(LEASE_DURATION));
        assert_eq!(replica.status(self.now).role, Role::Owner);
    }

    /// A checkout that waits for a write if it must.
    pub fn checkout(&mut self, replica: &mut Replica<()>, request: CheckoutRequest<()>) -> Answer {
        match replica.checkout(self.now, request) {
            Outcome::Answer(answer) => answer,
            Outcome::Wait(ticket) => {
                self.pump(replica);
                let (done, answer) = replica.take_completion().expect("the write answers the checkout");
                assert_eq!(done, ticket);
                answer
            }
        }
    }

    pub fn grant(&mut self, replica: &mut Replica<()>, n: u128, limits: &[LimitId]) -> Claim {
        granted(&self.checkout(replica, ask(n, 1, limits)))
    }

    pub fn renew(&self, replica: &mut Replica<()>, claim: &Claim, n: u128) -> Answer {
        answered(replica.renew(self.now, claim, operation(n), || ()))
    }

    pub fn checkin(&self, replica: &mut Replica<()>, claim: &Claim) -> Answer {
        answered(replica.checkin(self.now, claim, operation(0)))
    }
}

pub fn answered(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answer(answer) => answer,
        Outcome::Wait(ticket) => panic!("waits with {ticket:?}"),
    }
}

pub fn granted(answer: &Answer) -> Claim {
    match answer {
        Answer::Granted { claim, .. } => claim.clone(),
        other => panic!("not granted: {other:?}"),
    }
}

pub fn valid_for(answer: &Answer) -> Duration {
    match answer {
        Answer::Granted { valid_for, .. } => *valid_for,
        other => panic!("not granted: {other:?}"),
    }
}

pub fn is_full(answer: &Answer) -> bool {
    matches!(answer, Answer::Denied { reason: Denial::NoUnits { .. } })
}

/// An owner `a` with `n` sessions of one unit each, cut off for good after that.
pub fn first_owner(bench: &mut Bench, settings: Settings, n: u128) -> (Replica<()>, Vec<Claim>) {
    let mut owner = bench.owner("a", settings);
    let claims = (0..n).map(|i| bench.grant(&mut owner, i, &[POOL])).collect();
    (owner, claims)
}
