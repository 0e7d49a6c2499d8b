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
//!
//! # When the server is away
//! A seat is valid until a moment that only a renewal moves on. Renewals begin after a third of that time; one that
//! fails is tried again, with another replica of the server, until that moment. Meanwhile the application sees
//! [`State::CutOff`]: it may go on, and may warn its user. If nothing helps until then, it sees [`State::Lost`], which
//! is for good, whatever the server says later: it saves its work and ends, or takes a new seat.
//!
//! It sees that as a callback ([`Session::on_change`], [`Session::on_loss`]), as a stream ([`Session::states`]), as a
//! future ([`Session::lost`]), or by asking ([`Session::state`], [`Session::remaining`]), which is right even just after
//! the machine was suspended:
//!
//! ```
//! use genie_client::{Session, State};
//! use tokio_stream::StreamExt;
//!
//! fn watch_over(seat: &Session) {
//!     seat.on_loss(|loss| eprintln!("saving, then stopping: {loss}"));
//! }
//!
//! async fn tell_the_user(seat: &Session) {
//!     let mut states = seat.states();
//!     while let Some(state) = states.next().await {
//!         match state {
//!             State::Valid { .. } => println!("licensed"),
//!             State::CutOff { why, .. } => {
//!                 println!("licensed for another {} s, and then not: {why}", seat.remaining().as_secs());
//!             }
//!             State::Lost(loss) => println!("not licensed anymore: {loss}"),
//!         }
//!     }
//! }
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
pub use config::{Ca, Config, ConfigError, Credential, DEFAULT_PORT, Given, MAX_CREDENTIAL, Server, Value};
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
