//! ConfigMap of a server: the products it serves, one a line. Servers watch the file, so a pool joins or leaves a group
//! without a restart.

use k8s_openapi::api::core::v1::ConfigMap;

use super::server_meta;
use crate::operator::pool::validate::{Server, Validated};

pub(super) fn config_map(validated: &Validated, server: &Server) -> ConfigMap {
    let products: String = server.products().iter().map(|product| format!("{product}\n")).collect();
    ConfigMap {
        metadata: server_meta(validated, server, validated.server.clone()),
        data: Some([("products".to_owned(), products)].into()),
        ..ConfigMap::default()
    }
}
