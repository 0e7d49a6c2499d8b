//! What a process that does not lead remembers of ledgers: after an etcd restore it may be the one that leads (R11).

use std::convert::Infallible;

use futures::TryStreamExt;
use jiff::Timestamp;
use kube::{
    Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tracing::warn;

use super::{
    generations::{Generations, Told},
    world::within,
};
use crate::{api::SeatLedger, compile::ObjectName, rewatch::Again};

/// Watches the ledgers of a namespace, or all, until it is dropped.
pub async fn remember(client: Client, namespace: Option<&str>, generations: &Generations) -> Infallible {
    let ledgers = within::<SeatLedger>(client, namespace);
    let mut events = std::pin::pin!(watcher(ledgers, watcher::Config::default()).backoff(Again));
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(ledger) | Event::InitApply(ledger))) => {
                generations.saw(ObjectName::of(&ledger), Told::default(), ledger.record(), Timestamp::now());
            }
            // One that was let go, or that somebody took away: then the plan and the pool's status remember it.
            Ok(Some(Event::Delete(ledger))) => generations.forget(&ObjectName::of(&ledger)),
            Ok(_) => {}
            Err(error) => warn!(%error, "the watch of ledgers broke; it is begun again"),
        }
    }
}
