//! The resources of the full set: what the memory holds, under the Python service's addresses.

mod guide;
mod profile;

use super::daemon::{Call, Daemon};
use super::failure::Failure;
use super::form::{flat, indented, with};
use super::newest::{ANSWER_MAX, Newest};
use super::standing::Standing;
use super::statistics::Statistics;
use crate::api::percent;
use crate::api::wire::{FilterJson, SearchAnswer, SearchRequest, TagsAnswer};
use crate::clock::Micros;
use rmcp::model::{Resource as Listed, ResourceTemplate};
use serde_json::{Value, json};
use std::time::Duration;

const JSON: &str = "application/json";
const MARKDOWN: &str = "text/markdown";
/// Tags that are listed with a resource of their own.
const TAGS_LISTED: usize = 5;
/// How long the list waits for them: a client asks for it when it starts, and so may the daemon.
const TAGS_WAIT: Duration = Duration::from_secs(2);
/// Hits of `memory://search/…`.
const HITS: i64 = 10;

/// A resource, by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Stats,
    Tags,
    Recent(usize),
    Tag(String),
    Search(String),
    Guide,
    Profile(String),
}

impl Resource {
    /// The resource of an address, if there is such a one.
    pub(super) fn at(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("memory://")?;
        if let Some(number) = rest.strip_prefix("recent/") {
            let number = number.parse().ok()?;
            return (1..=ANSWER_MAX).contains(&number).then_some(Self::Recent(number));
        }
        if let Some(tag) = rest.strip_prefix("tag/") {
            return percent::decode(tag).filter(|tag| !tag.trim().is_empty()).map(Self::Tag);
        }
        if let Some(query) = rest.strip_prefix("search/") {
            return percent::decode(query).filter(|text| !text.trim().is_empty()).map(Self::Search);
        }
        if let Some(agent) = rest.strip_prefix("agent/") {
            let agent = percent::decode(agent.strip_suffix("/bootstrap")?)?;
            return (!agent.is_empty() && !agent.contains('/')).then_some(Self::Profile(agent));
        }
        match rest {
            "stats" => Some(Self::Stats),
            "tags" => Some(Self::Tags),
            "onboarding" => Some(Self::Guide),
            _ => rest
                .strip_prefix("onboarding/")
                .filter(|client| !client.contains('/'))
                .map(|_| Self::Guide),
        }
    }

    /// The kind of its text.
    pub(super) fn mime_type(&self) -> &'static str {
        match self {
            Self::Guide | Self::Profile(_) => MARKDOWN,
            _ => JSON,
        }
    }

    /// Its text, read in the name of `client`.
    pub(super) async fn read(
        &self,
        daemon: &Daemon,
        client: &str,
        now: Micros,
    ) -> Result<String, Failure> {
        let value = match self {
            Self::Guide => return Ok(guide::TEXT.to_owned()),
            Self::Profile(agent) => return profile::read(daemon, client, now, agent).await,
            Self::Stats => {
                let standing = Standing::read(daemon, client).await?;
                Value::Object(Statistics::read(daemon, client, now, &standing).await?.object())
            }
            Self::Tags => {
                let tags = tags(daemon, client).await?;
                json!({"count": tags.len(), "tags": tags})
            }
            Self::Recent(number) => {
                let found =
                    Newest::read(daemon, client, &FilterJson::default(), *number).await?.memories;
                json!({"count": found.len(), "memories": found.iter().map(flat).collect::<Value>()})
            }
            Self::Tag(tag) => tagged(daemon, client, tag).await?,
            Self::Search(query) => searched(daemon, client, query).await?,
        };
        Ok(indented(&value))
    }
}

/// All tags, most frequent first.
async fn tags(daemon: &Daemon, client: &str) -> Result<Vec<String>, Failure> {
    let answer: TagsAnswer = daemon.call(client, &Call::Get("/v1/tags".to_owned())).await?;
    Ok(answer.tags.into_iter().map(|tag| tag.tag).collect())
}

/// `total` stands only where there are more than one answer carries.
async fn tagged(daemon: &Daemon, client: &str, tag: &str) -> Result<Value, Failure> {
    let filter = FilterJson { tags: vec![tag.to_owned()], ..FilterJson::default() };
    let found = Newest::read(daemon, client, &filter, ANSWER_MAX).await?;
    let n_shown = found.memories.len();
    let memories: Value = found.memories.iter().map(flat).collect();
    let value = json!({"tag": tag, "count": n_shown, "memories": memories});
    let is_cut = usize::try_from(found.total).is_ok_and(|total| total > n_shown);
    Ok(if is_cut { with(value, "total", json!(found.total)) } else { value })
}

async fn searched(daemon: &Daemon, client: &str, query: &str) -> Result<Value, Failure> {
    let request =
        SearchRequest { query: query.to_owned(), n: Some(HITS), ..SearchRequest::default() };
    let found: SearchAnswer =
        daemon.call(client, &Call::Post("/v1/search", json!(request))).await?;
    let results: Vec<Value> = found
        .hits
        .iter()
        .map(|hit| {
            json!({
                "memory": flat(&hit.memory),
                "relevance_score": hit.score,
                "similarity_score": hit.score,
                "debug_info": {"mode": found.mode, "cosine": hit.why.cosine, "bm25": hit.why.bm25},
            })
        })
        .collect();
    Ok(json!({"query": query, "count": results.len(), "results": results}))
}

/// The list, with the most frequent tags if the daemon tells them.
pub(super) async fn listed(daemon: &Daemon, client: &str) -> Vec<Listed> {
    let mut listed = vec![
        entry("memory://stats", "Memory Statistics", "The memory in numbers", JSON),
        entry("memory://tags", "Available Tags", "All tags, most frequent first", JSON),
        entry("memory://recent/10", "Recent Memories", "The 10 newest memories", JSON),
        entry(
            "memory://onboarding/generic",
            "Client Onboarding Guide",
            "How an agent uses this memory",
            MARKDOWN,
        ),
        entry(
            "memory://agent/default/bootstrap",
            "Agent Bootstrap Profile",
            "Mistakes, preferences and conventions that are remembered, for the start of a session",
            MARKDOWN,
        ),
    ];
    match tokio::time::timeout(TAGS_WAIT, tags(daemon, client)).await {
        Ok(Ok(tags)) => listed.extend(tags.iter().take(TAGS_LISTED).map(|tag| {
            let uri = format!("memory://tag/{}", percent::encode(tag));
            let name = format!("Memories tagged '{tag}'");
            entry(&uri, &name, &format!("All memories with the tag '{tag}'"), JSON)
        })),
        Ok(Err(failure)) => tracing::warn!(%failure, "the tags are not listed"),
        Err(_) => tracing::warn!("the daemon is still starting: the tags are not listed"),
    }
    listed
}

fn entry(uri: &str, name: &str, description: &str, mime_type: &str) -> Listed {
    Listed::new(uri, name).with_description(description).with_mime_type(mime_type)
}

/// The addresses with a place to fill in.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    [
        ("memory://recent/{n}", "Recent Memories", "The n newest memories, 1 to 1000"),
        ("memory://tag/{tag}", "Memories by Tag", "The memories with a tag, newest first"),
        ("memory://search/{query}", "Search Memories", "The 10 best memories for a query"),
    ]
    .into_iter()
    .map(|(uri, name, description)| {
        ResourceTemplate::new(uri, name).with_description(description).with_mime_type(JSON)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_python_services() {
        let tag = |tag: &str| Some(Resource::Tag(tag.to_owned()));
        for (uri, resource) in [
            ("memory://stats", Some(Resource::Stats)),
            ("memory://tags", Some(Resource::Tags)),
            ("memory://recent/10", Some(Resource::Recent(10))),
            ("memory://tag/a%20b", tag("a b")),
            ("memory://tag/a/b", tag("a/b")),
            ("memory://tag/ä", tag("ä")),
            ("memory://search/who%3F", Some(Resource::Search("who?".to_owned()))),
            ("memory://onboarding", Some(Resource::Guide)),
            ("memory://onboarding/kiro", Some(Resource::Guide)),
            ("memory://agent/default/bootstrap", Some(Resource::Profile("default".to_owned()))),
            ("memory://recent/0", None),
            ("memory://recent/1001", None),
            ("memory://recent/x", None),
            ("memory://tag/", None),
            ("memory://tag/%FF", None),
            ("memory://agent//bootstrap", None),
            ("memory://agent/default", None),
            ("memory://nothing", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(Resource::at(uri), resource, "{uri}");
        }
    }
}
