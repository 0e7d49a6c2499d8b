//! Watches the pods of this server: who can take its sessions (R6a), and whether the owner before is known to have ended,
//! which each pool's replica is told (R6b).

use std::sync::Arc;

use futures::TryStreamExt;
use genie_ledger::Holder;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use super::Config;
use super::pods::Pods;
use crate::rewatch::Again;
use crate::server::pool::Pool;

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

    /// Tells the pool's replica as soon as both the owner before and the end of its process are known, in whichever order.
    pub(super) async fn attend(mut self, pool: Arc<Pool>) {
        let mut before = pool.before();
        // Without a watch of pods, the sender is gone; what the plan says is told all the same.
        let mut watched = true;
        loop {
            let last = before.borrow_and_update().clone();
            if let Some((_, holder)) = last.filter(|(_, holder)| self.has_ended(&pool, holder)) {
                pool.previous_ended(holder.nonce);
            }
            tokio::select! {
                changed = before.changed() => if changed.is_err() { return },
                changed = self.pods.changed(), if watched => watched = changed.is_ok(),
            }
        }
    }

    fn has_ended(&self, pool: &Pool, holder: &Holder) -> bool {
        let with_its_node = pool.view().plan.ended.iter().any(|ended| **ended == *holder.nonce.0);
        with_its_node || self.pods.borrow().has_ended(&self.me, holder)
    }
}

async fn follow(api: Api<Pod>, selector: String, pods: watch::Sender<Pods>) {
    let config = watcher::Config::default().labels(&selector);
    let mut events = std::pin::pin!(watcher(api, config).backoff(Again));
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
