//! Whose licenses count, and for which products. Whoever runs the servers says it; no pool and no license can.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{KeyError, PublicKey, rules};

/// Most keys of one file.
pub const MAX_VENDOR_KEYS: usize = 64;
/// Longest file in bytes: 64 keys with a hundred products each.
pub const MAX_VENDOR_KEYS_FILE: usize = 512 * 1024;
/// Most products of one key.
const MAX_PRODUCTS: usize = 256;

/// The public keys of vendors. By default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<TrustedKey>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct TrustedKey {
    key: PublicKey,
    products: BTreeSet<String>,
}

/// Why a text does not say whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// More than such a file can have.
    #[error("it has more than {MAX_VENDOR_KEYS_FILE} bytes, the most that is read")]
    TooLong,
    /// Not YAML, or not these fields.
    #[error("{0}; write vendorKeys: [{{products: [acme-cad], key: …}}]")]
    Form(String),
    /// More keys.
    #[error("vendorKeys has more than {MAX_VENDOR_KEYS} keys, the most that are taken")]
    TooManyKeys,
    /// Not a key.
    #[error("vendorKeys[{index}].key: {error}")]
    Key {
        /// Counted from 0.
        index: usize,
        /// What is wrong.
        error: KeyError,
    },
    /// A key that may license nothing, or what has no such name.
    #[error(
        "vendorKeys[{index}].products must name 1 to {MAX_PRODUCTS} products that this key may license, such as acme-cad"
    )]
    Products {
        /// Counted from 0.
        index: usize,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    vendor_keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    products: Vec<String>,
    key: String,
}

impl TrustedKeys {
    /// Reads YAML or JSON: `vendorKeys`, a list of `products` and `key` (PEM or JWK).
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        if text.len() > MAX_VENDOR_KEYS_FILE {
            return Err(TrustError::TooLong);
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let file: File = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| TrustError::Form(error.to_string()))?;
        if file.vendor_keys.len() > MAX_VENDOR_KEYS {
            return Err(TrustError::TooManyKeys);
        }
        let key = |(index, entry): (usize, Entry)| {
            let key = PublicKey::from_text(&entry.key).map_err(|error| TrustError::Key { index, error })?;
            let good = (1..=MAX_PRODUCTS).contains(&entry.products.len())
                && entry.products.iter().all(|product| rules::is_name(product));
            let products = entry.products.into_iter().collect();
            if good { Ok(TrustedKey { key, products }) } else { Err(TrustError::Products { index }) }
        };
        file.vendor_keys.into_iter().enumerate().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// All keys, whatever they may license.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.0.iter().map(|trusted| trusted.key).collect()
    }

    /// Whether the key of this thumbprint may license a product.
    pub fn allows(&self, kid: &str, product: &str) -> bool {
        self.0.iter().any(|trusted| trusted.products.contains(product) && trusted.key.kid() == kid)
    }

    /// Whether a product is one that a vendor licenses: then nobody has seats of it without a license.
    pub fn governs(&self, product: &str) -> bool {
        self.0.iter().any(|trusted| trusted.products.contains(product))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::document::SigningKey;

    fn file(entries: &[(&str, String)]) -> String {
        let entry = |(products, key): &(&str, String)| {
            let key: String = key.lines().map(|line| format!("    {line}\n")).collect();
            format!("- products: {products}\n  key: |\n{key}")
        };
        format!("vendorKeys:\n{}", entries.iter().map(entry).collect::<String>())
    }

    #[test]
    fn a_key_may_license_its_own_products_and_no_others() {
        let (acme, other) =
            (SigningKey::generate().unwrap().public(), SigningKey::generate().unwrap().public());
        let jwk = serde_json::to_string(&other).unwrap();
        let trusted = TrustedKeys::parse(&file(&[("[cad, cam]", acme.to_pem()), ("[sim]", jwk)])).unwrap();
        assert_eq!(trusted.keys(), [acme, other]);
        assert!(trusted.allows(&acme.kid(), "cam") && trusted.allows(&other.kid(), "sim"));
        assert!(!trusted.allows(&acme.kid(), "sim") && !trusted.allows(&other.kid(), "cad"));
        assert!(trusted.governs("sim") && !trusted.governs("sims"));
        assert_eq!(TrustedKeys::parse("vendorKeys: []").unwrap(), TrustedKeys::default());
    }

    #[test]
    fn what_says_it_wrongly_is_refused_with_what_to_write() {
        let pem = SigningKey::generate().unwrap().public().to_pem();
        let private = SigningKey::generate().unwrap().to_pem().unwrap();
        let many: Vec<_> = (0..=MAX_VENDOR_KEYS).map(|_| ("[cad]", pem.clone())).collect();
        for (text, told) in [
            (file(&[("[]", pem.clone())]), "vendorKeys[0].products must name"),
            (file(&[("['*']", pem.clone())]), "vendorKeys[0].products must name"),
            (file(&[("[cad]", pem.clone()), ("[cad]", "x".into())]), "vendorKeys[1].key: this is no Ed25519"),
            (file(&[("[cad]", private)]), "vendorKeys[0].key: this is a private key"),
            (file(&many), "more than 64 keys"),
            (format!("{}  kid: x\n", file(&[("[cad]", pem)])), "write vendorKeys"),
            (String::new(), "write vendorKeys"),
            (" ".repeat(MAX_VENDOR_KEYS_FILE + 1), "the most that is read"),
        ] {
            let error = TrustedKeys::parse(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{told}: {error}");
        }
    }
}
