//! SeatLedger: what was given, and who decides. Created empty by the operator, written by the pool's owner alone.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was given, and who decides: the durable record of seat-protocol. Named after the product. Not for hands.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "genie-lm.io",
    version = "v1alpha1",
    kind = "SeatLedger",
    plural = "seatledgers",
    shortname = "sledger",
    category = "genie",
    namespaced,
    status = "SeatLedgerStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"GENERATION","type":"integer","jsonPath":".status.record.generation"}"#,
    printcolumn = r#"{"name":"OWNER","type":"string","jsonPath":".status.record.holder.podName"}"#,
    printcolumn = r#"{"name":"RECOVERING","type":"boolean","jsonPath":".status.record.recovering"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.record) || (has(self.status) && has(self.status.record))")
        .message("the record of a SeatLedger cannot be removed"),
    // The rules below say nothing where there is no record, or was none.
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.record) || !has(self.status) || !has(self.status.record) || self.status.record.generation >= oldSelf.status.record.generation")
        .message("the generation of a SeatLedger never shrinks"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.record) || !has(self.status) || !has(self.status.record) || self.status.record.holder == oldSelf.status.record.holder || self.status.record.generation > oldSelf.status.record.generation")
        .message("a SeatLedger changes its holder only with a larger generation"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.record) || !has(self.status) || !has(self.status.record) || self.status.record.generation > oldSelf.status.record.generation || self.status.record.seq > oldSelf.status.record.seq || self.status.record == oldSelf.status.record")
        .message("each change of a SeatLedger has a larger seq"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.record) || !has(self.status) || !has(self.status.record) || self.status.record.generation > oldSelf.status.record.generation || oldSelf.status.record.recovering || !self.status.record.recovering")
        .message("a SeatLedger begins a recovery only with a larger generation"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.record) || !has(self.status) || !has(self.status.record) || self.status.record.generation > oldSelf.status.record.generation || !has(oldSelf.status.record.sealed) || (has(self.status.record.sealed) && self.status.record.sealed == oldSelf.status.record.sealed)")
        .message("a seal of a SeatLedger stays until there is a larger generation"),
    validation = Rule::new("!has(self.status) || !has(self.status.record) || !has(self.status.record.sealed) || (self.status.record.sealed.generation == self.status.record.generation && self.status.record.sealed.nonce == self.status.record.holder.nonce)")
        .message("a SeatLedger is sealed by its own holder, in its own generation")
)]
#[serde(rename_all = "camelCase")]
pub struct SeatLedgerSpec {
    /// What it counts.
    pub product: String,
}

/// What was given; its field names and meanings are those of the seat protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatLedgerStatus {
    /// The record; absent until a first owner has written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<genie_ledger::Record>,
}

impl SeatLedger {
    /// What the owner wrote last; None: nobody has written yet.
    pub fn record(&self) -> Option<&genie_ledger::Record> {
        self.status.as_ref()?.record.as_ref()
    }
}
