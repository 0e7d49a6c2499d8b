//! What one seed is about: a storm, fair weather, an API server that is away for an hour, or a day without servers.

use std::time::Duration;

use tokio::time::sleep;

use super::api::{Api, GRANTS, Plan};
use super::client::{self, App};
use super::judge::{PerLimit, Tally};
use super::world::{Broken, Weather, World, lock};
use super::{Outcome, REPLICAS};

/// The number of the first client that asks for all seats at the end; the next one is another.
const LAST: usize = 100;
/// Of so many worlds one is without an API server for an hour, and one without servers for a day.
const RARE: u64 = 32;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Storm,
    /// No client may lose its seat.
    Fair,
    /// The API server is away for an hour. `borne`: X is longer, and no client may lose its seat.
    Outage {
        borne: bool,
    },
    /// A storm; and a day after it other servers meet what was sent then.
    DayLater,
}

struct History {
    kind: Kind,
    horizon: Duration,
    ttl: Duration,
    /// How long there is trouble.
    stormy: Duration,
}

impl History {
    fn of(seed: u64) -> Self {
        let secs = Duration::from_secs;
        let kind = match (seed % 4, seed % RARE) {
            (3, _) => Kind::Fair,
            (_, 13) => Kind::DayLater,
            (_, 21) => Kind::Outage { borne: (seed / RARE).is_multiple_of(2) },
            _ => Kind::Storm,
        };
        let (horizon, ttl, stormy) = match kind {
            Kind::Fair => (secs(120), secs(60), secs(600)),
            Kind::Outage { borne: true } => (secs(5_400), secs(600), HOUR + secs(300)),
            Kind::Outage { borne: false } => (secs(1_200), secs(300), HOUR + secs(300)),
            Kind::Storm | Kind::DayLater => (secs(60), secs(20), secs(450)),
        };
        Self { kind, horizon, ttl, stormy }
    }

    fn is_fair(&self) -> bool {
        matches!(self.kind, Kind::Fair | Kind::Outage { borne: true })
    }

    /// How much slower than usual applications come and go.
    fn pace(&self) -> u32 {
        if matches!(self.kind, Kind::Outage { .. }) { 20 } else { 1 }
    }

    fn weather(&self, world: &World) -> Weather {
        match self.is_fair() {
            true => Weather::FAIR,
            false => world.pick(&[Weather::STORM, Weather::STORM, Weather::FAIR]),
        }
    }

    async fn trouble(&self, world: &World) {
        match self.kind {
            Kind::Fair => world.breeze(self.stormy).await,
            Kind::Storm | Kind::DayLater => world.storm(self.stormy).await,
            Kind::Outage { borne } => {
                sleep(world.millis(60_000..240_000)).await;
                world.api_down(HOUR);
                match borne {
                    true => sleep(self.stormy.saturating_sub(world.now())).await,
                    false => world.storm(self.stormy).await,
                }
            }
        }
    }

    /// A takeover, a full recovery, and the ends of what was given out in both, by the slowest clock.
    fn calm(&self) -> Duration {
        (self.horizon + 2 * self.ttl) * 110 / 90 + Duration::from_secs(30)
    }
}

pub(super) fn caps(world: &World) -> PerLimit<u32> {
    let seats = 1 + world.below(5) as u32;
    [seats, 1 + world.below(2) as u32, 1 + world.below(2) as u32]
}

pub(super) fn durations(world: &World) -> (Duration, Duration) {
    let secs = Duration::from_secs;
    (world.pick(&[secs(30), secs(45), secs(60)]), world.pick(&[secs(10), secs(15), secs(20)]))
}

pub(super) async fn history(seed: u64, logs: bool, broken: Option<Broken>) -> Outcome {
    let history = History::of(seed);
    let plan = Plan {
        caps: [1; 3],
        horizon: history.horizon,
        ttl: history.ttl,
        min_generation: 0,
        longest_horizon: None,
    };
    let world = World::new(seed, logs, broken, Api::new(plan));
    world.note(|| format!("{:?}", history.kind));
    world.set_weather(history.weather(&world));
    let (first, durations) = (caps(&world), durations(&world));
    world.replan(|plan| {
        plan.caps = first;
        if matches!(history.kind, Kind::Storm | Kind::DayLater) {
            (plan.horizon, plan.ttl) = durations;
        }
    });
    for _ in 0..REPLICAS {
        world.start_pod().await;
    }
    for number in 0..3 + world.below(5) as usize {
        tokio::spawn(App::new(&world, number, history.pace(), history.stormy).live());
    }
    history.trouble(&world).await;
    let verdict = judged(&world, &history).await;
    // Servers hold the world, and the world holds them.
    lock(&world.processes).clear();
    let ownerships = lock(&world.api).fenced;
    let verdict = verdict.map(|tally| Tally { ownerships, ..tally });
    Outcome { verdict, log: world.take_log() }
}

async fn judged(world: &World, history: &History) -> Result<Tally, String> {
    world.calm();
    sleep(history.calm()).await;
    let lost = lock(&world.judge).lost.join("\n  ");
    let tally = lock(&world.judge).verdict()?;
    if history.is_fair() && tally.lost > 0 {
        return Err(format!("seats were lost:\n  {lost}"));
    }
    all_can_be_had(world, LAST).await?;
    if history.kind == Kind::DayLater {
        world.let_pass(DAY).await;
        world.replay_all();
        sleep(history.calm()).await;
        all_can_be_had(world, LAST + 1).await?;
    }
    Ok(tally)
}

/// After the calm, every seat is free, and one client gets them all.
async fn all_can_be_had(world: &World, number: usize) -> Result<(), String> {
    let count = lock(&world.api).plan.caps[0];
    let (client, _) = client::client(world, number, GRANTS[0].1);
    let want = genie_client::Checkout { count, ..Default::default() };
    match client.checkout(want).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("not all of the {count} seats are free long after all was well: {error}")),
    }
}
