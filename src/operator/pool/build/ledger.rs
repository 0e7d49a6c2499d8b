//! SeatLedger, empty: from then on its owner's alone. It belongs to namespace and product, not to the pool object, so it
//! names no owner, and a finalizer keeps it from being deleted in passing.

use kube::core::ObjectMeta;

use super::pool_meta;
use crate::{
    api::{SeatLedger, SeatLedgerSpec},
    operator::{names::LEDGER_FINALIZER, pool::validate::Validated},
};

pub(super) fn ledger(validated: &Validated) -> SeatLedger {
    let product = validated.pool.spec.product.clone();
    let metadata = ObjectMeta {
        owner_references: None,
        finalizers: Some(vec![LEDGER_FINALIZER.to_owned()]),
        ..pool_meta(validated, product.clone())
    };
    SeatLedger { metadata, spec: SeatLedgerSpec { product }, status: None }
}
