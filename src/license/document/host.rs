//! What a license names a machine by.

const CONTEXT: &str = "genie-lm host fingerprint v1";
const BYTES: usize = 16;

/// The fingerprint of the machine with this machine-id(5). The id itself is not for others to see, so this is a
/// hash that nobody can turn back.
pub fn fingerprint(machine_id: &str) -> Option<String> {
    let id = machine_id.trim();
    if id.len() != 32 || !id.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let hash = blake3::derive_key(CONTEXT, id.to_ascii_lowercase().as_bytes());
    Some(hash[..BYTES].iter().fold("host1-".to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_fingerprint_is_fixed_and_does_not_show_the_machine_id() {
        let id = "0123456789abcdef0123456789abcdef";
        let found = fingerprint(&format!("{id}\n")).unwrap();
        assert_eq!(found, fingerprint(&id.to_uppercase()).unwrap());
        assert_ne!(found, fingerprint(&id.replace('f', "e")).unwrap());
        assert!(found.len() == 38 && !found.contains(&id[..8]), "{found}");
    }

    #[test]
    fn a_machine_that_has_no_id_yet_has_no_fingerprint() {
        for id in ["", "uninitialized", "0123"] {
            assert_eq!(fingerprint(id), None, "{id}");
        }
    }
}
