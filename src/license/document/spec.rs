//! What a vendor writes to have a license made: a spec in YAML or JSON, completed by flags and a request.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Binding, Borrow, Confirmation, Feature, License, Overdraft, Problem, PublicKey, Request, Tier, moment,
    rules,
};
use crate::api::ApiDuration;

/// Longest spec in bytes.
pub const MAX_SPEC: usize = 64 * 1024;

/// A license to be. What is left out here may come from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// Who sells.
    pub vendor: Option<String>,
    /// Who bought.
    pub customer: Option<String>,
    /// The license's name; absent: a new one. With the id of an older license, this one replaces it.
    pub id: Option<String>,
    /// What clients ask for.
    pub product: Option<String>,
    /// Sessions at one time.
    pub seats: Option<u32>,
    /// What sessions can ask for.
    pub features: Vec<Feature>,
    /// Named sets of features.
    pub tiers: Vec<Tier>,
    /// When it counts.
    pub validity: SpecValidity,
    /// Seats over the limit.
    pub overdraft: Option<Overdraft>,
    /// The right to take seats offline.
    pub borrow: Option<Borrow>,
    /// Where it counts.
    pub binding: Option<Binding>,
    /// The key of the customer's server.
    pub server_key: Option<PublicKey>,
}

/// When a license counts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpecValidity {
    /// First moment; absent: the moment of signing.
    #[serde(deserialize_with = "moment::deserialize")]
    pub not_before: Option<Timestamp>,
    /// Moment of its end; absent: never.
    #[serde(deserialize_with = "moment::deserialize")]
    pub not_after: Option<Timestamp>,
    /// How long it still works after its end.
    pub grace_period: Option<ApiDuration>,
}

/// Why a text is not a spec.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// More than a spec can have.
    #[error("it has more than {MAX_SPEC} bytes, the most that is read")]
    TooLong,
    /// A key, of which no error may repeat a line.
    #[error("this is a private key, no spec: give the spec, and the key with --key")]
    PrivateKey,
    /// Not YAML, or not these fields.
    #[error("{0}")]
    Form(String),
}

impl Spec {
    /// Reads YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_SPEC {
            return Err(SpecError::TooLong);
        }
        if text.contains("PRIVATE KEY") {
            return Err(SpecError::PrivateKey);
        }
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| SpecError::Form(error.to_string()))
    }

    /// Takes over what the customer asked for. What the vendor wrote must say the same where it says anything.
    pub fn complete(&mut self, request: &Request) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut agree = |field: &str, same: bool| {
            if !same {
                problems.push(Problem::new(field, "differs from the request: leave it out to take that"));
            }
        };
        agree("product", take(&mut self.product, Some(&request.product)));
        agree("customer", take(&mut self.customer, request.customer.as_ref()));
        agree("binding", take(&mut self.binding, request.binding.as_ref()));
        agree("serverKey", take(&mut self.server_key, request.cnf.as_ref().map(|cnf| &cnf.jwk)));
        problems
    }

    /// The license that is signed at `now`, named `id` unless the spec names it; or all that is wrong.
    pub fn license(self, now: Timestamp, id: impl FnOnce() -> String) -> Result<License, Vec<Problem>> {
        let mut missing = Missing(Vec::new());
        let license = License {
            vendor: missing.text("vendor", self.vendor, "who sells, such as \"Acme Software\""),
            customer: missing.text("customer", self.customer, "who bought, such as \"Initech\""),
            id: self.id.unwrap_or_else(id),
            issued_at: seconds(now),
            not_before: seconds(self.validity.not_before.unwrap_or(now)),
            not_after: self.validity.not_after.map(seconds),
            grace_period: self.validity.grace_period,
            product: missing.text("product", self.product, "what clients ask for, such as acme-cad"),
            seats: missing.number("seats", self.seats, "how many sessions at one time, such as 10"),
            features: self.features,
            tiers: self.tiers,
            overdraft: self.overdraft,
            borrow: self.borrow,
            binding: self.binding,
            cnf: self.server_key.map(|jwk| Confirmation { jwk }),
        };
        let mut problems = missing.0;
        let told = |problems: &[Problem], field: &str| problems.iter().any(|known| known.field == field);
        for problem in rules::check(&license) {
            if !told(&problems, &problem.field) {
                problems.push(problem);
            }
        }
        if license.not_after.is_some_and(|end| end <= now) {
            problems.push(Problem::new("validity.notAfter", "is already over: write a later one"));
        }
        if problems.is_empty() { Ok(license) } else { Err(problems) }
    }
}

/// Whether `mine` and `theirs` agree, after what is missing in `mine` was taken over.
fn take<T: PartialEq + Clone>(mine: &mut Option<T>, theirs: Option<&T>) -> bool {
    if mine.is_none() {
        *mine = theirs.cloned();
    }
    theirs.is_none() || mine.as_ref() == theirs
}

/// Claims have whole seconds.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

struct Missing(Vec<Problem>);

impl Missing {
    fn text(&mut self, field: &str, value: Option<String>, what: &str) -> String {
        self.check(field, value.is_none(), what);
        value.unwrap_or_default()
    }

    fn number(&mut self, field: &str, value: Option<u32>, what: &str) -> u32 {
        self.check(field, value.is_none(), what);
        value.unwrap_or_default()
    }

    fn check(&mut self, field: &str, missing: bool, what: &str) {
        if missing {
            self.0.push(Problem::new(field, format!("is missing: say {what}")));
        }
    }
}
