//! Passes seat operations on to the replica that owns their ledger, in batches, over mutual TLS.
//!
//! One link an owner's address: a bounded queue, and a task that sends what has gathered. What does not fit, or is
//! not answered in time, is UNAVAILABLE; the client retries with the same operation id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use genie_proto::peer::{ForwardRequest, peer_client::PeerClient};
use genie_proto::v1::{self, session_request, session_response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::calls::{CALL_DEADLINE, Here};
use super::error::CallError;
use super::tls::PeerTls;
use crate::license::LedgerId;

/// Operations of one message: some 60 kB, and far more than gather while one message is on its way.
pub(crate) const MAX_BATCH: usize = 256;
/// Operations that wait for a link; a thousand is a second of a busy pool.
const MAX_QUEUED: usize = 4096;
/// Messages on their way to one owner.
const MAX_UNDER_WAY: usize = 32;
/// Owners at one time: one a ledger at the most, and as many old addresses.
const MAX_LINKS: usize = 64;
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// A seat operation to pass on.
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
    /// The asked replica does not own the ledger either.
    NotOwner,
}

struct Job {
    ledger: String,
    call: Call,
    answer: oneshot::Sender<Result<Reply, CallError>>,
}

/// All links of this process; none in standalone mode.
#[derive(Default)]
pub(crate) struct Peers {
    tls: Option<Arc<PeerTls>>,
    links: Mutex<HashMap<Arc<str>, mpsc::Sender<Job>>>,
}

impl Peers {
    /// Links that prove themselves with `tls`.
    pub(crate) fn new(tls: Arc<PeerTls>) -> Self {
        Self { tls: Some(tls), links: Mutex::default() }
    }

    /// Passes `call` on to the replica at `address`.
    pub(crate) async fn forward(
        &self,
        ledger: &LedgerId,
        address: &Arc<str>,
        call: Call,
    ) -> Result<Reply, CallError> {
        let (answer, receiver) = oneshot::channel();
        let job = Job { ledger: ledger.to_string(), call, answer };
        self.link(address)?.try_send(job).map_err(|_| unreachable(address))?;
        match tokio::time::timeout(CALL_DEADLINE, receiver).await {
            Ok(Ok(Ok(Reply::NotOwner))) | Ok(Err(_)) | Err(_) => Err(unreachable(address)),
            Ok(Ok(reply)) => reply,
        }
    }

    fn link(&self, address: &Arc<str>) -> Result<mpsc::Sender<Job>, CallError> {
        let Some(tls) = &self.tls else { return Err(unreachable(address)) };
        let mut links = self.links.lock().expect("no code panics while it holds this lock");
        if let Some(link) = links.get(address).filter(|link| !link.is_closed()) {
            return Ok(link.clone());
        }
        if links.len() >= MAX_LINKS {
            // Dropping a sender ends its task once what is under way has been answered.
            links.clear();
        }
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        tokio::spawn(run_link(channel(tls.clone(), address.clone()), address.clone(), receiver));
        links.insert(address.clone(), sender.clone());
        Ok(sender)
    }
}

impl Reply {
    pub(crate) fn checkout(self) -> Result<Here<v1::CheckoutResponse>, CallError> {
        match self {
            Self::Checkout(response) => Ok(Here::Answer(response)),
            Self::NotOwner => Ok(Here::NotOwner),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn renew(self) -> Result<Here<v1::RenewResponse>, CallError> {
        match self {
            Self::Renew(response) => Ok(Here::Answer(response)),
            Self::NotOwner => Ok(Here::NotOwner),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn checkin(self) -> Result<Here<v1::CheckinResponse>, CallError> {
        match self {
            Self::Checkin(response) => Ok(Here::Answer(response)),
            Self::NotOwner => Ok(Here::NotOwner),
            _ => Err(mismatch()),
        }
    }
}

fn channel(tls: Arc<PeerTls>, address: Arc<str>) -> Channel {
    let connector = service_fn(move |_: Uri| {
        let (tls, address) = (tls.clone(), address.clone());
        async move {
            let tcp = TcpStream::connect(&*address).await?;
            tcp.set_nodelay(true)?;
            tls.connect(tcp).await.map(TokioIo::new)
        }
    });
    // The connector knows the address; this one is only a name in the request.
    Endpoint::from_static("http://genie-lm-peer")
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(CALL_DEADLINE)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_with_connector_lazy(connector)
}

async fn run_link(channel: Channel, address: Arc<str>, mut jobs: mpsc::Receiver<Job>) {
    let under_way = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let mut by_ledger: HashMap<String, Vec<Job>> = HashMap::new();
        for job in batch.drain(..) {
            by_ledger.entry(job.ledger.clone()).or_default().push(job);
        }
        for (ledger, jobs) in by_ledger {
            let permit = under_way.clone().acquire_owned().await.expect("this semaphore is never closed");
            let (client, address) = (PeerClient::new(channel.clone()), address.clone());
            tokio::spawn(async move {
                send_batch(client, &address, ledger, jobs).await;
                drop(permit);
            });
        }
    }
}

async fn send_batch(mut client: PeerClient<Channel>, address: &str, ledger: String, jobs: Vec<Job>) {
    let (calls, answers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.call, job.answer)).unzip();
    let operations = calls.into_iter().zip(0..).map(|(call, id)| operation(id, call)).collect();
    let mut waiting: HashMap<u64, _> = (0..).zip(answers).collect();
    let response = match client.forward(ForwardRequest { ledger, operations }).await {
        Ok(response) => response.into_inner(),
        Err(error) => {
            tracing::debug!(%address, %error, "a batch was not answered");
            return waiting.into_values().for_each(|answer| drop(answer.send(Err(unreachable(address)))));
        }
    };
    for answer in response.answers {
        if let Some(waiter) = waiting.remove(&answer.id) {
            // A caller that has gone needs no answer.
            let _ = waiter.send(reply(answer));
        }
    }
    for waiter in waiting.into_values() {
        let _ = waiter.send(if response.not_owner { Ok(Reply::NotOwner) } else { Err(mismatch()) });
    }
}

fn operation(id: u64, call: Call) -> session_request::Operation {
    use session_request::operation::Call as Wire;
    let call = match call {
        Call::Checkout(request) => Wire::Checkout(request),
        Call::Renew(request) => Wire::Renew(request),
        Call::Checkin(request) => Wire::Checkin(request),
    };
    session_request::Operation { id, call: Some(call) }
}

fn reply(answer: session_response::Answer) -> Result<Reply, CallError> {
    use session_response::answer::Call as Wire;
    match answer.call {
        Some(Wire::Checkout(response)) => Ok(Reply::Checkout(response)),
        Some(Wire::Renew(response)) => Ok(Reply::Renew(response)),
        Some(Wire::Checkin(response)) => Ok(Reply::Checkin(response)),
        Some(Wire::Failure(failure)) => Err(failure_error(failure)),
        None => Err(mismatch()),
    }
}

fn failure_error(failure: v1::Failure) -> CallError {
    if tonic::Code::from(failure.status) == tonic::Code::InvalidArgument {
        return CallError::Invalid(failure.message);
    }
    let after = failure.retry_after.and_then(|after| Duration::try_from(after).ok());
    CallError::Unavailable { message: failure.message, retry_after: after.unwrap_or(Duration::from_secs(1)) }
}

fn unreachable(address: &str) -> CallError {
    tracing::debug!(address, "the owner of a ledger was not reached");
    CallError::Unavailable {
        message: "the server that decides was not reached; retry with the same operation id".into(),
        retry_after: Duration::from_secs(1),
    }
}

fn mismatch() -> CallError {
    CallError::Unavailable {
        message: "the server that decides gave no usable answer; retry with the same operation id".into(),
        retry_after: Duration::from_secs(1),
    }
}
