//! The store of standalone mode: one file a ledger, and a Lease that the lock on the data directory stands for.
//!
//! A write is: temporary file, fsync, rename, fsync of the directory; acknowledged after that. The lock proves that
//! no other process writes, so the Lease lives in memory and dies with the process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use genie_ledger::{LeaseRecord, ObservedLease, ObservedLedger, Record, StoreReply, StoreRequest, Version};

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
    #[error("{path} is not a ledger: {error}; restore it from a backup, or move it away and wait out the recovery", path = path.display())]
    Broken { path: PathBuf, error: String },
}

/// See the module.
pub(crate) struct FileStore {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    lease: (u64, LeaseRecord),
    ledger: (u64, Option<Record>),
}

impl FileStore {
    /// Opens the ledger of `id` below `directory`. The caller holds the lock on the data directory.
    pub(crate) fn open(directory: &Path, id: &LedgerId) -> Result<Self, FileStoreError> {
        let folder = directory.join(&*id.namespace);
        fs::create_dir_all(&folder).map_err(|error| io_error("create", &folder, error))?;
        let path = folder.join(format!("{}.json", id.product));
        let record = read(&path)?;
        let state = State { lease: (0, LeaseRecord::default()), ledger: (0, record) };
        Ok(Self { path, state: Arc::new(Mutex::new(state)) })
    }

    /// The record as it was found or last written.
    pub(crate) fn record(&self) -> Option<Record> {
        self.state.lock().expect("no code panics while it holds this lock").ledger.1.clone()
    }

    fn handle(state: &Mutex<State>, path: &Path, request: StoreRequest) -> StoreReply {
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
            StoreRequest::WriteLedger { record, .. } => match write(path, &record) {
                Ok(()) => {
                    state.ledger = (state.ledger.0 + 1, Some(record));
                    StoreReply::Written { version: version(state.ledger.0) }
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "the ledger could not be written; no new seats until it can");
                    StoreReply::Unknown
                }
            },
        }
    }
}

impl Store for FileStore {
    async fn send(&self, request: StoreRequest) -> StoreReply {
        let (state, path) = (self.state.clone(), self.path.clone());
        let handled = tokio::task::spawn_blocking(move || Self::handle(&state, &path, request)).await;
        handled.unwrap_or(StoreReply::Unknown)
    }
}

fn version(number: u64) -> Version {
    Version(number.to_string().into())
}

fn read(path: &Path) -> Result<Option<Record>, FileStoreError> {
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

fn write(path: &Path, record: &Record) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn io_error(what: &'static str, path: &Path, error: io::Error) -> FileStoreError {
    FileStoreError::Io { what, path: path.to_owned(), error }
}
