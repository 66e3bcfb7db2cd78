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
        select.and_tags(filter);
        select.and_columns(filter);
        select
    }

    /// The same without memories that another one replaces.
    pub(super) fn findable(filter: &Filter) -> Self {
        let mut select = Self::live(filter);
        select.conditions.push_str(" AND m.superseded_by IS NULL");
        select
    }

    /// The same for one memory whose key is the last parameter: nothing else is looked at.
    pub(super) fn findable_one(filter: &Filter) -> Self {
        let conditions = "m.deleted_at IS NULL AND m.superseded_by IS NULL".to_owned();
        let mut select = Self { conditions, params: Vec::new() };
        if !filter.tags.is_empty() {
            let places = vec!["?"; filter.tags.len()].join(", ");
            select.conditions.push_str(&format!(
                " AND (SELECT count(*) FROM tag WHERE name IN ({places}) AND memory = m.key) >= ?"
            ));
            select.params.extend(filter.tags.iter().cloned().map(Value::from));
            let needed = if filter.tags_all { filter.tags.len() } else { 1 };
            select.params.push(Value::from(i64::try_from(needed).unwrap_or(i64::MAX)));
        }
        select.and_columns(filter);
        select.conditions.push_str(" AND m.key = ?");
        select
    }

    fn and_tags(&mut self, filter: &Filter) {
        if !filter.tags.is_empty() {
            let places = vec!["?"; filter.tags.len()].join(", ");
            self.conditions.push_str(&format!(
                " AND m.key IN (SELECT memory FROM tag WHERE name IN ({places})"
            ));
            self.params.extend(filter.tags.iter().cloned().map(Value::from));
            if filter.tags_all {
                self.conditions.push_str(" GROUP BY memory HAVING count(*) = ?");
                let n_tags = i64::try_from(filter.tags.len()).unwrap_or(i64::MAX);
                self.params.push(Value::from(n_tags));
            }
            self.conditions.push(')');
        }
    }

    /// What an index of the memories alone tells.
    fn and_columns(&mut self, filter: &Filter) {
        if let Some(kind) = &filter.memory_type {
            self.and("m.kind = ?", Value::from(kind.clone()));
        }
        if let Some(after) = filter.after {
            self.and("m.created_at >= ?", Value::from(after.0));
        }
        if let Some(before) = filter.before {
            self.and("m.created_at < ?", Value::from(before.0));
        }
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
