//! What a comparison has found.

use super::super::session::Session;
use crate::model::id::MemoryId;
use std::collections::{BTreeMap, BTreeSet};

/// Examples of each kind in a report.
pub const EXAMPLES: usize = 5;

/// Kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The database has no state of a memory.
    MissingInCloud,
    /// The database has a state of a memory that isn't here.
    MissingHere,
    /// Both have one, and they differ.
    Differing,
    /// The Python service's table has a memory that no memtide has taken up.
    RowWithoutState,
    /// The Python service's row is gone.
    RowMissing,
    /// The Python service's row shows something else than the state.
    RowDiffers,
    /// The Python service's row holds another text, or names another body.
    RowTextDiffers,
    /// The database has something whose name is no memory's id.
    Unreadable,
    /// The index has no vector of a memory.
    VectorMissing,
    /// The index has a vector of a memory that is deleted or replaced.
    VectorOfDead,
    /// The index has a vector of a memory that nobody knows.
    VectorUnknown,
    /// The index has another vector than the memory's text has.
    VectorDiffers,
    /// The bucket doesn't have the body of a memory.
    BodyMissing,
    /// The bucket has a body of another length.
    BodyDiffers,
}

impl Kind {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 14] = [
        Self::MissingInCloud,
        Self::MissingHere,
        Self::Differing,
        Self::RowWithoutState,
        Self::RowMissing,
        Self::RowDiffers,
        Self::RowTextDiffers,
        Self::Unreadable,
        Self::VectorMissing,
        Self::VectorOfDead,
        Self::VectorUnknown,
        Self::VectorDiffers,
        Self::BodyMissing,
        Self::BodyDiffers,
    ];

    /// The stable name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingInCloud => "missing_in_cloud",
            Self::MissingHere => "missing_here",
            Self::Differing => "differing",
            Self::RowWithoutState => "row_without_state",
            Self::RowMissing => "row_missing",
            Self::RowDiffers => "row_differs",
            Self::RowTextDiffers => "row_text_differs",
            Self::Unreadable => "unreadable",
            Self::VectorMissing => "vector_missing",
            Self::VectorOfDead => "vector_of_dead",
            Self::VectorUnknown => "vector_unknown",
            Self::VectorDiffers => "vector_differs",
            Self::BodyMissing => "body_missing",
            Self::BodyDiffers => "body_differs",
        }
    }
}

/// A difference that has yet to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) kind: Kind,
    /// The memory, if the name is one's.
    pub(super) id: Option<MemoryId>,
    /// The name where it is no memory's.
    pub(super) name: String,
    /// The digest of the local state that was compared; `None` where there is none.
    pub(super) digest: Option<u64>,
}

/// Differences as they are found.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// Memories whose states differ or are missing somewhere: what follows from that is no news.
    unsettled: BTreeSet<MemoryId>,
    n_skipped: u64,
}

impl Candidates {
    /// Adds a difference of a memory.
    pub(super) fn add(&mut self, kind: Kind, id: MemoryId, digest: Option<u64>) {
        if matches!(kind, Kind::MissingInCloud | Kind::MissingHere | Kind::Differing) {
            self.unsettled.insert(id);
        }
        self.list.push(Candidate { kind, id: Some(id), name: String::new(), digest });
    }

    /// Adds something that is no memory.
    pub(super) fn add_unreadable(&mut self, name: &str) {
        let name = name.chars().filter(|c| !c.is_control()).take(80).collect();
        self.list.push(Candidate { kind: Kind::Unreadable, id: None, name, digest: None });
    }

    /// Leaves out a difference that is on its way to be none.
    pub(super) fn skip(&mut self) {
        self.n_skipped += 1;
    }

    pub(super) fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    /// Whether the states of this memory differ.
    pub(super) fn is_unsettled(&self, id: &MemoryId) -> bool {
        self.unsettled.contains(id)
    }

    pub(super) fn into_list(self) -> Vec<Candidate> {
        self.list
    }
}

/// How much was compared. What was not looked at has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Memories here, deleted ones included.
    pub memories: u64,
    /// States in the database.
    pub entries: u64,
    /// Rows of the Python service's table.
    pub rows: Option<u64>,
    /// Vectors in the index.
    pub vectors: Option<u64>,
    /// Of them such that were compared by value.
    pub sampled: Option<u64>,
    /// Bodies in the bucket.
    pub bodies: Option<u64>,
}

/// All differences of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which kind.
    pub kind: Kind,
    /// How many.
    pub count: u64,
    /// How many of them were seen to.
    pub repaired: u64,
    /// Ids of up to [`EXAMPLES`] of them.
    pub examples: Vec<String>,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How much was compared.
    pub compared: Compared,
    /// Memories that are on their way there or here, and are no difference.
    pub on_the_way: u64,
    /// What differs; kinds of which there is none are left out.
    pub findings: Vec<Finding>,
    /// Requests that it took.
    pub requests: u64,
    /// Rows that the database has read for it.
    pub rows_read: u64,
}

impl Report {
    pub(super) fn new(
        compared: Compared,
        on_the_way: u64,
        candidates: &[Candidate],
        repaired: &BTreeMap<Kind, u64>,
        requests: u64,
        rows_read: u64,
    ) -> Self {
        let findings = Kind::ALL.into_iter().filter_map(|kind| {
            let mut of_kind = candidates.iter().filter(|one| one.kind == kind).peekable();
            of_kind.peek()?;
            let name =
                |one: &Candidate| one.id.map_or_else(|| one.name.clone(), |id| id.to_string());
            let examples = of_kind.clone().take(EXAMPLES).map(name).collect();
            let count = u64::try_from(of_kind.count()).unwrap_or(u64::MAX);
            let repaired = repaired.get(&kind).copied().unwrap_or(0);
            Some(Finding { kind, count, repaired, examples })
        });
        let findings = findings.collect();
        Self { compared, on_the_way, findings, requests, rows_read }
    }

    /// How many differences there are.
    pub fn differences(&self) -> u64 {
        self.findings.iter().map(|finding| finding.count).sum()
    }

    /// How many of them were seen to.
    pub fn repaired(&self) -> u64 {
        self.findings.iter().map(|finding| finding.repaired).sum()
    }

    /// Differences of one kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.findings.iter().find(|finding| finding.kind == kind).map_or(0, |found| found.count)
    }

    /// Says in one line of the log what an unasked comparison has found.
    pub(in super::super) fn log(&self, session: &Session) {
        let Self { compared, on_the_way, requests, rows_read, .. } = self;
        let (memories, vectors) = (compared.memories, compared.vectors);
        let differences = self.differences();
        if differences == 0 {
            tracing::info!(
                memories,
                vectors,
                on_the_way,
                requests,
                rows_read,
                "the cloud holds what this device holds"
            );
            return;
        }
        let kinds: Vec<String> = self
            .findings
            .iter()
            .map(|finding| format!("{} {}", finding.count, finding.kind.as_str()))
            .collect();
        let (repaired, kinds) = (self.repaired(), kinds.join(", "));
        let account = &session.link.account;
        tracing::warn!(
            account,
            differences,
            repaired,
            kinds,
            memories,
            requests,
            rows_read,
            "the cloud differed from this device"
        );
    }
}
