//! The store of standalone mode: one file a ledger, and a Lease that the lock on the data directory stands for.
//!
//! A write is: temporary file, fsync, rename, fsync of the directory; acknowledged after that. The lock proves that
//! no other process writes, so the Lease lives in memory and dies with the process. A second file, in a folder of its
//! own, remembers the generation before the ledger has it: a ledger that is missing, or set back, by itself or with the
//! whole folder of ledgers, is known to be (R3, R11).

mod disk;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod simulated;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use genie_ledger::{
    Generation, LeaseRecord, ObservedLease, ObservedLedger, Record, StoreReply, StoreRequest, Version,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use crate::license::LedgerId;
use disk::{Disk, DiskFile, RealDisk};

/// The folders of the data directory that this writes.
const LEDGERS: &str = "ledgers";
const GENERATIONS: &str = "generations";
/// Largest ledger file that is read: four times what [`genie_ledger`] can make of its largest plan.
const MAX_FILE: u64 = 8 << 20;

/// Why a ledger file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileStoreError {
    /// The system refused.
    #[error("cannot {what} {path}: {error}; the ledger needs a directory that this user can write", path = path.display())]
    Io { what: &'static str, path: PathBuf, error: io::Error },
    /// Not what this program wrote.
    #[error("{path} is not a ledger: {error}; move it away: the seats that it promised count as used until the recovery is over", path = path.display())]
    Broken { path: PathBuf, error: String },
    /// Not what this program wrote.
    #[error(
        "{path} holds no generation: {error}; write a number into it that is larger than the generation in {ledger}: \
         then the seats that were promised count as used until the recovery is over",
        path = path.display(), ledger = ledger.display()
    )]
    NoGeneration { path: PathBuf, ledger: PathBuf, error: String },
}

/// See the module.
pub(crate) struct FileStore<D = RealDisk>(Arc<Inner<D>>);

struct Inner<D> {
    disk: D,
    files: Files,
    state: Mutex<State>,
}

struct Files {
    ledger: PathBuf,
    generation: PathBuf,
}

struct State {
    /// The last generation that was begun here.
    generation: Generation,
    lease: (u64, LeaseRecord),
    ledger: (u64, Option<Record>),
    /// A write that failed somewhere on its way: on the disk is this record or the one before, and not even a read of
    /// the file can say which of them outlives a power cut. So it is made durable before anything is read again.
    undecided: Option<Record>,
}

impl FileStore {
    /// Opens the ledger of `id` in the data directory. The caller holds the lock on it.
    pub(crate) fn open(data: &Path, id: &LedgerId) -> Result<Self, FileStoreError> {
        Self::open_on(RealDisk, data, id)
    }
}

impl<D: Disk> FileStore<D> {
    fn open_on(disk: D, data: &Path, id: &LedgerId) -> Result<Self, FileStoreError> {
        let (ledgers, generations) = (data.join(LEDGERS), data.join(GENERATIONS));
        let files = Files {
            ledger: ledgers.join(&*id.namespace).join(format!("{}.json", id.product)),
            generation: generations.join(&*id.namespace).join(&*id.product),
        };
        let folders = [&files.ledger, &files.generation].map(|file| folder(file));
        for folder in folders {
            disk.create_folder(folder).map_err(|error| io_error("create", folder, error))?;
        }
        // What is read below is durable: else a generation that is there already, and so not written again, could go
        // back behind its ledger. The way to a new folder is as durable as what will be in it.
        for folder in folders.into_iter().chain([&*ledgers, &*generations, data]) {
            disk.sync_folder(folder).map_err(|error| io_error("sync", folder, error))?;
        }
        let witness = |path: &Path| {
            let (path, ledger) = (path.to_owned(), files.ledger.clone());
            read(&disk, &path.clone(), |error| FileStoreError::NoGeneration { path, ledger, error })
        };
        let begun: Option<Generation> = match witness(&files.generation)? {
            Some(generation) => Some(generation),
            // Where it was at first.
            None => witness(&files.ledger.with_extension("generation"))?,
        };
        let record =
            read(&disk, &files.ledger, |error| FileStoreError::Broken { path: files.ledger.clone(), error })?;
        let state = State {
            generation: begun.unwrap_or_default(),
            lease: (0, LeaseRecord::default()),
            ledger: (0, record),
            undecided: None,
        };
        Ok(Self(Arc::new(Inner { disk, files, state: Mutex::new(state) })))
    }

    /// The last generation that was begun here, whatever became of the ledger.
    pub(crate) fn generation(&self) -> Generation {
        self.0.state().generation
    }

    /// The record as it was found or last written.
    pub(crate) fn record(&self) -> Option<Record> {
        self.0.state().ledger.1.clone()
    }
}

impl<D: Disk> Inner<D> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    fn handle(&self, request: StoreRequest) -> StoreReply {
        let mut state = self.state();
        match request {
            StoreRequest::ReadLease => StoreReply::Lease(Some(ObservedLease {
                uid: "file".into(),
                version: version(state.lease.0),
                record: state.lease.1.clone(),
                stale: false,
            })),
            StoreRequest::ReadLedger => match self.decide(&mut state) {
                Ok(()) => StoreReply::Ledger(Some(ObservedLedger {
                    version: version(state.ledger.0),
                    record: state.ledger.1.clone(),
                })),
                Err(error) => self.unknown(&error),
            },
            StoreRequest::WriteLease { expect, .. } if expect != version(state.lease.0) => {
                StoreReply::Conflict
            }
            StoreRequest::WriteLease { record, .. } => {
                state.lease = (state.lease.0 + 1, record);
                StoreReply::Written { version: version(state.lease.0) }
            }
            StoreRequest::WriteLedger { expect, .. } if expect != version(state.ledger.0) => {
                StoreReply::Conflict
            }
            StoreRequest::WriteLedger { record, .. } => match self.write(&mut state, record) {
                Ok(()) => StoreReply::Written { version: version(state.ledger.0) },
                Err(error) => self.unknown(&error),
            },
        }
    }

    fn unknown(&self, error: &io::Error) -> StoreReply {
        let path = self.files.ledger.display();
        tracing::error!(%path, %error, "the ledger could not be written; no new seats until it can");
        StoreReply::Unknown
    }

    /// Makes a write that failed a write that was made.
    fn decide(&self, state: &mut State) -> io::Result<()> {
        state.undecided.clone().map_or(Ok(()), |record| self.write(state, record))
    }

    fn write(&self, state: &mut State, record: Record) -> io::Result<()> {
        state.undecided = Some(record.clone());
        if record.generation > state.generation {
            self.replace(&self.files.generation, &record.generation)?;
            state.generation = record.generation;
        }
        self.replace(&self.files.ledger, &record)?;
        state.ledger = (state.ledger.0 + 1, Some(record));
        state.undecided = None;
        Ok(())
    }

    /// Writes a file that a power cut leaves either as it was or as it shall be; when this is done, as it shall be.
    fn replace(&self, path: &Path, content: &impl Serialize) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        let mut file = self.disk.create(temporary)?;
        file.write_all(&serde_json::to_vec(content)?)?;
        file.sync()?;
        self.disk.rename(temporary, path)?;
        self.disk.sync_folder(folder(path))
    }
}

impl<D: Disk> Store for FileStore<D> {
    async fn send(&self, request: StoreRequest) -> StoreReply {
        let inner = self.0.clone();
        let handled = tokio::task::spawn_blocking(move || inner.handle(request)).await;
        handled.unwrap_or(StoreReply::Unknown)
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

fn version(number: u64) -> Version {
    Version(number.to_string().into())
}

fn read<T: DeserializeOwned>(
    disk: &impl Disk,
    path: &Path,
    broken: impl FnOnce(String) -> FileStoreError,
) -> Result<Option<T>, FileStoreError> {
    let bytes = disk.read(path, MAX_FILE + 1).map_err(|error| io_error("read", path, error))?;
    let Some(bytes) = bytes else { return Ok(None) };
    if bytes.len() as u64 > MAX_FILE {
        return Err(broken(format!("it has more than {MAX_FILE} bytes, the most that a ledger has")));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(error.to_string()))
}

fn io_error(what: &'static str, path: &Path, error: io::Error) -> FileStoreError {
    FileStoreError::Io { what, path: path.to_owned(), error }
}
