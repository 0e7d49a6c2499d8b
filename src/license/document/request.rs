//! What a customer sends to a vendor to get a license: plain JSON, or signed by the server whose key is in it, so
//! that the vendor knows that the customer has that key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Binding, Confirmation, JwsError, Problem, SigningKey,
    jws::{self, Jws, MAX_DOCUMENT},
    rules,
};

const TYPE: &str = "genie-lm-request+jwt";

/// A request for a license.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// What is wanted.
    pub product: String,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Where it will be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// When it was made.
    #[serde(rename = "iat", with = "jiff::fmt::serde::timestamp::second::required")]
    pub made_at: Timestamp,
    /// The key of the server, in a signed request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// Why a text is not a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Too long, or not signed as it should be.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// Neither a signed request nor JSON.
    #[error("it is no request for a license: `genie-lm license request` makes one ({0})")]
    Form(String),
    /// A key that nobody has shown to have.
    #[error(
        "it names a server's key and is not signed with it: make it with `genie-lm license request --server-key`"
    )]
    Unproven,
    /// It says what cannot be.
    #[error("its {0}")]
    Invalid(Problem),
}

impl Request {
    /// Whether it says what can be said.
    pub fn check(&self) -> Result<(), Problem> {
        if !rules::is_name(&self.product) {
            return Err(Problem::new("product", rules::NAME));
        }
        if self.customer.as_deref().is_some_and(|customer| !rules::is_party(customer)) {
            return Err(Problem::new("customer", rules::PARTY));
        }
        self.binding.as_ref().and_then(rules::binding_problem).map_or(Ok(()), Err)
    }

    /// The request as JSON.
    pub fn plain(&self) -> Result<String, JwsError> {
        serde_json::to_string_pretty(self).map_err(|error| JwsError::Payload(error.to_string()))
    }

    /// The request signed with `key`, which it names.
    pub fn signed(self, key: &SigningKey) -> Result<String, JwsError> {
        let cnf = Some(Confirmation { jwk: key.public() });
        jws::sign(key, TYPE, &Self { cnf, ..self })
    }

    /// Reads either form. A key in it has signed it.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        if text.len() > MAX_DOCUMENT {
            return Err(JwsError::TooLong.into());
        }
        let request: Self = if text.starts_with('{') {
            serde_json::from_str(text).map_err(|error| RequestError::Form(jws::shown(error)))?
        } else {
            let jws = Jws::parse(text, TYPE)?;
            let request: Self = jws.payload()?;
            let keys: Vec<_> = request.cnf.iter().map(|cnf| cnf.jwk).collect();
            jws.verify(&keys)?;
            request
        };
        if text.starts_with('{') && request.cnf.is_some() {
            return Err(RequestError::Unproven);
        }
        request.check().map_err(RequestError::Invalid)?;
        Ok(request)
    }
}
