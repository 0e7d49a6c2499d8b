//! A Service Binding: the directory that a grant's Secret is mounted at, with one file for each value.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Ca, ConfigError, Credential, file};

const TYPE: &str = "genie-lm";
/// Longest value other than key and certificate: a DNS name has 253 characters.
const MAX_VALUE: u64 = 4 * 1024;
/// Most entries of a binding root that are looked at; a pod mounts a handful.
const MAX_BINDINGS: usize = 256;

/// What a binding says; a value that it lacks may come from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) dir: PathBuf,
    pub(super) uri: Option<String>,
    pub(super) product: Option<String>,
    pub(super) credential: Option<Credential>,
    pub(super) ca: Option<Ca>,
}

impl Binding {
    /// Reads the directory that the user named.
    pub(super) fn read(dir: &Path) -> Result<Binding, ConfigError> {
        match kind(dir)? {
            Some(kind) if kind == TYPE => Binding::values(dir),
            Some(kind) => Err(ConfigError::Binding {
                dir: dir.to_owned(),
                problem: format!("its type file says {:?}, not \"{TYPE}\"", file::excerpt(&kind)),
            }),
            None => Err(ConfigError::Binding {
                dir: dir.to_owned(),
                problem: "it has no file named type".to_owned(),
            }),
        }
    }

    /// All bindings of genie-lm under a root, in the order of their names.
    pub(super) fn under(root: &Path) -> Result<Vec<Binding>, ConfigError> {
        let unreadable = |source| ConfigError::Root { root: root.to_owned(), source };
        let mut dirs = Vec::new();
        for entry in fs::read_dir(root).map_err(unreadable)?.take(MAX_BINDINGS) {
            let entry = entry.map_err(unreadable)?;
            // Names with a dot are the volume's own.
            if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_dir() {
                dirs.push(entry.path());
            }
        }
        dirs.sort();
        let mut bindings = Vec::new();
        for dir in dirs {
            if kind(&dir)?.as_deref() == Some(TYPE) {
                bindings.push(Binding::values(&dir)?);
            }
        }
        Ok(bindings)
    }

    fn values(dir: &Path) -> Result<Binding, ConfigError> {
        let uri = match value(dir, "uri")? {
            Some(uri) => Some(uri),
            None => value(dir, "host")?.zip(value(dir, "port")?).map(|(host, port)| {
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                format!("https://{host}:{port}")
            }),
        };
        let present = |name: &str| Some(dir.join(name)).filter(|path| path.exists());
        Ok(Binding {
            dir: dir.to_owned(),
            uri,
            product: value(dir, "product")?,
            credential: present("key").map(Credential::File),
            ca: present("ca.crt").map(Ca::File),
        })
    }

    /// Directory and product, for an error.
    pub(super) fn name(&self) -> String {
        let dir = self.dir.file_name().unwrap_or_default().to_string_lossy();
        format!("{dir} (product {})", self.product.as_deref().unwrap_or("not given"))
    }
}

fn kind(dir: &Path) -> Result<Option<String>, ConfigError> {
    value(dir, "type")
}

fn value(dir: &Path, name: &'static str) -> Result<Option<String>, ConfigError> {
    let path = dir.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let text = file::text(&path, "a value of a Service Binding", MAX_VALUE)?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}
