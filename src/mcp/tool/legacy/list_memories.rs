//! `list_memories`.

use super::super::list;
use super::Output;
use crate::api::wire::FilterJson;
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::{Call, Daemon};
use crate::mcp::failure::Failure;
use crate::mcp::newest;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let call = Call::Get(ask(arguments)?);
    Ok(list::answer(&daemon.call(client, &call).await?))
}

fn ask(mut arguments: Arguments) -> Result<String, Failure> {
    let filter = FilterJson {
        tags: arguments.words("tag")?.into_iter().collect(),
        memory_type: arguments.words("memory_type")?,
        ..FilterJson::default()
    };
    let page = list::page(&mut arguments)?;
    Ok(newest::path(&filter, page, list::page_size(&mut arguments, 10)?))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Kind, given};
    use super::super::Legacy;
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_become_a_query() {
        let kind = Kind::Legacy(Legacy::ListMemories);
        let defaults = ask(given(kind, json!({}))).unwrap();
        assert_eq!(defaults, "/v1/memories?page=1&page_size=10");
        let value = json!({"page": 3, "page_size": 50, "tag": "a b", "memory_type": "decision"});
        assert_eq!(
            ask(given(kind, value)).unwrap(),
            "/v1/memories?page=3&page_size=50&tag=a%20b&type=decision"
        );
    }
}
