//! Connections of HTTP that anybody may open: few, short, and small, whatever clients do. What a connection is upgraded to counts no more.
//!
//! Invariant: what all clients together hold of this process is bounded, and none of them keeps the others out. A connection is ended
//! when its client is too slow, when it has lasted too long, or when another one comes, there are as many as may be, and it is the oldest of the address
//! that has most.
//!
//! The admin socket of a host needs none of this: only the host's own user can open it.

use crate::address::{Address, Peer};
use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// How long accepting pauses after a failure, such as that this process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more ends the oldest.
    pub connections: usize,
    /// From the connection, or from the last answer, until a request's head has come whole.
    pub head: Duration,
    /// Bytes of a request's head, and of what waits to be sent.
    pub buffer_bytes: usize,
    /// From a request until its answer is there.
    pub answer: Duration,
    /// A connection with all its requests. One in the middle of an answer has [`Limits::answer`] more, for a client that reads it.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            head: Duration::from_secs(15),
            buffer_bytes: 16 << 10,
            answer: Duration::from_secs(30),
            connection: Duration::from_secs(300),
        }
    }
}

/// Serves `routes` to every client that connects, until it is dropped.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits) {
    let routes = routes.layer(middleware::from_fn(move |request, next| in_time(request, next, limits.answer)));
    // Ended with this future: what the routes hold must go with the host.
    let mut tasks = JoinSet::new();
    let mut oldest_first: VecDeque<(Address, AbortHandle)> = VecDeque::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok((stream, peer)) => (stream, Peer(peer)),
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        oldest_first.retain(|(_, connection)| !connection.is_finished());
        if oldest_first.len() >= limits.connections.max(1)
            && let Some((_, oldest)) = to_end(&oldest_first).and_then(|place| oldest_first.remove(place))
        {
            oldest.abort();
        }
        let connection = tasks.spawn(connection(stream, peer, routes.clone(), limits));
        oldest_first.push_back((Address::of(peer.0.ip()), connection));
    }
}

/// The oldest connection of the address that has most, or of one of those.
fn to_end<T>(oldest_first: &VecDeque<(Address, T)>) -> Option<usize> {
    let mut counts: BTreeMap<Address, usize> = BTreeMap::new();
    for (address, _) in oldest_first {
        *counts.entry(*address).or_default() += 1;
    }
    let most = counts.values().max()?;
    oldest_first.iter().position(|(address, _)| counts.get(address) == Some(most))
}

/// Serves one client.
async fn connection(stream: TcpStream, peer: Peer, routes: Router, limits: Limits) {
    // What is written is to leave at once: a session writes small messages one after the other, and the system would hold each back until
    // the one before is acknowledged, which takes the other end up to 40 ms. A connection on which that can't be set works, too.
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.buffer_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    // How it ends concerns the client alone.
    tokio::select! {
        _ = served.as_mut() => return,
        () = tokio::time::sleep(limits.connection) => served.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(limits.answer, served).await;
}

/// Answers in time, if only that there is no answer.
async fn in_time(request: Request, next: Next, deadline: Duration) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Longer than any of the limits here, and than a slow machine takes. No limit of a test is to be met by another one.
    const LONG: Duration = Duration::from_secs(120);
    const NEVER: Duration = Duration::from_secs(86_400);
    /// An answer that no socket's buffers take whole.
    const LARGE: usize = 64 << 20;

    async fn start(limits: Limits) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let routes = Router::new()
            .route("/fine", get(async || "fine"))
            .route("/large", get(async || "x".repeat(LARGE)))
            .route("/never", get(async || std::future::pending::<&str>().await));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        (address, tokio::spawn(serve(listener, routes, limits)))
    }

    /// Sends a text on a new connection.
    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // Where the host has enough of it, it is read no more.
        let _ = stream.write_all(text.as_bytes()).await;
        stream
    }

    /// All that comes until the other end closes.
    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
        // A reset is an end as well.
        let _ = read.expect("the other end closes");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn get_once(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
    }

    fn short() -> Limits {
        // A slow machine needs some of it for itself.
        let moment = Duration::from_millis(500);
        Limits { connections: 4, head: moment, buffer_bytes: 8 << 10, answer: moment, connection: 2 * moment }
    }

    #[test]
    fn the_address_with_most_connections_gives_one_up() {
        let connections = |numbers: &[u8]| -> VecDeque<(Address, ())> {
            numbers.iter().map(|number| (Address::of([192, 0, 2, *number].into()), ())).collect()
        };
        assert_eq!(to_end(&connections(&[])), None);
        assert_eq!(to_end(&connections(&[1, 2, 2, 3, 2])), Some(1));
        assert_eq!(to_end(&connections(&[1, 2, 3])), Some(0));
    }

    #[tokio::test]
    async fn slow_clients_take_no_place_from_others_and_are_ended() {
        let (address, _server) = start(Limits { head: NEVER, ..Limits::default() }).await;
        let mut slow = Vec::new();
        for _ in 0..4 * Limits::default().connections {
            slow.push(send(address, "GET /fine HTTP/1.1\r\nhost: he").await);
        }
        assert!(rest(send(address, &get_once("/fine")).await).await.ends_with("fine"));
        // The first ones have made room; no deadline did it.
        assert_eq!(rest(slow.swap_remove(0)).await, "");
        let (address, _server) = start(Limits { connection: NEVER, ..short() }).await;
        assert!(!rest(send(address, "GET /fine HTTP/1.1\r\nhost: he").await).await.contains("fine"));
        assert!(rest(send(address, &get_once("/fine")).await).await.ends_with("fine"));
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let (address, _server) = start(Limits { head: NEVER, ..Limits::default() }).await;
        let head = format!("GET /fine HTTP/1.1\r\nhost: here\r\nlong: {}", "x".repeat(1 << 20));
        let answer = rest(send(address, &head).await).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_or_never_comes_ends() {
        let (address, _server) = start(short()).await;
        let unread = send(address, &get_once("/large")).await;
        tokio::time::sleep(short().connection + 4 * short().answer).await;
        assert!(rest(unread).await.len() < LARGE, "it was kept until somebody read it");
        let answer = rest(send(address, &get_once("/never")).await).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }

    #[tokio::test]
    async fn nothing_outlives_the_server() {
        let (address, server) = start(Limits { head: NEVER, connection: NEVER, ..Limits::default() }).await;
        let mut open = send(address, "GET /fine HTTP/1.1\r\nhost: here\r\n\r\n").await;
        // The connection was accepted, and stays: it has an answer.
        let mut answer = Vec::new();
        while !answer.ends_with(b"fine") {
            assert_ne!(open.read_buf(&mut answer).await.expect("an answer"), 0, "it was ended");
        }
        server.abort();
        assert_eq!(rest(open).await, "");
    }
}
