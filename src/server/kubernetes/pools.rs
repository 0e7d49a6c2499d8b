//! The pools of a server in a cluster: whose plans it follows, and which of them it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use genie_ledger::Holder;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::witness::Witness;
use crate::api::{SeatPlan, SeatPlanSpec};
use crate::license::PlanView;
use crate::server::store::kubernetes::{KubernetesStore, LeaseMeta, Watched, watch, watch_named};
use crate::server::{MAX_OBSERVATIONS, Served, Service};

/// Plans that wait to be put in force.
const MAX_PLANS: usize = 64;

/// A product, and its plan; None: the plan is gone.
pub(super) type PlanChange = (String, Option<SeatPlanSpec>);

/// The pools of this server: those it follows, and those whose plan it has.
pub(super) struct Pools {
    namespace: String,
    client: Client,
    identity: Holder,
    witness: Witness,
    service: Service,
    sender: mpsc::Sender<PlanChange>,
    followed: BTreeMap<String, CancellationToken>,
    served: BTreeMap<String, Served>,
    /// Those that left the list, and are being given up.
    ending: TaskTracker,
    /// Products whose plan was looked for, whether there is one or not.
    looked: BTreeSet<String>,
    /// Every followed product was looked for: what is missing is the operator's to make, and must not take the
    /// other pools of this server out of their Services.
    pub(super) ready: Arc<AtomicBool>,
}

impl Pools {
    pub(super) fn new(
        namespace: &str,
        client: Client,
        identity: Holder,
        witness: Witness,
        service: Service,
    ) -> (Self, mpsc::Receiver<PlanChange>) {
        let (sender, receiver) = mpsc::channel(MAX_PLANS);
        let pools = Self {
            namespace: namespace.to_owned(),
            client,
            identity,
            witness,
            service,
            sender,
            followed: BTreeMap::new(),
            served: BTreeMap::new(),
            ending: TaskTracker::new(),
            looked: BTreeSet::new(),
            ready: Arc::new(AtomicBool::new(false)),
        };
        (pools, receiver)
    }

    /// Follows the plans of exactly these products.
    pub(super) fn follow(&mut self, products: BTreeSet<String>) {
        let gone: Vec<String> =
            self.followed.keys().filter(|product| !products.contains(*product)).cloned().collect();
        for product in gone {
            if let Some(stop) = self.followed.remove(&product) {
                info!(product, "no longer followed");
                stop.cancel();
                self.looked.remove(&product);
                self.discard(&product);
            }
        }
        for product in products {
            if !self.followed.contains_key(&product) {
                let stop = CancellationToken::new();
                let api: Api<SeatPlan> = Api::namespaced(self.client.clone(), &self.namespace);
                let name = product.clone();
                let change =
                    move |plan: Watched<SeatPlan>| Some((name.clone(), plan.known()?.map(|plan| plan.spec)));
                let watch = watch_named(api, product.clone(), self.sender.clone(), change);
                tokio::spawn(stop.clone().run_until_cancelled_owned(watch));
                self.followed.insert(product, stop);
            }
        }
        self.tell_ready();
    }

    /// Puts a plan in force. A plan that is gone changes nothing: whoever deleted it by mistake gets it back from
    /// the operator, and a deleted pool leaves the list of products.
    pub(super) async fn apply(&mut self, product: &str, plan: Option<SeatPlanSpec>) {
        if !self.followed.contains_key(product) {
            return;
        }
        self.looked.insert(product.to_owned());
        self.tell_ready();
        let Some(plan) = plan else { return };
        let view = match PlanView::new(&self.namespace, plan) {
            Ok(view) => Arc::new(view),
            Err(error) => return warn!(product, %error, "the plan in force stays"),
        };
        match self.served.get(product) {
            Some(served) => served.pool.configure(view),
            None => {
                info!(product, "serving");
                let (sender, observations) = mpsc::channel(MAX_OBSERVATIONS);
                let seen = LeaseMeta::default();
                watch(self.client.clone(), &view.ledger, seen.clone(), sender);
                let store = KubernetesStore::new(self.client.clone(), &view.ledger, seen);
                let served = self.service.begin(view, &self.identity, store, observations, |_| {});
                let attended = self.witness.clone().attend(served.pool.clone());
                tokio::spawn(served.stop.clone().run_until_cancelled_owned(attended));
                self.served.insert(product.to_owned(), served);
            }
        }
        self.publish();
    }

    fn discard(&mut self, product: &str) {
        if let Some(served) = self.served.remove(product) {
            self.ending.spawn(served.end());
            self.publish();
        }
    }

    fn publish(&self) {
        self.service.directory.replace(self.served.values().map(|served| served.pool.clone()).collect());
        self.tell_ready();
    }

    fn tell_ready(&self) {
        let ready = self.followed.keys().all(|product| self.looked.contains(product));
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Hands all ledgers over; calls are passed on from then on.
    pub(super) async fn leave(&mut self) {
        self.ready.store(false, Ordering::Relaxed);
        self.followed.values().for_each(CancellationToken::cancel);
        self.ending.close();
        tokio::join!(join_all(self.served.values().map(Served::leave)), self.ending.wait());
    }

    pub(super) async fn end(self) {
        join_all(self.served.into_values().map(Served::end)).await;
    }
}
