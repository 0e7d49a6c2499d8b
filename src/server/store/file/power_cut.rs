//! The power is cut, or the disk fails, at every operation of a ledger's life, and what the next start finds is judged:
//! no acknowledged promise and no borrowed seat is lost, and a generation that went back is known to have.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::Path;

use genie_ledger::{Borrowed, GrantId, Holder, Nonce, UnixSeconds};

use super::simulated::{Fault, Lie, SimulatedDisk};
use super::*;

/// More operations than a life has; a disk that never fails is as one that fails after the end.
const NEVER: usize = usize::MAX;

fn id() -> LedgerId {
    LedgerId { namespace: "default".into(), product: "acme-cad".into() }
}

fn data() -> &'static Path {
    Path::new("/data")
}

fn record(generation: u64, seq: u64, promised: u32, borrowed: &[&str]) -> Record {
    let borrowed = borrowed.iter().map(|id| Borrowed {
        id: (*id).into(),
        grant: GrantId(7),
        count: NonZeroU32::MIN,
        limits: vec!["seats".into()],
        ends: UnixSeconds(2_000_000_000),
    });
    Record {
        generation: Generation(generation),
        holder: Holder {
            nonce: Nonce(format!("nonce-{generation}").into()),
            pod_uid: "".into(),
            pod_name: "".into(),
            node: "".into(),
            address: "".into(),
            started: UnixSeconds(0),
        },
        seq,
        recovering: false,
        sealed: None,
        promises: [("seats".into(), promised)].into(),
        horizon_ms: 600_000,
        ttl_ms: 60_000,
        borrowed: borrowed.collect(),
        usage: Default::default(),
        clones: 0,
        queued: 0,
        latest_time: Default::default(),
    }
}

/// Two generations: a promise is raised, a seat is borrowed, the promise is lowered; the process ends, the next one
/// fences, a second seat is borrowed, the first comes back.
fn life() -> Vec<Record> {
    vec![
        record(1, 1, 1, &[]),
        record(1, 2, 5, &[]),
        record(1, 3, 5, &["laptop"]),
        record(1, 4, 2, &["laptop"]),
        record(2, 5, 2, &["laptop"]),
        record(2, 6, 3, &["laptop", "tablet"]),
        record(2, 7, 3, &["tablet"]),
    ]
}

type Write = fn(&Inner<SimulatedDisk>, &mut State, Record) -> io::Result<()>;

/// What the server knows of its ledger.
#[derive(Debug, Default)]
struct Knows {
    /// What it was told is there, by an acknowledged write or a read.
    sure: Option<Record>,
    /// What it sent since; one of these may be there instead.
    sent: Vec<Record>,
}

impl Knows {
    fn allows(&self, found: &Option<Record>) -> bool {
        *found == self.sure || self.sent.iter().any(|sent| Some(sent) == found.as_ref())
    }
}

/// Lives on this disk for as long as it has power. After a failed write the server reads, as the replica does, and
/// believes what it reads; so a write that is read as not made is not made again.
fn live(disk: &SimulatedDisk, write: Write) -> Knows {
    let mut knows = Knows::default();
    let mut store: Option<FileStore<SimulatedDisk>> = None;
    for record in life() {
        let begins = record.generation > store.as_ref().map_or(Generation(0), FileStore::generation);
        if begins {
            // A new process: it knows what it finds.
            let Ok(opened) = FileStore::open_on(disk.clone(), data(), &id()) else { break };
            assert!(knows.allows(&opened.record()), "{knows:?}, and found {:?}", opened.record());
            store = Some(opened);
        }
        let store = &store.as_ref().expect("opened for the first generation").0;
        knows.sent.push(record.clone());
        if write(store, &mut store.state(), record.clone()).is_ok() {
            knows = Knows { sure: Some(record), sent: Vec::new() };
            continue;
        }
        let reads = (0..3).find_map(|_| match store.handle(StoreRequest::ReadLedger) {
            StoreReply::Ledger(found) => found,
            _ => None,
        });
        if let Some(found) = reads {
            assert!(knows.allows(&found.record), "{knows:?}, and read {:?}", found.record);
            knows = Knows { sure: found.record, sent: Vec::new() };
        }
    }
    knows
}

/// What is wrong with what the next start finds, if anything.
fn judge(disk: &SimulatedDisk, knows: &Knows) -> Result<(), String> {
    let store = FileStore::open_on(disk.clone(), data(), &id()).map_err(|error| error.to_string())?;
    let found = store.record();
    if !knows.allows(&found) {
        return Err(format!("found {found:?}, which is neither acknowledged nor sent later: {knows:?}"));
    }
    let generation = found.map_or(Generation(0), |record| record.generation);
    if store.generation() < generation {
        let witnessed = store.generation();
        return Err(format!(
            "a ledger that goes back below {generation:?} would not be noticed: {witnessed:?}"
        ));
    }
    // The next owner fences, over whatever lies about on the disk.
    let next = record(generation.0.max(store.generation().0) + 1, 8, 3, &[]);
    store.0.write(&mut store.0.state(), next.clone()).map_err(|error| error.to_string())?;
    let store = FileStore::open_on(disk.clone(), data(), &id()).map_err(|error| error.to_string())?;
    if store.record().as_ref() != Some(&next) {
        return Err(format!("what the next owner wrote is not there: {:?}", store.record()));
    }
    // Were the ledger lost as well, its generation would be known.
    disk.remove(&store.0.files.ledger);
    let store = FileStore::open_on(disk.clone(), data(), &id()).map_err(|error| error.to_string())?;
    (store.generation() == next.generation).then_some(()).ok_or("the generation went with the ledger".into())
}

/// Lives with these faults, then without power; every disk that may be found is judged.
fn survive(lie: Lie, faults: &[(usize, Fault)], write: Write) -> Result<usize, String> {
    let disk = SimulatedDisk::new(lie, faults);
    let knows = live(&disk, write);
    let found = disk.after_power_cut();
    for disk in &found {
        judge(disk, &knows).map_err(|problem| format!("with {faults:?}: {problem}"))?;
    }
    Ok(found.len())
}

/// Operations of a life without faults.
fn operations() -> usize {
    let disk = SimulatedDisk::new(Lie::None, &[]);
    assert_eq!(live(&disk, Inner::write).sure, life().pop(), "without faults all is written");
    disk.operations()
}

#[test]
fn whenever_the_power_is_cut_no_promise_and_no_borrowed_seat_is_lost() {
    let operations = operations();
    assert!(operations > 40, "{operations}");
    let mut judged = 0;
    for cut in (0..=operations).chain([NEVER]) {
        judged += survive(Lie::None, &[(cut, Fault::PowerCut)], Inner::write).unwrap();
    }
    assert!(judged > 2 * operations, "{judged} disks of {operations} operations");
}

#[test]
fn whenever_the_disk_fails_and_the_power_is_cut_later_nothing_is_lost() {
    let operations = operations();
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for failed in 0..operations {
            // What failed is made again by the next read, so a life is longer.
            for cut in (failed + 1..operations + 10).chain([NEVER]) {
                let faults = [(failed, Fault::Error(kind)), (cut, Fault::PowerCut)];
                survive(Lie::None, &faults, Inner::write).unwrap();
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing_when_the_power_is_cut_then() {
    let operations = operations();
    for full in 0..operations {
        for length in 2..12 {
            let faults = (full..full + length).map(|at| (at, Fault::Error(ErrorKind::StorageFull)));
            survive(Lie::None, &faults.collect::<Vec<_>>(), Inner::write).unwrap();
        }
    }
}

/// The first fault that shows that something is lost.
fn refuted(lie: Lie, write: Write) -> bool {
    let cuts = (0..=operations()).chain([NEVER]);
    cuts.into_iter().any(|cut| survive(lie, &[(cut, Fault::PowerCut)], write).is_err())
}

#[test]
fn mutant_without_the_sync_of_the_file_is_refuted() {
    assert!(refuted(Lie::FileSync, Inner::write));
}

#[test]
fn mutant_without_the_sync_of_the_folder_is_refuted() {
    assert!(refuted(Lie::FolderSync, Inner::write));
}

#[test]
fn mutant_that_writes_the_ledger_before_its_generation_is_refuted() {
    let ledger_first: Write = |inner, state, record| {
        inner.replace(&inner.files.ledger, &record)?;
        inner.replace(&inner.files.generation, &record.generation)?;
        state.generation = record.generation;
        state.ledger = (state.ledger.0 + 1, Some(record));
        Ok(())
    };
    assert!(refuted(Lie::None, ledger_first));
}

#[test]
fn mutant_that_writes_in_place_is_refuted() {
    let in_place: Write = |inner, state, record| {
        let mut file = inner.disk.create(&inner.files.ledger)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        file.sync()?;
        inner.disk.sync_folder(folder(&inner.files.ledger))?;
        inner.write(state, record)
    };
    assert!(refuted(Lie::None, in_place));
}

#[test]
fn mutant_that_reads_from_memory_after_a_failed_write_is_refuted() {
    let forgets: Write = |inner, state, record| {
        let written = inner.write(state, record);
        state.undecided = None;
        written
    };
    let refuted = (0..operations()).any(|failed| {
        let faults = [(failed, Fault::Error(ErrorKind::Other)), (failed + 1, Fault::PowerCut)];
        survive(Lie::None, &faults, forgets).is_err()
    });
    assert!(refuted);
}

#[test]
fn a_generation_where_it_was_at_first_is_known_and_from_then_on_outlives_the_folder_of_ledgers() {
    let data = tempfile::TempDir::new().unwrap();
    let ledgers = data.path().join("ledgers");
    std::fs::create_dir_all(ledgers.join("default")).unwrap();
    std::fs::write(ledgers.join("default/acme-cad.generation"), "7").unwrap();
    let open = || FileStore::open(data.path(), &id()).unwrap();
    let store = open();
    assert_eq!(store.generation(), Generation(7));
    store.0.write(&mut store.0.state(), record(8, 1, 1, &[])).unwrap();
    std::fs::remove_dir_all(&ledgers).unwrap();
    let store = open();
    assert_eq!((store.generation(), store.record()), (Generation(8), None));
}

#[test]
fn a_broken_file_is_told_with_what_to_do() {
    let data = tempfile::TempDir::new().unwrap();
    let problem = |name: &str, content: &str| {
        let path = data.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let problem = FileStore::open(data.path(), &id()).err().expect("a problem").to_string();
        std::fs::remove_file(&path).unwrap();
        problem
    };
    let ledger = problem("ledgers/default/acme-cad.json", "{\"generation\":");
    assert!(ledger.contains("acme-cad.json is not a ledger") && ledger.contains("move it away"), "{ledger}");
    let generation = problem("generations/default/acme-cad", "\0\0");
    let advice = "write a number into it that is larger than the generation in";
    assert!(generation.contains("holds no generation") && generation.contains(advice), "{generation}");
    let large = problem("ledgers/default/acme-cad.json", &"x".repeat(9 << 20));
    assert!(large.contains("more than 8388608 bytes"), "{large}");
}
