//! The calls of port 1453, whatever the transport: request in, verdict out.
//!
//! Takes requests; finds the grant, judges it, asks the ledger, words the answer. What another replica decides is
//! [decided](super::decide) there.

use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{Answer, BootInstant, CheckoutRequest as LedgerCheckout, Claim, OperationId, Role, Wait};
use genie_proto::v1::{self, Code};

use super::clock::SharedClock;
use super::decide::{Attempt, Patience};
use super::directory::{Directory, Found, LookUp};
use super::error::CallError;
use super::keys::Keys;
use super::metrics::Metrics;
use super::peers::{Call, Peers};
use super::pool::{Meta, Pool};
use super::request::{self, Caller, Order};
use super::words::{self, Words};
use crate::license::{ActivationClaim, Asked, Judgment, QueueClaim, Use};

/// Longest that a call waits for anything, unless its caller says how long it will; clients retry within their own
/// deadlines.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// A checkout in the queue that has no place to wait here is told its place there after this long, and is to call again
/// after a pause.
const SHORT_WAIT: Duration = Duration::from_millis(500);
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// How a checkout waits for a seat, and since when by the wall clock, in seconds.
struct Queued {
    wait: Wait,
    since: i64,
}

/// See the module. One for a process.
pub(crate) struct Licensing {
    pub(crate) clock: SharedClock,
    pub(crate) directory: Arc<Directory>,
    pub(crate) keys: Keys,
    pub(crate) peers: Arc<Peers>,
    pub(crate) patience: Patience,
    pub(crate) metrics: Arc<Metrics>,
}

impl Licensing {
    pub(crate) fn activate(&self, request: &v1::ActivateRequest) -> Result<v1::ActivateResponse, CallError> {
        let caller = request::activate(request)?;
        let (words, found) = self.judge(&caller, Asked::default())?;
        let mut response: v1::ActivateResponse = self.tell("activate", words);
        if let Some((found, judgment)) = found {
            response.tier = tier(&found);
            response.expire_time = judgment.expires.map(words::timestamp);
            if judgment.is_authorized() {
                let claim = ActivationClaim { grant: found.grant().id, key: found.key };
                response.activation_token = self.keys.get().activation(found.pool.hash, claim);
            }
        }
        Ok(response)
    }

    pub(crate) fn validate(&self, request: &v1::ValidateRequest) -> Result<v1::ValidateResponse, CallError> {
        let (caller, version) = request::validate(request)?;
        let asked = Asked { features: &request.features, version: version.as_ref() };
        let (words, found) = self.judge(&caller, asked)?;
        let mut response: v1::ValidateResponse = self.tell("validate", words);
        if let Some((found, judgment)) = found {
            response.tier = tier(&found);
            response.expire_time = judgment.expires.map(words::timestamp);
            response.days_left = judgment.days_left(self.clock.wall());
            response.features = judgment.features;
        }
        Ok(response)
    }

    /// Whom the caller stands for, what is to be said of it, and with which features.
    fn judge(
        &self,
        caller: &Caller<'_>,
        asked: Asked<'_>,
    ) -> Result<(Words, Option<(Found, Judgment)>), CallError> {
        let keys = self.keys.get();
        Ok(match self.directory.find(&keys, caller) {
            LookUp::Found(found) => {
                let (grant, now) = (found.grant(), self.clock.wall());
                let judgment = found.view.judge(grant, asked, now, Use::Begin);
                let judgment = found.view.hold_against(judgment, grant, now, found.pool.latest_time());
                (Words::from(&judgment), Some((found, judgment)))
            }
            LookUp::Revoked => (words::revoked(), None),
            LookUp::Unknown if keys.is_behind(caller.key) => return Err(words::not_served_here()),
            LookUp::Unknown => (words::unknown_key(), None),
        })
    }

    pub(crate) async fn checkout(
        &self,
        request: v1::CheckoutRequest,
        deadline: BootInstant,
    ) -> Result<v1::CheckoutResponse, CallError> {
        let waits = request::max_wait(&request)?.is_some();
        let place = if waits { self.patience.place() } else { None };
        let short = waits && place.is_none();
        let deadline = if short { deadline.min(self.clock.boot() + SHORT_WAIT) } else { deadline };
        let call = || Call::Checkout(request.clone());
        let mut response: v1::CheckoutResponse =
            self.decided(deadline, call, || self.checkout_here(&request, deadline)).await?;
        if short && response.code() == Code::Queued {
            response.retry_after = Some(words::duration(POLL_PAUSE));
        }
        Ok(response)
    }

    pub(crate) async fn checkout_here(
        &self,
        request: &v1::CheckoutRequest,
        deadline: BootInstant,
    ) -> Result<Attempt<v1::CheckoutResponse>, CallError> {
        let Order { caller, operation, count, version } = request::checkout(request)?;
        let asked = Asked { features: &request.features, version: version.as_ref() };
        let (found, judgment) = match self.judge(&caller, asked)? {
            (_, Some((found, judgment))) if judgment.is_authorized() => (found, judgment),
            (words, _) => return Ok(Attempt::Done(self.refused_checkout(words))),
        };
        let limits = found.view.limits(found.grant(), &request.features, version.as_ref());
        let limits = limits.map_err(|_| request::too_many_limits())?;
        let features = match request.features.is_empty() {
            true => found.view.unlimited(found.grant(), &judgment.features),
            false => judgment.features.clone(),
        };
        let meta = Meta {
            client: request.client.clone(),
            features: features.clone(),
            started: self.clock.wall(),
            adopted: false,
        };
        let queued = self.queued(&found, request, operation)?;
        let deadline = if queued.is_some() { deadline } else { self.clock.boot() + CALL_DEADLINE };
        let ledger = LedgerCheckout {
            operation,
            grant: found.grant().id,
            limits,
            count,
            meta: Arc::new(meta),
            wait: queued.as_ref().map(|queued| queued.wait.clone()),
        };
        let answer = match found.pool.checkout(ledger, deadline).await {
            Answer::Queued { place, position } => {
                let claim = QueueClaim { operation, place, since: queued.map_or(0, |queued| queued.since) };
                let mut response = self.refused_checkout(words::queued(&found.view, position));
                response.queue_position = position;
                response.queue_ticket = self.keys.get().queue_ticket(found.pool.hash, &claim);
                return Ok(Attempt::Done(response));
            }
            Answer::NotOwner { .. } => return Ok(Attempt::Elsewhere(found.pool)),
            Answer::Unavailable { retry_after } => return Err(words::unavailable(&found.pool, retry_after)),
            answer => answer,
        };
        let response = self.checked_out(&found, &judgment, features, count.get(), answer);
        Ok(Attempt::Done(response))
    }

    /// How a checkout waits for a seat, by what it and the pool say.
    fn queued(
        &self,
        found: &Found,
        request: &v1::CheckoutRequest,
        operation: OperationId,
    ) -> Result<Option<Queued>, CallError> {
        let (Some(asked), Some(policy)) = (request::max_wait(request)?, &found.view.plan.queue) else {
            return Ok(None);
        };
        let now = self.clock.wall().as_second();
        let claim = self.queue_claim(found, &request.queue_ticket, operation)?;
        let since = claim.map_or(now, |claim| claim.since.min(now));
        let waited = Duration::from_secs(now.saturating_sub(since).unsigned_abs());
        let wait = Wait {
            until: self.clock.boot() + asked.min(policy.max_wait.get().saturating_sub(waited)),
            place: claim.map(|claim| claim.place),
            priority: found.grant().plan.priority,
            share: found.grant().own,
        };
        Ok(Some(Queued { wait, since }))
    }

    fn queue_claim(
        &self,
        found: &Found,
        ticket: &str,
        operation: OperationId,
    ) -> Result<Option<QueueClaim>, CallError> {
        let keys = self.keys.get();
        match keys.open_queue_ticket(ticket) {
            _ if ticket.is_empty() => Ok(None),
            Some((ledger, claim)) if ledger == found.pool.hash && claim.operation == operation => {
                Ok(Some(claim))
            }
            None if keys.is_behind(ticket) => Err(words::not_served_here()),
            _ => Err(CallError::Invalid(
                "queueTicket must be the one that the last QUEUED answer to this operationId gave".into(),
            )),
        }
    }

    fn checked_out(
        &self,
        found: &Found,
        judgment: &Judgment,
        features: Vec<String>,
        count: u32,
        answer: Answer,
    ) -> v1::CheckoutResponse {
        let Answer::Granted { claim, valid_for, renew_after, .. } = answer else {
            return self.refused_checkout(words::refusal(&found.view, count, answer).warning(judgment));
        };
        v1::CheckoutResponse {
            session: self.keys.get().session(found.pool.hash, &claim),
            valid_for: Some(words::duration(valid_for)),
            renew_after: Some(words::duration(renew_after)),
            features,
            tier: tier(found),
            expire_time: judgment.expires.map(words::timestamp),
            ..self.tell("checkout", Words::from(judgment))
        }
    }

    fn refused_checkout(&self, words: Words) -> v1::CheckoutResponse {
        self.tell("checkout", words)
    }

    pub(crate) async fn renew(
        &self,
        request: v1::RenewRequest,
        deadline: BootInstant,
    ) -> Result<v1::RenewResponse, CallError> {
        let here = || std::future::ready(self.renew_here(&request));
        self.decided(deadline, || Call::Renew(request.clone()), here).await
    }

    pub(crate) fn renew_here(
        &self,
        request: &v1::RenewRequest,
    ) -> Result<Attempt<v1::RenewResponse>, CallError> {
        let operation = request::operation(&request.operation_id)?;
        request::client(request.client.as_ref())?;
        let token = request::session(&request.session)?;
        let Some((pool, claim)) = self.open(token)? else {
            return Ok(Attempt::Done(self.renewed(words::session_unknown())));
        };
        if pool.role() != Role::Owner {
            // Not judged here: this replica's plan may be older than the owner's.
            pool.note(&claim);
            return Ok(Attempt::Elsewhere(pool));
        }
        let view = pool.view();
        let judgment = match view.grant(claim.grant) {
            Some(grant) => view.judge(grant, Asked::default(), self.clock.wall(), Use::GoOn),
            None => return Ok(Attempt::Done(self.renewed(words::revoked()))),
        };
        if !judgment.is_authorized() {
            return Ok(Attempt::Done(self.renewed(Words::from(&judgment))));
        }
        let client = request.client.clone();
        let meta = || {
            let features = view.features_of(&claim.limits);
            Arc::new(Meta { client: client.clone(), features, started: self.clock.wall(), adopted: true })
        };
        match pool.renew(&claim, operation, meta) {
            Answer::NotOwner { .. } => Ok(Attempt::Elsewhere(pool)),
            Answer::Unavailable { retry_after } => Err(words::unavailable(&pool, retry_after)),
            Answer::Granted { claim, valid_for, renew_after, adopted } => {
                let mut response = self.renewed(Words::from(&judgment));
                response.session = self.keys.get().session(pool.hash, &claim);
                response.valid_for = Some(words::duration(valid_for));
                response.renew_after = Some(words::duration(renew_after));
                response.expire_time = judgment.expires.map(words::timestamp);
                response.want_client = adopted && client.is_none();
                if let Some(client) = client.filter(|_| !adopted) {
                    pool.describe(claim.session, client);
                }
                Ok(Attempt::Done(response))
            }
            answer => Ok(Attempt::Done(self.renewed(words::refusal(&view, claim.count.get(), answer)))),
        }
    }

    fn renewed(&self, words: Words) -> v1::RenewResponse {
        self.tell("renew", words)
    }

    pub(crate) async fn checkin(
        &self,
        request: v1::CheckinRequest,
        deadline: BootInstant,
    ) -> Result<v1::CheckinResponse, CallError> {
        let here = || std::future::ready(self.checkin_here(&request));
        self.decided(deadline, || Call::Checkin(request.clone()), here).await
    }

    pub(crate) fn checkin_here(
        &self,
        request: &v1::CheckinRequest,
    ) -> Result<Attempt<v1::CheckinResponse>, CallError> {
        let operation = request::operation(&request.operation_id)?;
        let token = request::session(&request.session)?;
        let Some((pool, claim)) = self.open(token)? else {
            return Ok(Attempt::Done(self.checked_in(words::session_unknown())));
        };
        match pool.checkin(&claim, operation) {
            Answer::NotOwner { .. } => Ok(Attempt::Elsewhere(pool)),
            Answer::Unavailable { retry_after } => Err(words::unavailable(&pool, retry_after)),
            Answer::Returned => Ok(Attempt::Done(self.checked_in(words::returned()))),
            answer => Ok(Attempt::Done(self.checked_in(words::refusal(&pool.view(), 1, answer)))),
        }
    }

    fn checked_in(&self, words: Words) -> v1::CheckinResponse {
        self.tell("checkin", words)
    }

    /// Counts a verdict, and makes the response that says it.
    fn tell<R: From<Words>>(&self, call: &'static str, words: Words) -> R {
        self.metrics.verdict(call, words.verdict, words.code);
        words.into()
    }

    /// The pool and claim of a session token; None: no key of ours has signed it.
    fn open(&self, token: &str) -> Result<Option<(Arc<Pool>, Claim)>, CallError> {
        let keys = self.keys.get();
        let Some((ledger, claim)) = keys.open_session(token) else {
            // Its kubelet is cut off, so a rotation passed this replica by. Another one can open the token.
            return if keys.is_behind(token) { Err(words::not_served_here()) } else { Ok(None) };
        };
        let pool = self.directory.pool(ledger).ok_or_else(words::not_served_here)?;
        Ok(Some((pool, claim)))
    }
}

fn tier(found: &Found) -> String {
    found.grant().plan.tier.as_ref().map(ToString::to_string).unwrap_or_default()
}
