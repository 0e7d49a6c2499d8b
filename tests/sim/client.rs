//! Applications that hold seats by the SDK that ships, each on a machine of its own. What each believed to hold, and
//! until when by its own clock, is noted for the judge.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use genie_client::seams::{Chance, Seams};
use genie_client::{BootInstant, Ca, Checkout, Client, Config, Credential, Loss, Server, Session, State};
use tokio::time::sleep;

use super::api::{FEATURE, GRANTS, PRODUCT};
use super::judge::Belief;
use super::machine::Machine;
use super::network::Dialing;
use super::world::{Broken, True, World, lock};

/// How many clients wait for a seat all the time.
const EAGER: usize = 2;

/// The world's chance, as a client draws from it.
struct Drawn(World);

impl Chance for Drawn {
    fn fraction(&self) -> f64 {
        self.0.below(1_001) as f64 / 1_000.0
    }

    fn operation(&self) -> String {
        let half = || u128::from(self.0.below(u64::MAX)) + 1;
        uuid::Uuid::from_u128(half() << 64 | half()).to_string()
    }
}

/// A client of the world's servers, and its machine.
pub(crate) fn client(world: &World, number: usize, key: &str) -> (Client, Machine) {
    let machine = Machine::new(world.began, world.host(world.rates.clients));
    let dial = Dialing {
        world: world.clone(),
        client: number,
        machine: machine.clone(),
        next: AtomicU64::new(number as u64),
    };
    let config = Config {
        server: Server::parse("https://192.0.2.1", "the simulation").expect("an address"),
        product: PRODUCT.into(),
        credential: Credential::Text(key.into()),
        ca: Ca::Pem(Vec::new()),
    };
    let clock = Arc::new(machine.clone());
    let seams = Seams { dial: Box::new(dial), clock, chance: Box::new(Drawn(world.clone())) };
    (Client::with_seams(config, seams), machine)
}

/// One application: takes seats and gives them back, until `end`.
pub(crate) struct App {
    world: World,
    number: usize,
    grant: &'static str,
    machine: Machine,
    client: Client,
    /// How much slower than usual it comes and goes.
    pace: u32,
    end: True,
}

impl App {
    pub(crate) fn new(world: &World, number: usize, pace: u32, end: True) -> Self {
        let (grant, key) = world.pick(&GRANTS);
        let (client, machine) = client(world, number, key);
        lock(&world.clients).insert(number, machine.clone());
        Self { world: world.clone(), number, grant, machine, client, pace, end }
    }

    pub(crate) async fn live(self) {
        while self.world.now() < self.end {
            // Some take whatever is free as soon as it is.
            let pause = self.world.millis(if self.number < EAGER { 200..1_500 } else { 0..30_000 });
            self.machine.sleep_until(self.machine.shows() + pause * self.pace).await;
            let (renders, more) = (self.world.happens(300), self.world.happens(150));
            let want = Checkout {
                features: if renders { vec![FEATURE.into()] } else { Vec::new() },
                count: if more { 2 } else { 1 },
                ..Checkout::default()
            };
            let asked = self.world.now();
            match self.client.checkout(want.clone()).await {
                Ok(session) => self.hold(session, &want, asked).await,
                Err(error) => self.note(|| format!("no seat: {error}")),
            }
        }
    }

    async fn hold(&self, session: Session, want: &Checkout, asked: True) {
        let now = self.world.now();
        let limits = [true, self.grant == "b", !want.features.is_empty()];
        let belief = Belief { client: self.number, from: now, to: now, count: want.count, limits };
        let belief = lock(&self.world.judge).begin(belief);
        self.note(|| format!("holds {} of {limits:?}", want.count));
        let stays =
            if self.world.happens(750) { self.world.millis(1_000..60_000) * self.pace } else { self.end };
        let leaves = self.machine.shows() + stays.min(self.end.saturating_sub(now)) * 9 / 10;
        let mut state = session.watch();
        loop {
            let said = state.borrow_and_update().clone();
            if !self.believes(belief, said, asked) {
                return;
            }
            tokio::select! {
                biased;
                changed = state.changed() => if changed.is_err() { return },
                () = self.machine.sleep_until(leaves) => break,
            }
        }
        // R7: it is forgotten before anything is sent.
        self.holds_until(belief, True::min);
        if self.world.happens(800) {
            let told = session.checkin().await;
            self.note(|| format!("gave back: {:?}", told.is_ok()));
        }
    }

    /// Takes what a seat says of itself; whether it is held still.
    fn believes(&self, belief: usize, said: State, asked: True) -> bool {
        match said {
            State::Valid { until } | State::CutOff { until, .. } => {
                let until = until.since(BootInstant::from_boot(Duration::ZERO));
                let from = lock(&self.world.judge).beliefs[belief].from;
                let truly = self.machine.truly(until);
                let truly = match self.world.broken {
                    Some(Broken::CountsFromAnswer) => truly + (from - asked),
                    Some(Broken::CountsInFull) => truly + truly.saturating_sub(self.world.now()) / 9,
                    _ => truly,
                };
                self.note(|| format!("holds it until {:.3}", truly.as_secs_f64()));
                self.holds_until(belief, |_, _| truly);
                true
            }
            State::Lost(Loss::GivenBack) => false,
            State::Lost(loss) => {
                self.note(|| format!("lost it: {loss}"));
                self.holds_until(belief, True::min);
                let line = format!("at {:.3} client {}: {loss}", self.world.now().as_secs_f64(), self.number);
                lock(&self.world.judge).lost.push(line);
                false
            }
        }
    }

    fn holds_until(&self, belief: usize, until: impl FnOnce(True, True) -> True) {
        let now = self.world.now();
        let to = &mut lock(&self.world.judge).beliefs[belief].to;
        *to = until(*to, now);
    }

    fn note(&self, line: impl FnOnce() -> String) {
        self.world.note(|| format!("client {}: {}", self.number, line()));
    }
}

impl World {
    /// kill -9 of an application, and another in its place: what it held it believes no more.
    pub(crate) fn kill_client(&self, number: usize, machine: &Machine, end: True) {
        machine.end();
        let now = self.now();
        for belief in lock(&self.judge).beliefs.iter_mut().filter(|belief| belief.client == number) {
            belief.to = belief.to.min(now);
        }
        self.note(|| format!("client {number} has ended"));
        let (world, pause) = (self.clone(), self.millis(100..5_000));
        tokio::spawn(async move {
            sleep(pause).await;
            App::new(&world, number, 1, end).live().await;
        });
    }
}
