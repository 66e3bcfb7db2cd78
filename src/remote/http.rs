//! The real transport: HTTPS through reqwest and rustls, plain HTTP to loopback only.

use super::transport::{Transport, TransportError};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use std::error::Error as _;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// How long a connection may take to stand.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are accepted: the longest text that may be configured, with room to spare.
pub const ANSWER_MAX_BYTES: usize = 32 << 20;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_mins(1);

/// Why the transport can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The base address is no address.
    #[error(
        "the Cloudflare address {base:?} is no URL: {reason}; the usual one is https://api.cloudflare.com/client/v4"
    )]
    BadBase {
        /// What was given.
        base: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Plain HTTP to another machine.
    #[error(
        "the Cloudflare address {base:?} would send the API token unencrypted: use https, plain http is for loopback only"
    )]
    Plaintext {
        /// What was given.
        base: String,
    },
    /// The token can't stand in a header.
    #[error(
        "the API token is empty or holds characters that no token has: copy it again, without spaces and line ends"
    )]
    BadToken,
    /// The TLS stack can't start.
    #[error("the TLS client can't start: {0}")]
    Tls(String),
}

/// Sends requests below one base address with one token.
pub struct HttpTransport {
    base: String,
    client: reqwest::Client,
    token: RwLock<SecretString>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("base", &self.base).finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// Prepares a client for the interface at `base`; nothing is sent yet.
    ///
    /// # Errors
    /// The address is no URL or plain HTTP to another machine, the token can't stand in a header, or
    /// the TLS stack can't start.
    pub fn new(base: &str, token: SecretString) -> Result<Self, SetupError> {
        let is_loopback = check_base(base)?;
        header(&token)?;
        // The second caller finds the provider of the first: that is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .referer(false);
        builder = if is_loopback {
            // A proxy can't know what runs on this machine, and no certificate is looked at.
            builder.no_proxy().tls_certs_only([])
        } else {
            builder.https_only(true)
        };
        let client = builder.build().map_err(|error| SetupError::Tls(chain(&error)))?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, client, token: RwLock::new(token) })
    }

    /// Uses another token from the next request on.
    ///
    /// # Errors
    /// The token can't stand in a header; the old one stays.
    pub fn set_token(&self, token: SecretString) -> Result<(), SetupError> {
        header(&token)?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// The address below which requests go.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn exchange(
        &self,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let (parts, body) = request.into_parts();
        let authorization = {
            let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
            header(&token).map_err(|error| TransportError::Other(error.to_string()))?
        };
        let sent = self
            .client
            .request(parts.method, format!("{}{}", self.base, parts.uri))
            .headers(parts.headers)
            .header(AUTHORIZATION, authorization)
            .header(USER_AGENT, concat!("memtide/", env!("CARGO_PKG_VERSION")))
            .timeout(deadline)
            .body(body)
            .send()
            .await;
        let mut response = sent.map_err(|error| match self.understand(error, deadline) {
            TransportError::Cut(reason) => TransportError::Lost(reason),
            other => other,
        })?;
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        let mut bytes = BytesMut::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.understand(error, deadline))?
        {
            if bytes.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(TransportError::TooLarge { limit: ANSWER_MAX_BYTES });
            }
            bytes.extend_from_slice(&chunk);
        }
        *answer.body_mut() = bytes.freeze();
        Ok(answer)
    }

    fn understand(&self, error: reqwest::Error, deadline: Duration) -> TransportError {
        let error = error.without_url();
        let reason = self.redact(&chain(&error));
        if error.is_connect() {
            TransportError::Unreachable(reason)
        } else if error.is_timeout() {
            TransportError::Timeout(deadline)
        } else if error.is_builder() {
            TransportError::Other(reason)
        } else {
            TransportError::Cut(reason)
        }
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.exchange(request, deadline))
    }

    fn redact(&self, text: &str) -> String {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        text.replace(token.expose_secret(), "[hidden]")
    }
}

fn header(token: &SecretString) -> Result<HeaderValue, SetupError> {
    let text = token.expose_secret();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SetupError::BadToken);
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| SetupError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Checks the base address; says whether it is plain HTTP to this machine.
fn check_base(base: &str) -> Result<bool, SetupError> {
    let bad =
        |reason: &str| SetupError::BadBase { base: base.to_owned(), reason: reason.to_owned() };
    let uri: http::Uri =
        base.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
    let host = uri.host().ok_or_else(|| bad("it names no host"))?;
    if uri.query().is_some() || base.contains('@') {
        return Err(bad("it must be a plain address, without a query or a name and password"));
    }
    match uri.scheme_str() {
        Some("https") => Ok(false),
        Some("http") if is_loopback(host) => Ok(true),
        Some("http") => Err(SetupError::Plaintext { base: base.to_owned() }),
        _ => Err(bad("it must start with https://")),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The error and its causes in one line; reqwest's own sentence says little without them.
fn chain(error: &reqwest::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests;
