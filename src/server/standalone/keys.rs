//! The MAC keys of standalone mode: a file for each key, `mac-N`, and `mac-primary` with the number of the one that signs.
//! A key that has served its time gives way to a new one at once, because no other replica must have it first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::data::{DataError, io_error, make_folder, read, write};
use crate::license::{Keyring, MacKeys, MacKeysError};
use crate::pki::mac_key;

/// How long a key signs: as the operator has it, where it is not told otherwise.
const LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Before an entry's name.
const FILE: &str = "mac-";

/// The keys in `folder`, made or rotated where that is due; and when to call again.
pub(super) fn keyring(folder: &Path, now: Timestamp) -> Result<(Keyring, Timestamp), DataError> {
    make_folder(folder)?;
    let there = entries(folder)?;
    let mut keys = known(folder, &there)?;
    let mut until = made(folder, &keys)?.unwrap_or(now) + LIFE;
    if until <= now {
        if keys.waiting().is_none() {
            keys.add(mac_key()?);
        }
        keys.advance();
        until = now + LIFE;
    }
    put(folder, &there, &keys.entries())?;
    Ok((Keyring::new(&keys), until))
}

fn entries(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, DataError> {
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(io_error("list", folder))? {
        let path = entry.map_err(io_error("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix(FILE));
        if let Some(name) = name.filter(|name| MacKeys::is_entry(name))
            && let Some(value) = read(&path)?
        {
            entries.insert(name.to_owned(), value);
        }
    }
    Ok(entries)
}

fn known(folder: &Path, there: &BTreeMap<String, Vec<u8>>) -> Result<MacKeys, DataError> {
    if there.is_empty() {
        return Ok(MacKeys::first(mac_key()?));
    }
    // A first start that was cut short left the key alone.
    let first = [("primary".to_owned(), b"0".to_vec())];
    let damaged =
        |error: MacKeysError| DataError::Damaged { path: folder.join(FILE), what: error.to_string() };
    MacKeys::read(first.into_iter().chain(there.clone())).map_err(damaged)
}

/// When the key that signs was written.
fn made(folder: &Path, keys: &MacKeys) -> Result<Option<Timestamp>, DataError> {
    let path = folder.join(format!("{FILE}{}", keys.primary()));
    match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
        Ok(time) => Ok(Timestamp::try_from(time).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Cut short anywhere, it leaves keys that can be read: what is removed signs no more, and `primary` is written last.
fn put(
    folder: &Path,
    there: &BTreeMap<String, Vec<u8>>,
    wanted: &BTreeMap<String, Vec<u8>>,
) -> Result<(), DataError> {
    let path = |name: &str| folder.join(format!("{FILE}{name}"));
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(path(name)).map_err(io_error("remove", &path(name)))?;
    }
    for (name, value) in wanted.iter().filter(|(name, value)| there.get(*name) != Some(value)) {
        write(&path(name), value, 0o600)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use genie_ledger::GrantId;

    use super::*;
    use crate::license::ActivationClaim;

    const CLAIM: ActivationClaim = ActivationClaim { grant: GrantId(5), key: [9; 8] };

    fn opens(keyring: &Keyring, token: &str) -> bool {
        keyring.open_activation(token) == Some(([1; 8], CLAIM))
    }

    #[test]
    fn a_key_signs_for_its_time_and_opens_for_fifteen_more() {
        let folder = tempfile::tempdir().unwrap();
        let (first, mut until) = keyring(folder.path(), Timestamp::now()).unwrap();
        let token = first.activation([1; 8], CLAIM);
        let (again, same) = keyring(folder.path(), until - SignedDuration::from_secs(1)).unwrap();
        assert!(again == first && same >= until, "nothing changes before its time");
        for rotation in 1..=16_u8 {
            let file = folder.path().join(format!("mac-{}", rotation - 1));
            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_modified((until - LIFE).into()).unwrap();
            let (ring, next) = keyring(folder.path(), until).unwrap();
            assert_eq!((ring.primary(), next), (rotation, until + LIFE));
            assert_eq!(opens(&ring, &token), rotation < 16, "after {rotation} rotations");
            until = next;
        }
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_keys_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (first, until) = keyring(folder.path(), Timestamp::now()).unwrap();
        let token = first.activation([1; 8], CLAIM);
        fs::remove_file(folder.path().join("mac-primary")).unwrap();
        assert!(keyring(folder.path(), Timestamp::now()).unwrap().0 == first);
        fs::write(folder.path().join("mac-1"), [7; 32]).unwrap();
        assert_eq!(keyring(folder.path(), Timestamp::now()).unwrap().0.primary(), 0);
        let (ring, _) = keyring(folder.path(), until + SignedDuration::from_mins(1)).unwrap();
        assert!(opens(&ring, &token));
        assert_eq!(ring.primary(), 1);
        assert_eq!(fs::read(folder.path().join("mac-1")).unwrap(), [7; 32], "the key that was there");
    }

    #[test]
    fn a_damaged_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        keyring(folder.path(), Timestamp::now()).unwrap();
        fs::write(folder.path().join("mac-0"), "short").unwrap();
        let error = keyring(folder.path(), Timestamp::now()).unwrap_err().to_string();
        assert!(error.contains("0 must hold 32 bytes, and has 5"), "{error}");
    }
}
