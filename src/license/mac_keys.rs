//! The MAC keys of a server as they are kept, in a Secret or in a folder: an entry `primary` with the number of the key
//! that signs, and an entry for each key, named by its number. Pure.
//!
//! Numbers are given out in turn, 0 after 255. A rotation has two steps: the next key is added, so that every replica can
//! verify what it signs; then it signs. A key that signs no more stays until fifteen others came after it.

use std::collections::BTreeMap;

/// Keys of one server. A token outlives fifteen rotations, and the sixteenth ends it; the operator's take five minutes each
/// at least, and no session is valid for so long (its ttl is an hour at most).
pub const MAX_KEYS: usize = 16;
/// Bytes of a key.
pub const MAC_KEY: usize = 32;
/// The entry that names the key that signs.
const PRIMARY: &str = "primary";

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct MacKeys {
    primary: u8,
    keys: BTreeMap<u8, [u8; MAC_KEY]>,
}

/// Why entries are not MAC keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacKeysError {
    /// No entry, or not a number.
    #[error("{PRIMARY} must hold the number of the key that signs, 0 to 255")]
    Primary,
    /// The key that signs is not there.
    #[error("{PRIMARY} names key {0}, which is not there")]
    NoKey(u8),
    /// A key of another length.
    #[error("{number} must hold {MAC_KEY} bytes, and has {bytes}")]
    Length {
        /// Which key.
        number: u8,
        /// What it has.
        bytes: usize,
    },
    /// More keys than a server keeps.
    #[error("there are more than {MAX_KEYS} keys")]
    TooMany,
}

impl MacKeys {
    /// A first key, which signs.
    pub fn first(key: [u8; MAC_KEY]) -> Self {
        Self { primary: 0, keys: BTreeMap::from([(0, key)]) }
    }

    /// The keys in these entries; what has another name is not ours.
    pub fn read<N, V>(entries: impl IntoIterator<Item = (N, V)>) -> Result<Self, MacKeysError>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let (mut primary, mut keys) = (None, BTreeMap::new());
        for (name, value) in entries {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name == PRIMARY {
                primary = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            } else if let Some(number) = number(name) {
                let length = |_| MacKeysError::Length { number, bytes: value.len() };
                keys.insert(number, value.try_into().map_err(length)?);
            }
        }
        let primary = primary.ok_or(MacKeysError::Primary)?;
        if !keys.contains_key(&primary) {
            return Err(MacKeysError::NoKey(primary));
        }
        if keys.len() > MAX_KEYS {
            return Err(MacKeysError::TooMany);
        }
        Ok(Self { primary, keys })
    }

    /// Whether an entry of this name is one of those that [`read`](Self::read) looks at.
    pub fn is_entry(name: &str) -> bool {
        name == PRIMARY || number(name).is_some()
    }

    /// The entries that hold them.
    pub fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        let keys = self.keys.iter().map(|(number, key)| (number.to_string(), key.to_vec()));
        keys.chain([(PRIMARY.to_owned(), self.primary.to_string().into_bytes())]).collect()
    }

    /// The number of the key that signs.
    pub fn primary(&self) -> u8 {
        self.primary
    }

    /// Numbers and keys.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8; MAC_KEY])> {
        self.keys.iter().map(|(&number, key)| (number, key))
    }

    /// The key that signs next, where it was added already.
    pub fn waiting(&self) -> Option<u8> {
        Some(self.primary.wrapping_add(1)).filter(|next| self.keys.contains_key(next))
    }

    /// Adds the key that signs next; gives its number. Where there would be too many, the one goes that has not signed for
    /// the longest time.
    pub fn add(&mut self, key: [u8; MAC_KEY]) -> u8 {
        let next = self.primary.wrapping_add(1);
        while self.keys.len() >= MAX_KEYS {
            let age = |number: &u8| self.primary.wrapping_sub(*number);
            let Some(oldest) = self.keys.keys().copied().max_by_key(age) else { break };
            self.keys.remove(&oldest);
        }
        self.keys.insert(next, key);
        next
    }

    /// From now on the key signs that was added last; gives its number.
    pub fn advance(&mut self) -> Option<u8> {
        let next = self.waiting()?;
        self.primary = next;
        Some(next)
    }
}

/// Numbers only, so that no log shows a key.
impl std::fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<u8> = self.keys.keys().copied().collect();
        f.debug_struct("MacKeys").field("primary", &self.primary).field("keys", &numbers).finish()
    }
}

/// The number in a name as we write it: 7, not 007.
fn number(name: &str) -> Option<u8> {
    name.parse().ok().filter(|number: &u8| number.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &[u8])]) -> Result<MacKeys, MacKeysError> {
        MacKeys::read(entries.iter().copied())
    }

    #[test]
    fn what_was_written_reads_back_and_other_entries_are_not_ours() {
        let mut keys = MacKeys::first([1; 32]);
        keys.add([2; 32]);
        assert_eq!(MacKeys::read(keys.entries()), Ok(keys.clone()));
        let mut entries = keys.entries();
        entries.extend([("..data", "x"), ("007", "x"), ("300", "x")].map(|(k, v)| (k.into(), v.into())));
        assert_eq!(MacKeys::read(entries), Ok(keys.clone()));
        assert_eq!(format!("{keys:?}"), "MacKeys { primary: 0, keys: [0, 1] }");
    }

    #[test]
    fn broken_entries_are_named() {
        let key: &[u8] = &[7; 32];
        assert_eq!(read(&[("0", key)]), Err(MacKeysError::Primary));
        assert_eq!(read(&[("primary", b"x"), ("0", key)]), Err(MacKeysError::Primary));
        assert_eq!(read(&[("primary", b"256"), ("0", key)]), Err(MacKeysError::Primary));
        assert_eq!(read(&[("primary", b"3\n"), ("0", key)]), Err(MacKeysError::NoKey(3)));
        let short = read(&[("primary", b"0"), ("0", &key[1..])]);
        assert_eq!(short, Err(MacKeysError::Length { number: 0, bytes: 31 }));
        let many = (0..17).map(|number| (number.to_string(), key.to_vec()));
        assert_eq!(
            MacKeys::read(many.chain([("primary".into(), b"0".to_vec())])),
            Err(MacKeysError::TooMany)
        );
    }

    /// Over several turns of the numbers: the key that signs is there, no number stands for two keys, and a key stays
    /// until fifteen others have signed after it.
    #[test]
    fn a_key_stays_for_fifteen_rotations_and_no_number_is_reused_while_it_is_kept() {
        let mut keys = MacKeys::first([0; 32]);
        for round in 1..=1000_u16 {
            let key: [u8; MAC_KEY] = std::array::from_fn(|index| round.to_le_bytes()[index % 2]);
            let before = keys.clone();
            let added = keys.add(key);
            assert!(!before.keys.contains_key(&added), "number {added} is taken in round {round}");
            assert_eq!((keys.waiting(), keys.primary()), (Some(added), before.primary()));
            assert_eq!(keys.advance(), Some(added));
            assert_eq!((keys.waiting(), keys.primary()), (None, added));
            assert_eq!(keys.keys.len(), MAX_KEYS.min(usize::from(round) + 1));
            assert_eq!(MacKeys::read(keys.entries()), Ok(keys.clone()));
            let ages = 0..u8::try_from(keys.keys.len()).unwrap();
            assert!(ages.into_iter().all(|age| keys.keys.contains_key(&added.wrapping_sub(age))));
        }
        assert_eq!(keys.advance(), None);
    }
}
