//! Activation keys that grants bring in Secrets of their own. The watch over all Secrets holds no contents, so a key is
//! read once for each version of its Secret, and kept here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use genie_client::ActivationKey;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use super::{
    error::ApiError,
    world::{World, get},
    writer::deadline,
};
use crate::{
    api::LicenseGrant,
    compile::{GrantReason, ObjectName, brought_key, key_secret},
};

/// A key, or why there is none.
pub type Brought = Result<ActivationKey, GrantReason>;

/// See the module. Holds one entry for each grant that brings a key.
pub struct KeySecrets {
    client: Client,
    known: Mutex<HashMap<ObjectName, Known>>,
}

struct Known {
    /// Of the grant (it says which key of the Secret) and of the Secret.
    version: (Option<i64>, Option<String>),
    key: Brought,
}

impl KeySecrets {
    /// Reads by `client`.
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The key that a grant brings; None: it brings none, and one is made for it.
    pub async fn brought(
        &self,
        world: &Arc<World>,
        grant: &LicenseGrant,
    ) -> Result<Option<Brought>, ApiError> {
        let Some(secret) = key_secret(grant) else { return Ok(None) };
        let Some(meta) = get(&world.any_secrets, &secret.namespace, &secret.name) else {
            return Ok(Some(brought_key(grant, None)));
        };
        let (name, version) = (ObjectName::of(grant), (grant.metadata.generation, meta.resource_version()));
        if let Some(known) = self.lock().get(&name).filter(|known| known.version == version) {
            return Ok(Some(known.key.clone()));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &secret.namespace);
        let read = deadline(api.get_opt(&secret.name)).await;
        let read =
            read.map_err(|error| ApiError::at::<Secret>("read", &secret.namespace, &secret.name, error))?;
        let key = brought_key(grant, read.as_ref());
        let mut known = self.lock();
        known.retain(|name, _| get(&world.grants, &name.namespace, &name.name).is_some());
        known.insert(name, Known { version, key: key.clone() });
        Ok(Some(key))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
