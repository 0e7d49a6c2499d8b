//! NetworkPolicy of a server. In: 1453 and 9453 from anywhere (clients may be outside; metrics and probes come from
//! anywhere), 1454 from its own pods only. Out: left open. A server needs the API server, whose address no selector can
//! name (it is the nodes' own, or outside), and names; a rule "to anywhere on 443, 6443 and 53" would hold up nobody and
//! break clusters with other ports, so the policy does not claim what it cannot give.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::server_meta;
use crate::operator::{
    names,
    pool::validate::{Server, Validated},
};

pub(super) fn network_policy(validated: &Validated, server: &Server) -> NetworkPolicy {
    let pods =
        LabelSelector { match_labels: Some(names::selector(&validated.server)), match_expressions: None };
    let own = NetworkPolicyPeer { pod_selector: Some(pods.clone()), ..NetworkPolicyPeer::default() };
    NetworkPolicy {
        metadata: server_meta(validated, server, validated.server.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: None, ports: Some(vec![port("genie-lm"), port("http")]) },
                NetworkPolicyIngressRule { from: Some(vec![own]), ports: Some(vec![port("peer")]) },
            ]),
            egress: None,
        }),
    }
}

fn port(name: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        end_port: None,
    }
}
