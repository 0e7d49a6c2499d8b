//! What goes wrong in a world, besides its weather: processes that stand still, are killed or told to stop; ways that are
//! cut; an API server that is down; lost objects; changed plans; requests that somebody sends again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use genie_ledger::Role;
use tokio::time::sleep;

use super::api::Kind;
use super::network::Party;
use super::node::Process;
use super::world::{Broken, True, World, lock};

/// The most of one trouble in fair weather.
const MINUTE: Duration = Duration::from_secs(60);

impl World {
    /// All kinds of trouble, one after the other and on top of each other, until `end`.
    pub(crate) async fn storm(&self, end: True) {
        let longest_pause = self.pick(&[15_000, 40_000, 90_000]);
        loop {
            sleep(self.millis(1_000..longest_pause)).await;
            if self.now() >= end {
                return;
            }
            let left = end - self.now();
            let Some(process) = self.any() else { continue };
            if self.happens(300) {
                self.back_up();
            }
            match self.below(100) {
                0..14 => self.freeze(&process, 120_000, left),
                14..28 => self.cut_from_api(&process, 180_000, left),
                28..34 => self.cut_peers(&process, left),
                34..42 => self.cut_client(&process, left),
                42..54 => self.crash(&process, left),
                54..61 => self.roll(process),
                61..65 => self.api_down(self.so_long(300_000, left)),
                65..68 => self.lose_lease(),
                68..71 => self.lose_ledger_if_known(),
                71..75 => self.hold_watches(&process, left),
                75..77 => self.rotate_keys(),
                77..80 => self.restore_if_known(left),
                80..87 => self.change_plan(),
                87..93 => self.client_trouble(end, left),
                _ => self.replay(),
            }
        }
    }

    /// One thing at a time, none of which may cost a client its seat: a loss of the owner, of the API server for less
    /// than the horizon, of one replica's way to it.
    pub(crate) async fn breeze(&self, end: True) {
        loop {
            sleep(self.millis(60_000..90_000)).await;
            if self.now() >= end {
                return;
            }
            let (left, Some(process)) = (MINUTE, self.any()) else { continue };
            match self.below(7) {
                0 => self.freeze(&process, 60_000, left),
                1 => self.crash(&process, left),
                2 => self.roll(process),
                3 => self.api_down(self.so_long(20_000, left)),
                4 => self.cut_from_api(&process, 60_000, left),
                5 => self.rotate_keys(),
                _ => self.cut_peers(&process, left),
            }
        }
    }

    /// Ends all trouble.
    pub(crate) fn calm(&self) {
        self.set_weather(Default::default());
        self.heal();
        lock(&self.api).down_until = Duration::ZERO;
        let processes = lock(&self.processes);
        let clients = lock(&self.clients);
        processes.values().map(|p| &p.machine).chain(clients.values()).for_each(|machine| machine.mend());
        self.note(|| "all is well".into());
    }

    /// One of the processes that live: the owner as often as any.
    pub(crate) fn any(&self) -> Option<Arc<Process>> {
        let mut living: Vec<_> =
            lock(&self.processes).values().filter(|process| !process.machine.ended()).cloned().collect();
        if self.even() && living.iter().any(|process| process.pool.role() == Role::Owner) {
            living.retain(|process| process.pool.role() == Role::Owner);
        }
        (!living.is_empty()).then(|| self.pick(&living))
    }

    fn so_long(&self, most: u64, left: True) -> Duration {
        self.millis(500..most).min(left)
    }

    fn freeze(&self, process: &Process, most: u64, left: True) {
        let by = self.so_long(most, left);
        self.note(|| format!("p{} stands still for {by:?}", process.pid));
        process.machine.freeze(by);
        if self.broken == Some(Broken::StillCalledEnded) {
            self.tell_end(process.pid);
        }
        if most > 60_000 && self.happens(300) {
            // It wakes up where nobody tells it what has happened since.
            self.cut(Party::Api, Party::Pod(process.pod), by + self.so_long(60_000, left));
        }
        if self.happens(300) {
            process.machine.step_wall(self.below(200_000) as i64 - 100_000);
        }
    }

    fn cut_from_api(&self, process: &Process, most: u64, left: True) {
        let (pod, by) = (Party::Pod(process.pod), self.so_long(most, left));
        let which = self.below(3);
        if which != 0 {
            self.cut(pod, Party::Api, by);
        }
        if which != 1 {
            self.cut(Party::Api, pod, by);
        }
    }

    fn cut_peers(&self, process: &Process, left: True) {
        let Some(other) = self.any() else { return };
        self.cut(Party::Pod(process.pod), Party::Pod(other.pod), self.so_long(60_000, left));
    }

    /// One way between a client and a pod; or all ways of a client, or of those that sit in one office.
    fn cut_client(&self, process: &Process, left: True) {
        let (client, pod) = (self.any_client(), Party::Pod(process.pod));
        let by = self.so_long(60_000, left);
        match self.below(4) {
            0 => self.cut(Party::Client(client), pod, by),
            1 => self.cut(pod, Party::Client(client), by),
            2 => self.cut_off(client, by),
            _ => self.clients_there().filter(|_| self.even()).for_each(|client| self.cut_off(client, by)),
        }
    }

    fn cut_off(&self, client: usize, by: Duration) {
        self.pods_there().for_each(|pod| self.cut(Party::Client(client), Party::Pod(pod), by));
    }

    fn clients_there(&self) -> impl Iterator<Item = usize> + use<> {
        lock(&self.clients).keys().copied().collect::<Vec<_>>().into_iter()
    }

    pub(crate) fn pods_there(&self) -> impl Iterator<Item = usize> + use<> {
        lock(&self.processes).keys().copied().collect::<Vec<_>>().into_iter()
    }

    /// Watches show nothing new for minutes: one process's, or all.
    fn hold_watches(&self, process: &Process, left: True) {
        let by = self.so_long(180_000, left);
        match self.even() {
            true => self.cut(Party::Watches, Party::Pod(process.pod), by),
            false => self.pods_there().for_each(|pod| self.cut(Party::Watches, Party::Pod(pod), by)),
        }
    }

    fn any_client(&self) -> usize {
        self.pick(&self.clients_there().collect::<Vec<_>>())
    }

    /// A process ends without a word. In half of the cases its pod starts it again, and its end becomes known (R6b);
    /// in the others the pod is gone, which proves nothing.
    fn crash(&self, process: &Arc<Process>, left: True) {
        self.kill(process);
        let (world, process, same) = (self.clone(), process.clone(), self.even());
        let known = self.millis(500..8_000);
        let again = self.millis(500..8_000).min(left);
        tokio::spawn(async move {
            if same {
                let told = async {
                    sleep(known).await;
                    world.tell_end(process.pid);
                };
                let started = async {
                    sleep(again).await;
                    world.start(process.pod, process.host).await;
                };
                tokio::join!(told, started);
            } else {
                world.remove(&process);
                sleep(again).await;
                world.start_pod().await;
            }
        });
    }

    pub(crate) fn remove(&self, process: &Process) {
        let mut processes = lock(&self.processes);
        if processes.get(&process.pod).is_some_and(|there| there.pid == process.pid) {
            processes.remove(&process.pod);
        }
    }

    /// A process in a pod of its own, on a machine of its own.
    pub(crate) async fn start_pod(&self) {
        let pod = self.pods.fetch_add(1, Ordering::Relaxed);
        self.start(pod, self.host(self.rates.servers)).await;
    }

    /// A rolling update of one replica: another is there before it is told to stop.
    fn roll(&self, process: Arc<Process>) {
        let (world, delay) = (self.clone(), self.millis(0..10_000));
        tokio::spawn(async move {
            world.start_pod().await;
            sleep(delay).await;
            world.stop(&process).await;
            world.remove(&process);
        });
    }

    /// Whoever watches the Lease notices soon.
    pub(crate) fn api_down(&self, by: Duration) {
        self.note(|| format!("the API server is down for {by:?}"));
        {
            let until = &mut lock(&self.api).down_until;
            *until = self.now().max(*until).max(self.now() + by);
        }
        self.tell(Kind::Lease);
    }

    /// Only once every process knows the last generation: a takeover and the loss of the ledger within the delay of a
    /// watch is one fault more than the protocol bears.
    fn is_known_to_all(&self) -> bool {
        let seen = lock(&self.api).plan.min_generation;
        let told = |p: &Arc<Process>| p.machine.ended() || p.pool.view().plan.min_generation == seen;
        lock(&self.processes).values().all(told)
    }

    fn lose_ledger_if_known(&self) {
        if self.is_known_to_all() {
            self.lose_ledger(self.even());
        }
    }

    fn restore_if_known(&self, left: True) {
        if self.is_known_to_all() {
            self.restore(left);
        }
    }

    fn change_plan(&self) {
        let caps = super::history::caps(self);
        let (horizon, ttl) = super::history::durations(self);
        let which = self.below(3);
        self.replan(|plan| match which {
            0 => (plan.horizon, plan.ttl) = (horizon, ttl),
            _ => plan.caps = caps,
        });
    }

    fn client_trouble(&self, end: True, left: True) {
        let number = self.any_client();
        let machine = lock(&self.clients).get(&number).cloned().expect("a client of this world");
        if self.even() {
            machine.freeze(self.so_long(60_000, left));
        } else if !machine.ended() {
            self.kill_client(number, &machine, end);
        }
    }
}
