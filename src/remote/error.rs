//! What went wrong with a request, and what to do about it.

use crate::clock::Micros;
use std::fmt;
use std::time::Duration;

/// Characters of a message that are kept.
const MESSAGE_MAX_CHARS: usize = 300;

/// One part of the account that can fail on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// The database with the rows.
    D1,
    /// The vector index.
    Vectorize,
    /// The bucket with the long texts.
    R2,
    /// The embedding model.
    Ai,
    /// The account itself: tokens.
    Account,
}

impl Product {
    /// Every product, in the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::D1, Self::Vectorize, Self::R2, Self::Ai, Self::Account];

    /// The stable name in answers: `d1`, `vectorize`…
    pub fn name(self) -> &'static str {
        match self {
            Self::D1 => "d1",
            Self::Vectorize => "vectorize",
            Self::R2 => "r2",
            Self::Ai => "ai",
            Self::Account => "account",
        }
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::D1 => "D1",
            Self::Vectorize => "Vectorize",
            Self::R2 => "R2",
            Self::Ai => "Workers AI",
            Self::Account => "the account",
        }
    }

    /// The permission group that a token needs for this product, as Cloudflare's dashboard and
    /// interface name it; `None` where any token will do.
    pub fn permission(self) -> Option<&'static str> {
        match self {
            Self::D1 => Some("D1 Write"),
            Self::Vectorize => Some("Vectorize Write"),
            Self::R2 => Some("Workers R2 Storage Write"),
            Self::Ai => Some("Workers AI Read"),
            Self::Account => None,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Ask again later. The write may have been applied, which is why every write can be repeated.
    Retry,
    /// Ask again, not before this long from now.
    RetryAfter(Duration),
    /// Leave the whole product alone: no entry is at fault.
    Pause(Pause),
    /// This request can't succeed as it is; asking again changes nothing.
    Park,
}

/// Why a product is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The token is missing, wrong, expired or lacks a permission.
    Auth,
    /// A plan's limit is used up until this instant.
    Quota {
        /// When it is renewed.
        until: Micros,
    },
    /// The account is set up differently from what was linked.
    Misconfigured,
    /// Too many requests.
    Throttled {
        /// How long to wait if the answer said so; else the own backoff decides.
        after: Option<Duration>,
        /// Whether the limit is the account's, so that every product must wait.
        every_product: bool,
    },
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RemoteError {
    /// Who answered, or would have.
    pub product: Product,
    /// What to do.
    pub disposition: Disposition,
    /// The HTTP status; `None` if no complete answer came.
    pub status: Option<u16>,
    /// Whether nothing came back at all: the network is at fault, or the service is gone.
    pub is_offline: bool,
    /// Cloudflare's own error code.
    pub code: Option<i64>,
    /// What happened, without secrets, at most 300 characters.
    pub message: Box<str>,
    /// One sentence to act on.
    pub hint: Box<str>,
    /// Cloudflare's name for the request, for their support.
    pub cf_ray: Option<Box<str>>,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.product, self.message)?;
        let mut facts = Vec::new();
        if let Some(status) = self.status {
            facts.push(format!("HTTP {status}"));
        }
        if let Some(code) = self.code {
            facts.push(format!("code {code}"));
        }
        if let Some(ray) = &self.cf_ray {
            facts.push(format!("cf-ray {ray}"));
        }
        if facts.is_empty() { Ok(()) } else { write!(f, " ({})", facts.join(", ")) }
    }
}

impl RemoteError {
    /// An error that no answer caused: a refused argument, an answer without the promised parts.
    pub fn local(product: Product, disposition: Disposition, message: &str, hint: &str) -> Self {
        Self {
            product,
            disposition,
            status: None,
            is_offline: false,
            code: None,
            message: scrub(message).into(),
            hint: hint.into(),
            cf_ray: None,
        }
    }

    /// An answer that said success but lacks what it must hold. The request may have been carried
    /// out, so it is asked again.
    pub fn unreadable(product: Product, what: &str) -> Self {
        Self::local(
            product,
            Disposition::Retry,
            &format!("the answer is not readable: {what}"),
            "it is asked again by itself; if it stays, look at https://www.cloudflarestatus.com",
        )
    }

    /// Whether the request was refused because of `code`.
    pub fn has_code(&self, code: i64) -> bool {
        self.code == Some(code)
    }
}

/// Makes a message fit for logs and people: one line, no credentials, at most 300 characters.
pub fn scrub(message: &str) -> String {
    let mut words = Vec::new();
    let mut is_secret = false;
    for word in message.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        words.push(if is_secret { "[hidden]" } else { word });
        is_secret = word.trim_end_matches(':').eq_ignore_ascii_case("bearer");
    }
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_one_short_line_without_credentials() {
        assert_eq!(scrub("a\n\tb\u{0}c"), "a b c");
        assert_eq!(
            scrub("header Authorization: Bearer s3cr3t is bad"),
            "header Authorization: Bearer [hidden] is bad"
        );
        assert_eq!(scrub(&"é".repeat(300)).chars().count(), 300);
        let cut = scrub(&"é".repeat(301));
        assert!(cut.ends_with('…') && cut.chars().count() == 301, "{cut}");
    }

    #[test]
    fn an_error_prints_what_support_asks_for() {
        let mut error = RemoteError::local(Product::D1, Disposition::Park, "no such table", "x");
        assert_eq!(error.to_string(), "D1: no such table");
        error.status = Some(400);
        error.code = Some(7500);
        error.cf_ray = Some("8f-AMS".into());
        assert_eq!(error.to_string(), "D1: no such table (HTTP 400, code 7500, cf-ray 8f-AMS)");
    }
}
