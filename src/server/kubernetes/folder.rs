//! The mounted folder of a server in a cluster: which products it serves, and the MAC keys of its tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::StartError;
use crate::license::Keyring;

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
    let key_error = |path: &Path, what| StartError::Key { path: path.to_owned(), what };
    let path = folder.join("primary");
    let primary = String::from_utf8_lossy(&read(&path)?)
        .trim()
        .parse()
        .map_err(|_| key_error(&path, "it must hold the number of the signing key"))?;
    let entries =
        fs::read_dir(folder).map_err(|error| StartError::Read { path: folder.to_owned(), error })?;
    let mut keys = BTreeMap::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(number) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        let key = read(&path)?.try_into().map_err(|_| key_error(&path, "it must hold 32 bytes"))?;
        keys.insert(number, key);
    }
    Ok(Keyring::new(primary, keys)?)
}
