//! The owner's side of forwarding: answers batches from other replicas, and passes nothing on.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use genie_ledger::Role;
use genie_proto::peer::{ForwardRequest, ForwardResponse, peer_server::Peer};
use genie_proto::v1::{self, session_request, session_response};
use tonic::{Request, Response, Status};

use super::calls::Licensing;
use super::decide::Attempt;
use super::error::CallError;
use super::peers::MAX_BATCH;
use super::words;
use crate::license::LedgerId;

/// See the module.
pub(crate) struct PeerService(pub(crate) Arc<Licensing>);

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
        let pool = parse(&ledger).and_then(|id| self.0.directory.pool_of(&id));
        if pool.is_none_or(|pool| pool.role() != Role::Owner) {
            operations.clear();
        }
        let licensing = self.0.clone();
        let answers: FuturesUnordered<_> =
            operations.into_iter().map(|operation| answer(licensing.clone(), operation)).collect();
        let responses = answers
            .filter_map(std::future::ready)
            .ready_chunks(MAX_BATCH)
            .map(|answers| Ok(ForwardResponse { answers }));
        Ok(Response::new(Box::pin(responses)))
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
    let decided = match operation.call {
        Some(Call::Checkout(request)) => done(licensing.checkout_here(&request).await)?.map(Reply::Checkout),
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
