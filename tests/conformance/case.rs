//! One question.

use crate::subject::Subject;
use serde_json::Value;

/// A behaviour: what to do, and what must be seen.
#[derive(Clone)]
pub struct Case {
    /// The promise, as a sentence.
    pub name: &'static str,
    /// Asks the subject and tells what it saw. Tables are empty when it starts.
    pub observe: fn(&mut dyn Subject) -> Value,
    /// What must be seen, differences apart.
    pub expected: Value,
}

/// Names a case.
pub fn case(name: &'static str, observe: fn(&mut dyn Subject) -> Value, expected: Value) -> Case {
    Case { name, observe, expected }
}
