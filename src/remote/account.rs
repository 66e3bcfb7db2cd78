//! The token: whether it is a valid one, of either kind.

use super::cloudflare::{Cloudflare, DEADLINE, bare};
use super::envelope::part;
use super::error::{Disposition, Pause, Product, RemoteError};
use http::Method;
use serde::Deserialize;

/// Who a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A person.
    User,
    /// The account.
    Account,
}

/// A valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public id.
    pub id: String,
    /// Who it belongs to.
    pub kind: TokenKind,
    /// When it ends, RFC 3339.
    pub expires_on: Option<String>,
}

#[derive(Deserialize)]
struct Verified {
    id: String,
    status: String,
    #[serde(default)]
    expires_on: Option<String>,
}

/// Asks whether the token is valid. A user's token and an account's are verified at two places, and
/// each calls the other kind invalid, so both are asked before a token is called bad. What the token
/// may do isn't told.
///
/// # Errors
/// It is not valid, no longer or not yet, or the requests failed.
pub async fn verify_token(remote: &Cloudflare) -> Result<Token, RemoteError> {
    let as_user = verify(remote, "/user/tokens/verify", TokenKind::User).await;
    match as_user {
        Err(error) if error.disposition == Disposition::Pause(Pause::Auth) => {
            let path = remote.path("/tokens/verify");
            verify(remote, &path, TokenKind::Account).await
        }
        answer => answer,
    }
}

async fn verify(remote: &Cloudflare, path: &str, kind: TokenKind) -> Result<Token, RemoteError> {
    let request = bare(Product::Account, Method::GET, path)?;
    let answer = remote.call(Product::Account, request, DEADLINE).await?;
    let verified: Verified = part(Product::Account, answer.result)?;
    if verified.status != "active" {
        return Err(RemoteError::local(
            Product::Account,
            Disposition::Pause(Pause::Auth),
            &format!("the API token is {}", verified.status),
            "make a new token in the Cloudflare dashboard and set it with \
             `memtide cloud link --token-file -`",
        ));
    }
    Ok(Token { id: verified.id, kind, expires_on: verified.expires_on })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failure, ruled, success};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn both_kinds_of_token_are_recognised() {
        let (remote, transport, _) = ruled(|_| success(json!({"id": "t", "status": "active"})));
        let token = verify_token(&remote).await.expect("valid");
        assert_eq!(
            (token.kind, transport.seen.lock().expect("a lock").len()),
            (TokenKind::User, 1)
        );

        let (remote, ..) = ruled(|request| match request.uri().path() {
            "/user/tokens/verify" => failure(401, 1000, "Invalid API Token"),
            "/accounts/acc/tokens/verify" => success(
                json!({"id": "t", "status": "active", "expires_on": "2030-01-01T00:00:00Z"}),
            ),
            other => panic!("{other}"),
        });
        let token = verify_token(&remote).await.expect("valid");
        assert_eq!(token.kind, TokenKind::Account);
        assert!(token.expires_on.is_some());
    }

    #[tokio::test]
    async fn a_bad_token_is_one_and_a_dead_network_is_not() {
        let (remote, transport, _) = ruled(|_| failure(401, 1000, "Invalid API Token"));
        let error = verify_token(&remote).await.expect_err("invalid");
        assert_eq!(error.disposition, Disposition::Pause(Pause::Auth));
        assert_eq!(transport.seen.lock().expect("a lock").len(), 2);

        let (remote, ..) = ruled(|_| success(json!({"id": "t", "status": "expired"})));
        let error = verify_token(&remote).await.expect_err("expired");
        assert_eq!(error.disposition, Disposition::Pause(Pause::Auth));
        assert!(error.message.contains("expired"));

        let (remote, transport, _) = ruled(|_| failure(503, 1, "down"));
        let error = verify_token(&remote).await.expect_err("down");
        assert_eq!(error.disposition, Disposition::Retry);
        assert_eq!(transport.seen.lock().expect("a lock").len(), 1);
    }
}
