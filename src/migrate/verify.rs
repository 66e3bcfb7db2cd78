//! A source compared with what is here of it: every memory, every field, every edge, and vectors by presence
//! and by a sample that is made anew.

use super::compare::{Kind, compare};
use super::edge::Edge as SourceEdge;
use super::feed::{PAGE_BYTES, PAGE_ROWS};
use super::job::{self, JobEnd, JobKind, MigrateError, Migrator, Ticket, Trouble, patiently};
use super::queries::{self, Queries};
use super::row::SourceMemory;
use super::source::{Page, Source, SourceError};
use crate::model::id::MemoryId;
use crate::service::Service;
use crate::store::error::StoreError;
use crate::store::held::{self, Held};
use crate::store::source;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Examples of each kind that are named.
const EXAMPLES: usize = 10;
/// Vectors that are made anew.
const SAMPLED: u64 = 32;
/// Bytes of a text whose vector is made anew: it goes before searches.
const SAMPLE_BYTES_MAX: usize = 2000;
/// How near a vector must be to the one that is made anew.
const COSINE_MIN: f32 = 0.999;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// The source.
    pub source: String,
    /// Whether all of it is here as it is there, but for what is explained.
    pub agrees: bool,
    /// Whether it came to its end.
    pub complete: bool,
    /// How many differences there are.
    pub differences: u64,
    /// What will settle by itself.
    pub on_the_way: u64,
    /// How much was compared.
    pub compared: Compared,
    /// What was found, by kind: differences first.
    pub findings: Vec<Finding>,
    /// The answers to queries on both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<Queries>,
}

/// How much was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Rows of the source.
    pub rows: u64,
    /// Of them living memories.
    pub living: u64,
    /// Of them deleted ones.
    pub deleted: u64,
    /// Living memories that are here and not in the source.
    pub only_here: u64,
    /// Texts, by their hash and byte for byte.
    pub texts: u64,
    /// Memories whose vector is here.
    pub vectors: u64,
    /// Vectors that were made anew.
    pub sampled: u64,
    /// Why none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_sampled: Option<String>,
    /// Edges.
    pub edges: u64,
}

/// All that was found of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind.
    pub kind: Kind,
    /// Whether the two sides disagree in it.
    pub is_difference: bool,
    /// How often.
    pub count: u64,
    /// Some of it.
    pub examples: Vec<Example>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The memory, or the row, or the edge.
    pub id: String,
    /// What it is about.
    pub what: String,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread broke down.
    #[error("a defect of memtide stopped the comparison")]
    Defect,
}

impl VerifyError {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Source(error) => error.into(),
            Self::Store(error) => error.into(),
            Self::Defect => Trouble {
                message: self.to_string(),
                next_step: "see the daemon's log, and report it".to_owned(),
            },
        }
    }
}

impl Migrator {
    /// Begins to compare the source at `path`, or the one of the last import, with what is here, and the
    /// answers of both to `asked`.
    ///
    /// # Errors
    /// Nothing was imported, the source can't be read, or another job is at work.
    pub async fn verify(
        &self,
        path: Option<&Path>,
        asked: Vec<String>,
    ) -> Result<(), MigrateError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => PathBuf::from(self.current().await?.path),
        };
        let path = self.look_at(&path).await?;
        let service = self.inner.service.clone();
        self.start(JobKind::Verify, move |ticket| async move {
            match run(&service, &path, asked, &ticket).await {
                Ok(report) => {
                    let is_complete = report.complete;
                    let report = serde_json::to_value(report).unwrap_or_default();
                    if is_complete { JobEnd::Done(report) } else { JobEnd::Cancelled(Some(report)) }
                }
                Err(error) => JobEnd::Failed(error.trouble()),
            }
        })
    }
}

/// Runs `job` on the source where it may block, and gives the source back.
async fn on_source<T: Send + 'static>(
    source: Source,
    ticket: &Ticket,
    job: impl Fn(&Source) -> Result<T, SourceError> + Send + 'static,
) -> Result<(Source, T), VerifyError> {
    let ticket = ticket.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let answer = patiently(&|| ticket.stop().is_some(), || job(&source));
        (source, answer)
    });
    let (source, answer) = reading.await.map_err(|_| VerifyError::Defect)?;
    Ok((source, answer?))
}

async fn run(
    service: &Service,
    path: &str,
    asked: Vec<String>,
    ticket: &Ticket,
) -> Result<Verified, VerifyError> {
    let opening = {
        let (path, ticket) = (PathBuf::from(path), ticket.clone());
        tokio::task::spawn_blocking(move || job::open(&path, &|| ticket.stop().is_some()))
    };
    let source = opening.await.map_err(|_| VerifyError::Defect)??;
    let named = path.to_owned();
    let known = service.read(move |read| source::at(read, &named)).await?;
    let (mut source, total) = on_source(source, ticket, Source::count).await?;
    let mut run = Run {
        service,
        key: known.as_ref().map(|known| known.key),
        is_followed: known.as_ref().is_some_and(|known| known.is_followed),
        report: Verified { source: path.to_owned(), ..Verified::default() },
        found: BTreeMap::new(),
        rows: HashSet::new(),
        living_here: 0,
        step: (total / SAMPLED).max(1),
        samples: Vec::new(),
    };
    let mut after = i64::MIN;
    loop {
        if ticket.stop().is_some() {
            return Ok(run.told(false));
        }
        let page;
        (source, page) =
            on_source(source, ticket, move |source| source.page(after, PAGE_ROWS, PAGE_BYTES))
                .await?;
        let next = page.next;
        run.page(page).await?;
        ticket.progress("rows", run.report.compared.rows, total);
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    let keeps_deletions = source.layout().keeps_deletions();
    run.gone(keeps_deletions).await?;
    source = run.edges(source, ticket).await?;
    ticket.progress("vectors", 0, SAMPLED);
    run.sample().await;
    if !asked.is_empty() {
        ticket.progress("queries", 0, u64::try_from(asked.len()).unwrap_or(0));
        run.report.queries = Some(queries::run(service, source, &asked, ticket).await?);
    }
    let report = run.told(ticket.stop().is_none());
    if let Some(key) = known.map(|known| known.key)
        && report.agrees
    {
        let noted = service.store().write(move |write| source::set_verified(write, key)).await;
        service.note_write(noted.as_ref().err());
        noted?;
    }
    Ok(report)
}

struct Run<'a> {
    service: &'a Service,
    key: Option<i64>,
    is_followed: bool,
    report: Verified,
    found: BTreeMap<Kind, (u64, Vec<Example>)>,
    /// The rows that were read.
    rows: HashSet<i64>,
    /// Living memories here that the source has too.
    living_here: u64,
    /// Every so many rows a vector is made anew.
    step: u64,
    samples: Vec<(MemoryId, String, Vec<f32>)>,
}

impl Run<'_> {
    fn note(&mut self, kind: Kind, id: String, what: String) {
        let (count, examples) = self.found.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(Example { id, what });
        }
    }

    async fn page(&mut self, page: Page) -> Result<(), VerifyError> {
        let key = self.key;
        let ids: Vec<MemoryId> = page.rows.iter().flatten().map(|memory| memory.id).collect();
        let here = self.service.read(move |read| held::by_id(read, key, &ids)).await?;
        for row in page.rows {
            self.report.compared.rows += 1;
            match row {
                Ok(memory) => self.memory(&memory, here.get(&memory.id)),
                Err(refused) => {
                    self.rows.insert(refused.rowid);
                    let id = refused.hash.unwrap_or_else(|| format!("row {}", refused.rowid));
                    self.note(Kind::Refused, id, refused.why);
                }
            }
        }
        Ok(())
    }

    fn memory(&mut self, memory: &SourceMemory, here: Option<&Held>) {
        let n = self.report.compared.rows;
        let compared = &mut self.report.compared;
        let is_live = memory.shown.deleted_at.is_none();
        *(if is_live { &mut compared.living } else { &mut compared.deleted }) += 1;
        if let Some(held) = here {
            compared.texts += u64::from(held.content.is_some());
            compared.vectors += u64::from(held.vector.is_some());
            self.living_here += u64::from(held.state.is_alive());
            let is_short = held.content.as_ref().is_some_and(|text| text.len() <= SAMPLE_BYTES_MAX);
            let is_next = n.is_multiple_of(self.step) || n == 1;
            if let (Some(text), Some(vector), true) =
                (&held.content, &held.vector, is_next && is_short && held.n_windows == 1)
            {
                self.samples.push((memory.id, text.clone(), vector.clone()));
            }
        }
        self.rows.insert(memory.rowid);
        for (kind, what) in compare(memory, here, self.is_followed) {
            self.note(kind, memory.id.to_string(), what);
        }
    }

    /// Rows that were taken over once and are not there any more.
    async fn gone(&mut self, keeps_deletions: bool) -> Result<(), VerifyError> {
        let Some(key) = self.key else { return self.only_here().await };
        for known in self.service.read(move |read| held::known(read, key)).await? {
            if !known.is_alive || known.row.is_some_and(|row| self.rows.contains(&row)) {
                continue;
            }
            let what = "its row is gone from the source".to_owned();
            // There the missing row is the deletion, unless that was looked at already.
            let is_deletion = !keeps_deletions && known.row.is_some();
            let kind = match (is_deletion, self.is_followed) {
                (false, _) => Kind::GoneThere,
                (true, true) => Kind::OnTheWay,
                (true, false) => Kind::NotTakenOver,
            };
            self.note(kind, known.id.to_string(), what);
        }
        self.only_here().await
    }

    async fn only_here(&mut self) -> Result<(), VerifyError> {
        let living = self.service.read(held::n_living).await?;
        self.report.compared.only_here = living.saturating_sub(self.living_here);
        Ok(())
    }

    async fn edges(&mut self, source: Source, ticket: &Ticket) -> Result<Source, VerifyError> {
        let (mut source, mut after) = (source, i64::MIN);
        let key = self.key.unwrap_or(-1);
        loop {
            let edges;
            (source, edges) =
                on_source(source, ticket, move |source| source.edges(after, PAGE_ROWS)).await?;
            let Some(last) = edges.last().filter(|_| ticket.stop().is_none()) else {
                return Ok(source);
            };
            after = last.rowid;
            let ends: Vec<(String, String)> =
                edges.iter().map(|edge| (edge.source.clone(), edge.target.clone())).collect();
            let here = self.service.read(move |read| held::edges(read, key, &ends)).await?;
            for edge in edges {
                self.edge(edge, &here);
            }
        }
    }

    fn edge(
        &mut self,
        edge: SourceEdge,
        here: &HashMap<(String, String), crate::store::edge::Edge>,
    ) {
        self.report.compared.edges += 1;
        let ends = (edge.source.clone(), edge.target.clone());
        let (kind, what) = match here.get(&ends) {
            None => (Kind::EdgeMissing, "it is not here"),
            Some(held) => {
                let is_same = held.similarity == edge.similarity
                    && held.kinds == edge.connection_types
                    && held.relation == edge.relationship
                    && held.metadata == edge.metadata
                    && held.created_at == edge.created_at;
                if is_same {
                    return;
                }
                (Kind::EdgeDiffers, "it says something else there")
            }
        };
        let kind = if self.is_followed { Kind::OnTheWay } else { kind };
        self.note(kind, format!("{} -> {}", ends.0, ends.1), what.to_owned());
    }

    /// Makes some vectors anew, if the model is there.
    async fn sample(&mut self) {
        // One that is being loaded is worth waiting for.
        self.service.embedder().settled().await;
        for (id, text, vector) in std::mem::take(&mut self.samples) {
            // One after the other, so that a search waits for one at most.
            let made = match self.service.embedder().fresh(Arc::from(text)).await {
                Ok(made) => made.texts.into_iter().next(),
                Err(error) => {
                    self.report.compared.not_sampled = Some(error.to_string());
                    return;
                }
            };
            let Some(Ok(windows)) = made else { continue };
            let Some(made) = windows.first().filter(|_| windows.len() == 1) else { continue };
            self.report.compared.sampled += 1;
            let cosine: f32 = made.as_slice().iter().zip(&vector).map(|(a, b)| a * b).sum();
            if cosine.is_nan() || cosine < COSINE_MIN {
                let what = format!("its cosine with the one that its text has is {cosine:.4}");
                self.note(Kind::VectorDiffers, id.to_string(), what);
            }
        }
    }

    fn told(mut self, is_complete: bool) -> Verified {
        for (kind, (count, examples)) in self.found {
            let is_difference = kind.is_difference();
            self.report.differences += if is_difference { count } else { 0 };
            self.report.on_the_way += if kind.is_passing() { count } else { 0 };
            self.report.findings.push(Finding { kind, is_difference, count, examples });
        }
        self.report.complete = is_complete;
        let is_settled = self.report.differences == 0 && self.report.on_the_way == 0;
        self.report.agrees = is_complete && is_settled;
        self.report
    }
}
