//! genie-lm: a license manager that lives in Kubernetes. One binary: operator, server, client.
//!
//! Dependencies point one way: `cli → operator, server → compile, import, license, api → genie-ledger`.

pub mod api;
pub mod cli;
pub mod compile;
pub mod import;
pub mod license;
pub mod operator;
pub mod pki;
mod rewatch;
pub mod server;
mod vendor_keys;
