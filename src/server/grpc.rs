//! `genie.v1.Licensing` over gRPC: each method is one call, nothing is decided here.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use genie_ledger::BootInstant;
use genie_proto::v1::{self, licensing_server};
use tonic::{Request, Response, Status, Streaming};

use super::calls::Licensing;
use super::error::CallError;
use super::request;

/// See the module.
pub(crate) struct Grpc(pub(crate) Arc<Licensing>);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Calls whose behavior comes with a later version.
pub(crate) const BORROW: CallError =
    CallError::Unimplemented("borrowing is not supported by this version of genie-lm");
const SESSION: CallError = CallError::Unimplemented(
    "the Session stream is not supported by this version; use Checkout, Renew and Checkin",
);
const WATCH: CallError =
    CallError::Unimplemented("Watch is not supported by this version; each Renew tells what changed");

#[tonic::async_trait]
impl licensing_server::Licensing for Grpc {
    type SessionStream = Streamed<v1::SessionResponse>;
    type WatchStream = Streamed<v1::WatchResponse>;

    async fn activate(
        &self,
        request: Request<v1::ActivateRequest>,
    ) -> Result<Response<v1::ActivateResponse>, Status> {
        Ok(Response::new(self.0.activate(request.get_ref())?))
    }

    async fn validate(
        &self,
        request: Request<v1::ValidateRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        Ok(Response::new(self.0.validate(request.get_ref())?))
    }

    async fn checkout(
        &self,
        request: Request<v1::CheckoutRequest>,
    ) -> Result<Response<v1::CheckoutResponse>, Status> {
        let deadline = self.deadline(&request);
        Ok(Response::new(self.0.checkout(request.into_inner(), deadline).await?))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let deadline = self.deadline(&request);
        Ok(Response::new(self.0.renew(request.into_inner(), deadline).await?))
    }

    async fn checkin(
        &self,
        request: Request<v1::CheckinRequest>,
    ) -> Result<Response<v1::CheckinResponse>, Status> {
        let deadline = self.deadline(&request);
        Ok(Response::new(self.0.checkin(request.into_inner(), deadline).await?))
    }

    async fn borrow(&self, _: Request<v1::BorrowRequest>) -> Result<Response<v1::BorrowResponse>, Status> {
        Err(BORROW.into())
    }

    async fn r#return(&self, _: Request<v1::ReturnRequest>) -> Result<Response<v1::ReturnResponse>, Status> {
        Err(BORROW.into())
    }

    async fn session(
        &self,
        _: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(SESSION.into())
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(WATCH.into())
    }
}

impl Grpc {
    /// When the caller gives up.
    fn deadline<T>(&self, request: &Request<T>) -> BootInstant {
        self.0.clock.boot() + request::patience(request.metadata().get("grpc-timeout").map(|v| v.as_bytes()))
    }
}
