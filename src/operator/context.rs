//! What every reconcile is given: the caches, the writer, and what the operator was told at its start.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::{
    controller::Action,
    events::{Event, EventType, Recorder},
};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{
    Settings,
    board::Board,
    budget::UsageBudget,
    conditions::{EXPIRING, Says},
    error::Category,
    generations::Generations,
    key_secrets::KeySecrets,
    license_secrets::LicenseSecrets,
    metrics::Metrics,
    out_of_service::OutOfService,
    world::{Triggers, World},
    writer::Writer,
};
use crate::compile::ObjectName;

/// See the module.
pub struct Context {
    /// The caches.
    pub world: Arc<World>,
    /// The way to the API server.
    pub writer: Writer,
    /// What pools say to grants.
    pub board: Arc<Board>,
    /// The queues.
    pub triggers: Triggers,
    /// Brought keys.
    pub key_secrets: KeySecrets,
    /// Licenses of pools.
    pub license_secrets: LicenseSecrets,
    /// Lost nodes.
    pub out_of_service: OutOfService,
    /// What was seen of ledgers.
    pub generations: Arc<Generations>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// As the operator was started.
    pub settings: Settings,
    /// Failures in a row.
    pub failures: Failures,
    pub(super) recorder: Recorder,
    pub(super) usage: Mutex<UsageBudget<(&'static str, ObjectName)>>,
}

impl Context {
    /// Whether a view of usage may be written now; else when.
    pub fn may_write_usage(&self, kind: &'static str, object: &ObjectName) -> Result<(), Instant> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.ask(&(kind, object.clone()), Instant::now())
    }

    /// Logs a failure at the level of its category, and says when to try again. `passing`: a cache was behind; that is no
    /// failure, and settles in a moment.
    pub fn retry(
        &self,
        controller: &'static str,
        object: ObjectName,
        category: Category,
        passing: bool,
        error: &dyn std::error::Error,
    ) -> Action {
        const MOMENT: Duration = Duration::from_millis(500);
        if passing {
            debug!(controller, %object, %error, "tries again in a moment");
            return Action::requeue(MOMENT);
        }
        match category {
            Category::User => info!(controller, %object, %error, "waits for a change"),
            Category::Cluster => warn!(controller, %object, %error, "tries again"),
            Category::Bug => error!(controller, %object, %error, "cannot go on; please report this"),
        }
        Action::requeue(category.retry(self.failures.one_more(controller, object)))
    }

    /// Tells the readers of events what is new. A lost event loses no state, so a failure is only logged.
    pub async fn tell(&self, about: &ObjectReference, news: &[&Says]) {
        for says in news {
            let bad = match says.type_ {
                "LedgerSetBack" | EXPIRING => says.holds(),
                "Recovering" => false,
                _ => !says.holds(),
            };
            let event = Event {
                type_: if bad { EventType::Warning } else { EventType::Normal },
                reason: says.reason.clone(),
                note: Some(note(says)),
                action: says.type_.into(),
                secondary: None,
            };
            if let Err(error) = super::writer::deadline(self.recorder.publish(&event, about)).await {
                warn!(%error, reason = says.reason, "cannot write an event");
            }
        }
    }
}

/// An event's note has at most 1 kB.
fn note(says: &Says) -> String {
    const LONGEST: usize = 1000;
    let mut note = format!("{} is {}: {}", says.type_, says.status, says.message);
    let end = (0..=LONGEST.min(note.len())).rev().find(|&end| note.is_char_boundary(end));
    note.truncate(end.unwrap_or(0));
    note
}

/// How often each object failed in a row.
#[derive(Default)]
pub struct Failures(Mutex<std::collections::HashMap<(&'static str, ObjectName), u32>>);

impl Failures {
    /// Counts one more; gives how many there were before.
    pub fn one_more(&self, kind: &'static str, object: ObjectName) -> u32 {
        // Far above any real number; objects that are deleted while they fail are forgotten at the latest then.
        const MOST: usize = 10_000;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.clear();
        }
        let count = all.entry((kind, object)).or_default();
        *count += 1;
        *count - 1
    }

    /// It went well.
    pub fn none(&self, kind: &'static str, object: &ObjectName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(kind, object.clone()));
    }
}
