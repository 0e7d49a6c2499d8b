//! The controller of LicenseGrants: observe → validate → build (binding) → apply → status. What its pool makes of it is
//! compiled by the pool's controller, and read off the board.

mod apply;
pub mod binding;
mod observe;
mod status;
mod validate;

use std::{sync::Arc, time::Instant};

use kube::runtime::controller::Action;

use self::{apply::ApplyError, validate::Verdict};
use super::{
    context::Context,
    error::{ApiError, Categorized, Category},
    time,
};
use crate::{api::LicenseGrant, compile::ObjectName, pki::PkiError};

/// Name of this controller in metrics and messages.
pub const CONTROLLER: &str = "grant";

/// A reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Something could not be read.
    #[error("observe: {0}")]
    Observe(#[source] ApiError),
    /// The CA is broken.
    #[error("validate: {0}")]
    Validate(#[source] PkiError),
    /// The Secret is not what it should be.
    #[error("apply: {0}")]
    Apply(#[source] ApplyError),
    /// The status could not be written.
    #[error("status: {0}")]
    Status(#[source] ApiError),
}

impl Categorized for GrantError {
    fn category(&self) -> Category {
        match self {
            GrantError::Observe(error) | GrantError::Status(error) => error.category(),
            GrantError::Validate(error) => error.category(),
            GrantError::Apply(error) => error.category(),
        }
    }
}

impl GrantError {
    fn is_passing(&self) -> bool {
        match self {
            GrantError::Observe(error) | GrantError::Status(error) => error.is_conflict(),
            GrantError::Apply(ApplyError::Api(error)) => error.is_conflict(),
            GrantError::Apply(_) | GrantError::Validate(_) => false,
        }
    }
}

/// Brings one grant to what its spec says.
pub async fn reconcile(grant: Arc<LicenseGrant>, ctx: Arc<Context>) -> Result<Action, GrantError> {
    let (start, name) = (Instant::now(), ObjectName::of(&*grant));
    let result = steps(&ctx, grant).await;
    let failure = result.as_ref().err().filter(|error| !error.is_passing()).map(Categorized::category);
    ctx.metrics.reconciled(CONTROLLER, start.elapsed(), failure);
    if result.is_ok() {
        ctx.failures.none(CONTROLLER, &name);
    }
    result
}

/// When to try again.
pub fn retry(grant: Arc<LicenseGrant>, error: &GrantError, ctx: Arc<Context>) -> Action {
    ctx.retry(CONTROLLER, ObjectName::of(&*grant), error.category(), error.is_passing(), error)
}

async fn steps(ctx: &Context, grant: Arc<LicenseGrant>) -> Result<Action, GrantError> {
    if grant.metadata.deletion_timestamp.is_some() {
        // Somebody else's finalizer holds it; its pool has taken it out of the plan.
        return Ok(Action::await_change());
    }
    let observed = observe::observe(ctx, grant).await.map_err(GrantError::Observe)?;
    let verdict =
        validate::validate(&observed, &ctx.settings.cluster_domain).map_err(GrantError::Validate)?;
    let (applied, next) = match &verdict {
        Verdict::Accepted(validated) => (apply::apply(ctx, &observed, validated).await, validated.next),
        Verdict::Waiting | Verdict::Refused(_) => (Ok(()), None),
    };
    let status_due =
        status::write(ctx, &observed, &verdict, applied.as_ref().err()).await.map_err(GrantError::Status)?;
    applied.map_err(GrantError::Apply)?;
    Ok(time::requeue(observed.now, [status_due, next].into_iter().flatten().min()))
}
