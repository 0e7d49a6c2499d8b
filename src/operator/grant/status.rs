//! Step 5 of a grant: its status; written once, if it differs.

use jiff::Timestamp;
use kube::Resource;

use super::{
    apply::ApplyError,
    observe::Observed,
    validate::{Validated, Verdict, binding_name},
};
use crate::{
    api::{GrantBinding, GrantSeatsStatus, GrantStatus},
    compile::{GrantReason, ObjectName, Reasons},
    license::Judgment,
    operator::{
        conditions::{Says, merge, nearing, news},
        context::Context,
        error::ApiError,
    },
};

/// Writes the status if it differs; gives the time to come back where only usage differs and may not be written yet.
pub async fn write(
    ctx: &Context,
    observed: &Observed,
    verdict: &Verdict,
    failure: Option<&ApplyError>,
) -> Result<Option<Timestamp>, ApiError> {
    let grant = &*observed.grant;
    let old = grant.status.clone().unwrap_or_default();
    let failure = failure.filter(|failure| failure.is_told());
    let Some((mut new, said)) = status(observed, verdict, failure, &old) else { return Ok(None) };
    new.conditions = merge(&old.conditions, &said, grant.metadata.generation, observed.now);
    if new == old {
        return Ok(None);
    }
    let usage_only =
        (GrantStatus { seats: None, ..new.clone() }) == (GrantStatus { seats: None, ..old.clone() });
    if usage_only && let Err(due) = ctx.may_write_usage(super::CONTROLLER, &ObjectName::of(grant)) {
        return Ok(Some(observed.now + due.saturating_duration_since(tokio::time::Instant::now())));
    }
    ctx.writer.status(grant, &new).await?;
    ctx.tell(&grant.object_ref(&()), &news(&old.conditions, &said)).await;
    Ok(None)
}

fn status(
    observed: &Observed,
    verdict: &Verdict,
    failure: Option<&ApplyError>,
    old: &GrantStatus,
) -> Option<(GrantStatus, Vec<Says>)> {
    let observed_generation = observed.grant.metadata.generation;
    match verdict {
        Verdict::Waiting => None,
        Verdict::Refused(reasons) => {
            let said = refused(reasons);
            Some((GrantStatus { observed_generation, seats: None, expires: None, ..old.clone() }, said))
        }
        Verdict::Accepted(validated) => {
            let written = validated.key.is_some() && observed.binding.is_some() && failure.is_none();
            if !written && failure.is_none() {
                // The Secret was made just now; its watch brings it in a moment, and then there is more to tell.
                return None;
            }
            let new = GrantStatus {
                conditions: Vec::new(),
                observed_generation,
                seats: Some(GrantSeatsStatus { in_use: validated.in_use }),
                binding: written.then(|| GrantBinding { name: binding_name(observed) }),
                key_id: validated.accepted.key_id.clone(),
                expires: validated.accepted.expires.map(|time| time.to_string()),
            };
            Some((new, accepted(validated, failure)))
        }
    }
}

fn refused(reasons: &Reasons<GrantReason>) -> Vec<Says> {
    let message = reasons.to_string();
    let says = |type_| Says::new(type_, false, reasons.reason(), message.clone());
    vec![says("Accepted"), says("Authorized"), says("Ready")]
}

fn accepted(validated: &Validated, failure: Option<&ApplyError>) -> Vec<Says> {
    let accepted = match Reasons::<GrantReason>::new(validated.accepted.warnings.clone()) {
        Some(warnings) => Says::new("Accepted", true, warnings.reason(), warnings.to_string()),
        None => Says::new("Accepted", true, "Accepted", "the pool accepts it"),
    };
    let authorized = authorized(validated.judgment.as_ref());
    let ready = match failure {
        Some(failure) => Says::new("Ready", false, "SecretRefused", failure.to_string()),
        None if !authorized.holds() => Says { type_: "Ready", ..authorized.clone() },
        None => Says::new("Ready", true, "Ready", "its Secret can be mounted, and seats can be checked out"),
    };
    let expiring = validated.nearing.map(|end| nearing(end, "it", "extend spec.validity"));
    [accepted, authorized, ready].into_iter().chain(expiring).collect()
}

fn authorized(judgment: Option<&Judgment>) -> Says {
    match judgment {
        None => Says::unknown("Authorized", "PlanPending", "the servers do not know it with its key yet"),
        // The judgment's own sentence may count days, and a status holds nothing that changes by itself.
        Some(judgment) if judgment.is_authorized() => {
            Says::new("Authorized", true, camel_case(judgment.code.as_str_name()), "its key is good")
        }
        Some(judgment) => {
            Says::new("Authorized", false, camel_case(judgment.code.as_str_name()), judgment.message.clone())
        }
    }
}

/// `LICENSE_EXPIRED` as a reason of a condition: `LicenseExpired`.
fn camel_case(code: &str) -> String {
    let code = code.strip_prefix("CODE_").unwrap_or(code);
    let word = |word: &str| {
        word.chars().take(1).chain(word.chars().skip(1).map(|c| c.to_ascii_lowercase())).collect::<String>()
    };
    code.split('_').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_wire_is_a_reason_in_camel_case() {
        assert_eq!(camel_case("LICENSE_EXPIRED"), "LicenseExpired");
        assert_eq!(camel_case("CODE_OK"), "Ok");
    }
}
