//! Values between JSON and `SQLite`, with JavaScript's numbers in between.

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use serde_json::{Number, Value};

/// Refuses what the API's schema doesn't take: objects, and arrays of anything but bytes.
pub(super) fn check(param: &Value) -> Result<(), String> {
    match param {
        Value::Object(_) => Err("Invalid property: params => Expected a scalar".to_owned()),
        Value::Array(bytes) if bytes.iter().any(|byte| as_byte(byte).is_none()) => {
            Err("Invalid property: params => Expected bytes in an array".to_owned())
        }
        _ => Ok(()),
    }
}

/// What a parameter becomes: every number is a REAL, as JavaScript has no other; an array of
/// bytes is a blob.
pub(super) fn bound(param: &Value) -> ToSqlOutput<'_> {
    match param {
        Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Value::Number(number) => ToSqlOutput::Owned(number.as_f64().map_or(Sql::Null, Sql::Real)),
        Value::Bool(yes) => ToSqlOutput::Owned(Sql::Real(f64::from(u8::from(*yes)))),
        Value::Array(bytes) => {
            ToSqlOutput::Owned(Sql::Blob(bytes.iter().filter_map(as_byte).collect()))
        }
        Value::Null | Value::Object(_) => ToSqlOutput::Owned(Sql::Null),
    }
}

fn as_byte(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|n| u8::try_from(n).ok())
}

/// What a column's value becomes: integers pass through a double, infinities are null, a blob is
/// an array of bytes.
pub(super) fn shown(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        #[expect(clippy::cast_precision_loss, reason = "the loss is what is being reproduced")]
        ValueRef::Integer(n) => number(n as f64),
        ValueRef::Real(x) => number(x),
        ValueRef::Text(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Array(bytes.iter().map(|b| Value::from(*b)).collect()),
    }
}

/// A double as JavaScript prints it: without a fraction if it has none.
fn number(x: f64) -> Value {
    // Beyond this, JavaScript changes to exponents and every value is whole.
    const PLAIN: f64 = 1e18;
    if x.fract() == 0.0 && x.abs() < PLAIN {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 1e18")]
        return Value::from(x as i64);
    }
    Number::from_f64(x).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_doubles_both_ways() {
        assert_eq!(bound(&json!(7)), ToSqlOutput::Owned(Sql::Real(7.0)));
        assert_eq!(bound(&json!(true)), ToSqlOutput::Owned(Sql::Real(1.0)));
        assert_eq!(
            shown(ValueRef::Integer(9_007_199_254_740_993)),
            json!(9_007_199_254_740_992_i64)
        );
        assert_eq!(shown(ValueRef::Real(2.0)).to_string(), "2");
        assert_eq!(shown(ValueRef::Real(f64::INFINITY)), Value::Null);
    }

    #[test]
    fn only_bytes_may_stand_in_an_array() {
        assert!(check(&json!([0, 255])).is_ok());
        assert!(check(&json!([256])).is_err());
        assert!(check(&json!([[1]])).is_err());
        assert!(check(&json!({"a": 1})).is_err());
    }
}
