//! The data directory of standalone mode: its lock, keys, CA and bindings. Nobody but this user can read it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use genie_client::ActivationKey;
use jiff::Timestamp;

use super::keys;
use crate::compile::ObjectName;
use crate::license::Keyring;
use crate::pki::{Ca, PkiError};

/// The name that clients of genie-lm ask for, whatever the address.
const SERVER_NAME: &str = "genie-lm";
/// Largest file read back: PEM text and keys are far smaller.
const MAX_FILE: u64 = 64 << 10;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused.
    #[error("cannot {what} {path}: {error}; the data directory must be one that this user can write", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process has it.
    #[error("another genie-lm serves from {path}; stop it first, or use another --data directory", path = path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// A file is not what this program wrote.
    #[error("{path} is damaged: {what}; restore it from a backup, or move it away to have it made anew", path = path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// A data directory that this process has for itself. The lock goes when it is dropped, or the process ends.
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the directory; makes it where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        make_folder(path)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| DataError::Io { what: "open", path: lock_path.clone(), error })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(DataError::Io { what: "lock", path: lock_path, error }),
        }
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tls(&self) -> PathBuf {
        self.path.join("private").join("tls")
    }

    pub(super) fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }

    /// The MAC keys, made at the first start and rotated when due; says when to call again.
    pub(super) fn keyring(&self) -> Result<(Keyring, Timestamp), DataError> {
        keys::keyring(&self.path.join("private"), Timestamp::now())
    }

    /// Makes the server's certificate, and the CA at the first start; says when to call again.
    pub(super) fn certify(&self, listen: SocketAddr, host: &str) -> Result<Timestamp, DataError> {
        let (certificate, key) = (self.path.join("ca.crt"), self.path.join("private").join("ca.key"));
        let ca = match (read_text(&certificate)?, read_text(&key)?) {
            (Some(certificate), Some(key)) => Ca::new(certificate, key),
            _ => {
                let made = Ca::generate("genie-lm standalone CA", Timestamp::now())?;
                write(&key, made.key.as_bytes(), 0o600)?;
                write(&certificate, made.certificate.as_bytes(), 0o644)?;
                Ca::new(made.certificate, made.key)
            }
        };
        let mut names = vec![SERVER_NAME.to_owned(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
        names.extend(
            (!listen.ip().is_unspecified() && !listen.ip().is_loopback()).then(|| listen.ip().to_string()),
        );
        names.extend((!host.is_empty() && host != "localhost").then(|| host.to_owned()));
        let issued = ca.issue(&names, Timestamp::now())?;
        let folder = self.tls();
        write(&folder.join("tls.crt"), issued.certificate.as_bytes(), 0o644)?;
        write(&folder.join("tls.key"), issued.key.as_bytes(), 0o600)?;
        write(&folder.join("ca.crt"), ca.certificate.as_bytes(), 0o644)?;
        Ok(issued.renew_at)
    }

    /// The key of a grant that brings none: the one that an earlier start made, or a new one.
    pub(super) fn made_key(&self, grant: &ObjectName) -> Result<ActivationKey, DataError> {
        let path = self.binding(grant).join("key");
        if let Some(text) = read_text(&path)? {
            return ActivationKey::parse(&text)
                .map_err(|error| DataError::Damaged { path, what: error.to_string() });
        }
        let key = ActivationKey::generate().map_err(|error| DataError::Io {
            what: "make a key for",
            path: path.clone(),
            error: io::Error::other(error.to_string()),
        })?;
        write(&path, key.as_str().as_bytes(), 0o600)?;
        Ok(key)
    }

    /// Writes the binding of a grant, in the layout of the Service Binding specification.
    pub(super) fn bind(
        &self,
        grant: &ObjectName,
        product: &str,
        (host, port): &(String, u16),
        key: &ActivationKey,
    ) -> Result<(), DataError> {
        let folder = self.binding(grant);
        let authority = read_text(&self.path.join("ca.crt"))?.unwrap_or_default();
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let entries = [
            ("type", "genie-lm".to_owned()),
            ("provider", "genie-lm".to_owned()),
            ("host", host.clone()),
            ("port", port.to_string()),
            ("uri", format!("https://{bracketed}:{port}")),
            ("product", product.to_owned()),
            ("key", key.as_str().to_owned()),
            ("ca.crt", authority),
        ];
        for (file, content) in entries {
            let path = folder.join(file);
            if read_text(&path)?.as_deref() != Some(&content) {
                write(&path, content.as_bytes(), 0o600)?;
            }
        }
        Ok(())
    }

    pub(super) fn bindings(&self) -> PathBuf {
        self.path.join("bindings")
    }

    fn binding(&self, grant: &ObjectName) -> PathBuf {
        self.bindings().join(&grant.namespace).join(&grant.name)
    }
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataError {
    move |error| DataError::Io { what, path: path.to_owned(), error }
}

pub(super) fn make_folder(path: &Path) -> Result<(), DataError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("create", path))
}

pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE => Err(DataError::Damaged {
            path: path.to_owned(),
            what: format!("it has {} bytes", metadata.len()),
        }),
        Ok(_) => fs::read(path).map(Some).map_err(io_error("read", path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

fn read_text(path: &Path) -> Result<Option<String>, DataError> {
    let damaged = |_| DataError::Damaged { path: path.to_owned(), what: "it is not text".into() };
    read(path)?.map(String::from_utf8).transpose().map_err(damaged)
}

/// Writes a file that a crash leaves either as it was or as it shall be.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), DataError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(io_error("write", path))
}
