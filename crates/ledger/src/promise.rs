//! An owner's writes of the ledger (R1, R4's end, R10): what to record and when, what became of a
//! write that got no clear answer, and which promises and durations may be used meanwhile.

use std::time::Duration;

use crate::borrowing::Loans;
use crate::canonical::Tally;
use crate::latest::{RAISE_EVERY, raised};
use crate::limits::Limits;
use crate::mutant::{Mutant, mutated};
use crate::owner::Context;
use crate::record::{ObservedLedger, Record, Sealed};
use crate::settings::Settings;
use crate::status::StopReason;
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::tenure::RETRY_PAUSE;
use crate::time::{BootInstant, stretch};
use crate::types::Version;

/// Usage and lower promises are written at most this often, so that a busy ledger costs the API
/// server no more than an idle one's Lease.
const COALESCE: Duration = Duration::from_secs(5);

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Read(RequestId),
    Write(RequestId, Box<Record>),
}

/// What a reply meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// The reply was to another request, or decides nothing.
    Undecided,
    /// The record sent is the ledger's now.
    Acknowledged,
    /// The ledger is another owner's.
    Lost(StopReason),
}

/// The ledger in its owner's hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Book {
    version: Version,
    /// The last record known to be written.
    record: Record,
    /// The borrowed entries as the next write says them (R9).
    pub(crate) loans: Loans,
    /// The last seq used in any write.
    seq: Tally,
    /// The least horizon and ttl that the record may say now.
    horizon: Duration,
    ttl: Duration,
    /// When the horizon or ttl in use last changed (R10).
    used_since: BootInstant,
    flight: Option<Flight>,
    /// The version may be another by now: read before the next write.
    doubt: bool,
    /// A write without a clear answer may still take effect, until another is acknowledged.
    undecided: bool,
    /// The owner has stopped for good; never taken back (R6a).
    sealed: Option<Sealed>,
    /// No request before this.
    pause: BootInstant,
    last_write: BootInstant,
    /// When the latest time was last raised; None: not by this owner, or its write got no clear answer.
    raised: Option<BootInstant>,
}

impl Book {
    /// The ledger just fenced by `record`, sent at `sent`, which gave it this version.
    pub(crate) fn new(version: Version, record: Record, sent: BootInstant, settings: &Settings) -> Self {
        Self {
            version,
            loans: Loans::new(&record.borrowed),
            seq: Tally(record.seq),
            horizon: Duration::from_millis(record.horizon_ms),
            ttl: Duration::from_millis(record.ttl_ms),
            used_since: sent,
            flight: None,
            doubt: false,
            undecided: false,
            sealed: None,
            pause: sent,
            last_write: sent,
            raised: settings.keeps_time().then_some(sent),
            record,
        }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The owner has stopped, and its session table is out of its hands: the next write says so.
    pub(crate) fn seal(&mut self, now: BootInstant) {
        let Record { generation, holder, .. } = &self.record;
        self.sealed = Some(Sealed { generation: *generation, nonce: holder.nonce.clone() });
        self.pause = self.pause.min(now);
    }

    /// Whether this request is one of the ledger's, under way.
    pub(crate) fn awaits(&self, id: RequestId) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.is(id))
    }

    /// X as it may be used: smaller at once, larger once recorded.
    pub(crate) fn horizon(&self, settings: &Settings) -> Duration {
        settings.horizon().min(self.horizon)
    }

    /// The ttl as it may be used: smaller at once, larger once recorded.
    pub(crate) fn ttl(&self, settings: &Settings) -> Duration {
        settings.ttl().min(self.ttl)
    }

    /// The settings change from `old` to `new`.
    pub(crate) fn configure(&mut self, now: BootInstant, old: &Settings, new: &Settings) {
        if self.horizon(old) != self.horizon(new) || self.ttl(old) != self.ttl(new) {
            self.used_since = now;
        }
    }

    /// When a smaller horizon or ttl may be recorded: every token under a larger one has run out.
    fn may_shrink(&self) -> BootInstant {
        self.used_since + stretch(Duration::from_millis(self.record.ttl_ms))
    }

    /// When something other than a change in the limits calls for a write.
    fn next_call(&self, settings: &Settings, recovery_ends: Option<BootInstant>) -> Option<BootInstant> {
        let planned = (millis(settings.horizon()), millis(settings.ttl()));
        let recorded = (self.record.horizon_ms, self.record.ttl_ms);
        if planned.0 > recorded.0 || planned.1 > recorded.1 || self.sealed != self.record.sealed {
            return Some(self.pause);
        }
        recovery_ends.or((planned != recorded).then(|| self.may_shrink()))
    }

    /// When the latest time is to be raised.
    fn raise_at(&self, settings: &Settings) -> Option<BootInstant> {
        settings.keeps_time().then(|| self.raised.map_or(self.pause, |at| at + RAISE_EVERY))
    }

    /// When [`request`](Self::request) will have something; None: after a reply or a change.
    pub(crate) fn next_due(
        &self,
        limits: &Limits,
        settings: &Settings,
        recovery_ends: Option<BootInstant>,
    ) -> Option<BootInstant> {
        if self.flight.is_some() {
            return None;
        }
        if self.doubt || self.undecided || limits.pressed {
            return Some(self.pause);
        }
        let look = limits.changed.then(|| self.last_write + COALESCE);
        let call = self.next_call(settings, recovery_ends);
        look.into_iter().chain(call).chain(self.raise_at(settings)).min().map(|at| at.max(self.pause))
    }

    /// The next request, if one is due. A write is in force from now on where it lowers something.
    pub(crate) fn request(
        &mut self,
        cx: Context<'_>,
        id: RequestId,
        limits: &mut Limits,
        recovery_ends: Option<BootInstant>,
    ) -> Option<StoreRequest> {
        let (now, settings) = (cx.now, cx.settings);
        if self.next_due(limits, settings, recovery_ends).is_none_or(|due| due > now) {
            return None;
        }
        if self.doubt {
            self.flight = Some(Flight::Read(id));
            return Some(StoreRequest::ReadLedger);
        }
        let raise = self.raise_at(settings).is_some_and(|at| at <= now);
        let latest_time =
            if raise { raised(self.record.latest_time, cx.wall) } else { self.record.latest_time };
        self.raised = if raise { Some(now) } else { self.raised };
        let record = Record { latest_time, ..self.compose(now, limits, settings, recovery_ends) };
        limits.pressed = false;
        let same = Record { seq: self.record.seq, ..record.clone() } == self.record;
        if same && !self.undecided {
            return None;
        }
        self.seq = Tally(record.seq);
        self.last_write = now;
        self.horizon = self.horizon.min(Duration::from_millis(record.horizon_ms));
        self.ttl = self.ttl.min(Duration::from_millis(record.ttl_ms));
        limits.sent(&record.promises);
        self.flight = Some(Flight::Write(id, Box::new(record.clone())));
        Some(StoreRequest::WriteLedger { expect: self.version.clone(), record })
    }

    fn compose(
        &self,
        now: BootInstant,
        limits: &mut Limits,
        settings: &Settings,
        recovery_ends: Option<BootInstant>,
    ) -> Record {
        let full_look = now >= self.last_write + COALESCE;
        if full_look {
            limits.changed = false;
        }
        let shrink =
            recovery_ends.is_none() && (now >= self.may_shrink() || mutated(Mutant::ShorterRecordedAtOnce));
        let durable = |planned: Duration, recorded: u64| match millis(planned) {
            planned if planned < recorded && !shrink => recorded,
            planned => planned,
        };
        Record {
            seq: self.seq.0 + 1,
            sealed: self.sealed.clone(),
            recovering: recovery_ends.is_some_and(|end| now < end),
            promises: limits.promises(full_look),
            horizon_ms: durable(settings.horizon(), self.record.horizon_ms),
            ttl_ms: durable(settings.ttl(), self.record.ttl_ms),
            borrowed: self.loans.to_write(),
            usage: limits.usage(),
            clones: limits.clones,
            queued: limits.queued,
            ..self.record.clone()
        }
    }

    pub(crate) fn reply(
        &mut self,
        now: BootInstant,
        id: RequestId,
        reply: StoreReply,
        limits: &mut Limits,
    ) -> Recorded {
        match self.flight.take_if(|flight| flight.is(id)) {
            Some(Flight::Write(_, record)) => self.wrote(now, *record, reply, limits),
            Some(Flight::Read(_)) => self.read(now, reply),
            None => Recorded::Undecided,
        }
    }

    fn wrote(
        &mut self,
        now: BootInstant,
        record: Record,
        reply: StoreReply,
        limits: &mut Limits,
    ) -> Recorded {
        if let StoreReply::Written { version } = reply {
            limits.acknowledged(&record.promises);
            self.loans.acknowledged(&record.borrowed, limits);
            self.version = version;
            self.horizon = Duration::from_millis(record.horizon_ms);
            self.ttl = Duration::from_millis(record.ttl_ms);
            self.record = record;
            self.undecided = false;
            return Recorded::Acknowledged;
        }
        if mutated(Mutant::UnknownRaiseCounts) && reply == StoreReply::Unknown {
            limits.acknowledged(&record.promises);
        }
        self.doubt = true;
        self.undecided = true;
        self.raised = None;
        limits.changed = true;
        self.pause = if reply == StoreReply::Conflict { now } else { now + RETRY_PAUSE };
        Recorded::Undecided
    }

    fn read(&mut self, now: BootInstant, reply: StoreReply) -> Recorded {
        let StoreReply::Ledger(found) = reply else {
            self.pause = now + RETRY_PAUSE;
            return Recorded::Undecided;
        };
        match found {
            Some(ObservedLedger { version, record: Some(record) }) if self.wrote_it(&record) => {
                self.version = version;
                self.hear_time(&record);
                self.seq.0 = self.seq.0.max(record.seq);
                // Set back to what this owner wrote before (R11): it says again what holds.
                self.undecided |= record.seq < self.record.seq;
                self.doubt = false;
                self.pause = now;
                Recorded::Undecided
            }
            _ => Recorded::Lost(StopReason::Fenced),
        }
    }

    /// The latest time is the one thing that somebody else may change: take it away, where a clock was wrong.
    fn hear_time(&mut self, found: &Record) {
        if found.seq > self.record.seq {
            self.record.latest_time = found.latest_time;
        }
    }

    fn wrote_it(&self, found: &Record) -> bool {
        found.generation == self.record.generation && found.holder.nonce == self.record.holder.nonce
    }

    /// A watch may be late. A newer generation is proof all the same; anything else that is not this owner's newest
    /// record makes it look for itself: the ledger may have been set back.
    pub(crate) fn observe(&mut self, now: BootInstant, ledger: Option<&ObservedLedger>) -> Recorded {
        let record = ledger.and_then(|l| l.record.as_ref());
        match record {
            Some(found) if found.generation > self.record.generation => Recorded::Lost(StopReason::Fenced),
            Some(found) if self.wrote_it(found) && found.seq >= self.record.seq => {
                self.hear_time(found);
                Recorded::Undecided
            }
            _ => {
                if !self.doubt && self.flight.is_none() {
                    self.doubt = true;
                    self.pause = now;
                }
                Recorded::Undecided
            }
        }
    }
}

impl Flight {
    fn is(&self, id: RequestId) -> bool {
        match self {
            Flight::Read(sent_as) | Flight::Write(sent_as, _) => *sent_as == id,
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
