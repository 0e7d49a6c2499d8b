//! Notices when files change, so that plans, certificates and manifests take effect without a restart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A change comes in several events; this is how long after the first one reads.
const SETTLE: Duration = Duration::from_millis(100);

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

/// Changes below some folders.
pub(crate) struct Changes {
    events: mpsc::Receiver<()>,
    // Ends the watch when it is dropped.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches `folders` with all that is below them.
    pub(crate) fn below(folders: &[&Path]) -> Result<Self, WatchError> {
        // One place: what matters is that something changed, not what and how often.
        let (sender, events) = mpsc::channel(1);
        let notice = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        };
        let error = |path: &Path, error| WatchError { path: path.to_owned(), error };
        let first = folders.first().copied().unwrap_or(Path::new("."));
        let mut watcher = notify::recommended_watcher(notice).map_err(|e| error(first, e))?;
        for folder in folders {
            watcher.watch(folder, RecursiveMode::Recursive).map_err(|e| error(folder, e))?;
        }
        Ok(Self { events, _watcher: watcher })
    }

    /// Waits for the next change, and until it has settled.
    pub(crate) async fn next(&mut self) {
        if self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(SETTLE).await;
        while self.events.try_recv().is_ok() {}
    }
}
