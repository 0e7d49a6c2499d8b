//! The keyring in force: replaced as a whole when the keys are read again, and never held across a wait.

use std::sync::{Arc, RwLock};

use tracing::info;

use crate::license::Keyring;

/// See the module.
pub(crate) struct Keys(RwLock<Arc<Keyring>>);

impl Keys {
    pub(crate) fn new(keyring: Keyring) -> Self {
        Self(RwLock::new(Arc::new(keyring)))
    }

    /// The keyring of this moment.
    pub(crate) fn get(&self) -> Arc<Keyring> {
        self.0.read().expect("no code panics while it holds this lock").clone()
    }

    /// Puts a keyring in force.
    pub(crate) fn replace(&self, keyring: Keyring) {
        let keyring = Arc::new(keyring);
        if *self.get() == *keyring {
            return;
        }
        info!(primary = keyring.primary(), "the MAC keys have changed");
        *self.0.write().expect("no code panics while it holds this lock") = keyring;
    }
}
