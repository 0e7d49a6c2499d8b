//! A disk that keeps apart what is durable and what is not, can fail at any operation, and can lose its power at any:
//! then of what was not durable any part may remain, and each possible remainder is given.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile};

type Inode = usize;

/// One change of names, made at once: a rename changes two.
type Change = Vec<(PathBuf, Option<Inode>)>;

/// What happens at an operation, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power is cut before it: it and all later ones fail.
    PowerCut,
    /// It fails, half done where it can be; later ones do not.
    Error(io::ErrorKind),
}

/// What a disk leaves undone, and says it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lie {
    #[default]
    None,
    FileSync,
    FolderSync,
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    written: Vec<u8>,
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Content>,
    durable: BTreeMap<PathBuf, Inode>,
    /// Changes since the last sync of their folder, oldest first.
    changes: Vec<Change>,
    operations: usize,
    faults: Vec<(usize, Fault)>,
    off: bool,
    lie: Lie,
}

/// See the module. Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    pub(super) fn new(lie: Lie, faults: &[(usize, Fault)]) -> Self {
        Self(Arc::new(Mutex::new(State { lie, faults: faults.to_vec(), ..State::default() })))
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> usize {
        self.state().operations
    }

    /// Every disk that may be found when the power comes back: each unsynced change of names kept or lost, and each
    /// unsynced content old, new, empty or torn.
    pub(super) fn after_power_cut(&self) -> Vec<Self> {
        let state = self.state().clone();
        let mut found = Vec::new();
        for kept in 0..1u32 << state.changes.len() {
            let mut names = state.durable.clone();
            let changes = state.changes.iter().enumerate().filter(|(i, _)| kept >> i & 1 == 1);
            changes.for_each(|(_, change)| apply(&mut names, change));
            let mut contents = vec![Vec::<Content>::new()];
            for inode in &state.inodes {
                let remainders = inode.remainders();
                contents = contents
                    .into_iter()
                    .flat_map(|before| {
                        remainders
                            .iter()
                            .map(move |content| [&before[..], std::slice::from_ref(content)].concat())
                    })
                    .collect();
            }
            found.extend(contents.into_iter().map(|inodes| {
                let state = State { inodes, durable: names.clone(), ..State::default() };
                Self(Arc::new(Mutex::new(state)))
            }));
        }
        found
    }

    /// Takes a file away, as somebody may by hand.
    pub(super) fn remove(&self, path: &Path) {
        self.state().durable.remove(path);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl Content {
    fn remainders(&self) -> Vec<Content> {
        let settled = |bytes: &[u8]| Content { durable: bytes.to_vec(), written: bytes.to_vec() };
        if self.durable == self.written {
            return vec![self.clone()];
        }
        // A torn write: the length is there, and the second half of the bytes is not.
        let mut torn = self.written.clone();
        let half = torn.len() / 2;
        torn[half..].fill(0);
        [&self.durable[..], &self.written, &[], &torn].map(settled).to_vec()
    }
}

impl State {
    /// The names as programs see them.
    fn names(&self) -> BTreeMap<PathBuf, Inode> {
        let mut names = self.durable.clone();
        self.changes.iter().for_each(|change| apply(&mut names, change));
        names
    }

    /// Counts an operation that changes something; says whether it is to fail.
    fn begin(&mut self) -> io::Result<Option<io::Error>> {
        let number = self.operations;
        self.operations += 1;
        let fault = self.faults.iter().find(|(at, _)| *at == number).map(|(_, fault)| *fault);
        self.off |= fault == Some(Fault::PowerCut);
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        Ok(match fault {
            Some(Fault::Error(kind)) => Some(kind.into()),
            _ => None,
        })
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Inode>, change: &Change) {
    for (path, inode) in change {
        match inode {
            Some(inode) => names.insert(path.clone(), *inode),
            None => names.remove(path),
        };
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    /// Folders are there: that the way to them is durable is a matter of real file systems.
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        if state.lie != Lie::FolderSync {
            let inside = |change: &Change| change.iter().any(|(name, _)| name.parent() == Some(path));
            let (synced, rest) = state.changes.drain(..).partition(inside);
            state.changes = rest;
            let synced: Vec<Change> = synced;
            synced.iter().for_each(|change| apply(&mut state.durable, change));
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut state = self.state();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        let inode = match state.names().get(path) {
            Some(inode) => *inode,
            None => {
                state.inodes.push(Content::default());
                let inode = state.inodes.len() - 1;
                state.changes.push(vec![(path.to_owned(), Some(inode))]);
                inode
            }
        };
        state.inodes[inode].written.clear();
        Ok(SimulatedFile { disk: self.clone(), inode })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        let inode = *state.names().get(from).ok_or(io::ErrorKind::NotFound)?;
        state.changes.push(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let content = state.names().get(path).map(|inode| &state.inodes[*inode].written[..]);
        Ok(content.map(|bytes| bytes[..bytes.len().min(limit)].to_vec()))
    }
}

/// See [`SimulatedDisk`].
pub(super) struct SimulatedFile {
    disk: SimulatedDisk,
    inode: Inode,
}

impl DiskFile for SimulatedFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let error = state.begin()?;
        let written = if error.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        state.inodes[self.inode].written.extend(written);
        error.map_or(Ok(()), Err)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        if state.lie != Lie::FileSync {
            let content = &mut state.inodes[self.inode];
            content.durable = content.written.clone();
        }
        Ok(())
    }
}
