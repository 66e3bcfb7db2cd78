//! `check_database_health`.

use super::{Output, dictionary};
use crate::clock::Micros;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use crate::mcp::standing::Standing;
use crate::mcp::statistics::Statistics;
use serde_json::{Value, json};

pub(super) async fn run(daemon: &Daemon, client: &str, now: Micros) -> Result<Output, Failure> {
    let standing = Standing::read(daemon, client).await?;
    let statistics = Statistics::read(daemon, client, now, &standing).await?;
    let mut answer = statistics.object();
    answer.insert("healthy".to_owned(), json!(standing.healthy));
    answer.insert("problems".to_owned(), json!(standing.problems()));
    answer.insert("storage_type".to_owned(), json!("memtide"));
    answer.insert("last_updated".to_owned(), json!(now.to_rfc3339()));
    Ok(dictionary(Value::Object(answer)))
}
