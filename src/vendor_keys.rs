//! The file that says which vendors' licenses count (`--vendor-keys`): read, never written.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::license::document::{MAX_VENDOR_KEYS_FILE, TrustError, TrustedKeys};

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VendorKeysError {
    /// The system refused.
    #[error("cannot read {path}: {error}; give --vendor-keys a file that this user may read", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It does not say whom to trust.
    #[error("{path}: {error}", path = path.display())]
    Trust {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: TrustError,
    },
}

/// The keys in `path`; without a file none.
pub fn read(path: Option<&Path>) -> Result<TrustedKeys, VendorKeysError> {
    let Some(path) = path else { return Ok(TrustedKeys::default()) };
    let mut text = String::new();
    let most = u64::try_from(MAX_VENDOR_KEYS_FILE).unwrap_or(u64::MAX).saturating_add(1);
    let read = fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    read.map_err(|error| VendorKeysError::Io { path: path.to_owned(), error })?;
    TrustedKeys::parse(&text).map_err(|error| VendorKeysError::Trust { path: path.to_owned(), error })
}
