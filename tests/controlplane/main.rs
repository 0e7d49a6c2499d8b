//! The operator against a real API server: what users see with kubectl, and what servers see as their plan.
//!
//! `make controlplane` starts an API server for these tests. Each test has a namespace and an operator of its own.
#![allow(missing_docs, clippy::unwrap_used)]

mod crds;
mod deletion;
mod elections;
mod evidence;
mod grants;
mod groups;
mod handovers;
mod ledgers;
mod licenses;
mod others;
mod permissions;
mod pools;
mod refusals;
mod rotation;
mod servers;
mod silence;
mod support;
mod vendor;
