//! The owner's side of forwarding: answers batches from other replicas, and passes nothing on.

use std::sync::Arc;

use futures::future::join_all;
use genie_ledger::Role;
use genie_proto::peer::{ForwardRequest, ForwardResponse, peer_server::Peer};
use genie_proto::v1::{self, session_request, session_response};
use tonic::{Request, Response, Status};

use super::calls::{Licensing, Origin};
use super::error::CallError;
use super::grpc::answer;
use super::peers::MAX_BATCH;
use super::words;
use crate::license::LedgerId;

/// See the module.
pub(crate) struct PeerService(pub(crate) Arc<Licensing>);

#[tonic::async_trait]
impl Peer for PeerService {
    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<ForwardResponse>, Status> {
        let request = request.into_inner();
        if request.operations.len() > MAX_BATCH {
            return Err(Status::invalid_argument(format!("a batch has at most {MAX_BATCH} operations")));
        }
        let pool = request
            .ledger
            .split_once('/')
            .map(|(namespace, product)| LedgerId { namespace: namespace.into(), product: product.into() })
            .and_then(|id| self.0.directory.pool_of(&id));
        if pool.is_none_or(|pool| pool.role() != Role::Owner) {
            return Ok(Response::new(ForwardResponse { not_owner: true, ..Default::default() }));
        }
        // Ownership may end in between: then single operations fail, and their clients retry.
        let answers = join_all(request.operations.into_iter().map(|operation| self.answer(operation))).await;
        Ok(Response::new(ForwardResponse { answers, ..Default::default() }))
    }
}

impl PeerService {
    async fn answer(&self, operation: session_request::Operation) -> session_response::Answer {
        use session_request::operation::Call;
        use session_response::answer::Call as Reply;
        let call = match operation.call {
            Some(Call::Checkout(request)) => {
                self.0.checkout(request, Origin::Peer).await.and_then(answer).map(Reply::Checkout)
            }
            Some(Call::Renew(request)) => {
                self.0.renew(request, Origin::Peer).await.and_then(answer).map(Reply::Renew)
            }
            Some(Call::Checkin(request)) => {
                self.0.checkin(request, Origin::Peer).await.and_then(answer).map(Reply::Checkin)
            }
            None => Err(CallError::Invalid("an operation without a call".into())),
        };
        let call = call.unwrap_or_else(|error| Reply::Failure(failure(&error)));
        session_response::Answer { id: operation.id, call: Some(call) }
    }
}

fn failure(error: &CallError) -> v1::Failure {
    v1::Failure {
        status: error.kind().2.into(),
        message: error.to_string(),
        retry_after: error.retry_after().map(words::duration),
    }
}
