//! A held seat, alive: one background task drives the pure [`Seat`](crate::seat::Seat) with the clock and the
//! server, tells watchers, and gives the seat back at the end. It owns the session token; nobody else ever sees it.

use std::{sync::Arc, time::Duration};

use genie_proto::v1::CheckoutResponse;
use tokio::sync::{oneshot, watch};
use tokio_stream::{Stream, wrappers::WatchStream};

use crate::{
    client::Client,
    clock::Clock,
    error::Error,
    seat::{Loss, Seat, State, Step},
};

type Reply = oneshot::Sender<Result<(), Error>>;

/// A held seat. It renews itself; dropping it gives it back in the background, where the runtime lives long enough.
#[derive(Debug)]
pub struct Session {
    answer: CheckoutResponse,
    state: watch::Receiver<State>,
    warnings: watch::Receiver<Vec<String>>,
    stop: oneshot::Sender<Reply>,
    clock: ClockHandle,
}

struct ClockHandle(Arc<dyn Clock>);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Session {
    pub(crate) fn start(client: Client, seat: Seat, mut answer: CheckoutResponse) -> Session {
        // The token in the answer is the first one: of no use to anybody, and a secret.
        answer.session.clear();
        let clock = ClockHandle(Arc::clone(client.clock()));
        let (publish, state) = watch::channel(seat.state(clock.0.now()));
        let (warn, warnings) = watch::channel(answer.warnings.clone());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(hold(client, seat, publish, warn, stopped));
        Session { answer, state, warnings, stop, clock }
    }

    /// The answer that gave the seat: features, tier, expiry. Its session token is left out.
    pub fn answer(&self) -> &CheckoutResponse {
        &self.answer
    }

    /// Whether the seat may be used now. Judged by the clock itself, so it is right even just after a suspend.
    pub fn state(&self) -> State {
        let state = self.state.borrow().clone();
        match state {
            State::Valid { until } if self.clock.0.now() >= until => {
                State::Lost(Loss::RanOut { why: "it was not renewed in time".to_owned() })
            }
            State::CutOff { until, why } if self.clock.0.now() >= until => State::Lost(Loss::RanOut { why }),
            state => state,
        }
    }

    /// How long the seat may still be used without another renewal; zero when it is lost.
    pub fn remaining(&self) -> Duration {
        match self.state() {
            State::Valid { until } | State::CutOff { until, .. } => until.since(self.clock.0.now()),
            State::Lost(_) => Duration::ZERO,
        }
    }

    /// Every change of the state; the newest only.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The state now, and each one that follows; the last is [`State::Lost`]. Whoever is slow hears the newest only.
    pub fn states(&self) -> impl Stream<Item = State> + Send + Unpin + use<> {
        WatchStream::new(self.state.clone())
    }

    /// Calls back with each new state from now on, at last with [`State::Lost`]. On the runtime, so it must not block.
    pub fn on_change(&self, mut tell: impl FnMut(State) + Send + 'static) {
        let mut state = self.state.clone();
        state.mark_unchanged();
        tokio::spawn(async move {
            while state.changed().await.is_ok() {
                let state = state.borrow_and_update().clone();
                tell(state);
            }
        });
    }

    /// Calls back once when the seat is lost, and never where the application itself gave it back. On the runtime, so
    /// it must not block.
    pub fn on_loss(&self, tell: impl FnOnce(Loss) + Send + 'static) {
        let state = self.state.clone();
        tokio::spawn(async move {
            match lost(state).await {
                Loss::GivenBack => {}
                loss => tell(loss),
            }
        });
    }

    /// Calls back with each sentence on an end that is near, once: at once with those of the checkout, and with those
    /// that renewals bring later on the runtime, so it must not block.
    pub fn on_warning(&self, mut tell: impl FnMut(&str) + Send + 'static) {
        let mut warnings = self.warnings.clone();
        let mut told = warnings.borrow_and_update().clone();
        told.iter().for_each(|warning| tell(warning));
        tokio::spawn(async move {
            while warnings.changed().await.is_ok() {
                let now = warnings.borrow_and_update().clone();
                now.iter().filter(|warning| !told.contains(warning)).for_each(|warning| tell(warning));
                told = now;
            }
        });
    }

    /// Waits until the seat is lost.
    pub async fn lost(&self) -> Loss {
        lost(self.state.clone()).await
    }

    /// Gives the seat back. It is forgotten before anything is sent; one that is lost needs nothing.
    ///
    /// # Errors
    /// The server could not be told within five seconds: the seat runs out by itself.
    pub async fn checkin(self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        if self.stop.send(reply).is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

async fn lost(mut state: watch::Receiver<State>) -> Loss {
    match state.wait_for(|state| matches!(state, State::Lost(_))).await.as_deref() {
        Ok(State::Lost(loss)) => loss.clone(),
        _ => Loss::RanOut { why: "the runtime that renewed it has ended".to_owned() },
    }
}

async fn hold(
    client: Client,
    mut seat: Seat,
    publish: watch::Sender<State>,
    warn: watch::Sender<Vec<String>>,
    mut stopped: oneshot::Receiver<Reply>,
) {
    let clock = Arc::clone(client.clock());
    loop {
        let step = seat.step(clock.now(), || client.operation());
        publish_change(&publish, seat.state(clock.now()));
        let until = seat.until();
        match step {
            Step::Over(_) => return,
            Step::Wait(at) => tokio::select! {
                biased;
                stop = &mut stopped => return give_back(client, seat, &publish, stop.ok()).await,
                () = clock.sleep_until(at) => {}
            },
            Step::Send(renewal) => tokio::select! {
                biased;
                stop = &mut stopped => return give_back(client, seat, &publish, stop.ok()).await,
                // R7: an answer that comes later is never heard.
                () = clock.sleep_until(until) => {}
                answer = client.attempt(&renewal, until) => {
                    if let Ok(answer) = &answer {
                        publish_change(&warn, answer.warnings.clone());
                    }
                    seat.answered(clock.now(), answer, client.jitter());
                }
            },
        }
    }
}

fn publish_change<T: PartialEq>(publish: &watch::Sender<T>, now: T) {
    publish.send_if_modified(|current| {
        let changed = *current != now;
        *current = now;
        changed
    });
}

/// R7: the session is forgotten for good, and everybody knows it, before its check-in is sent.
async fn give_back(client: Client, seat: Seat, publish: &watch::Sender<State>, reply: Option<Reply>) {
    publish.send_replace(State::Lost(Loss::GivenBack));
    let result = client.give_back(seat.into_token()).await;
    if let Some(reply) = reply {
        let _ = reply.send(result);
    }
}
