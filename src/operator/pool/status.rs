//! Step 5 of a pool: what was observed and applied → its status; written once, if it differs. Holds nothing that changes
//! by itself, and usage only within its budget.

use genie_ledger::Record;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt};

use super::{
    apply::ApplyError,
    drain::Stage,
    observe::Observed,
    validate::{Verdict, record},
};
use crate::{
    api::{CountStatus, PoolLedgerStatus, PoolSeatsStatus, PoolStatus, SeatPlanSpec},
    compile::{Compiled, LicenseFinding, Licensed, ObjectName, PoolReason, Reasons},
    license::{Nearing, warning_moments, warning_times},
    operator::{
        conditions::{Says, merge, nearing, news},
        context::Context,
        error::{ApiError, Categorized, Category, WriteError},
        names,
    },
};

/// Writes the status if it differs; gives the time to come back where only usage differs and may not be written yet.
pub async fn write(
    ctx: &Context,
    observed: &Observed,
    verdict: &Verdict,
    failure: Option<&ApplyError>,
) -> Result<Option<Timestamp>, ApiError> {
    let pool = &*observed.pool;
    let failure = failure.filter(|failure| failure.is_told());
    let said = conditions(observed, verdict, failure);
    let old = pool.status.clone().unwrap_or_default();
    let mut new = status(observed, verdict, &ctx.settings.cluster_domain);
    new.conditions = merge(&old.conditions, &said, pool.metadata.generation, observed.now);
    if new == old {
        return Ok(None);
    }
    let usage_only = without_usage(&new) == without_usage(&old);
    if usage_only && let Err(due) = ctx.may_write_usage(super::CONTROLLER, &ObjectName::of(pool)) {
        return Ok(Some(observed.now + due.saturating_duration_since(tokio::time::Instant::now())));
    }
    ctx.writer.status(pool, &new).await?;
    let clones = clones(&old, &new);
    let news = news(&old.conditions, &said).into_iter().chain(&clones).collect::<Vec<_>>();
    ctx.tell(&pool.object_ref(&()), &news).await;
    Ok(None)
}

/// When what the pool says of its end, or of that of a license, changes.
pub fn warnings(compiled: &Compiled) -> Vec<Timestamp> {
    let Some((plan, end)) = compiled.plan.as_ref().ok().zip(compiled.pool_end()) else { return Vec::new() };
    warning_moments(end, warning_times(None, &plan.validity)).collect()
}

fn without_usage(status: &PoolStatus) -> PoolStatus {
    let mut status = status.clone();
    if let Some(seats) = &mut status.seats {
        (seats.in_use, seats.queued) = (0, 0);
    }
    for feature in &mut status.features {
        feature.in_use = 0;
    }
    if let Some(ledger) = &mut status.ledger {
        ledger.clones = None;
    }
    status
}

fn status(observed: &Observed, verdict: &Verdict, cluster_domain: &str) -> PoolStatus {
    let pool = &*observed.pool;
    let record = record(&observed.live);
    let old = pool.status.as_ref();
    let plan = verdict.compiled.plan.as_ref().ok();
    let ledger = PoolLedgerStatus {
        owner: record.map(|record| record.holder.pod_name.to_string()).filter(|name| !name.is_empty()),
        generation: verdict.generation,
        clones: record.map(|record| record.clones).filter(|clones| *clones > 0),
    };
    PoolStatus {
        conditions: Vec::new(),
        observed_generation: pool.metadata.generation,
        seats: plan.map(|plan| seats(plan, record)),
        features: plan.map(|plan| features(plan, record)).unwrap_or_default(),
        grants: u32::try_from(verdict.compiled.accepted().count()).unwrap_or(u32::MAX),
        endpoint: match plan {
            Some(_) => {
                let host =
                    names::host(&pool.name_any(), &pool.namespace().unwrap_or_default(), cluster_domain);
                Some(format!("{host}:1453"))
            }
            None => old.and_then(|old| old.endpoint.clone()),
        },
        ledger: (record.is_some() || verdict.generation > 0).then_some(ledger),
        next_expiry: verdict.compiled.next_end(observed.now).map(|time| time.to_string()),
    }
}

/// What is told of programs that use a copy of another's session (R12); no condition, since each is refused at once.
fn clones(old: &PoolStatus, new: &PoolStatus) -> Option<Says> {
    let count = |status: &PoolStatus| status.ledger.as_ref().and_then(|ledger| ledger.clones).unwrap_or(0);
    let more = count(new).saturating_sub(count(old));
    let message = format!("{more} renewals were refused: another program had renewed the same session");
    (more > 0).then(|| Says::new("NoClones", false, "CloneDetected", message))
}

fn usage(record: Option<&Record>, limit: &str) -> u32 {
    record.and_then(|record| record.usage.get(limit)).copied().unwrap_or(0)
}

fn seats(plan: &SeatPlanSpec, record: Option<&Record>) -> PoolSeatsStatus {
    let promised = record.and_then(|record| record.promises.get("seats")).copied().unwrap_or(0);
    PoolSeatsStatus {
        total: plan.seats,
        in_force: plan.seats.max(promised),
        in_use: usage(record, "seats"),
        queued: record.map_or(0, |record| u32::try_from(record.queued).unwrap_or(u32::MAX)),
    }
}

fn features(plan: &SeatPlanSpec, record: Option<&Record>) -> Vec<CountStatus> {
    let count = |feature: &crate::api::PlanFeature| CountStatus {
        name: feature.name.to_string(),
        total: feature.seats,
        in_use: usage(record, &format!("feature/{}", feature.name)),
    };
    plan.features.iter().map(count).collect()
}

fn conditions(observed: &Observed, verdict: &Verdict, failure: Option<&ApplyError>) -> Vec<Says> {
    let record = record(&observed.live);
    let plan = verdict.compiled.plan.as_ref();
    let mut said = vec![accepted(verdict, failure)];
    if let Ok(plan) = plan {
        said.push(license_valid(plan, verdict.compiled.licensed.as_ref(), observed.now));
    }
    if plan.is_ok() || record.is_some() {
        said.push(ledger_ready(observed, record));
        said.push(available(observed.live.deployment.as_deref()));
    }
    let ready = ready(&said, observed, verdict.stage);
    said.push(ready);
    if record.is_some_and(|record| record.recovering) {
        let message = "a new owner counts all that earlier owners promised as used, until that has run out";
        said.push(Says::new("Recovering", true, "Takeover", message));
    }
    said.extend(set_back(record, verdict.generation));
    said.extend(expiring(&verdict.compiled, observed.now));
    said
}

fn accepted(verdict: &Verdict, failure: Option<&ApplyError>) -> Says {
    if let Err(reasons) = &verdict.compiled.plan {
        return Says::new("Accepted", false, reasons.reason(), reasons.to_string());
    }
    if let Some(failure) = failure {
        let reason = match failure {
            ApplyError::Write(WriteError::Taken { .. }) => "Taken",
            ApplyError::MacKeys { .. } => "BrokenKeys",
            _ if failure.category() == Category::Bug => "Bug",
            _ => "RefusedByCluster",
        };
        return Says::new("Accepted", false, reason, failure.to_string());
    }
    match Reasons::<PoolReason>::new(verdict.compiled.warnings.clone()) {
        Some(warnings) => Says::new("Accepted", true, warnings.reason(), warnings.to_string()),
        None => Says::new("Accepted", true, "Accepted", "the spec is understood"),
    }
}

fn license_valid(plan: &SeatPlanSpec, licensed: Option<&Licensed>, now: Timestamp) -> Says {
    let by_time = valid_by_time(plan, now);
    let Some(licensed) = licensed else { return by_time };
    let holds = licensed.counts() && by_time.holds();
    let told = Reasons::<LicenseFinding>::new(licensed.findings.clone());
    match told {
        Some(findings) if licensed.counts() && !by_time.holds() => {
            Says::new("LicenseValid", false, by_time.reason, format!("{}; {findings}", by_time.message))
        }
        Some(findings) => Says::new("LicenseValid", holds, findings.reason(), findings.to_string()),
        None if holds && by_time.reason == "Valid" => {
            Says::new("LicenseValid", true, "Valid", "the pool counts, and so does each of its licenses")
        }
        None => by_time,
    }
}

fn valid_by_time(plan: &SeatPlanSpec, now: Timestamp) -> Says {
    let (begin, end) = (&plan.validity.not_before, &plan.validity.not_after);
    if let Some(begin) = begin.as_ref().filter(|begin| begin.0 > now) {
        return Says::new("LicenseValid", false, "NotYetValid", format!("it counts from {}", begin.0));
    }
    let Some(end) = end.as_ref().map(|end| end.0).filter(|end| *end <= now) else {
        return Says::new("LicenseValid", true, "Valid", "the pool counts");
    };
    let grace = plan.validity.grace_period.and_then(|grace| end.checked_add(grace.get()).ok());
    match grace.filter(|until| *until > now) {
        Some(until) => {
            Says::new("LicenseValid", true, "Grace", format!("it ended at {end} and works until {until}"))
        }
        None => {
            Says::new("LicenseValid", false, "Expired", format!("it ended at {end}: extend spec.validity"))
        }
    }
}

fn ledger_ready(observed: &Observed, record: Option<&Record>) -> Says {
    let says = |holds, reason, message: String| Says::new("LedgerReady", holds, reason, message);
    let deleted =
        observed.live.ledger.as_ref().is_some_and(|ledger| ledger.metadata.deletion_timestamp.is_some());
    match record {
        None => says(false, "NoOwner", "no server has taken the ledger yet".into()),
        Some(record) if record.sealed.is_some() => {
            says(false, "HandingOver", format!("{} has given the ledger up", record.holder.pod_name))
        }
        Some(_) if deleted => {
            let message =
                "somebody deleted the SeatLedger; it is kept while the pool is there, and goes with it";
            says(true, "KeptFromDeletion", message.into())
        }
        Some(record) => says(true, "Owned", format!("{} decides", record.holder.pod_name)),
    }
}

fn available(deployment: Option<&Deployment>) -> Says {
    let found = deployment
        .and_then(|deployment| deployment.status.as_ref()?.conditions.as_ref())
        .and_then(|conditions| conditions.iter().find(|condition| condition.type_ == "Available"));
    match found {
        Some(condition) if condition.status == "True" => {
            Says::new("Available", true, "Available", "enough servers are ready")
        }
        Some(condition) => {
            let message = condition.message.clone().unwrap_or_else(|| "too few servers are ready".into());
            Says::new("Available", false, "TooFewServers", message)
        }
        None => Says::new("Available", false, "TooFewServers", "the Deployment has not started a server yet"),
    }
}

fn ready(said: &[Says], observed: &Observed, stage: Stage) -> Says {
    let bad = said.iter().find(|says| !says.holds());
    match (bad, stage) {
        (_, Stage::Draining(_)) => Says::new("Ready", false, "Draining", "it is being deleted: no new seats"),
        (_, Stage::Revoked(_)) => {
            Says::new("Ready", false, "Revoked", "it is being deleted, and its deadline has passed")
        }
        (Some(bad), _) => {
            Says::new("Ready", false, bad.reason.clone(), format!("{} is False: {}", bad.type_, bad.message))
        }
        (None, _) if observed.pool.spec.suspend => {
            Says::new("Ready", false, "Suspended", "spec.suspend is true: no new seats, renewals go on")
        }
        (None, _) => Says::new("Ready", true, "Ready", "seats can be checked out"),
    }
}

/// A ledger that knows less than somebody has seen (R11).
fn set_back(record: Option<&Record>, least: u64) -> Option<Says> {
    let has = record.map_or(0, |record| record.generation.0);
    if has >= least {
        return None;
    }
    let reason = if record.is_some() { "StoreSetBack" } else { "LedgerLost" };
    let message = format!(
        "the ledger is at generation {has}, and {least} is the least that it can have: etcd was restored, or the ledger \
         deleted; the next owner counts all seats as used until what was given has run out"
    );
    Some(Says::new("LedgerSetBack", true, reason, message))
}

fn expiring(compiled: &Compiled, now: Timestamp) -> Option<Says> {
    let validity = &compiled.plan.as_ref().ok()?.validity;
    let end = match Nearing::of_pool(validity, now) {
        grace @ Some(Nearing::Grace { .. }) => grace,
        // A license may end before the pool does.
        _ => Nearing::of_end(compiled.pool_end()?, warning_times(None, validity), now),
    };
    let (subject, remedy) = match compiled.licensed {
        Some(_) => ("it, or a license of it,", "list a renewed license"),
        None => ("it", "extend spec.validity"),
    };
    Some(nearing(end?, subject, remedy))
}
