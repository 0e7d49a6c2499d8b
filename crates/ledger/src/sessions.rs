//! The table of an owner's live sessions: by id, by the operation that opened them, and by when they
//! run out. Knows nothing of limits and promises.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::limits::Slots;
use crate::time::BootInstant;
use crate::types::{GrantId, OperationId, SessionId};

/// One live session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session<M> {
    pub(crate) grant: GrantId,
    pub(crate) count: NonZeroU32,
    pub(crate) slots: Slots,
    /// The checkout that opened it here; None: adopted.
    pub(crate) opened: Option<OperationId>,
    /// The last call that was answered with a token.
    pub(crate) last: OperationId,
    pub(crate) counter: u32,
    /// Whether an earlier owner granted it.
    pub(crate) adopted: bool,
    pub(crate) revoked: bool,
    /// The end of the last token, unstretched.
    pub(crate) until: BootInstant,
    /// When this owner's clock says that every token of it has run out (Q).
    pub(crate) expires: BootInstant,
    pub(crate) meta: M,
}

/// A session, and the moment under which it is queued: never after it expires.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry<M> {
    session: Session<M>,
    queued: BootInstant,
}

/// All live sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sessions<M> {
    entries: BTreeMap<SessionId, Entry<M>>,
    operations: BTreeMap<OperationId, SessionId>,
    queue: BTreeSet<(BootInstant, SessionId)>,
}

impl<M> Sessions<M> {
    pub(crate) fn new() -> Self {
        Self { entries: BTreeMap::new(), operations: BTreeMap::new(), queue: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn insert(&mut self, id: SessionId, session: Session<M>) {
        if let Some(operation) = session.opened {
            self.operations.insert(operation, id);
        }
        let queued = session.expires;
        self.queue.insert((queued, id));
        self.entries.insert(id, Entry { session, queued });
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session<M>> {
        self.entries.get(&id).map(|entry| &entry.session)
    }

    /// For a renewal; `expires` may only grow.
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session<M>> {
        self.entries.get_mut(&id).map(|entry| &mut entry.session)
    }

    pub(crate) fn opened_by(&self, operation: OperationId) -> Option<SessionId> {
        self.operations.get(&operation).copied()
    }

    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Session<M>> {
        let Entry { session, queued } = self.entries.remove(&id)?;
        self.queue.remove(&(queued, id));
        if let Some(operation) = session.opened {
            self.operations.remove(&operation);
        }
        Some(session)
    }

    /// Removes one session that has run out. A renewal leaves the queue alone, so a queued moment may
    /// be early: the session then goes back to its true place.
    pub(crate) fn pop_expired(&mut self, now: BootInstant) -> Option<(SessionId, Session<M>)> {
        while let Some(&(queued, id)) = self.queue.first()
            && queued <= now
        {
            let expires = self.get(id).map(|session| session.expires);
            match expires {
                Some(expires) if expires > now => {
                    self.queue.pop_first();
                    self.queue.insert((expires, id));
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.queued = expires;
                    }
                }
                _ => return self.remove(id).map(|session| (id, session)),
            }
        }
        None
    }

    /// The earliest moment at which a session may have run out.
    pub(crate) fn next_expiry(&self) -> Option<BootInstant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// All sessions; the table is empty then.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (SessionId, Session<M>)> + use<M> {
        let entries = std::mem::replace(self, Self::new()).entries;
        entries.into_iter().map(|(id, entry)| (id, entry.session))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session<M>)> {
        self.entries.iter().map(|(id, entry)| (*id, &entry.session))
    }
}
