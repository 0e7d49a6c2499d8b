//! Step 1 of a grant: all reads, from the caches, the board, and its brought key. Decides nothing.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use crate::{
    api::{LicenseGrant, LicensePool},
    compile::ObjectName,
    operator::{board::PoolView, context::Context, error::ApiError, key_secrets::Brought, names, world::get},
};

/// A grant and what it depends on, at one moment.
pub struct Observed {
    /// The grant.
    pub grant: Arc<LicenseGrant>,
    /// The pool that it refers to.
    pub pool: Option<Arc<LicensePool>>,
    /// What that pool says; None while it has not been looked at.
    pub view: Option<Arc<PoolView>>,
    /// The key that the grant brings; None: one is made for it.
    pub brought: Option<Brought>,
    /// Its Secret.
    pub binding: Option<Arc<Secret>>,
    /// The operator's CA.
    pub ca: Option<Arc<Secret>>,
    /// When this was read.
    pub now: Timestamp,
}

/// Reads everything about `grant`.
pub async fn observe(ctx: &Context, grant: Arc<LicenseGrant>) -> Result<Observed, ApiError> {
    let (name, pool) = (ObjectName::of(&*grant), ObjectName::of_pool_of(&grant));
    Ok(Observed {
        pool: get(&ctx.world.pools, &pool.namespace, &pool.name),
        view: ctx.board.pool(&pool),
        brought: ctx.key_secrets.brought(&ctx.world, &grant).await?,
        binding: get(&ctx.world.secrets, &name.namespace, &names::binding(&name.name)),
        ca: get(&ctx.world.ca, &ctx.settings.own_namespace, names::CA_SECRET),
        now: Timestamp::now(),
        grant,
    })
}
