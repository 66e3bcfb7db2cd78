//! What a memory of the Python service has besides what a memory is: kept whole and given back on export,
//! used for nothing.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The store of a memory that names none.
pub const DEFAULT_STORE: &str = "default";

/// What is kept beside a memory. A value that says no more than the service's own default is left out, so
/// that an ordinary memory carries nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Carried {
    /// The partition it lies in; `None` for the default one.
    pub store: Option<String>,
    /// The hash of the memory that it is a version of.
    pub parent: Option<String>,
    /// Its number among the versions; `None` for the first.
    pub version: Option<i64>,
    /// How sure the service is of it; `None` for 1.
    pub confidence: Option<f64>,
    /// When a search last showed it, in seconds since the epoch.
    pub last_accessed: Option<f64>,
    /// Any other column by its name, and the raw text of one that memtide can't take as it stands.
    pub extra: BTreeMap<String, Value>,
}

impl Carried {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
