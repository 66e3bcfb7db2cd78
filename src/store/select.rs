//! A filter as SQL over `memory m`, with its parameters. Every condition is served by an index.

use crate::model::filter::Filter;
use rusqlite::types::Value;

/// Conditions joined by AND, starting with `m.deleted_at IS NULL`, with positional parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Select {
    pub(super) conditions: String,
    pub(super) params: Vec<Value>,
}

impl Select {
    /// Live memories that pass `filter`.
    pub(super) fn live(filter: &Filter) -> Self {
        let mut select = Self { conditions: "m.deleted_at IS NULL".to_owned(), params: Vec::new() };
        if !filter.tags.is_empty() {
            let places = vec!["?"; filter.tags.len()].join(", ");
            select.conditions.push_str(&format!(
                " AND m.key IN (SELECT memory FROM tag WHERE name IN ({places})"
            ));
            select.params.extend(filter.tags.iter().cloned().map(Value::from));
            if filter.tags_all {
                select.conditions.push_str(" GROUP BY memory HAVING count(*) = ?");
                let n_tags = i64::try_from(filter.tags.len()).unwrap_or(i64::MAX);
                select.params.push(Value::from(n_tags));
            }
            select.conditions.push(')');
        }
        if let Some(kind) = &filter.memory_type {
            select.and("m.kind = ?", Value::from(kind.clone()));
        }
        if let Some(after) = filter.after {
            select.and("m.created_at >= ?", Value::from(after.0));
        }
        if let Some(before) = filter.before {
            select.and("m.created_at < ?", Value::from(before.0));
        }
        select
    }

    /// The same without memories that another one replaces.
    pub(super) fn findable(filter: &Filter) -> Self {
        let mut select = Self::live(filter);
        select.conditions.push_str(" AND m.superseded_by IS NULL");
        select
    }

    /// Adds a condition with one parameter.
    pub(super) fn and(&mut self, condition: &str, value: Value) {
        self.conditions.push_str(" AND ");
        self.conditions.push_str(condition);
        self.params.push(value);
    }

    /// The parameters, followed by `more`.
    pub(super) fn params_then(&self, more: impl IntoIterator<Item = Value>) -> Vec<Value> {
        self.params.iter().cloned().chain(more).collect()
    }
}
