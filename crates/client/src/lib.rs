//! The Rust SDK of genie-lm: asks a server on port 1453 whether this application may run, and holds its seat.

mod key;

pub use key::{ActivationKey, KeyError};
