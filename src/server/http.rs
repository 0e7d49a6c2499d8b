//! Port 9453: /livez, /readyz and /metrics, in the clear, for the kubelet and for Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Serves until `stop`. Ready means: this process can answer Validate, and reach whoever decides; it does not mean
/// that this process decides, since a takeover must not empty the endpoints.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let readyz = async move || match ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "waiting for the plan\n"),
    };
    let text = async move || {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, content_type)], metrics.text()).into_response()
    };
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text));
    let router = super::listener::bounded(router);
    super::listener::serve(listener, router, None, stop, |tcp| std::future::ready(Ok(tcp))).await;
}
