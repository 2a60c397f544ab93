//! Listens: `GET /capnweb` for a session of Cap'n Web over a WebSocket, `POST /capnweb` for a batch; `GET /frames`, a WebSocket as well, for clients
//! that check for themselves; the rest is [`crate::http`]'s.
//!
//! Browsers say which page connects (`Origin`), and only pages that are listed may; programs say nothing, and may. What is sent is bounded: a
//! message, a batch, sessions at once, how fast an address sends, and what waits for a client that does not read.

use crate::address::{Address, Peer};
use crate::carry::{self, Carrier, Carries};
use crate::connection::Connection;
use crate::http;
use crate::listener::{self, Limits};
use crate::shares::{Full, Paces, Share, Shares};
use crate::stats::{Direction, Refusal, Session, Stats};
pub use crate::vats::Connects;
use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::extract::{Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until, timeout};

/// Longest message, and longest batch, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// What is read of a session's connection at once.
const READ_BYTES: usize = 16 << 10;
/// How long a client may take to take a message.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// A client of which nothing was heard for so long is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(20);
/// One that does not answer for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a batch's body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a batch may take: what is not answered by then is left out.
const BATCH_PATIENCE: Duration = Duration::from_secs(30);

/// Connections, but for their number.
const LIMITS: Limits = Limits {
    connections: 0,
    head: Duration::from_secs(15),
    buffer_bytes: 64 << 10,
    // A body and a call that both take as long as they may.
    answer: Duration::from_secs(180),
    connection: Duration::from_secs(600),
};

/// The rules for connections.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Origins of pages, as browsers name them (`https://example.org`).
    pub origins: Vec<String>,
    /// Proxies that say whose requests they bring (`X-Forwarded-For`), beside those of this machine.
    pub proxies: Vec<IpAddr>,
    /// How many sessions there are at once.
    pub max_sessions: usize,
    /// Where calls with keys are kept.
    pub folder: PathBuf,
}

struct Server {
    connects: Arc<dyn Connects>,
    carrier: Carrier,
    rules: Rules,
    sessions: Arc<Shares>,
    paces: Arc<Paces>,
    stats: Arc<Stats>,
}

/// Returns what is served, and where. What happens is counted in `stats`.
///
/// # Errors
/// The folder of the rules can't be used.
pub fn routes(
    connects: Arc<dyn Connects>,
    carries: Arc<dyn Carries>,
    rules: Rules,
    stats: Arc<Stats>,
) -> io::Result<Router> {
    let http = http::routes(Arc::clone(&connects), rules.origins.clone(), &rules.folder, Arc::clone(&stats))?;
    let (sessions, paces) = (Shares::new(rules.max_sessions), Arc::<Paces>::default());
    let carrier = Carrier::new(carries, Arc::clone(&paces), Arc::clone(&stats));
    let proxies: Arc<[IpAddr]> = rules.proxies.clone().into();
    let server = Arc::new(Server { connects, carrier, rules, sessions, paces, stats });
    let capnweb = Router::new()
        .route("/capnweb", get(session).post(batch).options(preflight))
        .route("/frames", get(frames))
        .with_state(server);
    Ok(http.merge(capnweb).layer(middleware::from_fn_with_state(proxies, name_address)))
}

/// Puts beside a request from where it comes.
async fn name_address(State(proxies): State<Arc<[IpAddr]>>, mut request: Request, next: Next) -> Response {
    // Without a listener, as in tests, it comes from here.
    let here = || Peer((Ipv4Addr::LOCALHOST, 0).into());
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_else(here);
    let address = Address::of_request(peer, request.headers(), &proxies);
    request.extensions_mut().insert(address);
    next.run(request).await
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, routes: Router, max_sessions: usize) {
    // Beside those of sessions, connections that have yet to say what they want, and those of calls.
    let connections = max_sessions.saturating_mul(2).max(1);
    listener::serve(listener, routes, Limits { connections, ..LIMITS }).await;
}

impl Server {
    /// The page that asks, if it is a page; an error if it may not.
    #[allow(clippy::result_large_err, reason = "a refusal is made once, and leaves by the connection")]
    fn origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Response> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
        let is_listed = self.rules.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
        if is_listed {
            return Ok(Some(origin.clone()));
        }
        self.stats.refused(Refusal::Origin);
        let shown = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        let why = format!("pages of {shown} may not connect here: list it in `gateway_origins` of host.toml\n");
        Err((StatusCode::FORBIDDEN, why).into_response())
    }

    #[allow(clippy::result_large_err, reason = "a refusal is made once, and leaves by the connection")]
    fn permit(&self, address: Address) -> Result<Share, Response> {
        self.sessions.take(address, 1).map_err(|full| {
            let most = self.sessions.places();
            let (status, refusal, why) = match full {
                Full::All => {
                    let why = format!("{most} sessions are open, which is the most; try again later\n");
                    (StatusCode::SERVICE_UNAVAILABLE, Refusal::Full, why)
                }
                Full::Share(own) => {
                    let why = format!(
                        "your address, {address}, has {own} of the {most} sessions that may be open, which is its share now; end one, or try again later\n"
                    );
                    (StatusCode::TOO_MANY_REQUESTS, Refusal::Share, why)
                }
            };
            self.stats.refused(refusal);
            (status, [(header::RETRY_AFTER, "5")], why).into_response()
        })
    }

    /// How long an address waits after a message of so many bytes.
    fn pace(&self, address: Address, bytes: usize, now: Instant) -> Option<Duration> {
        let wait = Some(self.paces.take(address, bytes, now)).filter(|wait| !wait.is_zero());
        if wait.is_some() {
            self.stats.slowed();
        }
        wait
    }
}

/// Bounds messages by bytes, and what a session takes while it reads: what the library allocates, and clears, for each read.
fn sized(upgrade: WebSocketUpgrade, most: usize) -> WebSocketUpgrade {
    upgrade.max_message_size(most).max_frame_size(most).read_buffer_size(READ_BYTES)
}

async fn session(
    State(server): State<Arc<Server>>,
    Extension(address): Extension<Address>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Response> {
    server.origin(&headers)?;
    let permit = server.permit(address)?;
    let upgrade = sized(upgrade, MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let open = server.stats.open(Session::CapnWeb);
        let mut connection = Connection::new(Arc::clone(&server.connects));
        talk(&server, socket, address, &mut connection).await;
        connection.close().await;
        drop((permit, open));
    }))
}

async fn frames(
    State(server): State<Arc<Server>>,
    Extension(address): Extension<Address>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Response> {
    server.origin(&headers)?;
    let permit = server.permit(address)?;
    let upgrade = sized(upgrade, carry::MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let open = server.stats.open(Session::Frames);
        server.carrier.carry(socket, address).await;
        drop((permit, open));
    }))
}

/// Carries messages until the client, the network or the session ends.
async fn talk(server: &Server, mut socket: WebSocket, address: Address, connection: &mut Connection) {
    let mut heard_at = Instant::now();
    // While its address waits, nothing of it is read.
    let mut waits: Option<Instant> = None;
    loop {
        tokio::select! {
            () = sleep_until(waits.unwrap_or_else(Instant::now)), if waits.is_some() => waits = None,
            message = socket.recv(), if waits.is_none() => {
                heard_at = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        server.stats.message(Direction::In);
                        waits = server.pace(address, text.len(), heard_at).map(|wait| heard_at + wait);
                        connection.receive(text.as_str());
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Binary(_))) => connection.receive("a message of bytes"),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            () = connection.turn() => {}
            () = tokio::time::sleep(PING_AFTER) => {
                if heard_at.elapsed() > SILENCE || !sent(&mut socket, Message::Ping(Bytes::new())).await {
                    return;
                }
            }
        }
        for text in connection.take_out() {
            server.stats.message(Direction::Out);
            if !sent(&mut socket, Message::Text(text.into())).await {
                return;
            }
        }
        if let Some(why) = connection.ended() {
            let end = CloseFrame { code: close_code::POLICY, reason: shortened(why).into() };
            sent(&mut socket, Message::Close(Some(end))).await;
            return;
        }
    }
}

async fn sent(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(SEND_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}

/// A close frame has room for 123 bytes.
fn shortened(why: &str) -> &str {
    let end = (0..=why.len().min(120)).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    why.get(..end).unwrap_or_default()
}

async fn batch(
    State(server): State<Arc<Server>>,
    Extension(address): Extension<Address>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let origin = server.origin(&headers)?;
    let _permit = server.permit(address)?;
    let _open = server.stats.open(Session::Batch);
    let body = match timeout(BODY_PATIENCE, axum::body::to_bytes(body, MAX_MESSAGE_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err((StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response()),
        Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n").into_response()),
    };
    let text = std::str::from_utf8(&body).map_err(|_| (StatusCode::BAD_REQUEST, "not text\n").into_response())?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut wait = Duration::ZERO;
    for line in &lines {
        server.stats.message(Direction::In);
        wait = server.pace(address, line.len(), Instant::now()).unwrap_or(wait);
    }
    tokio::time::sleep(wait).await;
    let mut connection = Connection::new(Arc::clone(&server.connects));
    lines.into_iter().for_each(|line| connection.receive(line));
    connection.finish(BATCH_PATIENCE).await;
    let answer = connection.take_out().join("\n");
    // The client has its answer while the vats hear that it is over.
    tokio::spawn(connection.close());
    let mut response = ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], answer).into_response();
    allow(&mut response, origin);
    Ok(response)
}

async fn preflight(State(server): State<Arc<Server>>, headers: HeaderMap) -> Result<Response, Response> {
    let origin = server.origin(&headers)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let allowed = HeaderValue::from_static("content-type");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    allow(&mut response, origin);
    Ok(response)
}

fn allow(response: &mut Response, origin: Option<HeaderValue>) {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}
