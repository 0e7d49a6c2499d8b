//! The whole of genie-lm with real pods, as a user installs and uses it: helm, kubectl, applications in containers.
//!
//! `make e2e` starts nodes for these tests, or uses the cluster of KUBECONFIG. They run one after the other: each
//! would disturb what another measures.
#![allow(missing_docs, clippy::unwrap_used)]

mod faults;
mod hands;
mod journey;
mod judge;
mod kit;
mod outage;
mod quiet;
mod report;
mod store;
mod witness;
