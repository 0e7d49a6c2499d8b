//! The store of standalone mode: one file a ledger, and a Lease that the lock on the data directory stands for.
//!
//! A write is: temporary file, fsync, rename, fsync of the directory; acknowledged after that. The lock proves that
//! no other process writes, so the Lease lives in memory and dies with the process. A second file remembers the
//! generation, before the ledger has it: a ledger that is missing, or set back, is known to be (R3, R11).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use genie_ledger::{
    Generation, LeaseRecord, ObservedLease, ObservedLedger, Record, StoreReply, StoreRequest, Version,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use crate::license::LedgerId;

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
}

/// See the module.
pub(crate) struct FileStore {
    files: Arc<Files>,
    state: Arc<Mutex<State>>,
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
}

impl FileStore {
    /// Opens the ledger of `id` below `directory`. The caller holds the lock on the data directory.
    pub(crate) fn open(directory: &Path, id: &LedgerId) -> Result<Self, FileStoreError> {
        let folder = directory.join(&*id.namespace);
        let files = Files {
            ledger: folder.join(format!("{}.json", id.product)),
            generation: folder.join(format!("{}.generation", id.product)),
        };
        fs::create_dir_all(&folder).map_err(|error| io_error("create", &folder, error))?;
        // The way to a new folder is as durable as what will be in it.
        for folder in [directory, directory.parent().unwrap_or(directory)] {
            sync(folder).map_err(|error| io_error("sync", folder, error))?;
        }
        let generation = read(&files.generation)?.unwrap_or_default();
        let record = read(&files.ledger)?;
        let state = State { generation, lease: (0, LeaseRecord::default()), ledger: (0, record) };
        Ok(Self { files: Arc::new(files), state: Arc::new(Mutex::new(state)) })
    }

    /// The last generation that was begun here, whatever became of the ledger.
    pub(crate) fn generation(&self) -> Generation {
        self.state.lock().expect("no code panics while it holds this lock").generation
    }

    /// The record as it was found or last written.
    pub(crate) fn record(&self) -> Option<Record> {
        self.state.lock().expect("no code panics while it holds this lock").ledger.1.clone()
    }

    fn handle(state: &Mutex<State>, files: &Files, request: StoreRequest) -> StoreReply {
        let mut state = state.lock().expect("no code panics while it holds this lock");
        match request {
            StoreRequest::ReadLease => StoreReply::Lease(Some(ObservedLease {
                uid: "file".into(),
                version: version(state.lease.0),
                record: state.lease.1.clone(),
            })),
            StoreRequest::ReadLedger => StoreReply::Ledger(Some(ObservedLedger {
                version: version(state.ledger.0),
                record: state.ledger.1.clone(),
            })),
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
            StoreRequest::WriteLedger { record, .. } => match state.write(files, record) {
                Ok(()) => StoreReply::Written { version: version(state.ledger.0) },
                Err(error) => {
                    let path = files.ledger.display();
                    tracing::error!(%path, %error, "the ledger could not be written; no new seats until it can");
                    StoreReply::Unknown
                }
            },
        }
    }
}

impl State {
    fn write(&mut self, files: &Files, record: Record) -> io::Result<()> {
        if record.generation > self.generation {
            write(&files.generation, &record.generation)?;
            self.generation = record.generation;
        }
        write(&files.ledger, &record)?;
        self.ledger = (self.ledger.0 + 1, Some(record));
        Ok(())
    }
}

impl Store for FileStore {
    async fn send(&self, request: StoreRequest) -> StoreReply {
        let (state, files) = (self.state.clone(), self.files.clone());
        let handled = tokio::task::spawn_blocking(move || Self::handle(&state, &files, request)).await;
        handled.unwrap_or(StoreReply::Unknown)
    }
}

fn version(number: u64) -> Version {
    Version(number.to_string().into())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileStoreError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, error)),
    };
    let broken = |error: String| FileStoreError::Broken { path: path.to_owned(), error };
    if length > MAX_FILE {
        return Err(broken(format!("it has {length} bytes, a ledger at most {MAX_FILE}")));
    }
    let bytes = fs::read(path).map_err(|error| io_error("read", path, error))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(error.to_string()))
}

fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn io_error(what: &'static str, path: &Path, error: io::Error) -> FileStoreError {
    FileStoreError::Io { what, path: path.to_owned(), error }
}
