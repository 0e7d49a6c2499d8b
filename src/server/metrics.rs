//! What a server counts, in OpenMetrics. Label values come from fixed sets only, but for the pools that it serves.

use std::fmt;
use std::sync::Arc;

use genie_proto::v1::{Code, Verdict};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::directory::Directory;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    call: &'static str,
    verdict: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassedLabels {
    outcome: &'static str,
}

/// What became of a call that was passed on to an owner.
pub(crate) enum Passed {
    /// It was answered.
    Answered,
    /// The owner was not reached, or was none.
    Unanswered,
    /// Another owner was known before the answer came.
    OwnerChanged,
}

/// One for a process.
pub(crate) struct Metrics {
    registry: Registry,
    verdicts: Family<VerdictLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    connections: Gauge,
    passed: Family<PassedLabels, Counter>,
    waiting: Gauge,
}

impl Metrics {
    pub(crate) fn new(pools: Arc<Directory>) -> Self {
        let mut registry = Registry::with_prefix("genie_lm");
        registry.register_collector(Box::new(Ends(pools)));
        let verdicts = Family::default();
        registry.register("verdicts", "Verdicts given, by call, verdict and code", verdicts.clone());
        let refused = Family::default();
        registry.register(
            "connections_refused",
            "Connections ended before a call: tls, timeout, full",
            refused.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections", "Open client connections", connections.clone());
        let passed = Family::default();
        registry.register(
            "calls_passed_on",
            "Seat operations sent to the owner, by outcome: answered, unanswered, owner_changed",
            passed.clone(),
        );
        let waiting = Gauge::default();
        registry.register("calls_waiting", "Seat operations that wait for an owner", waiting.clone());
        Self { registry, verdicts, refused, connections, passed, waiting }
    }

    pub(crate) fn verdict(&self, call: &'static str, verdict: Verdict, code: Code) {
        let labels = VerdictLabels { call, verdict: verdict.as_str_name(), code: code.as_str_name() };
        self.verdicts.get_or_create(&labels).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// Counts an open connection until the answer is dropped.
    pub(crate) fn connected(&self) -> Counted {
        Counted::of(&self.connections)
    }

    pub(crate) fn passed(&self, passed: Passed) {
        let outcome = match passed {
            Passed::Answered => "answered",
            Passed::Unanswered => "unanswered",
            Passed::OwnerChanged => "owner_changed",
        };
        self.passed.get_or_create(&PassedLabels { outcome }).inc();
    }

    /// Counts a call that waits for an owner until the answer is dropped.
    pub(crate) fn waiting(&self) -> Counted {
        Counted::of(&self.waiting)
    }

    /// The exposition text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// When each pool ends, read when it is asked for.
struct Ends(Arc<Directory>);

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends")
    }
}

impl Collector for Ends {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "When the pool ends, since 1970, a grace period not included; absent: never";
        let mut ends = encoder.encode_descriptor(
            "license_end_timestamp",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for pool in self.0.pools() {
            let view = pool.view();
            let Some(end) = &view.plan.validity.not_after else { continue };
            let labels = [("namespace", &*pool.id.namespace), ("product", &*pool.id.product)];
            ConstGauge::new(end.0.as_second()).encode(ends.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Something that is there as long as this is kept.
pub(crate) struct Counted(Gauge);

impl Counted {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
