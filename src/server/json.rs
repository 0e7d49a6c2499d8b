//! The same calls as JSON: `POST /v1/{call}`, bodies are the proto3 JSON of the gRPC messages.
//!
//! A verdict is HTTP 200, also when it is DENIED; everything else is problem+json (RFC 9457).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use genie_ledger::BootInstant;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::Licensing;
use super::error::CallError;
use super::grpc::BORROW;
use super::{openapi, request};

type Calls = State<Arc<Licensing>>;
type Answer<T> = Result<Json<T>, Problem>;

/// The routes under `/v1/`.
pub(crate) fn router(licensing: Arc<Licensing>) -> Router {
    Router::new()
        .route(
            "/v1/activate",
            post(async |State(calls): Calls, body: Input| -> Answer<_> {
                Ok(Json(calls.activate(&parse(body)?)?))
            }),
        )
        .route(
            "/v1/validate",
            post(async |State(calls): Calls, body: Input| -> Answer<_> {
                Ok(Json(calls.validate(&parse(body)?)?))
            }),
        )
        .route(
            "/v1/checkout",
            post(async |State(calls): Calls, body: Input| -> Answer<_> {
                Ok(Json(calls.checkout(parse(body)?, deadline(&calls)).await?))
            }),
        )
        .route(
            "/v1/renew",
            post(async |State(calls): Calls, body: Input| -> Answer<_> {
                Ok(Json(calls.renew(parse(body)?, deadline(&calls)).await?))
            }),
        )
        .route(
            "/v1/checkin",
            post(async |State(calls): Calls, body: Input| -> Answer<_> {
                Ok(Json(calls.checkin(parse(body)?, deadline(&calls)).await?))
            }),
        )
        .route("/v1/borrow", post(async || Problem::from(BORROW)))
        .route("/v1/return", post(async || Problem::from(BORROW)))
        .route("/v1/openapi.json", get(async || Json(openapi::document())))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "not found", "there is no such call; see /v1/openapi.json")
        })
        .with_state(licensing)
}

/// Callers in JSON have no header that says how long they wait.
fn deadline(calls: &Licensing) -> BootInstant {
    calls.clock.boot() + request::patience(None)
}

type Input = Result<Bytes, BytesRejection>;

fn parse<T: DeserializeOwned>(body: Input) -> Result<T, Problem> {
    let body = body.map_err(|rejection| Problem {
        status: rejection.status(),
        title: "body not read",
        detail: rejection.body_text(),
        retry_after: None,
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let what = if error.is_data() {
            "the body is not the JSON of this call"
        } else {
            "the body is malformed JSON"
        };
        CallError::Invalid(format!("{what}: {error}; see /v1/openapi.json")).into()
    })
}

/// An RFC 9457 problem.
pub(crate) struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), retry_after: None }
    }
}

impl Problem {
    /// Too much at once; retry in a second.
    pub(crate) fn busy(detail: &str) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail) }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let (status, title, _) = error.kind();
        let retry_after = error.retry_after().map(|after| after.as_secs().max(1));
        Self { status, title, detail: error.to_string(), retry_after }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
