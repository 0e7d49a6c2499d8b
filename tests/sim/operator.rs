//! The operator of a world: what it remembers of the ledger is the code that ships, and the plan says it at once.

use jiff::Timestamp;
use tokio::time::sleep;

use super::api::{NAMESPACE, PRODUCT};
use super::world::{True, World, lock};
use crate::compile::ObjectName;
use crate::operator::generations::Told;

impl World {
    /// The operator does not see what happens until then.
    pub(crate) fn operator_away(&self, until: True) {
        let away = &mut lock(&self.api).operator_away;
        *away = until.max(*away);
    }

    /// It looks at the ledger, and says in the plan what is known of it (R3, R11).
    pub(crate) fn operator_looks(&self) {
        let (told, record) = {
            let api = lock(&self.api);
            if self.now() < api.operator_away {
                return;
            }
            let (generation, longest_horizon) = (api.plan.min_generation, api.plan.longest_horizon);
            (Told { generation, longest_horizon }, api.record().cloned())
        };
        let ledger = ObjectName { namespace: NAMESPACE.into(), name: PRODUCT.into() };
        let now = Timestamp::UNIX_EPOCH + self.now();
        let least = self.generations.saw(ledger, told, record.as_ref(), now);
        let now_told = Told { generation: least.generation, longest_horizon: least.longest_horizon };
        if now_told != told {
            self.replan(|plan| {
                (plan.min_generation, plan.longest_horizon) = (least.generation, least.longest_horizon);
            });
        }
        if let Some(again) = least.again {
            let (world, wait) = (self.clone(), again.duration_since(now).unsigned_abs());
            tokio::spawn(async move {
                sleep(wait).await;
                world.operator_looks();
            });
        }
    }
}
