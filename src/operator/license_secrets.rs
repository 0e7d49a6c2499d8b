//! License documents that pools name, and the UID of this cluster, to which they may be bound. The watch over all Secrets
//! holds no contents, so a document is read once for each version of its Secret, and what it says is kept here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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

/// Secrets that are kept before any is looked for that no pool names.
const FEW: usize = 64;

/// See the module. Holds at most twice as many Secrets as pools name, or a few.
pub struct LicenseSecrets {
    client: Client,
    trust: TrustedKeys,
    known: Mutex<Known>,
    cluster: OnceLock<String>,
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

    /// What its Secrets held when they were read last.
    pub fn last_of(&self, pool: &LicensePool) -> Vec<ReadLicense> {
        let known = self.lock();
        let references = pool.spec.licenses.iter().map(|license| &license.secret_ref);
        references.filter_map(|one| known.last(&license_secret(pool, one), &one.key)).collect()
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
        let version = meta.resource_version();
        if let Some(license) = self.lock().get(&secret, &version, &reference.key) {
            return Ok(license);
        }
        let (namespace, name) = (&secret.namespace, &secret.name);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = deadline(api.get_opt(name)).await;
        let read = read.map_err(|error| ApiError::at::<Secret>("read", namespace, name, error))?;
        // Of all its keys at once: another pool may name another one.
        let pools = world.pools_in(namespace);
        let named = pools.iter().flat_map(|pool| &pool.spec.licenses).map(|license| &license.secret_ref);
        let named = named.filter(|one| one.name == *name);
        let document = |one: &LicenseSecretRef| read_license(one, read.as_ref(), &self.trust);
        let mut licenses: BTreeMap<_, _> = named.map(|one| (one.key.clone(), document(one))).collect();
        let license = licenses.entry(reference.key.clone()).or_insert_with(|| document(reference)).clone();
        self.lock().put(secret, Kept { version, licenses }, || named_by(world));
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Secrets that pools name.
fn named_by(world: &World) -> HashSet<ObjectName> {
    let pools = world.pools.state();
    let named = |pool: &Arc<LicensePool>| {
        let references = pool.spec.licenses.iter().map(|license| &license.secret_ref);
        references.map(|one| license_secret(pool, one)).collect::<Vec<_>>()
    };
    pools.iter().flat_map(named).collect()
}

/// What was read.
#[derive(Default)]
struct Known {
    secrets: HashMap<ObjectName, Kept>,
    /// How many were left when those went that no pool names.
    named: usize,
}

/// Of one Secret.
struct Kept {
    version: Option<String>,
    /// By the key inside of it.
    licenses: BTreeMap<Option<String>, ReadLicense>,
}

impl Known {
    fn get(
        &self,
        secret: &ObjectName,
        version: &Option<String>,
        key: &Option<String>,
    ) -> Option<ReadLicense> {
        self.secrets.get(secret).filter(|kept| kept.version == *version)?.licenses.get(key).cloned()
    }

    /// Of whatever version.
    fn last(&self, secret: &ObjectName, key: &Option<String>) -> Option<ReadLicense> {
        self.secrets.get(secret)?.licenses.get(key).cloned()
    }

    /// Keeps what was read; where there are twice as many as there were, those of `named` alone are kept.
    fn put(&mut self, secret: ObjectName, kept: Kept, named: impl FnOnce() -> HashSet<ObjectName>) {
        self.secrets.insert(secret, kept);
        if self.secrets.len() > FEW.max(2 * self.named) {
            let named = named();
            self.secrets.retain(|secret, _| named.contains(secret));
            self.named = self.secrets.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::LicenseReason;

    fn secret(number: usize) -> ObjectName {
        ObjectName { namespace: "cad".into(), name: number.to_string() }
    }

    fn kept(version: &str, keys: &[&str]) -> Kept {
        let license = |key: &&str| (Some((*key).to_owned()), Err(LicenseReason::Missing(version.to_owned())));
        Kept { version: Some(version.into()), licenses: keys.iter().map(license).collect() }
    }

    #[test]
    fn one_read_gives_all_keys_of_a_version_and_the_last_one_known_outlives_it() {
        let mut known = Known::default();
        known.put(secret(0), kept("1", &["a", "b"]), HashSet::new);
        let [first, second] = ["1", "2"].map(|version| Some(version.to_owned()));
        for key in ["a", "b"].map(|key| Some(key.to_owned())) {
            assert_eq!(known.get(&secret(0), &first, &key), Some(Err(LicenseReason::Missing("1".into()))));
            assert_eq!(known.get(&secret(0), &second, &key), None);
            assert_eq!(known.last(&secret(0), &key), Some(Err(LicenseReason::Missing("1".into()))));
        }
        assert_eq!(known.get(&secret(0), &first, &None), None);
    }

    #[test]
    fn what_no_pool_names_goes_when_there_is_twice_as_much_and_nobody_looks_before() {
        let (mut known, mut looks) = (Known::default(), Vec::new());
        for number in 0..1000 {
            let named = || {
                looks.push(number);
                (0..=number).filter(|one| one % 2 == 0).map(secret).collect()
            };
            known.put(secret(number), kept("1", &[]), named);
            assert!(known.secrets.len() <= FEW.max(2 * known.named));
        }
        assert!(looks.len() < 20, "{looks:?}");
        assert!((0..1000).step_by(2).all(|number| known.secrets.contains_key(&secret(number))));
    }
}
