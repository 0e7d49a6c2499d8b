//! Why the configuration does not say whom to ask: each says what was looked for, where, and what to do.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::key::KeyError;

/// Why the configuration is not complete, or not valid. Never contains a key or a token.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No source has these values.
    #[error("{}", missing(.values, .binding, *.bound))]
    Missing {
        /// All that are missing.
        values: Vec<Value>,
        /// What was found of Service Bindings, in words.
        binding: String,
        /// Whether there is a binding, that lacks them.
        bound: bool,
    },
    /// Several bindings, and nothing says which.
    #[error(
        "there are several Service Bindings of type genie-lm under {}: {}. {}", .root.display(), .names.join(", "),
        which(*.by_product)
    )]
    Ambiguous {
        /// Where they are.
        root: PathBuf,
        /// Directory and product of each.
        names: Vec<String>,
        /// Whether each is of another product.
        by_product: bool,
    },
    /// The directory given is not a binding of genie-lm.
    #[error("{} is not a Service Binding of genie-lm: {problem}. Give the directory that the grant's Secret is mounted at", .dir.display())]
    Binding {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A directory of bindings that cannot be listed.
    #[error("cannot look for Service Bindings under {} (SERVICE_BINDING_ROOT): {source}", .root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that cannot be read.
    #[error("cannot read {what} from {}: {source}", .path.display())]
    Unreadable {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is larger than such files are.
    #[error("{} is larger than {limit} bytes, so it cannot be {what}; give the right file", .path.display())]
    TooLarge {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The largest size that is read.
        limit: u64,
    },
    /// A file that is no text.
    #[error("{} is not text, so it cannot be {what}; give the right file", .path.display())]
    NotText {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A URI of another form.
    #[error(
        "{uri:?} ({origin}) is not the address of a license server; write https://HOST:PORT, and for several replicas a comma between"
    )]
    Uri {
        /// Where it came from.
        origin: String,
        /// Its beginning.
        uri: String,
    },
    /// An empty or far too long key or token.
    #[error("{origin} is empty, or too long for an activation key or token; give the right one")]
    CredentialSize {
        /// Where it came from.
        origin: String,
    },
    /// A mistyped activation key.
    #[error("{origin}: {problem}")]
    Key {
        /// Where it came from.
        origin: String,
        /// What is wrong.
        problem: KeyError,
    },
    /// No certificate, or a broken one.
    #[error("{origin} holds no valid CA certificate in PEM; give the ca.crt of the license server")]
    Ca {
        /// Where it came from.
        origin: String,
    },
}

/// A part of the configuration, and where it can come from besides a Service Binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// In words.
    pub name: &'static str,
    /// What the caller can give.
    pub flag: &'static str,
    /// The variables that can be set.
    pub env: &'static str,
    /// One of them, and to what.
    pub setting: &'static str,
}

fn missing(values: &[Value], binding: &str, bound: bool) -> String {
    let all = |part: fn(&Value) -> &'static str| and(&values.iter().map(part).collect::<Vec<_>>());
    let are = if values.len() == 1 { "is" } else { "are" };
    let (names, flags, envs) = (all(|value| value.name), all(|value| value.flag), all(|value| value.env));
    let set = if bound {
        "Set"
    } else {
        "Give --binding DIR, the directory that the grant's Secret is mounted at, or set"
    };
    let settings = all(|value| value.setting);
    format!("{names} {are} not configured: looked for {flags}, then {binding}, then {envs}. {set} {settings}")
}

/// "a", "a and b", "a, b and c".
fn and(words: &[&str]) -> String {
    match words {
        [most @ .., second, last] => {
            most.iter().chain([second]).copied().collect::<Vec<_>>().join(", ") + " and " + last
        }
        _ => words.concat(),
    }
}

/// How to say which binding is meant.
fn which(by_product: bool) -> &'static str {
    if by_product {
        "Say which by its product (GENIE_LM_PRODUCT or --product), or by its directory (--binding)"
    } else {
        "Say which by its directory (--binding); the product does not tell them apart"
    }
}
