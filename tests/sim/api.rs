//! The API server in memory: the Lease, the SeatLedger and the plan, with versions that change with each write, and
//! watches that are late and never out of order. How often the ledger changed hands, and
//! what was promised and planned before etcd was set back, is kept for the judge.

use std::collections::BTreeMap;
use std::time::Duration;

use genie_ledger::{LeaseRecord, ObservedLease, ObservedLedger, Record, StoreReply, StoreRequest, Version};
use tokio::sync::mpsc;

use super::judge::PerLimit;
use super::machine::Host;
use super::world::{Broken, True, World, lock};
use crate::api::{ApiDuration, Name, PlanFeature, PlanGrant, PlanKey, SeatPlanSpec};
use crate::license::{KeyHash, MacKeys, PlanView};

/// The pool's one product and namespace.
pub(crate) const PRODUCT: &str = "cad";
pub(crate) const NAMESPACE: &str = "default";
/// The grants, each with the text that stands for its key.
pub(crate) const GRANTS: [(&str, &str); 2] = [("a", "key-a"), ("b", "key-b")];
pub(crate) const FEATURE: &str = "render";
/// States of the Lease that a watch that begins anew may still show.
const PAST: usize = 8;
/// As in the store of a cluster: a Lease that was left alone for so long may be one of the past.
const STALE: Duration = Duration::from_secs(20);
/// The longest for which anything may be out that was in force before a restore.
const OWED: Duration = Duration::from_secs(80);

/// What the operator says to the servers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// In the order of the judge's limits.
    pub(crate) caps: PerLimit<u32>,
    pub(crate) horizon: Duration,
    pub(crate) ttl: Duration,
    pub(crate) min_generation: u64,
    /// The longest horizon that the ledger was seen to record, where that was set back.
    pub(crate) longest_horizon: Option<ApiDuration>,
}

impl Plan {
    pub(crate) fn view(&self) -> PlanView {
        PlanView::new(NAMESPACE, self.spec()).expect("a plan that can be served")
    }

    fn spec(&self) -> SeatPlanSpec {
        let [seats, of_b, of_feature] = self.caps;
        let grant = |(name, key): (&str, &str)| PlanGrant {
            namespace: NAMESPACE.into(),
            name: name.into(),
            max: (name == "b").then_some(of_b),
            tier: None,
            features: vec![Name(FEATURE.into())],
            validity: Default::default(),
            keys: vec![PlanKey { sha256: KeyHash::of(key).to_hex() }],
            priority: 0,
            suspended: false,
        };
        let feature =
            PlanFeature { name: Name(FEATURE.into()), seats: Some(of_feature), ..PlanFeature::default() };
        SeatPlanSpec {
            pool: PRODUCT.into(),
            product: PRODUCT.into(),
            seats,
            ttl: duration(self.ttl),
            outage_tolerance: duration(self.horizon),
            queue: Some(Default::default()),
            features: vec![feature],
            grants: GRANTS.map(grant).into(),
            min_generation: self.min_generation,
            longest_outage_tolerance: self.longest_horizon,
            ..SeatPlanSpec::default()
        }
    }
}

fn duration(duration: Duration) -> ApiDuration {
    ApiDuration::from_millis(duration.as_millis() as u64)
}

/// What a watch shows of one object.
#[derive(Clone)]
pub(crate) enum Seen {
    Lease(Option<ObservedLease>),
    LeaseUnseen,
    Ledger(Option<ObservedLedger>),
    Plan(Plan),
    Keys(MacKeys),
}

/// The object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lease,
    Ledger,
    Plan,
    Keys,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Plan, Self::Keys, Self::Lease, Self::Ledger];

    /// The longest that a watch is behind when all is well, in milliseconds; a kubelet shows files in its own time.
    fn behind(self) -> u64 {
        if self == Self::Keys { 60_000 } else { 200 }
    }
}

struct Watch {
    kind: Kind,
    sender: mpsc::UnboundedSender<(True, Seen)>,
    /// When the last change is shown; none is shown before the one before it.
    last: True,
}

/// What etcd held at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    lease: Option<ObservedLease>,
    renewed: Option<True>,
    ledger: Option<Record>,
    plan: Plan,
    keys: MacKeys,
    /// Pods by number, each on its machine.
    pub(crate) pods: BTreeMap<usize, Host>,
}

impl Snapshot {
    pub(crate) fn generation(&self) -> Option<u64> {
        Some(self.ledger.as_ref()?.generation.0)
    }
}

/// See the module.
pub(crate) struct Api {
    versions: u64,
    leases: u64,
    lease: Option<ObservedLease>,
    /// When it was last written.
    renewed: Option<True>,
    past: Vec<Option<ObservedLease>>,
    ledger: Option<ObservedLedger>,
    /// The last record of each generation: what a backup may hold.
    backups: Vec<Record>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) plan: Plan,
    /// The caps before etcd was set back, and until when what they allowed may be out.
    owed: (PerLimit<u32>, True),
    /// Generation and seq of the newest record that ever was.
    pub(crate) newest: (u64, u64),
    pub(crate) keys: MacKeys,
    /// Keys that were ever added.
    pub(crate) rotations: u8,
    pub(crate) down_until: True,
    watches: Vec<Watch>,
    /// Until when the operator sees nothing.
    pub(crate) operator_away: True,
    /// Ownerships.
    pub(crate) fenced: u64,
}

impl Api {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut api = Self {
            versions: 0,
            leases: 0,
            lease: None,
            renewed: None,
            past: Vec::new(),
            ledger: None,
            backups: Vec::new(),
            snapshots: Vec::new(),
            plan,
            owed: Default::default(),
            newest: (0, 0),
            keys: MacKeys::first([0; 32]),
            rotations: 0,
            down_until: Duration::ZERO,
            watches: Vec::new(),
            operator_away: Duration::ZERO,
            fenced: 0,
        };
        api.make_lease();
        api.ledger = Some(ObservedLedger { version: api.next_version(), record: None });
        api
    }

    fn next_version(&mut self) -> Version {
        self.versions += 1;
        Version(self.versions.to_string().into())
    }

    fn make_lease(&mut self) {
        self.leases += 1;
        self.renewed = None;
        let uid = format!("lease-{}", self.leases).into();
        let lease =
            ObservedLease { uid, version: self.next_version(), record: LeaseRecord::default(), stale: false };
        self.set_lease(Some(lease));
    }

    fn set_lease(&mut self, lease: Option<ObservedLease>) {
        self.past.push(std::mem::replace(&mut self.lease, lease));
        if self.past.len() > PAST {
            self.past.remove(0);
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.ledger.as_ref()?.record.as_ref()
    }

    /// The promise that binds now; None: the ledger says nothing, or was set back.
    pub(crate) fn promised(&self, limit: &str) -> Option<u32> {
        let record = self.record().filter(|record| (record.generation.0, record.seq) >= self.newest)?;
        record.promises.get(limit).copied()
    }

    /// The caps that the plan says, or said before etcd was set back.
    pub(crate) fn caps(&self, now: True) -> PerLimit<u32> {
        let (before, until) = self.owed;
        let mut caps = self.plan.caps;
        for (cap, before) in caps.iter_mut().zip(before).filter(|_| now < until) {
            *cap = before.max(*cap);
        }
        caps
    }

    pub(crate) fn snapshot(&self, pods: BTreeMap<usize, Host>) -> Snapshot {
        let ledger = self.record().cloned();
        let (lease, plan, keys) = (self.lease.clone(), self.plan.clone(), self.keys.clone());
        Snapshot { lease, renewed: self.renewed, ledger, plan, keys, pods }
    }

    /// Sets all objects but pods back, under versions that go on.
    pub(crate) fn set_back(&mut self, to: &Snapshot, now: True) {
        let Snapshot { lease, renewed, ledger, plan, keys, pods: _ } = to.clone();
        self.owed = (self.caps(now), now + OWED);
        let lease = lease.map(|lease| ObservedLease { version: self.next_version(), ..lease });
        self.set_lease(lease);
        self.ledger = Some(ObservedLedger { version: self.next_version(), record: ledger });
        (self.plan, self.keys, self.renewed) = (plan, keys, renewed);
    }

    /// The process that the ledger names as its owner.
    pub(crate) fn holder(&self) -> Option<u64> {
        Some(self.record()?.holder.started.0)
    }

    /// The Lease as a server sees it.
    fn lease(&self, now: True) -> Option<ObservedLease> {
        let stale = self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) > STALE);
        self.lease.clone().map(|lease| ObservedLease { stale, ..lease })
    }

    fn apply(&mut self, now: True, request: &StoreRequest, broken: Option<Broken>) -> StoreReply {
        match request {
            StoreRequest::ReadLease => StoreReply::Lease(self.lease(now)),
            StoreRequest::ReadLedger => StoreReply::Ledger(self.ledger.clone()),
            StoreRequest::WriteLease { expect, record } => {
                let any = broken == Some(Broken::LeaseUnversioned);
                match self.lease.clone().filter(|lease| any || lease.version == *expect) {
                    Some(lease) => {
                        let version = self.next_version();
                        self.renewed = Some(now);
                        self.set_lease(Some(ObservedLease {
                            version: version.clone(),
                            record: record.clone(),
                            ..lease
                        }));
                        StoreReply::Written { version }
                    }
                    None => StoreReply::Conflict,
                }
            }
            StoreRequest::WriteLedger { expect, record } => {
                let any = broken == Some(Broken::LedgerUnversioned);
                if self.ledger.as_ref().is_none_or(|ledger| !any && ledger.version != *expect) {
                    return StoreReply::Conflict;
                }
                let version = self.next_version();
                let written = ObservedLedger { version: version.clone(), record: Some(record.clone()) };
                self.newest = self.newest.max((record.generation.0, record.seq));
                let before = self.record().map_or(0, |before| before.generation.0);
                self.fenced += u64::from(record.generation.0 > before);
                let before = self.ledger.replace(written).and_then(|ledger| ledger.record);
                self.backups.extend(before.filter(|before| before.generation < record.generation));
                StoreReply::Written { version }
            }
        }
    }
}

impl World {
    /// What the API server does with a request, and tells those who watch.
    pub(crate) fn carry_out(&self, request: &StoreRequest) -> StoreReply {
        let reply = lock(&self.api).apply(self.now(), request, self.broken);
        if matches!(reply, StoreReply::Written { .. }) {
            match request {
                StoreRequest::WriteLease { .. } => self.tell(Kind::Lease),
                _ => {
                    self.tell(Kind::Ledger);
                    self.operator_looks();
                }
            }
            self.reckon();
        }
        reply
    }

    /// The operator changes the plan.
    pub(crate) fn replan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut lock(&self.api).plan);
        self.note(|| format!("{:?}", lock(&self.api).plan));
        self.tell(Kind::Plan);
        self.reckon();
    }

    /// Somebody deletes the Lease; the operator makes another.
    pub(crate) fn lose_lease(&self) {
        lock(&self.api).set_lease(None);
        self.tell(Kind::Lease);
        lock(&self.api).make_lease();
        self.tell(Kind::Lease);
    }

    /// The ledger is lost, and made again by the operator; or set back to a backup of an earlier generation.
    pub(crate) fn lose_ledger(&self, to_backup: bool) {
        let backups = lock(&self.api).backups.len() as u64;
        let record = (to_backup && backups > 0).then(|| {
            let which = self.below(backups) as usize;
            lock(&self.api).backups[which].clone()
        });
        self.note(|| format!("the ledger is set back to {:?}", record.as_ref().map(|r| r.generation)));
        if record.is_none() {
            lock(&self.api).ledger = None;
            self.tell(Kind::Ledger);
        }
        {
            let mut api = lock(&self.api);
            api.ledger = Some(ObservedLedger { version: api.next_version(), record });
        }
        self.tell(Kind::Ledger);
        self.operator_looks();
        self.reckon();
    }

    /// Begins to watch: what is there now, and what will change.
    pub(crate) fn watch(&self, kind: Kind) -> (Seen, mpsc::UnboundedReceiver<(True, Seen)>) {
        let (sender, changes) = mpsc::unbounded_channel();
        let mut api = lock(&self.api);
        api.watches.push(Watch { kind, sender, last: self.now() });
        (seen(&api, kind, self.now()), changes)
    }

    /// What a watch that begins anew may show first: a state of the Lease that is no more.
    pub(crate) fn stale_lease(&self) -> Seen {
        let past = lock(&self.api).past.clone();
        Seen::Lease(self.pick(&past))
    }

    pub(crate) fn tell(&self, kind: Kind) {
        let mut api = lock(&self.api);
        let seen = seen(&api, kind, self.now());
        let now = self.now();
        api.watches.retain_mut(|watch| {
            if watch.kind != kind {
                return !watch.sender.is_closed();
            }
            let behind = self.happens(self.weather().behind);
            watch.last =
                watch.last.max(now + self.millis(1..kind.behind().max(if behind { 20_000 } else { 0 })));
            watch.sender.send((watch.last, seen.clone())).is_ok()
        });
    }
}

fn seen(api: &Api, kind: Kind, now: True) -> Seen {
    match kind {
        Kind::Lease => Seen::Lease(api.lease(now)),
        Kind::Ledger => Seen::Ledger(api.ledger.clone()),
        Kind::Plan => Seen::Plan(api.plan.clone()),
        Kind::Keys => Seen::Keys(api.keys.clone()),
    }
}
