//! What the operator counts, for Prometheus. Labels are of closed sets (controller, kind, verb, category), never names.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::error::Category;

/// How a write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Server-side apply.
    Apply,
    /// Create, where it may happen only once.
    Create,
    /// Apply of a status.
    Status,
    /// Delete.
    Delete,
    /// Merge patch of what is there.
    Change,
    /// Merge patch of a finalizer.
    Finalizer,
}

impl Verb {
    /// Label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Verb::Status => "status",
            Verb::Finalizer => "finalizer",
            other => other.as_str(),
        }
    }

    /// As in sentences.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Apply => "apply",
            Verb::Create => "create",
            Verb::Status => "write the status of",
            Verb::Delete => "delete",
            Verb::Change => "change",
            Verb::Finalizer => "set the finalizers of",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    controller: &'static str,
    category: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    verb: &'static str,
    kind: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watch {
    kind: String,
}

/// See the module.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    failures: Family<Failure, Counter>,
    seconds: Family<Reconcile, Histogram, fn() -> Histogram>,
    writes: Family<Write, Counter>,
    watch_failures: Family<Watch, Counter>,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds: Family<Reconcile, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new([0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 20.0]));
        let mut all = Self {
            registry: Registry::with_prefix("genie_lm_operator"),
            reconciles: Family::default(),
            failures: Family::default(),
            seconds,
            writes: Family::default(),
            watch_failures: Family::default(),
            leader: Gauge::default(),
        };
        let registry = &mut all.registry;
        registry.register("reconciles", "Reconciles that ended", all.reconciles.clone());
        registry.register("reconcile_failures", "Reconciles that failed", all.failures.clone());
        registry.register_with_unit(
            "reconcile",
            "How long a reconcile took",
            Unit::Seconds,
            all.seconds.clone(),
        );
        registry.register("api_writes", "Writes sent to the API server", all.writes.clone());
        registry.register(
            "watch_failures",
            "Watches that broke and were begun again",
            all.watch_failures.clone(),
        );
        registry.register("leader", "1 while this process acts", all.leader.clone());
        all
    }
}

impl Metrics {
    /// A reconcile ended.
    pub fn reconciled(&self, controller: &'static str, took: Duration, failure: Option<Category>) {
        let label = Reconcile { controller };
        self.reconciles.get_or_create(&label).inc();
        self.seconds.get_or_create(&label).observe(took.as_secs_f64());
        if let Some(category) = failure {
            self.failures.get_or_create(&Failure { controller, category: category.as_str() }).inc();
        }
    }

    /// A write was answered, or not.
    pub fn wrote(&self, verb: Verb, kind: &str, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.writes.get_or_create(&Write { verb: verb.label(), kind: kind.into(), result }).inc();
    }

    /// A watch broke.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_failures.get_or_create(&Watch { kind: kind.into() }).inc();
    }

    /// This process began or ended to act.
    pub fn leading(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// All of it, in OpenMetrics text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_can_be_read() {
        let metrics = Metrics::default();
        metrics.reconciled("pool", Duration::from_millis(3), Some(Category::User));
        metrics.wrote(Verb::Apply, "Service", true);
        let text = metrics.text().unwrap();
        for line in [
            r#"genie_lm_operator_reconcile_failures_total{controller="pool",category="user"} 1"#,
            r#"genie_lm_operator_api_writes_total{verb="apply",kind="Service",result="ok"} 1"#,
            r#"genie_lm_operator_reconcile_seconds_count{controller="pool"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
