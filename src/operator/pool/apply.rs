//! Step 4 of a pool: makes the cluster what was built. The plan comes first: it reaches servers that run, whatever becomes
//! of the rest; and it comes before an empty ledger, so that a lost ledger is known as lost (R3). Who a pod is comes
//! before the pod.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};

use super::{
    build::{
        Material, Wanted, WantedServer, certificate_secret, keys_change, keys_data, keys_secret, text,
        unfilled,
    },
    observe::Observed,
    rotation::{Rotation, asked},
    validate::{Server, Validated},
};
use crate::{
    api::LedgerReclaimPolicy,
    license::{MacKeys, MacKeysError},
    operator::{
        ca::{self, EnsureError},
        context::Context,
        error::{ApiError, Categorized, Category, WriteError},
        names::{self, DRAIN_FINALIZER},
        writer::Writer,
    },
    pki::{self, PkiError},
};

/// The cluster is not what was built.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object could not be made.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A certificate or a key could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The CA was made just now; its watch tells when it is there.
    #[error("waits for the new CA")]
    NewCa,
    /// Somebody changed the MAC keys, and no server can read them.
    #[error(
        "the Secret {secret} does not hold MAC keys: {error}; repair it, or delete it to have new ones made, which ends all sessions"
    )]
    MacKeys {
        /// Its name.
        secret: String,
        /// Which entry, and what is wrong with it.
        error: MacKeysError,
    },
}

impl Categorized for ApplyError {
    fn category(&self) -> Category {
        match self {
            ApplyError::Write(error) => error.category(),
            ApplyError::Pki(error) => error.category(),
            ApplyError::NewCa => Category::Cluster,
            ApplyError::MacKeys { .. } => Category::User,
        }
    }
}

impl ApplyError {
    /// Whether the user has to know: what the cluster cannot do for the moment is logged and tried again, and a status
    /// that says so would be one more write; what it refuses stays.
    pub fn is_told(&self) -> bool {
        let refused = match self {
            ApplyError::Write(WriteError::Api(error)) => error.is_forbidden(),
            ApplyError::Write(WriteError::Taken { .. }) => true,
            ApplyError::Pki(_) | ApplyError::NewCa | ApplyError::MacKeys { .. } => false,
        };
        refused || self.category() != Category::Cluster
    }

    /// Whether it settles by itself in a moment, because a cache was behind.
    pub fn is_passing(&self) -> bool {
        match self {
            ApplyError::Write(WriteError::Api(error)) => error.is_conflict(),
            ApplyError::NewCa => true,
            ApplyError::Write(WriteError::Taken { .. }) | ApplyError::Pki(_) | ApplyError::MacKeys { .. } => {
                false
            }
        }
    }
}

impl From<ApiError> for ApplyError {
    fn from(error: ApiError) -> Self {
        ApplyError::Write(error.into())
    }
}

impl From<EnsureError> for ApplyError {
    fn from(error: EnsureError) -> Self {
        match error {
            EnsureError::Pki(error) => ApplyError::Pki(error),
            EnsureError::Api(error) => error.into(),
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
    writer.apply(&wanted.plan, live.plan.as_deref()).await?;
    writer.apply(&wanted.ledger, live.ledger.as_deref()).await?;
    if !live.lease {
        writer.apply(&wanted.lease, None).await?;
    }
    // Neither keeps the other back: the servers may be those of other pools too.
    let reachable = writer.apply(&wanted.service, live.service.as_deref()).await;
    if let (Some(server), Some(made)) = (&wanted.server, &validated.makes) {
        servers(ctx, observed, validated, made, server).await?;
    }
    reachable?;
    Ok(())
}

async fn servers(
    ctx: &Context,
    observed: &Observed,
    validated: &Validated,
    server: &Server,
    wanted: &WantedServer,
) -> Result<(), ApplyError> {
    let (writer, live) = (&ctx.writer, &observed.live);
    writer.apply(&wanted.service_account, live.service_account.as_deref()).await?;
    writer.apply(&wanted.role, live.role.as_deref()).await?;
    writer.apply(&wanted.role_binding, live.role_binding.as_deref()).await?;
    writer.apply(&wanted.network_policy, live.network_policy.as_deref()).await?;
    writer.apply(&wanted.disruption_budget, live.disruption_budget.as_deref()).await?;
    writer.apply(&wanted.config_map, live.config_map.as_deref()).await?;
    secrets(ctx, observed, validated, server, wanted).await?;
    writer.apply(&wanted.deployment, live.deployment.as_deref()).await?;
    Ok(())
}

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
    let name = names::tls_secret(&validated.server);
    let old = present(writer, &live.tls, &unfilled(validated, server, name.clone())).await?;
    let holds = match Material::kept(old.as_deref(), &wanted.tls_names, Some(&ca.certificate), now) {
        Some(kept) => kept,
        None => Material::new(ca.issue(&wanted.tls_names, now)?, ca.certificate.clone()),
    };
    let made = certificate_secret(validated, server, name, &wanted.tls_names, holds);
    writer.apply(&made, old.as_deref()).await?;

    let name = names::peer_secret(&validated.server);
    let old = present(writer, &live.peer, &unfilled(validated, server, name.clone())).await?;
    let peer_names = [pki::PEER_NAME.to_owned()];
    let holds = match Material::kept(old.as_deref(), &peer_names, None, now) {
        Some(kept) => kept,
        None => new_peer(old.as_deref(), now)?,
    };
    let made = certificate_secret(validated, server, name, &peer_names, holds);
    writer.apply(&made, old.as_deref()).await?;

    mac_keys(ctx, observed, validated, server).await
}

/// MAC keys are created once, and then changed in the version that was read: a cache that is behind must not replace them.
async fn mac_keys(
    ctx: &Context,
    observed: &Observed,
    validated: &Validated,
    server: &Server,
) -> Result<(), ApplyError> {
    let writer = &ctx.writer;
    let wanted = keys_secret(validated, server);
    let Some(live) = present(writer, &observed.live.keys, &wanted).await? else {
        let data = Some(keys_data(&MacKeys::first(pki::mac_key()?)));
        return Ok(writer.create(&Secret { data, ..wanted }).await?);
    };
    // The watch brings the version that this makes.
    if writer.update(&wanted, &live).await? {
        return Ok(());
    }
    // Of this write, not of the reads: what was written in between may have taken its time.
    let now = Timestamp::now();
    let broken = |error| ApplyError::MacKeys { secret: live.name_any(), error };
    let rotation = Rotation::of(&live, now).map_err(broken)?;
    let (step, at) = rotation.next(asked(&server.pools), ctx.settings.key_rotation_interval, now);
    if at > now {
        return Ok(());
    }
    let (rotation, says) = rotation.after(step, now, pki::mac_key)?;
    writer.change(&*live, keys_change(&live, &rotation)).await?;
    ctx.tell(&observed.pool.object_ref(&()), &says.iter().collect::<Vec<_>>()).await;
    Ok(())
}

/// A server's Secret: of the cache, or where another tool took our label off it, as it is there. What it holds is kept.
async fn present(
    writer: &Writer,
    live: &Option<Arc<Secret>>,
    wanted: &Secret,
) -> Result<Option<Arc<Secret>>, WriteError> {
    match live {
        Some(live) => Ok(Some(live.clone())),
        None => Ok(writer.own(wanted).await?.map(Arc::new)),
    }
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
