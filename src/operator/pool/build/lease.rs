//! Lease of a product, empty: servers may update it by name, but `create` cannot be restricted to a name.

use k8s_openapi::api::coordination::v1::Lease;

use super::pool_meta;
use crate::operator::{names, pool::validate::Validated};

pub(super) fn lease(validated: &Validated) -> Lease {
    Lease { metadata: pool_meta(validated, names::lease(&validated.pool.spec.product)), spec: None }
}
