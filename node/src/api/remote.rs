//! The interface for operators on other machines: their requests come as frames of the network between hosts.
//!
//! Invariant: the caller has checked that the sender is an operator. It may do all that the owner may do on the home's Unix socket.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, header},
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use quorate_admin::remote::{MAX_REMOTE_BODY_BYTES, RemoteReply, RemoteRequest};

/// Answers one request.
///
/// # Errors
/// It is no request, or its answer is too large.
pub async fn answer(routes: Router, request: RemoteRequest) -> Result<RemoteReply, String> {
    let method = if request.body.is_some() { Method::POST } else { Method::GET };
    let mut built = Request::builder().method(method).uri(&request.path).header(header::HOST, "quorate");
    if request.json {
        built = built.header(header::CONTENT_TYPE, "application/json");
    }
    let body = Body::from(request.body.unwrap_or_default());
    let built = built.body(body).map_err(|error| format!("the request's path is none: {error}"))?;
    let response = match TowerToHyperService::new(routes).call(built).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), MAX_REMOTE_BODY_BYTES).await;
    let body = body.map_err(|_| {
        format!("the answer has over {MAX_REMOTE_BODY_BYTES} bytes; ask on the host's own machine, with --home")
    })?;
    Ok(RemoteReply { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};

    #[tokio::test]
    async fn a_request_is_answered_as_on_the_socket() {
        let long = || async { vec![0; MAX_REMOTE_BODY_BYTES + 1] };
        let echo = |body: String| async move { body };
        let routes = Router::new().route("/echo", post(echo)).route("/a", get(async || "a")).route("/long", get(long));
        let ask = |path: &str, body: Option<&[u8]>| {
            let request = RemoteRequest { path: path.to_owned(), body: body.map(<[u8]>::to_vec), json: false };
            answer(routes.clone(), request)
        };
        let replied = |status, body: &[u8]| Ok(RemoteReply { status, body: body.to_vec() });
        assert_eq!(ask("/a", None).await, replied(200, b"a"));
        assert_eq!(ask("/echo", Some(b"hello")).await, replied(200, b"hello"));
        assert_eq!(ask("/other", None).await, replied(404, b""));
        assert_eq!(ask("/echo", None).await, replied(405, b""));
        for bad in ["", "no path", "/\u{0}", "http://"] {
            let answer = ask(bad, None).await;
            assert!(
                answer.as_ref().is_err() || answer.as_ref().is_ok_and(|reply| reply.status == 404),
                "{bad}: {answer:?}"
            );
        }
        assert!(ask("/long", None).await.is_err());
    }
}
