//! How the model check (feature `model`) tells states apart: times by their distance from now, and
//! names by the order in which they are met, so that states that behave alike hash alike. Without the
//! feature everything hashes as it is. Equality is never changed.

#[cfg(feature = "model")]
pub use of_the_model::{begin, ledger_is_at, look_from, wall_clocks_show};

/// A number that only keeps names apart: how high it has grown means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub(crate) struct Tally(pub(crate) u64);

/// A record's seq that was seen. It means something only against the ledger's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub(crate) struct Seq(pub(crate) u64);

#[cfg(feature = "model")]
mod of_the_model {
    use std::cell::{Cell, RefCell};
    use std::hash::{Hash, Hasher};
    use std::time::Duration;

    use super::{Seq, Tally};
    use crate::answer::Ticket;
    use crate::record::{Record, UnixSeconds};
    use crate::store::RequestId;
    use crate::time::BootInstant;
    use crate::types::{Issuer, Nonce, OperationId, SessionId, Version};

    #[derive(PartialEq, Eq)]
    enum Name {
        Issuer(Issuer),
        Operation(OperationId),
        Request(u64, RequestId),
        Session(SessionId),
        Ticket(u64, Ticket),
        Version(Version),
    }

    thread_local! {
        static NAMES: RefCell<Vec<Name>> = const { RefCell::new(Vec::new()) };
        static VIEW: Cell<(BootInstant, Duration, u64)> =
            const { Cell::new((BootInstant::from_boot(Duration::ZERO), Duration::MAX, 0)) };
        static WALL: Cell<u64> = const { Cell::new(0) };
        static AT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Forgets all names: the hash of another state begins.
    pub fn begin() {
        NAMES.with_borrow_mut(Vec::clear);
    }

    /// What is hashed next sees this time, and takes all that lies more than `far` before it as equally
    /// old; requests and tickets are those of `process`.
    pub fn look_from(now: BootInstant, far: Duration, process: u64) {
        VIEW.set((now, far, process));
    }

    /// What is hashed next sees this wall clock, and takes all that lies before it as over: every replica is
    /// told the time before it is asked anything.
    pub fn wall_clocks_show(wall: UnixSeconds) {
        WALL.set(wall.0);
    }

    /// What is hashed next tells a seq that was seen from this one of the ledger; None: no ledger is ever set
    /// back, so it means nothing.
    pub fn ledger_is_at(seq: Option<u64>) {
        AT.set(seq);
    }

    impl Hash for Seq {
        fn hash<H: Hasher>(&self, state: &mut H) {
            AT.get().map(|at| self.0.wrapping_sub(at)).hash(state);
        }
    }

    impl Hash for UnixSeconds {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.saturating_sub(WALL.get()).hash(state);
        }
    }

    fn meet<H: Hasher>(name: Name, state: &mut H) {
        NAMES.with_borrow_mut(|names| {
            let at = names.iter().position(|known| *known == name).unwrap_or(names.len());
            if at == names.len() {
                names.push(name);
            }
            state.write_usize(at);
        });
    }

    impl Hash for BootInstant {
        fn hash<H: Hasher>(&self, state: &mut H) {
            let (now, far, _) = VIEW.get();
            let ago = now.since(*self).min(far);
            ago.hash(state);
            self.since(now).hash(state);
        }
    }

    impl Hash for Tally {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }

    impl Hash for RequestId {
        fn hash<H: Hasher>(&self, state: &mut H) {
            meet(Name::Request(VIEW.get().2, *self), state);
        }
    }

    impl Hash for Ticket {
        fn hash<H: Hasher>(&self, state: &mut H) {
            meet(Name::Ticket(VIEW.get().2, *self), state);
        }
    }

    impl Hash for Version {
        fn hash<H: Hasher>(&self, state: &mut H) {
            meet(Name::Version(self.clone()), state);
        }
    }

    /// A process and what its tokens carry of it are one name.
    impl Hash for Nonce {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.issuer().hash(state);
        }
    }

    impl Hash for Issuer {
        fn hash<H: Hasher>(&self, state: &mut H) {
            meet(Name::Issuer(*self), state);
        }
    }

    impl Hash for SessionId {
        fn hash<H: Hasher>(&self, state: &mut H) {
            meet(Name::Session(*self), state);
        }
    }

    impl Hash for OperationId {
        fn hash<H: Hasher>(&self, state: &mut H) {
            meet(Name::Operation(*self), state);
        }
    }

    /// All but `seq`, which only makes writes differ, and what decides nothing.
    impl Hash for Record {
        fn hash<H: Hasher>(&self, state: &mut H) {
            let Self { generation, holder, seq: _, recovering, sealed, promises, .. } = self;
            (generation, holder, recovering, sealed, promises).hash(state);
            let Self { horizon_ms, ttl_ms, borrowed, usage, clones: _, queued: _, latest_time: _, .. } = self;
            (horizon_ms, ttl_ms, borrowed, usage).hash(state);
        }
    }
}
