//! The routes of `/v1`: each turns a request into one call of the service and its answer into JSON.

use super::body::{Body, Id};
use super::doors::Doors;
use super::error::ApiError;
use super::query::query_pairs;
use super::wire::{
    DeleteAnswer, DeleteRequest, DuplicatesAnswer, EntryJson, FilterJson, Freshness, HistoryAnswer,
    HitJson, ListAnswer, MemoryJson, OutboxAnswer, ReloadRequest, RestoreRequest, RetryAnswer,
    RetryRequest, SearchAnswer, SearchRequest, StoreAnswer, StoreRequest, TagJson, TagsAnswer,
    UpdateRequest, VersionJson, Why,
};
use crate::clock::Micros;
use crate::embed::manifest::Model;
use crate::model::draft::{Author, Draft, Patch, normalise_tag};
use crate::model::filter::Filter;
use crate::model::id::MemoryId;
use crate::model::refusal::Refusal;
use crate::service::ask::{self, DeleteAsk, FilterWords, LIMIT_MAX, SearchAsk};
use crate::store::outbox;
use crate::store::search::Mode;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

type Answer<T> = Result<Json<T>, ApiError>;

/// Header in which a client names itself.
pub const CLIENT_HEADER: &str = "x-memtide-client";
/// Duties that one answer lists.
const OUTBOX_LIST_MAX: usize = 1000;
/// Groups of memories that say the same, of one answer.
const DUPLICATES_MAX: usize = 100;

fn author(headers: &HeaderMap) -> Author {
    let name = headers.get(CLIENT_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("api");
    Author { client: name.chars().filter(|c| !c.is_control()).take(64).collect() }
}

fn filter(doors: &Doors, words: &FilterJson) -> Result<Filter, ApiError> {
    let now = ask::zoned(doors.service.clock().now(), &doors.zone);
    let words = FilterWords {
        tags: &words.tags,
        tags_all: words.tags_all,
        memory_type: words.memory_type.as_deref(),
        after: words.after.as_deref(),
        before: words.before.as_deref(),
        time: words.time.as_deref(),
    };
    Ok(ask::filter(&words, &now)?)
}

fn refuse_unknown(unknown: &Map<String, Value>) -> Result<(), ApiError> {
    match unknown.keys().next() {
        Some(key) => Err(ApiError::bad_request(format!("the key {key:?} is not known"))),
        None => Ok(()),
    }
}

pub(super) async fn store(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Body(request): Body<StoreRequest>,
) -> Answer<StoreAnswer> {
    let draft = Draft::check(
        request.content,
        &request.tags,
        request.memory_type.as_deref(),
        request.metadata.as_ref(),
        author(&headers),
        doors.service.text_limit(),
    )?;
    Ok(Json(doors.service.store_memory(draft).await?.into()))
}

pub(super) async fn list(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
) -> Answer<ListAnswer> {
    let mut words = FilterJson::default();
    let (mut page, mut page_size) = (1, 20);
    for (key, value) in query_pairs(query.as_deref().unwrap_or_default())? {
        match key.as_str() {
            "tag" => words.tags.push(value),
            "tags_all" => words.tags_all = flag("tags_all", &value)?,
            "type" | "memory_type" => words.memory_type = Some(value),
            "after" => words.after = Some(value),
            "before" => words.before = Some(value),
            "time" => words.time = Some(value),
            "page" => page = number("page", &value)?,
            "page_size" => page_size = number("page_size", &value)?,
            _ => {
                return Err(ApiError::bad_parameter(format!("the parameter {key:?} is not known")));
            }
        }
    }
    let n_page = ask::in_range("page", page, i64::MAX)?;
    let n_size = ask::in_range("page_size", page_size, LIMIT_MAX)?;
    let (memories, total) = doors.service.list(filter(&doors, &words)?, n_page, n_size).await?;
    let shown = n_page.saturating_sub(1).saturating_mul(n_size).saturating_add(memories.len());
    Ok(Json(ListAnswer {
        memories: memories.into_iter().map(MemoryJson::from).collect(),
        page,
        page_size,
        total,
        has_more: u64::try_from(shown).is_ok_and(|shown| shown < total),
    }))
}

fn number(name: &str, value: &str) -> Result<i64, ApiError> {
    value.parse().map_err(|_| ApiError::bad_parameter(format!("{name} is {value:?}, not a number")))
}

fn flag(name: &str, value: &str) -> Result<bool, ApiError> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ApiError::bad_parameter(format!("{name} is {value:?}, it must be true or false"))),
    }
}

pub(super) async fn get(State(doors): State<Doors>, Id(id): Id) -> Answer<MemoryJson> {
    let id = doors.service.resolve(&id).await?;
    Ok(Json(doors.service.get(id).await?.into()))
}

pub(super) async fn update(
    State(doors): State<Doors>,
    Id(id): Id,
    headers: HeaderMap,
    Body(request): Body<UpdateRequest>,
) -> Answer<MemoryJson> {
    let patch = Patch::check(
        request.content,
        request.tags.as_deref(),
        request.memory_type.as_deref(),
        request.metadata.as_ref(),
        author(&headers),
        doors.service.text_limit(),
    )?;
    let id = doors.service.resolve(&id).await?;
    Ok(Json(doors.service.update(id, patch).await?.into()))
}

pub(super) async fn delete(
    State(doors): State<Doors>,
    Id(id): Id,
    headers: HeaderMap,
) -> Answer<DeleteAnswer> {
    let ids = vec![doors.service.resolve(&id).await?];
    let ask = DeleteAsk::Ids { ids, dry_run: false };
    Ok(Json(deleted(&doors.service.delete(ask, &author(&headers)).await?, false)))
}

pub(super) async fn delete_many(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Body(request): Body<DeleteRequest>,
) -> Answer<DeleteAnswer> {
    refuse_unknown(&request.unknown)?;
    refuse_blank(&request.filter)?;
    let dry_run = request.dry_run;
    let filter = filter(&doors, &request.filter)?;
    let ask = if request.ids.is_empty() {
        if filter.is_empty() {
            return Err(Refusal::NoFilter.into());
        }
        DeleteAsk::Matching { filter, dry_run }
    } else {
        if !filter.is_empty() {
            return Err(ApiError::bad(
                "there are ids and a filter, only one of them counts",
                "leave out the ids or the filter",
            ));
        }
        DeleteAsk::Ids { ids: resolve_all(&doors, &request.ids).await?, dry_run }
    };
    Ok(Json(deleted(&doors.service.delete(ask, &author(&headers)).await?, dry_run)))
}

/// An empty condition is a variable that was not set, and would widen what is deleted.
fn refuse_blank(words: &FilterJson) -> Result<(), ApiError> {
    let is_blank = |text: &str| normalise_tag(text).is_none();
    if words.tags.iter().any(|tag| is_blank(tag)) {
        return Err(Refusal::BlankCondition { name: "tag" }.into());
    }
    if words.memory_type.as_deref().is_some_and(is_blank) {
        return Err(Refusal::BlankCondition { name: "type" }.into());
    }
    Ok(())
}

async fn resolve_all(doors: &Doors, texts: &[String]) -> Result<Vec<MemoryId>, ApiError> {
    let mut ids = Vec::with_capacity(texts.len());
    for text in texts {
        let id = doors.service.resolve(text).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn deleted(ids: &[MemoryId], dry_run: bool) -> DeleteAnswer {
    DeleteAnswer {
        ids: ids.iter().map(ToString::to_string).collect(),
        deleted: u64::try_from(ids.len()).unwrap_or(u64::MAX),
        dry_run,
    }
}

pub(super) async fn history(State(doors): State<Doors>, Id(id): Id) -> Answer<HistoryAnswer> {
    let id = doors.service.resolve(&id).await?;
    let versions = doors.service.history(id).await?;
    let versions = versions.into_iter().map(VersionJson::from).collect();
    Ok(Json(HistoryAnswer { id: id.to_string(), versions }))
}

pub(super) async fn restore(
    State(doors): State<Doors>,
    Id(id): Id,
    headers: HeaderMap,
    Body(request): Body<RestoreRequest>,
) -> Answer<MemoryJson> {
    let id = doors.service.resolve(&id).await?;
    let memory = doors.service.restore(id, request.version, &author(&headers)).await?;
    Ok(Json(memory.into()))
}

pub(super) async fn search(
    State(doors): State<Doors>,
    Body(request): Body<SearchRequest>,
) -> Answer<SearchAnswer> {
    refuse_unknown(&request.unknown)?;
    let mode = match request.mode.as_deref() {
        None => doors.default_mode,
        Some(name) => parse_mode(name)?,
    };
    let filter = filter(&doors, &request.filter)?;
    let n = request.n.unwrap_or(doors.default_limit);
    let found = doors.service.search(SearchAsk::check(request.query, mode, filter, n)?).await?;
    let hits = found
        .hits
        .into_iter()
        .map(|hit| HitJson {
            memory: hit.memory.into(),
            score: hit.score,
            why: Why { cosine: hit.cosine, bm25: hit.bm25, words: hit.words, matched: hit.matched },
        })
        .collect();
    let pulled_at = doors.replicator.progress().pull.last_success_at;
    let age = |at| doors.service.clock().now().since(at).as_secs_f64();
    let freshness = Freshness {
        pending_embeddings: found.pending_embeddings,
        last_pull_at: pulled_at.map(Micros::to_rfc3339),
        watermark_age_s: pulled_at.map(age),
    };
    Ok(Json(SearchAnswer {
        hits,
        mode: mode_name(found.mode).to_owned(),
        freshness,
        took_ms: found.took.as_secs_f64() * 1e3,
        embed_ms: found.embed_took.as_secs_f64() * 1e3,
    }))
}

/// The mode that a name stands for.
///
/// # Errors
/// The name is unknown.
pub fn parse_mode(name: &str) -> Result<Mode, ApiError> {
    [Mode::Hybrid, Mode::Semantic, Mode::Keyword, Mode::Exact]
        .into_iter()
        .find(|mode| mode_name(*mode) == name)
        .ok_or_else(|| {
            ApiError::bad(
                format!("the mode {name:?} is not known"),
                "choose hybrid, semantic, keyword or exact",
            )
        })
}

/// The name of a mode on the wire.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Hybrid => "hybrid",
        Mode::Semantic => "semantic",
        Mode::Keyword => "keyword",
        Mode::Exact => "exact",
    }
}

pub(super) async fn tags(State(doors): State<Doors>) -> Answer<TagsAnswer> {
    let tags = doors.service.tags().await?;
    let tags = tags.into_iter().map(|(tag, count)| TagJson { tag, count }).collect();
    Ok(Json(TagsAnswer { tags }))
}

pub(super) async fn duplicates(State(doors): State<Doors>) -> Answer<DuplicatesAnswer> {
    let groups = doors.service.duplicates(DUPLICATES_MAX).await?;
    let group = |memories: Vec<_>| memories.into_iter().map(MemoryJson::from).collect();
    Ok(Json(DuplicatesAnswer { groups: groups.into_iter().map(group).collect() }))
}

pub(super) async fn outbox(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
) -> Answer<OutboxAnswer> {
    let mut parked = false;
    for (key, value) in query_pairs(query.as_deref().unwrap_or_default())? {
        match key.as_str() {
            "parked" => parked = flag("parked", &value)?,
            _ => {
                return Err(ApiError::bad_parameter(format!("the parameter {key:?} is not known")));
            }
        }
    }
    let entries =
        doors.service.read(move |read| outbox::list(read, parked, OUTBOX_LIST_MAX)).await?;
    Ok(Json(OutboxAnswer { entries: entries.into_iter().map(EntryJson::from).collect() }))
}

pub(super) async fn retry(
    State(doors): State<Doors>,
    Body(request): Body<RetryRequest>,
) -> Answer<RetryAnswer> {
    if request.ids.is_empty() && !request.all {
        return Err(ApiError::bad("the retry names nothing", "give the ids of memories, or `all`"));
    }
    let ids = resolve_all(&doors, &request.ids).await?;
    let retried = doors
        .service
        .store()
        .write(move |write| {
            if ids.is_empty() {
                return outbox::retry(write, None);
            }
            ids.iter().try_fold(0, |sum, id| Ok(sum + outbox::retry(write, Some(id))?))
        })
        .await?;
    doors.service.replicate_hint().notify_one();
    Ok(Json(RetryAnswer { retried }))
}

/// Loads the model anew, or another one.
pub(super) async fn reload_embedder(
    State(doors): State<Doors>,
    Body(request): Body<ReloadRequest>,
) -> Answer<Value> {
    let embedder = doors.service.embedder();
    let mut options = embedder.options();
    if let Some(name) = &request.model {
        options.model =
            Model::named(name).map_err(|e| ApiError::bad(e, "`memtide model list` shows them"))?;
    }
    embedder.reload(options);
    Ok(Json(json!({"state": embedder.status().state.as_str()})))
}

/// Holds the embedding of stored texts back; queries are still embedded.
pub(super) async fn pause_embedder(State(doors): State<Doors>) -> Json<Value> {
    doors.service.embedder().pause();
    Json(json!({"paused": true}))
}

/// Lets the embedding of stored texts go on.
pub(super) async fn resume_embedder(State(doors): State<Doors>) -> Json<Value> {
    doors.service.embedder().resume();
    Json(json!({"paused": false}))
}

pub(super) async fn stop(State(doors): State<Doors>) -> Json<Value> {
    doors.stop();
    Json(json!({"stopping": true}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_names_read_back() {
        for name in ["hybrid", "semantic", "keyword", "exact"] {
            assert_eq!(parse_mode(name).map(mode_name), Ok(name));
        }
        assert!(parse_mode("fuzzy").is_err());
    }
}
