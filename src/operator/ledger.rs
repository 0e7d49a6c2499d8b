//! When a SeatLedger that is being deleted is let go: never while a pool counts on it. A pool with reclaim policy Delete
//! deletes its ledger and is then gone; a ledger that somebody deletes after its pool is let go at once; one that is
//! deleted in passing, under a living pool, stays.

use std::{sync::Arc, time::Instant};

use kube::runtime::controller::Action;

use super::{
    context::Context,
    error::{ApiError, Categorized},
    names::LEDGER_FINALIZER,
};
use crate::{api::SeatLedger, compile::ObjectName};

/// Name of this controller in metrics.
pub const CONTROLLER: &str = "ledger";

/// Lets a ledger go, or not.
pub async fn reconcile(ledger: Arc<SeatLedger>, ctx: Arc<Context>) -> Result<Action, ApiError> {
    let start = Instant::now();
    let result = release(&ledger, &ctx).await;
    let failure = result.as_ref().err().map(Categorized::category);
    ctx.metrics.reconciled(CONTROLLER, start.elapsed(), failure);
    if failure.is_none() {
        ctx.failures.none(CONTROLLER, &ObjectName::of(&*ledger));
    }
    result.map(|()| Action::await_change())
}

async fn release(ledger: &SeatLedger, ctx: &Context) -> Result<(), ApiError> {
    if ledger.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    let name = ObjectName::of(ledger);
    let pools = ctx.world.pools_in(&name.namespace);
    let counted_on = pools.iter().any(|pool| pool.spec.product == ledger.spec.product);
    if counted_on && !ctx.world.is_terminating(&name.namespace) {
        return Ok(());
    }
    ctx.generations.forget(&name);
    ctx.writer.finalizer(ledger, LEDGER_FINALIZER, false).await
}

/// When to try again.
pub fn retry(ledger: Arc<SeatLedger>, error: &ApiError, ctx: Arc<Context>) -> Action {
    ctx.retry(CONTROLLER, ObjectName::of(&*ledger), error.category(), error.is_conflict(), error)
}
