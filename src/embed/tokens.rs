//! How long a text is for a model, without the model: its tokenizer alone, which whoever compares windows can
//! hold on a thread of its own.

use super::assets::ModelFolder;
use super::engine::LoadError;
use super::manifest::Model;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::Tokenizer;

/// Marks at the two ends of a text.
const MARKS: usize = 2;

/// Bytes of a token, beyond which a text is taken for too long without a look: only words that no model knows
/// are longer.
const TOKEN_BYTES: usize = 64;

/// A model's tokenizer.
pub struct TokenCounter(Tokenizer);

impl TokenCounter {
    /// Loads the tokenizer of `model` from `folder`.
    ///
    /// # Errors
    /// It isn't there, or can't be read.
    pub fn load(folder: &ModelFolder, model: &Model) -> Result<Self, LoadError> {
        let path = folder.path_of(&model.tokenizer);
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                LoadError::Missing(model.tokenizer.key(), folder.root().to_owned())
            }
            _ => LoadError::Io { path, source },
        })?;
        let mut tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| LoadError::Damaged(error.to_string()))?;
        tokenizer
            .with_truncation(None)
            .map_err(|error| LoadError::Damaged(error.to_string()))?
            .with_padding(None);
        Ok(Self(tokenizer))
    }

    /// Whether `text` has at most `limit` tokens, its two marks included.
    pub fn fits(&self, text: &str, limit: usize) -> bool {
        // A token stands for one byte at least.
        if text.len().saturating_add(MARKS) <= limit {
            return true;
        }
        if text.len() > limit.saturating_mul(TOKEN_BYTES) {
            return false;
        }
        let split = catch_unwind(AssertUnwindSafe(|| self.0.encode_fast(text, false)));
        matches!(split, Ok(Ok(split)) if split.len().saturating_add(MARKS) <= limit)
    }
}
