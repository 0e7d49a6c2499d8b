//! The controller of LicensePools: observe → validate → build → apply → status, and the drain of a pool that is deleted.

mod apply;
mod build;
mod drain;
mod observe;
mod rotation;
mod status;
mod validate;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;

use self::{
    apply::ApplyError,
    drain::Stage,
    observe::Observed,
    rotation::{Rotation, asked},
    validate::{Verdict, record},
};
use super::{
    board::{GrantView, PoolView},
    context::Context,
    error::{ApiError, Categorized, Category},
    time,
};
use crate::{
    api::{LicensePool, PlanGrant, SeatPlanSpec},
    compile::ObjectName,
    license::grant_limit,
};

/// Name of this controller in metrics and messages.
pub const CONTROLLER: &str = "pool";

/// A reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Something could not be read.
    #[error("observe: {0}")]
    Observe(#[source] ApiError),
    /// The cluster is not what was built.
    #[error("apply: {0}")]
    Apply(#[source] ApplyError),
    /// The status could not be written.
    #[error("status: {0}")]
    Status(#[source] ApiError),
    /// The pool could not be let go.
    #[error("release: {0}")]
    Release(#[source] ApiError),
}

impl Categorized for PoolError {
    fn category(&self) -> Category {
        match self {
            PoolError::Observe(error) | PoolError::Status(error) | PoolError::Release(error) => {
                error.category()
            }
            PoolError::Apply(error) => error.category(),
        }
    }
}

impl PoolError {
    fn is_passing(&self) -> bool {
        match self {
            PoolError::Observe(error) | PoolError::Status(error) | PoolError::Release(error) => {
                error.is_conflict()
            }
            PoolError::Apply(error) => error.is_passing(),
        }
    }
}

/// Brings one pool to what its spec says.
pub async fn reconcile(pool: Arc<LicensePool>, ctx: Arc<Context>) -> Result<Action, PoolError> {
    let (start, name) = (Instant::now(), ObjectName::of(&*pool));
    let result = steps(&ctx, pool).await;
    let failure = result.as_ref().err().filter(|error| !error.is_passing()).map(Categorized::category);
    ctx.metrics.reconciled(CONTROLLER, start.elapsed(), failure);
    if result.is_ok() {
        ctx.failures.none(CONTROLLER, &name);
    }
    result
}

/// When to try again.
pub fn retry(pool: Arc<LicensePool>, error: &PoolError, ctx: Arc<Context>) -> Action {
    ctx.retry(CONTROLLER, ObjectName::of(&*pool), error.category(), error.is_passing(), error)
}

async fn steps(ctx: &Context, pool: Arc<LicensePool>) -> Result<Action, PoolError> {
    let observed = observe::observe(ctx, pool).await.map_err(PoolError::Observe)?;
    let verdict = validate::validate(&observed);
    if verdict.stage == Stage::Gone {
        apply::release(ctx, &observed).await.map_err(PoolError::Release)?;
        return Ok(Action::await_change());
    }
    let applied = match &verdict.validated {
        Some(validated) => {
            let wanted = build::build(validated, &ctx.settings);
            apply::apply(ctx, &observed, validated, &wanted).await
        }
        None => Ok(()),
    };
    publish(ctx, &observed, &verdict, applied.is_ok()).await;
    let status_due =
        status::write(ctx, &observed, &verdict, applied.as_ref().err()).await.map_err(PoolError::Status)?;
    applied.map_err(PoolError::Apply)?;
    let next = next(&observed, &verdict, ctx.settings.key_rotation_interval);
    Ok(time::requeue(observed.now, [status_due, next].into_iter().flatten().min()))
}

/// Tells the grants what became of them.
async fn publish(ctx: &Context, observed: &Observed, verdict: &Verdict, applied: bool) {
    let compiled = verdict.compiled.plan.as_ref().ok();
    let in_force = if applied { compiled } else { observed.live.plan.as_ref().map(|plan| &plan.spec) };
    let usage = record(&observed.live).map(|record| &record.usage);
    let planned: BTreeMap<(&str, &str), &PlanGrant> = in_force
        .map(|plan| plan.grants.iter().map(|grant| ((&*grant.namespace, &*grant.name), grant)).collect())
        .unwrap_or_default();
    let grants = verdict.compiled.grants.iter().map(|grant| {
        let (namespace, name) = (&*grant.name.namespace, &*grant.name.name);
        let in_use = usage.and_then(|usage| usage.get(&*grant_limit(namespace, name))).copied().unwrap_or(0);
        let planned = planned.get(&(namespace, name)).map(|grant| (*grant).clone());
        (grant.name.clone(), GrantView { outcome: grant.outcome.clone(), planned, in_use })
    });
    let plan = compiled.map(|plan| Arc::new(SeatPlanSpec { grants: vec![], inputs: vec![], ..plan.clone() }));
    let view = PoolView { plan, grants: grants.collect() };
    for grant in ctx.board.publish(ObjectName::of(&*observed.pool), view) {
        ctx.triggers.grant(&grant).await;
    }
}

/// The next moment at which time alone changes something.
fn next(observed: &Observed, verdict: &Verdict, key_rotation: SignedDuration) -> Option<Timestamp> {
    let now = observed.now;
    let stage = match verdict.stage {
        Stage::Draining(until) | Stage::Revoked(until) => Some(until),
        Stage::Serving | Stage::Gone => None,
    };
    let server = verdict.validated.as_ref().and_then(|validated| validated.makes.as_ref());
    let certificates = [&observed.live.tls, &observed.live.peer];
    let renewals = certificates.into_iter().filter_map(|secret| secret.as_deref().and_then(build::renewal));
    let keys = server.and_then(|server| {
        let rotation = Rotation::of(observed.live.keys.as_deref()?, now).ok()?;
        Some(rotation.next(asked(&server.pools), key_rotation, now).1)
    });
    let compiled = &verdict.compiled;
    let change = compiled.next_change(now);
    let moments = [stage, change, observed.least.again];
    let of_server = renewals.chain(keys).filter(|_| server.is_some());
    let warnings = status::warnings(compiled);
    moments.into_iter().flatten().chain(warnings).chain(of_server).filter(|moment| *moment > now).min()
}
