//! One ledger as this process serves it: the plan in force and the replica, behind a short inline mutex.
//!
//! Takes client calls (any task) and store events (its driver's task); nothing awaits with the lock held.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use genie_ledger::{
    Answer, BootInstant, CheckoutRequest, Claim, Generation, Holder, Nonce, ObservedLedger, OperationId,
    Outcome, Replica, RequestId, Role, SessionId, Status, StoreReply, StoreRequest, Ticket, UnixSeconds,
};
use genie_proto::v1::Client;
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::clock::SharedClock;
use super::handover::Table;
use super::store::Observation;
use crate::license::{LedgerId, PlanView};

/// Processes known to have ended that are remembered: the last owner's end matters, and those of this process's earlier names.
const MAX_ENDED: usize = 16;

/// What a server remembers of a session for the people who ask; no decision rests on it.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) client: Option<Client>,
    pub(crate) features: Vec<String>,
    pub(crate) started: Timestamp,
    pub(crate) adopted: bool,
}

/// One live session, for people.
pub(crate) struct SessionInfo {
    pub(crate) session: SessionId,
    pub(crate) grant: genie_ledger::GrantId,
    pub(crate) count: u32,
    pub(crate) left: Duration,
    pub(crate) meta: Arc<Meta>,
}

/// Who decides, as far as this replica knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Here,
    At(Holder),
    Unknown,
    /// The store does not answer: other replicas may know.
    OutOfSight,
}

/// See the module.
pub(crate) struct Pool {
    pub(crate) id: LedgerId,
    pub(crate) hash: [u8; 8],
    clock: SharedClock,
    view: RwLock<Arc<PlanView>>,
    inner: Mutex<Inner>,
    /// Wakes those who wait for another owner, in the order in which they came.
    changes: broadcast::Sender<()>,
    /// The last owner before this process, as the ledger showed it: evidence of its end would shorten a recovery (R6b).
    before: watch::Sender<Option<(Generation, Holder)>>,
    /// The latest wall-clock time that the ledger has seen, in seconds since 1970; 0: none. Beside the lock, for calls that
    /// need nothing else of the replica.
    latest: AtomicI64,
    /// Wakes the driver: a call has made a request, or an earlier tick, due.
    wake: Notify,
}

struct Inner {
    replica: Replica<Arc<Meta>>,
    /// Who decides, as it was last told.
    told: Owner,
    /// Processes known to have ended, the newest last: a replica that begins anew is told of them again.
    ended: VecDeque<Nonce>,
    waiters: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    /// Requests that the driver has not fetched yet: at most one for the Lease and one for the ledger.
    outbox: Vec<(RequestId, StoreRequest)>,
    /// The store gave no answer to the last request.
    out_of_touch: bool,
    /// When the driver will wake by itself.
    armed: Option<BootInstant>,
}

impl Inner {
    fn owner(&self) -> Owner {
        match self.replica.role() {
            Role::Owner => Owner::Here,
            _ => match self.replica.known_owner() {
                Some(holder) => Owner::At(holder.clone()),
                None if self.out_of_touch => Owner::OutOfSight,
                None => Owner::Unknown,
            },
        }
    }

    fn remember_end(&mut self, nonce: Nonce) {
        if !self.ended.contains(&nonce) {
            self.ended.push_back(nonce);
        }
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    /// Times of sending are read here, a moment before the driver sends: for R2, early is safe.
    fn collect_requests(&mut self, now: BootInstant) {
        while let Some(request) = self.replica.take_request(now) {
            self.outbox.push(request);
        }
    }
}

impl Pool {
    pub(crate) fn new(clock: SharedClock, view: Arc<PlanView>, me: Holder) -> Self {
        let replica = Replica::new(me, view.settings().clone(), clock.boot());
        let inner = Inner {
            replica,
            told: Owner::Unknown,
            ended: VecDeque::new(),
            waiters: BTreeMap::new(),
            outbox: Vec::new(),
            out_of_touch: false,
            armed: None,
        };
        Self {
            id: view.ledger.clone(),
            hash: view.ledger.hash(),
            clock,
            view: RwLock::new(view),
            inner: Mutex::new(inner),
            changes: broadcast::Sender::new(1),
            before: watch::Sender::new(None),
            latest: AtomicI64::new(0),
            wake: Notify::new(),
        }
    }

    /// The latest wall-clock time that the ledger has seen.
    pub(crate) fn latest_time(&self) -> Timestamp {
        Timestamp::from_second(self.latest.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// The plan in force.
    pub(crate) fn view(&self) -> Arc<PlanView> {
        self.view.read().expect("no code panics while it holds this lock").clone()
    }

    /// Puts a changed plan in force.
    pub(crate) fn configure(&self, view: Arc<PlanView>) {
        let settings = view.settings().clone();
        *self.view.write().expect("no code panics while it holds this lock") = view;
        self.change(|inner, now| inner.replica.configure(now, settings));
        // The plan may say that the owner before has ended.
        self.before.send_modify(|_| {});
    }

    /// Takes a seat; waits for a promise to be raised, or for units, at most until `deadline`.
    pub(crate) async fn checkout(
        &self,
        request: CheckoutRequest<Arc<Meta>>,
        deadline: BootInstant,
    ) -> Answer {
        let waiting = self.change(|inner, now| match inner.replica.checkout(now, request) {
            Outcome::Answer(answer) => ControlFlow::Break(answer),
            Outcome::Wait(ticket) => {
                let (sender, receiver) = oneshot::channel();
                inner.waiters.insert(ticket, sender);
                ControlFlow::Continue(Waiting { pool: self, ticket, receiver })
            }
        });
        let mut waiting = match waiting {
            ControlFlow::Continue(waiting) => waiting,
            ControlFlow::Break(answer) => return answer,
        };
        let unavailable = Answer::Unavailable { retry_after: Duration::from_secs(1) };
        match self.clock.by(deadline, &mut waiting.receiver).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => unavailable,
            None => self.postpone(&mut waiting).unwrap_or(unavailable),
        }
    }

    /// Its caller is answered now; one that waits for units may call again. An answer that has just come is taken.
    fn postpone(&self, waiting: &mut Waiting<'_>) -> Option<Answer> {
        let queued = self.change(|inner, now| inner.replica.postpone(now, waiting.ticket));
        queued.or_else(|| waiting.receiver.try_recv().ok())
    }

    /// Renews a seat; `meta` describes a session that is taken over from an earlier owner.
    pub(crate) fn renew(
        &self,
        claim: &Claim,
        operation: OperationId,
        meta: impl FnOnce() -> Arc<Meta>,
    ) -> Answer {
        self.answered(|inner, now| inner.replica.renew(now, claim, operation, meta))
    }

    /// A token was shown here and is not decided on here.
    pub(crate) fn note(&self, claim: &Claim) {
        self.change(|inner, _| inner.replica.note_token(claim));
    }

    /// Says who holds a session that was taken over without anybody saying so.
    pub(crate) fn describe(&self, session: SessionId, client: Client) {
        self.change(|inner, _| {
            inner.replica.describe(session, |meta| {
                *meta = Arc::new(Meta { client: Some(client), ..Meta::clone(meta) });
            });
        });
    }

    /// Gives a seat back.
    pub(crate) fn checkin(&self, claim: &Claim, operation: OperationId) -> Answer {
        self.answered(|inner, now| inner.replica.checkin(now, claim, operation))
    }

    fn answered(&self, call: impl FnOnce(&mut Inner, BootInstant) -> Outcome) -> Answer {
        match self.change(call) {
            Outcome::Answer(answer) => answer,
            // Only checkouts wait; were this to change, the caller's retry is the safe way out.
            Outcome::Wait(_) => Answer::Unavailable { retry_after: Duration::from_secs(1) },
        }
    }

    /// What the replica knows.
    pub(crate) fn status(&self) -> Status {
        self.lock().replica.status(self.clock.boot())
    }

    /// At most `max` live sessions with an id above `after`, in order of their ids.
    pub(crate) fn sessions(&self, after: Option<SessionId>, max: usize) -> Vec<SessionInfo> {
        let now = self.clock.boot();
        let inner = self.lock();
        let mut sessions: Vec<SessionInfo> = inner
            .replica
            .sessions()
            .filter(|view| after.is_none_or(|after| view.session > after))
            .map(|view| SessionInfo {
                session: view.session,
                grant: view.grant,
                count: view.count.get(),
                left: view.expires.since(now),
                meta: view.meta.clone(),
            })
            .collect();
        drop(inner);
        sessions.sort_unstable_by_key(|info| info.session);
        sessions.truncate(max);
        sessions
    }

    // What follows is the driver's.

    /// Takes the requests that are due; says when to come back without being woken.
    pub(super) fn take_requests(&self) -> (Vec<(RequestId, StoreRequest)>, Option<BootInstant>) {
        let mut inner = self.lock();
        let now = self.clock.boot();
        let wall = u64::try_from(self.clock.wall().as_second()).unwrap_or(0);
        inner.replica.set_wall_clock(now, UnixSeconds(wall));
        inner.collect_requests(now);
        let requests = std::mem::take(&mut inner.outbox);
        inner.armed = inner.replica.next_tick();
        (requests, inner.armed)
    }

    pub(super) fn reply(&self, request: RequestId, reply: StoreReply) {
        if let StoreReply::Ledger(Some(ledger)) = &reply {
            self.note_holder(ledger);
        }
        self.change(|inner, now| {
            inner.out_of_touch = reply == StoreReply::Unknown;
            inner.replica.reply(now, request, reply);
        });
    }

    pub(super) fn observe(&self, observation: Observation) {
        if let Observation::Ledger(Some(ledger)) = &observation {
            self.note_holder(ledger);
        }
        self.change(|inner, now| match observation {
            Observation::Lease(lease) => inner.replica.observe_lease(now, lease),
            Observation::LeaseUnseen => inner.replica.lose_sight_of_lease(now),
            Observation::Ledger(ledger) => inner.replica.observe_ledger(now, ledger),
        });
    }

    pub(super) fn tick(&self) {
        self.change(|inner, now| inner.replica.tick(now));
    }

    /// Also where a replica reads it on its way to owning the ledger, when a watch may not have shown it yet.
    fn note_holder(&self, ledger: &ObservedLedger) {
        let Some(record) = &ledger.record else { return };
        if record.holder.nonce == self.lock().replica.me().nonce {
            return;
        }
        self.before.send_if_modified(|before| {
            let newer = before.as_ref().is_none_or(|(generation, holder)| {
                record.generation >= *generation && record.holder != *holder
            });
            if newer {
                *before = Some((record.generation, record.holder.clone()));
            }
            newer
        });
    }

    /// The last owner but this process; told when it is another, and when the plan may say that it has ended.
    pub(super) fn before(&self) -> watch::Receiver<Option<(Generation, Holder)>> {
        self.before.subscribe()
    }

    /// It is known that the process of this nonce has ended (R6b).
    pub(super) fn previous_ended(&self, nonce: Nonce) {
        self.change(|inner, now| {
            inner.remember_end(nonce.clone());
            inner.replica.previous_ended(now, nonce);
        });
    }

    /// Told to stop: an owner gives its session table, and waits to be told who has it (R6a).
    pub(super) fn hand_over(&self) -> Option<Table> {
        self.change(|inner, now| inner.replica.hand_over(now))
    }

    /// The table is with this process now, or with nobody.
    pub(super) fn handed_over(&self, successor: Option<Nonce>) {
        self.change(|inner, now| inner.replica.handed_over(now, successor));
    }

    /// Another owner's table; gives the nonce to seal for. None: this replica cannot take it.
    pub(super) fn accept_handover(&self, table: Table) -> Option<Nonce> {
        self.change(|inner, now| inner.replica.accept_handover(now, table))
    }

    /// Begins anew under a fresh nonce, after the replica has stopped; what it knew of generations, and of processes that
    /// have ended, goes along.
    pub(super) fn renounce(&self, me: Holder) {
        self.change(|inner, now| {
            let ended = inner.replica.me().nonce.clone();
            inner.replica = inner.replica.anew(me, now);
            // The old name answers no more: nothing else is left of that process (R6b).
            inner.remember_end(ended);
            inner.ended.iter().for_each(|nonce| inner.replica.previous_ended(now, nonce.clone()));
            inner.waiters.clear();
            inner.outbox.clear();
        });
    }

    /// Who decides, and what receives something (an error, where much happened at once) when another does.
    pub(crate) fn owner(&self) -> (Owner, broadcast::Receiver<()>) {
        let inner = self.lock();
        (inner.told.clone(), self.changes.subscribe())
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The part that this process plays.
    pub(crate) fn role(&self) -> Role {
        self.lock().replica.role()
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Lets `call` change the replica, hands out what it completed, and wakes the driver where it has work.
    fn change<T>(&self, call: impl FnOnce(&mut Inner, BootInstant) -> T) -> T {
        // With the lock: times must not run backward.
        let mut inner = self.lock();
        let now = self.clock.boot();
        let outcome = call(&mut inner, now);
        while let Some((ticket, answer)) = inner.replica.take_completion() {
            if let Some(waiter) = inner.waiters.remove(&ticket) {
                // A waiter that has gone lets its seat run out (R8).
                let _ = waiter.send(answer);
            }
        }
        inner.collect_requests(now);
        let due = inner.replica.next_tick();
        let wake =
            !inner.outbox.is_empty() || due.is_some_and(|due| inner.armed.is_none_or(|armed| due < armed));
        let latest = i64::try_from(inner.replica.latest_time().0).unwrap_or(0);
        self.latest.store(latest, Ordering::Relaxed);
        let owner = inner.owner();
        if inner.told != owner {
            inner.told = owner;
            // Nobody may be waiting.
            let _ = self.changes.send(());
        }
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds this lock")
    }
}

/// A checkout that waits; when its caller goes away, its place is given up.
struct Waiting<'a> {
    pool: &'a Pool,
    ticket: Ticket,
    receiver: oneshot::Receiver<Answer>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.change(|inner, now| {
            if inner.waiters.remove(&self.ticket).is_some() {
                inner.replica.cancel(now, self.ticket);
            }
        });
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
