//! An import: the whole source, page by page, each taken over in one transaction with the position up to
//! which the source has been read. A thread reads ahead while the store writes.
//!
//! What is done is done: a run that is stopped, or killed, goes on behind the last page. What changed in the
//! pages before it is found by a second look at all rows, which writes nothing where nothing is new.

use super::feed::{Fed, Feed};
use super::job::{self, Stop, Ticket, patiently};
use super::report::{Reconciled, Refused, Remark, Report};
use super::source::SourceError;
use super::vectors::{self, DecideError};
use crate::clock::{Micros, SharedClock};
use crate::service::Service;
use crate::store::Write;
use crate::store::edge::{self, Edge};
use crate::store::error::StoreError;
use crate::store::reconcile::{self, Held};
use crate::store::source::{self, Stage};
use crate::store::takeover::{self, Batch, Outcome};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pages that are read ahead.
const AHEAD: usize = 2;
/// Memories that are compared in one reading.
const RECONCILED: usize = 2000;
/// Pause before a store that has too much to do is asked again.
const BUSY: Duration = Duration::from_millis(50);
/// Rows that may be gone without a question.
const GONE_FREE: u64 = 50;
/// Of how many rows one may be gone without a question: a fifth.
const GONE_SHARE: u64 = 5;

/// Why an import ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread broke down.
    #[error("a defect of memtide stopped the import")]
    Defect,
}

impl From<DecideError> for ImportError {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Source(error) => error.into(),
            DecideError::Store(error) => error.into(),
            DecideError::Defect => Self::Defect,
        }
    }
}

/// Whether so many rows are gone that somebody must look at it first.
pub(super) fn is_too_many(gone: usize, of: u64) -> bool {
    let gone = u64::try_from(gone).unwrap_or(u64::MAX);
    gone > GONE_FREE && gone.saturating_mul(GONE_SHARE) > of
}

/// How an import was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Nothing is written.
    pub(super) dry_run: bool,
    /// Many rows that are gone are deleted too, where nothing else would tell of a deletion.
    pub(super) accepts_deletions: bool,
}

/// Takes the source at `path` over, or tells what that would do.
pub(super) async fn run(
    service: &Service,
    path: &str,
    asked: Asked,
    ticket: &Ticket,
) -> Result<Report, ImportError> {
    let began = service.clock().now();
    let outcome = attempt(service, path, asked, ticket, began).await;
    if !asked.dry_run && outcome.is_err() && ticket.stop() != Some(Stop::Daemon) {
        note_stop(service, path).await;
    }
    service.note_changed(std::iter::empty());
    service.replicate_hint().notify_one();
    outcome
}

/// Notes in the store that the import doesn't go on by itself.
async fn note_stop(service: &Service, path: &str) {
    let path = path.to_owned();
    let noted = write(service, move |write| match source::at_path(write, &path)? {
        Some(source) => source::end(write, source.key, Stage::Stopped, None),
        None => Ok(()),
    });
    if let Err(error) = noted.await {
        tracing::warn!(%error, "the end of the import was not noted");
    }
}

async fn attempt(
    service: &Service,
    path: &str,
    asked: Asked,
    ticket: &Ticket,
    began: Micros,
) -> Result<Report, ImportError> {
    let opened = {
        let (path, ticket) = (PathBuf::from(path), ticket.clone());
        blocking(move || {
            let is_stopped = || ticket.stop().is_some();
            let source = job::open(&path, &is_stopped)?;
            let total = patiently(&is_stopped, || source.count())?;
            Ok((source, total))
        })
    };
    let (source, total) = opened.await?;
    ticket.progress("vectors", 0, total);
    let dry_run = asked.dry_run;
    let keeps_deletions = source.layout().keeps_deletions();
    let (source, verdict, reuse) = vectors::decide(service, source).await?;
    let mut report = Report { source: path.to_owned(), dry_run, ..Report::default() };
    report.vectors.verdict = verdict;
    let known = if dry_run {
        let path = path.to_owned();
        service.read(move |read| source::at(read, &path)).await?
    } else {
        let path = path.to_owned();
        Some(write(service, move |write| source::begin(write, &path, total)).await?)
    };
    let start = known.as_ref().map_or(0, |known| known.cursor);
    report.resumed = start > 0;
    let key = known.as_ref().map(|known| known.key);
    let mut run = Run { service, ticket, key, is_dry: dry_run, total, report, rows: Vec::new() };
    let feed = Feed::new(source, reuse);
    let (mut feed, mut is_complete) = run.pass(feed, start, true).await?;
    if is_complete && start > 0 {
        // The rows before it may have changed while nobody looked.
        run.begin_anew();
        (feed, is_complete) = run.pass(feed, 0, false).await?;
    }
    if is_complete {
        feed = run.edges(feed).await?;
        run.gone(keeps_deletions, asked.accepts_deletions).await?;
        run.reconcile(feed).await?;
    }
    let mut report = run.report;
    report.complete = is_complete;
    report.took_s = service.clock().now().since(began).as_secs_f64();
    if !dry_run && ticket.stop() != Some(Stop::Daemon) {
        let stage = if is_complete { Stage::Imported } else { Stage::Stopped };
        let text = serde_json::to_string(&report).unwrap_or_default();
        let key = key.unwrap_or_default();
        write(service, move |write| {
            if !is_complete {
                // Whoever stops it doesn't want it to begin again by itself.
                source::set_followed(write, key, false)?;
            }
            source::end(write, key, stage, Some(&text))
        })
        .await?;
    }
    Ok(report)
}

struct Run<'a> {
    service: &'a Service,
    ticket: &'a Ticket,
    /// The source's local key; a dry run may meet one for the first time.
    key: Option<i64>,
    /// Whether nothing is written.
    is_dry: bool,
    total: u64,
    report: Report,
    /// The rows that were read, in order.
    rows: Vec<i64>,
}

impl Run<'_> {
    /// Forgets what was counted, as all rows are read again; what was taken over stays.
    fn begin_anew(&mut self) {
        self.rows.clear();
        let before = std::mem::take(&mut self.report);
        self.report = Report {
            source: before.source,
            resumed: before.resumed,
            new_living: before.new_living,
            new_deleted: before.new_deleted,
            merged: before.merged,
            changed: before.changed,
            lost: before.lost,
            ..Report::default()
        };
        self.report.vectors.reused = before.vectors.reused;
        self.report.vectors.to_make = before.vectors.to_make;
        self.report.vectors.verdict = before.vectors.verdict;
    }

    /// Reads all rows after `start` and takes them over. Returns the feed and whether the end was reached.
    async fn pass(
        &mut self,
        feed: Feed,
        start: i64,
        moves_cursor: bool,
    ) -> Result<(Feed, bool), ImportError> {
        let space = feed.reuse().map(|reuse| reuse.space.clone());
        let (sender, mut pages) = mpsc::channel::<(Fed, Micros)>(AHEAD);
        let (clock, ticket) = (self.service.clock().clone(), self.ticket.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let read = read_all(&feed, start, &sender, &clock, &ticket);
            (feed, read)
        });
        let mut is_complete = true;
        while let Some((fed, observed_at)) = pages.recv().await {
            if self.ticket.stop().is_some() {
                is_complete = false;
                break;
            }
            let last = fed.prints.last().map(|(row, _)| *row);
            self.rows.extend(fed.prints.iter().map(|(row, _)| *row));
            self.report.count(&fed.tally);
            for refused in fed.refused {
                let (row, hash, why) = (refused.rowid, refused.hash, refused.why);
                self.report.refuse(Refused { row, hash, why });
            }
            for id in fed.bad_vectors {
                self.report.bad_vector(id);
            }
            for (id, what) in fed.remarks {
                self.report.remark(Remark { id: id.to_string(), what });
            }
            let batch = Batch {
                source: self.key.unwrap_or_default(),
                rows: fed.rows,
                cursor: last.filter(|_| moves_cursor),
                observed_at,
                is_live: false,
                space: space.clone(),
            };
            let outcome = self.take(batch).await?;
            self.report.count_outcome(&outcome.counts);
            for one in outcome.not_taken {
                let hash = Some(one.id.to_string());
                let counted = reconcile::digest(&one.id, &one.body);
                self.report.digest = self.report.digest.wrapping_sub(counted);
                self.report.refuse(Refused { row: one.row, hash, why: one.why });
            }
            self.ticket.progress("rows", u64::try_from(self.rows.len()).unwrap_or(0), self.total);
        }
        drop(pages);
        let (feed, read) = reading.await.map_err(|_| ImportError::Defect)?;
        read?;
        Ok((feed, is_complete && self.ticket.stop().is_none()))
    }

    async fn take(&self, batch: Batch) -> Result<Outcome, ImportError> {
        if self.is_dry {
            let key = self.key;
            return Ok(self.service.read(move |read| takeover::preview(read, key, &batch)).await?);
        }
        let batch = Arc::new(batch);
        Ok(write(self.service, move |write| takeover::take(write, &batch)).await?)
    }

    async fn edges(&mut self, feed: Feed) -> Result<Feed, ImportError> {
        self.ticket.progress("edges", 0, 0);
        let (feed, seen) =
            take_edges(self.service, feed, self.key.filter(|_| !self.is_dry)).await?;
        (self.report.edges, self.report.new_edges, self.report.gone_edges) =
            (seen.read, seen.new, seen.gone);
        Ok(feed)
    }

    /// What was there once and isn't any more.
    async fn gone(
        &mut self,
        keeps_deletions: bool,
        accepts_deletions: bool,
    ) -> Result<(), ImportError> {
        let Some(key) = self.key else { return Ok(()) };
        let observed_at = self.service.clock().now();
        let known = self.service.read(move |read| source::prints(read, key)).await?;
        // Read in the order of the rows.
        let is_here = |row: &i64| self.rows.binary_search(row).is_ok();
        let of = u64::try_from(known.len()).unwrap_or(u64::MAX);
        let gone: Vec<i64> =
            known.into_iter().map(|(row, _)| row).filter(|row| !is_here(row)).collect();
        self.report.gone = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        if gone.is_empty() {
            return Ok(());
        }
        if !keeps_deletions && !accepts_deletions && is_too_many(gone.len(), of) {
            self.report.gone_held_back = true;
            return Ok(());
        }
        if self.is_dry {
            return Ok(());
        }
        let outcome = write(self.service, move |write| {
            takeover::gone(write, key, &gone, observed_at, !keeps_deletions)
        })
        .await?;
        self.report.deleted_as_gone = outcome.counts.changed;
        Ok(())
    }

    async fn reconcile(&mut self, feed: Feed) -> Result<(), ImportError> {
        let Some(key) = self.key.filter(|_| !self.is_dry) else { return Ok(()) };
        self.ticket.progress("reconcile", 0, self.total);
        let ticket = self.ticket.clone();
        let source_rows =
            blocking(move || patiently(&|| ticket.stop().is_some(), || feed.source().count()));
        let source_rows = source_rows.await?;
        write(self.service, move |write| source::set_total(write, key, source_rows)).await?;
        let (mut sum, mut after) = (Held::default(), Some(0));
        while let Some(from) = after {
            let (held, next) =
                write(self.service, move |write| reconcile::held(write, key, from, RECONCILED))
                    .await?;
            sum.rows += held.rows;
            sum.digest = sum.digest.wrapping_add(held.digest);
            sum.other_texts += held.other_texts;
            sum.other_lives += held.other_lives;
            after = next;
            self.ticket.progress("reconcile", sum.rows, self.total);
        }
        let report = &mut self.report;
        report.reconciled = Some(Reconciled {
            // What is held back is there still.
            agrees: sum.rows + report.n_refused == source_rows
                && report.digest == sum.digest
                && !report.gone_held_back,
            source_rows,
            here: sum.rows,
            refused: report.n_refused,
            source_digest: format!("{:016x}", report.digest),
            digest: format!("{:016x}", sum.digest),
            other_texts: sum.other_texts,
            other_lives: sum.other_lives,
        });
        Ok(())
    }
}

/// Reads page by page into the channel; ends early when nobody takes them any more.
fn read_all(
    feed: &Feed,
    start: i64,
    sender: &mpsc::Sender<(Fed, Micros)>,
    clock: &SharedClock,
    ticket: &Ticket,
) -> Result<(), SourceError> {
    let mut after = Some(start);
    while let Some(from) = after {
        let observed_at = clock.now();
        let fed = patiently(&|| ticket.stop().is_some(), || feed.page(from))?;
        after = fed.next;
        if sender.blocking_send((fed, observed_at)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Connections that were read and taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SeenEdges {
    pub(super) read: u64,
    pub(super) new: u64,
    pub(super) gone: u64,
}

/// Takes all connections of a source over; without its local key they are only counted.
pub(super) async fn take_edges(
    service: &Service,
    feed: Feed,
    key: Option<i64>,
) -> Result<(Feed, SeenEdges), ImportError> {
    let pass = match key {
        Some(key) => service.read(move |read| edge::next_pass(read, key)).await?,
        None => 0,
    };
    let (mut feed, mut seen, mut after) = (feed, SeenEdges::default(), Some(0));
    while let Some(from) = after {
        let page = blocking(move || {
            let page = patiently(&|| false, || feed.edges(from));
            page.map(|page| (feed, page))
        });
        let (back, (edges, next)): (Feed, (Vec<Edge>, Option<i64>)) = page.await?;
        (feed, after) = (back, next);
        seen.read += u64::try_from(edges.len()).unwrap_or(0);
        if let Some(key) = key.filter(|_| !edges.is_empty()) {
            let edges = Arc::new(edges);
            seen.new += write(service, move |write| edge::put(write, key, pass, &edges)).await?;
        }
    }
    if let Some(key) = key {
        seen.gone = write(service, move |write| edge::sweep(write, key, pass)).await?;
    }
    Ok((feed, seen))
}

/// Runs what reads a source on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, ImportError> {
    Ok(tokio::task::spawn_blocking(job).await.map_err(|_| ImportError::Defect)??)
}

/// Writes, again if the store has too much to do: people go first.
pub(super) async fn write<T, F>(service: &Service, job: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnMut(&mut Write<'_>) -> Result<T, StoreError> + Clone + Send + 'static,
{
    loop {
        match service.store().write(job.clone()).await {
            Err(StoreError::Busy | StoreError::Held) => service.clock().sleep(BUSY).await,
            outcome => {
                service.note_write(outcome.as_ref().err());
                return outcome;
            }
        }
    }
}
