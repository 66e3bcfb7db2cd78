//! Values as they stand in columns.

use super::error::StoreError;
use crate::model::id::MemoryId;

/// An id from a column that only ids are written to.
pub(super) fn parse_id(text: &str) -> Result<MemoryId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("a stored id is {text:?}")))
}
