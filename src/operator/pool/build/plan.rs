//! SeatPlan: what the servers of a pool may give.

use super::pool_meta;
use crate::{api::SeatPlan, operator::pool::validate::Validated};

pub(super) fn plan(validated: &Validated) -> SeatPlan {
    SeatPlan {
        metadata: pool_meta(validated, validated.pool.spec.product.clone()),
        spec: validated.plan.clone(),
    }
}
