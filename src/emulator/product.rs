//! The services behind the one API.

use std::fmt;

/// A service of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Token verification.
    Tokens,
    /// The SQL database.
    D1,
    /// The vector index.
    Vectorize,
    /// The object store.
    R2,
    /// Workers AI.
    Ai,
    /// A path that belongs to none of them.
    Unknown,
}

impl Product {
    /// The service that a request's path names.
    pub fn of_path(path: &str) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        if !(segments.next() == Some("client") && segments.next() == Some("v4")) {
            return Self::Unknown;
        }
        let named = match segments.next() {
            Some("accounts") => segments.nth(1),
            Some("user") => segments.next(),
            _ => None,
        };
        match named {
            Some("tokens") => Self::Tokens,
            Some("d1") => Self::D1,
            Some("vectorize") => Self::Vectorize,
            Some("r2") => Self::R2,
            Some("ai") => Self::Ai,
            _ => Self::Unknown,
        }
    }

    /// The name used in logs and counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::D1 => "d1",
            Self::Vectorize => "vectorize",
            Self::R2 => "r2",
            Self::Ai => "ai",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_product() {
        let of = |path: &str| Product::of_path(path);
        assert_eq!(of("/client/v4/user/tokens/verify"), Product::Tokens);
        assert_eq!(of("/client/v4/accounts/a/tokens/verify"), Product::Tokens);
        assert_eq!(of("/client/v4/accounts/a/d1/database"), Product::D1);
        assert_eq!(of("/client/v4/accounts/a/ai/run/@cf/baai/x"), Product::Ai);
        assert_eq!(of("/client/v4/accounts/d1"), Product::Unknown);
        assert_eq!(of("/accounts/a/d1/database"), Product::Unknown);
    }
}
