//! Session and activation tokens: opaque to clients, MAC'd with a key that every replica has.
//!
//! A token is a prefix (`GLS1.` session, `GLA1.` activation, `GLQ1.` place in a queue) and base64url of: key number
//! (1 byte), ledger (8), the claim, MAC (16, BLAKE3 keyed over all before it). The MAC key of each kind is derived from
//! the keyring's key, so that a token of one kind never passes as one of another.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use genie_ledger::{Claim, Generation, GrantId, Issuer, LimitId, LimitSet, OperationId, Place, SessionId};
use subtle::ConstantTimeEq;

use super::mac_keys::{MAC_KEY, MAX_KEYS, MacKeys};

/// Longest token in bytes; a session token with 16 limits has 257.
pub const MAX_TOKEN: usize = 512;

const MAC: usize = 16;
const SESSION: Kind = Kind { at: 0, prefix: "GLS1.", context: "genie-lm session token v1" };
const ACTIVATION: Kind = Kind { at: 1, prefix: "GLA1.", context: "genie-lm activation token v1" };
const QUEUE: Kind = Kind { at: 2, prefix: "GLQ1.", context: "genie-lm queue ticket v1" };
/// Each at its own place.
const KINDS: [Kind; 3] = [SESSION, ACTIVATION, QUEUE];

struct Kind {
    at: usize,
    prefix: &'static str,
    context: &'static str,
}

/// What an activation token stands for: a grant, through one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationClaim {
    /// The grant.
    pub grant: GrantId,
    /// Hash prefix of the key; with the key the token ends.
    pub key: [u8; 8],
}

/// A place in a queue, of one checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClaim {
    /// The checkout.
    pub operation: OperationId,
    /// Its place.
    pub place: Place,
    /// Since when it waits, in seconds of Unix time.
    pub since: i64,
}

/// The MAC keys: one signs, all verify.
#[derive(PartialEq, Eq)]
pub struct Keyring {
    primary: u8,
    keys: BTreeMap<u8, Derived>,
}

/// One key for each kind.
#[derive(PartialEq, Eq)]
struct Derived([[u8; 32]; KINDS.len()]);

impl Keyring {
    /// A keyring that signs with the primary key.
    pub fn new(keys: &MacKeys) -> Self {
        let derive = |key: &[u8; MAC_KEY]| Derived(KINDS.map(|kind| blake3::derive_key(kind.context, key)));
        Self {
            primary: keys.primary(),
            keys: keys.iter().map(|(number, key)| (number, derive(key))).collect(),
        }
    }

    /// The number of the key that signs.
    pub fn primary(&self) -> u8 {
        self.primary
    }

    /// The token of a session.
    pub fn session(&self, ledger: [u8; 8], claim: &Claim) -> String {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&claim.generation.0.to_le_bytes());
        bytes.extend_from_slice(&claim.issuer.0.to_le_bytes());
        bytes.extend_from_slice(&claim.session.0.to_le_bytes());
        bytes.extend_from_slice(&claim.counter.to_le_bytes());
        bytes.extend_from_slice(&claim.count.get().to_le_bytes());
        bytes.extend_from_slice(&claim.grant.0.to_le_bytes());
        for limit in claim.limits.iter() {
            bytes.extend_from_slice(&limit.0.to_le_bytes());
        }
        self.seal(&SESSION, ledger, &bytes)
    }

    /// The ledger and claim of a session token that one of our keys has signed.
    pub fn open_session(&self, token: &str) -> Option<([u8; 8], Claim)> {
        let (ledger, bytes) = self.open(&SESSION, token)?;
        let mut rest = bytes.as_slice();
        let claim = Claim {
            generation: Generation(u64::from_le_bytes(take(&mut rest)?)),
            issuer: Issuer(u32::from_le_bytes(take(&mut rest)?)),
            session: SessionId(u64::from_le_bytes(take(&mut rest)?)),
            counter: u32::from_le_bytes(take(&mut rest)?),
            count: NonZeroU32::new(u32::from_le_bytes(take(&mut rest)?))?,
            grant: GrantId(u64::from_le_bytes(take(&mut rest)?)),
            limits: {
                let limits: Option<Vec<LimitId>> = rest
                    .chunks(8)
                    .map(|mut chunk| Some(LimitId(u64::from_le_bytes(take(&mut chunk)?))))
                    .collect();
                LimitSet::new(limits?).ok()?
            },
        };
        Some((ledger, claim))
    }

    /// Whether a token names a key that comes after all of ours: then these keys are behind, and it is no stranger's as far
    /// as anybody here can tell.
    pub fn is_behind(&self, token: &str) -> bool {
        let bytes = KINDS.iter().find_map(|kind| decode(kind, token));
        let signed = bytes.and_then(|bytes| bytes.first().copied());
        let ahead = |number: u8| usize::from(number.wrapping_sub(self.primary));
        signed.is_some_and(|number| !self.keys.contains_key(&number) && ahead(number) <= MAX_KEYS)
    }

    /// The token that stands for a key from now on.
    pub fn activation(&self, ledger: [u8; 8], claim: ActivationClaim) -> String {
        let mut bytes = claim.grant.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&claim.key);
        self.seal(&ACTIVATION, ledger, &bytes)
    }

    /// The ledger and claim of an activation token that one of our keys has signed.
    pub fn open_activation(&self, token: &str) -> Option<([u8; 8], ActivationClaim)> {
        let (ledger, bytes) = self.open(&ACTIVATION, token)?;
        let mut rest = bytes.as_slice();
        let claim =
            ActivationClaim { grant: GrantId(u64::from_le_bytes(take(&mut rest)?)), key: take(&mut rest)? };
        rest.is_empty().then_some((ledger, claim))
    }

    /// The ticket of a place in a queue.
    pub fn queue_ticket(&self, ledger: [u8; 8], claim: &QueueClaim) -> String {
        let mut bytes = claim.operation.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&claim.place.generation.0.to_le_bytes());
        bytes.extend_from_slice(&claim.place.number.to_le_bytes());
        bytes.extend_from_slice(&claim.since.to_le_bytes());
        self.seal(&QUEUE, ledger, &bytes)
    }

    /// The ledger and claim of a queue ticket that one of our keys has signed.
    pub fn open_queue_ticket(&self, ticket: &str) -> Option<([u8; 8], QueueClaim)> {
        let (ledger, bytes) = self.open(&QUEUE, ticket)?;
        let mut rest = bytes.as_slice();
        let claim = QueueClaim {
            operation: OperationId(u128::from_le_bytes(take(&mut rest)?)),
            place: Place {
                generation: Generation(u64::from_le_bytes(take(&mut rest)?)),
                number: u64::from_le_bytes(take(&mut rest)?),
            },
            since: i64::from_le_bytes(take(&mut rest)?),
        };
        rest.is_empty().then_some((ledger, claim))
    }

    fn seal(&self, kind: &Kind, ledger: [u8; 8], claim: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(9 + claim.len() + MAC);
        bytes.push(self.primary);
        bytes.extend_from_slice(&ledger);
        bytes.extend_from_slice(claim);
        let mac = mac(self.keys[&self.primary].of(kind), &bytes);
        bytes.extend_from_slice(&mac);
        let mut token = String::with_capacity(kind.prefix.len() + bytes.len().div_ceil(3) * 4);
        token.push_str(kind.prefix);
        BASE64.encode_string(&bytes, &mut token);
        token
    }

    fn open(&self, kind: &Kind, token: &str) -> Option<([u8; 8], Vec<u8>)> {
        let bytes = decode(kind, token)?;
        let (signed, given) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        let key = self.keys.get(signed.first()?)?.of(kind);
        if !bool::from(mac(key, signed).ct_eq(given)) {
            return None;
        }
        let mut rest = &signed[1..];
        Some((take(&mut rest)?, rest.to_vec()))
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("primary", &self.primary).finish_non_exhaustive()
    }
}

impl Derived {
    fn of(&self, kind: &Kind) -> &[u8; 32] {
        &self.0[kind.at]
    }
}

fn decode(kind: &Kind, token: &str) -> Option<Vec<u8>> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    BASE64.decode(token.strip_prefix(kind.prefix)?).ok()
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> [u8; MAC] {
    let mut mac = [0; MAC];
    mac.copy_from_slice(&blake3::keyed_hash(key, bytes).as_bytes()[..MAC]);
    mac
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys, of which the one of this number signs.
    fn ring(primary: u8) -> Keyring {
        let mut keys = MacKeys::first([7; 32]);
        keys.add([8; 32]);
        if primary == 1 {
            keys.advance();
        }
        Keyring::new(&keys)
    }

    fn claim() -> Claim {
        Claim {
            generation: Generation(3),
            issuer: Issuer(6),
            session: SessionId(9),
            counter: 4,
            count: NonZeroU32::new(2).unwrap(),
            grant: GrantId(77),
            limits: LimitSet::new((0..16).map(LimitId)).unwrap(),
        }
    }

    #[test]
    fn a_token_says_what_was_claimed_also_after_the_signing_key_changed() {
        let token = ring(0).session([1; 8], &claim());
        assert_eq!(ring(1).open_session(&token), Some(([1; 8], claim())));
        assert!(token.len() <= MAX_TOKEN);
        let activation = ActivationClaim { grant: GrantId(5), key: [9; 8] };
        let token = ring(0).activation([1; 8], activation);
        assert_eq!(ring(0).open_activation(&token), Some(([1; 8], activation)));
    }

    #[test]
    fn keys_know_that_they_are_behind_and_never_take_an_old_token_for_a_new_one() {
        let mut keys = MacKeys::first([0; 32]);
        let behind = Keyring::new(&keys);
        for rotation in 1..=200_u8 {
            let before = Keyring::new(&keys).session([1; 8], &claim());
            keys.add([rotation; 32]);
            keys.advance();
            let ring = Keyring::new(&keys);
            let token = ring.session([1; 8], &claim());
            assert_eq!(behind.is_behind(&token), rotation <= 16, "rotation {rotation}");
            let activation = ring.activation([1; 8], ActivationClaim { grant: GrantId(5), key: [9; 8] });
            assert_eq!(behind.is_behind(&activation), rotation <= 16, "rotation {rotation}");
            assert!(!ring.is_behind(&token) && !ring.is_behind(&before));
            let first = behind.session([1; 8], &claim());
            assert!(!ring.is_behind(&first), "a key that was retired, in rotation {rotation}");
        }
        assert!(!behind.is_behind("GLS1.") && !behind.is_behind("x"));
    }

    #[test]
    fn no_changed_cut_or_foreign_token_opens() {
        let token = ring(0).session([1; 8], &claim());
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(ring(0).open_session(&changed), None, "byte {index}");
            assert_eq!(ring(0).open_session(&token[..index]), None, "cut at {index}");
        }
        let foreign = Keyring::new(&MacKeys::first([9; 32]));
        assert_eq!(foreign.open_session(&token), None);
        let claim = QueueClaim {
            operation: OperationId(1 << 100),
            place: Place { generation: Generation(3), number: 5 },
            since: 1_800_000_000,
        };
        let ticket = ring(0).queue_ticket([1; 8], &claim);
        assert_eq!(ring(1).open_queue_ticket(&ticket), Some(([1; 8], claim)));
        assert_eq!(ring(0).open_session(&ticket.replacen("GLQ1.", "GLS1.", 1)), None);
        assert_eq!(ring(0).open_queue_ticket(&token.replacen("GLS1.", "GLQ1.", 1)), None);
        let as_activation = token.replacen("GLS1.", "GLA1.", 1);
        assert_eq!(ring(0).open_activation(&as_activation), None);
    }
}
