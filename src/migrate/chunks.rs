//! Stored vectors, read from the tables in which sqlite-vec keeps them: a chunk holds the vectors of some
//! thousand memories one behind the other, so that reading it whole is many times faster than asking for
//! each. Nothing of the extension is needed for that.

use super::layout::VECTORS;
use super::source::{Source, SourceError};
use std::collections::{BTreeMap, HashMap};

/// Bytes of a component.
const COMPONENT_BYTES: usize = 4;

impl Source {
    /// The stored vectors of these rows, raw as they stand; rows without one, and those whose place in its
    /// chunk doesn't exist, are left out.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn vectors(&self, rowids: &[i64]) -> Result<HashMap<i64, Vec<f32>>, SourceError> {
        let table = self.layout().vectors.as_ref().filter(|table| table.is_whole);
        let Some(dims) = table.and_then(|table| table.dims).filter(|dims| *dims > 0) else {
            return Ok(HashMap::new());
        };
        self.reading(|conn| {
            let mut places: BTreeMap<i64, Vec<(i64, usize)>> = BTreeMap::new();
            let mut place = conn.prepare_cached(&format!(
                "SELECT chunk_id, chunk_offset FROM {VECTORS}_rowids WHERE rowid = ?1"
            ))?;
            for rowid in rowids {
                let mut found = place.query([rowid])?;
                let Some(row) = found.next()? else { continue };
                let (chunk, offset): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                let offset = offset.and_then(|offset| usize::try_from(offset).ok());
                if let (Some(chunk), Some(offset)) = (chunk, offset) {
                    places.entry(chunk).or_default().push((*rowid, offset));
                }
            }
            let mut vectors = HashMap::new();
            // `rowid` is a column of its own there.
            let mut chunk = conn.prepare_cached(&format!(
                "SELECT vectors FROM {VECTORS}_vector_chunks00 WHERE rowid = ?1"
            ))?;
            for (id, rows) in places {
                let mut found = chunk.query([id])?;
                let Some(row) = found.next()? else { continue };
                let Ok(bytes) = row.get_ref(0)?.as_blob() else { continue };
                for (rowid, offset) in rows {
                    let size = dims.saturating_mul(COMPONENT_BYTES);
                    let start = offset.saturating_mul(size);
                    if let Some(vector) = bytes.get(start..start.saturating_add(size)) {
                        vectors.insert(rowid, components(vector));
                    }
                }
            }
            Ok(vectors)
        })
    }

    /// The rows of all vectors, in order.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn vector_rowids(&self) -> Result<Vec<i64>, SourceError> {
        if !self.layout().vectors.as_ref().is_some_and(|table| table.is_whole) {
            return Ok(Vec::new());
        }
        self.reading(|conn| {
            let sql = format!("SELECT rowid FROM {VECTORS}_rowids ORDER BY rowid");
            conn.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect()
        })
    }
}

fn components(bytes: &[u8]) -> Vec<f32> {
    let parts = bytes.as_chunks::<COMPONENT_BYTES>().0;
    parts.iter().map(|part| f32::from_le_bytes(*part)).collect()
}
