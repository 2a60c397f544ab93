//! Calls of vats over plain HTTP, for programs that have nothing but JSON: `curl`, webhooks, agents.
//!
//! | module | what it does |
//! |---|---|
//! | `request` | reads what is asked: the object, who may use it, the arguments |
//! | `values` | arguments and results as JSON |
//! | `calls` | makes calls, so many at once |
//! | `receipts` | calls with an `Idempotency-Key`, on disk |
//! | `problem` | errors as JSON |
//! | `schema` | what methods take, from an object's guard |
//! | `mcp` | an object's methods as tools of the Model Context Protocol |
//!
//! Authority is in the `Authorization` header alone: the secret of a reference. What a path names it names for people, proxies and logs; a
//! browser sends nothing by itself that would open anything.

mod calls;
mod mcp;
mod problem;
mod receipts;
mod request;
mod schema;
mod values;

use crate::address::Address;
use crate::stats::{Refusal, Stats};
use crate::vats::Connects;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use calls::{Answered, Calls};
use problem::Problem;
use receipts::{ReceiptLimits, Receipts};
use request::Named;
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

/// What is served, in OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// The answer is that of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

struct Api {
    calls: Arc<Calls>,
    /// Origins of pages that may ask.
    origins: Vec<String>,
}

/// The routes, with calls with keys kept in `folder`.
///
/// # Errors
/// The folder can't be used.
pub(crate) fn routes(
    connects: Arc<dyn Connects>,
    origins: Vec<String>,
    folder: &FilePath,
    stats: Arc<Stats>,
) -> io::Result<Router> {
    let receipts = Receipts::open(folder, ReceiptLimits::default())?;
    let api = Arc::new(Api { calls: Arc::new(Calls::new(connects, receipts, stats)), origins });
    Ok(Router::new()
        .route("/v1/vats/{vat}/objects/{object}", post(apply))
        .route("/v1/vats/{vat}/objects/{object}/{method}", post(call))
        .route("/openapi.json", get(openapi))
        .route("/mcp", post(tools))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api))
}

async fn call(
    State(api): State<Arc<Api>>,
    Extension(address): Extension<Address>,
    Path((vat, object, method)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    answer(&api, Named { vat, object, method: Some(method) }, address, &headers, body).await
}

/// Calls an object that is a function.
async fn apply(
    State(api): State<Arc<Api>>,
    Extension(address): Extension<Address>,
    Path((vat, object)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    answer(&api, Named { vat, object, method: None }, address, &headers, body).await
}

async fn answer(
    api: &Api,
    named: Named,
    address: Address,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let ask = request::read(named, address, headers, body, &api.calls.large).await?;
    let wants_proof = ask.prove;
    Ok(response(api.calls.call(ask).await?, wants_proof))
}

fn response(answered: Answered, wants_proof: bool) -> Response {
    // Put together as text: numbers stay as the vat gave them.
    let proof = match &answered.proof {
        _ if !wants_proof => String::new(),
        Some(proof) => format!(r#","proof":"{}""#, STANDARD.encode(proof)),
        None => r#","proof":null"#.to_owned(),
    };
    let mut response = json_text(format!("{{\"result\":{}{proof}}}", answered.result));
    if answered.is_replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn json_text(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

async fn openapi() -> Response {
    json_text(OPENAPI)
}

async fn tools(
    State(api): State<Arc<Api>>,
    Extension(address): Extension<Address>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    mcp::serve(&api.calls, address, &headers, body).await
}

async fn no_route(request: Request) -> Problem {
    let why = format!(
        "there is no {} here; a call is POST /v1/vats/VAT/objects/OBJECT/METHOD, and /openapi.json describes all there is",
        request.uri().path()
    );
    Problem::no_route(StatusCode::NOT_FOUND, why)
}

async fn no_method(request: Request) -> Problem {
    let why = format!("{} is not asked by {}; /openapi.json says how", request.uri().path(), request.method());
    Problem::no_route(StatusCode::METHOD_NOT_ALLOWED, why)
}

/// Before and after every request: which pages may ask, and what no answer may lack.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    // A proxy before us may parse such a request differently, and take its rest for another one: it is the last of its connection.
    let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
    let is_listed = |origin: &HeaderValue| api.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
    let mut response = match &origin {
        Some(origin) if !is_listed(origin) => {
            let shown = String::from_utf8_lossy(origin.as_bytes());
            let why = format!("pages of {shown} may not connect here: list it in `gateway_origins` of host.toml");
            Problem::origin(why).into_response()
        }
        Some(_) if request.method() == Verb::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        api.calls.stats.refused(*refusal);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if is_last {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(origin) = origin.filter(is_listed) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        let asked = "authorization, content-type, idempotency-key, mcp-protocol-version, prefer, quorate-proof";
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(asked));
        let told = "idempotent-replayed, retry-after";
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(told));
    }
    response
}

#[cfg(test)]
mod tests;
