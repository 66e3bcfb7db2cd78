//! What is held in memory beside the file, so that a search need not read it: vectors, words and facets. The file
//! stays the truth; these propose.
//!
//! All three are filled when the store opens, by a thread of their own, and changed by the writing thread after
//! each commit, before anybody who wrote is answered.

use super::error::StoreError;
use super::facets::{self, Facets};
use super::inverted::{self, InvertedIndex};
use super::mirror::{self, Limits, Mirror};
use rusqlite::Connection;

/// The indexes in memory.
#[derive(Debug)]
pub(super) struct Indexes {
    /// Vectors.
    pub(super) mirror: Mirror,
    /// Words.
    pub(super) words: InvertedIndex,
    /// Tags, types and times.
    pub(super) facets: Facets,
}

/// What a transaction changes in them.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) mirror: Vec<mirror::Change>,
    pub(super) words: Vec<inverted::Change>,
    pub(super) facets: Vec<facets::Change>,
}

/// How far changes had come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark([usize; 3]);

impl Indexes {
    /// Indexes of a store; the vectors may take so much memory.
    pub(super) fn new(limits: Limits) -> Self {
        let (words, facets) = (InvertedIndex::default(), Facets::default());
        Self { mirror: Mirror::new(limits), words, facets }
    }

    /// The same with a thread that helps to look at vectors where they are many.
    pub(super) fn assisted(self) -> Self {
        Self { mirror: self.mirror.assisted(), ..self }
    }

    /// From now on changes are kept for the filling, which must follow. The mirror has done so from the beginning.
    pub(super) fn expect_filling(&self) {
        self.words.expect_filling();
        self.facets.expect_filling();
    }

    /// Fills all of them from `conn`'s snapshot, which must not be older than the first change that was published.
    /// The file goes on answering for one that can't be filled, and that is told; a store that closes meanwhile is
    /// no error.
    pub(super) fn fill(&self, conn: &Connection) {
        self.fill_mirror(conn);
        tell(self.facets.fill(conn), "filters are looked up in the file, not in memory");
        tell(self.words.fill(conn), "words are ranked in the file, not in memory");
    }

    /// The same for the vectors alone.
    pub(super) fn fill_mirror(&self, conn: &Connection) {
        tell(self.mirror.fill(conn), "vectors are ranked in the file, not in memory");
    }

    /// Makes the changes of a committed transaction visible. Only the writing thread may call it.
    pub(super) fn publish(&self, changes: Changes) {
        let Changes { mirror, words, facets } = changes;
        self.mirror.publish(mirror);
        self.words.publish(words);
        self.facets.publish(facets);
    }
}

fn tell(filled: Result<(), StoreError>, what: &str) {
    if let Err(error) = filled
        && !matches!(error, StoreError::Closed)
    {
        tracing::warn!(%error, "{what}");
    }
}

impl Changes {
    pub(super) fn mark(&self) -> Mark {
        Mark([self.mirror.len(), self.words.len(), self.facets.len()])
    }

    /// Takes back what came after `mark`.
    pub(super) fn back_to(&mut self, mark: Mark) {
        let Mark([mirror, words, facets]) = mark;
        self.mirror.truncate(mirror);
        self.words.truncate(words);
        self.facets.truncate(facets);
    }
}
