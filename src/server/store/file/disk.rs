//! What the file store needs of a file system, and the real one. In tests a simulated one takes its place, that loses
//! what was not made durable.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Folders and files. What is not synced may be lost, in whole or in part, when the power is cut.
pub(crate) trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a folder and those above it, where they are missing.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes an empty file, also where there is one.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives a file another name, at once, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The content of a file, at most `limit` bytes of it; None: there is no such file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>>;
}

/// See [`Disk`].
pub(crate) trait DiskFile {
    /// Adds to the file.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes its content durable.
    fn sync(&self) -> io::Result<()>;
}

/// The file system of this machine.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl DiskFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}
