//! The calls of port 1453, whatever the transport: request in, verdict out.
//!
//! Takes checked requests; finds the grant, judges it, asks the ledger, words the answer. Seat operations that
//! another replica decides go through [`Peers`].

use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{Answer, CheckoutRequest as LedgerCheckout, Claim, Role};
use genie_proto::v1;

use super::clock::wall_now;
use super::directory::{Directory, Found, LookUp};
use super::error::CallError;
use super::metrics::Metrics;
use super::peers::{Call, Peers, Reply};
use super::pool::{Meta, Pool};
use super::request::{self, Caller};
use super::words::{self, Words};
use crate::license::{ActivationClaim, Judgment, Keyring, Use};

/// Longest a call may wait for anything; clients retry within their own deadlines.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// See the module. One for a process.
pub(crate) struct Licensing {
    pub(crate) directory: Arc<Directory>,
    pub(crate) keyring: Keyring,
    pub(crate) peers: Peers,
    pub(crate) metrics: Arc<Metrics>,
}

/// Whether a call may be passed on to another replica: one that was passed on may not, so that none goes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From a client.
    Client,
    /// From another replica.
    Peer,
}

/// A seat operation's outcome: an answer, or that another replica decides.
pub(crate) enum Here<T> {
    Answer(T),
    NotOwner,
}

impl Licensing {
    pub(crate) fn activate(&self, request: &v1::ActivateRequest) -> Result<v1::ActivateResponse, CallError> {
        let caller = request::activate(request)?;
        let (words, found) = self.judge(&caller, &[]);
        let mut response: v1::ActivateResponse = self.tell("activate", words);
        if let Some((found, judgment)) = found {
            response.tier = tier(&found);
            response.expire_time = judgment.expires.map(words::timestamp);
            if judgment.is_authorized() {
                let claim = ActivationClaim { grant: found.grant().id, key: found.key };
                response.activation_token = self.keyring.activation(found.pool.hash, claim);
            }
        }
        Ok(response)
    }

    pub(crate) fn validate(&self, request: &v1::ValidateRequest) -> Result<v1::ValidateResponse, CallError> {
        let caller = request::validate(request)?;
        let (words, found) = self.judge(&caller, &request.features);
        let mut response: v1::ValidateResponse = self.tell("validate", words);
        if let Some((found, judgment)) = found {
            response.tier = tier(&found);
            response.expire_time = judgment.expires.map(words::timestamp);
            response.days_left = judgment.days_left(wall_now());
            response.features = judgment.features;
        }
        Ok(response)
    }

    /// Whom the caller stands for, what is to be said of it, and with which features.
    fn judge(&self, caller: &Caller<'_>, features: &[String]) -> (Words, Option<(Found, Judgment)>) {
        match self.directory.find(&self.keyring, caller) {
            LookUp::Found(found) => {
                let judgment = found.view.judge(found.grant(), features, wall_now(), Use::Begin);
                (Words::from(&judgment), Some((found, judgment)))
            }
            LookUp::Revoked => (words::revoked(), None),
            LookUp::Unknown => (words::unknown_key(), None),
        }
    }

    pub(crate) async fn checkout(
        &self,
        request: v1::CheckoutRequest,
        origin: Origin,
    ) -> Result<Here<v1::CheckoutResponse>, CallError> {
        let (caller, operation, count) = request::checkout(&request)?;
        let (found, judgment) = match self.judge(&caller, &request.features) {
            (_, Some((found, judgment))) if judgment.is_authorized() => (found, judgment),
            (words, _) => return Ok(Here::Answer(self.refused_checkout(words))),
        };
        let limits =
            found.grant().limits(&request.features).map_err(|error| CallError::Invalid(error.to_string()))?;
        let features = match request.features.is_empty() {
            true => found.view.unlimited(&judgment.features),
            false => judgment.features.clone(),
        };
        let meta = Meta {
            client: request.client.clone(),
            features: features.clone(),
            started: wall_now(),
            adopted: false,
        };
        let ledger =
            LedgerCheckout { operation, grant: found.grant().id, limits, count, meta: Arc::new(meta) };
        let answer = match found.pool.checkout(ledger, CALL_DEADLINE).await {
            Answer::NotOwner { address } => {
                return self.pass_on(&found.pool, address, origin, Call::Checkout(request)).await?.checkout();
            }
            Answer::Unavailable { retry_after } => return Err(words::unavailable(&found.pool, retry_after)),
            answer => answer,
        };
        let response = self.checked_out(&found, &judgment, features, count.get(), answer);
        Ok(Here::Answer(response))
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
            return self.refused_checkout(words::refusal(&found.view, count, answer));
        };
        v1::CheckoutResponse {
            session: self.keyring.session(found.pool.hash, &claim),
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
        origin: Origin,
    ) -> Result<Here<v1::RenewResponse>, CallError> {
        let operation = request::operation(&request.operation_id)?;
        request::client(request.client.as_ref())?;
        let token = request::session(&request.session)?;
        let Some((pool, claim)) = self.open(token)? else {
            return Ok(Here::Answer(self.renewed(words::session_unknown())));
        };
        if origin == Origin::Client && pool.role() != Role::Owner {
            // Not judged here: this replica's plan may be older than the owner's.
            let owner = pool.status().owner.map(|owner| owner.address);
            return self.pass_on(&pool, owner, origin, Call::Renew(request)).await?.renew();
        }
        let view = pool.view();
        let judgment = match view.grant(claim.grant) {
            Some(grant) => view.judge(grant, &[], wall_now(), Use::GoOn),
            None => return Ok(Here::Answer(self.renewed(words::revoked()))),
        };
        if !judgment.is_authorized() {
            return Ok(Here::Answer(self.renewed(Words::from(&judgment))));
        }
        let client = request.client.clone();
        let meta = || {
            let features = view.features_of(&claim.limits);
            Arc::new(Meta { client: client.clone(), features, started: wall_now(), adopted: true })
        };
        match pool.renew(&claim, operation, meta) {
            Answer::NotOwner { address } => {
                self.pass_on(&pool, address, origin, Call::Renew(request)).await?.renew()
            }
            Answer::Unavailable { retry_after } => Err(words::unavailable(&pool, retry_after)),
            Answer::Granted { claim, valid_for, renew_after, adopted } => {
                let mut response = self.renewed(Words::from(&judgment));
                response.session = self.keyring.session(pool.hash, &claim);
                response.valid_for = Some(words::duration(valid_for));
                response.renew_after = Some(words::duration(renew_after));
                response.expire_time = judgment.expires.map(words::timestamp);
                response.want_client = adopted && client.is_none();
                if let Some(client) = client.filter(|_| !adopted) {
                    pool.describe(claim.session, client);
                }
                Ok(Here::Answer(response))
            }
            answer => Ok(Here::Answer(self.renewed(words::refusal(&view, claim.count.get(), answer)))),
        }
    }

    fn renewed(&self, words: Words) -> v1::RenewResponse {
        self.tell("renew", words)
    }

    pub(crate) async fn checkin(
        &self,
        request: v1::CheckinRequest,
        origin: Origin,
    ) -> Result<Here<v1::CheckinResponse>, CallError> {
        let operation = request::operation(&request.operation_id)?;
        let token = request::session(&request.session)?;
        let Some((pool, claim)) = self.open(token)? else {
            return Ok(Here::Answer(self.checked_in(words::session_unknown())));
        };
        match pool.checkin(&claim, operation) {
            Answer::NotOwner { address } => {
                self.pass_on(&pool, address, origin, Call::Checkin(request)).await?.checkin()
            }
            Answer::Unavailable { retry_after } => Err(words::unavailable(&pool, retry_after)),
            Answer::Returned => Ok(Here::Answer(self.checked_in(words::returned()))),
            answer => Ok(Here::Answer(self.checked_in(words::refusal(&pool.view(), 1, answer)))),
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
        let Some((ledger, claim)) = self.keyring.open_session(token) else { return Ok(None) };
        let pool = self.directory.pool(ledger).ok_or_else(words::not_served_here)?;
        Ok(Some((pool, claim)))
    }

    async fn pass_on(
        &self,
        pool: &Pool,
        address: Option<Arc<str>>,
        origin: Origin,
        call: Call,
    ) -> Result<Reply, CallError> {
        match (origin, address) {
            (Origin::Peer, _) => Ok(Reply::NotOwner),
            (Origin::Client, Some(address)) => self.peers.forward(&pool.id, &address, call).await,
            (Origin::Client, None) => Err(words::unavailable(pool, words::TAKEOVER_RETRY)),
        }
    }
}

fn tier(found: &Found) -> String {
    found.grant().plan.tier.as_ref().map(ToString::to_string).unwrap_or_default()
}
