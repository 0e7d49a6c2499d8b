//! Checks what callers send, once, at the edge: sizes, forms, and what this version does not do yet.

use std::num::NonZeroU32;
use std::time::Duration;

use genie_ledger::OperationId;
use genie_proto::v1::{ActivateRequest, CheckoutRequest, Client, ValidateRequest};

use super::calls::CALL_DEADLINE;
use super::error::CallError;
use crate::api::Version;
use crate::license::MAX_TOKEN;

/// Features a call may name: what one session can touch in the ledger, less pool, grant and tier.
pub(crate) const MAX_FEATURES: usize = genie_ledger::MAX_LIMITS - 3;
/// Longest product, feature or version, as in the CRDs.
const MAX_NAME: usize = 63;
/// Longest field of [`Client`].
const MAX_CLIENT_FIELD: usize = 128;

/// Longest that a caller can make a call wait: two takeovers, and then some.
const MAX_PATIENCE: Duration = Duration::from_secs(30);
/// An answer that says "not now" is on its way before the caller has given up.
const ANSWER_MARGIN: Duration = Duration::from_millis(200);

/// What names the caller: not yet looked up.
pub(crate) struct Caller<'a> {
    pub(crate) product: &'a str,
    pub(crate) key: &'a str,
}

fn invalid(message: impl Into<String>) -> CallError {
    CallError::Invalid(message.into())
}

fn caller<'a>(product: &'a str, key: &'a str) -> Result<Caller<'a>, CallError> {
    if product.is_empty() || product.len() > MAX_NAME {
        return Err(invalid("product must be given, with at most 63 characters"));
    }
    if key.is_empty() || key.len() > MAX_TOKEN {
        return Err(invalid("key must be given: an activation key (GLM1-…) or an activation token (GLA1.…)"));
    }
    Ok(Caller { product, key })
}

fn features(features: &[String]) -> Result<(), CallError> {
    if features.len() > MAX_FEATURES {
        return Err(invalid(format!("at most {MAX_FEATURES} features may be asked for in one call")));
    }
    if features.iter().any(|name| name.is_empty() || name.len() > MAX_NAME) {
        return Err(invalid("a feature's name has 1 to 63 characters"));
    }
    Ok(())
}

/// Of the application; None: it does not say.
fn version(text: &str) -> Result<Option<Version>, CallError> {
    let parsed = Some(text).filter(|text| !text.is_empty()).map(str::parse::<Version>).transpose();
    parsed.map_err(|_| {
        invalid("version must be one to four numbers with dots between, such as 2026.1, or be left out")
    })
}

/// Fields whose behavior is not there yet must be empty: they are refused, never ignored.
fn later(fields: &[(&str, bool)]) -> Result<(), CallError> {
    match fields.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(invalid(format!("{name} is not supported by this version: leave it out"))),
        None => Ok(()),
    }
}

pub(crate) fn client(client: Option<&Client>) -> Result<(), CallError> {
    let Some(client) = client else { return Ok(()) };
    let fields = [&client.user, &client.host, &client.application, &client.version];
    if fields.iter().any(|field| field.len() > MAX_CLIENT_FIELD) {
        return Err(invalid("client.user, host, application and version have at most 128 bytes each"));
    }
    Ok(())
}

/// An operation id is a UUID: random enough that no two operations share one.
pub(crate) fn operation(id: &str) -> Result<OperationId, CallError> {
    uuid::Uuid::try_parse(id).ok().filter(|id| !id.is_nil()).map(|id| OperationId(id.as_u128())).ok_or_else(
        || {
            invalid(
                "operationId must be a UUID, a new one for each operation and the same one for its retries",
            )
        },
    )
}

pub(crate) fn session(token: &str) -> Result<&str, CallError> {
    if token.is_empty() || token.len() > MAX_TOKEN {
        return Err(invalid("session must be the token that checkout or the last renew answered"));
    }
    Ok(token)
}

pub(crate) fn activate(request: &ActivateRequest) -> Result<Caller<'_>, CallError> {
    later(&[("fingerprint", !request.fingerprint.is_empty())])?;
    if !request.operation_id.is_empty() {
        operation(&request.operation_id)?;
    }
    caller(&request.product, &request.key)
}

pub(crate) fn validate(request: &ValidateRequest) -> Result<(Caller<'_>, Option<Version>), CallError> {
    later(&[("nonce", !request.nonce.is_empty()), ("fingerprint", !request.fingerprint.is_empty())])?;
    features(&request.features)?;
    client(request.client.as_ref())?;
    Ok((caller(&request.product, &request.key)?, version(&request.version)?))
}

/// A checkout as it was ordered.
pub(crate) struct Order<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) operation: OperationId,
    pub(crate) count: NonZeroU32,
    pub(crate) version: Option<Version>,
}

pub(crate) fn checkout(request: &CheckoutRequest) -> Result<Order<'_>, CallError> {
    later(&[("fingerprint", !request.fingerprint.is_empty())])?;
    features(&request.features)?;
    client(request.client.as_ref())?;
    Ok(Order {
        caller: caller(&request.product, &request.key)?,
        operation: operation(&request.operation_id)?,
        count: NonZeroU32::new(request.count).unwrap_or(NonZeroU32::MIN),
        version: version(&request.version)?,
    })
}

/// The features of a call are counted in more ways than one session can be.
pub(crate) fn too_many_limits() -> CallError {
    invalid(
        "these features are counted by version, and are too many for one call: ask for some of them in a call of their own",
    )
}

/// How long a checkout is to wait for a seat in all; None: not at all.
pub(crate) fn max_wait(request: &CheckoutRequest) -> Result<Option<Duration>, CallError> {
    let Some(wait) = request.max_wait else { return Ok(None) };
    let wait = Duration::try_from(wait).map_err(|_| invalid("maxWait must not be negative"))?;
    Ok(Some(wait).filter(|wait| !wait.is_zero()))
}

/// How long a caller will wait, by its `grpc-timeout` header (digits and a unit), within bounds.
pub(crate) fn patience(grpc_timeout: Option<&[u8]>) -> Duration {
    let asked = grpc_timeout.and_then(timeout).unwrap_or(CALL_DEADLINE);
    asked.min(MAX_PATIENCE).saturating_sub(ANSWER_MARGIN)
}

fn timeout(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last().filter(|(_, digits)| (1..=8).contains(&digits.len()))?;
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_answered_before_it_gives_up_and_never_later_than_the_longest_wait() {
        let patience = |header: &str| patience(Some(header.as_bytes())).as_millis();
        assert_eq!(patience("2S"), 1_800);
        assert_eq!(patience("1500m"), 1_300);
        assert_eq!(patience("100m"), 0);
        assert_eq!(patience("99999999H"), 29_800);
        for wrong in ["", "S", "-1S", "1", "123456789S", "1X", "\u{ff}S"] {
            assert_eq!(patience(wrong), 9_800, "{wrong:?}");
        }
    }
}
