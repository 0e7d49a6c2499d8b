//! The client: asks the server, with a deadline for each attempt and for the whole, and with another replica after a
//! failure. Every call is idempotent by its operation id, so a retry is always the same question.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use genie_proto::v1::{
    self, ActivateRequest, ActivateResponse, CheckinRequest, CheckinResponse, CheckoutRequest,
    CheckoutResponse, RenewRequest, RenewResponse, ValidateRequest, ValidateResponse,
    licensing_client::LicensingClient,
};
use tonic::{Response, Status, transport::Channel};

use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    connect::{ConnectFailure, Connector},
    error::{Error, Judged, Transport, duration},
    retry::{Jitter, pause},
    seat::Seat,
    session::Session,
};

/// For one attempt: longer than a takeover's forwarding takes, and short enough that several fit into a seat's
/// validity.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a call with all its retries: two full attempts, or a server that restarts.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// For a check-in with all its retries: somebody waits for the end of a program.
const CHECKIN_DEADLINE: Duration = Duration::from_secs(5);
/// Answers hold a token and a list of features; the server's own limit on requests is of this size too.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest sentence of a server that an error repeats.
const MAX_SENTENCE: usize = 300;

/// A handle on the server; cheap to clone. It connects when it is first used.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    connector: Arc<Connector>,
    channel: Mutex<(u64, Channel)>,
    clock: Arc<dyn Clock>,
}

/// What to check out.
#[derive(Clone, Debug, Default)]
pub struct Checkout {
    /// All of these or no seat; empty: the tier's own features.
    pub features: Vec<String>,
    /// Seats to take; 0 means 1.
    pub count: u32,
    /// Who asks; see [`identity`](crate::identity).
    pub client: v1::Client,
}

impl Client {
    /// A client of the configured server. Must be called within a tokio runtime; does not connect yet.
    pub fn new(config: Config) -> Client {
        Client::with_clock(config, Arc::new(SystemClock))
    }

    pub(crate) fn with_clock(config: Config, clock: Arc<dyn Clock>) -> Client {
        let connector = Arc::new(Connector::new(config.server.clone(), config.ca.clone()));
        let channel = Mutex::new((0, connector.channel()));
        Client { inner: Arc::new(Inner { config, connector, channel, clock }) }
    }

    /// Exchanges the activation key for an activation token.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn activate(&self) -> Result<ActivateResponse, Error> {
        let request = ActivateRequest {
            product: self.inner.config.product.clone(),
            key: self.inner.config.credential.read()?,
            operation_id: operation(),
            ..ActivateRequest::default()
        };
        Ok(self.call(&request, CALL_DEADLINE).await?)
    }

    /// Asks whether this application may run with the features (none: all that the grant enables). Takes no seat.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn validate(&self, features: &[String]) -> Result<ValidateResponse, Error> {
        let request = ValidateRequest {
            product: self.inner.config.product.clone(),
            key: self.inner.config.credential.read()?,
            features: features.to_vec(),
            ..ValidateRequest::default()
        };
        Ok(self.call(&request, CALL_DEADLINE).await?)
    }

    /// Takes a seat, which renews itself for as long as the [`Session`] lives.
    ///
    /// # Errors
    /// [`Error::Denied`] where there is no seat; otherwise the server could not be asked.
    pub async fn checkout(&self, want: Checkout) -> Result<Session, Error> {
        let request = CheckoutRequest {
            product: self.inner.config.product.clone(),
            key: self.inner.config.credential.read()?,
            operation_id: operation(),
            features: want.features,
            count: want.count,
            client: Some(want.client.clone()),
            ..CheckoutRequest::default()
        };
        let first_sent = self.inner.clock.now();
        let answer: CheckoutResponse = self.call(&request, CALL_DEADLINE).await?;
        let answer = answer.authorized()?;
        let wire =
            |field: &Option<pbjson_types::Duration>| field.as_ref().and_then(duration).unwrap_or_default();
        let (valid_for, renew_after) = (wire(&answer.valid_for), wire(&answer.renew_after));
        let (token, jitter) = (answer.session.clone(), Jitter::random());
        let seat = Seat::new(token, first_sent, valid_for, renew_after, want.client, jitter);
        if self.inner.clock.now() >= seat.until() {
            // The server may still count it.
            let request = CheckinRequest { session: seat.into_token(), operation_id: operation() };
            let _ = self.call(&request, CHECKIN_DEADLINE).await;
            return Err(Transport::TooLate { server: self.server() }.into());
        }
        Ok(Session::start(self.clone(), seat, answer))
    }

    /// Takes a seat, and while there is none but may be one later, asks again for as long as `patience` says; `waiting`
    /// hears each reason to wait.
    ///
    /// # Errors
    /// As [`Client::checkout`]; the last one where patience ran out.
    pub async fn checkout_within(
        &self,
        want: Checkout,
        patience: Duration,
        mut waiting: impl FnMut(&Error),
    ) -> Result<Session, Error> {
        let clock = &self.inner.clock;
        let end = clock.now() + patience;
        let mut failures = 0;
        loop {
            let error = match self.checkout(want.clone()).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let again = clock.now() + pause(failures, error.retry_after(), Jitter::random());
            if !error.retryable() || again > end {
                return Err(error);
            }
            waiting(&error);
            clock.sleep_until(again).await;
            failures += 1;
        }
    }

    /// Renews by hand: for callers that keep session tokens themselves; a [`Session`] does it alone.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, Error> {
        Ok(self.call(request, CALL_DEADLINE).await?)
    }

    /// Gives a seat back by hand: forget the session token before.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn checkin(&self, request: &CheckinRequest) -> Result<CheckinResponse, Error> {
        Ok(self.call(request, CALL_DEADLINE).await?)
    }

    /// Gives a seat back at the end of its session.
    pub(crate) async fn give_back(&self, session: String) -> Result<(), Error> {
        let request = CheckinRequest { session, operation_id: operation() };
        self.call(&request, CHECKIN_DEADLINE).await?.authorized()?;
        Ok(())
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    fn server(&self) -> String {
        self.inner.connector.server().to_string()
    }

    /// Asks until there is an answer, a failure that no retry helps, or the deadline.
    async fn call<C: Call>(&self, call: &C, deadline: Duration) -> Result<C::Answer, Transport> {
        let clock = &self.inner.clock;
        let end = clock.now() + deadline;
        let mut failures = 0;
        loop {
            let left = end.since(clock.now());
            let failure = match self.attempt(call, left.min(ATTEMPT_TIMEOUT)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = pause(failures, failure.retry_after(), Jitter::random());
            if !failure.retryable() || clock.now() + wait >= end {
                return Err(failure);
            }
            clock.sleep_until(clock.now() + wait).await;
            failures += 1;
        }
    }

    /// Asks once. After a failure the next attempt makes a new connection, to another address where there is one.
    pub(crate) async fn attempt<C: Call>(&self, call: &C, limit: Duration) -> Result<C::Answer, Transport> {
        let limit = limit.min(ATTEMPT_TIMEOUT);
        let (number, channel) = self.inner.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let client = LicensingClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let failure = match tokio::time::timeout(limit, call.clone().send(client)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => self.failure(&status),
            Err(_) => Transport::NoAnswer { server: self.server(), after: limit },
        };
        if failure.retryable() {
            self.reconnect(number);
        }
        Err(failure)
    }

    fn reconnect(&self, failed: u64) {
        let mut current = self.inner.channel.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == failed {
            *current = (failed + 1, self.inner.connector.channel());
        }
    }

    fn failure(&self, status: &Status) -> Transport {
        let server = self.server();
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            if let Some(ConnectFailure(reason)) = error.downcast_ref() {
                return Transport::Connect { server, reason: reason.clone() };
            }
            source = error.source();
        }
        let message = status.message().chars().filter(|c| !c.is_control()).take(MAX_SENTENCE).collect();
        Transport::Status { server, code: status.code(), message, retry_after: retry_after(status) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// A fresh operation id.
pub(crate) fn operation() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The wish of a server that cannot judge now.
fn retry_after(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get("retry-after-ms")?.to_str().ok()?.parse::<u32>().ok()?;
    Some(Duration::from_millis(millis.into()))
}

/// A unary call of the service.
pub(crate) trait Call: Clone + Send + Sync {
    type Answer: Send;

    fn send(
        self,
        client: LicensingClient<Channel>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

macro_rules! calls {
    ($($request:ident => $answer:ident by $method:ident,)*) => {$(
        impl Call for $request {
            type Answer = $answer;

            async fn send(self, mut client: LicensingClient<Channel>) -> Result<Response<$answer>, Status> {
                client.$method(self).await
            }
        }
    )*};
}

calls! {
    ActivateRequest => ActivateResponse by activate,
    ValidateRequest => ValidateResponse by validate,
    CheckoutRequest => CheckoutResponse by checkout,
    RenewRequest => RenewResponse by renew,
    CheckinRequest => CheckinResponse by checkin,
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
