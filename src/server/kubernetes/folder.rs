//! The mounted folder of a server in a cluster: which products it serves, and the MAC keys of its tokens.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use tracing::warn;

use super::StartError;
use crate::license::{Keyring, MacKeys};
use crate::server::keys::Keys;

/// Products of one server; a group of two hundred is the design's example.
const MAX_PRODUCTS: usize = 1_000;
/// Largest configuration file: a thousand products of 63 characters.
const MAX_FILE: u64 = 64 << 10;

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    let bounded = || {
        let length = fs::metadata(path)?.len();
        if length > MAX_FILE {
            Err(io::Error::other(format!("it has {length} bytes")))
        } else {
            fs::read(path)
        }
    };
    bounded().map_err(|error| StartError::Read { path: path.to_owned(), error })
}

pub(super) fn read_products(folder: &Path) -> Result<BTreeSet<String>, StartError> {
    let text = read(&folder.join("pools").join("products"))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(MAX_PRODUCTS)
        .map(str::to_owned)
        .collect())
}

pub(super) fn read_keyring(folder: &Path) -> Result<Keyring, StartError> {
    let listed = fs::read_dir(folder).map_err(|error| StartError::Read { path: folder.to_owned(), error })?;
    let mut entries = Vec::new();
    for path in listed.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if MacKeys::is_entry(name) {
            entries.push((name.to_owned(), read(&path)?));
        }
    }
    match MacKeys::read(entries) {
        Ok(keys) => Ok(Keyring::new(&keys)),
        Err(error) => Err(StartError::Keys { path: folder.to_owned(), error }),
    }
}

/// Reads the keys again; what was there stays in force when that fails.
pub(super) fn reload_keys(folder: &Path, keys: &Keys) {
    match read_keyring(folder) {
        Ok(keyring) => keys.replace(keyring),
        Err(error) => warn!(%error, "the MAC keys stay as they were"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use genie_ledger::GrantId;
    use tempfile::TempDir;

    use super::*;
    use crate::license::ActivationClaim;
    use crate::server::watch::Changes;

    const CLAIM: ActivationClaim = ActivationClaim { grant: GrantId(5), key: [9; 8] };

    type Entry<'a> = (&'a str, &'a [u8]);

    /// A Secret as the kubelet mounts it: entries are links through `..data`, which it turns around at each change.
    struct Mount {
        folder: TempDir,
        versions: u32,
    }

    impl Mount {
        fn new(entries: &[Entry<'_>]) -> Self {
            let mut mount = Self { folder: tempfile::tempdir().unwrap(), versions: 0 };
            mount.turn(entries);
            mount
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }

        fn turn(&mut self, entries: &[Entry<'_>]) {
            self.versions += 1;
            let version = format!("..version-{}", self.versions);
            fs::create_dir(self.path().join(&version)).unwrap();
            for (name, value) in entries {
                fs::write(self.path().join(&version).join(name), value).unwrap();
            }
            symlink(&version, self.path().join("..data_tmp")).unwrap();
            fs::rename(self.path().join("..data_tmp"), self.path().join("..data")).unwrap();
            for entry in fs::read_dir(self.path()).unwrap() {
                let path = entry.unwrap().path();
                if !path.file_name().unwrap().to_str().unwrap().starts_with("..") && !path.exists() {
                    fs::remove_file(path).unwrap();
                }
            }
            for (name, _) in entries.iter().filter(|(name, _)| !self.path().join(name).exists()) {
                symlink(Path::new("..data").join(name), self.path().join(name)).unwrap();
            }
        }
    }

    fn token(keys: &Keys) -> String {
        keys.get().activation([1; 8], CLAIM)
    }

    fn opens(keys: &Keys, token: &str) -> bool {
        keys.get().open_activation(token) == Some(([1; 8], CLAIM))
    }

    #[tokio::test]
    async fn a_rotation_takes_effect_without_a_restart_and_old_tokens_stay_good() {
        let (old, new): (&[u8], &[u8]) = (&[7; 32], &[8; 32]);
        let mut mount = Mount::new(&[("primary", b"0"), ("0", old)]);
        let keys = Keys::new(read_keyring(mount.path()).unwrap());
        let mut changes = Changes::below(mount.path()).unwrap();
        let before = token(&keys);
        for primary in [b"0", b"1"] {
            mount.turn(&[("primary", primary), ("0", old), ("1", new)]);
            tokio::time::timeout(Duration::from_secs(30), changes.next()).await.expect("a change is noticed");
            reload_keys(mount.path(), &keys);
            assert!(opens(&keys, &before));
        }
        assert_eq!(keys.get().primary(), 1);
        let after = token(&keys);
        mount.turn(&[("primary", b"1"), ("1", new)]);
        reload_keys(mount.path(), &keys);
        assert!(opens(&keys, &after) && !opens(&keys, &before), "the first key is retired");
    }

    #[test]
    fn a_broken_folder_changes_nothing_and_is_named() {
        let key: &[u8] = &[7; 32];
        let mut mount = Mount::new(&[("primary", b"0"), ("0", key)]);
        let keys = Keys::new(read_keyring(mount.path()).unwrap());
        let before = token(&keys);
        let names: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        let many: Vec<Entry<'_>> =
            names.iter().map(|name| (name.as_str(), key)).chain([("primary", &b"0"[..])]).collect();
        let huge = vec![b'0'; 65 << 10];
        let cases: [(&[Entry<'_>], &str); 5] = [
            (&[("0", key)], "primary must hold"),
            (&[("primary", b"1"), ("0", key)], "primary names key 1"),
            (&[("primary", b"0"), ("0", &key[1..])], "0 must hold 32 bytes"),
            (&[("primary", &huge), ("0", key)], "primary: it has 66560 bytes"),
            (&many, "more than 16 keys"),
        ];
        for (entries, says) in cases {
            mount.turn(entries);
            let error = read_keyring(mount.path()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(error.contains(mount.path().to_str().unwrap()), "{error}");
            reload_keys(mount.path(), &keys);
            assert!(opens(&keys, &before) && token(&keys) == before, "{says}");
        }
    }
}
