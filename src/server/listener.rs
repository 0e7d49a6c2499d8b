//! Accepts connections and serves HTTP/2 and HTTP/1.1 on them, with a bound on everything a stranger can spend:
//! connections, handshake time, header and body sizes, streams, silence.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::json::Problem;
use super::metrics::Metrics;
use super::request;

/// Connections at one time: each costs some 20 kB idle.
pub(crate) const MAX_CONNECTIONS: usize = 4_000;
/// A handshake is two round trips; a client that takes longer is not one of ours.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Time to read one request's head, and its body; to serve it, it has what its caller gives it besides.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// Requests at one time on all connections: with bodies of 16 kB that never end they cost 64 MB.
const MAX_REQUESTS: usize = 4_000;
/// Largest request body; the largest honest one has some 3 kB.
pub(crate) const MAX_BODY: usize = 16 << 10;
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Calls at one time on one connection.
const MAX_STREAMS: u32 = 256;
/// What one HTTP/2 connection may send ahead of the calls that read it: a body, and a few of them.
const STREAM_WINDOW: u32 = 16 << 10;
const CONNECTION_WINDOW: u32 = 64 << 10;
/// HTTP/2 clients are pinged, and answer; whoever sends nothing for this long is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(75);
/// How long open calls may take after the server was told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Puts the bounds on sizes and time around `router`.
pub(crate) fn bounded(router: Router) -> Router {
    router
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(MAX_REQUESTS)), deadline))
}

async fn deadline(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_place) = places.try_acquire() else {
        return Problem::busy("the server answers as many requests as it can; retry").into_response();
    };
    let asked = request.headers().get("grpc-timeout").map(|value| value.as_bytes());
    let limit = request::patience(asked) + BODY_DEADLINE;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request was not complete within {} s", limit.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "request timeout", detail).into_response()
        }
    }
}

/// A connection that is ready for HTTP.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + 'static {
    /// Whether the peers agreed on HTTP/2.
    fn is_http2(&self) -> bool;
}

impl Connection for TlsStream<TcpStream> {
    fn is_http2(&self) -> bool {
        self.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

/// In the clear: the port for probes and metrics.
impl Connection for TcpStream {
    fn is_http2(&self) -> bool {
        false
    }
}

/// Serves `router` on `listener` until `stop`; then lets open calls end, within a deadline. `handshake` makes a
/// connection of a TCP stream. `metrics` count the connections, where they are of interest.
pub(crate) async fn serve<C, H, F>(
    listener: TcpListener,
    router: Router,
    metrics: Option<Arc<Metrics>>,
    stop: CancellationToken,
    handshake: H,
) where
    C: Connection,
    H: Fn(TcpStream) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<C>> + Send,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let open = TaskTracker::new();
    loop {
        let tcp = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    // Out of descriptors, or the peer was quicker: neither ends the service.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            refused(metrics.as_deref(), "full");
            continue;
        };
        let (router, metrics, stop, handshake) =
            (router.clone(), metrics.clone(), stop.clone(), handshake.clone());
        open.spawn(async move {
            let _ = tcp.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake(tcp)).await {
                Ok(Ok(ready)) => {
                    let _counted = metrics.as_deref().map(Metrics::connected);
                    connection(ready, router, stop).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no TLS");
                    refused(metrics.as_deref(), "tls");
                }
                Err(_) => refused(metrics.as_deref(), "timeout"),
            }
            drop(place);
        });
    }
    open.close();
    if tokio::time::timeout(DRAIN_DEADLINE, open.wait()).await.is_err() {
        tracing::info!(connections = open.len(), "connections were cut after the drain deadline");
    }
}

fn refused(metrics: Option<&Metrics>, reason: &'static str) {
    if let Some(metrics) = metrics {
        metrics.refused(reason);
    }
}

async fn connection(connection: impl Connection, router: Router, stop: CancellationToken) {
    let h2 = connection.is_http2();
    let mut patient = TimeoutStream::new(connection);
    patient.set_read_timeout(Some(SILENCE));
    patient.set_write_timeout(Some(SILENCE));
    let io = TokioIo::new(Box::pin(patient));
    if h2 { http2_connection(io, router, stop).await } else { http1_connection(io, router, stop).await }
}

async fn http2_connection<I>(io: TokioIo<I>, router: Router, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return log_end(ended),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    log_end(connection.await);
}

async fn http1_connection<I>(io: TokioIo<I>, router: Router, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEADER_BYTES as usize)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return log_end(ended),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    log_end(connection.await);
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
