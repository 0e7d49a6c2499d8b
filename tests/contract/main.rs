//! The wire and the standalone server from outside, on a real process: no cluster needed.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;
mod queue;
mod seats;
mod standalone;
mod strangers;
mod time;
mod wire;
