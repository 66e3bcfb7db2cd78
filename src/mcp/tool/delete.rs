//! `memory_delete`.

use super::super::arguments::Arguments;
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::{Output, wants_all_tags};
use crate::api::wire::{DeleteAnswer, DeleteRequest, FilterJson};
use serde_json::{Map, json};

/// Hashes that a dry run names in its text.
const HASHES_SHOWN: usize = 5;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let request = ask(arguments)?;
    let call = Call::Post("/v1/memories/delete", json!(request));
    Ok(answer(&request, &daemon.call(client, &call).await?))
}

/// A condition that was given but says nothing is refused: left out, the rest would delete more.
fn ask(mut arguments: Arguments) -> Result<DeleteRequest, Failure> {
    let hash = arguments.text("content_hash")?;
    let tags = arguments.tags("tags")?;
    let tags_all = wants_all_tags(&mut arguments)?;
    let after = arguments.text("after")?;
    let before = arguments.text("before")?;
    let dry_run = arguments.flag("dry_run")?;
    let is_filtered = tags.is_some() || after.is_some() || before.is_some();
    if hash.is_none() && !is_filtered {
        return Err(Failure::Senseless {
            sentence: "the deletion names no memory",
            hint: "give a content_hash, or tags, before or after",
        });
    }
    if hash.is_some() && is_filtered {
        return Err(Failure::Senseless {
            sentence: "content_hash names one memory, tags and times name others",
            hint: "give either content_hash or tags, before and after",
        });
    }
    let blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let is_blank_tag = tags
        .as_ref()
        .is_some_and(|tags| tags.is_empty() || tags.iter().any(|tag| tag.trim().is_empty()));
    if blank(&hash) || blank(&after) || blank(&before) || is_blank_tag {
        return Err(Failure::Senseless {
            sentence: "a condition of the deletion is empty",
            hint: "leave it out, or say what it shall match",
        });
    }
    Ok(DeleteRequest {
        ids: hash.map(|hash| hash.trim().to_ascii_lowercase()).into_iter().collect(),
        filter: FilterJson {
            tags: tags.unwrap_or_default(),
            tags_all,
            after,
            before,
            ..FilterJson::default()
        },
        dry_run,
        unknown: Map::new(),
    })
}

fn answer(request: &DeleteRequest, deleted: &DeleteAnswer) -> Output {
    let n_deleted = deleted.deleted;
    let text = if deleted.dry_run {
        let shown: Vec<&str> = deleted.ids.iter().take(HASHES_SHOWN).map(String::as_str).collect();
        let mut text =
            format!("Would delete {n_deleted} memories\n\nWould delete {n_deleted} memories");
        if !shown.is_empty() {
            text.push_str("\nHashes: ");
            text.push_str(&shown.join(", "));
        }
        if deleted.ids.len() > shown.len() {
            text.push_str(&format!(" ... and {} more", deleted.ids.len() - shown.len()));
        }
        text
    } else {
        let message = match (request.ids.first(), deleted.ids.first()) {
            (Some(_), Some(hash)) => format!("Successfully deleted memory {hash}"),
            _ if request.filter.tags.is_empty() => {
                format!("Successfully deleted {n_deleted} memories")
            }
            _ => format!(
                "Successfully deleted {n_deleted} memories matching {} tag(s)",
                request.filter.tags.len()
            ),
        };
        format!("{message}\n\nDeleted {n_deleted} memories")
    };
    let structured =
        json!({"deleted": n_deleted, "dry_run": deleted.dry_run, "hashes": deleted.ids});
    Output { text, structured }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, given};
    use super::*;
    use serde_json::Value;

    fn request(value: Value) -> Result<DeleteRequest, Failure> {
        ask(given(Kind::Delete, value))
    }

    fn deleted(n: usize, dry_run: bool) -> DeleteAnswer {
        let ids: Vec<String> = (0..n).map(|at| format!("h{at}")).collect();
        DeleteAnswer { deleted: u64::try_from(n).unwrap(), ids, dry_run }
    }

    #[test]
    fn nothing_is_deleted_without_a_condition() {
        for (value, sentence) in [
            (json!({}), "the deletion names no memory"),
            (json!({"dry_run": true, "tag_match": "all"}), "the deletion names no memory"),
            (json!({"tags": []}), "a condition of the deletion is empty"),
            (json!({"tags": "", "before": "2026-01-01"}), "a condition of the deletion is empty"),
            (json!({"tags": ["a", " "]}), "a condition of the deletion is empty"),
            (json!({"content_hash": ""}), "a condition of the deletion is empty"),
            (json!({"tags": ["a"], "before": ""}), "a condition of the deletion is empty"),
            (
                json!({"content_hash": "ab", "tags": ["a"]}),
                "content_hash names one memory, tags and times name others",
            ),
        ] {
            assert_eq!(request(value.clone()).unwrap_err().to_string(), sentence, "{value}");
        }
    }

    #[test]
    fn one_memory_goes_by_its_hash() {
        let request = request(json!({"content_hash": "ABCD"})).unwrap();
        assert_eq!(json!(request), json!({"ids": ["abcd"], "tags_all": false, "dry_run": false}));
        assert_eq!(
            answer(&request, &deleted(1, false)).text,
            "Successfully deleted memory h0\n\nDeleted 1 memories"
        );
    }

    #[test]
    fn many_go_by_tags_and_time() {
        let by_tags = request(json!({"tags": ["a", "b"], "tag_match": "all"})).unwrap();
        assert!(by_tags.filter.tags_all);
        assert_eq!(
            answer(&by_tags, &deleted(3, false)).text,
            "Successfully deleted 3 memories matching 2 tag(s)\n\nDeleted 3 memories"
        );
        let by_time = request(json!({"before": "2026-01-01", "after": "2025-01-01"})).unwrap();
        assert_eq!(
            answer(&by_time, &deleted(2, false)).text,
            "Successfully deleted 2 memories\n\nDeleted 2 memories"
        );
    }

    #[test]
    fn a_dry_run_names_the_first_hashes() {
        let request = request(json!({"tags": "a", "dry_run": true})).unwrap();
        let output = answer(&request, &deleted(7, true));
        assert_eq!(
            output.text,
            "Would delete 7 memories\n\nWould delete 7 memories\n\
             Hashes: h0, h1, h2, h3, h4 ... and 2 more"
        );
        assert_eq!(output.structured["hashes"].as_array().unwrap().len(), 7);
        assert_eq!(
            answer(&request, &deleted(0, true)).text,
            "Would delete 0 memories\n\nWould delete 0 memories"
        );
    }
}
