//! A question with what each ranking answered.

use super::quality::DEPTH;
use super::ranking::{Found, Ranking, blended, fused, relative};
use super::set::Question;
use crate::api::client::Client;
use crate::api::wire::{SearchAnswer, SearchRequest};
use crate::bench::stopwatch::Stopwatch;
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Hits of the answers that other rankings are made of.
const POOL: i64 = 50;
/// Hits that the product is asked for.
const ASKED: i64 = 10;

/// A question with what each ranking answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// The labels that each ranking puts first, at most ten.
    pub lists: Vec<(Ranking, Vec<String>)>,
    /// Labels of deleted memories that any answer held.
    pub deleted: BTreeSet<String>,
    /// How long the product's hybrid search took, with the embedding of the query.
    pub took: Duration,
}

/// The labels of the memories that the daemon was given, by id.
pub(super) struct Labels {
    /// All of them.
    pub all: BTreeMap<String, String>,
    /// Those of the deleted ones.
    pub deleted: BTreeSet<String>,
}

impl Labels {
    fn name(&self, found: Found) -> anyhow::Result<Found> {
        let label = self.all.get(&found.id);
        let id = label.with_context(|| format!("{} was never stored", found.id))?.clone();
        Ok(Found { id, ..found })
    }
}

impl Asked {
    /// Asks it in each mode.
    ///
    /// # Errors
    /// The daemon refused, or answered in another mode.
    pub(super) async fn ask(
        client: &Client,
        labels: &Labels,
        question: &Question,
    ) -> anyhow::Result<Self> {
        let watch = Stopwatch::start();
        let hybrid = search(client, labels, question, "hybrid", ASKED).await?;
        let took = watch.elapsed();
        let semantic = search(client, labels, question, "semantic", POOL).await?;
        let keyword = search(client, labels, question, "keyword", POOL).await?;
        let pool = search(client, labels, question, "hybrid", POOL).await?;
        let answers = [&hybrid, &semantic, &keyword, &pool];
        let deleted = answers
            .into_iter()
            .flatten()
            .filter(|found| labels.deleted.contains(&found.id))
            .map(|found| found.id.clone())
            .collect();
        let list = |ranking| {
            let mut list = match ranking {
                Ranking::Hybrid => ids(&hybrid),
                Ranking::Semantic => ids(&semantic),
                Ranking::Keyword => ids(&keyword),
                Ranking::Fused => fused(&[&semantic, &keyword]),
                Ranking::Relative => relative(&pool),
                Ranking::Blended(share) => blended(&pool, share),
            };
            list.truncate(DEPTH);
            (ranking, list)
        };
        let lists = Ranking::all().into_iter().map(list).collect();
        Ok(Self { question: question.clone(), lists, deleted, took })
    }

    /// What `ranking` puts first.
    pub fn list(&self, ranking: Ranking) -> &[String] {
        let list = self.lists.iter().find(|(of, _)| *of == ranking);
        list.map(|(_, list)| list.as_slice()).unwrap_or_default()
    }
}

fn ids(found: &[Found]) -> Vec<String> {
    found.iter().map(|found| found.id.clone()).collect()
}

async fn search(
    client: &Client,
    labels: &Labels,
    question: &Question,
    mode: &str,
    n: i64,
) -> anyhow::Result<Vec<Found>> {
    let request = SearchRequest {
        query: question.query.clone(),
        n: Some(n),
        mode: Some(mode.to_owned()),
        filter: question.filter.clone(),
        ..SearchRequest::default()
    };
    let answer: SearchAnswer = client.post("/v1/search", &request).await?;
    anyhow::ensure!(answer.mode == mode, "asked for {mode}, got {}", answer.mode);
    answer.hits.into_iter().map(|hit| labels.name(Found::from(hit))).collect()
}
