//! A filter, and what is known in memory of who passes it.

use super::error::StoreError;
use super::keys::Keys;
use super::reader::Read;
use super::select::Select;
use crate::model::filter::Filter;
use rusqlite::{CachedStatement, Connection};

/// A filter of one search.
#[derive(Debug)]
pub(super) struct Sieve<'a> {
    pub(super) filter: &'a Filter,
    /// Who passes, by what is held in memory; `None` where every memory does, and where the file has to tell.
    pub(super) keys: Option<Keys>,
}

impl<'a> Sieve<'a> {
    pub(super) fn of(read: &Read<'_>, filter: &'a Filter) -> Self {
        let keys = if filter.is_empty() { None } else { read.indexes.facets.passing(filter) };
        Self { filter, keys }
    }
}

/// The file's word on single memories: whether they pass on its snapshot.
pub(super) struct Probe<'a> {
    /// Its parameters are bound but for the memory's key.
    statement: CachedStatement<'a>,
    n_params: usize,
}

impl<'a> Probe<'a> {
    pub(super) fn new(conn: &'a Connection, filter: &Filter) -> Result<Self, StoreError> {
        let select = Select::findable_one(filter);
        let sql = format!("SELECT 1 FROM memory m WHERE {}", select.conditions);
        let mut statement = conn.prepare_cached(&sql)?;
        for (n, value) in select.params.iter().enumerate() {
            statement.raw_bind_parameter(n + 1, value)?;
        }
        Ok(Self { statement, n_params: select.params.len() })
    }

    pub(super) fn passes(&mut self, memory: i64) -> Result<bool, StoreError> {
        self.statement.raw_bind_parameter(self.n_params + 1, memory)?;
        Ok(self.statement.raw_query().next()?.is_some())
    }
}
