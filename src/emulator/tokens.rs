//! API tokens: who calls, and what they may do.

use super::call::Call;
use super::envelope::{self, Failure};
use bytes::Bytes;
use http::Response;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Whose token it is. Each kind has its own verification endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Belongs to a person.
    User,
    /// Belongs to the account.
    Account,
}

/// Whether a token is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// In force.
    Active,
    /// Switched off.
    Disabled,
    /// Past its end.
    Expired,
}

/// What a token may do; writing includes reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Reads D1.
    D1Read,
    /// Queries and changes D1. Every query needs it, reading ones too, as they share a path.
    D1Write,
    /// Reads Vectorize.
    VectorizeRead,
    /// Changes Vectorize.
    VectorizeWrite,
    /// Reads R2.
    R2Read,
    /// Changes R2.
    R2Write,
    /// Runs models.
    AiRead,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 7] = [
        Self::D1Read,
        Self::D1Write,
        Self::VectorizeRead,
        Self::VectorizeWrite,
        Self::R2Read,
        Self::R2Write,
        Self::AiRead,
    ];

    pub(super) fn is_granted_by(self, grants: &BTreeSet<Self>) -> bool {
        let implied_by = match self {
            Self::D1Read => Self::D1Write,
            Self::VectorizeRead => Self::VectorizeWrite,
            Self::R2Read => Self::R2Write,
            other => other,
        };
        grants.contains(&self) || grants.contains(&implied_by)
    }
}

/// A token that the account knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The value that callers send.
    pub secret: String,
    /// Whose it is.
    pub kind: Kind,
    /// Whether it is in force.
    pub status: Status,
    /// What it may do.
    pub permissions: BTreeSet<Permission>,
}

impl Token {
    /// A person's token that may do everything.
    pub fn user(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            kind: Kind::User,
            status: Status::Active,
            permissions: Permission::ALL.into(),
        }
    }

    /// The account's own token that may do everything.
    pub fn account(secret: impl Into<String>) -> Self {
        Self { kind: Kind::Account, ..Self::user(secret) }
    }

    /// The same token without `permissions`.
    #[must_use]
    pub fn without(mut self, permissions: &[Permission]) -> Self {
        self.permissions.retain(|permission| !permissions.contains(permission));
        self
    }

    /// The same token in another state.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The id that verification tells, 32 hex digits.
    pub fn id(&self) -> String {
        hex::encode(Sha256::digest(self.secret.as_bytes())).chars().take(32).collect()
    }
}

/// The token that `call` carries.
pub(super) fn identify<'t>(tokens: &'t [Token], call: &Call<'_>) -> Result<&'t Token, Failure> {
    let header = call.header("authorization").unwrap_or_default();
    let secret = header.strip_prefix("Bearer ").filter(|secret| {
        !secret.is_empty()
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    });
    let Some(secret) = secret else {
        return Err(Failure::new(400, 6003, "Invalid request headers")
            .chained(6111, "Invalid format for Authorization header"));
    };
    tokens
        .iter()
        .find(|token| token.secret == secret && token.status != Status::Expired)
        .filter(|token| token.status == Status::Active || is_verification(call))
        .ok_or_else(|| Failure::new(401, 10000, "Authentication error"))
}

fn is_verification(call: &Call<'_>) -> bool {
    call.segments.last().is_some_and(|last| last == "verify")
}

/// Answers the verification endpoint of tokens of kind `kind`.
pub(super) fn verify(
    call: &Call<'_>,
    identity: Result<&Token, Failure>,
    kind: Kind,
) -> Result<Response<Bytes>, Failure> {
    if call.method != http::Method::GET {
        return Err(call.no_method());
    }
    let invalid = || Failure::new(401, 1000, "Invalid API Token");
    let token = identity.map_err(|failure| {
        if call.header("authorization").is_some_and(|h| h.starts_with("Bearer ")) {
            invalid()
        } else {
            failure
        }
    })?;
    if token.kind != kind {
        return Err(invalid());
    }
    let status = if token.status == Status::Active { "active" } else { "disabled" };
    let result = json!({"id": token.id(), "status": status});
    Ok(envelope::success_saying(result, 10000, "This API Token is valid and active"))
}

/// The refusal of a token that belongs to another account.
pub(super) fn wrong_account(product: &str) -> Failure {
    if product == "d1" {
        let text = "The given account is not valid or is not authorized to access this service";
        return Failure::new(403, 7403, text);
    }
    Failure::new(403, 10000, "Authentication error")
}
