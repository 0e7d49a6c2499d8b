//! Has a seat operation decided by its owner, wherever that is: here, at another replica, or after a takeover.
//!
//! A call that finds no owner waits, and is tried again under its operation id as soon as another owner is known,
//! until its caller's deadline. What waits is bounded, with those that wait for a seat. A replica that is cut off from the
//! store as well asks the others that it saw last, and says at once when none of them decides.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::BootInstant;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::calls::Licensing;
use super::error::CallError;
use super::metrics::Passed;
use super::peers::{Call, Reply};
use super::pool::{Owner, Pool};
use super::words;

/// Calls that wait for an owner at one time: three of four places of the listener, so that what is answered from
/// memory still is.
pub(crate) const MAX_WAITING: usize = 3_000;
/// An owner that was not reached, or says that it is none, is asked again after this long: a connection that broke
/// may be made again, and a Lease that moved is seen here about as late as there.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// How a seat operation went at this replica.
pub(crate) enum Attempt<T> {
    /// It is decided.
    Done(T),
    /// Another replica decides for this pool.
    Elsewhere(Arc<Pool>),
}

/// The places of the calls that wait, for an owner or for a seat.
pub(crate) struct Patience(Semaphore);

impl Patience {
    /// A place, for as long as it is kept.
    pub(crate) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.0.try_acquire().ok()
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self(Semaphore::new(MAX_WAITING))
    }
}

impl Licensing {
    /// Tries `here`, then `call` at the owner that is known, again and again until `deadline`.
    pub(super) async fn decided<T, F>(
        &self,
        deadline: BootInstant,
        call: impl Fn() -> Call,
        here: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        T: TryFrom<Reply, Error = CallError>,
        F: Future<Output = Result<Attempt<T>, CallError>>,
    {
        let mut place = None;
        loop {
            let pool = match here().await? {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Elsewhere(pool) => pool,
            };
            if self.clock.boot() >= deadline {
                return Err(words::unavailable(&pool, words::TAKEOVER_RETRY));
            }
            let (known, mut changes) = pool.owner();
            let again_at = match known {
                Owner::Here => continue,
                Owner::Unknown => deadline,
                Owner::OutOfSight => {
                    let reply = self.peers.ask_around(&pool.id, call(), deadline).await;
                    let nobody = || Err(words::unavailable(&pool, words::TAKEOVER_RETRY));
                    return reply.map_or_else(nobody, |reply| reply.and_then(T::try_from));
                }
                Owner::At(holder) => {
                    tokio::select! {
                        biased;
                        _ = changes.recv() => {
                            self.metrics.passed(Passed::OwnerChanged);
                            continue;
                        }
                        reply = self.peers.forward(&pool.id, &holder.address, call(), deadline) => match reply {
                            Some(reply) => {
                                self.metrics.passed(Passed::Answered);
                                return reply.and_then(T::try_from);
                            }
                            None => self.metrics.passed(Passed::Unanswered),
                        },
                    }
                    deadline.min(self.clock.boot() + RETRY_PAUSE)
                }
            };
            if place.is_none() {
                let free = self.patience.place();
                let free = free.ok_or_else(|| words::unavailable(&pool, words::TAKEOVER_RETRY))?;
                place = Some((free, self.metrics.waiting()));
            }
            // Whether the owner changed, or the time came: both mean another try.
            let _ = self.clock.by(again_at, changes.recv()).await;
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
