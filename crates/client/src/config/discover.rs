//! Finding the configuration: what the caller gave, then the Service Binding, then the environment, value by value.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Ca, Config, ConfigError, Credential, Server, Value, binding::Binding};

const ROOT: &str = "SERVICE_BINDING_ROOT";
const URI: &str = "GENIE_LM_URI";
const PRODUCT: &str = "GENIE_LM_PRODUCT";
const KEY: &str = "GENIE_LM_KEY";
const TOKEN_FILE: &str = "GENIE_LM_TOKEN_FILE";
const CA_FILE: &str = "GENIE_LM_CA_FILE";

/// What a configuration needs, in the order in which it is looked for.
const VALUES: [Value; 4] = [
    Value {
        name: "the license server",
        flag: "--uri",
        env: URI,
        setting: "GENIE_LM_URI to https://HOST:PORT",
    },
    Value { name: "the product", flag: "--product", env: PRODUCT, setting: PRODUCT },
    Value {
        name: "the activation key",
        flag: "--key-file",
        env: "GENIE_LM_KEY or GENIE_LM_TOKEN_FILE",
        setting: "GENIE_LM_KEY to the grant's activation key",
    },
    Value {
        name: "the CA of the license server",
        flag: "--ca-file",
        env: CA_FILE,
        setting: "GENIE_LM_CA_FILE to the server's ca.crt",
    },
];

/// What the caller gives; what it leaves out is looked for.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `https://HOST:PORT`; several replicas with commas between.
    pub uri: Option<String>,
    /// The product to run.
    pub product: Option<String>,
    /// Who asks.
    pub credential: Option<Credential>,
    /// Whom to trust.
    pub ca: Option<Ca>,
    /// The directory of a Service Binding.
    pub binding: Option<PathBuf>,
}

impl Config {
    /// Finds the configuration of this process.
    ///
    /// # Errors
    /// A value is nowhere, or invalid; the error says where it was looked for and what to do.
    pub fn discover(given: Given) -> Result<Config, ConfigError> {
        Config::discover_in(given, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Finds the configuration with variables that `env` reads.
    ///
    /// # Errors
    /// As [`Config::discover`].
    pub fn discover_in(given: Given, env: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let found = Found::new(&given, &env)?;
        let bound = found.binding.as_ref();
        let uri = given
            .uri
            .map(|uri| (uri, "--uri".to_owned()))
            .or_else(|| bound.and_then(|b| Some((b.uri.clone()?, b.dir.join("uri").display().to_string()))))
            .or_else(|| env(URI).map(|uri| (uri, URI.to_owned())));
        let product =
            given.product.or_else(|| bound.and_then(|b| b.product.clone())).or_else(|| env(PRODUCT));
        let credential = given
            .credential
            .or_else(|| bound.and_then(|b| b.credential.clone()))
            .or_else(|| env(KEY).map(Credential::Text))
            .or_else(|| env(TOKEN_FILE).map(|path| Credential::File(path.into())));
        let ca = given
            .ca
            .or_else(|| bound.and_then(|b| b.ca.clone()))
            .or_else(|| env(CA_FILE).map(|path| Ca::File(path.into())));
        let there = [uri.is_some(), product.is_some(), credential.is_some(), ca.is_some()];
        let (Some((uri, origin)), Some(product), Some(credential), Some(ca)) = (uri, product, credential, ca)
        else {
            let values =
                VALUES.into_iter().zip(there).filter(|(_, there)| !there).map(|(value, _)| value).collect();
            return Err(ConfigError::Missing {
                values,
                binding: found.words,
                bound: found.binding.is_some(),
            });
        };
        let config = Config { server: Server::parse(&uri, &origin)?, product, credential, ca };
        config.check()?;
        Ok(config)
    }

    /// Reads what will be read again later, so that a wrong file is reported at the start.
    fn check(&self) -> Result<(), ConfigError> {
        self.credential.read()?;
        self.ca.roots()?;
        Ok(())
    }
}

/// The binding, and in words what was found.
struct Found {
    binding: Option<Binding>,
    words: String,
}

impl Found {
    fn new(given: &Given, env: &impl Fn(&str) -> Option<String>) -> Result<Found, ConfigError> {
        if let Some(dir) = &given.binding {
            let binding = Binding::read(dir)?;
            return Ok(Found {
                binding: Some(binding),
                words: format!("the Service Binding {}", dir.display()),
            });
        }
        let all_given = given.uri.is_some()
            && given.product.is_some()
            && given.credential.is_some()
            && given.ca.is_some();
        let Some(root) = env(ROOT).map(PathBuf::from).filter(|_| !all_given) else {
            return Ok(Found { binding: None, words: format!("a Service Binding ({ROOT} is not set)") });
        };
        let product = given.product.clone().or_else(|| env(PRODUCT));
        Found::under(&root, product.as_deref())
    }

    fn under(root: &Path, product: Option<&str>) -> Result<Found, ConfigError> {
        let mut bindings = Binding::under(root)?;
        let total = bindings.len();
        bindings.retain(|b| product.is_none() || b.product.is_none() || b.product.as_deref() == product);
        if bindings.len() > 1 {
            let names = bindings.iter().map(Binding::name).collect();
            let products: BTreeSet<_> = bindings.iter().filter_map(|b| b.product.as_deref()).collect();
            let by_product = products.len() == bindings.len();
            return Err(ConfigError::Ambiguous { root: root.to_owned(), names, by_product });
        }
        let at = root.display();
        let words = match (&bindings[..], total, product) {
            ([binding], ..) => format!("the Service Binding {}", binding.dir.display()),
            (_, 0, _) => format!("a Service Binding of type genie-lm under {at} (there is none)"),
            (.., product) => {
                format!(
                    "a Service Binding for product {} under {at} (there is none)",
                    product.unwrap_or_default()
                )
            }
        };
        Ok(Found { binding: bindings.pop(), words })
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
