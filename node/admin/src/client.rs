//! The client of the HTTP interface: over a home's Unix socket or over TCP.

use crate::SocketAddress;
use crate::remote::{Remote, RemoteRequest};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use quorate_protocol::status::Failed;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// An answer larger than this is not read.
const ANSWER_BYTES: usize = 64 << 20;
/// How long a host may take to answer.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a host may take to say how it stands: one that hangs must not hide the others.
pub const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// Where a host's interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A home's admin socket.
    Socket(PathBuf),
    /// The public interface.
    Tcp(SocketAddr),
    /// A host on another machine that takes this operator's requests.
    Remote(Remote),
}

/// Why a host did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiClientError {
    #[error("no host answers at {0}; is it running?")]
    NotRunning(String),
    /// The host says no, with one of the codes of `docs/reference/errors.md` and an HTTP status.
    #[error("{}", with_code(.code, .message))]
    Refused { status: u16, code: String, message: String },
    #[error("the host's answer is not understood: {0}")]
    Answer(String),
    #[error("the host did not answer in time")]
    Deadline,
}

/// Errors of the host's parts have their codes in their texts.
fn with_code(code: &str, message: &str) -> String {
    if message.starts_with(code) { message.to_owned() } else { format!("{code} {message}") }
}

impl Endpoint {
    /// The admin socket at `path`.
    pub fn socket(path: &Path) -> Endpoint {
        Endpoint::Socket(path.to_owned())
    }

    fn shown(&self) -> String {
        match self {
            Endpoint::Socket(path) => path.display().to_string(),
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Remote(_) => "another machine".to_owned(),
        }
    }

    /// `GET path`, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiClientError> {
        self.ask(Method::GET, path, Vec::new(), true).await
    }

    /// `GET path`, as text.
    pub async fn get_text(&self, path: &str) -> Result<String, ApiClientError> {
        let (_, bytes) = self.request(Method::GET, path, Vec::new(), false).await?;
        String::from_utf8(bytes).map_err(|error| ApiClientError::Answer(error.to_string()))
    }

    /// `POST path` with a JSON body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiClientError::Answer(error.to_string()))?;
        self.ask(Method::POST, path, body, true).await
    }

    /// `POST path` with a text body.
    pub async fn post_text<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, ApiClientError> {
        self.ask(Method::POST, path, body.into_bytes(), false).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        json: bool,
    ) -> Result<T, ApiClientError> {
        let (status, bytes) = self.request(method, path, body, json).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| ApiClientError::Answer(error.to_string()));
        }
        match serde_json::from_slice::<Failed>(&bytes) {
            Ok(Failed { code, message }) => Err(ApiClientError::Refused { status: status.as_u16(), code, message }),
            Err(_) => Err(ApiClientError::Answer(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        json: bool,
    ) -> Result<(StatusCode, Vec<u8>), ApiClientError> {
        let exchange = async {
            match self {
                Endpoint::Socket(socket) => match connect(socket).await {
                    Ok(stream) => exchange(stream, method, path, body, json).await,
                    Err(_) => Err(ApiClientError::NotRunning(self.shown())),
                },
                Endpoint::Tcp(address) => match tokio::net::TcpStream::connect(address).await {
                    Ok(stream) => exchange(stream, method, path, body, json).await,
                    Err(_) => Err(ApiClientError::NotRunning(self.shown())),
                },
                Endpoint::Remote(remote) => {
                    let body = (method == Method::POST).then_some(body);
                    let reply = remote.0.ask(RemoteRequest { path: path.to_owned(), body, json }).await?;
                    let status = StatusCode::from_u16(reply.status);
                    let status = status.map_err(|error| ApiClientError::Answer(error.to_string()))?;
                    Ok((status, reply.body))
                }
            }
        };
        tokio::time::timeout(DEADLINE, exchange).await.map_err(|_| ApiClientError::Deadline)?
    }
}

async fn connect(socket: &Path) -> std::io::Result<tokio::net::UnixStream> {
    // It must live until the call is over: it holds the folder open.
    let address = SocketAddress::of(socket)?;
    tokio::net::UnixStream::connect(&address).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    body: Vec<u8>,
    json: bool,
) -> Result<(StatusCode, Vec<u8>), ApiClientError> {
    let answer_error = |error: &dyn std::fmt::Display| ApiClientError::Answer(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| answer_error(&error))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "quorate");
    if json {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| answer_error(&error))?;
    let response = sender.send_request(request).await.map_err(|error| answer_error(&error))?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| answer_error(&error))?;
    connection.abort();
    Ok((status, body.to_bytes().to_vec()))
}
