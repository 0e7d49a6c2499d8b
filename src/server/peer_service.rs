//! What other replicas ask for: the owner answers their batches, and passes nothing on; a follower takes the sessions
//! of an owner that stops.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use genie_ledger::Role;
use genie_proto::peer::{
    ForwardRequest, ForwardResponse, HandOverRequest, HandOverResponse, peer_server::Peer,
};
use genie_proto::v1::{self, session_request, session_response};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::calls::{CALL_DEADLINE, Licensing};
use super::decide::Attempt;
use super::error::CallError;
use super::handover;
use super::peers::{HANDOVER_DEADLINE, MAX_BATCH};
use super::words;
use crate::license::LedgerId;

/// How long a table may take to come: its sender has given up by then.
const TABLE_DEADLINE: Duration = HANDOVER_DEADLINE.saturating_add(Duration::from_secs(1));

/// See the module.
pub(crate) struct PeerService {
    licensing: Arc<Licensing>,
    /// For sessions that are on their way, of all ledgers: as many as one table may have.
    room: Semaphore,
}

impl PeerService {
    pub(crate) fn new(licensing: Arc<Licensing>) -> Self {
        Self { licensing, room: Semaphore::new(handover::MAX_SESSIONS) }
    }

    async fn take(&self, mut messages: Streaming<HandOverRequest>) -> Result<HandOverResponse, Status> {
        let header = handover::header(&mut messages).await?;
        let pool = parse(&header.ledger).and_then(|id| self.licensing.directory.pool_of(&id));
        let pool = pool.ok_or_else(|| Status::not_found("this server does not serve the ledger"))?;
        let _room = self.room.acquire_many(header.sessions).await;
        let table = handover::table(header, &mut messages).await?;
        let nonce = pool.accept_handover(table);
        Ok(HandOverResponse { nonce: nonce.map(|nonce| nonce.0.to_string()).unwrap_or_default() })
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type ForwardStream = Pin<Box<dyn Stream<Item = Result<ForwardResponse, Status>> + Send>>;

    async fn forward(
        &self,
        request: Request<ForwardRequest>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let ForwardRequest { ledger, mut operations } = request.into_inner();
        if operations.len() > MAX_BATCH {
            return Err(Status::invalid_argument(format!("a batch has at most {MAX_BATCH} operations")));
        }
        let pool = parse(&ledger).and_then(|id| self.licensing.directory.pool_of(&id));
        if pool.is_none_or(|pool| pool.role() != Role::Owner) {
            operations.clear();
        }
        let licensing = self.licensing.clone();
        let answers: FuturesUnordered<_> =
            operations.into_iter().map(|operation| answer(licensing.clone(), operation)).collect();
        let responses = answers
            .filter_map(std::future::ready)
            .ready_chunks(MAX_BATCH)
            .map(|answers| Ok(ForwardResponse { answers }));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn hand_over(
        &self,
        request: Request<Streaming<HandOverRequest>>,
    ) -> Result<Response<HandOverResponse>, Status> {
        let clock = &self.licensing.clock;
        let taken = clock.by(clock.boot() + TABLE_DEADLINE, self.take(request.into_inner())).await;
        taken
            .unwrap_or_else(|| Err(Status::deadline_exceeded("the table did not come in time")))
            .map(Response::new)
    }
}

fn parse(ledger: &str) -> Option<LedgerId> {
    let (namespace, product) = ledger.split_once('/')?;
    Some(LedgerId { namespace: namespace.into(), product: product.into() })
}

/// None: another replica decides.
async fn answer(
    licensing: Arc<Licensing>,
    operation: session_request::Operation,
) -> Option<session_response::Answer> {
    use session_request::operation::Call;
    use session_response::answer::Call as Reply;
    let patience = operation.patience.and_then(|patience| Duration::try_from(patience).ok());
    let deadline = licensing.clock.boot() + patience.unwrap_or(CALL_DEADLINE).min(CALL_DEADLINE);
    let decided = match operation.call {
        Some(Call::Checkout(request)) => {
            done(licensing.checkout_here(&request, deadline).await)?.map(Reply::Checkout)
        }
        Some(Call::Renew(request)) => done(licensing.renew_here(&request))?.map(Reply::Renew),
        Some(Call::Checkin(request)) => done(licensing.checkin_here(&request))?.map(Reply::Checkin),
        None => Err(CallError::Invalid("an operation without a call".into())),
    };
    let call = decided.unwrap_or_else(|error| Reply::Failure(failure(&error)));
    Some(session_response::Answer { id: operation.id, call: Some(call) })
}

fn done<T>(attempt: Result<Attempt<T>, CallError>) -> Option<Result<T, CallError>> {
    match attempt {
        Ok(Attempt::Done(answer)) => Some(Ok(answer)),
        Ok(Attempt::Elsewhere(_)) => None,
        Err(error) => Some(Err(error)),
    }
}

fn failure(error: &CallError) -> v1::Failure {
    v1::Failure {
        status: error.kind().2.into(),
        message: error.to_string(),
        retry_after: error.retry_after().map(words::duration),
    }
}
