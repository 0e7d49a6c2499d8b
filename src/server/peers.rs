//! Passes seat operations on to the replica that owns their ledger, in batches; and a stopped owner's sessions to its
//! successor.
//!
//! One link an owner's address: a bounded queue, and a task that sends what has gathered. How a link reaches its
//! address is the [`Connect`]'s; what is not answered there, the caller tries again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use genie_ledger::{BootInstant, Nonce};
use genie_proto::peer::{ForwardRequest, HandOverRequest, peer_client::PeerClient};
use genie_proto::v1::{self, session_request, session_response};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::calls::CALL_DEADLINE;
use super::clock::SharedClock;
use super::connect::{Connect, PeerChannel};
use super::error::CallError;
use super::handover::{self, Table};
use super::words;
use crate::license::LedgerId;

/// Operations of one message: some 60 kB, and far more than gather while one message is on its way.
pub(crate) const MAX_BATCH: usize = 256;
/// Operations that wait for a link; a thousand is a second of a busy pool.
const MAX_QUEUED: usize = 4096;
/// Messages on their way to one owner.
const MAX_UNDER_WAY: usize = 32;
/// Owners at one time: one a ledger at the most, and as many old addresses.
const MAX_LINKS: usize = 64;
/// How long the answers of one batch may take: the longest that an owner makes a call wait, and the way.
const BATCH_DEADLINE: Duration = CALL_DEADLINE.saturating_add(Duration::from_secs(2));
/// How long those who wait in a queue gather: of one ledger, 200 messages at one time at the most, of the 256 that one
/// connection may have.
const GATHERING: Duration = Duration::from_millis(50);
/// How many replicas are asked for who decides, and how long each: its caller may ask another one meanwhile.
const MAX_ASKED: usize = 8;
const ASKING: Duration = Duration::from_secs(1);
/// What a call and its answer need between two replicas, [`GATHERING`] included.
const THE_WAY: Duration = Duration::from_millis(200);
/// How long a stopping owner looks for somebody who takes its sessions: its clients wait for that.
pub(crate) const HANDOVER_DEADLINE: Duration = Duration::from_secs(2);

/// A seat operation to pass on.
#[derive(Clone)]
pub(crate) enum Call {
    Checkout(v1::CheckoutRequest),
    Renew(v1::RenewRequest),
    Checkin(v1::CheckinRequest),
}

/// What came back.
pub(crate) enum Reply {
    Checkout(v1::CheckoutResponse),
    Renew(v1::RenewResponse),
    Checkin(v1::CheckinResponse),
}

struct Job {
    ledger: String,
    call: Call,
    /// How long its answer may take there.
    patience: Duration,
    /// Dropped where nobody decided.
    answer: oneshot::Sender<Result<Reply, CallError>>,
}

/// All links of this process.
pub(crate) struct Peers {
    clock: SharedClock,
    /// None: there are no other replicas.
    connect: Option<Arc<dyn Connect>>,
    links: Mutex<BTreeMap<Arc<str>, Link>>,
}

/// What is on its way to one address: calls that are answered soon, and those that wait in a queue, behind which the first
/// must not stand.
#[derive(Clone)]
struct Link {
    calls: mpsc::Sender<Job>,
    waits: mpsc::Sender<Job>,
}

impl Peers {
    pub(crate) fn new(clock: SharedClock, connect: Option<Arc<dyn Connect>>) -> Self {
        Self { clock, connect, links: Mutex::default() }
    }

    /// Passes `call` on to the replica at `address`. None: it was not reached, or did not decide, by `deadline`.
    pub(crate) async fn forward(
        &self,
        ledger: &LedgerId,
        address: &Arc<str>,
        call: Call,
        deadline: BootInstant,
    ) -> Option<Result<Reply, CallError>> {
        let (answer, receiver) = oneshot::channel();
        let patience = deadline.since(self.clock.boot()).saturating_sub(THE_WAY).min(CALL_DEADLINE);
        let waits = matches!(&call, Call::Checkout(request) if request.max_wait.is_some());
        let job = Job { ledger: ledger.to_string(), call, patience, answer };
        let link = self.link(address)?;
        if waits { link.waits } else { link.calls }.try_send(job).ok()?;
        self.clock.by(deadline, receiver).await?.ok()
    }

    /// Passes `call` on to one replica after another, the last that were seen, until one of them has decided. None: none did.
    pub(crate) async fn ask_around(
        &self,
        ledger: &LedgerId,
        call: Call,
        deadline: BootInstant,
    ) -> Option<Result<Reply, CallError>> {
        for address in self.connect.as_ref()?.successors().into_iter().take(MAX_ASKED) {
            let until = deadline.min(self.clock.boot() + ASKING);
            let reply = self.forward(ledger, &address.into(), call.clone(), until).await;
            if reply.is_some() {
                return reply;
            }
        }
        None
    }

    /// Hands the table of a stopped owner to another replica; gives the process that has it then. None: nobody took it.
    pub(crate) async fn hand_over(&self, ledger: &LedgerId, table: Table) -> Option<Nonce> {
        let connect = self.connect.as_ref()?;
        if table.sessions.len() > handover::MAX_SESSIONS {
            tracing::warn!(%ledger, sessions = table.sessions.len(), "too many sessions to hand over");
            return None;
        }
        let (table, successors) = (Arc::new(table), connect.successors());
        let deadline = self.clock.boot() + HANDOVER_DEADLINE;
        for (place, address) in successors.iter().enumerate() {
            // One that is gone without a trace answers nothing: it must not use up what the others need.
            let left = deadline.since(self.clock.boot());
            let share = if place + 1 < successors.len() { left / 2 } else { left };
            let client = PeerClient::new(connect.connect(address));
            let offer = offer(client, handover::messages(ledger, table.clone()));
            match self.clock.by(self.clock.boot() + share, offer).await {
                Some(Ok(Some(nonce))) => {
                    tracing::info!(%ledger, %address, sessions = table.sessions.len(), "handed over");
                    return Some(nonce);
                }
                Some(Ok(None)) => tracing::info!(%ledger, %address, "cannot take the sessions"),
                Some(Err(error)) => tracing::warn!(%ledger, %address, %error, "did not take the sessions"),
                None => tracing::warn!(%ledger, %address, "did not take the sessions in time"),
            }
        }
        None
    }

    fn link(&self, address: &Arc<str>) -> Option<Link> {
        let mut links = self.links.lock().expect("no code panics while it holds this lock");
        if let Some(link) = links.get(address).filter(|link| !link.calls.is_closed()) {
            return Some(link.clone());
        }
        if links.len() >= MAX_LINKS {
            // Dropping a sender ends its task once what is under way has been answered.
            links.clear();
        }
        let channel = self.connect.as_ref()?.connect(address);
        let (calls, to_call) = mpsc::channel(MAX_QUEUED);
        let (waits, to_wait) = mpsc::channel(MAX_QUEUED);
        let road = Road { clock: self.clock.clone(), channel, address: address.clone() };
        tokio::spawn(road.clone().pass_on(to_call));
        tokio::spawn(road.gather(to_wait));
        let link = Link { calls, waits };
        links.insert(address.clone(), link.clone());
        Some(link)
    }
}

/// The way to one address.
#[derive(Clone)]
struct Road {
    clock: SharedClock,
    channel: PeerChannel,
    address: Arc<str>,
}

impl Road {
    /// Sends what has gathered while the last messages were on their way.
    async fn pass_on(self, mut jobs: mpsc::Receiver<Job>) {
        let under_way = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
            for (ledger, jobs) in by_ledger(&mut batch) {
                let permit = under_way.clone().acquire_owned().await.expect("this semaphore is never closed");
                let road = self.clone();
                tokio::spawn(async move {
                    road.send(ledger, jobs).await;
                    drop(permit);
                });
            }
        }
    }

    /// Sends what gathers in a moment. A message is on its way for as long as the last of its calls waits, so there are no
    /// more of them than such moments in that time.
    async fn gather(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let _ = self.clock.by(self.clock.boot() + GATHERING, std::future::pending::<()>()).await;
            while batch.len() < MAX_BATCH
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            for (ledger, jobs) in by_ledger(&mut batch) {
                let road = self.clone();
                tokio::spawn(async move { road.send(ledger, jobs).await });
            }
        }
    }

    async fn send(&self, ledger: String, jobs: Vec<Job>) {
        let (deadline, address) = (self.clock.boot() + BATCH_DEADLINE, &self.address);
        let client = PeerClient::new(self.channel.clone());
        match self.clock.by(deadline, send_batch(client, ledger, jobs)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%address, %error, "a batch was not answered"),
            None => tracing::debug!(%address, "a batch was not answered in time"),
        }
    }
}

/// The jobs whose callers are still there.
fn by_ledger(batch: &mut Vec<Job>) -> BTreeMap<String, Vec<Job>> {
    let mut by_ledger: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    for job in batch.drain(..).filter(|job| !job.answer.is_closed()) {
        by_ledger.entry(job.ledger.clone()).or_default().push(job);
    }
    by_ledger
}

/// Hands the answers out as they come; who is left without one learns it when its sender is dropped.
async fn send_batch(
    mut client: PeerClient<PeerChannel>,
    ledger: String,
    jobs: Vec<Job>,
) -> Result<(), tonic::Status> {
    let (calls, answers): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|job| ((job.call, job.patience), job.answer)).unzip();
    let operations = calls.into_iter().zip(0..).map(|((call, patience), id)| operation(id, call, patience));
    let operations = operations.collect();
    let mut waiting: BTreeMap<u64, _> = (0..).zip(answers).collect();
    let mut responses = client.forward(ForwardRequest { ledger, operations }).await?.into_inner();
    while let Some(response) = responses.message().await? {
        for answer in response.answers {
            if let (Some(waiter), Some(call)) = (waiting.remove(&answer.id), answer.call) {
                // A caller that has gone needs no answer.
                let _ = waiter.send(reply(call));
            }
        }
    }
    Ok(())
}

async fn offer(
    mut client: PeerClient<PeerChannel>,
    messages: impl Stream<Item = HandOverRequest> + Send + 'static,
) -> Result<Option<Nonce>, tonic::Status> {
    let response = client.hand_over(messages).await?.into_inner();
    Ok(Some(response.nonce).filter(|nonce| !nonce.is_empty()).map(|nonce| Nonce(nonce.into())))
}

fn operation(id: u64, call: Call, patience: Duration) -> session_request::Operation {
    use session_request::operation::Call as Wire;
    let call = match call {
        Call::Checkout(request) => Wire::Checkout(request),
        Call::Renew(request) => Wire::Renew(request),
        Call::Checkin(request) => Wire::Checkin(request),
    };
    session_request::Operation { id, call: Some(call), patience: Some(words::duration(patience)) }
}

fn reply(answer: session_response::answer::Call) -> Result<Reply, CallError> {
    use session_response::answer::Call as Wire;
    match answer {
        Wire::Checkout(response) => Ok(Reply::Checkout(response)),
        Wire::Renew(response) => Ok(Reply::Renew(response)),
        Wire::Checkin(response) => Ok(Reply::Checkin(response)),
        Wire::Failure(failure) => Err(failure_error(failure)),
    }
}

macro_rules! response_of_reply {
    ($($variant:ident => $response:ident),*) => {$(
        impl TryFrom<Reply> for v1::$response {
            type Error = CallError;

            fn try_from(reply: Reply) -> Result<Self, CallError> {
                match reply {
                    Reply::$variant(response) => Ok(response),
                    _ => Err(mismatch()),
                }
            }
        }
    )*};
}

response_of_reply!(Checkout => CheckoutResponse, Renew => RenewResponse, Checkin => CheckinResponse);

fn failure_error(failure: v1::Failure) -> CallError {
    if tonic::Code::from(failure.status) == tonic::Code::InvalidArgument {
        return CallError::Invalid(failure.message);
    }
    let after = failure.retry_after.and_then(|after| Duration::try_from(after).ok());
    CallError::Unavailable { message: failure.message, retry_after: after.unwrap_or(Duration::from_secs(1)) }
}

fn mismatch() -> CallError {
    CallError::Unavailable {
        message: "the server that decides gave no usable answer; retry with the same operation id".into(),
        retry_after: Duration::from_secs(1),
    }
}
