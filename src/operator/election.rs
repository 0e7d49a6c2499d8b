//! Who acts: one process at a time, by a Lease in the operator's own namespace. Takes a client without retries; calls
//! nothing of the rest. A leader that cannot renew stops acting before another may begin.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::names::{ELECTION_LEASE, FIELD_MANAGER};

/// How long others wait after the last renewal that they saw.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// When a leader that cannot renew stops: five seconds before another may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// For one answer; several fit into the deadline.
const ANSWER: Duration = Duration::from_secs(3);

/// A candidate.
pub struct Election {
    leases: Api<Lease>,
    identity: String,
}

/// What a candidate saw, and when it saw that for the first time: others' clocks are not read.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Election {
    /// A candidate of this name.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self { leases: Api::namespaced(client, namespace), identity }
    }

    /// Waits until this process leads, or `stop`; the token given is canceled when it leads no more.
    pub async fn lead(&self, stop: &CancellationToken) -> Option<Term> {
        let mut seen = Seen { version: None, since: Instant::now() };
        while !stop.is_cancelled() {
            let sent = Instant::now();
            match self.campaign(&mut seen).await {
                Ok(Some(lease)) => {
                    info!(identity = self.identity, "leads now");
                    return Some(Term { lease, renewed: sent });
                }
                Ok(None) => {}
                Err(error) => warn!(%error, "cannot take the Lease {ELECTION_LEASE}; tries again"),
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = stop.cancelled() => {}
            }
        }
        None
    }

    /// Renews until the term is lost, or `stop`.
    pub async fn hold(&self, mut term: Term, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(RETRY) => {}
                () = stop.cancelled() => return self.resign(term).await,
            }
            let sent = Instant::now();
            match self.write(term.lease.clone(), Some(&self.identity)).await {
                Ok(lease) => term = Term { lease, renewed: sent },
                Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                    // Our own write whose answer was lost, or another leader: a read decides.
                    match self.read().await {
                        Ok(Some(lease)) if self.holds(&lease) => term.lease = lease,
                        Ok(_) => {
                            return warn!("another process took the Lease {ELECTION_LEASE}; stops acting");
                        }
                        Err(error) => warn!(%error, "cannot read the Lease {ELECTION_LEASE}"),
                    }
                }
                Err(error) => warn!(%error, "cannot renew the Lease {ELECTION_LEASE}"),
            }
            if term.renewed.elapsed() >= RENEW_DEADLINE - ANSWER {
                return warn!("the Lease {ELECTION_LEASE} was not renewed in time; stops acting");
            }
        }
    }

    async fn campaign(&self, seen: &mut Seen) -> kube::Result<Option<Lease>> {
        let Some(lease) = self.read().await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(ELECTION_LEASE.into());
            return self.write(lease, Some(&self.identity)).await.map(Some);
        };
        if seen.version != lease.resource_version() {
            *seen = Seen { version: lease.resource_version(), since: Instant::now() };
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = duration.map_or(LEASE_DURATION, Duration::from_secs);
        if free || self.holds(&lease) || seen.since.elapsed() > duration {
            return self.write(lease, Some(&self.identity)).await.map(Some);
        }
        Ok(None)
    }

    fn holds(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(self.identity.as_str())
    }

    async fn resign(&self, term: Term) {
        if let Err(error) = self.write(term.lease, None).await {
            warn!(%error, "cannot give up the Lease {ELECTION_LEASE}; another process leads in {LEASE_DURATION:?}");
        }
    }

    async fn read(&self) -> kube::Result<Option<Lease>> {
        bounded(self.leases.get_opt(ELECTION_LEASE)).await
    }

    /// Creates or replaces (by the resourceVersion that was read).
    async fn write(&self, mut lease: Lease, holder: Option<&str>) -> kube::Result<Lease> {
        let old = lease.spec.take().unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let same = old.holder_identity.as_deref() == holder;
        lease.spec = Some(LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: if same { old.acquire_time.clone() } else { Some(now) },
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!same)),
            ..old
        });
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        if lease.resource_version().is_none() {
            bounded(self.leases.create(&params, &lease)).await
        } else {
            bounded(self.leases.replace(ELECTION_LEASE, &params, &lease)).await
        }
    }
}

/// A time in which this process leads.
pub struct Term {
    lease: Lease,
    /// When the last renewal that was acknowledged was sent.
    renewed: Instant,
}

async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = |_| kube::Error::Service(format!("no answer within {ANSWER:?}").into());
    timeout(ANSWER, request).await.map_err(late)?
}
