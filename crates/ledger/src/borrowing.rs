//! R9: borrowed units. A document works without a server until its end, so its entry is in the ledger
//! before it is issued, and its units are not used again before the removal of the entry is known.
//! Takes what clients ask and what writes were acknowledged; gives the entries to write, and answers.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::{Answer, Ticket};
use crate::limits::Limits;
use crate::mutant::{Mutant, mutated};
use crate::owner::{Completions, unavailable};
use crate::record::{Borrowed, UnixSeconds};
use crate::time::BootInstant;
use crate::types::{Generation, GrantId, LimitSet, OperationId};
use crate::waiting::{MAX_WAIT, MAX_WAITING};

/// Most entries of one ledger. One place is kept for what R11 adds.
pub const MAX_BORROWED: usize = 4_000;
/// Most bytes of all entries as JSON, about: 150 for each is enough for a few limits, and leaves the greater
/// part of etcd's 1.5 MB to promises and usage. A record that the store refuses would be refused for good.
const MAX_BORROWED_BYTES: usize = 150 * MAX_BORROWED;
/// How far a client's wall clock may be behind a server's: units are kept for so long after the end that
/// their document states. Machines with a time service differ by seconds.
pub const BORROW_SKEW: Duration = Duration::from_secs(5 * 60);

/// How many documents that are over are remembered, so that a late copy of their borrow does not lend them
/// again to nobody: calls are late by seconds.
const MAX_OVER: usize = 1_024;

/// A request for `count` units of each of `limits` until a moment by the wall clock, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BorrowRequest {
    /// The client's name for this call, and the name of the document; a retry carries the same.
    pub operation: OperationId,
    /// The grant it is made under.
    pub grant: GrantId,
    /// The limits that the document will touch.
    pub limits: LimitSet,
    /// Units it takes of each.
    pub count: NonZeroU32,
    /// The end that the document will state.
    pub until: UnixSeconds,
}

impl BorrowRequest {
    /// The id of the document: the operation's 32 hex digits. So a retry finds it in the ledger, whoever
    /// is the owner by then (R8).
    pub fn id(&self) -> Arc<str> {
        format!("{:032x}", self.operation.0).into()
    }
}

/// How an entry and the ledger stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It is to be written, or a write of it is undecided: it counts, and nobody has its document.
    Asked,
    /// It is known to be written.
    Lent,
    /// Its removal is to be written, or is undecided: it counts.
    Ending,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Loan {
    entry: Borrowed,
    stage: Stage,
}

/// A call that waits for an entry, or for the end of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asker {
    ticket: Ticket,
    id: Arc<str>,
    deadline: BootInstant,
}

/// The entries of a ledger, and the calls that wait for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Loans {
    loans: BTreeMap<Arc<str>, Loan>,
    /// The last ones that were removed.
    over: VecDeque<Arc<str>>,
    line: VecDeque<Asker>,
}

impl Loans {
    /// The entries of a record that is known to be written.
    pub(crate) fn new(recorded: &[Borrowed]) -> Self {
        let lent = |entry: &Borrowed| Loan { entry: entry.clone(), stage: Stage::Lent };
        let loans = recorded.iter().map(|entry| (entry.id.clone(), lent(entry))).collect();
        Self { loans, over: VecDeque::new(), line: VecDeque::new() }
    }

    /// All that count, undecided ones too.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Borrowed> {
        self.loans.values().filter(|loan| loan.counts()).map(|loan| &loan.entry)
    }

    /// The entries to write now.
    pub(crate) fn to_write(&self) -> Vec<Borrowed> {
        let stays = |loan: &&Loan| loan.stage != Stage::Ending;
        self.loans.values().filter(stays).map(|loan| loan.entry.clone()).collect()
    }

    /// Whether this entry may be added, where `most` units may be lent in all.
    pub(crate) fn room(&self, entry: &Borrowed, most: u32) -> bool {
        let (mut units, mut bytes) = (0, 0);
        for entry in self.loans.values().map(|loan| &loan.entry).chain([entry]) {
            units += u64::from(entry.count.get());
            bytes += size(entry);
        }
        units <= most.into() && bytes <= MAX_BORROWED_BYTES && self.loans.len() + 1 < MAX_BORROWED
    }

    pub(crate) fn holds(&self, id: &str) -> bool {
        self.loans.contains_key(id)
    }

    /// Whether this document is over, or about to be, and not to be issued any more.
    pub(crate) fn over(&self, id: &str) -> bool {
        match self.loans.get(id) {
            Some(loan) => loan.stage == Stage::Ending,
            None => self.over.iter().any(|over| **over == *id),
        }
    }

    /// From now on each write contains this entry.
    pub(crate) fn ask(&mut self, entry: Borrowed, limits: &mut Limits) {
        let loan = Loan { entry, stage: Stage::Asked };
        if loan.counts() {
            limits.lend(&loan.entry);
        }
        limits.pressed = true;
        self.loans.insert(loan.entry.id.clone(), loan);
    }

    /// From now on no write contains this entry; false if there is none.
    pub(crate) fn end(&mut self, id: &str, limits: &mut Limits) -> bool {
        let Some(loan) = self.loans.get_mut(id) else { return false };
        if loan.stage != Stage::Ending {
            let counted = loan.counts();
            loan.stage = Stage::Ending;
            if counted && !loan.counts() {
                limits.take_back(&loan.entry);
            }
            limits.pressed = true;
        }
        true
    }

    /// The caps have changed (R10): what nobody has yet, and what does not fit any more, is not issued.
    pub(crate) fn withdraw(&mut self, limits: &mut Limits) {
        let asked = self.loans.values().filter(|loan| loan.stage == Stage::Asked);
        let too_much = asked.filter(|loan| limits.overfull(&loan.entry));
        let too_much: Vec<_> = too_much.map(|loan| loan.entry.id.clone()).collect();
        for id in too_much {
            self.end(&id, limits);
        }
    }

    /// The wall clock shows `wall`: what has ended by then ends here too. What was lost without an end
    /// (R11) gets this one.
    pub(crate) fn tell_wall(
        &mut self,
        wall: UnixSeconds,
        lost_end: Option<UnixSeconds>,
        limits: &mut Limits,
    ) {
        let undated = self.loans.values_mut().find(|loan| loan.entry.ends == UnixSeconds::NEVER);
        if let (Some(loan), Some(end)) = (undated, lost_end) {
            loan.entry.ends = end;
            limits.pressed = true;
        }
        let wall = if mutated(Mutant::NoMarginForSkew) { wall.plus(BORROW_SKEW) } else { wall };
        let ended = self.loans.values().filter(|l| l.stage != Stage::Ending && l.entry.ends <= wall);
        let ended: Vec<_> = ended.map(|loan| loan.entry.id.clone()).collect();
        for id in ended {
            self.end(&id, limits);
        }
    }

    /// A record with these entries, ascending by id, is known to be written, and nothing sent before can
    /// be any more.
    pub(crate) fn acknowledged(&mut self, recorded: &[Borrowed], limits: &mut Limits) {
        self.loans.retain(|id, loan| {
            let written = recorded.binary_search_by(|entry| entry.id.cmp(id)).is_ok();
            let counted = loan.counts();
            match loan.stage {
                Stage::Asked if written => loan.stage = Stage::Lent,
                Stage::Ending if !written => {
                    if counted {
                        limits.take_back(&loan.entry);
                    }
                    self.over.push_back(id.clone());
                    return false;
                }
                _ => {}
            }
            if !counted && loan.counts() {
                limits.lend(&loan.entry);
            }
            true
        });
        self.over.drain(..self.over.len().saturating_sub(MAX_OVER));
    }

    pub(crate) fn line_full(&self) -> bool {
        self.line.len() >= MAX_WAITING
    }

    /// A call waits for what becomes of this entry.
    pub(crate) fn wait(&mut self, now: BootInstant, ticket: Ticket, id: Arc<str>) {
        self.line.push_back(Asker { ticket, id, deadline: now + MAX_WAIT });
    }

    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.line.retain(|asker| asker.ticket != ticket);
    }

    /// What there is to say of an entry; None: nothing is known yet.
    pub(crate) fn answer(&self, id: &str, generation: Generation) -> Option<Answer> {
        match self.loans.get(id) {
            None => Some(Answer::Returned),
            Some(Loan { entry, stage: Stage::Lent }) => {
                Some(Answer::Lent { borrowed: entry.clone(), generation })
            }
            Some(Loan { entry, stage: Stage::Asked }) if mutated(Mutant::IssuedBeforeKnown) => {
                Some(Answer::Lent { borrowed: entry.clone(), generation })
            }
            Some(_) => None,
        }
    }

    /// Answers everybody in line of whose entry something is known, and who waited too long.
    pub(crate) fn settle(&mut self, now: BootInstant, generation: Generation, done: &mut Completions) {
        for asker in std::mem::take(&mut self.line) {
            match self.answer(&asker.id, generation) {
                Some(answer) => done.push_back((asker.ticket, answer)),
                None if asker.deadline <= now => done.push_back((asker.ticket, unavailable())),
                None => self.line.push_back(asker),
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<BootInstant> {
        self.line.front().map(|asker| asker.deadline)
    }

    /// Everybody in line; it is empty then.
    pub(crate) fn leave(&mut self) -> impl Iterator<Item = Ticket> + use<> {
        std::mem::take(&mut self.line).into_iter().map(|asker| asker.ticket)
    }
}

/// As JSON: keys, numbers and punctuation are 80 bytes.
fn size(entry: &Borrowed) -> usize {
    80 + entry.id.len() + entry.limits.iter().map(|name| name.len() + 3).sum::<usize>()
}

impl Loan {
    fn counts(&self) -> bool {
        match self.stage {
            Stage::Asked => !mutated(Mutant::UnknownBorrowUncounted),
            Stage::Lent => true,
            Stage::Ending => !mutated(Mutant::ReturnedReusedAtOnce),
        }
    }
}
