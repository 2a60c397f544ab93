//! Serves the page and what it reads.
//!
//! Invariants: it listens on loopback only, and answers only requests that name it as such, so that no page of another origin reaches it by
//! a name that it points here (DNS rebinding); no other origin reads what it answers, or has it do anything; nothing here changes a host or
//! a vat but the answer to what waits for an owner, and that, like what vats print and who holds what, is only for those who show the owner's token; what
//! clients hold of this process is bounded.

use crate::{
    admin::{self, Token},
    detail::{self, Missing},
    look::Hosts,
    page,
    poll::{Poll, Snapshot},
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures::stream;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use quorate_protocol::proof::file::FILE_BYTES;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

/// Connections at once. A browser holds six for each page that is open, one of them for what changes.
const CONNECTIONS: usize = 256;
/// Pages that follow what changes, at once.
const FOLLOWERS: usize = 64;
/// From the connection, or from the last answer, until a request's head has come whole.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a request's head, and of what waits to be sent.
const HEAD_BYTES: usize = 16 << 10;
/// From a request until the head of its answer is there.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// How long accepting pauses after a failure, such as that this process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Often enough to notice that a page is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What the page may load and do: all of it is its own server's, and none of it is inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

struct Server {
    hosts: Arc<dyn Hosts>,
    /// What the owner shows; without it there are no owners here.
    token: Option<Token>,
    poll: Poll,
    followers: Arc<Semaphore>,
    /// Checks of files: one at a time, since each may take seconds of a core.
    checks: Semaphore,
    /// Logs that are read: one at a time, since they may be long.
    logs: Semaphore,
}

/// Serves until it is dropped. `token`: who shows it is the owner.
pub async fn serve(listener: TcpListener, hosts: Arc<dyn Hosts>, token: Option<Token>) {
    let server = Arc::new(Server {
        poll: Poll::new(Arc::clone(&hosts)),
        hosts,
        token,
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        checks: Semaphore::new(1),
        logs: Semaphore::new(1),
    });
    tokio::join!(server.poll.run(), listen(listener, router(Arc::clone(&server))));
}

async fn listen(listener: TcpListener, routes: Router) {
    let (places, mut tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
    loop {
        // It is never closed.
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection of the console was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        let routes = TowerToHyperService::new(routes.clone());
        tasks.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), routes);
            // How it ends concerns the client alone.
            let _ = served.await;
            drop(place);
        });
    }
}

fn router(server: Arc<Server>) -> Router {
    let owners = Router::new()
        .route("/logs", get(logs))
        .route("/vats/{vat}/objects", get(objects))
        .route("/vats/{vat}/approvals", post(approve))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), only_owner));
    let api = Router::new()
        .merge(owners)
        .route("/admin", get(who))
        .route("/model", get(model))
        .route("/events", get(events))
        .route("/evidence", get(evidence))
        .route("/evidence/file", get(evidence_file))
        .route("/hop", get(hop))
        .route("/check", post(check).layer(DefaultBodyLimit::max(FILE_BYTES)))
        .route("/vats/{vat}/signed", get(signed))
        .route("/vats/{vat}/epochs", get(epochs))
        .route("/vats/{vat}/blocks", get(blocks))
        .route("/vats/{vat}/proof", get(proof))
        .fallback(async || ApiError::from(Missing::Wrong("there is nothing at this path".to_owned())))
        .layer(middleware::from_fn(only_same_origin))
        .layer(middleware::from_fn(in_time))
        .with_state(server);
    Router::new()
        .nest("/api", api)
        .fallback(file)
        .layer(middleware::from_fn(only_by_own_name))
        .layer(middleware::map_response(with_policy))
}

/// Refuses requests that name another host than this machine's loopback.
async fn only_by_own_name(request: Request, next: Next) -> Response {
    let name = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if name.is_some_and(is_loopback_name) {
        return next.run(request).await;
    }
    let shown = name.unwrap_or("no host").escape_debug().to_string();
    let why = format!("the console answers to localhost, 127.0.0.1 and [::1] only, and this request names {shown}\n");
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Returns whether a `Host` header names this machine's loopback, with whatever port: it may be forwarded from another machine.
fn is_loopback_name(name: &str) -> bool {
    let Ok(authority) = name.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Refuses what pages of other origins ask for, as browsers tell. Programs tell nothing.
async fn only_same_origin(request: Request, next: Next) -> Response {
    if is_own(request.headers()) {
        return next.run(request).await;
    }
    let why = "pages of other origins may not read the console\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

fn is_own(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_own_site = matches!(site, None | Some(b"same-origin" | b"none"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    is_own_site && origin.is_none_or(|origin| origin == format!("http://{host}").as_bytes())
}

/// Whether a request shows the token.
fn is_owner(server: &Server, headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    server.token.as_ref().is_some_and(|token| token.is(shown))
}

/// Refuses what is for the owner alone.
async fn only_owner(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    if is_owner(&server, request.headers()) {
        return next.run(request).await;
    }
    let how = match server.token {
        Some(_) => "open the address that `vat console --admin` has printed",
        None => "start `vat console --admin`, and open the address that it prints",
    };
    ApiError(StatusCode::FORBIDDEN, format!("this is for the owner of the hosts: {how}")).into_response()
}

/// Answers in time, if only that there is no answer.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response(),
    }
}

async fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn file(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, "the page is only read\n").into_response();
    }
    let Some(found) = page::file(uri.path()) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    // Its name has a hash of it.
    let cached = if found.is_fixed { "public, max-age=31536000, immutable" } else { "no-cache" };
    (
        [(header::CONTENT_TYPE, found.kind), (header::CACHE_CONTROL, cached)],
        Body::from(Bytes::from_static(found.content)),
    )
        .into_response()
}

/// An error as the page shows it.
struct ApiError(StatusCode, String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "message": self.1 }))).into_response()
    }
}

impl From<Missing> for ApiError {
    fn from(missing: Missing) -> ApiError {
        match missing {
            Missing::NoSuchVat(why) | Missing::Nothing(why) => ApiError(StatusCode::NOT_FOUND, why),
            Missing::NoAnswer(why) => ApiError(StatusCode::SERVICE_UNAVAILABLE, why),
            Missing::Wrong(why) => ApiError(StatusCode::BAD_REQUEST, why),
        }
    }
}

type Answer<T> = Result<Json<T>, ApiError>;

impl Server {
    async fn look(&self) -> Result<Arc<Snapshot>, ApiError> {
        let seen = self.poll.fresh().await;
        match &seen.problem {
            Some(problem) => Err(ApiError(StatusCode::SERVICE_UNAVAILABLE, problem.clone())),
            None => Ok(seen),
        }
    }
}

/// All that is known, for programs.
async fn model(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    let seen = server.look().await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], seen.since(None)).into_response())
}

/// What a page that follows has.
struct Following {
    seen: watch::Receiver<Option<Arc<Snapshot>>>,
    last: Option<Arc<Snapshot>>,
    _place: OwnedSemaphorePermit,
}

async fn events(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    let place = Arc::clone(&server.followers).try_acquire_owned().map_err(|_| {
        ApiError(StatusCode::SERVICE_UNAVAILABLE, format!("{FOLLOWERS} pages are open, which is the most; close one"))
    })?;
    let mut seen = server.poll.watch();
    // What was seen when nobody watched is old.
    let first = Some(server.poll.fresh().await);
    seen.mark_unchanged();
    let following = Following { seen, last: None, _place: place };
    let updates = stream::unfold((following, first), |(mut following, first)| async move {
        let now = match first {
            Some(first) => first,
            None => loop {
                following.seen.changed().await.ok()?;
                if let Some(now) = following.seen.borrow_and_update().clone() {
                    break now;
                }
            },
        };
        let event = Event::default().data(now.since(following.last.as_deref()));
        following.last = Some(now);
        Some((Ok::<Event, Infallible>(event), (following, None)))
    });
    Ok(Sse::new(updates).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

#[derive(Deserialize)]
struct SignedQuery {
    after: Option<u64>,
}

async fn signed(
    State(server): State<Arc<Server>>,
    Path(vat): Path<String>,
    Query(query): Query<SignedQuery>,
) -> Answer<detail::SignedBlocks> {
    Ok(Json(detail::signed(&server.look().await?.look, &vat, query.after).await?))
}

async fn epochs(State(server): State<Arc<Server>>, Path(vat): Path<String>) -> Answer<Vec<detail::EpochView>> {
    Ok(Json(detail::epochs(&server.look().await?.look, &vat).await?))
}

async fn blocks(State(server): State<Arc<Server>>, Path(vat): Path<String>) -> Answer<detail::BlocksView> {
    Ok(Json(detail::blocks(&server.look().await?.look, &vat).await?))
}

#[derive(Deserialize)]
struct HopQuery {
    from: String,
    to: String,
    message: u64,
}

async fn hop(State(server): State<Arc<Server>>, Query(query): Query<HopQuery>) -> Answer<detail::HopView> {
    let HopQuery { from, to, message } = query;
    if message == 0 {
        return Err(Missing::Wrong("messages are numbered from 1".to_owned()).into());
    }
    Ok(Json(detail::hop(&server.look().await?.look, &from, &to, message).await?))
}

async fn proof(State(server): State<Arc<Server>>, Path(vat): Path<String>) -> Result<Response, ApiError> {
    let seen = server.look().await?;
    Ok(download("vat.proof", detail::proof(&seen.look, &vat).await?))
}

async fn evidence(State(server): State<Arc<Server>>) -> Answer<detail::EvidenceView> {
    Ok(Json(detail::evidence(&server.look().await?.look).await))
}

#[derive(Deserialize)]
struct EvidenceQuery {
    vat: Option<String>,
}

async fn evidence_file(
    State(server): State<Arc<Server>>,
    Query(query): Query<EvidenceQuery>,
) -> Result<Response, ApiError> {
    let seen = server.look().await?;
    Ok(download("evidence.proof", detail::evidence_file(&seen.look, query.vat.as_deref()).await?))
}

fn download(name: &str, bytes: Vec<u8>) -> Response {
    let how = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, how)], bytes)
        .into_response()
}

async fn who(State(server): State<Arc<Server>>, headers: HeaderMap) -> Json<admin::AdminView> {
    Json(admin::AdminView { offered: server.token.is_some(), accepted: is_owner(&server, &headers) })
}

#[derive(Deserialize)]
struct LogsQuery {
    of: String,
    #[serde(default)]
    q: String,
    level: Option<String>,
}

async fn logs(State(server): State<Arc<Server>>, Query(query): Query<LogsQuery>) -> Answer<admin::LogsView> {
    let failed = |why: String| ApiError(StatusCode::INTERNAL_SERVER_ERROR, why);
    let _turn = server.logs.acquire().await.map_err(|error| failed(error.to_string()))?;
    let lines = server.hosts.logs(query.of).await.map_err(Missing::Nothing)?;
    Ok(Json(admin::search(lines, &query.q, query.level.as_deref())))
}

async fn objects(State(server): State<Arc<Server>>, Path(vat): Path<String>) -> Answer<admin::ObjectsView> {
    Ok(Json(admin::objects(&server.look().await?.look, &vat).await?))
}

async fn approve(
    State(server): State<Arc<Server>>,
    Path(vat): Path<String>,
    Json(answer): Json<admin::Answer>,
) -> Answer<admin::AnsweredView> {
    Ok(Json(admin::answer(&server.look().await?.look, &vat, answer).await?))
}

/// What came of a check.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum CheckReply {
    Proven(detail::CheckedView),
    Refused(String),
}

async fn check(State(server): State<Arc<Server>>, bytes: Bytes) -> Answer<CheckReply> {
    let failed = |why: String| ApiError(StatusCode::INTERNAL_SERVER_ERROR, why);
    let _turn = server.checks.acquire().await.map_err(|error| failed(error.to_string()))?;
    let checked = tokio::task::spawn_blocking(move || detail::check_file(&bytes)).await;
    let checked = checked.map_err(|error| failed(error.to_string()))?;
    Ok(Json(checked.map_or_else(CheckReply::Refused, CheckReply::Proven)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::LineView, look::Look};
    use futures::future::BoxFuture;
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    struct NoHosts;

    impl Hosts for NoHosts {
        fn look(&self) -> BoxFuture<'_, Result<Look, String>> {
            let expected = vec![("v".to_owned(), "0a".repeat(32))];
            Box::pin(async { Ok(Look { expected, ..Look::default() }) })
        }

        fn logs(&self, of: String) -> BoxFuture<'_, Result<Vec<LineView>, String>> {
            let text = format!("{of} says hello");
            Box::pin(async { Ok(vec![LineView { block: Some(1), level: Some("info".to_owned()), text }]) })
        }
    }

    async fn start() -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        (address, tokio::spawn(serve(listener, Arc::new(NoHosts), Some(Token::new([7; 32])))))
    }

    /// The answer to one request with these lines in its head.
    async fn ask(address: SocketAddr, request: &str, lines: &[&str], body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let length = body.len();
        let head =
            format!("{request} HTTP/1.1\r\n{}\r\nconnection: close\r\ncontent-length: {length}", lines.join("\r\n"));
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        // It may close before all was read.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn only_requests_that_name_loopback_are_answered() {
        let (address, _server) = start().await;
        for own in ["127.0.0.1", "localhost:7380", "LOCALHOST", "[::1]:1", "127.9.9.9:80"] {
            let answer = ask(address, "GET /api/model", &[&format!("host: {own}")], "").await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&"0a".repeat(32)), "{own}: {answer}");
        }
        for other in [
            "example.org",
            "example.org:7380",
            "127.0.0.1.example.org",
            "localhost.example.org",
            "10.0.0.1",
            "a@localhost",
            "",
        ] {
            for path in ["/", "/api/model", "/assets/x"] {
                let answer = ask(address, &format!("GET {path}"), &[&format!("host: {other}")], "").await;
                assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("0a0a"), "{other}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn pages_of_other_origins_read_nothing_and_do_nothing() {
        let (address, _server) = start().await;
        let (host, own) = (format!("host: {address}"), format!("origin: http://{address}"));
        let (host, own) = (host.as_str(), own.as_str());
        for (lines, is_answered) in [
            (vec![host], true),
            (vec![host, own, "sec-fetch-site: same-origin"], true),
            (vec![host, "sec-fetch-site: none"], true),
            (vec![host, "sec-fetch-site: cross-site"], false),
            (vec![host, "sec-fetch-site: same-site"], false),
            (vec![host, "origin: http://example.org"], false),
            (vec![host, "origin: null"], false),
        ] {
            let read = ask(address, "GET /api/model", &lines, "").await;
            let checked = ask(address, "POST /api/check", &lines, "no file of proofs").await;
            for answer in [read, checked] {
                assert_eq!(answer.starts_with("HTTP/1.1 200"), is_answered, "{lines:?}: {answer}");
                assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{answer}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_for_the_owner_is_had_by_the_token_alone() {
        let (address, _server) = start().await;
        let (host, own) = (format!("host: {address}"), format!("authorization: Bearer {}", "07".repeat(32)));
        let (host, own) = (host.as_str(), own.as_str());
        let answer = r#"{"host":"alpha","id":"c4","approve":true}"#;
        let json = "content-type: application/json";
        for (request, body, as_owner) in [
            ("GET /api/logs?of=v", "", "200"),
            ("GET /api/vats/v/objects", "", "503"),
            ("POST /api/vats/v/approvals", answer, "503"),
        ] {
            let other = format!("authorization: Bearer {}", "08".repeat(32));
            let refused = [
                vec![host, json],
                vec![host, json, other.as_str()],
                vec![host, json, "authorization: Bearer"],
                vec![host, json, "cookie: token"],
            ];
            for lines in refused {
                let said = ask(address, request, &lines, body).await;
                assert!(said.starts_with("HTTP/1.1 403") && said.contains("vat console --admin"), "{lines:?}: {said}");
            }
            // Nor by a page of another origin, if it had the token.
            let said = ask(address, request, &[host, json, own, "origin: http://example.org"], body).await;
            assert!(said.starts_with("HTTP/1.1 403"), "{said}");
            let said = ask(address, request, &[host, json, own], body).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {as_owner}")), "{request}: {said}");
        }
        // What a form of another page could send is not taken.
        let said = ask(address, "POST /api/vats/v/approvals", &[host, own, "content-type: text/plain"], answer).await;
        assert!(said.starts_with("HTTP/1.1 415"), "{said}");
        assert!(ask(address, "GET /api/admin", &[host, own], "").await.contains(r#"{"offered":true,"accepted":true}"#));
        assert!(ask(address, "GET /api/admin", &[host], "").await.contains(r#""accepted":false"#));
    }

    #[tokio::test]
    async fn the_page_may_load_only_what_is_its_servers_and_none_of_it_inline() {
        let (address, _server) = start().await;
        let host = format!("host: {address}");
        let page = ask(address, "GET /vats/some", &[&host], "").await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("default-src 'none'") && page.contains("script-src 'self';"), "{page}");
        assert!(!page.contains("unsafe-inline") && !page.contains("<style") && !page.contains("style="), "{page}");
        let scripts = page.matches("<script").count();
        assert_eq!(scripts, page.matches("src=\"/assets/").count(), "no script stands in the page: {page}");
        for header in ["nosniff", "no-referrer", "frame-ancestors 'none'"] {
            assert!(page.contains(header), "{header} is not in {page}");
        }
        assert!(ask(address, "POST /", &[&host], "").await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn what_is_asked_wrongly_is_said_in_words() {
        let (address, _server) = start().await;
        let host = format!("host: {address}");
        for (path, status, words) in [
            ("/api/vats/none/signed", "404", "carries a vat none"),
            ("/api/vats/v/signed", "503", "no host of v runs here"),
            ("/api/hop?from=v&to=w&message=0", "400", "numbered from 1"),
            ("/api/nothing", "400", "nothing at this path"),
            ("/api/evidence/file", "404", "no evidence"),
        ] {
            let answer = ask(address, &format!("GET {path}"), &[&host], "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{path}: {answer}");
        }
        let checked = ask(address, "POST /api/check", &[&host], "no file of proofs").await;
        assert!(checked.contains("refused") && checked.contains("Q-V001"), "{checked}");
    }

    #[tokio::test]
    async fn changes_come_as_events_and_the_first_is_everything() {
        let (address, _server) = start().await;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET /api/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        while !answer.windows(12).any(|end| end == b"\"is_whole\":t") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0, "it was ended");
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.to_ascii_lowercase().contains("content-type: text/event-stream"), "{answer}");
    }
}
