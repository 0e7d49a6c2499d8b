//! The one way by which the operator changes the cluster: compare, then server-side apply. Owns the client for writes;
//! takes typed wanted objects and what the caches hold; sends nothing when they agree.

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::debug;

use super::{
    diff,
    error::{ApiError, WriteError},
    metrics::{Metrics, Verb},
    names::{APPLIED, FIELD_MANAGER, MANAGED_BY},
};

/// Longer than an API server's own slowest write under load; a hung connection is given up after it.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// A kind that the operator writes.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// See the module.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Writes by `client`, and counts in `metrics`.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    /// Makes what is there what is `wanted`; true when that took a write. The caches hold only what has our label, so where
    /// they have nothing the API server is asked: what stands there by another hand is left alone.
    pub async fn apply<K: Kind>(&self, wanted: &K, live: Option<&K>) -> Result<bool, WriteError> {
        match live {
            Some(live) => Ok(self.update(wanted, live).await?),
            None => match self.own(wanted).await? {
                Some(found) => Ok(self.update(wanted, &found).await?),
                // Without force: what another hand makes in this very moment is a conflict.
                None => {
                    Ok(self.send_apply(wanted, &body(wanted)?, PatchParams::apply(FIELD_MANAGER)).await?)
                }
            },
        }
    }

    /// Makes `live` what is `wanted`; true when that took a write. An object that was deleted meanwhile is a conflict and
    /// not made again from what the cache remembers.
    pub async fn update<K: Kind>(&self, wanted: &K, live: &K) -> Result<bool, ApiError> {
        let mut body = body(wanted)?;
        if diff::covers(&to_value("compare", live)?, &body) {
            return Ok(false);
        }
        body["metadata"]["uid"] = json!(live.meta().uid);
        self.send_apply(wanted, &body, params()).await
    }

    /// The object of this name, if there is one; it is ours by its label, or by an owner where the label is gone.
    pub async fn own<K: Kind>(&self, wanted: &K) -> Result<Option<K>, WriteError> {
        let name = wanted.name_any();
        // A list, because that is a right which the caches need anyway.
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let read = deadline(self.api(wanted).list(&only)).await;
        let found = read.map_err(|error| ApiError::on("read", wanted, error))?.items.into_iter().next();
        match found {
            Some(found) if !is_own(&found, wanted) => {
                Err(WriteError::Taken { kind: K::kind(&()).into_owned(), name })
            }
            found => Ok(found),
        }
    }

    /// Makes an object that holds what can be made only once (a key); one that is there already is a conflict.
    pub async fn create<K: Kind>(&self, wanted: &K) -> Result<(), ApiError> {
        let mut body = wanted.clone();
        let hash = diff::fingerprint(&to_value("create", wanted)?);
        body.annotations_mut().insert(APPLIED.into(), hash);
        let post = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.send(Verb::Create, wanted, async { self.api(wanted).create(&post, &body).await }).await.map(drop)
    }

    /// Changes an object that nobody else may change in between: a merge patch of the version that was read, a conflict
    /// where there is a newer one.
    pub async fn change<K: Kind>(&self, object: &K, body: Value) -> Result<(), ApiError> {
        self.send_merge(Verb::Change, object, body).await
    }

    /// Puts a finalizer on an object, or takes it off; the others stay, in the version of the list that was read.
    pub async fn finalizer<K: Kind>(
        &self,
        object: &K,
        finalizer: &str,
        wanted: bool,
    ) -> Result<(), ApiError> {
        if object.finalizers().iter().any(|one| one == finalizer) == wanted {
            return Ok(());
        }
        let others = object.finalizers().iter().map(String::as_str).filter(|one| *one != finalizer);
        let all: Vec<&str> = others.chain(wanted.then_some(finalizer)).collect();
        let body = json!({ "metadata": { "finalizers": all } });
        match self.send_merge(Verb::Finalizer, object, body).await {
            Err(error) if wanted || !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the status of `object`, unless that has changed since it was read: since when a condition holds is taken from
    /// the status before.
    pub async fn status<K: Kind, S: Serialize>(&self, object: &K, status: &S) -> Result<(), ApiError> {
        let body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {
                "name": object.name_any(), "uid": object.meta().uid, "resourceVersion": object.meta().resource_version,
            },
            "status": to_json("write the status of", object, status)?,
        });
        let name = object.name_any();
        self.send(Verb::Status, object, self.api(object).patch_status(&name, &params(), &Patch::Apply(&body)))
            .await
            .map(drop)
    }

    /// Deletes exactly this object; one that is gone is fine.
    pub async fn delete<K: Kind>(&self, object: &K) -> Result<(), ApiError> {
        let precondition = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(precondition), ..DeleteParams::default() };
        let name = object.name_any();
        match self.send(Verb::Delete, object, async { self.api(object).delete(&name, &params).await }).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the object of this name that is there is one that the operator made.
    pub async fn is_managed<K: Kind>(&self, object: &K) -> Result<bool, ApiError> {
        let read = deadline(self.api(object).get_metadata(&object.name_any())).await;
        let read = read.map_err(|error| ApiError::on("read", object, error))?;
        Ok(read.labels().get(MANAGED_BY).is_some_and(|by| by == FIELD_MANAGER))
    }

    async fn send_merge<K: Kind>(&self, verb: Verb, object: &K, mut body: Value) -> Result<(), ApiError> {
        body["metadata"]["resourceVersion"] = json!(object.resource_version());
        let name = object.name_any();
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        self.send(verb, object, self.api(object).patch(&name, &params, &Patch::Merge(&body))).await.map(drop)
    }

    async fn send_apply<K: Kind>(
        &self,
        wanted: &K,
        body: &Value,
        params: PatchParams,
    ) -> Result<bool, ApiError> {
        let name = wanted.name_any();
        self.send(Verb::Apply, wanted, self.api(wanted).patch(&name, &params, &Patch::Apply(body)))
            .await
            .map(|_| true)
    }

    fn api<K: Kind>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    async fn send<K: Kind, T>(
        &self,
        verb: Verb,
        object: &K,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let result = deadline(request).await.map_err(|error| ApiError::on(verb.as_str(), object, error));
        self.metrics.wrote(verb, &K::kind(&()), result.is_ok());
        let (kind, namespace, name) =
            (K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
        debug!(verb = verb.label(), %kind, namespace, name, ok = result.is_ok(), "wrote");
        result
    }
}

/// Bounds the wait for one answer.
pub async fn deadline<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = |_| kube::Error::Service(format!("no answer within {} s", REQUEST_DEADLINE.as_secs()).into());
    tokio::time::timeout(REQUEST_DEADLINE, request).await.map_err(late)?
}

fn is_own<K: Kind>(found: &K, wanted: &K) -> bool {
    let owner = |uid: &str| wanted.owner_references().iter().any(|owner| owner.uid == uid);
    found.labels().get(MANAGED_BY).is_some_and(|by| by == FIELD_MANAGER)
        || found.owner_references().iter().any(|one| owner(&one.uid))
}

/// What is wanted, with its hash.
fn body<K: Kind>(wanted: &K) -> Result<Value, ApiError> {
    let mut body = to_value("apply", wanted)?;
    let hash = diff::fingerprint(&body);
    body["metadata"]["annotations"][APPLIED] = Value::String(hash);
    Ok(body)
}

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn to_value<K: Kind>(verb: &'static str, object: &K) -> Result<Value, ApiError> {
    to_json(verb, object, object)
}

fn to_json<K: Kind>(verb: &'static str, object: &K, part: &impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(part).map_err(|error| ApiError::on(verb, object, kube::Error::SerdeError(error)))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Mutex};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Secret;
    use kube::client::Body;

    use super::*;

    /// An API server with one object, which takes a patch of the version that it has, and of no other.
    fn api_server(version: &'static str, taken: Arc<Mutex<Vec<Value>>>) -> Client {
        let answer = move |request: Request<Body>| {
            let taken = taken.clone();
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let (code, answer) = match patch["metadata"]["resourceVersion"] == version {
                    true => {
                        (200, json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" } }))
                    }
                    false => (
                        409,
                        json!({ "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409 }),
                    ),
                };
                taken.lock().unwrap().extend((code == 200).then_some(patch));
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    #[tokio::test]
    async fn a_cache_that_is_behind_changes_nothing() {
        let taken = Arc::new(Mutex::default());
        let writer = Writer::new(api_server("8", taken.clone()), Arc::default());
        let read = |version: &str| -> Secret {
            let metadata = json!({ "name": "keys", "namespace": "default", "resourceVersion": version });
            serde_json::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let change = json!({ "data": { "primary": "MQ==" } });
        let refused = writer.change(&read("7"), change.clone()).await.unwrap_err();
        assert!(refused.is_conflict(), "{refused}");
        assert_eq!(*taken.lock().unwrap(), Vec::<Value>::new());
        writer.change(&read("8"), change).await.unwrap();
        assert_eq!(taken.lock().unwrap()[0]["data"]["primary"], "MQ==");
    }
}
