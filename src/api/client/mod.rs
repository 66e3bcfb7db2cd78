//! The client of the socket: what the CLI and the MCP front-end speak. One connection, opened when it
//! is needed and again when the daemon was restarted.

pub mod launch;
pub mod lockfile;

use super::percent;
use super::routes::CLIENT_HEADER;
use super::wire::ErrorBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// A call that brought no answer of the expected shape.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens.
    #[error("no daemon listens on {}", .0.display())]
    NoDaemon(PathBuf),
    /// The connection broke before the answer.
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    /// No answer came in time.
    #[error("the daemon didn't answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The daemon refused.
    #[error("{}", .body.error.message)]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        body: Box<ErrorBody>,
    },
    /// The answer is not of the protocol's shape.
    #[error("the daemon's answer is not understood: {0}")]
    Protocol(String),
}

/// A handle to the daemon's socket.
pub struct Client {
    socket: PathBuf,
    name: String,
    timeout: Duration,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// A client that names itself `name`; nothing is connected yet.
    pub fn new(socket: PathBuf, name: &str, timeout: Duration) -> Self {
        Self { socket, name: name.to_owned(), timeout, connection: Mutex::new(None) }
    }

    /// Where it connects.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call("GET", path, Bytes::new()).await
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call("DELETE", path, Bytes::new()).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call("POST", path, encode(body)?).await
    }

    /// `PATCH path` with a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call("PATCH", path, encode(body)?).await
    }

    /// One request. A connection that the daemon has closed meanwhile is opened again; a request whose
    /// answer was lost is sent once more, which is harmless because every route is idempotent or
    /// answers the second time that it was done already.
    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let mut held = self.connection.lock().await;
        let is_reused = held.as_ref().is_some_and(SendRequest::is_ready);
        let outcome = self.attempt(&mut held, method, path, body.clone()).await;
        let outcome = match outcome {
            Err(ClientError::Broken(_)) if is_reused => {
                *held = None;
                self.attempt(&mut held, method, path, body).await
            }
            other => other,
        };
        drop(held);
        let (status, bytes) = outcome?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&bytes)
                .map_err(|error| ClientError::Protocol(error.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(ClientError::Refused { status, body: Box::new(body) }),
            Err(_) => Err(ClientError::Protocol(format!("status {status} without an error"))),
        }
    }

    async fn attempt(
        &self,
        held: &mut Option<SendRequest<Full<Bytes>>>,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), ClientError> {
        let outcome = tokio::time::timeout(self.timeout, self.exchange(held, method, path, body));
        let outcome = outcome.await.unwrap_or(Err(ClientError::Timeout(self.timeout)));
        if outcome.is_err() {
            *held = None;
        }
        outcome
    }

    async fn exchange(
        &self,
        held: &mut Option<SendRequest<Full<Bytes>>>,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let sender = match held {
            Some(sender) if sender.is_ready() => sender,
            _ => held.insert(self.connect().await?),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "memtide")
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(CLIENT_HEADER, &self.name)
            .body(Full::new(body))
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        Ok((status, bytes))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|_| ClientError::NoDaemon(self.socket.clone()))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the daemon ended");
            }
        });
        Ok(sender)
    }
}

/// Names and values as a query string.
pub fn query_string(pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", percent::encode(value))).collect();
    pairs.join("&")
}

fn encode(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|e| ClientError::Protocol(e.to_string()))
}
