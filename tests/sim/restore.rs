//! What is set back, rotated or left alone for a day: an etcd that is restored from a snapshot, with an operator that
//! remembers what it saw; the MAC keys; servers that are not there.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::REPLICAS;
use super::api::{Api, Kind, Snapshot};
use super::machine::Host;
use super::world::{True, World, lock};

/// Whether a restore brings back pods that were replaced since, too.
const PODS_GO_BACK: bool = true;
/// Between the two steps of a rotation: every replica has read the key before it signs.
const SPREAD: Duration = Duration::from_secs(90);

impl World {
    /// Somebody saves a snapshot of etcd.
    pub(crate) fn back_up(&self) {
        let pods = lock(&self.processes).iter().map(|(pod, process)| (*pod, process.host)).collect();
        let api = &mut lock(&self.api);
        let snapshot = api.snapshot(pods);
        api.snapshots.push(snapshot);
    }

    /// etcd is set back to one of the snapshots: Lease, ledger, plan and keys together, while the API server is down. The
    /// operator remembers, and says so within seconds of its return (R11).
    pub(crate) fn restore(&self, left: True) {
        let snapshots = lock(&self.api).snapshots.clone();
        if snapshots.is_empty() {
            return;
        }
        let (snapshot, pods) = (self.pick(&snapshots), PODS_GO_BACK && self.even());
        let down = self.millis(1_000..30_000).min(left);
        self.api_down(down);
        let world = self.clone();
        tokio::spawn(async move {
            sleep(down).await;
            let away = world.millis(200..8_000);
            world.operator_away(world.now() + away);
            world.set_back(&snapshot);
            if pods {
                world.set_pods_back(&snapshot.pods).await;
            }
            sleep(away).await;
            world.operator_looks();
        });
    }

    fn set_back(&self, to: &Snapshot) {
        lock(&self.api).set_back(to, self.now());
        self.note(|| format!("etcd is set back to generation {:?}", to.generation()));
        for kind in Kind::ALL {
            self.tell(kind);
        }
        self.reckon();
    }

    /// The kubelets end the pods that are not in the snapshot, and start those of it that are gone, anew.
    async fn set_pods_back(&self, pods: &BTreeMap<usize, Host>) {
        let there: Vec<_> = lock(&self.processes).values().cloned().collect();
        for process in there.iter().filter(|process| !pods.contains_key(&process.pod)) {
            self.kill(process);
            self.remove(process);
        }
        for (pod, host) in pods.iter().filter(|(pod, _)| there.iter().all(|process| process.pod != **pod)) {
            self.start(*pod, *host).await;
        }
    }

    /// A key is added, and signs once every replica has it; none is, while one waits for that.
    pub(crate) fn rotate_keys(&self) {
        if lock(&self.api).keys.waiting().is_some() {
            return;
        }
        self.change_keys(|api| {
            api.rotations += 1;
            api.keys.add([api.rotations; 32]);
        });
        let world = self.clone();
        tokio::spawn(async move {
            sleep(SPREAD).await;
            world.change_keys(|api| _ = api.keys.advance());
        });
    }

    fn change_keys(&self, change: impl FnOnce(&mut Api)) {
        change(&mut lock(&self.api));
        self.note(|| format!("{:?}", lock(&self.api).keys));
        self.tell(Kind::Keys);
    }

    /// All servers are stopped, and others are started so much later.
    pub(crate) async fn let_pass(&self, time: Duration) {
        let processes = std::mem::take(&mut *lock(&self.processes));
        processes.values().for_each(|process| self.kill(process));
        sleep(time).await;
        for _ in 0..REPLICAS {
            self.start_pod().await;
        }
    }
}
