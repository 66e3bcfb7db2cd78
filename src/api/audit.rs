//! `/v1/cloud/verify` and `/v1/cloud/local`: the store compared with the cloud, and what a comparison that
//! is made elsewhere needs to know of it.

use super::body::Body;
use super::cloud::not_linked;
use super::doors::Doors;
use super::error::ApiError;
use super::query::query_pairs;
use crate::remote::error::RemoteError;
use crate::replicate::verify::VerifyError;
use crate::replicate::verify::report::{Finding, Report};
use crate::store::digest::{self, Facts};
use crate::store::link;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// Memories on one page of what is here.
const PAGE: usize = 5000;
/// Long texts that are named.
const LONG_TEXTS: usize = 20;

/// `POST /v1/cloud/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Put back what is missing.
    #[serde(default)]
    pub repair: bool,
}

/// Answer of `POST /v1/cloud/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAnswer {
    /// How many differences there are.
    pub differences: u64,
    /// How many of them were seen to.
    pub repaired: u64,
    /// Memories that are on their way there or here.
    pub on_the_way: u64,
    /// How much was compared.
    pub compared: ComparedJson,
    /// The differences by kind.
    pub findings: Vec<FindingJson>,
    /// Requests that it took.
    pub requests: u64,
    /// Rows that the database has read for it.
    pub rows_read: u64,
}

/// How much was compared; null for what was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedJson {
    /// Memories here, deleted ones included.
    pub memories: u64,
    /// States in the database.
    pub entries: u64,
    /// Rows of the Python service's table.
    pub rows: Option<u64>,
    /// Vectors in the index.
    pub vectors: Option<u64>,
    /// Of them such that were compared by value.
    #[serde(default)]
    pub sampled: Option<u64>,
    /// Bodies in the bucket.
    pub bodies: Option<u64>,
}

/// All differences of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingJson {
    /// `missing_in_cloud`, `missing_here`, `differing`…
    pub kind: String,
    /// How many.
    pub count: u64,
    /// How many of them were seen to.
    pub repaired: u64,
    /// Ids of some.
    pub examples: Vec<String>,
}

impl From<Report> for VerifyAnswer {
    fn from(report: Report) -> Self {
        let compared = report.compared;
        Self {
            differences: report.differences(),
            repaired: report.repaired(),
            on_the_way: report.on_the_way,
            compared: ComparedJson {
                memories: compared.memories,
                entries: compared.entries,
                rows: compared.rows,
                vectors: compared.vectors,
                sampled: compared.sampled,
                bodies: compared.bodies,
            },
            requests: report.requests,
            rows_read: report.rows_read,
            findings: report.findings.into_iter().map(FindingJson::from).collect(),
        }
    }
}

impl From<Finding> for FindingJson {
    fn from(finding: Finding) -> Self {
        Self {
            kind: finding.kind.as_str().to_owned(),
            count: finding.count,
            repaired: finding.repaired,
            examples: finding.examples,
        }
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        let sentence = error.to_string();
        match error {
            VerifyError::Store(error) => error.into(),
            VerifyError::Remote(RemoteError { hint, .. }) => {
                Self::new(StatusCode::BAD_GATEWAY, "cloud_failed", sentence, &hint)
            }
            VerifyError::Shut { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "cloud_waits",
                sentence,
                "try again then; `memtide status` says more",
            ),
            VerifyError::Foreign(_) => Self::new(
                StatusCode::CONFLICT,
                "other_database",
                sentence,
                "look at `memtide status`, which says what to do",
            ),
            VerifyError::NotConnected { message, next_step } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_connected", message, &next_step)
            }
        }
    }
}

pub(super) async fn verify(
    State(doors): State<Doors>,
    Body(request): Body<VerifyRequest>,
) -> Result<Json<VerifyAnswer>, ApiError> {
    if doors.service.store().read(link::get).await?.is_none() {
        return Err(not_linked());
    }
    Ok(Json(doors.replicator.verify(request.repair).await?.into()))
}

/// Answer of `GET /v1/cloud/local`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAnswer {
    /// The store in numbers; on the first page only.
    pub facts: Option<FactsJson>,
    /// The memories of this page.
    pub memories: Vec<LocalJson>,
    /// What to ask on with; null at the end.
    pub next: Option<i64>,
}

/// The store in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsJson {
    /// Living memories.
    pub memories: u64,
    /// Deleted ones.
    pub tombstones: u64,
    /// Living ones that are not replaced.
    pub findable: u64,
    /// Different tags.
    pub tags: u64,
    /// Tags of all living memories together.
    pub tag_links: u64,
    /// Bytes of the texts of living memories.
    pub text_bytes: u64,
    /// Texts that don't fit into a row.
    pub n_long_texts: u64,
    /// The first of them.
    pub long_texts: Vec<LongTextJson>,
}

/// A text that doesn't fit into a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongTextJson {
    /// The memory.
    pub id: String,
    /// The bytes that it takes there.
    pub bytes: u64,
}

/// A memory, told by digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalJson {
    /// Its id.
    pub id: String,
    /// Of its state.
    pub digest: u64,
    /// Of all that a row shows.
    pub shown: u64,
    /// Whether it is alive.
    pub alive: bool,
}

impl From<Facts> for FactsJson {
    fn from(facts: Facts) -> Self {
        let long = facts.long_texts.iter().take(LONG_TEXTS);
        Self {
            memories: facts.memories,
            tombstones: facts.tombstones,
            findable: facts.findable,
            tags: facts.tags,
            tag_links: facts.tag_links,
            text_bytes: facts.text_bytes,
            n_long_texts: u64::try_from(facts.long_texts.len()).unwrap_or(u64::MAX),
            long_texts: long
                .map(|(id, bytes)| LongTextJson { id: id.to_string(), bytes: *bytes })
                .collect(),
        }
    }
}

pub(super) async fn local(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
) -> Result<Json<LocalAnswer>, ApiError> {
    let (mut after, mut inline_bytes) = (0_i64, usize::MAX);
    for (key, value) in query_pairs(query.as_deref().unwrap_or_default())? {
        let bad = || ApiError::bad_parameter(format!("{key} is {value:?}, not a number"));
        match key.as_str() {
            "after" => after = value.parse().map_err(|_| bad())?,
            "inline_bytes" => inline_bytes = value.parse().map_err(|_| bad())?,
            _ => {
                return Err(ApiError::bad_parameter(format!("the parameter {key:?} is not known")));
            }
        }
    }
    let read = move |read: &crate::store::Read<'_>| {
        let facts = if after == 0 { Some(digest::facts(read, inline_bytes)?) } else { None };
        Ok((facts, digest::page(read, after, PAGE)?))
    };
    let (facts, page) = doors.service.store().read(read).await?;
    let next = page.last().map(|entry| entry.key).filter(|_| page.len() == PAGE);
    let memories = page.into_iter().map(|entry| LocalJson {
        id: entry.id.to_string(),
        digest: entry.digest,
        shown: entry.row,
        alive: entry.is_alive,
    });
    Ok(Json(LocalAnswer { facts: facts.map(FactsJson::from), memories: memories.collect(), next }))
}
