//! The asking side of the HTTP interface: over a home's Unix socket or over TCP.

use crate::status::Failed;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, body::Bytes};
use hyper_util::rt::TokioIo;
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

/// Where a host's interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A home's admin socket.
    Socket(PathBuf),
    /// The public interface.
    Tcp(SocketAddr),
}

/// Why a host did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiClientError {
    #[error("no host answers at {0}; is it running?")]
    NotRunning(String),
    #[error("{message}")]
    Refused { code: String, message: String },
    #[error("the host's answer is not understood: {0}")]
    Answer(String),
    #[error("the host did not answer in time")]
    Deadline,
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
        let (good, bytes) = self.request(method, path, body, json).await?;
        if good {
            return serde_json::from_slice(&bytes).map_err(|error| ApiClientError::Answer(error.to_string()));
        }
        match serde_json::from_slice::<Failed>(&bytes) {
            Ok(failed) => Err(ApiClientError::Refused { code: failed.code, message: failed.message }),
            Err(_) => Err(ApiClientError::Answer(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        json: bool,
    ) -> Result<(bool, Vec<u8>), ApiClientError> {
        let exchange = async {
            match self {
                Endpoint::Socket(socket) => match tokio::net::UnixStream::connect(socket).await {
                    Ok(stream) => exchange(stream, method, path, body, json).await,
                    Err(_) => Err(ApiClientError::NotRunning(self.shown())),
                },
                Endpoint::Tcp(address) => match tokio::net::TcpStream::connect(address).await {
                    Ok(stream) => exchange(stream, method, path, body, json).await,
                    Err(_) => Err(ApiClientError::NotRunning(self.shown())),
                },
            }
        };
        tokio::time::timeout(DEADLINE, exchange).await.map_err(|_| ApiClientError::Deadline)?
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    body: Vec<u8>,
    json: bool,
) -> Result<(bool, Vec<u8>), ApiClientError> {
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
    let good = response.status().is_success();
    let body =
        Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| answer_error(&error))?;
    connection.abort();
    Ok((good, body.to_bytes().to_vec()))
}
