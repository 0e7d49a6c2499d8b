//! PodDisruptionBudget of a server: one pod at a time. With one replica that lets a drain of its node go on: nobody would
//! be helped by a node that cannot be emptied.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::server_meta;
use crate::operator::{
    names,
    pool::validate::{Server, Validated},
};

pub(super) fn disruption_budget(validated: &Validated, server: &Server) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: server_meta(validated, server, validated.server.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&validated.server)),
                match_expressions: None,
            }),
            // A pod that is not ready protects nobody, and must not hold up the drain of its node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
