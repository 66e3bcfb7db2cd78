//! The log of requests, for tests and for the demo.

use super::faults::RuleId;
use super::product::Product;
use crate::clock::Micros;
use std::collections::{BTreeMap, VecDeque};

/// How many of the newest requests are kept; the counts go on.
const KEPT: usize = 100_000;

/// One request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it arrived.
    pub at: Micros,
    /// Which service its path names.
    pub product: Product,
    /// Its HTTP method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its query string, without the question mark.
    pub query: String,
    /// Bytes of its body.
    pub request_bytes: usize,
    /// The status that went back; `None` if the connection ended without an answer.
    pub status: Option<u16>,
    /// The fault that happened to it.
    pub fault: Option<RuleId>,
}

#[derive(Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    counts: BTreeMap<Product, u64>,
    refused: u64,
}

impl Journal {
    pub(super) fn add(&mut self, entry: Entry) {
        *self.counts.entry(entry.product).or_default() += 1;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Counts a request that met a dead network.
    pub(super) fn count_refused(&mut self) {
        self.refused += 1;
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn count(&self, product: Product) -> u64 {
        self.counts.get(&product).copied().unwrap_or(0)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
