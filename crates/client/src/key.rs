//! The activation key: what a person types and a Secret holds. Takes random bits or typed text, gives the one
//! canonical text; a mistyped key is found here, without asking a server.
//!
//! `GLM1-` and nine groups of four Crockford base32 characters: eight groups are 160 random bits, the ninth is a
//! checksum of 20 bits. Canonical text is upper case with all hyphens. Typed text may be lower case, may have hyphens
//! and blanks anywhere, and may have O for 0, and I or L for 1.

use std::fmt;

use thiserror::Error;

const PREFIX: &str = "GLM1";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BITS: usize = 5;
const DATA_BYTES: usize = 20;
const DATA: usize = DATA_BYTES * 8 / BITS;
const CHECK: usize = 4;
const GROUP: usize = 4;
/// Longest text that is looked at: room for a blank or hyphen after each character.
const MAX_TEXT: usize = 2 * (PREFIX.len() + DATA + CHECK);

/// An activation key with a right checksum, in its canonical text.
#[derive(Clone, PartialEq, Eq)]
pub struct ActivationKey(String);

/// Why a text is no activation key. Never contains the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It does not start with `GLM1`.
    #[error("this is not an activation key: a key starts with GLM1-; copy the whole key again")]
    Prefix,
    /// It has too few or too many characters.
    #[error(
        "an activation key has {} characters after GLM1-, hyphens not counted, and this one has {found}; copy the \
         whole key again", DATA + CHECK
    )]
    Length {
        /// How many there are.
        found: usize,
    },
    /// It has a character that no key has.
    #[error(
        "character {position} after GLM1- cannot be in an activation key; compare it with the key you were given"
    )]
    Character {
        /// Counted from 1, without hyphens.
        position: usize,
    },
    /// The checksum does not match the rest.
    #[error("the activation key is mistyped somewhere; please compare it with the key you were given")]
    Checksum,
}

impl ActivationKey {
    /// Makes a new key from the operating system's random source.
    ///
    /// # Errors
    /// The system has no random source, or it failed.
    pub fn generate() -> Result<ActivationKey, getrandom::Error> {
        let mut data = [0; DATA_BYTES];
        getrandom::fill(&mut data)?;
        Ok(ActivationKey::from_bytes(&data))
    }

    /// Reads typed text, and judges its checksum.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn parse(text: &str) -> Result<ActivationKey, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::Length { found: text.len() });
        }
        let typed: String = text.chars().filter(|c| *c != '-' && !c.is_whitespace()).collect();
        let body = after_prefix(&typed).ok_or(KeyError::Prefix)?;
        let found = body.chars().count();
        let symbols: Vec<u8> = body
            .chars()
            .enumerate()
            .map(|(i, c)| value(c).ok_or(KeyError::Character { position: i + 1 }))
            .collect::<Result<_, _>>()?;
        if symbols.len() != DATA + CHECK {
            return Err(KeyError::Length { found });
        }
        let (data, check) = symbols.split_at(DATA);
        if checksum(data) != check {
            return Err(KeyError::Checksum);
        }
        Ok(ActivationKey(canonical(&symbols)))
    }

    /// Whether a text is meant to be an activation key, rather than an activation token or a Kubernetes token.
    pub fn looks_like(text: &str) -> bool {
        after_prefix(text.trim_start()).is_some()
    }

    /// The canonical text, which is what a server hashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_bytes(data: &[u8; DATA_BYTES]) -> ActivationKey {
        let bit = |i: usize| data[i / 8] >> (7 - i % 8) & 1;
        let symbol = |i: usize| (0..BITS).fold(0, |symbol, b| symbol << 1 | bit(i * BITS + b));
        let mut symbols: Vec<u8> = (0..DATA).map(symbol).collect();
        symbols.extend(checksum(&symbols));
        ActivationKey(canonical(&symbols))
    }
}

impl fmt::Display for ActivationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Never the key itself: logs are read by more people than may use it.
impl fmt::Debug for ActivationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationKey(…)")
    }
}

/// What follows `GLM1`, typed in any case, with I or L for the 1.
fn after_prefix(text: &str) -> Option<&str> {
    let (prefix, body) = text.split_at_checked(PREFIX.len())?;
    let is_one = prefix.chars().next_back().and_then(value) == Some(1);
    (prefix.is_ascii() && prefix[..3].eq_ignore_ascii_case(&PREFIX[..3]) && is_one).then_some(body)
}

/// The five bits of a typed character.
fn value(typed: char) -> Option<u8> {
    let upper = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let index = ALPHABET.iter().position(|symbol| char::from(*symbol) == upper)?;
    u8::try_from(index).ok()
}

fn canonical(symbols: &[u8]) -> String {
    let mut text = String::from(PREFIX);
    for (i, symbol) in symbols.iter().enumerate() {
        if i % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(*symbol)]));
    }
    text
}

/// The low 20 bits of the CRC-32 (IEEE 802.3: reflected, polynomial 0xEDB88320, initial value and final XOR all
/// ones) of the canonical data characters in ASCII, most significant five bits first.
fn checksum(data: &[u8]) -> [u8; CHECK] {
    let mut crc = u32::MAX;
    for symbol in data {
        crc ^= u32::from(ALPHABET[usize::from(*symbol)]);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    [15, 10, 5, 0].map(|shift| (!crc >> shift & 0x1F) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZEROS: &str = "GLM1-0000-0000-0000-0000-0000-0000-0000-0000";

    #[test]
    fn the_checksum_is_the_documented_one() {
        // CRC-32 of 32 ASCII zeros by zlib: 0xA0F292D0.
        let key = ActivationKey::from_bytes(&[0; DATA_BYTES]);
        assert_eq!(key.as_str(), format!("{ZEROS}-54PG"));
    }

    #[test]
    fn typed_text_may_be_lower_case_spaced_and_with_look_alike_letters() {
        let key = ActivationKey::from_bytes(&[0x08; DATA_BYTES]);
        let typed = format!(" {} ", key.as_str().to_lowercase().replace('-', " "));
        assert_eq!(ActivationKey::parse(&typed), Ok(key.clone()));
        let typed = key.as_str().replace('0', "o").replace('1', "l");
        assert_eq!(ActivationKey::parse(&typed), Ok(key));
    }

    #[test]
    fn a_wrong_text_says_what_is_wrong_and_not_what_it_was() {
        let key = ActivationKey::from_bytes(&[0xA5; DATA_BYTES]);
        assert_eq!(ActivationKey::parse(""), Err(KeyError::Prefix));
        assert_eq!(ActivationKey::parse("eyJhbGciOi"), Err(KeyError::Prefix));
        assert_eq!(ActivationKey::parse("GLM1-ABCD"), Err(KeyError::Length { found: 4 }));
        assert_eq!(ActivationKey::parse("GLM1-ABUD"), Err(KeyError::Character { position: 3 }));
        assert_eq!(ActivationKey::parse(&"G".repeat(100_000)), Err(KeyError::Length { found: 100_000 }));
        assert_eq!(ActivationKey::parse("GLMé"), Err(KeyError::Prefix));
        assert!(!format!("{key:?}").contains(&key.as_str()[5..9]));
    }

    #[test]
    fn two_new_keys_differ() {
        let keys = [ActivationKey::generate(), ActivationKey::generate()];
        let [Ok(one), Ok(other)] = keys else { panic!("no random source") };
        assert_ne!(one, other);
    }

    proptest! {
        #[test]
        fn every_key_is_read_back(data: [u8; DATA_BYTES]) {
            let key = ActivationKey::from_bytes(&data);
            prop_assert_eq!(ActivationKey::parse(key.as_str()), Ok(key));
        }

        #[test]
        fn one_wrong_character_is_always_noticed(data: [u8; DATA_BYTES], at in 0..DATA + CHECK, by in 1u8..32) {
            let text = ActivationKey::from_bytes(&data).0;
            let index = PREFIX.len() + 1 + at + at / GROUP;
            let mut bytes = text.into_bytes();
            let old = value(char::from(bytes[index])).expect("of the alphabet");
            bytes[index] = ALPHABET[usize::from((old + by) % 32)];
            let text = String::from_utf8(bytes).expect("ASCII");
            prop_assert_eq!(ActivationKey::parse(&text), Err(KeyError::Checksum));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,120}") {
            let _ = ActivationKey::parse(&text);
            let _ = ActivationKey::looks_like(&text);
        }
    }
}
