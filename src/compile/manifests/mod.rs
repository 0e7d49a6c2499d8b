//! A directory of YAML files → pools, grants, Secrets and namespaces, and every problem with its file and line.
//!
//! The one part of `compile` that does I/O, and it only reads. Used by the standalone server and by `genie-lm check`.
//! One broken file, document or object never hides the rest.

mod compiled;
mod files;
mod objects;
mod schema;
#[cfg(test)]
mod tests;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde::Serialize;

#[cfg(test)]
pub(crate) use compiled::compile_unlicensed;
pub use compiled::{CompiledManifests, CompiledPool, compile_all};
pub use files::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
pub use objects::Located;

use super::ObjectName;
use crate::api::{LicenseGrant, LicensePool};
use objects::Object;
use yaml::{Budget, Node};

/// Documents of one load: five times as many grants as a pool may have.
pub const MAX_DOCUMENTS: usize = 10_000;
/// Values of one load, with all lists and maps: about 100 MiB while they are held.
const MAX_NODES: usize = 1_000_000;
/// Problems that are kept; the rest is counted.
const MAX_PROBLEMS: usize = 1_000;

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, or directory.
    pub file: PathBuf,
    /// Counted from 1; None: the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// A sentence that says what to write.
    pub message: String,
}

impl Problem {
    fn of_file(file: &Path, message: impl ToString) -> Self {
        Self { file: file.to_owned(), line: None, message: message.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// What was read. Objects in order of file and line; each name once.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Pools.
    pub pools: Vec<Located<LicensePool>>,
    /// Grants.
    pub grants: Vec<Located<LicenseGrant>>,
    /// Secrets.
    pub secrets: Vec<Located<Secret>>,
    /// Labels of the namespaces that were written down.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Everything that is wrong, in order of file and line.
    pub problems: Vec<Problem>,
    /// Pools that are written down and cannot be read.
    broken_pools: BTreeSet<ObjectName>,
}

impl Loaded {
    /// The Secret of this name.
    pub fn secret(&self, name: &ObjectName) -> Option<&Secret> {
        let secrets = self.secrets.iter().map(|secret| &secret.object);
        secrets.into_iter().find(|secret| ObjectName::of(*secret) == *name)
    }
}

/// Reads files, and the `.yaml`, `.yml` and `.json` files of directories, not of their subfolders.
pub fn load(paths: &[impl AsRef<Path>]) -> Loaded {
    let (texts, problems) = files::texts(paths);
    let mut loading = Loading { loaded: Loaded { problems, ..Loaded::default() }, ..Loading::default() };
    let mut budget = Budget(MAX_NODES);
    for (file, text) in texts {
        let (documents, faults) = yaml::documents(&text, &mut budget);
        loading.faults(&file, faults);
        for root in documents {
            loading.document(&file, root);
        }
    }
    let nothing = loading.documents == 0 && loading.loaded.problems.is_empty();
    let mut loaded = loading.loaded;
    if let Some(path) = paths.first().filter(|_| nothing) {
        let message = "there is no object here: write a LicensePool and a LicenseGrant";
        loaded.problems.push(Problem::of_file(path.as_ref(), message));
    }
    arrange(&mut loaded.problems);
    loaded
}

/// Sorted, each once, and not without end; what concerns whole files is kept.
fn arrange(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (a.line.is_some(), a).cmp(&(b.line.is_some(), b)));
    problems.dedup();
    let dropped = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    problems.sort();
    if let Some(last) = problems.last().cloned().filter(|_| dropped > 0) {
        problems
            .push(Problem::of_file(&last.file, format!("and {dropped} more problems: repair these first")));
    }
}

#[derive(Default)]
struct Loading {
    loaded: Loaded,
    first: BTreeMap<(&'static str, ObjectName), (PathBuf, u32)>,
    documents: usize,
}

impl Loading {
    fn faults(&mut self, file: &Path, faults: impl IntoIterator<Item = yaml::Fault>) {
        let problem = |(line, message)| Problem { file: file.to_owned(), line: Some(line), message };
        self.loaded.problems.extend(faults.into_iter().map(problem));
    }

    fn document(&mut self, file: &Path, root: Node) {
        if root.is_null() {
            return;
        }
        self.documents += 1;
        if self.documents > MAX_DOCUMENTS {
            let message =
                format!("this and what follows is not read: there are more than {MAX_DOCUMENTS} documents");
            if self.documents == MAX_DOCUMENTS + 1 {
                self.faults(file, [(root.line, message)]);
            }
            return;
        }
        match objects::object(&root) {
            Ok(object) => self.object(file, root, object),
            Err(refused) => {
                let pool = refused.pool.map(|(namespace, name)| ObjectName { namespace, name });
                self.loaded.broken_pools.extend(pool);
                self.faults(file, refused.faults);
            }
        }
    }

    fn object(&mut self, file: &Path, root: Node, object: Object) {
        let (kind, name) = match &object {
            Object::Pool(pool) => ("LicensePool", ObjectName::of(&**pool)),
            Object::Grant(grant) => ("LicenseGrant", ObjectName::of(&**grant)),
            Object::Secret(secret) => ("Secret", ObjectName::of(secret)),
            Object::Namespace(namespace) => {
                ("Namespace", ObjectName { namespace: String::new(), name: namespace.name_any() })
            }
        };
        let line = root.line_of("metadata.name");
        if let Some((first, at)) = self.first.get(&(kind, name.clone())).cloned() {
            return self.duplicate(kind, &name.name, (&first, at), (file, line));
        }
        self.first.insert((kind, name), (file.to_owned(), line));
        let file = file.to_owned();
        match object {
            Object::Pool(object) => self.loaded.pools.push(Located { object: *object, file, root }),
            Object::Grant(object) => self.loaded.grants.push(Located { object: *object, file, root }),
            Object::Secret(object) => self.loaded.secrets.push(Located { object, file, root }),
            Object::Namespace(object) => {
                let labels = object.metadata.labels.unwrap_or_default();
                self.loaded.namespaces.insert(object.metadata.name.unwrap_or_default(), labels);
            }
        }
    }

    /// The first counts; both are told.
    fn duplicate(&mut self, kind: &str, name: &str, first: (&Path, u32), second: (&Path, u32)) {
        let there = |(file, line): (&Path, u32)| format!("{}:{line}", file.display());
        let (here, again) = (there(first), there(second));
        self.faults(
            first.0,
            [(
                first.1,
                format!("{kind} {name} is written twice; this one counts: remove the one at {again}"),
            )],
        );
        self.faults(
            second.0,
            [(
                second.1,
                format!("{kind} {name} is written twice; the one at {here} counts: remove this one"),
            )],
        );
    }
}
