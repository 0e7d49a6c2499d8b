//! A server of the world: the code that ships, on this world's store, network and clock; started, killed, told to stop.
//! What its watches show passes through here, and the evidence that an owner has ended (R6b).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use genie_ledger::{Holder, Nonce, StoreReply, StoreRequest, UnixSeconds};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::super::clock::{Clock, SharedClock};
use super::super::pool::Pool;
use super::super::store::{Observation, Store};
use super::super::{MAX_OBSERVATIONS, Parts, Served, Service};
use super::api::{Kind, Plan, Seen};
use super::judge::{LIMITS, PerLimit};
use super::machine::{Host, Machine};
use super::network::{Party, Peering, Port, address};
use super::world::{World, lock};
use crate::license::Keyring;

/// Deadline of one request to the API server, as in production.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often a watch that hangs is looked at.
const HUNG: Duration = Duration::from_millis(500);
/// How long it takes until all replicas have seen what became of a process, in milliseconds.
const SEEN_WITHIN: u64 = 5_000;

/// See the module.
pub(crate) struct Process {
    pub(crate) pid: u64,
    pub(crate) pod: usize,
    pub(crate) host: Host,
    pub(crate) machine: Machine,
    pub(crate) service: Service,
    pub(crate) pool: Arc<Pool>,
    served: Mutex<Option<Served>>,
    clients: Router,
    peers: Router,
}

impl Process {
    pub(crate) fn routes(&self, port: Port) -> Router {
        match port {
            Port::Clients => self.clients.clone(),
            Port::Peers => self.peers.clone(),
        }
    }

    /// The caps that it may grant up to.
    pub(crate) fn caps(&self) -> PerLimit<u32> {
        let view = self.pool.view();
        let cap = |name: &str| view.settings().limits().iter().find(|limit| *limit.name == *name)?.cap;
        if self.machine.ended() { Default::default() } else { LIMITS.map(|name| cap(name).unwrap_or(0)) }
    }
}

impl World {
    /// Starts a process in a pod of that number, on that machine.
    pub(crate) async fn start(&self, pod: usize, host: Host) -> Arc<Process> {
        let pid = self.pids.fetch_add(1, Ordering::Relaxed) + 1;
        let machine = Machine::new(self.began, host);
        let clock: SharedClock = Arc::new(machine.clone());
        let names = AtomicU64::new(0);
        let nonces = move || Nonce(format!("p{pid}.{}", names.fetch_add(1, Ordering::Relaxed)).into());
        let keyring = Keyring::new(&lock(&self.api).keys);
        let way = Peering { world: self.clone(), pod, machine: machine.clone() };
        let parts = Parts { clock, nonces: Arc::new(nonces), keyring, connect: Some(Arc::new(way)) };
        let service = Service::new(parts);
        let place = Holder {
            nonce: Nonce("".into()),
            pod_uid: format!("uid-{pod}").into(),
            pod_name: format!("pod-{pod}").into(),
            node: format!("node-{pod}").into(),
            address: address(pod).into(),
            started: UnixSeconds(pid),
        };
        let (sender, observations) = mpsc::channel(MAX_OBSERVATIONS);
        let plan = lock(&self.api).plan.clone();
        let store = ApiStore { world: self.clone(), pod, machine: machine.clone() };
        let served = service.begin(Arc::new(plan.view()), &place, store, observations, |_| {});
        let pool = served.pool.clone();
        service.directory.replace(vec![pool.clone()]);
        let (shows, seen) = mpsc::channel(MAX_OBSERVATIONS);
        for kind in Kind::ALL {
            tokio::spawn(follow(self.clone(), machine.clone(), pod, kind, shows.clone()));
        }
        let attending = Attending { world: self.clone(), service: service.clone() };
        tokio::spawn(attending.attend(pool.clone(), seen, sender));
        tokio::spawn(bear_witness(self.clone(), machine.clone(), pool.clone()));
        let (clients, peers) = (service.client_routes().await, service.peer_routes());
        let served = Mutex::new(Some(served));
        let process = Arc::new(Process { pid, pod, host, machine, service, pool, served, clients, peers });
        lock(&self.processes).insert(pod, process.clone());
        self.note(|| format!("p{pid} starts in pod {pod}, its clock counts {} %", host.rate));
        self.reckon();
        process
    }

    /// Tells a process to stop, and ends it when it has.
    pub(crate) async fn stop(&self, process: &Process) {
        self.note(|| format!("p{} is told to stop", process.pid));
        process.machine.awake().await;
        let served = lock(&process.served).take();
        if let Some(served) = served {
            served.end().await;
        }
        self.kill(process);
    }

    /// kill -9.
    pub(crate) fn kill(&self, process: &Process) {
        self.note(|| format!("p{} has ended", process.pid));
        process.machine.end();
        self.reckon();
    }
}

/// Shows what happens to one object, in order, until nobody is interested; after each cut of the way, anew.
async fn follow(world: World, machine: Machine, pod: usize, kind: Kind, shows: mpsc::Sender<Seen>) {
    let pod = Party::Pod(pod);
    let cut = || world.blocked(pod, Party::Api) || world.blocked(Party::Api, pod);
    loop {
        while cut() {
            sleep(world.millis(200..1_500)).await;
        }
        machine.awake().await;
        if kind == Kind::Lease && world.happens(world.weather().behind) {
            let _ = shows.send(world.stale_lease()).await;
        }
        let (now, mut changes) = world.watch(kind);
        let mut next = Some((world.now(), now));
        while let Some((at, seen)) = next {
            sleep_until(world.began + at).await;
            while world.blocked(Party::Watches, pod) {
                sleep(HUNG).await;
            }
            machine.awake().await;
            if cut() {
                if kind == Kind::Lease && shows.send(Seen::LeaseUnseen).await.is_err() {
                    return;
                }
                break;
            }
            if shows.send(seen).await.is_err() {
                return;
            }
            next = changes.recv().await;
        }
    }
}

struct Attending {
    world: World,
    service: Service,
}

impl Attending {
    async fn attend(
        self,
        pool: Arc<Pool>,
        mut seen: mpsc::Receiver<Seen>,
        driver: mpsc::Sender<Observation>,
    ) {
        while let Some(seen) = seen.recv().await {
            let observation = match seen {
                Seen::Plan(plan) => {
                    self.configure(&pool, &plan);
                    continue;
                }
                Seen::Keys(keys) => {
                    self.service.licensing.keys.replace(Keyring::new(&keys));
                    continue;
                }
                Seen::Lease(lease) => Observation::Lease(lease),
                Seen::LeaseUnseen => Observation::LeaseUnseen,
                Seen::Ledger(ledger) => Observation::Ledger(ledger),
            };
            if driver.send(observation).await.is_err() {
                return;
            }
        }
    }

    fn configure(&self, pool: &Arc<Pool>, plan: &Plan) {
        pool.configure(Arc::new(plan.view()));
        self.service.directory.replace(vec![pool.clone()]);
        self.world.reckon();
    }
}

/// Tells a pool as soon as both the owner before and the end of its process are known, in whichever order (R6b).
async fn bear_witness(world: World, machine: Machine, pool: Arc<Pool>) {
    let (mut before, mut ends) = (pool.before(), world.ends.subscribe());
    loop {
        machine.awake().await;
        let last = before.borrow_and_update().clone();
        let known = last.filter(|(_, holder)| lock(&world.ended).contains(&holder.started.0));
        if let Some((_, holder)) = known {
            pool.previous_ended(holder.nonce);
        }
        tokio::select! {
            biased;
            changed = before.changed() => if changed.is_err() { return },
            // Also where several ended at once.
            _ = ends.recv() => sleep(world.millis(1..SEEN_WITHIN)).await,
        }
    }
}

/// The API server as one process reaches it.
struct ApiStore {
    world: World,
    pod: usize,
    machine: Machine,
}

impl Store for ApiStore {
    async fn send(&self, request: StoreRequest) -> StoreReply {
        let (world, machine, weather) = (&self.world, &self.machine, self.world.weather());
        if world.happens(weather.stalls) {
            machine.freeze(world.millis(500..90_000));
        }
        machine.awake().await;
        let deadline = Clock::boot(machine) + DEADLINE;
        let (answer, receiver) = oneshot::channel();
        tokio::spawn(handle(world.clone(), self.pod, request, answer));
        let answered = async {
            match receiver.await {
                Ok(reply) => reply,
                Err(_) => std::future::pending().await,
            }
        };
        let clock: SharedClock = Arc::new(machine.clone());
        let reply = clock.by(deadline, answered).await;
        machine.awake().await;
        reply.unwrap_or(StoreReply::Unknown)
    }
}

/// What becomes of a request; where `answer` is dropped, its sender never learns it.
async fn handle(world: World, pod: usize, request: StoreRequest, answer: oneshot::Sender<StoreReply>) {
    let weather = world.weather();
    let pod = Party::Pod(pod);
    let late = world.happens(weather.late);
    sleep(world.millis(if late { 2_000..45_000 } else { 1..150 })).await;
    if world.blocked(pod, Party::Api) || world.happens(weather.lost) {
        return;
    }
    let reply = world.carry_out(&request);
    sleep(world.millis(1..100)).await;
    if !world.happens(weather.unanswered) && !world.blocked(Party::Api, pod) {
        let _ = answer.send(reply);
    }
}
