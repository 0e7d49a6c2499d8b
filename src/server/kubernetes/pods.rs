//! The pods of this server, as their kubelets last reported them: whose process is known to have ended (R6b), and who may
//! be handed the sessions (R6a). Pure: pods in, answers out.

use std::collections::BTreeMap;

use genie_ledger::Holder;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Pod};

use crate::api::SERVER_CONTAINER;

/// Pods whose object is gone: they say no more, and the newest are enough, for an owner is followed within seconds.
const MAX_GONE: usize = 64;
/// Pods that there are: replicas and those that are about to go. What does not fit is no evidence.
const MAX_PODS: usize = 1_000;

/// A run of the server's container that has ended, in whole seconds of its node's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    started: i64,
    finished: i64,
}

#[derive(Clone, Debug)]
struct Seen {
    name: String,
    ip: Option<String>,
    created: Option<Timestamp>,
    ready: bool,
    /// It is being deleted.
    leaving: bool,
    /// None of its containers will start again.
    over: bool,
    /// The last run of the server's container, where the kubelet reported its end.
    ended: Option<Run>,
    /// Its object is gone; the number says how long ago.
    gone: Option<u64>,
    /// The list that it was last in.
    list: u64,
}

/// See the module, by UID: a name may come again.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods {
    all: BTreeMap<String, Seen>,
    lists: u64,
    gone: u64,
}

impl Pods {
    /// A new list begins: what is not in it is gone.
    pub(super) fn begin_list(&mut self) {
        self.lists += 1;
    }

    /// The list is whole.
    pub(super) fn end_list(&mut self) {
        let missing = |seen: &&mut Seen| seen.gone.is_none() && seen.list < self.lists;
        for seen in self.all.values_mut().filter(missing) {
            self.gone += 1;
            seen.gone = Some(self.gone);
        }
        self.forget();
    }

    /// A pod is new, or differs.
    pub(super) fn saw(&mut self, pod: &Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        if self.all.len() < MAX_PODS + MAX_GONE || self.all.contains_key(&uid) {
            self.all.insert(uid, Seen { list: self.lists, ..seen(pod) });
        }
    }

    /// A pod's object is gone. What its kubelet said last is kept: that the object is gone adds nothing to it.
    pub(super) fn deleted(&mut self, pod: &Pod) {
        self.saw(pod);
        self.gone += 1;
        if let Some(seen) = pod.metadata.uid.as_ref().and_then(|uid| self.all.get_mut(uid)) {
            seen.gone = Some(self.gone);
        }
        self.forget();
    }

    fn forget(&mut self) {
        let mut gone: Vec<u64> = self.all.values().filter_map(|seen| seen.gone).collect();
        if gone.len() > MAX_GONE {
            gone.sort_unstable();
            let oldest_kept = gone[gone.len() - MAX_GONE];
            self.all.retain(|_, seen| seen.gone.is_none_or(|gone| gone >= oldest_kept));
        }
    }

    /// Whether the process of exactly this holder has ended, as `me`, another process, can know it.
    pub(super) fn has_ended(&self, me: &Holder, holder: &Holder) -> bool {
        if holder.pod_uid.is_empty() {
            return false;
        }
        // The same Pod, and another process: this one was started after it. (By the time of its start, since one process
        // has one nonce after the other.)
        if holder.pod_uid == me.pod_uid {
            return holder.started != me.started;
        }
        let Some(pod) = self.all.get(&*holder.pod_uid).filter(|pod| pod.over) else { return false };
        let Ok(started @ 1..) = i64::try_from(holder.started.0) else { return false };
        // A status may be older than the container that runs: one that was started again, on a node that was then cut
        // off, still shows the end of the run before. Its process is not that run's: it began after that end. Times are
        // whole seconds of one node's clock, that of a process rounded up and these rounded down, hence `<`.
        pod.ended.is_some_and(|run| run.started <= started && started < run.finished)
    }

    /// Addresses of the pods that can be handed the sessions: ready, staying, not this one. The newest first, so that a
    /// rollout hands over once, to a pod of the new revision.
    pub(super) fn successors(&self, me: &Holder, port: u16) -> Vec<String> {
        let mut fit: Vec<&Seen> = self
            .all
            .iter()
            .filter(|(uid, seen)| {
                let stays = seen.ready && !seen.leaving && !seen.over && seen.gone.is_none();
                stays && **uid != *me.pod_uid && *seen.name != *me.pod_name
            })
            .map(|(_, seen)| seen)
            .collect();
        fit.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        fit.into_iter().filter_map(|seen| Some(address(seen.ip.as_deref()?, port))).collect()
    }
}

/// Where a server of this IP is reached.
pub(super) fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn seen(pod: &Pod) -> Seen {
    let status = pod.status.as_ref();
    let leaving = pod.metadata.deletion_timestamp.is_some();
    let finished = matches!(status.and_then(|status| status.phase.as_deref()), Some("Failed" | "Succeeded"));
    let ready = status
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    let server = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|all| all.iter().find(|one| one.name == SERVER_CONTAINER));
    Seen {
        name: pod.metadata.name.clone().unwrap_or_default(),
        ip: status.and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ready,
        leaving,
        over: leaving || finished,
        ended: server.and_then(|server| run(server.state.as_ref()?)),
        gone: None,
        list: 0,
    }
}

/// A real exit: of a container that the runtime knows, not one that was inferred to have ended.
fn run(state: &ContainerState) -> Option<Run> {
    let end = state.terminated.as_ref()?;
    end.container_id.as_ref().filter(|id| !id.is_empty())?;
    if end.reason.as_deref() == Some("ContainerStatusUnknown") {
        return None;
    }
    let second = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        Some(time.as_ref()?.0.as_second()).filter(|second| *second > 0)
    };
    Some(Run { started: second(&end.started_at)?, finished: second(&end.finished_at)? })
}

#[cfg(test)]
mod tests {
    use genie_ledger::{Nonce, UnixSeconds};
    use serde_json::{Value, json};

    use super::*;

    /// 2030-01-01T00:00:00Z.
    const MIDNIGHT: u64 = 1_893_456_000;

    fn holder(uid: &str, second: u64) -> Holder {
        Holder {
            nonce: Nonce("nonce".into()),
            pod_uid: uid.into(),
            pod_name: uid.into(),
            node: "node".into(),
            address: "10.0.0.1:1454".into(),
            started: UnixSeconds(if second == 0 { 0 } else { MIDNIGHT + second }),
        }
    }

    fn me() -> Holder {
        holder("me", 50)
    }

    /// A pod whose container ran from second 10 to second 20, and that is being deleted.
    fn ended() -> Value {
        let end = json!({
            "containerID": "containerd://1", "reason": "Completed", "exitCode": 0,
            "startedAt": "2030-01-01T00:00:10Z", "finishedAt": "2030-01-01T00:00:20Z",
        });
        json!({
            "metadata": {"name": "old", "uid": "old", "deletionTimestamp": "2030-01-01T00:00:30Z"},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                     "state": {"terminated": end}},
                    {"name": "sidecar", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                     "state": {"running": {}}},
                ],
            },
        })
    }

    fn pods(pod: Value) -> Pods {
        let mut pods = Pods::default();
        pods.saw(&serde_json::from_value(pod).unwrap());
        pods
    }

    fn changed(path: &str, value: Value) -> Pods {
        let mut pod = ended();
        *pod.pointer_mut(path).unwrap() = value;
        pods(pod)
    }

    const END: &str = "/status/containerStatuses/0/state/terminated";

    #[test]
    fn a_container_that_exited_in_a_pod_that_goes_has_ended_its_process() {
        assert!(pods(ended()).has_ended(&me(), &holder("old", 11)));
        let mut failed = ended();
        failed["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
        failed["status"]["phase"] = json!("Failed");
        assert!(pods(failed).has_ended(&me(), &holder("old", 11)), "evicted");
    }

    #[test]
    fn a_container_that_may_start_again_proves_nothing() {
        let mut stays = ended();
        stays["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
        assert!(!pods(stays).has_ended(&me(), &holder("old", 11)));
    }

    #[test]
    fn an_end_that_was_inferred_or_of_no_container_proves_nothing() {
        let inferred = changed(&format!("{END}/reason"), json!("ContainerStatusUnknown"));
        assert!(!inferred.has_ended(&me(), &holder("old", 11)));
        assert!(!changed(&format!("{END}/containerID"), json!("")).has_ended(&me(), &holder("old", 11)));
        let running = changed("/status/containerStatuses/0/state", json!({ "running": {} }));
        assert!(!running.has_ended(&me(), &holder("old", 11)));
    }

    #[test]
    fn the_end_of_another_container_proves_nothing() {
        let other = changed("/status/containerStatuses/0/name", json!("proxy"));
        assert!(!other.has_ended(&me(), &holder("old", 11)));
        assert!(!pods(ended()).has_ended(&me(), &holder("another", 11)), "another pod");
    }

    #[test]
    fn a_stale_status_is_never_taken_for_the_end_of_the_process_after_it() {
        let pods = pods(ended());
        for (second, ended) in [(0, false), (9, false), (10, true), (19, true), (20, false), (21, false)] {
            assert_eq!(pods.has_ended(&me(), &holder("old", second)), ended, "started at {second}");
        }
    }

    #[test]
    fn the_process_before_this_one_in_the_same_pod_has_ended_and_this_one_has_not() {
        let pods = Pods::default();
        assert!(pods.has_ended(&me(), &holder("me", 20)));
        assert!(pods.has_ended(&me(), &holder("me", 0)), "one that did not say when it started");
        assert!(
            !pods.has_ended(&me(), &holder("me", 50)),
            "an earlier nonce of this process, which it tells itself"
        );
        assert!(!pods.has_ended(&holder("", 50), &holder("", 20)), "outside a cluster");
    }

    #[test]
    fn a_pod_that_is_gone_is_remembered_as_it_was_last_seen_and_proves_no_more() {
        let running =
            json!({ "metadata": { "name": "old", "uid": "old" }, "status": { "phase": "Running" } });
        let pod: Pod = serde_json::from_value(running).unwrap();
        let mut lost = Pods::default();
        lost.saw(&pod);
        lost.deleted(&pod);
        assert!(!lost.has_ended(&me(), &holder("old", 11)), "deleted by force");
        let mut known = pods(ended());
        known.begin_list();
        known.end_list();
        assert!(known.has_ended(&me(), &holder("old", 11)), "deleted while no watch stood");
        for one in 0..MAX_GONE {
            let next = json!({ "metadata": { "name": "next", "uid": format!("next-{one}") } });
            known.deleted(&serde_json::from_value(next).unwrap());
        }
        assert!(!known.has_ended(&me(), &holder("old", 11)), "the oldest is forgotten");
        assert_eq!(known.all.len(), MAX_GONE);
    }

    #[test]
    fn sessions_are_handed_to_the_newest_that_is_ready_and_stays() {
        let mut pods = Pods::default();
        let mut add = |uid: &str, second: u32, ready: &str, leaving: bool| {
            let mut pod = json!({
                "metadata": {"name": uid, "uid": uid, "creationTimestamp": format!("2030-01-01T00:00:{second:02}Z")},
                "status": {"phase": "Running", "podIP": format!("10.0.0.{second}"),
                           "conditions": [{"type": "Ready", "status": ready}]},
            });
            if leaving {
                pod["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:01:00Z");
            }
            pods.saw(&serde_json::from_value(pod).unwrap());
        };
        add("old", 10, "True", false);
        add("new", 20, "True", false);
        add("starting", 30, "False", false);
        add("leaving", 40, "True", true);
        add("me", 45, "True", false);
        assert_eq!(pods.successors(&me(), 1454), ["10.0.0.20:1454", "10.0.0.10:1454"]);
    }
}
