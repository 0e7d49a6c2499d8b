//! The witness: many workers of one process that take seats as applications do, with the Rust SDK, and write down what
//! they believe, for the judge of tests/cluster.
//!
//! Each argument is a crowd of workers, KIND:FEATURE:COUNT[:FROM], which begin when the machine has been up for FROM
//! milliseconds. A `holder` keeps its seat; a `comer` gives it back after 2 to 6 s, and comes again; a `meter` gives it
//! back at once, and comes again. The server and the key are found as by every application: in a Service Binding.
#![allow(missing_docs)]

mod record;

use std::process::ExitCode;
use std::time::Duration;

use genie_client::{BootInstant, Checkout, Client, Config, Error, Given, Session, State, identity};
use record::{Event, Record};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Renewals are due so often (a third of a ttl of 30 s): holders begin spread over it, so that one is due at any time.
const RENEWAL: Duration = Duration::from_secs(10);
const MAX_WORKERS: u32 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Holder,
    Comer,
    Meter,
}

struct Crowd {
    kind: Kind,
    feature: String,
    count: u32,
    from: u64,
}

struct Worker {
    kind: Kind,
    name: String,
    feature: String,
    client: Client,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match witness().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("witness: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn witness() -> Result<(), String> {
    let mut workers = JoinSet::new();
    for (number, argument) in std::env::args().skip(1).enumerate() {
        let crowd = Crowd::parse(&argument)
            .ok_or_else(|| format!("{argument:?} is not KIND:FEATURE:COUNT[:FROM]"))?;
        for member in 0..crowd.count {
            // A client each, as each application has one: they end up at different replicas.
            let config = Config::discover(Given::default()).map_err(|error| error.to_string())?;
            let kind = argument.split(':').next().unwrap_or_default();
            let worker = Worker {
                kind: crowd.kind,
                name: format!("{kind}-{}-{number}-{member}", crowd.feature),
                feature: crowd.feature.clone(),
                client: Client::new(config),
            };
            let spread = RENEWAL * member / crowd.count;
            let begin = Duration::from_millis(crowd.from.saturating_sub(now())) + spread;
            workers.spawn(worker.work(begin));
        }
    }
    // Workers never end by themselves: one that did has panicked.
    match workers.join_next().await {
        Some(Err(error)) => Err(error.to_string()),
        _ => Err("nobody to work: give at least one KIND:FEATURE:COUNT".into()),
    }
}

impl Crowd {
    fn parse(argument: &str) -> Option<Self> {
        let mut words = argument.split(':');
        let kind = match words.next()? {
            "holder" => Kind::Holder,
            "comer" => Kind::Comer,
            "meter" => Kind::Meter,
            _ => return None,
        };
        let feature = words.next().filter(|feature| !feature.is_empty())?.to_owned();
        let count = words.next()?.parse().ok().filter(|count| (1..=MAX_WORKERS).contains(count))?;
        let from = words.next().map_or(Some(0), |from| from.parse().ok())?;
        words.next().is_none().then_some(Self { kind, feature, count, from })
    }
}

impl Worker {
    async fn work(self, begin: Duration) {
        sleep(begin).await;
        loop {
            let asked = now();
            let want = Checkout {
                features: vec![self.feature.clone()],
                client: identity("e2e"),
                ..Checkout::default()
            };
            match self.client.checkout(want).await {
                Ok(seat) => self.hold(seat, asked).await,
                Err(error) => self.say(failure(&error, now() - asked)),
            }
            // Sooner than the server asks for, and each at its own time: what is free is taken within a moment.
            sleep(match self.kind {
                Kind::Meter => between(150, 250),
                _ => between(500, 1000),
            })
            .await;
        }
    }

    /// Keeps the seat as this kind of worker does, and tells all that becomes of it.
    async fn hold(&self, seat: Session, asked: u64) {
        let took = now() - asked;
        let mut states = seat.watch();
        let mut until = match seat.state() {
            State::Valid { until } | State::CutOff { until, .. } => millis(until),
            State::Lost(loss) => return self.say(Event::Lost { why: loss.to_string() }),
        };
        self.say(Event::Held { until, took });
        let end = match self.kind {
            Kind::Holder => Duration::MAX,
            Kind::Comer => between(2_000, 6_000),
            Kind::Meter => Duration::ZERO,
        };
        let enough = sleep(end);
        tokio::pin!(enough);
        loop {
            tokio::select! {
                biased;
                () = &mut enough => break,
                changed = states.changed() => {
                    let state = states.borrow_and_update().clone();
                    match (changed, state) {
                        (Ok(()), State::Valid { until: next }) => {
                            if millis(next) != until {
                                until = millis(next);
                                self.say(Event::Renewed { until });
                            }
                        }
                        (Ok(()), State::CutOff { why, .. }) => self.say(Event::CutOff { why }),
                        (_, State::Lost(loss)) => return self.say(Event::Lost { why: loss.to_string() }),
                        (Err(_), _) => return self.say(Event::Lost { why: "nobody renews it".into() }),
                    }
                }
            }
        }
        self.say(Event::GivenBack);
        let told = now();
        let result = seat.checkin().await;
        let took = now() - told;
        self.say(match result {
            Ok(()) => Event::Returned { took },
            Err(error) => failure(&error, took),
        });
    }

    fn say(&self, event: Event) {
        let record = Record { t: now(), worker: self.name.clone(), feature: self.feature.clone(), event };
        match serde_json::to_string(&record) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("witness: a record cannot be written: {error}"),
        }
    }
}

fn failure(error: &Error, took: u64) -> Event {
    let why = error.to_string();
    match error {
        Error::Denied(_) => Event::Refused { why, took },
        _ => Event::Failed { why, took },
    }
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000
        + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

fn millis(moment: BootInstant) -> u64 {
    u64::try_from(moment.since(BootInstant::from_boot(Duration::ZERO)).as_millis()).unwrap_or(u64::MAX)
}

/// A time between these, in milliseconds.
fn between(least: u64, most: u64) -> Duration {
    let chance = u64::from(getrandom::u32().unwrap_or_default());
    Duration::from_millis(least + chance % (most - least))
}
