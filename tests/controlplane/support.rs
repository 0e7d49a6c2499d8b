//! A namespace with an operator, and waiting with a deadline.

use std::{fmt::Debug, path::PathBuf, sync::OnceLock, time::Duration};

use genie_lm::{
    api::{LicenseGrant, LicensePool, SeatLedger, crds},
    license::document::TrustedKeys,
    operator::{self, Settings},
};
use jiff::SignedDuration;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Namespace, Secret},
        events::v1::Event,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// For anything that happens at once on a machine that has other things to do.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A kind in a namespace.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// An operator for all namespaces would take part in every other test.
static ALONE: RwLock<()> = RwLock::const_new(());

enum Turn {
    Together(#[allow(dead_code)] RwLockReadGuard<'static, ()>),
    Alone(#[allow(dead_code)] RwLockWriteGuard<'static, ()>),
}

/// A namespace, and operators that watch it.
pub struct Place {
    pub client: Client,
    pub namespace: String,
    /// Where the operator itself is.
    pub home: String,
    /// Whose licenses count for operators that are started from now on.
    pub trust: TrustedKeys,
    operators: Vec<Running>,
    _turn: Turn,
}

pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), operator::OperatorError>>,
}

impl Place {
    /// A namespace with an operator.
    pub async fn new(name: &str) -> Self {
        let mut place = Self::empty(name).await;
        place.start("operator-0").await;
        place
    }

    /// A namespace without an operator.
    pub async fn empty(name: &str) -> Self {
        let turn = Turn::Together(ALONE.read().await);
        Self::make(name, turn).await
    }

    /// A namespace, while no other test runs.
    pub async fn alone(name: &str) -> Self {
        let turn = Turn::Alone(ALONE.write().await);
        Self::make(name, turn).await
    }

    /// Starts an operator for all namespaces that has the rights of `token`.
    pub fn start_everywhere(&mut self, token: &str) {
        self.run("operator-0", None, Some(token.to_owned()));
    }

    async fn make(name: &str, turn: Turn) -> Self {
        let client = client().await;
        install_crds(&client).await;
        let namespace = another_namespace(&client, name, json!({})).await;
        Self {
            client,
            home: namespace.clone(),
            namespace,
            trust: TrustedKeys::default(),
            operators: Vec::new(),
            _turn: turn,
        }
    }

    /// Starts an operator for this namespace.
    pub async fn start(&mut self, identity: &str) {
        let namespace = Some(self.namespace.clone());
        self.run(identity, namespace, None);
    }

    fn run(&mut self, identity: &str, namespace: Option<String>, token: Option<String>) {
        let settings = Settings {
            namespace,
            own_namespace: self.home.clone(),
            identity: identity.into(),
            server_image: "genie-lm:test".into(),
            cluster_domain: "cluster.local".into(),
            key_rotation_interval: SignedDuration::from_hours(90 * 24),
            vendor_keys: self.trust.clone(),
            http_listen: ([127, 0, 0, 1], 0).into(),
        };
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move { operator::run(config(token).await, settings, told).await });
        self.operators.push(Running { stop, task });
    }

    /// Stops the operator that was started first, and waits until it has given up its Lease.
    pub async fn stop_oldest(&mut self) {
        let Running { stop, task } = self.operators.remove(0);
        stop.cancel();
        timeout(DEADLINE, task).await.expect("it ends in time").expect("no panic").expect("no failure");
    }

    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates what a literal says.
    pub async fn create<K: Kind + serde::Serialize>(&self, object: Value) -> K {
        self.try_create(object).await.expect("it is accepted")
    }

    /// Creates what a literal says, or gives the API server's refusal. What the literal does not say stays out, so that
    /// the API server's defaults and rules are what is tested.
    pub async fn try_create<K: Kind>(&self, mut object: Value) -> Result<K, String> {
        object["apiVersion"] = json!(K::api_version(&()));
        object["kind"] = json!(K::kind(&()));
        let path = K::url_path(&(), Some(&self.namespace));
        let request = kube::core::Request::new(path)
            .create(
                &PostParams { field_manager: Some("user".into()), ..PostParams::default() },
                object.to_string().into_bytes(),
            )
            .expect("a request");
        self.client.request(request).await.map_err(|error| error.to_string())
    }

    /// Changes an object as a user would.
    pub async fn patch<K: Kind>(&self, name: &str, patch: Value) -> Result<K, String> {
        let params = PatchParams { field_manager: Some("user".into()), ..PatchParams::default() };
        self.api::<K>().patch(name, &params, &Patch::Merge(&patch)).await.map_err(|error| error.to_string())
    }

    pub async fn pool(&self, name: &str, spec: Value) -> LicensePool {
        self.create(json!({ "metadata": { "name": name }, "spec": spec })).await
    }

    pub async fn grant(&self, name: &str, spec: Value) -> LicenseGrant {
        self.create(json!({ "metadata": { "name": name }, "spec": spec })).await
    }

    pub async fn delete<K: Kind>(&self, name: &str) {
        self.api::<K>().delete(name, &DeleteParams::default()).await.expect("it can be deleted");
    }

    /// Waits until an object is there and as described.
    pub async fn until<K: Kind>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K {
        until(self.api(), name, what, holds).await
    }

    /// Waits until an object is there.
    pub async fn there<K: Kind>(&self, name: &str) -> K {
        self.until(name, "is there", |_| true).await
    }

    /// Waits until an object is gone.
    pub async fn gone<K: Kind>(&self, name: &str) {
        let waited =
            timeout(DEADLINE, await_condition(self.api::<K>(), name, |object: Option<&K>| object.is_none()));
        waited.await.unwrap_or_else(|_| panic!("{} {name} is not gone", K::kind(&()))).expect("watched");
    }

    /// Waits until a grant's Secret is usable as far as the operator knows; gives its key.
    pub async fn ready_grant(&self, name: &str) -> String {
        self.until::<LicenseGrant>(name, "is Ready", |grant| is(conditions_of(grant), "Ready", "True")).await;
        text(&self.there::<Secret>(&format!("{name}-license")).await, "key")
    }

    /// Plays the server that owns a ledger: writes its record.
    pub async fn own(&self, product: &str, generation: u64, in_use: u32) -> Result<SeatLedger, String> {
        self.write_record(product, record(&format!("nonce-{generation}"), generation, in_use)).await
    }

    /// Writes a record as its owner does: each write has a larger seq, where the record says none itself.
    pub async fn write_record(&self, product: &str, mut record: Value) -> Result<SeatLedger, String> {
        let mut ledger = self.there::<SeatLedger>(product).await;
        let before = ledger.status.take().and_then(|status| status.record).map_or(0, |record| record.seq);
        if record["seq"].is_null() {
            record["seq"] = json!(before + 1);
        }
        ledger.status = serde_json::from_value(json!({ "record": record })).expect("a record");
        let api = self.api::<SeatLedger>();
        api.replace_status(product, &PostParams::default(), &ledger).await.map_err(|error| error.to_string())
    }

    /// The writes to this namespace by anybody but Kubernetes itself, as `verb resource name code`, in the audit log so far.
    pub fn writes(&self) -> Vec<String> {
        let path = std::env::var("GENIE_LM_CONTROLPLANE_AUDIT")
            .expect("GENIE_LM_CONTROLPLANE_AUDIT is set; run `make controlplane`");
        let log = std::fs::read_to_string(path).expect("the audit log can be read");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = lines.filter(|line| {
            let user = line["user"]["username"].as_str().unwrap_or_default();
            line["objectRef"]["namespace"] == json!(self.namespace) && !user.starts_with("system:")
        });
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        own.map(|line| {
            let object = &line["objectRef"];
            let code = &line["responseStatus"]["code"];
            format!("{} {} {} {code}", text(&line["verb"]), text(&object["resource"]), text(&object["name"]))
        })
        .collect()
    }

    /// Waits until an event of this reason and type is there.
    pub async fn until_event(&self, reason: &str, type_: &str) {
        let told = |events: Vec<Event>| {
            let is = |event: &Event| {
                event.reason.as_deref() == Some(reason) && event.type_.as_deref() == Some(type_)
            };
            events.iter().any(is)
        };
        let found = async {
            while !told(self.api::<Event>().list(&Default::default()).await.expect("events").items) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no event {reason}"));
    }

    /// Waits until objects of this kind were told something for this reason so many times, and not once more. Events of
    /// one reason that follow within minutes are one object with a count.
    pub async fn until_told(&self, kind: &str, reason: &str, type_: &str, times: i32) {
        let is = |event: &&Event| {
            event.reason.as_deref() == Some(reason)
                && event.type_.as_deref() == Some(type_)
                && event.regarding.as_ref().and_then(|about| about.kind.as_deref()) == Some(kind)
        };
        let count = |event: &Event| event.series.as_ref().map_or(1, |series| series.count);
        let found = async {
            loop {
                let events = self.api::<Event>().list(&Default::default()).await.expect("events").items;
                let told: i32 = events.iter().filter(is).map(count).sum();
                assert!(told <= times, "{reason} was told {told} times");
                if told == times {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("{reason} was not told {times} times"));
    }

    /// Waits until a write is in the audit log.
    pub async fn until_audited(&self, what: &str, is: impl Fn(&str) -> bool) {
        let found = async {
            while !self.writes().iter().any(|write| is(write)) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(DEADLINE, found)
            .await
            .unwrap_or_else(|_| panic!("{what}: not in time; there were {:#?}", self.writes()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for running in &self.operators {
            running.stop.cancel();
            running.task.abort();
        }
    }
}

pub async fn until<K>(api: Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K
where
    K: Clone + Debug + Send + DeserializeOwned + Resource<DynamicType = ()> + 'static,
{
    let waited = timeout(
        DEADLINE,
        await_condition(api.clone(), name, |object: Option<&K>| object.is_some_and(&holds)),
    );
    match waited.await {
        Ok(found) => found.expect("watched").expect("it is there"),
        Err(_) => {
            panic!("{} {name}: not \"{what}\" in time; it is {:#?}", K::kind(&()), api.get_opt(name).await)
        }
    }
}

/// What an owner writes.
pub fn record(nonce: &str, generation: u64, in_use: u32) -> Value {
    json!({
        "generation": generation,
        "holder": {
            "nonce": nonce, "podUid": "uid", "podName": format!("pod-{generation}"), "node": "node",
            "address": "10.0.0.1:1454",
        },
        "recovering": false, "promises": { "seats": in_use },
        "horizonMs": 600_000, "ttlMs": 60_000, "usage": { "seats": in_use },
    })
}

/// Another namespace with labels; gives its name.
pub async fn another_namespace(client: &Client, name: &str, labels: Value) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(
        json!({ "metadata": { "generateName": format!("{name}-"), "labels": labels } }),
    );
    let made = api.create(&PostParams::default(), &namespace.expect("a namespace")).await;
    made.expect("a namespace can be made").name_any()
}

pub fn text(secret: &Secret, key: &str) -> String {
    let data =
        secret.data.as_ref().and_then(|data| data.get(key)).unwrap_or_else(|| panic!("there is no {key}"));
    String::from_utf8(data.0.clone()).expect("text")
}

/// Something with conditions.
pub trait Conditioned {
    fn conditions(&self) -> &[Condition];
}

impl Conditioned for LicensePool {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

impl Conditioned for LicenseGrant {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

pub fn conditions_of(object: &impl Conditioned) -> &[Condition] {
    object.conditions()
}

pub fn is(conditions: &[Condition], type_: &str, status: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == status)
}

pub fn because(conditions: &[Condition], type_: &str, status: &str, reason: &str) -> bool {
    conditions.iter().any(|one| one.type_ == type_ && one.status == status && one.reason == reason)
}

pub fn message(object: &impl Conditioned, type_: &str) -> String {
    let found = object.conditions().iter().find(|one| one.type_ == type_);
    found.unwrap_or_else(|| panic!("there is no condition {type_}")).message.clone()
}

/// An object as it would be applied: without what differs at each run.
pub fn spec_of<K: serde::Serialize>(object: &K, namespace: &str) -> Value {
    let mut value = serde_json::to_value(object).expect("JSON");
    let metadata = value["metadata"].as_object_mut().expect("metadata");
    for volatile in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        metadata.remove(volatile);
    }
    for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
        owner["uid"] = json!("UID");
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| {
            !name.starts_with("genie-lm.io/applied") && !name.starts_with("deployment.kubernetes.io")
        });
    }
    value.as_object_mut().expect("an object").remove("status");
    let text = value.to_string().replace(namespace, "NAMESPACE");
    serde_json::from_str(&text).expect("JSON")
}

fn kubeconfig() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        std::env::var_os("GENIE_LM_CONTROLPLANE_KUBECONFIG")
            .expect("GENIE_LM_CONTROLPLANE_KUBECONFIG names no kubeconfig: run `make controlplane`, which starts an API server for these tests")
            .into()
    });
    path.clone()
}

/// As the administrator, or with a token in the place of his certificate.
async fn config(token: Option<String>) -> Config {
    let mut kubeconfig = Kubeconfig::read_from(kubeconfig()).expect("the kubeconfig can be read");
    for user in kubeconfig.auth_infos.iter_mut().filter(|_| token.is_some()) {
        user.auth_info = Some(AuthInfo { token: token.clone().map(Into::into), ..AuthInfo::default() });
    }
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is one")
}

async fn client() -> Client {
    Client::try_from(config(None).await).expect("a client")
}

async fn install_crds(client: &Client) {
    static ONCE: OnceCell<()> = OnceCell::const_new();
    ONCE.get_or_init(|| async {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in crds() {
            let name = crd.name_any();
            let params = PatchParams::apply("controlplane-tests").force();
            api.patch(&name, &params, &Patch::Apply(&crd)).await.expect("the API server takes the CRD");
            let established = timeout(DEADLINE, await_condition(api.clone(), &name, is_crd_established()));
            established.await.expect("it is served in time").expect("watched");
        }
    })
    .await;
}
