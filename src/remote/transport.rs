//! The one thing that is asked of a network: send this request, bring the whole answer.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Carries requests to the account's interface.
///
/// The URI of a request is its path and query below the interface's base (`/accounts/…`), without
/// host; the implementation knows the base and the token and adds both.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` and answers with the complete response, or with the reason why there is none
    /// within `deadline`.
    fn send(
        &self,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;

    /// Replaces every occurrence of the transport's own secrets in `text`.
    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Why there is no complete answer. Only with [`TransportError::Unreachable`] is it certain that the
/// request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The name was not found, or nothing accepted the connection.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// The deadline passed.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection ended before an answer began.
    #[error("the connection ended without an answer: {0}")]
    Lost(String),
    /// The connection ended before the answer was complete.
    #[error("the connection ended before the answer was complete: {0}")]
    Cut(String),
    /// The answer is larger than any that is expected.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// Bytes that are accepted.
        limit: usize,
    },
    /// The request could not be built or sent for another reason.
    #[error("the request could not be sent: {0}")]
    Other(String),
}
