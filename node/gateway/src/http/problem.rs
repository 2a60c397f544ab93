//! Errors as JSON (RFC 9457), with the project's codes, and whether the call was done.

use crate::stats::{Outcome, Refusal};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_client::{ClientError, LastingError};
use serde_json::{Map, Value as Json, json};

/// Whether what was asked for has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    No,
    Maybe,
    Yes,
}

/// One error.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub code: &'static str,
    pub status: StatusCode,
    /// What kind of error it is; the same for all of one code.
    pub title: &'static str,
    /// What happened, and what to do next.
    pub detail: String,
    pub done: Done,
    /// Seconds after which it may go well.
    pub retry_after: Option<u64>,
    /// What the vat's code rejected with, if it did.
    pub rejection: Option<Box<Json>>,
    /// Whose fault it is that nothing was asked of the vat.
    pub refusal: Option<Refusal>,
}

impl Problem {
    fn new(code: &'static str, status: StatusCode, title: &'static str, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem { code, status, title, detail, done: Done::No, retry_after: None, rejection: None, refusal: None }
    }

    fn done(self, done: Done) -> Problem {
        Problem { done, ..self }
    }

    fn refusal(self, refusal: Refusal) -> Problem {
        Problem { refusal: Some(refusal), ..self }
    }

    fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    /// The vat's own code threw, or rejected. Not an error of the way there.
    pub fn rejected(rejection: Json, shown: String) -> Problem {
        let problem = Problem::new("Q-G001", StatusCode::UNPROCESSABLE_ENTITY, "The vat rejected the call", shown);
        Problem { rejection: Some(Box::new(rejection)), ..problem.done(Done::Yes) }
    }

    pub fn no_bearer(why: impl Into<String>) -> Problem {
        Problem::new("Q-G002", StatusCode::UNAUTHORIZED, "A bearer is needed", why).refusal(Refusal::Reference)
    }

    pub fn forbidden(why: impl Into<String>) -> Problem {
        let title = "The reference does not open that object";
        Problem::new("Q-G003", StatusCode::FORBIDDEN, title, why).refusal(Refusal::Reference)
    }

    pub fn origin(why: impl Into<String>) -> Problem {
        Problem::new("Q-G004", StatusCode::FORBIDDEN, "That page may not connect", why).refusal(Refusal::Origin)
    }

    pub fn malformed(why: impl Into<String>) -> Problem {
        Problem::new("Q-G005", StatusCode::BAD_REQUEST, "The request is malformed", why).refusal(Refusal::Request)
    }

    /// As [`Problem::malformed`], with the status that says more exactly how.
    pub fn malformed_as(status: StatusCode, why: impl Into<String>) -> Problem {
        Problem { status, ..Problem::malformed(why) }
    }

    pub fn no_route(status: StatusCode, why: impl Into<String>) -> Problem {
        Problem::new("Q-G006", status, "There is nothing here to ask so", why).refusal(Refusal::Request)
    }

    pub fn too_large(why: impl Into<String>) -> Problem {
        Problem::new("Q-G007", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large", why).refusal(Refusal::Request)
    }

    /// All places are taken, or all that one address or reference may have.
    pub fn busy(refusal: Refusal, why: impl Into<String>) -> Problem {
        let status = match refusal {
            Refusal::Full => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::TOO_MANY_REQUESTS,
        };
        Problem::new("Q-G008", status, "Too many calls at once", why).refusal(refusal).retry_after(1)
    }

    pub fn other_request() -> Problem {
        let why = "this Idempotency-Key was used for another call (another object, method or arguments); use a new key for a new call";
        let title = "The key belongs to another request";
        Problem::new("Q-G009", StatusCode::UNPROCESSABLE_ENTITY, title, why).refusal(Refusal::Request)
    }

    pub fn under_way() -> Problem {
        let why = "a call with this Idempotency-Key is under way; ask again with the same key";
        Problem::new("Q-G010", StatusCode::CONFLICT, "The call is under way", why).done(Done::Maybe).retry_after(1)
    }

    pub fn keys_used_up(refusal: Refusal, why: impl Into<String>, seconds: u64) -> Problem {
        Problem { code: "Q-G011", title: "No more calls with keys are kept", ..Problem::busy(refusal, why) }
            .retry_after(seconds)
    }

    pub fn not_recorded(why: &str, done: Done) -> Problem {
        let detail = format!("the host could not record the call: {why}; ask again with the same key");
        Problem::new("Q-G015", StatusCode::INTERNAL_SERVER_ERROR, "The call was not recorded", detail).done(done)
    }

    pub fn answer_lost(why: impl Into<String>, done: Done) -> Problem {
        Problem::new("Q-G016", StatusCode::BAD_GATEWAY, "The answer can't be had", why).done(done)
    }

    /// Returns why there is no answer. `is_again`: an earlier attempt of the same call may have been taken.
    pub fn unanswered(error: LastingError, is_again: bool) -> Problem {
        let not_done = if is_again { Done::Maybe } else { Done::No };
        let error = match error {
            LastingError::NotOpened(why) => return Problem::forbidden(why).done(not_done),
            LastingError::NotRecorded(why) => return Problem::not_recorded(&why, Done::Maybe),
            LastingError::Forgotten => return Problem::answer_lost(error.to_string(), Done::Maybe),
            LastingError::Client(error) => error,
        };
        let why = error.to_string();
        match error {
            ClientError::Call(_) => Problem::malformed(why),
            ClientError::Unknown(vat) => {
                let why =
                    format!("no host that this one asks knows vat {vat}; ask a gateway of a host that carries it");
                Problem::new("Q-G017", StatusCode::NOT_FOUND, "The vat is not known here", why).done(not_done)
            }
            ClientError::NotSent(_) => {
                Problem::new("Q-G012", StatusCode::SERVICE_UNAVAILABLE, "The vat can't be reached", why)
                    .done(not_done)
                    .retry_after(5)
            }
            ClientError::Deadline(_) => {
                let why = format!("{why}; with an Idempotency-Key, ask again with the same key and body");
                Problem::new("Q-G013", StatusCode::GATEWAY_TIMEOUT, "No answer in time", why).done(Done::Maybe)
            }
            ClientError::Refused(_) | ClientError::NoCode(_) | ClientError::NotLent(..) => {
                Problem::new("Q-G014", StatusCode::BAD_GATEWAY, "The vat's members refuse the call", why).done(not_done)
            }
            ClientError::Network(_) | ClientError::Random(_) => Problem::not_recorded(&why, not_done),
        }
    }

    /// What came of the call, for the counters.
    pub fn outcome(&self) -> Outcome {
        match self.done {
            Done::Yes if self.rejection.is_some() => Outcome::Rejected,
            Done::Yes | Done::Maybe => Outcome::Unanswered,
            Done::No => Outcome::NotDone,
        }
    }

    /// The members of RFC 9457 and ours.
    pub fn to_json(&self) -> Json {
        let mut members = Map::new();
        members.insert("type".into(), format!("urn:quorate:error:{}", self.code).into());
        members.insert("title".into(), self.title.into());
        members.insert("status".into(), self.status.as_u16().into());
        members.insert("detail".into(), self.detail.clone().into());
        members.insert("code".into(), self.code.into());
        let done = match self.done {
            Done::No => "no",
            Done::Maybe => "maybe",
            Done::Yes => "yes",
        };
        members.insert("done".into(), done.into());
        if let Some(rejection) = &self.rejection {
            members.insert("rejection".into(), (**rejection).clone());
        }
        Json::Object(members)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        // For the counters.
        if let Some(refusal) = self.refusal {
            response.extensions_mut().insert(refusal);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"vats\""));
        }
        response
    }
}

/// As [`Problem::to_json`], where JSON-RPC wants an error of its own.
pub(crate) fn rpc_error(id: &Json, code: i64, message: impl Into<String>) -> Json {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message.into() } })
}
