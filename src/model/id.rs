//! What names a memory: the hash of its text, by the rule of the Python service, so that two devices
//! that store the same text offline end with one memory.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// SHA-256 of the stripped, lower-cased text. Prints as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId([u8; 32]);

impl MemoryId {
    /// The id of `content`.
    ///
    /// Python's `str.strip` removes what Unicode calls white space and also U+001C to U+001F, which
    /// Rust's `trim` keeps.
    pub fn of(content: &str) -> Self {
        let stripped = content.trim_matches(is_python_space);
        Self(Sha256::digest(stripped.to_lowercase().as_bytes()).into())
    }

    /// The raw digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Whether Python's `str.strip` removes `c`.
pub fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

impl fmt::Display for MemoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for MemoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 64 hex digits, this is {0:?}")]
pub struct BadId(pub String);

impl FromStr for MemoryId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| BadId(text.chars().take(80).collect()))?;
        Ok(Self(bytes))
    }
}

/// SHA-256 of a text's exact bytes: tells apart two versions that share a [`MemoryId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyHash([u8; 32]);

impl BodyHash {
    /// The hash of `content`, byte for byte.
    pub fn of(content: &str) -> Self {
        Self::of_bytes(content.as_bytes())
    }

    /// The hash of what should be a text.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first eight hex digits, enough to tell the versions of one memory apart in a key.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BodyHash {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse::<MemoryId>().map(|id| Self(id.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests printed by Python 3.11's hashlib for `sha256(text.strip().lower())`.
    #[test]
    fn ids_equal_the_python_services() {
        let hello = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
        assert_eq!(MemoryId::of("hello world").to_string(), hello);
        assert_eq!(MemoryId::of("\u{1c} Hello World\u{a0}\n\u{1f}").to_string(), hello);
        assert_eq!(MemoryId::of("ΑΣ"), MemoryId::of("ας"));
        assert_ne!(MemoryId::of("a\u{200b}"), MemoryId::of("a"), "zero width space is no space");
    }

    #[test]
    fn an_id_reads_back_and_rubbish_is_refused() {
        let id = MemoryId::of("x");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("12".parse::<MemoryId>().is_err());
        assert!("zz".repeat(32).parse::<MemoryId>().is_err());
    }

    #[test]
    fn the_body_hash_sees_case() {
        assert_ne!(BodyHash::of("a"), BodyHash::of("A"));
        assert_eq!(BodyHash::of("a").short().len(), 8);
    }
}
