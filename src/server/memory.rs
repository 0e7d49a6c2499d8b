//! For tests: whole servers in memory, on one store, one network and paused time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use genie_ledger::{
    BootInstant, Holder, LeaseRecord, Nonce, ObservedLease, ObservedLedger, Record, Role, StoreReply,
    StoreRequest, Version,
};
use genie_proto::v1::{
    CheckoutRequest, CheckoutResponse, Client, Code, RenewRequest, RenewResponse, Verdict,
};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use super::clock::Clock;
use super::connect::{ChannelError, Connect, PeerChannel};
use super::pool::SessionInfo;
use super::store::{Observation, Store};
use super::{Parts, Served, Service};
use crate::api::{ApiDuration, Name, PlanFeature, PlanGrant, PlanKey, SeatPlanSpec};
use crate::license::{KeyHash, Keyring, MacKeys, PlanView};

pub(crate) const TTL: Duration = Duration::from_secs(90);
/// Longer than any takeover.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Paused(Instant);

impl Clock for Paused {
    fn boot(&self) -> BootInstant {
        BootInstant::from_boot(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }

    fn sleep_until(&self, when: BootInstant) -> BoxFuture<'static, ()> {
        tokio::time::sleep_until(self.0 + when.since_boot()).boxed()
    }
}

/// A ledger and its Lease.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    versions: u64,
    lease: ObservedVersion<LeaseRecord>,
    ledger: ObservedVersion<Option<Record>>,
    watchers: Vec<mpsc::Sender<Observation>>,
    silent: bool,
}

#[derive(Clone, Default)]
struct ObservedVersion<T> {
    version: u64,
    value: T,
}

fn named(version: u64) -> Version {
    Version(version.to_string().into())
}

impl State {
    fn lease(&self) -> Option<ObservedLease> {
        let ObservedVersion { version, value } = self.lease.clone();
        Some(ObservedLease { uid: "lease".into(), version: named(version), record: value, stale: false })
    }

    fn ledger(&self) -> Option<ObservedLedger> {
        Some(ObservedLedger { version: named(self.ledger.version), record: self.ledger.value.clone() })
    }

    fn tell(&mut self, what: impl Fn(&Self) -> Observation) {
        // One that has ended watches no more.
        let watchers = std::mem::take(&mut self.watchers);
        self.watchers = watchers.into_iter().filter(|one| one.try_send(what(self)).is_ok()).collect();
    }

    fn carry_out(&mut self, request: StoreRequest) -> StoreReply {
        let written = |version| StoreReply::Written { version: named(version) };
        self.versions += 1;
        let version = self.versions;
        match request {
            StoreRequest::ReadLease => StoreReply::Lease(self.lease()),
            StoreRequest::ReadLedger => StoreReply::Ledger(self.ledger()),
            StoreRequest::WriteLease { expect, record } if expect == named(self.lease.version) => {
                self.lease = ObservedVersion { version, value: record };
                self.tell(|state| Observation::Lease(state.lease()));
                written(version)
            }
            StoreRequest::WriteLedger { expect, record } if expect == named(self.ledger.version) => {
                self.ledger = ObservedVersion { version, value: Some(record) };
                self.tell(|state| Observation::Ledger(state.ledger()));
                written(version)
            }
            _ => StoreReply::Conflict,
        }
    }
}

impl Memory {
    fn watch(&self) -> mpsc::Receiver<Observation> {
        let (sender, receiver) = mpsc::channel(1_000);
        let mut state = self.0.lock().unwrap();
        if state.silent {
            return receiver;
        }
        sender.try_send(Observation::Lease(state.lease())).unwrap();
        sender.try_send(Observation::Ledger(state.ledger())).unwrap();
        state.watchers.push(sender);
        receiver
    }

    pub(crate) fn record(&self) -> Record {
        self.0.lock().unwrap().ledger.value.clone().expect("somebody owned it")
    }

    /// Somebody else writes the record.
    pub(crate) fn put(&self, record: Record) {
        let mut state = self.0.lock().unwrap();
        let expect = named(state.ledger.version);
        state.carry_out(StoreRequest::WriteLedger { expect, record });
    }

    /// What a watch says of a ledger with this record.
    pub(crate) fn shows(&self, record: Record) -> Observation {
        Observation::Ledger(Some(ObservedLedger { version: named(u64::MAX), record: Some(record) }))
    }

    /// No watch shows anything any more.
    pub(crate) fn fall_silent(&self) {
        self.0.lock().unwrap().silent = true;
    }

    pub(crate) fn lease_holder(&self) -> Option<Nonce> {
        self.0.lock().unwrap().lease.value.holder.clone()
    }
}

impl Store for Memory {
    async fn send(&self, request: StoreRequest) -> StoreReply {
        self.0.lock().unwrap().carry_out(request)
    }
}

/// The peer ports by address; what is not there gives no answer.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<BTreeMap<String, axum::Router>>>);

pub(crate) struct Way {
    network: Network,
    successors: Vec<String>,
}

impl Connect for Way {
    fn connect(&self, address: &str) -> PeerChannel {
        let (network, address) = (self.network.clone(), address.to_owned());
        BoxCloneSyncService::new(service_fn(move |request: http::Request<Body>| {
            let router = network.0.lock().unwrap().get(&address).cloned();
            async move {
                let Some(router) = router else { return std::future::pending().await };
                let answer = router.oneshot(request.map(axum::body::Body::new)).await;
                let answer = answer.map_err(|error| ChannelError(error.to_string()))?;
                Ok(answer.map(Body::new))
            }
        }))
    }

    fn successors(&self) -> Vec<String> {
        self.successors.clone()
    }
}

pub(crate) struct World {
    clock: Arc<Paused>,
    network: Network,
    pub(crate) ledgers: Vec<Memory>,
}

pub(crate) struct Node {
    pub(crate) service: Service,
    pub(crate) served: Vec<Served>,
    pub(crate) nonces: Arc<Mutex<u32>>,
    name: &'static str,
}

fn plan(product: &str) -> Arc<PlanView> {
    let feature = PlanFeature { name: Name("render".into()), ..PlanFeature::default() };
    let grant = PlanGrant {
        namespace: "default".into(),
        name: "team".into(),
        max: None,
        tier: None,
        features: vec![Name("render".into())],
        validity: Default::default(),
        keys: vec![PlanKey { sha256: KeyHash::of("a key").to_hex() }],
        priority: 0,
        suspended: false,
    };
    let spec = SeatPlanSpec {
        pool: product.into(),
        product: product.into(),
        seats: 1_000,
        ttl: ApiDuration::from_millis(TTL.as_millis() as u64),
        outage_tolerance: ApiDuration::from_millis(600_000),
        features: vec![feature],
        grants: vec![grant],
        ..SeatPlanSpec::default()
    };
    Arc::new(PlanView::new("default", spec).unwrap())
}

impl World {
    pub(crate) fn new(ledgers: usize) -> Self {
        let ledgers = (0..ledgers).map(|_| Memory::default()).collect();
        Self { clock: Arc::new(Paused(Instant::now())), network: Network::default(), ledgers }
    }

    /// A server that serves `cad-0`, `cad-1` … and hands its sessions to `successors`.
    pub(crate) fn start(&self, name: &'static str, successors: &[&str]) -> Node {
        let nonces = Arc::new(Mutex::new(0));
        let count = nonces.clone();
        let fresh = move || {
            *count.lock().unwrap() += 1;
            Nonce(format!("{name}-{}", count.lock().unwrap()).into())
        };
        let successors = successors.iter().map(|name| (*name).to_owned()).collect();
        let parts = Parts {
            clock: self.clock.clone(),
            nonces: Arc::new(fresh),
            keyring: Keyring::new(&MacKeys::first([7; 32])),
            connect: Some(Arc::new(Way { network: self.network.clone(), successors })),
        };
        let service = Service::new(parts);
        let place = Holder {
            nonce: Nonce("".into()),
            pod_uid: name.into(),
            pod_name: name.into(),
            node: "node".into(),
            address: name.into(),
            started: Default::default(),
        };
        let begin = |(number, ledger): (usize, &Memory)| {
            let plan = plan(&format!("cad-{number}"));
            service.begin(plan, &place, ledger.clone(), ledger.watch(), |_| {})
        };
        let served: Vec<Served> = self.ledgers.iter().enumerate().map(begin).collect();
        service.directory.replace(served.iter().map(|served| served.pool.clone()).collect());
        self.network.0.lock().unwrap().insert(name.to_owned(), service.peer_routes());
        Node { service, served, nonces, name }
    }

    /// The owner of all ledgers, and a follower that has seen the Leases.
    pub(crate) async fn pair(&self, successors: &[&str]) -> (Node, Node) {
        let owner = self.start("a", successors);
        owner.becomes(Role::Owner).await;
        let follower = self.start("b", &[]);
        follower.knows(owner.name).await;
        (owner, follower)
    }

    /// How long an owner's recovery has to go.
    pub(crate) fn recovery_left(&self, served: &Served) -> Duration {
        served.pool.status().recovery_ends.expect("it recovers").since(self.clock.boot())
    }

    pub(crate) fn client(&self, address: &str) -> PeerChannel {
        Way { network: self.network.clone(), successors: Vec::new() }.connect(address)
    }
}

impl Node {
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Served) -> bool) {
        for served in &self.served {
            let (_, mut changes) = served.pool.owner();
            let reached = async {
                while !holds(served) {
                    // An error says that it changed more than once.
                    let _ = changes.recv().await;
                }
            };
            tokio::time::timeout(PATIENCE, reached)
                .await
                .unwrap_or_else(|_| panic!("{}: not {what}", self.name));
        }
    }

    pub(crate) async fn becomes(&self, role: Role) {
        self.until(&format!("{role:?}"), |served| served.pool.role() == role).await;
    }

    pub(crate) async fn knows(&self, owner: &str) {
        let is = |served: &Served| served.pool.status().owner.is_some_and(|known| *known.pod_name == *owner);
        self.until(&format!("told that {owner} owns"), is).await;
    }

    pub(crate) async fn leave(&self) {
        join_all(self.served.iter().map(Served::leave)).await;
    }

    pub(crate) async fn checkout(&self, number: u128) -> CheckoutResponse {
        let request = CheckoutRequest {
            product: "cad-0".into(),
            key: "a key".into(),
            operation_id: uuid::Uuid::from_u128(number).to_string(),
            count: 1 + (number as u32) % 2,
            features: if number.is_multiple_of(2) { vec!["render".into()] } else { Vec::new() },
            client: Some(Client { user: format!("user-{number}"), ..Client::default() }),
            ..CheckoutRequest::default()
        };
        let deadline = self.service.licensing.clock.boot() + PATIENCE;
        let answer = self.service.licensing.checkout(request, deadline).await.expect("an answer");
        assert_eq!(answer.verdict(), Verdict::Authorized, "{answer:?}");
        answer
    }

    pub(crate) async fn renew(&self, session: &str, number: u128) -> RenewResponse {
        let operation_id = uuid::Uuid::from_u128(number).to_string();
        let request = RenewRequest { session: session.into(), operation_id, client: None };
        let deadline = self.service.licensing.clock.boot() + PATIENCE;
        let answer = self.service.licensing.renew(request, deadline).await.expect("an answer");
        assert_eq!(answer.code(), Code::Ok, "{answer:?}");
        answer
    }

    /// What people see of all sessions.
    pub(crate) fn listed(&self) -> Vec<String> {
        let sessions = self.served[0].pool.sessions(None, usize::MAX - 1);
        let line =
            |info: &SessionInfo| format!("{} {:?} {} {:?}", info.session, info.grant, info.count, info.meta);
        sessions.iter().map(line).collect()
    }
}
