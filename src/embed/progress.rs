//! How far a download is, for whoever shows it.

use std::sync::Arc;

/// Told of every step: the file, its bytes that are there, and its bytes in all.
pub type Progress = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;
