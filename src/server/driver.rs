//! Drives one pool's replica: carries its requests to the store, brings back replies and observations, keeps time.

use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{Holder, Nonce, Role, StopReason};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::clock::boot_now;
use super::pool::Pool;
use super::store::{Observation, Store};

/// Longest sleep: the runtime's timers do not count suspend, so a tick may be late by this much after a resume.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// How long a stopping owner may take to give up its Lease; its successor needs no more than patience.
const RELEASE_DEADLINE: Duration = Duration::from_secs(3);

/// Runs until `stop` is canceled; then gives up the Lease, within a deadline.
pub(crate) async fn drive<S: Store>(
    pool: Arc<Pool>,
    store: Arc<S>,
    mut observations: mpsc::Receiver<Observation>,
    identity: Holder,
    mut me: Holder,
    stop: CancellationToken,
) {
    let mut under_way = JoinSet::new();
    let mut last = pool.role();
    let mut leaving = None;
    loop {
        let (requests, due) = pool.take_requests();
        for (id, request) in requests {
            let store = store.clone();
            under_way.spawn(async move { (id, store.send(request).await) });
        }
        let role = pool.role();
        if role != last {
            info!(ledger = %pool.id, ?role, "role changed");
            last = role;
        }
        if let Role::Stopped(reason) = role {
            if leaving.is_some() {
                return;
            }
            warn!(ledger = %pool.id, ?reason, "no longer part of this ledger; beginning anew under a fresh name");
            under_way.shutdown().await;
            let ended = std::mem::replace(&mut me, fresh(&identity));
            pool.renounce(ended.nonce, me.clone());
            restart_pause(reason).await;
            continue;
        }
        let sleep = due.map_or(MAX_SLEEP, |due| due.since(boot_now()).min(MAX_SLEEP));
        tokio::select! {
            Some(done) = under_way.join_next() => match done {
                Ok((id, reply)) => pool.reply(id, reply),
                Err(error) => warn!(ledger = %pool.id, %error, "a store request was lost"),
            },
            Some(observation) = observations.recv() => pool.observe(observation),
            () = pool.woken() => {}
            () = tokio::time::sleep(sleep) => pool.tick(),
            () = stop.cancelled(), if leaving.is_none() => {
                pool.release();
                leaving = Some(tokio::time::Instant::now() + RELEASE_DEADLINE);
            }
        }
        if leaving.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
            return;
        }
    }
}

/// A new process, as the protocol counts: the same place under a name that was never used.
pub(crate) fn fresh(identity: &Holder) -> Holder {
    Holder { nonce: Nonce(uuid::Uuid::new_v4().to_string().into()), ..identity.clone() }
}

/// A replica that was pushed out need not press: others serve.
async fn restart_pause(reason: StopReason) {
    if reason != StopReason::Released {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
