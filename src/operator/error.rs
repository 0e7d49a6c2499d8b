//! What a failed step means: whose matter it is, which condition, metric, log level and retry follow from that.

use std::time::Duration;

use kube::ResourceExt;

use crate::pki::PkiError;

/// Whose matter a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// The user has to change something; a change will come as an event.
    User,
    /// The cluster did not do what it was asked; asked again, it may.
    Cluster,
    /// This program is wrong.
    Bug,
}

impl Category {
    /// Label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::User => "user",
            Category::Cluster => "cluster",
            Category::Bug => "bug",
        }
    }

    /// When to try again, after `failures` failures in a row of one object.
    pub fn retry(self, failures: u32) -> Duration {
        const FIRST: Duration = Duration::from_millis(500);
        // An API server that is back after an outage is used again within half a minute.
        const LONGEST: Duration = Duration::from_secs(30);
        // Nothing changes by itself: only a lost event is made up for.
        const WAITING: Duration = Duration::from_secs(600);
        match self {
            Category::Cluster => (FIRST * 2u32.saturating_pow(failures.min(16))).min(LONGEST),
            Category::User | Category::Bug => WAITING,
        }
    }
}

/// A failure with a category.
pub trait Categorized: std::error::Error {
    /// Whose matter it is.
    fn category(&self) -> Category;
}

/// A request to the API server that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {kind} {namespace}/{name}: {}", sentence(source))]
pub struct ApiError {
    /// What was tried.
    pub verb: &'static str,
    /// On which kind.
    pub kind: String,
    /// Where.
    pub namespace: String,
    /// On what.
    pub name: String,
    /// Why not.
    #[source]
    pub source: Box<kube::Error>,
}

impl ApiError {
    /// Says what was tried on `object`.
    pub fn on<K: kube::Resource<DynamicType = ()>>(
        verb: &'static str,
        object: &K,
        source: kube::Error,
    ) -> Self {
        Self::at::<K>(verb, &object.namespace().unwrap_or_default(), &object.name_any(), source)
    }

    /// Says what was tried where.
    pub fn at<K: kube::Resource<DynamicType = ()>>(
        verb: &'static str,
        namespace: &str,
        name: &str,
        source: kube::Error,
    ) -> Self {
        Self {
            verb,
            kind: K::kind(&()).into_owned(),
            namespace: namespace.into(),
            name: name.into(),
            source: Box::new(source),
        }
    }

    /// Whether the object was not what it was taken for: the cache will tell better in a moment.
    pub fn is_conflict(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code == 409)
    }

    /// Whether somebody who may decides against it: a quota, an admission webhook, missing rights.
    pub fn is_forbidden(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code == 403)
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code == 404)
    }
}

/// An object could not be made what it should be.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is one of this name that the operator did not make.
    #[error(
        "there is a {kind} {name} already that belongs to somebody else: delete or rename it, or name the pool otherwise"
    )]
    Taken {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// The API server's own sentence, where it has one.
fn sentence(source: &kube::Error) -> String {
    match source {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

impl Categorized for ApiError {
    fn category(&self) -> Category {
        match &*self.source {
            // What the user wrote made an object that the API server refuses (a selector, a resource quantity).
            kube::Error::Api(status) if status.code == 422 || status.code == 400 => Category::User,
            kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => Category::Bug,
            _ => Category::Cluster,
        }
    }
}

impl Categorized for WriteError {
    fn category(&self) -> Category {
        match self {
            WriteError::Api(error) => error.category(),
            // What belongs to somebody else is in no cache, so that it went is no event: it has to be looked at again.
            WriteError::Taken { .. } => Category::Cluster,
        }
    }
}

impl Categorized for PkiError {
    fn category(&self) -> Category {
        match self {
            PkiError::Names { .. } | PkiError::Ca(_) | PkiError::Missing(_) => Category::User,
            PkiError::Crypto(_) => Category::Cluster,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_fails_is_asked_again_ever_later_but_within_half_a_minute() {
        let waits: Vec<_> = (0..40).map(|failures| Category::Cluster.retry(failures)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits[0], Duration::from_millis(500));
        assert_eq!(waits[39], Duration::from_secs(30));
    }
}
