//! What a server counts, in OpenMetrics. Label values come from fixed sets only.

use genie_proto::v1::{Code, Verdict};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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

/// One for a process.
pub(crate) struct Metrics {
    registry: Registry,
    verdicts: Family<VerdictLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    /// Open connections on the client port.
    pub(crate) connections: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("genie_lm");
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
        Self { registry, verdicts, refused, connections }
    }

    pub(crate) fn verdict(&self, call: &'static str, verdict: Verdict, code: Code) {
        let labels = VerdictLabels { call, verdict: verdict.as_str_name(), code: code.as_str_name() };
        self.verdicts.get_or_create(&labels).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// The exposition text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
