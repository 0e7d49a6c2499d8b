//! Watches the pods of this server, and tells each pool's replica when the owner before is known to have ended (R6b).
//!
//! What a store's watch shows passes through here on its way to the driver, so that evidence is there as soon as both the
//! holder and the end of its process are known, in whichever order.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use genie_ledger::Holder;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};

use super::Config;
use super::pods::Pods;
use crate::server::pool::Pool;
use crate::server::store::Observation;

/// A replica that begins anew has forgotten what it was told, and is told again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// See the module. One for a process; its copies share one watch.
#[derive(Clone)]
pub(super) struct Witness {
    me: Holder,
    pods: watch::Receiver<Pods>,
    peer_port: u16,
}

impl Witness {
    /// Begins the watch of the pods of this server's Deployment; where it does not say its name, nothing is known of them.
    pub(super) fn begin(client: Client, config: &Config, me: Holder) -> Self {
        let (sender, pods) = watch::channel(Pods::default());
        if let Some(instance) = &config.instance {
            let selector = format!("app.kubernetes.io/name=genie-lm,app.kubernetes.io/instance={instance}");
            tokio::spawn(follow(Api::namespaced(client, &config.namespace), selector, sender));
        }
        Self { me, pods, peer_port: config.peer_listen.port() }
    }

    /// Other replicas of this server that can be handed its sessions, the best first.
    pub(super) fn successors(&self) -> Vec<String> {
        self.pods.borrow().successors(&self.me, self.peer_port)
    }

    /// Carries what the store's watch shows to the driver, until either end is closed.
    pub(super) async fn attend(
        mut self,
        pool: Arc<Pool>,
        mut seen: mpsc::Receiver<Observation>,
        driver: mpsc::Sender<Observation>,
    ) {
        let mut holder: Option<Holder> = None;
        // Without a watch of pods, the sender is gone; what else is known is told all the same.
        let mut watched = true;
        loop {
            tokio::select! {
                observation = seen.recv() => {
                    let Some(observation) = observation else { return };
                    if let Observation::Ledger(ledger) = &observation {
                        let record = ledger.as_ref().and_then(|ledger| ledger.record.as_ref());
                        holder = record.map(|record| record.holder.clone());
                    }
                    self.tell(&pool, holder.as_ref());
                    if driver.send(observation).await.is_err() {
                        return;
                    }
                }
                changed = self.pods.changed(), if watched => {
                    watched = changed.is_ok();
                    self.tell(&pool, holder.as_ref());
                }
                () = tokio::time::sleep(AGAIN) => self.tell(&pool, holder.as_ref()),
                () = driver.closed() => return,
            }
        }
    }

    fn tell(&self, pool: &Pool, holder: Option<&Holder>) {
        let Some(holder) = holder else { return };
        let with_its_node = pool.view().plan.ended.iter().any(|ended| **ended == *holder.nonce.0);
        if with_its_node || self.pods.borrow().has_ended(&self.me, holder) {
            pool.previous_ended(holder.nonce.clone());
        }
    }
}

async fn follow(api: Api<Pod>, selector: String, pods: watch::Sender<Pods>) {
    let config = watcher::Config::default().labels(&selector);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = pods.closed() => return,
        };
        match event {
            Ok(Some(Event::Init)) => pods.send_modify(Pods::begin_list),
            Ok(Some(Event::InitApply(pod) | Event::Apply(pod))) => pods.send_modify(|pods| pods.saw(&pod)),
            Ok(Some(Event::InitDone)) => pods.send_modify(Pods::end_list),
            Ok(Some(Event::Delete(pod))) => pods.send_modify(|pods| pods.deleted(&pod)),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%selector, %error, "the watch of this server's pods was interrupted")
            }
        }
    }
}
