//! Step 4 of a grant: its Secret. A key is made once, and created, never overwritten: the Secret is where it is kept.

use genie_client::ActivationKey;
use kube::ResourceExt;

use super::{binding, observe::Observed, validate::Validated};
use crate::{
    operator::{
        context::Context,
        error::{ApiError, Categorized, Category},
    },
    pki::PkiError,
};

/// The Secret is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// No key could be made, or the CA is broken.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// There is a Secret of this name that is not the grant's.
    #[error(
        "there is a Secret {0} already that belongs to somebody else: delete it, or name the grant otherwise"
    )]
    Taken(String),
}

impl Categorized for ApplyError {
    fn category(&self) -> Category {
        match self {
            ApplyError::Api(error) => error.category(),
            ApplyError::Pki(error) => error.category(),
            // What belongs to somebody else is in no cache, so that it went is no event: it has to be looked at again.
            ApplyError::Taken(_) => Category::Cluster,
        }
    }
}

impl ApplyError {
    /// Whether the user has to know; the rest is logged and tried again.
    pub fn is_told(&self) -> bool {
        let refused = match self {
            ApplyError::Api(error) => error.is_forbidden(),
            ApplyError::Taken(_) => true,
            ApplyError::Pki(_) => false,
        };
        refused || self.category() != Category::Cluster
    }
}

/// See the module.
pub async fn apply(ctx: &Context, observed: &Observed, validated: &Validated) -> Result<(), ApplyError> {
    let grant = &*observed.grant;
    let own = observed.binding.as_deref().filter(|secret| binding::key_of(grant, secret).is_some());
    let made;
    let key = match &validated.key {
        Some(key) => key,
        None => {
            made = ActivationKey::generate().map_err(|error| PkiError::Crypto(error.to_string()))?;
            &made
        }
    };
    let wanted = binding::build(grant, validated, key);
    match own {
        Some(live) => {
            ctx.writer.update(&wanted, live).await?;
        }
        None => match ctx.writer.create(&wanted).await {
            // In the cache, but not the grant's: the collector takes it in a moment. Not in the cache: not ours at all,
            // or written a moment ago, which the cache will tell.
            Err(error) if error.is_conflict() && observed.binding.is_none() => {
                return Err(taken(ctx, &wanted, error).await);
            }
            result => result?,
        },
    }
    Ok(())
}

async fn taken(ctx: &Context, wanted: &k8s_openapi::api::core::v1::Secret, error: ApiError) -> ApplyError {
    match ctx.writer.is_managed(wanted).await {
        Ok(false) => ApplyError::Taken(wanted.name_any()),
        Ok(true) => ApplyError::Api(error),
        Err(error) => ApplyError::Api(error),
    }
}
