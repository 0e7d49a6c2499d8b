//! The way to a server: something that takes HTTP/2 requests. The real one is a TLS connection to one replica
//! ([`connect`](crate::connect)); a simulation gives its own.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tonic::body::Body;
use tower::{ServiceExt, util::BoxCloneSyncService};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection to one replica, made when it is first used; its clones share it. It ends with its last clone.
#[derive(Clone)]
pub struct Line(BoxCloneSyncService<http::Request<Body>, http::Response<Body>, BoxError>);

impl Line {
    /// A line over any service of HTTP requests, such as a tonic `Channel`. Where its error, or a source of that, is
    /// a [`ConnectFailure`], nothing was sent.
    pub fn new<S>(service: S) -> Line
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>>,
        S: Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Line(BoxCloneSyncService::new(service.map_err(Into::into)))
    }
}

impl tower::Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

/// Gives lines.
pub trait Dial: Send + Sync {
    /// A new line, to another replica than the last where there is one. Called within a tokio runtime.
    fn dial(&self) -> Line;
}

/// Why no connection was made: a sentence for each address tried.
#[derive(Debug)]
pub struct ConnectFailure(pub String);

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectFailure {}
