//! Service of a pool: port 1453 of the server's pods. Every replica answers, so every ready one is an endpoint.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{ResourceExt, core::ObjectMeta};

use super::pool_meta;
use crate::operator::{names, pool::validate::Validated};

pub(super) fn service(validated: &Validated) -> Service {
    let wanted = &validated.pool.spec.server.service;
    let annotations = Some(wanted.annotations.clone()).filter(|annotations| !annotations.is_empty());
    let name = names::service(&validated.pool.name_any());
    Service {
        metadata: ObjectMeta { annotations, ..pool_meta(validated, name) },
        spec: Some(ServiceSpec {
            type_: Some(wanted.type_.clone().unwrap_or_else(|| "ClusterIP".into())),
            selector: Some(names::selector(&validated.server)),
            ports: Some(vec![ServicePort {
                name: Some("genie-lm".into()),
                port: 1453,
                target_port: Some(IntOrString::String("genie-lm".into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
