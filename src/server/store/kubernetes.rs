//! The store in a cluster: the SeatLedger's status and the pool's Lease, by PUT with the resourceVersion that was
//! read. One request, one deadline, no retry: a time-out's outcome is unknown, and the protocol knows what to do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use genie_ledger::{LeaseRecord, Nonce, ObservedLease, ObservedLedger, StoreReply, StoreRequest, Version};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;

use super::{Observation, Store};
use crate::api::{SeatLedger, SeatLedgerStatus};
use crate::license::LedgerId;
use crate::rewatch::Again;

/// Deadline of one request: three fit between two Lease renewals and the end of a Lease.
const DEADLINE: Duration = Duration::from_secs(2);
/// What other readers of the Lease see as its duration; the protocol's L.
const LEASE_SECONDS: i32 = 10;
/// A Lease that nobody has written for so long may be one of the past: who holds it renews it each 3 s.
const STALE: SignedDuration = SignedDuration::from_secs(2 * LEASE_SECONDS as i64);

/// See the module.
pub(crate) struct KubernetesStore {
    leases: Api<Lease>,
    ledgers: Api<SeatLedger>,
    lease: String,
    ledger: String,
    seen: LeaseMeta,
}

/// Labels and owners of the Lease as it was last seen: a PUT replaces them, and they are the operator's.
pub(crate) type LeaseMeta = Arc<Mutex<ObjectMeta>>;

impl KubernetesStore {
    /// The store of one ledger. `client` must not retry by itself.
    pub(crate) fn new(client: Client, id: &LedgerId, seen: LeaseMeta) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), &id.namespace),
            ledgers: Api::namespaced(client, &id.namespace),
            lease: lease_name(&id.product),
            ledger: id.product.to_string(),
            seen,
        }
    }

    async fn try_send(&self, request: StoreRequest) -> kube::Result<StoreReply> {
        Ok(match request {
            StoreRequest::ReadLease => StoreReply::Lease(
                self.leases.get_opt(&self.lease).await?.map(|lease| seen_lease(lease, &self.seen)),
            ),
            StoreRequest::ReadLedger => {
                StoreReply::Ledger(self.ledgers.get_opt(&self.ledger).await?.map(seen_ledger))
            }
            StoreRequest::WriteLease { expect, record } => {
                let lease = lease_object(&self.lease, &self.seen, expect, record);
                let written = self.leases.replace(&self.lease, &PostParams::default(), &lease).await?;
                StoreReply::Written { version: version_of(&written) }
            }
            StoreRequest::WriteLedger { expect, record } => {
                let mut ledger = SeatLedger::new(
                    &self.ledger,
                    crate::api::SeatLedgerSpec { product: self.ledger.clone() },
                );
                ledger.metadata.resource_version = Some(expect.0.to_string());
                ledger.status = Some(SeatLedgerStatus { record: Some(record) });
                let written =
                    self.ledgers.replace_status(&self.ledger, &PostParams::default(), &ledger).await?;
                StoreReply::Written { version: version_of(&written) }
            }
        })
    }
}

impl Store for KubernetesStore {
    async fn send(&self, request: StoreRequest) -> StoreReply {
        match tokio::time::timeout(DEADLINE, self.try_send(request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => StoreReply::Conflict,
            Ok(Err(error)) => {
                tracing::warn!(ledger = %self.ledger, %error, "the API server did not do it");
                StoreReply::Unknown
            }
            Err(_) => {
                tracing::warn!(ledger = %self.ledger, deadline = ?DEADLINE, "the API server did not answer in time");
                StoreReply::Unknown
            }
        }
    }
}

/// Name of the Lease of a product.
pub(crate) fn lease_name(product: &str) -> String {
    format!("genie-lm.{product}")
}

fn version_of(object: &impl ResourceExt) -> Version {
    Version(object.resource_version().unwrap_or_default().into())
}

fn seen_lease(lease: Lease, seen: &LeaseMeta) -> ObservedLease {
    seen.lock().expect("no code panics while it holds this lock").clone_from(&lease.metadata);
    let version = version_of(&lease);
    let uid = lease.uid().unwrap_or_default().into();
    let spec = lease.spec.unwrap_or_default();
    let stale = spec.renew_time.is_some_and(|written| Timestamp::now().duration_since(written.0) > STALE);
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty()).map(|holder| Nonce(holder.into()));
    let transitions = u32::try_from(spec.lease_transitions.unwrap_or(0)).unwrap_or(0);
    ObservedLease { uid, version, record: LeaseRecord { holder, transitions }, stale }
}

fn seen_ledger(ledger: SeatLedger) -> ObservedLedger {
    ObservedLedger { version: version_of(&ledger), record: ledger.status.and_then(|status| status.record) }
}

fn lease_object(name: &str, seen: &LeaseMeta, expect: Version, record: LeaseRecord) -> Lease {
    let seen = seen.lock().expect("no code panics while it holds this lock").clone();
    let mut lease = Lease { metadata: seen, ..Lease::default() };
    lease.metadata.name = Some(name.to_owned());
    lease.metadata.managed_fields = None;
    lease.metadata.resource_version = Some(expect.0.to_string());
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(record.holder.map(|holder| holder.0.to_string()).unwrap_or_default());
    spec.lease_duration_seconds = Some(LEASE_SECONDS);
    spec.lease_transitions = i32::try_from(record.transitions).ok();
    // Changes with every write, and so does the version.
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

/// Tells what happens to the Lease and the ledger of `id`, until the receiver is dropped.
pub(crate) fn watch(client: Client, id: &LedgerId, seen: LeaseMeta, observations: mpsc::Sender<Observation>) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &id.namespace);
    let ledgers: Api<SeatLedger> = Api::namespaced(client, &id.namespace);
    let lease = watch_named(leases, lease_name(&id.product), observations.clone(), move |lease| {
        Some(match lease {
            Watched::There(lease) => Observation::Lease(Some(seen_lease(lease, &seen))),
            Watched::Gone => Observation::Lease(None),
            Watched::Broken => Observation::LeaseUnseen,
        })
    });
    let ledger = watch_named(ledgers, id.product.to_string(), observations, |ledger| {
        ledger.known().map(|ledger| Observation::Ledger(ledger.map(seen_ledger)))
    });
    tokio::spawn(lease);
    tokio::spawn(ledger);
}

/// What the watch of one object shows.
pub(crate) enum Watched<K> {
    There(K),
    Gone,
    /// Nothing: the watch broke, and is begun anew.
    Broken,
}

impl<K> Watched<K> {
    /// The object, None where it is gone; None where nothing is known of it.
    pub(crate) fn known(self) -> Option<Option<K>> {
        match self {
            Self::There(object) => Some(Some(object)),
            Self::Gone => Some(None),
            Self::Broken => None,
        }
    }
}

/// Sends on what the watch of the one object of this name shows, where `seen` makes something of it, until nobody receives.
pub(crate) async fn watch_named<K, T>(
    api: Api<K>,
    name: String,
    sender: mpsc::Sender<T>,
    seen: impl Fn(Watched<K>) -> Option<T>,
) where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, config).backoff(Again));
    let mut listed = false;
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = sender.closed() => return,
        };
        let watched = match event {
            Ok(Some(Event::Init)) => {
                listed = false;
                continue;
            }
            Ok(Some(Event::InitApply(object))) => {
                listed = true;
                Watched::There(object)
            }
            Ok(Some(Event::InitDone)) if listed => continue,
            Ok(Some(Event::InitDone | Event::Delete(_))) => Watched::Gone,
            Ok(Some(Event::Apply(object))) => Watched::There(object),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%name, %error, "a watch was interrupted");
                Watched::Broken
            }
        };
        if let Some(what) = seen(watched)
            && sender.send(what).await.is_err()
        {
            return;
        }
    }
}
