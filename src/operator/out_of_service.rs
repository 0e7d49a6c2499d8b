//! Nodes that an administrator has marked as off (`node.kubernetes.io/out-of-service`), and what that says of a ledger's
//! owner: its process has ended (R6b). Takes the cached nodes and ledgers; asks the API server before it says so.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt, core::ObjectMeta, runtime::reflector::ObjectRef};
use serde::{Deserialize, Serialize};

use super::{error::ApiError, world::World, writer::deadline};
use crate::api::{SeatLedger, SeatPlan};

const TAINT: &str = "node.kubernetes.io/out-of-service";

/// The little of a Node that counts here; all else is dropped as it is read.
#[derive(Clone, Debug, kube::Resource, Serialize, Deserialize)]
#[resource(inherit = Node)]
pub struct NodeState {
    /// Its name.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Spec {
    #[serde(default)]
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Taint {
    key: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl NodeState {
    /// Whether nothing runs on it: the taint says so, and its kubelet does not say otherwise. (A node that came back
    /// under a forgotten taint runs pods again; Kubernetes' own pod collector asks for both, too.)
    pub fn is_out(&self) -> bool {
        let ready = self.status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
        self.spec.taints.iter().any(|taint| taint.key == TAINT) && !ready
    }
}

/// Asks the API server.
pub struct OutOfService {
    client: Client,
}

impl OutOfService {
    /// Reads by `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The nonce of the ledger's holder, where it is known to have ended with its node. The caches decide only whether
    /// to ask: the owner is read first and the node after it, so that the taint stands when the owner is known, and
    /// an owner that came up on a node that is back is never taken for the one that was lost.
    pub async fn ended(
        &self,
        world: &World,
        plan: Option<&SeatPlan>,
        ledger: Option<&SeatLedger>,
    ) -> Result<Vec<String>, ApiError> {
        let Some((cached, holder)) = ledger.and_then(|ledger| Some((ledger, holder(ledger)?))) else {
            return Ok(Vec::new());
        };
        let told = plan.is_some_and(|plan| plan.spec.ended.iter().any(|ended| **ended == *holder.nonce.0));
        if told {
            return Ok(vec![holder.nonce.0.to_string()]);
        }
        let suspected = world.nodes.get(&ObjectRef::new(&holder.node)).is_some_and(|node| node.is_out());
        if !suspected {
            return Ok(Vec::new());
        }
        let (namespace, name) = (cached.namespace().unwrap_or_default(), cached.name_any());
        let ledgers: Api<SeatLedger> = Api::namespaced(self.client.clone(), &namespace);
        let read = deadline(ledgers.get_opt(&name)).await;
        let read = read.map_err(|error| ApiError::at::<SeatLedger>("read", &namespace, &name, error))?;
        let Some(same) = read.as_ref().and_then(self::holder).filter(|now| *now == holder) else {
            // The watch is about to tell of another owner.
            return Ok(Vec::new());
        };
        let nodes: Api<NodeState> = Api::all(self.client.clone());
        let node = deadline(nodes.get_opt(&same.node)).await;
        let node = node.map_err(|error| ApiError::at::<NodeState>("read", "", &same.node, error))?;
        let out = node.is_some_and(|node| node.is_out());
        Ok(out.then(|| same.nonce.0.to_string()).into_iter().collect())
    }
}

/// The owner that a ledger records.
pub fn holder(ledger: &SeatLedger) -> Option<&genie_ledger::Holder> {
    Some(&ledger.record()?.holder)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(taint: Option<&str>, ready: &str) -> NodeState {
        let taints: Vec<_> = taint.iter().map(|key| json!({"key": key, "effect": "NoExecute"})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "node"}, "spec": {"podCIDR": "10.0.0.0/24", "taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}], "images": []},
        }))
        .unwrap()
    }

    #[test]
    fn a_node_is_out_when_it_is_marked_so_and_its_kubelet_does_not_deny_it() {
        assert!(node(Some(TAINT), "Unknown").is_out());
        assert!(node(Some(TAINT), "False").is_out());
        assert!(!node(Some(TAINT), "True").is_out());
        assert!(!node(Some("node.kubernetes.io/unreachable"), "Unknown").is_out());
        assert!(!node(None, "Unknown").is_out());
    }
}
