//! The Rust SDK of genie-lm: asks a server on port 1453 whether this application may run, and holds its seat.
//!
//! ```no_run
//! # async fn app() -> Result<(), genie_client::Error> {
//! use genie_client::{Checkout, Client, Config, Given, identity};
//!
//! let client = Client::new(Config::discover(Given::default())?);
//! let want = Checkout { features: vec!["render".into()], client: identity("1.0"), ..Checkout::default() };
//! let seat = client.checkout(want).await?;
//! tokio::select! {
//!     () = async { /* the work */ } => seat.checkin().await?,
//!     loss = seat.lost() => eprintln!("stopping: {loss}"),
//! }
//! # Ok(())
//! # }
//! ```

mod chance;
mod client;
mod clock;
mod config;
mod connect;
mod error;
mod identity;
mod key;
mod line;
mod retry;
#[cfg(test)]
mod seams_tests;
mod seat;
mod session;
#[cfg(test)]
mod testing;

pub use client::{Checkout, Client};
pub use clock::BootInstant;
pub use config::{Ca, Config, ConfigError, Credential, DEFAULT_PORT, Given, MAX_CREDENTIAL, Server};
pub use error::{Denied, Error, Judged, Transport};
/// The messages of the wire.
pub use genie_proto::v1;
pub use identity::identity;
pub use key::{ActivationKey, KeyError};
pub use seat::{Loss, State};
pub use session::Session;

/// What a client takes from the world around it, for simulations that bring their own: no socket, no clock and no
/// random source of the machine is used by [`Client::with_seams`]. Not a part of the SDK: it may change.
#[doc(hidden)]
pub mod seams {
    pub use crate::{
        chance::Chance,
        client::Seams,
        clock::{Clock, Sleep},
        line::{ConnectFailure, Dial, Line},
    };
}
