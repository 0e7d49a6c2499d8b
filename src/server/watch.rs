//! Notices when files change, so that plans, certificates and manifests take effect without a restart.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::warn;

/// A change comes in several events; this is how long after the first one reads.
const SETTLE: Duration = Duration::from_millis(100);
/// How often the folder is looked at: that another one has taken its place is no event below it.
const LOOK: Duration = Duration::from_secs(2);

/// A folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot watch {path}: {error}; it must be a folder that this user can read",
    path = path.display(),
    error = error.to_string().trim_end_matches('.')
)]
pub(crate) struct WatchError {
    path: PathBuf,
    error: notify::Error,
}

/// Changes below a folder.
pub(crate) struct Changes {
    folder: PathBuf,
    /// Which folder that path was when it was watched last; None: it is not watched.
    watched: Option<Identity>,
    events: mpsc::Receiver<()>,
    /// Something changed, and was not told yet.
    unsettled: bool,
    // Ends the watch when it is dropped.
    _watcher: Option<RecommendedWatcher>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Changes {
    /// Watches `folder` with all that is below it. It must be there now; that it is moved away, or that another one takes
    /// its place, is a change.
    pub(crate) fn below(folder: &Path) -> Result<Self, WatchError> {
        let watched = identity(folder);
        let (watcher, events) = watch(folder)?;
        Ok(Self { folder: folder.to_owned(), watched, events, unsettled: false, _watcher: Some(watcher) })
    }

    /// Waits for the next change, and until it has settled. May be dropped, and called again, without losing one.
    pub(crate) async fn next(&mut self) {
        while !self.unsettled {
            match tokio::time::timeout(LOOK, self.events.recv()).await {
                Ok(Some(())) => self.unsettled = true,
                // Nothing is watched for the moment.
                Ok(None) => tokio::time::sleep(LOOK).await,
                Err(_) => {}
            }
            self.unsettled |= self.watch_another();
        }
        tokio::time::sleep(SETTLE).await;
        while self.events.try_recv().is_ok() {}
        self.unsettled = false;
    }

    /// Watches what has taken the place of the folder; says whether anything has, or it is gone since the last look.
    fn watch_another(&mut self) -> bool {
        let there = identity(&self.folder);
        if there == self.watched {
            return false;
        }
        match watch(&self.folder) {
            Ok((watcher, events)) => {
                (self._watcher, self.events, self.watched) = (Some(watcher), events, there);
            }
            Err(error) => {
                warn!(%error, "it is looked at again every two seconds");
                (self._watcher, self.watched) = (None, None);
            }
        }
        true
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    let found = std::fs::metadata(folder).ok()?;
    Some((found.dev(), found.ino()))
}

fn watch(folder: &Path) -> Result<(RecommendedWatcher, mpsc::Receiver<()>), WatchError> {
    // One place: what matters is that something changed, not what and how often.
    let (sender, events) = mpsc::channel(1);
    let notice = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    };
    let error = |error| WatchError { path: folder.to_owned(), error };
    let mut watcher = notify::recommended_watcher(notice).map_err(error)?;
    watcher.watch(folder, RecursiveMode::Recursive).map_err(error)?;
    Ok((watcher, events))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    async fn changed(changes: &mut Changes) {
        tokio::time::timeout(Duration::from_secs(30), changes.next()).await.expect("a change is noticed");
    }

    #[tokio::test]
    async fn what_takes_the_place_of_a_folder_is_watched_as_the_one_before_it_was() {
        let root = tempfile::tempdir().unwrap();
        let [folder, old, new] = ["here", "old", "new"].map(|name| root.path().join(name));
        fs::create_dir(&folder).unwrap();
        let mut changes = Changes::below(&folder).unwrap();
        fs::rename(&folder, &old).unwrap();
        changed(&mut changes).await;
        fs::create_dir(&new).unwrap();
        fs::rename(&new, &folder).unwrap();
        changed(&mut changes).await;
        fs::write(folder.join("pool.yaml"), "a").unwrap();
        changed(&mut changes).await;
    }

    #[tokio::test]
    async fn a_link_that_points_to_another_folder_is_a_change() {
        let root = tempfile::tempdir().unwrap();
        let [link, next, one, two] = ["link", "next", "1", "2"].map(|name| root.path().join(name));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        symlink(&one, &link).unwrap();
        let mut changes = Changes::below(&link).unwrap();
        symlink(&two, &next).unwrap();
        fs::rename(&next, &link).unwrap();
        changed(&mut changes).await;
        fs::write(two.join("pool.yaml"), "a").unwrap();
        changed(&mut changes).await;
    }
}
