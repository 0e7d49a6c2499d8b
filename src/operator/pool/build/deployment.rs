//! Deployment of a server. Not a StatefulSet: nothing needs a stable name or a disk, and a lost node must not block its
//! replacement. A rollout adds one before it takes one away.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
            HTTPGetAction, LocalObjectReference, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity,
            PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
            SecretVolumeSource, SecurityContext, Volume, VolumeMount, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::server_meta;
use crate::{
    api::{PullSecret, SERVER_CONTAINER, ServerSpec},
    operator::{
        Settings, names,
        pool::validate::{Server, Validated},
    },
};

/// The image's user.
const USER: i64 = 65532;
/// Where the server looks for its files.
const CONFIG: &str = "/etc/genie-lm";

pub(super) fn deployment(validated: &Validated, server: &Server, settings: &Settings) -> Deployment {
    let shape = &validated.pool.spec.server;
    Deployment {
        metadata: server_meta(validated, server, validated.server.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(shape.replicas),
            revision_history_limit: Some(3),
            selector: pods(&validated.server),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::server_labels(&validated.pool)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(&validated.server, shape, settings)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(server: &str, shape: &ServerSpec, settings: &Settings) -> PodSpec {
    PodSpec {
        service_account_name: Some(server.to_owned()),
        automount_service_account_token: Some(true),
        // Handing over and passing calls on take 6 s, and open calls 10 s more.
        termination_grace_period_seconds: Some(30),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(shape, settings)],
        volumes: Some(volumes(server)),
        image_pull_secrets: Some(pull_secrets(shape)).filter(|list| !list.is_empty()),
        node_selector: Some(shape.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: Some(shape.tolerations.clone()).filter(|list| !list.is_empty()),
        affinity: Some(shape.affinity.clone().unwrap_or_else(|| apart(server))),
        topology_spread_constraints: Some(shape.topology_spread_constraints.clone())
            .filter(|list| !list.is_empty()),
        priority_class_name: shape.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

fn pull_secrets(shape: &ServerSpec) -> Vec<LocalObjectReference> {
    let secret = |secret: &PullSecret| LocalObjectReference { name: secret.name.clone() };
    shape.image_pull_secrets.iter().map(secret).collect()
}

fn container(shape: &ServerSpec, settings: &Settings) -> Container {
    let args = [
        "serve",
        "--kubernetes",
        "--config",
        CONFIG,
        "--listen",
        "0.0.0.0:1453",
        "--peer-listen",
        "0.0.0.0:1454",
        "--http-listen",
        "0.0.0.0:9453",
    ];
    Container {
        name: SERVER_CONTAINER.into(),
        image: Some(shape.image.clone().unwrap_or_else(|| settings.server_image.clone())),
        args: Some(args.map(str::to_owned).to_vec()),
        env: Some(env(shape)),
        ports: Some(
            [("genie-lm", 1453), ("peer", 1454), ("http", 9453)]
                .map(|(name, port)| container_port(name, port))
                .to_vec(),
        ),
        resources: Some(shape.resources.clone().unwrap_or_else(small)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        // Starting takes well under a second; a pod that the API server does not let start waits for it half a minute.
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(30),
            ..probe("/readyz")
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            failure_threshold: Some(2),
            ..probe("/readyz")
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(3),
            ..probe("/livez")
        }),
        volume_mounts: Some(
            ["pools", "tls", "peer", "keys"]
                .map(|name| VolumeMount {
                    name: name.into(),
                    mount_path: format!("{CONFIG}/{name}"),
                    read_only: Some(true),
                    ..VolumeMount::default()
                })
                .to_vec(),
        ),
        ..Container::default()
    }
}

fn env(shape: &ServerSpec) -> Vec<EnvVar> {
    let fields = [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_UID", "metadata.uid"),
        ("NODE_NAME", "spec.nodeName"),
        ("POD_IP", "status.podIP"),
        // By it, a server knows the other pods of its Deployment.
        ("POD_INSTANCE", "metadata.labels['app.kubernetes.io/instance']"),
    ];
    let from_field = |(name, path): (&str, &str)| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.into(), api_version: None }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    let mut all = fields.map(from_field).to_vec();
    let level = shape.log_level.clone().unwrap_or_else(|| "info".into());
    all.push(EnvVar { name: "GENIE_LM_LOG".into(), value: Some(level), value_from: None });
    all
}

fn container_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    let get = HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::String("http".into()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), timeout_seconds: Some(2), ..Probe::default() }
}

fn volumes(server: &str) -> Vec<Volume> {
    let secret = |name: &str, secret: String| Volume {
        name: name.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            // Readable by the server's group only (fsGroup).
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    vec![
        Volume {
            name: "pools".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: server.into(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        secret("tls", names::tls_secret(server)),
        secret("peer", names::peer_secret(server)),
        secret("keys", names::keys_secret(server)),
    ]
}

/// Replicas prefer different nodes.
fn apart(server: &str) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(pods(server)),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            required_during_scheduling_ignored_during_execution: None,
        }),
        ..Affinity::default()
    }
}

fn small() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "20m"), ("memory", "32Mi")])),
        limits: Some(quantities(&[("memory", "256Mi")])),
        claims: None,
    }
}

fn pods(server: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(names::selector(server)), match_expressions: None }
}
