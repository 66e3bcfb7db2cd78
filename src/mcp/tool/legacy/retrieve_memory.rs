//! `retrieve_memory`.

use super::{Output, dictionary};
use crate::api::wire::{SearchAnswer, SearchRequest};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::{Call, Daemon};
use crate::mcp::failure::Failure;
use crate::mcp::form::{nested, with};
use serde_json::{Value, json};

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<Output, Failure> {
    let query = arguments.needed_text("query")?;
    let n = arguments.number("n_results", 1, 100)?.unwrap_or(5);
    let request = SearchRequest { query: query.clone(), n: Some(n), ..SearchRequest::default() };
    let call = Call::Post("/v1/search", json!(request));
    Ok(answer(&query, &daemon.call(client, &call).await?))
}

fn answer(query: &str, found: &SearchAnswer) -> Output {
    let memories: Vec<Value> = found
        .hits
        .iter()
        .map(|hit| with(nested(&hit.memory), "similarity_score", json!(hit.score)))
        .collect();
    dictionary(json!({"query": query, "count": memories.len(), "memories": memories}))
}
