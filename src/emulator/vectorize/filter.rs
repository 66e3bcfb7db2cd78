//! Metadata filters of a query.

use crate::emulator::envelope::Failure;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Bytes of a filter as compact JSON. Documented.
const FILTER_BYTES: usize = 2_048;
/// Bytes of a string that a metadata index holds; the rest doesn't count. Documented.
const INDEXED_BYTES: usize = 64;

/// Conditions that must all hold.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<Condition>);

#[derive(Debug)]
struct Condition {
    property: String,
    operator: Operator,
    operand: Value,
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Eq,
    Ne,
    In,
    Nin,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "$eq" => Self::Eq,
            "$ne" => Self::Ne,
            "$in" => Self::In,
            "$nin" => Self::Nin,
            "$lt" => Self::Lt,
            "$lte" => Self::Lte,
            "$gt" => Self::Gt,
            "$gte" => Self::Gte,
            _ => return None,
        })
    }
}

impl Filter {
    pub(super) fn parse(filter: Map<String, Value>) -> Result<Self, Failure> {
        let bytes = Value::Object(filter.clone()).to_string().len();
        if bytes >= FILTER_BYTES {
            let text = format!("filter too large; max is {FILTER_BYTES} bytes, got {bytes} bytes");
            return Err(Failure::new(400, 40026, text));
        }
        let mut conditions = Vec::new();
        for (property, wanted) in filter {
            let Value::Object(operators) = wanted else {
                conditions.push(Condition { property, operator: Operator::Eq, operand: wanted });
                continue;
            };
            for (name, operand) in operators {
                let operator = Operator::parse(&name).ok_or_else(|| {
                    Failure::new(400, 40026, format!("unknown filter operator \"{name}\""))
                })?;
                conditions.push(Condition { property: property.clone(), operator, operand });
            }
        }
        Ok(Self(conditions))
    }

    /// Whether a vector passes, by those of its properties that an index holds.
    pub(super) fn passes(&self, indexed: &Map<String, Value>) -> bool {
        self.0.iter().all(|condition| condition.holds(indexed.get(&condition.property)))
    }
}

impl Condition {
    fn holds(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return false };
        let listed = || self.operand.as_array().is_some_and(|l| l.iter().any(|o| equal(value, o)));
        let order = || compare(value, &self.operand);
        match self.operator {
            Operator::Eq => equal(value, &self.operand),
            Operator::Ne => !equal(value, &self.operand),
            Operator::In => listed(),
            Operator::Nin => !listed(),
            Operator::Lt => order() == Some(Ordering::Less),
            Operator::Lte => order().is_some_and(Ordering::is_le),
            Operator::Gt => order() == Some(Ordering::Greater),
            Operator::Gte => order().is_some_and(Ordering::is_ge),
        }
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b) == Some(Ordering::Equal)
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(cut(a).cmp(cut(b))),
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=INDEXED_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn passes(filter: Value, metadata: Value) -> bool {
        let (Value::Object(filter), Value::Object(metadata)) = (filter, metadata) else {
            panic!("both are objects")
        };
        Filter::parse(filter).unwrap().passes(&metadata)
    }

    #[test]
    fn operators_compare_values_of_one_kind() {
        assert!(passes(json!({"a": "x"}), json!({"a": "x", "b": 1})));
        assert!(!passes(json!({"a": "x"}), json!({})));
        assert!(passes(json!({"n": {"$gte": 2, "$lt": 3}}), json!({"n": 2.5})));
        assert!(!passes(json!({"n": {"$gte": 2}}), json!({"n": "2"})));
        assert!(passes(json!({"a": {"$in": ["x", "y"]}}), json!({"a": "y"})));
        assert!(passes(
            json!({"a": {"$nin": ["x"]}, "b": {"$ne": true}}),
            json!({"a": "y", "b": false})
        ));
    }

    #[test]
    fn strings_count_up_to_64_bytes() {
        let long = "x".repeat(64);
        assert!(passes(json!({"a": format!("{long}1")}), json!({"a": format!("{long}2")})));
    }
}
