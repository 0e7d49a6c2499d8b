//! The cluster's own store and API server, where this test run started them: tools/cluster stops and restores them.

use std::process::Command;

use crate::kit::{self, eventually};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/cluster/cluster.sh");

/// See the module. The string is the state directory of tools/cluster.
pub(crate) struct Store(String);

impl Store {
    /// None on a cluster that is the user's: tools/e2e.sh says what is not tested there.
    pub(crate) fn ours() -> Option<Self> {
        std::env::var("GENIE_LM_CLUSTER_STATE").ok().map(Self)
    }

    fn cluster(&self, words: &[&str]) {
        let output = Command::new(SCRIPT).arg("nodes").args(words).args(["--state", &self.0]).output();
        let output = output.unwrap_or_else(|error| panic!("{SCRIPT} does not start: {error}"));
        assert!(output.status.success(), "{SCRIPT} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn stop_api_server(&self) {
        self.cluster(&["stop", "apiserver"]);
    }

    pub(crate) fn start_api_server(&self) {
        self.cluster(&["start", "apiserver"]);
        ready();
    }

    /// Stops both, and starts both.
    pub(crate) fn restart(&self) {
        for words in [["stop", "apiserver"], ["stop", "etcd"], ["start", "etcd"], ["start", "apiserver"]] {
            self.cluster(&words);
        }
        ready();
    }

    pub(crate) fn save(&self, file: &str) {
        self.cluster(&["etcd-save", file]);
    }

    pub(crate) fn restore(&self, file: &str) {
        self.cluster(&["etcd-restore", file]);
        ready();
    }
}

fn ready() {
    eventually("the API server is ready", kit::PATIENCE, || {
        kit::attempt("kubectl", &["get", "--raw", "/readyz"]).status.success().then_some(())
    });
}
