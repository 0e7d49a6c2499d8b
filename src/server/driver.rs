//! Drives one pool's replica: carries its requests to the store, brings back replies and observations, keeps time.

use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{Holder, Nonce, Role, StopReason};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::peers::{HANDOVER_DEADLINE, Peers};
use super::pool::Pool;
use super::store::{Observation, Store};

/// Longest sleep: a replica that has nothing to do looks at the time this often.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// How long a stopping owner may take to hand its sessions over, and then to seal and give its Lease; who follows needs no
/// more than patience.
const LEAVE_DEADLINE: Duration = HANDOVER_DEADLINE.saturating_add(Duration::from_secs(3));
/// A replica that was pushed out need not press: others serve.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// Makes names that were never used.
pub(crate) type Nonces = Arc<dyn Fn() -> Nonce + Send + Sync>;

/// Names that no two processes share.
pub(crate) fn random_nonces() -> Nonces {
    Arc::new(|| Nonce(uuid::Uuid::new_v4().to_string().into()))
}

/// Where a replica is, and how it is named.
#[derive(Clone)]
pub(crate) struct Identity {
    /// All but the nonce.
    pub(crate) place: Holder,
    pub(crate) nonces: Nonces,
}

impl Identity {
    /// A new process, as the protocol counts: the same place under a name that was never used.
    pub(crate) fn fresh(&self) -> Holder {
        Holder { nonce: (self.nonces)(), ..self.place.clone() }
    }
}

/// Runs until `stop` is canceled; then hands the sessions over and gives up the Lease, within a deadline.
pub(crate) async fn drive<S: Store>(
    pool: Arc<Pool>,
    peers: Arc<Peers>,
    store: Arc<S>,
    observations: &mut mpsc::Receiver<Observation>,
    identity: Identity,
    stop: CancellationToken,
) {
    let clock = pool.clock().clone();
    let (mut under_way, mut handover) = (JoinSet::new(), JoinSet::new());
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
            pool.renounce(identity.fresh());
            if reason != StopReason::Released {
                clock.sleep(RESTART_PAUSE).await;
            }
            continue;
        }
        let latest = clock.boot() + MAX_SLEEP;
        let wake_up = due.map_or(latest, |due| due.min(latest));
        // In this order always: the same events make the same run.
        tokio::select! {
            biased;
            () = stop.cancelled(), if leaving.is_none() => {
                leaving = Some(clock.boot() + LEAVE_DEADLINE);
                if let Some(table) = pool.hand_over() {
                    let (pool, peers) = (pool.clone(), peers.clone());
                    handover.spawn(async move { peers.hand_over(&pool.id, table).await });
                }
            }
            Some(taken) = handover.join_next() => pool.handed_over(taken.ok().flatten()),
            Some(done) = under_way.join_next() => match done {
                Ok((id, reply)) => pool.reply(id, reply),
                Err(error) => warn!(ledger = %pool.id, %error, "a store request was lost"),
            },
            Some(observation) = observations.recv() => pool.observe(observation),
            () = pool.woken() => {}
            () = clock.sleep_until(wake_up) => pool.tick(),
        }
        if leaving.is_some_and(|deadline| clock.boot() >= deadline) {
            return;
        }
    }
}
