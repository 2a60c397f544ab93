//! What a request asks: of which object, by which authority, and with which arguments.

use super::calls::Ask;
use super::problem::Problem;
use super::values::read_arguments;
use crate::address::Address;
use crate::shares::{Full, Share, Shares};
use crate::stats::Refusal;
use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use quorate_protocol::exact_json;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::Method;
use serde_json::Value as Json;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest body, in bytes. A message to a vat has 512 KiB; its bytes take twice as much as JSON.
const MAX_BODY_BYTES: usize = (1 << 20) + (64 << 10);
/// A body that may be longer is read only while few others are, since it takes many times as much once it is read.
const SMALL_BODY_BYTES: u64 = 64 << 10;
/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// How long a call may take, unless the request says another time, and at most.
const PATIENCE_SECONDS: u64 = 30;
const MAX_PATIENCE_SECONDS: u64 = 120;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PROOF: HeaderName = HeaderName::from_static("quorate-proof");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a path names.
pub(super) struct Named {
    pub vat: String,
    pub object: String,
    /// Nothing: the object itself is called.
    pub method: Option<String>,
}

/// Reads a call of a method, or, without one, of an object that is a function.
///
/// # Errors
/// It is none that can be made.
pub(super) async fn read(
    Named { vat, object, method }: Named,
    address: Address,
    headers: &HeaderMap,
    body: Body,
    large: &Arc<Shares>,
) -> Result<Ask, Problem> {
    let sturdyref = opened(&vat, &object, &bearer(headers)?)?;
    let key = key(headers)?;
    let (prove, patience) = (wants_proof(headers)?, patience(headers)?);
    let (args, slots) = {
        let _place = place(&body, address, large)?;
        let json = read_json(headers, body).await?.unwrap_or_else(|| Json::Array(Vec::new()));
        read_arguments(json).map_err(Problem::malformed)?
    };
    let method = method.map_or(Method::Apply, Method::Call);
    Ok(Ask { sturdyref, address, method, args, slots, key, prove, patience })
}

/// Returns what the `Authorization` header shows.
///
/// # Errors
/// It shows nothing.
pub(super) fn bearer(headers: &HeaderMap) -> Result<String, Problem> {
    const HOW: &str = "send `Authorization: Bearer SECRET`: what stands behind # in a reference (vat://VAT/OBJECT#SECRET), or the whole reference";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Problem::no_bearer(HOW)) };
    if values.next().is_some() {
        return Err(Problem::no_bearer("there are two Authorization headers; send one"));
    }
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim().to_owned())
        }
        _ => Err(Problem::no_bearer(HOW)),
    }
}

/// The reference that a whole bearer is.
///
/// # Errors
/// It is no reference with its secret.
pub(super) fn whole(token: &str) -> Result<Sturdyref, Problem> {
    let reference: Sturdyref = token.parse().map_err(|error| Problem::no_bearer(format!("{error}")))?;
    if !reference.is_bearer() {
        return Err(Problem::no_bearer("the reference lacks its secret, which stands behind #"));
    }
    Ok(reference)
}

/// Returns what a bearer opens of what the path names.
fn opened(vat: &str, object: &str, token: &str) -> Result<Sturdyref, Problem> {
    let named: Sturdyref =
        format!("vat://{vat}/{object}").parse().map_err(|error| Problem::malformed(format!("{error}")))?;
    if !token.starts_with("vat://") {
        return whole(&format!("{named}#{token}"));
    }
    let reference = whole(token)?;
    if (reference.vat, reference.object) != (named.vat, named.object) {
        let why = format!("the bearer is of vat://{}/{}, and the path names {named}", reference.vat, reference.object);
        return Err(Problem::forbidden(why));
    }
    Ok(reference)
}

/// The `Idempotency-Key`: as it is, or as a string of structured fields (RFC 9651), which are the same key.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_fine = !text.is_empty() && text.len() <= MAX_KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_fine || values.next().is_some() {
        let why = format!("one Idempotency-Key of 1 to {MAX_KEY_BYTES} visible ASCII characters, such as a UUID");
        return Err(Problem::malformed(why));
    }
    Ok(Some(text.to_owned()))
}

fn wants_proof(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(PROOF).map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"?0") => Ok(false),
        Some(b"?1") => Ok(true),
        Some(_) => Err(Problem::malformed("Quorate-Proof is ?1, for a proof of the answer, or ?0")),
    }
}

/// `Prefer: wait=SECONDS` (RFC 7240).
fn patience(headers: &HeaderMap) -> Result<Duration, Problem> {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = preferences.flat_map(|value| value.split(','));
    let Some(wait) = preferences.find_map(|preference| preference.trim().strip_prefix("wait=")) else {
        return Ok(Duration::from_secs(PATIENCE_SECONDS));
    };
    match wait.parse() {
        Ok(seconds @ 1..=MAX_PATIENCE_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(Problem::malformed(format!("Prefer: wait={wait}: 1 to {MAX_PATIENCE_SECONDS} seconds are possible"))),
    }
}

/// A place among large bodies, if it may be one.
///
/// # Errors
/// There is none.
pub(super) fn place(body: &Body, address: Address, large: &Arc<Shares>) -> Result<Option<Share>, Problem> {
    if body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY_BYTES) {
        return Ok(None);
    }
    large.take(address, 1).map(Some).map_err(|full| {
        let bodies = format!("bodies of more than {SMALL_BODY_BYTES} bytes, or of unknown length,");
        let (refusal, why) = match full {
            Full::All => (Refusal::Full, format!("as many {bodies} come in as may at once; send less, or later")),
            Full::Share(own) => {
                let why = format!(
                    "{own} {bodies} come in from your address, {address}, which is its share now; send less, or later"
                );
                (Refusal::Share, why)
            }
        };
        Problem::busy(refusal, why)
    })
}

/// The JSON of a body; nothing if there is none.
///
/// # Errors
/// It is too large, too slow, of another type, or no JSON that arrives as it was written.
pub(super) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Option<Json>, Problem> {
    let bytes = match timeout(BODY_PATIENCE, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_too_long(&error) => {
            return Err(Problem::too_large(format!("a body has at most {MAX_BODY_BYTES} bytes")));
        }
        Ok(Err(error)) => return Err(Problem::malformed(format!("the body broke off: {error}"))),
        Err(_) => {
            let why = format!("the body did not come within {} s", BODY_PATIENCE.as_secs());
            return Err(Problem::malformed_as(StatusCode::REQUEST_TIMEOUT, why));
        }
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let why = "send `Content-Type: application/json`";
        return Err(Problem::malformed_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::malformed("the body is not text in UTF-8"))?;
    exact_json::read(text).map(Some).map_err(|error| Problem::malformed(error.to_string()))
}

fn is_too_long(error: &axum::Error) -> bool {
    error.source().is_some_and(|source| source.to_string().contains("length limit"))
}
