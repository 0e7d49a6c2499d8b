//! License documents that pools name, and the UID of this cluster, to which they may be bound. The watch over all Secrets
//! holds no contents, so a document is read once for each version of its Secret, and what it says is kept here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client, ResourceExt, runtime::reflector::ObjectRef};

use super::{
    error::ApiError,
    world::{World, get},
    writer::deadline,
};
use crate::{
    api::{LicensePool, LicenseSecretRef},
    compile::{ObjectName, ReadLicense, license_secret, read_license},
    license::document::TrustedKeys,
};

/// The namespace by whose UID a cluster is known.
const CLUSTER: &str = "kube-system";

/// A Secret, and the key inside of it.
type Place = (ObjectName, Option<String>);

/// See the module. Holds one entry for each Secret and key that a pool names.
pub struct LicenseSecrets {
    client: Client,
    trust: TrustedKeys,
    known: Mutex<HashMap<Place, Known>>,
    cluster: OnceLock<String>,
}

struct Known {
    /// Of the Secret.
    version: Option<String>,
    license: ReadLicense,
}

impl LicenseSecrets {
    /// Reads by `client`; `trust` says whose licenses count.
    pub fn new(client: Client, trust: TrustedKeys) -> Self {
        Self { client, trust, known: Mutex::default(), cluster: OnceLock::new() }
    }

    /// Whose licenses count.
    pub fn trust(&self) -> &TrustedKeys {
        &self.trust
    }

    /// What the Secrets of a pool hold, in the order of its spec.
    pub async fn of(&self, world: &Arc<World>, pool: &LicensePool) -> Result<Vec<ReadLicense>, ApiError> {
        let mut all = Vec::with_capacity(pool.spec.licenses.len());
        for license in &pool.spec.licenses {
            all.push(self.one(world, pool, &license.secret_ref).await?);
        }
        Ok(all)
    }

    async fn one(
        &self,
        world: &Arc<World>,
        pool: &LicensePool,
        reference: &LicenseSecretRef,
    ) -> Result<ReadLicense, ApiError> {
        let secret = license_secret(pool, reference);
        let Some(meta) = get(&world.any_secrets, &secret.namespace, &secret.name) else {
            return Ok(read_license(reference, None, &self.trust));
        };
        let (place, version) = ((secret, reference.key.clone()), meta.resource_version());
        if let Some(known) = self.lock().get(&place).filter(|known| known.version == version) {
            return Ok(known.license.clone());
        }
        let (namespace, name) = (&place.0.namespace, &place.0.name);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = deadline(api.get_opt(name)).await;
        let read = read.map_err(|error| ApiError::at::<Secret>("read", namespace, name, error))?;
        let license = read_license(reference, read.as_ref(), &self.trust);
        let named = |(secret, key): &Place| {
            !world
                .pools
                .state_filter(|pool| {
                    let references = pool.spec.licenses.iter().map(|license| &license.secret_ref);
                    let mut named = references.filter(|one| one.key == *key);
                    named.any(|one| license_secret(pool, one) == *secret)
                })
                .is_empty()
        };
        let mut known = self.lock();
        known.retain(|place, _| named(place));
        known.insert(place, Known { version, license: license.clone() });
        Ok(license)
    }

    /// The UID of the namespace kube-system; None: this operator may not read it, and then no license that is bound to a
    /// cluster counts.
    pub async fn cluster(&self, world: &World) -> Result<Option<String>, ApiError> {
        let watched = world.namespaces.get(&ObjectRef::new(CLUSTER)).and_then(|namespace| namespace.uid());
        if let Some(uid) = watched.or_else(|| self.cluster.get().cloned()) {
            return Ok(Some(uid));
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        match deadline(api.get_metadata(CLUSTER)).await {
            Ok(namespace) => Ok(namespace.uid().map(|uid| self.cluster.get_or_init(|| uid).clone())),
            Err(kube::Error::Api(status)) if status.code == 403 || status.code == 404 => {
                let reason = status.message;
                tracing::warn!(
                    reason,
                    "the UID of this cluster cannot be read: no license that is bound to it counts"
                );
                Ok(None)
            }
            Err(error) => Err(ApiError::at::<Namespace>("read", "", CLUSTER, error)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
