//! The session table of an owner that has stopped, on its way to its successor (R6a): in messages, and back.
//!
//! Whoever takes a table gives out what it does not name, so a table is whole, and as its owner made it, or refused.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use genie_ledger::{
    Generation, GrantId, HandedSession, Handover, LimitId, LimitSet, MAX_SETTING_DURATION, Nonce,
    OperationId, Sealed, SessionId, stretch,
};
use genie_proto::peer::{self, HandOverRequest, SessionTable};
use jiff::Timestamp;
use prost::Message;
use tonic::Status;

use super::pool::Meta;
use super::request;
use super::words;
use crate::license::LedgerId;

/// Sessions of one table: what a server is measured with. A larger one is recovered from, as after a crash.
pub(crate) const MAX_SESSIONS: usize = 100_000;
/// Sessions of one message: some 60 kB, and at the most 2.5 MB.
pub(crate) const MAX_MESSAGE: usize = 256;
/// Bytes of one table, a multiple of what [`MAX_SESSIONS`] honest sessions take.
const MAX_BYTES: usize = 64 << 20;
/// Features of one session: as many as a plan has.
const MAX_FEATURES: usize = 128;
/// Longest feature, as in the CRDs.
const MAX_NAME: usize = 63;
/// Longest nonce; ours are UUIDs.
const MAX_NONCE: usize = 64;

/// The table of a stopped owner.
pub(crate) type Table = Handover<Arc<Meta>>;

/// The messages that carry `table`.
pub(crate) fn messages(
    ledger: &LedgerId,
    table: Arc<Table>,
) -> impl Stream<Item = HandOverRequest> + Send + 'static {
    let header = SessionTable {
        ledger: ledger.to_string(),
        generation: table.sealed.generation.0,
        nonce: table.sealed.nonce.0.to_string(),
        sessions: u32::try_from(table.sessions.len()).unwrap_or(u32::MAX),
    };
    let first = HandOverRequest { table: Some(header), sessions: Vec::new() };
    let chunks = (0..table.sessions.len()).step_by(MAX_MESSAGE).map(move |from| {
        let sessions = table.sessions.iter().skip(from).take(MAX_MESSAGE);
        HandOverRequest { table: None, sessions: sessions.map(to_wire).collect() }
    });
    futures::stream::iter(std::iter::once(first).chain(chunks))
}

fn to_wire(session: &HandedSession<Arc<Meta>>) -> peer::HandedSession {
    let operation = |id: OperationId| id.0.to_be_bytes().to_vec();
    // A longer one is refused there.
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    peer::HandedSession {
        session: session.session.0,
        grant: session.grant.0,
        count: session.count.get(),
        limits: session.limits.iter().map(|limit| limit.0).collect(),
        opened: session.opened.map(operation).unwrap_or_default(),
        last: operation(session.last),
        counter: session.counter,
        revoked: session.revoked,
        left_ns: nanos(session.left),
        counted_ns: nanos(session.counted),
        client: session.meta.client.clone(),
        features: session.meta.features.clone(),
        started: Some(words::timestamp(session.meta.started)),
        adopted: session.meta.adopted,
    }
}

fn malformed(what: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("not a session table: {what}"))
}

/// The first of the `messages`: what table it is.
pub(crate) async fn header<S>(messages: &mut S) -> Result<SessionTable, Status>
where
    S: Stream<Item = Result<HandOverRequest, Status>> + Unpin,
{
    let first = messages.next().await.ok_or_else(|| malformed("there is no message"))??;
    let header = first.table.ok_or_else(|| malformed("the first message does not say what it is"))?;
    let checks = [
        (first.sessions.is_empty(), "the first message has sessions"),
        (header.generation > 0, "generation is 0"),
        ((1..=MAX_NONCE).contains(&header.nonce.len()), "nonce must have 1 to 64 bytes"),
        (header.sessions as usize <= MAX_SESSIONS, "it has more than 100,000 sessions"),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(malformed(what)),
        None => Ok(header),
    }
}

/// The rest of the `messages`: the table that `header` speaks of.
pub(crate) async fn table<S>(header: SessionTable, messages: &mut S) -> Result<Table, Status>
where
    S: Stream<Item = Result<HandOverRequest, Status>> + Unpin,
{
    let announced = header.sessions as usize;
    let (mut sessions, mut known, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
    while let Some(message) = messages.next().await.transpose()? {
        bytes += message.encoded_len();
        let room = MAX_MESSAGE.min(announced - sessions.len());
        let checks = [
            (message.table.is_none(), "a second message says what it is"),
            (
                message.sessions.len() <= room,
                "a message has more than 256 sessions, or all have more than announced",
            ),
            (bytes <= MAX_BYTES, "it is larger than 64 MiB"),
        ];
        if let Some((_, what)) = checks.into_iter().find(|(holds, _)| !holds) {
            return Err(malformed(what));
        }
        for session in message.sessions {
            let session = from_wire(session).map_err(malformed)?;
            if !known.insert(session.session) {
                return Err(malformed(format_args!("session {} is in it twice", session.session)));
            }
            sessions.push(session);
        }
    }
    if sessions.len() < announced {
        return Err(malformed(format_args!("{} of {announced} sessions came", sessions.len())));
    }
    let sealed = Sealed { generation: Generation(header.generation), nonce: Nonce(header.nonce.into()) };
    Ok(Handover { sealed, sessions })
}

fn from_wire(session: peer::HandedSession) -> Result<HandedSession<Arc<Meta>>, String> {
    let operation = |id: &[u8]| {
        Ok::<_, String>(OperationId(u128::from_be_bytes(
            id.try_into().map_err(|_| format!("an operation id has {} bytes", id.len()))?,
        )))
    };
    let limits = LimitSet::new(session.limits.into_iter().map(LimitId)).map_err(|error| error.to_string())?;
    if limits.is_empty() {
        return Err("a session touches no limit".into());
    }
    let (left, counted) = (Duration::from_nanos(session.left_ns), Duration::from_nanos(session.counted_ns));
    if left > counted || counted > stretch(MAX_SETTING_DURATION) {
        return Err(format!("a session is counted for {counted:?} and valid for {left:?}"));
    }
    request::client(session.client.as_ref()).map_err(|error| error.to_string())?;
    if session.features.len() > MAX_FEATURES || session.features.iter().any(|name| name.len() > MAX_NAME) {
        return Err("a session has more than 128 features, or one of more than 63 bytes".into());
    }
    let started = session.started.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    let meta = Meta {
        client: session.client,
        features: session.features,
        started: started.ok_or("a session does not say when it started")?,
        adopted: session.adopted,
    };
    Ok(HandedSession {
        session: SessionId(session.session),
        grant: GrantId(session.grant),
        count: NonZeroU32::new(session.count).ok_or("a session has the count 0")?,
        limits,
        opened: Some(&session.opened).filter(|id| !id.is_empty()).map(|id| operation(id)).transpose()?,
        last: operation(&session.last)?,
        counter: session.counter,
        revoked: session.revoked,
        left,
        counted,
        meta: Arc::new(meta),
    })
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
