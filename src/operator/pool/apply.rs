//! Step 4 of a pool: makes the cluster what was built. Who a pod is comes before the pod; the plan comes before an empty
//! ledger, so that a lost ledger is known as lost (R3).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    build::{Material, Wanted, WantedServer, certificate_secret, kept_keys, keys_secret, text},
    observe::Observed,
    validate::{Server, Validated},
};
use crate::{
    api::LedgerReclaimPolicy,
    operator::{
        ca::{self, EnsureError},
        context::Context,
        error::{ApiError, Categorized, Category},
        names::{self, DRAIN_FINALIZER},
    },
    pki::{self, PkiError},
};

/// The cluster is not what was built.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A certificate or a key could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The CA was made just now; its watch tells when it is there.
    #[error("waits for the new CA")]
    NewCa,
}

impl Categorized for ApplyError {
    fn category(&self) -> Category {
        match self {
            ApplyError::Api(error) => error.category(),
            ApplyError::Pki(error) => error.category(),
            ApplyError::NewCa => Category::Cluster,
        }
    }
}

impl ApplyError {
    /// Whether the user has to know: what the cluster cannot do for the moment is logged and tried again, and a status
    /// that says so would be one more write; what it refuses stays.
    pub fn is_told(&self) -> bool {
        let forbidden = matches!(self, ApplyError::Api(error) if error.is_forbidden());
        forbidden || self.category() != Category::Cluster
    }

    /// Whether it settles by itself in a moment, because a cache was behind.
    pub fn is_passing(&self) -> bool {
        match self {
            ApplyError::Api(error) => error.is_conflict(),
            ApplyError::NewCa => true,
            ApplyError::Pki(_) => false,
        }
    }
}

impl From<EnsureError> for ApplyError {
    fn from(error: EnsureError) -> Self {
        match error {
            EnsureError::Pki(error) => ApplyError::Pki(error),
            EnsureError::Api(error) => ApplyError::Api(error),
        }
    }
}

/// See the module.
pub async fn apply(
    ctx: &Context,
    observed: &Observed,
    validated: &Validated,
    wanted: &Wanted,
) -> Result<(), ApplyError> {
    let (writer, live) = (&ctx.writer, &observed.live);
    if observed.pool.metadata.deletion_timestamp.is_none() {
        writer.finalizer(&*observed.pool, DRAIN_FINALIZER, true).await?;
    }
    if let (Some(server), Some(made)) = (&wanted.server, &validated.makes) {
        writer.apply(&server.service_account, live.service_account.as_deref()).await?;
        writer.apply(&server.role, live.role.as_deref()).await?;
        writer.apply(&server.role_binding, live.role_binding.as_deref()).await?;
        writer.apply(&server.network_policy, live.network_policy.as_deref()).await?;
        writer.apply(&server.disruption_budget, live.disruption_budget.as_deref()).await?;
        writer.apply(&server.config_map, live.config_map.as_deref()).await?;
        secrets(ctx, observed, validated, made, server).await?;
    }
    writer.apply(&wanted.plan, live.plan.as_deref()).await?;
    writer.apply(&wanted.ledger, live.ledger.as_deref()).await?;
    if !live.lease {
        writer.apply(&wanted.lease, None).await?;
    }
    writer.apply(&wanted.service, live.service.as_deref()).await?;
    if let Some(server) = &wanted.server {
        writer.apply(&server.deployment, live.deployment.as_deref()).await?;
    }
    Ok(())
}

/// MAC keys are created, never overwritten: a cache that is behind must not replace them.
async fn secrets(
    ctx: &Context,
    observed: &Observed,
    validated: &Validated,
    server: &Server,
    wanted: &WantedServer,
) -> Result<(), ApplyError> {
    let (writer, live, now) = (&ctx.writer, &observed.live, observed.now);
    if ca::ensure(writer, observed.ca.as_deref(), &ctx.settings.own_namespace, now).await? {
        return Err(ApplyError::NewCa);
    }
    let ca = ca::read(observed.ca.as_deref().ok_or(ApplyError::NewCa)?)?;
    let (name, old) = (names::tls_secret(&validated.server), live.tls.as_deref());
    let holds = match Material::kept(old, &wanted.tls_names, Some(&ca.certificate), now) {
        Some(kept) => kept,
        None => Material::new(ca.issue(&wanted.tls_names, now)?, ca.certificate.clone()),
    };
    writer.apply(&certificate_secret(validated, server, name, &wanted.tls_names, holds), old).await?;

    let (name, old) = (names::peer_secret(&validated.server), live.peer.as_deref());
    let peer_names = [pki::PEER_NAME.to_owned()];
    let holds = match Material::kept(old, &peer_names, None, now) {
        Some(kept) => kept,
        None => new_peer(old, now)?,
    };
    writer.apply(&certificate_secret(validated, server, name, &peer_names, holds), old).await?;

    match live.keys.as_deref() {
        None => writer.create(&keys_secret(validated, server, pki::mac_key()?)).await?,
        Some(old) => {
            writer.apply(&kept_keys(validated, server, old.data.clone()), Some(old)).await?;
        }
    }
    Ok(())
}

/// The certificate before stays trusted until the next one, because pods do not all see the new one at once.
fn new_peer(old: Option<&Secret>, now: Timestamp) -> Result<Material, PkiError> {
    let issued = pki::peer(now)?;
    let before = old.and_then(|old| text(old, "tls.crt")).unwrap_or_default();
    let trust = issued.certificate.clone() + &before;
    Ok(Material::new(issued, trust))
}

/// The last step of a deletion: the ledger goes or stays, then the pool is let go, and all that it owns with it.
pub async fn release(ctx: &Context, observed: &Observed) -> Result<(), ApiError> {
    let pool = &*observed.pool;
    let shared = observed
        .neighbors
        .iter()
        .any(|other| other.uid() != pool.uid() && other.spec.product == pool.spec.product);
    let delete = pool.spec.deletion.ledger_reclaim_policy == LedgerReclaimPolicy::Delete && !shared;
    if let Some(ledger) = observed.live.ledger.as_deref().filter(|_| delete) {
        ctx.writer.delete(ledger).await?;
    }
    ctx.writer.finalizer(pool, DRAIN_FINALIZER, false).await
}
