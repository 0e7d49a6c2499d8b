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
use tonic::{Request, Response, Status, TimeoutExpired};

use crate::{
    chance::{Chance, SystemChance},
    clock::{BootInstant, Clock, SystemClock},
    config::Config,
    connect::Connector,
    error::{Error, Judged, Transport, duration},
    line::{ConnectFailure, Dial, Line},
    retry::{Jitter, attempt_limit, pause},
    seat::Seat,
    session::Session,
};

/// For a question that any replica answers, with all its retries: two full attempts, or a server that restarts.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// For what only the owner does: a takeover after its loss takes up to 14 s.
const OWNER_DEADLINE: Duration = Duration::from_secs(20);
/// For a check-in with all its retries: somebody waits for the end of a program.
const CHECKIN_DEADLINE: Duration = Duration::from_secs(5);
/// The first answer to one who waits in a queue: it has its place then, also should this server be lost.
const FIRST_IN_QUEUE: Duration = Duration::from_secs(1);
/// Answers hold a token and a list of features; the server's own limit on requests is of this size too.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest sentence of a server that an error repeats.
const MAX_SENTENCE: usize = 300;

/// A handle on the server; cheap to clone. It connects when it is first used.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Of the application; empty: not said.
    version: Arc<str>,
}

struct Inner {
    config: Config,
    seams: Seams,
    /// The line in use, and how many there were before it.
    line: Mutex<(u64, Line)>,
}

/// What a client takes from the world around it; the world's own by default.
pub struct Seams {
    /// Where lines to the server come from.
    pub dial: Box<dyn Dial>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Box<dyn Chance>,
}

impl Seams {
    fn of_this_machine(config: &Config) -> Seams {
        Seams {
            dial: Box::new(Arc::new(Connector::new(config.server.clone(), config.ca.clone()))),
            clock: Arc::new(SystemClock),
            chance: Box::new(SystemChance),
        }
    }
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

/// What a checkout that waits asks again with.
struct Place {
    operation: String,
    /// Empty: it is in no queue.
    ticket: String,
}

impl Place {
    fn new(operation: String) -> Place {
        Place { operation, ticket: String::new() }
    }
}

impl Client {
    /// A client of the configured server. Must be called within a tokio runtime; does not connect yet.
    pub fn new(config: Config) -> Client {
        let seams = Seams::of_this_machine(&config);
        Client::with_seams(config, seams)
    }

    /// A client in another world: for simulations.
    #[doc(hidden)]
    pub fn with_seams(config: Config, seams: Seams) -> Client {
        let line = Mutex::new((0, seams.dial.dial()));
        Client { inner: Arc::new(Inner { config, seams, line }), version: "".into() }
    }

    /// The same client of an application of this version, such as `2026.1`: what it asks for must be licensed up to that.
    /// Where no version is said, features that are licensed up to a version are denied.
    pub fn with_version(self, version: impl Into<Arc<str>>) -> Client {
        Client { version: version.into(), ..self }
    }

    /// Exchanges the activation key for an activation token.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn activate(&self) -> Result<ActivateResponse, Error> {
        let request = ActivateRequest {
            product: self.inner.config.product.clone(),
            key: self.inner.config.credential.read()?,
            operation_id: self.operation(),
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
            version: self.version.as_ref().to_owned(),
            ..ValidateRequest::default()
        };
        Ok(self.call(&request, CALL_DEADLINE).await?)
    }

    /// Takes a seat, which renews itself for as long as the [`Session`] lives.
    ///
    /// # Errors
    /// [`Error::Denied`] where there is no seat; otherwise the server could not be asked.
    pub async fn checkout(&self, want: Checkout) -> Result<Session, Error> {
        self.checkout_within(want, Duration::ZERO, |_| {}).await
    }

    /// Takes a seat, and while there is none but may be one later, waits for as long as `patience` says: in the pool's
    /// queue, or where it has none, by asking again. `waiting` hears each reason to wait; in the queue, each place.
    ///
    /// # Errors
    /// As [`Client::checkout`]; the last one where patience ran out.
    pub async fn checkout_within(
        &self,
        want: Checkout,
        patience: Duration,
        mut waiting: impl FnMut(&Error),
    ) -> Result<Session, Error> {
        let clock = self.clock();
        let end = clock.now() + patience;
        let mut failures = 0;
        let mut place = Place::new(self.operation());
        loop {
            let error = match self.try_checkout(&want, &mut place, end.since(clock.now())).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let again = clock.now() + pause(failures, error.retry_after(), self.jitter());
            if !error.retryable() || again > end {
                return Err(error);
            }
            waiting(&error);
            clock.sleep_until(again).await;
            if place.ticket.is_empty() {
                place.operation = self.operation();
                failures += 1;
            }
        }
    }

    /// One question for a seat, with its retries. Validity counts from its first send: every question before it has been
    /// answered that there is no seat.
    async fn try_checkout(
        &self,
        want: &Checkout,
        place: &mut Place,
        max_wait: Duration,
    ) -> Result<Session, Error> {
        let request = CheckoutRequest {
            product: self.inner.config.product.clone(),
            key: self.inner.config.credential.read()?,
            operation_id: place.operation.clone(),
            features: want.features.clone(),
            count: want.count,
            client: Some(want.client.clone()),
            max_wait: (!max_wait.is_zero()).then(|| max_wait.into()),
            queue_ticket: place.ticket.clone(),
            version: self.version.as_ref().to_owned(),
            ..CheckoutRequest::default()
        };
        let first_sent = self.clock().now();
        let first = if request.max_wait.is_some() && place.ticket.is_empty() {
            FIRST_IN_QUEUE
        } else {
            Duration::MAX
        };
        let answer: CheckoutResponse = self.call_at_first_within(&request, OWNER_DEADLINE, first).await?;
        // Whether a transport failure or a refusal comes next: what the server said last counts.
        place.ticket.clone_from(&answer.queue_ticket);
        let answer = answer.authorized()?;
        let wire =
            |field: &Option<pbjson_types::Duration>| field.as_ref().and_then(duration).unwrap_or_default();
        let (valid_for, renew_after) = (wire(&answer.valid_for), wire(&answer.renew_after));
        let (token, jitter) = (answer.session.clone(), self.jitter());
        let seat = Seat::new(token, first_sent, valid_for, renew_after, want.client.clone(), jitter);
        if self.clock().now() >= seat.until() {
            // The server may still count it.
            let request = CheckinRequest { session: seat.into_token(), operation_id: self.operation() };
            let _ = self.call(&request, CHECKIN_DEADLINE).await;
            return Err(Transport::TooLate { server: self.server() }.into());
        }
        Ok(Session::start(self.clone(), seat, answer))
    }

    /// Renews by hand: for callers that keep session tokens themselves; a [`Session`] does it alone.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, Error> {
        Ok(self.call(request, OWNER_DEADLINE).await?)
    }

    /// Gives a seat back by hand: forget the session token before.
    ///
    /// # Errors
    /// The server could not be asked. A verdict is in the answer: see [`Judged::authorized`].
    pub async fn checkin(&self, request: &CheckinRequest) -> Result<CheckinResponse, Error> {
        Ok(self.call(request, OWNER_DEADLINE).await?)
    }

    /// Gives a seat back at the end of its session.
    pub(crate) async fn give_back(&self, session: String) -> Result<(), Error> {
        let request = CheckinRequest { session, operation_id: self.operation() };
        self.call(&request, CHECKIN_DEADLINE).await?.authorized()?;
        Ok(())
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.seams.clock
    }

    pub(crate) fn jitter(&self) -> Jitter {
        Jitter::drawn(&*self.inner.seams.chance)
    }

    /// A fresh operation id.
    pub(crate) fn operation(&self) -> String {
        self.inner.seams.chance.operation()
    }

    fn server(&self) -> String {
        self.inner.config.server.to_string()
    }

    /// Asks until there is an answer, a failure that no retry helps, or the deadline.
    async fn call<C: Call>(&self, call: &C, deadline: Duration) -> Result<C::Answer, Transport> {
        self.call_at_first_within(call, deadline, Duration::MAX).await
    }

    /// The same, with the first attempt no longer than `first`.
    async fn call_at_first_within<C: Call>(
        &self,
        call: &C,
        deadline: Duration,
        first: Duration,
    ) -> Result<C::Answer, Transport> {
        let clock = self.clock();
        let begun = clock.now();
        let end = begun + deadline;
        let mut failures = 0;
        loop {
            let limit = attempt_limit(end.since(clock.now()));
            let limit = if failures == 0 { limit.min(first) } else { limit };
            let failure = match self.attempt_within(call, limit).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = clock.now() + pause(failures, failure.retry_after(), self.jitter());
            if !failure.retryable() || again >= end {
                return Err(failure.after(clock.now().since(begun)));
            }
            clock.sleep_until(again).await;
            failures += 1;
        }
    }

    /// Asks once, with a part of the time until `end`.
    pub(crate) async fn attempt<C: Call>(&self, call: &C, end: BootInstant) -> Result<C::Answer, Transport> {
        self.attempt_within(call, attempt_limit(end.since(self.clock().now()))).await
    }

    /// Asks once, for so long. After a failure the next attempt takes a new line, to another replica where there is one;
    /// this one ends with the last call on it.
    async fn attempt_within<C: Call>(&self, call: &C, limit: Duration) -> Result<C::Answer, Transport> {
        let now = self.clock().now();
        let mut request = Request::new(call.clone());
        // The server waits through a takeover as long as somebody waits for it.
        request.set_timeout(limit);
        let (number, line) = self.inner.line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let client = LicensingClient::new(line).max_decoding_message_size(MAX_ANSWER);
        let failure = tokio::select! {
            biased;
            answer = C::send(request, client) => match answer {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => self.failure(&status, limit),
            },
            () = self.clock().sleep_until(now + limit) => self.no_answer(limit),
        };
        if failure.is_for_another_replica() {
            self.leave(number);
        }
        Err(failure)
    }

    fn leave(&self, number: u64) {
        let mut line = self.inner.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.0 == number {
            *line = (number + 1, self.inner.seams.dial.dial());
        }
    }

    fn no_answer(&self, after: Duration) -> Transport {
        Transport::NoAnswer { server: self.server(), after }
    }

    fn failure(&self, status: &Status, limit: Duration) -> Transport {
        let server = self.server();
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            if let Some(ConnectFailure(reason)) = error.downcast_ref() {
                return Transport::Connect { server, reason: reason.clone() };
            }
            if error.is::<TimeoutExpired>() {
                return self.no_answer(limit);
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

/// The wish of a server that cannot judge now.
fn retry_after(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get("retry-after-ms")?.to_str().ok()?.parse::<u32>().ok()?;
    Some(Duration::from_millis(millis.into()))
}

/// A unary call of the service.
pub(crate) trait Call: Clone + Send + Sync + 'static {
    type Answer: Send;

    fn send(
        request: Request<Self>,
        client: LicensingClient<Line>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

macro_rules! calls {
    ($($request:ident => $answer:ident by $method:ident,)*) => {$(
        impl Call for $request {
            type Answer = $answer;

            async fn send(
                request: Request<Self>,
                mut client: LicensingClient<Line>,
            ) -> Result<Response<$answer>, Status> {
                client.$method(request).await
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
