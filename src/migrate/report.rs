//! What an import did, or would do, told in numbers that add up.

use super::feed::Tally;
use super::vectors::Verdict;
use crate::model::id::MemoryId;
use crate::store::takeover::Counts;
use serde::{Deserialize, Serialize};

/// Rows and remarks that a report names one by one.
pub const NAMED_MAX: usize = 100;

/// A row that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its row in the source.
    pub row: i64,
    /// What stands there as its hash.
    pub hash: Option<String>,
    /// Why, a sentence.
    pub why: String,
}

/// Something of a memory that was kept aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The memory.
    pub id: String,
    /// A sentence.
    pub what: String,
}

/// Vectors, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VectorReport {
    /// Taken over.
    pub reused: u64,
    /// To be made in the background.
    pub to_make: u64,
    /// Living memories that had none.
    pub missing: u64,
    /// With another number of components.
    pub wrong_length: u64,
    /// No direction: not a number, or all zero.
    pub unusable: u64,
    /// The memories of the first of these.
    #[serde(default)]
    pub unusable_ids: Vec<String>,
    /// Made of a hash, while the service had no model.
    pub pseudo: u64,
    /// Of texts that are longer than what the service reads of them.
    pub of_long_texts: u64,
    /// Why they are, or are not, taken over.
    pub verdict: Verdict,
}

/// Whether what was read is what is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciled {
    /// Whether counts and hashes agree.
    pub agrees: bool,
    /// Rows that the source has.
    pub source_rows: u64,
    /// Rows of it that are here.
    pub here: u64,
    /// Rows of it that were refused.
    pub refused: u64,
    /// The sum of the hashes of ids and texts that were read.
    pub source_digest: String,
    /// The sum of those that are kept of the source.
    pub digest: String,
    /// Memories that have another text here: a later one.
    pub other_texts: u64,
    /// Memories that live on one side only: what happened later counts.
    pub other_lives: u64,
}

/// The report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the run")]
pub struct Report {
    /// The source.
    pub source: String,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether it went on where another run had stopped.
    pub resumed: bool,
    /// Whether it came to its end.
    pub complete: bool,
    /// Rows read.
    pub rows: u64,
    /// Of them living memories.
    pub living: u64,
    /// Of them deleted ones.
    pub deleted: u64,
    /// Memories that were not here, alive.
    pub new_living: u64,
    /// Memories that were not here, deleted.
    pub new_deleted: u64,
    /// Memories that were here from elsewhere, and got something.
    pub merged: u64,
    /// Memories that were taken over before, and were changed there since.
    pub changed: u64,
    /// Rows with nothing new.
    pub unchanged: u64,
    /// Memories of which something lost against what is here; it is in their history.
    pub lost: u64,
    /// Rows that are not there any more.
    pub gone: u64,
    /// Of them memories that were deleted for that.
    pub deleted_as_gone: u64,
    /// Whether so many are gone that none was deleted.
    pub gone_held_back: bool,
    /// Memories with columns that are kept for the way back.
    pub carried: u64,
    /// Rows that were not taken over.
    pub n_refused: u64,
    /// The first of them.
    pub refused: Vec<Refused>,
    /// What was kept aside.
    pub n_remarks: u64,
    /// The first of that.
    pub remarks: Vec<Remark>,
    /// Vectors.
    pub vectors: VectorReport,
    /// Connections read.
    pub edges: u64,
    /// Of them new or others than before.
    pub new_edges: u64,
    /// Connections that are not there any more.
    pub gone_edges: u64,
    /// Whether all is here; of a run that wrote something and came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Reconciled>,
    /// Seconds that it took.
    pub took_s: f64,
    /// The sum of the hashes of ids and texts that were read and taken over.
    #[serde(skip)]
    pub(super) digest: u64,
}

impl Report {
    pub(super) fn count(&mut self, tally: &Tally) {
        self.rows += tally.rows;
        self.living += tally.living;
        self.deleted += tally.deleted;
        self.carried += tally.carried;
        self.digest = self.digest.wrapping_add(tally.digest);
        self.vectors.missing += tally.vectors_missing;
        self.vectors.wrong_length += tally.vectors_wrong_length;
        self.vectors.unusable += tally.vectors_unusable;
        self.vectors.pseudo += tally.vectors_pseudo;
        self.vectors.of_long_texts += tally.vectors_of_long_texts;
    }

    pub(super) fn count_outcome(&mut self, counts: &Counts) {
        self.new_living += counts.new_living;
        self.new_deleted += counts.new_deleted;
        self.merged += counts.merged;
        self.changed += counts.changed;
        self.unchanged += counts.unchanged;
        self.lost += counts.lost;
        self.vectors.reused += counts.vectors_reused;
        self.vectors.to_make += counts.vectors_to_make;
    }

    pub(super) fn refuse(&mut self, refused: Refused) {
        self.n_refused += 1;
        if self.refused.len() < NAMED_MAX {
            self.refused.push(refused);
        }
    }

    pub(super) fn bad_vector(&mut self, id: MemoryId) {
        if self.vectors.unusable_ids.len() < NAMED_MAX {
            self.vectors.unusable_ids.push(id.to_string());
        }
    }

    pub(super) fn remark(&mut self, remark: Remark) {
        self.n_remarks += 1;
        if self.remarks.len() < NAMED_MAX {
            self.remarks.push(remark);
        }
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let (did, took) = if self.dry_run {
            ("would be taken over", "dry run")
        } else {
            ("taken over", "import")
        };
        let mut lines = vec![format!("{took} from {}", self.source)];
        let mut line = |what: &str, n: u64, note: &str| {
            let note = if note.is_empty() { String::new() } else { format!("  {note}") };
            lines.push(format!("  {what:<26}{n}{note}"));
        };
        line("rows read", self.rows, &format!("{} living, {} deleted", self.living, self.deleted));
        line(
            &format!("new, {did}"),
            self.new_living + self.new_deleted,
            &format!("{} living, {} deleted", self.new_living, self.new_deleted),
        );
        for (what, n, note) in [
            ("merged", self.merged, "were here from elsewhere"),
            ("changed there since", self.changed, ""),
            ("unchanged", self.unchanged, ""),
            ("older than here", self.lost, "kept in the history"),
            ("gone there", self.gone, ""),
            ("deleted for that", self.deleted_as_gone, ""),
            ("refused", self.n_refused, ""),
            ("kept aside", self.n_remarks, ""),
            ("with further columns", self.carried, "kept for the way back"),
            ("edges", self.edges, ""),
        ] {
            if n > 0 {
                line(what, n, note);
            }
        }
        line("vectors taken over", self.vectors.reused, &self.vectors.verdict.why);
        line("vectors to be made", self.vectors.to_make, &self.unfit());
        for refused in &self.refused {
            let hash = refused.hash.as_deref().unwrap_or("no hash");
            lines.push(format!("  refused: row {} ({hash}): {}", refused.row, refused.why));
        }
        for remark in &self.remarks {
            lines.push(format!("  {}: {}", remark.id, remark.what));
        }
        for id in &self.vectors.unusable_ids {
            lines.push(format!(
                "  {id}: its vector is no direction (zeros, or no numbers) and is made anew"
            ));
        }
        if self.gone_held_back {
            lines.push(
                "  so many rows are gone that none was deleted for it: check the source, then \
                 `memtide migrate follow --accept-deletions`"
                    .to_owned(),
            );
        }
        if !self.complete {
            lines.push(
                "  it was stopped before its end; the next import goes on from there".to_owned(),
            );
        }
        if let Some(reconciled) = &self.reconciled {
            lines.push(reconciled.to_text());
        }
        lines.join("\n")
    }

    fn unfit(&self) -> String {
        let parts: Vec<String> = [
            (self.vectors.missing, "had none"),
            (self.vectors.pseudo, "made of a hash"),
            (self.vectors.of_long_texts, "of long texts"),
            (self.vectors.wrong_length, "of another length"),
            (self.vectors.unusable, "no direction"),
        ]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
        parts.join(", ")
    }
}

impl Reconciled {
    fn to_text(&self) -> String {
        let Self { here, refused, source_rows, .. } = self;
        let mut text = if self.agrees {
            let all = if *refused == 0 { "all of it" } else { "all that can be taken" };
            format!(
                "  {all} is here: {here} of {source_rows} rows, {refused} refused, hashes agree"
            )
        } else {
            format!(
                "  NOT all of it is here: {here} of {source_rows} rows, {refused} refused, hashes {} and {}; \
                 if the service wrote meanwhile, import again or follow it",
                self.source_digest, self.digest
            )
        };
        if self.other_texts + self.other_lives > 0 {
            text.push_str(&format!(
                "\n  later here than there: {} texts, {} deletions or returns",
                self.other_texts, self.other_lives
            ));
        }
        text
    }
}
