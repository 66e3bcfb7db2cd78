use super::super::testing::{execute, sqlite};
use super::super::{meta, schema};
use super::*;
use crate::remote::contract::Contract;
use std::fmt::Write as _;

async fn ready() -> D1 {
    let (d1, _) = sqlite("");
    schema::create(&d1).await.expect("created");
    meta::write(&d1, "uuid-1", &Contract::python()).await.expect("written");
    d1
}

const INSERT: &str = "INSERT INTO memories (content_hash, content, memory_type, created_at, created_at_iso, updated_at, metadata_json) VALUES (?1, 'text of ' || ?1, 'note', 1.5, 'iso', 2.5, '{}')";

/// Stores memories as the Python service does.
async fn store(d1: &D1, names: &[&str]) -> Vec<MemoryId> {
    let ids: Vec<MemoryId> = names.iter().map(|name| MemoryId::of(name)).collect();
    for id in &ids {
        execute(d1, INSERT, &[&id.to_string()]).await;
    }
    ids
}

async fn entries(d1: &D1) -> Vec<FeedEntry> {
    page(d1, 0, PAGE_MAX, None).await.expect("a page").entries
}

#[tokio::test]
async fn a_page_brings_what_follows_the_cursor_by_position() {
    let d1 = ready().await;
    let ids = store(&d1, &["a", "b", "c", "d"]).await;
    execute(
        &d1,
        "UPDATE memories SET memory_type = 'x' WHERE content_hash = ?1",
        &[&ids[0].to_string()],
    )
    .await;
    let found = page(&d1, 0, 3, None).await.expect("a page");
    let order: Vec<_> =
        found.entries.iter().map(|one| (one.seq, one.id().expect("an id"))).collect();
    assert_eq!(order, [(2, ids[1]), (3, ids[2]), (4, ids[3])]);
    assert_eq!(found.newest, 5);
    let first = &found.entries[0];
    assert!(!first.is_cut && first.nonce.as_ref().is_some_and(|nonce| nonce.len() == 16));
    assert!(first.age_s.is_some_and(|age| (0..60).contains(&age)) && first.state_text.is_none());
    let row = first.row.as_ref().expect("a row");
    assert_eq!((row.created_at, row.updated_at, row.deleted_at), (Some(1.5), Some(2.5), None));
    assert_eq!((row.content_bytes, row.odd), (72, None));
    let rest = page(&d1, 4, 3, None).await.expect("a page");
    assert_eq!(rest.entries.len(), 1);
    assert_eq!(rest.entries[0].row.as_ref().and_then(|row| row.memory_type.as_deref()), Some("x"));
    assert!(page(&d1, 5, 3, None).await.expect("the end").entries.is_empty());
}

#[tokio::test]
async fn a_page_is_bounded_by_bytes_and_its_first_entry_always_comes() {
    let d1 = ready().await;
    let ids = store(&d1, &["a", "b", "c", "d"]).await;
    let metadata = format!("\"{}\"", "m".repeat(ANSWER_MAX_BYTES / 2 - 1000));
    for id in &ids {
        let fill = "UPDATE memories SET metadata_json = ?2 WHERE content_hash = ?1";
        execute(&d1, fill, &[&id.to_string(), &metadata]).await;
    }
    let found = entries(&d1).await;
    let cut: Vec<bool> = found.iter().map(|one| one.is_cut).collect();
    assert_eq!(cut, [false, false, true, true]);
    let row = found[2].row.as_ref().expect("a row");
    assert_eq!((&row.metadata_json, &row.memory_type), (&None, &None));
    assert!(found[2].id() == Some(ids[2]) && found[2].seq == 7 && found[2].nonce.is_some());
    // Asked for from there, they come.
    let rest = page(&d1, found[1].seq, PAGE_MAX, None).await.expect("a page").entries;
    assert!(rest.len() == 2 && rest.iter().all(|one| !one.is_cut));
    let (by_id, _) = fetch(&d1, &ids, None).await.expect("fetched");
    assert_eq!(by_id.iter().map(|one| one.is_cut).collect::<Vec<_>>(), cut);
    let too_large = "UPDATE memories SET metadata_json = metadata_json || metadata_json || metadata_json WHERE content_hash = ?1";
    execute(&d1, too_large, &[&ids[3].to_string()]).await;
    let (alone, _) = fetch(&d1, &ids[3..], None).await.expect("fetched");
    let size = alone[0].row.as_ref().and_then(|row| Some(row.metadata_json.as_ref()?.len()));
    assert!(!alone[0].is_cut && size.is_some_and(|size| size > ANSWER_MAX_BYTES), "{size:?}");
}

#[tokio::test]
async fn a_column_of_a_wrong_type_is_named() {
    let d1 = ready().await;
    let columns = [
        ("created_at", "'soon'", "created_at"),
        ("updated_at", "'later'", "updated_at"),
        ("deleted_at", "x'00'", "deleted_at"),
        ("memory_type", "x'00'", "kind"),
        ("metadata_json", "x'7b7d'", "metadata"),
        ("r2_key", "x'00'", "r2_key"),
    ];
    for (column, value, odd) in columns {
        store(&d1, &[column]).await;
        let id = MemoryId::of(column).to_string();
        let sql: &'static str = Box::leak(
            format!("UPDATE memories SET {column} = {value} WHERE content_hash = ?1")
                .into_boxed_str(),
        );
        execute(&d1, sql, &[&id]).await;
        let found = entries(&d1).await;
        let one = found.iter().find(|one| one.key == id).expect("an entry");
        assert_eq!(one.row.as_ref().and_then(|row| row.odd), Some(odd), "{column} = {value}");
    }
    let sound = "UPDATE memories SET created_at = 1, updated_at = NULL, deleted_at = NULL, memory_type = 5, metadata_json = NULL, r2_key = NULL";
    execute(&d1, sound, &[]).await;
    let found = entries(&d1).await;
    assert!(found.iter().all(|one| one.row.as_ref().is_some_and(|row| row.odd.is_none())));
}

#[tokio::test]
async fn a_state_that_is_no_text_is_taken_for_none() {
    let d1 = ready().await;
    let ids = store(&d1, &["a"]).await;
    execute(&d1, "INSERT INTO mt_entry VALUES (?1, x'7b7d', 1)", &[&ids[0].to_string()]).await;
    let state = entries(&d1).await.remove(0).state_text.expect("something");
    assert!(state.starts_with("not text"), "{state}");
}

#[tokio::test]
async fn instants_of_the_feed_that_are_none_have_no_age() {
    let d1 = ready().await;
    store(&d1, &["a", "b", "c"]).await;
    execute(&d1, "UPDATE mt_feed SET at = 1e300 WHERE seq = 1", &[]).await;
    execute(&d1, "UPDATE mt_feed SET at = unixepoch() + 5 WHERE seq = 2", &[]).await;
    execute(&d1, "UPDATE mt_feed SET at = 0 WHERE seq = 3", &[]).await;
    let ages: Vec<Option<i64>> = entries(&d1).await.iter().map(|one| one.age_s).collect();
    assert_eq!(ages[0], None);
    assert!(ages[1].is_some_and(|age| age <= -4), "{ages:?}");
    assert!(ages[2].is_some_and(|age| age > 1_000_000_000), "{ages:?}");
}

#[tokio::test]
async fn keys_come_as_they_are_up_to_eighty_bytes() {
    let d1 = ready().await;
    let id = MemoryId::of("a").to_string();
    let long = "k".repeat(1000);
    for key in ["", "x", &id.to_uppercase(), &format!("{id}\0"), &long] {
        execute(&d1, "INSERT INTO mt_feed(id) VALUES (?1)", &[key]).await;
    }
    execute(&d1, "INSERT INTO mt_feed(id) VALUES (x'ff41')", &[]).await;
    let found = entries(&d1).await;
    let keys: Vec<&str> = found.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys[..4], ["", "x", &id.to_uppercase(), &format!("{id}\0")]);
    assert_eq!((keys[4], keys.len()), (&long[..80], 6));
    assert!(keys[5].ends_with('A'));
    assert!(found.iter().all(|one| one.id().is_none()), "none of them is an id");
    let mut cursor = 0;
    for key in &keys {
        let (next, seq) = next_key(&d1, cursor).await.expect("an answer").expect("a key");
        assert_eq!((next.as_str(), seq), (*key, cursor + 1));
        cursor = seq;
    }
    assert_eq!(next_key(&d1, cursor).await.expect("an answer"), None);
}

#[tokio::test]
async fn of_many_or_long_tags_enough_comes_to_see_it() {
    let d1 = ready().await;
    let ids = store(&d1, &["many", "long", "odd"]).await;
    let name = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO tags(name) SELECT 'many ' || i FROM n";
    execute(&d1, name, &[]).await;
    let long = "é".repeat(900_000);
    execute(&d1, "INSERT INTO tags(name) VALUES (?1), (''), (?2)", &[&long, "nul\0byte"]).await;
    let link = "INSERT INTO memory_tags SELECT (SELECT id FROM memories WHERE content_hash = ?1), id FROM tags WHERE name LIKE ?2";
    execute(&d1, link, &[&ids[0].to_string(), "many %"]).await;
    execute(&d1, link, &[&ids[1].to_string(), "éé%"]).await;
    execute(&d1, link, &[&ids[2].to_string(), ""]).await;
    execute(&d1, link, &[&ids[2].to_string(), "nul%"]).await;
    let found = entries(&d1).await;
    let tags = |id: &MemoryId| {
        let entry = found.iter().find(|one| one.id().as_ref() == Some(id)).expect("an entry");
        entry.row.as_ref().expect("a row").tags.clone()
    };
    assert_eq!(tags(&ids[0]).len(), 300);
    let cut = tags(&ids[1]).into_iter().next().expect("a tag");
    assert_eq!(cut.chars().count(), 240);
    assert_eq!(tags(&ids[2]), BTreeSet::from([String::new(), "nul\0byte".to_owned()]));
}

#[tokio::test]
async fn every_id_has_its_entry_whatever_is_there() {
    let d1 = ready().await;
    let ids = store(&d1, &["row", "state"]).await;
    let mut asked = ids.clone();
    asked.insert(0, MemoryId::of("nobody's"));
    execute(&d1, "INSERT INTO mt_entry VALUES (?1, '{}', 1)", &[&ids[1].to_string()]).await;
    execute(&d1, "DELETE FROM memories WHERE content_hash = ?1", &[&ids[1].to_string()]).await;
    let (found, cloud) = fetch(&d1, &asked, None).await.expect("fetched");
    let shape: Vec<_> = found
        .iter()
        .map(|one| (one.id(), one.seq, one.state_text.is_some(), one.row.is_some()))
        .collect();
    assert_eq!(
        shape,
        [
            (Some(asked[0]), 0, false, false),
            (Some(asked[1]), 1, false, true),
            (Some(asked[2]), 3, true, false),
        ]
    );
    assert!(cloud.anchor_holds && cloud.database.as_deref() == Some("uuid-1"));
    let lost = Anchor { seq: 3, nonce: "another".to_owned() };
    let (_, cloud) = fetch(&d1, &asked, Some(&lost)).await.expect("fetched");
    assert!(!cloud.anchor_holds);
}

#[tokio::test]
async fn texts_are_bounded_by_bytes_too() {
    let d1 = ready().await;
    let ids = store(&d1, &["a", "b", "c"]).await;
    let mut text = String::new();
    write!(text, "{}", "t".repeat(ANSWER_MAX_BYTES / 2)).expect("written");
    for id in &ids {
        let fill = "UPDATE memories SET content = ?2 WHERE content_hash = ?1";
        execute(&d1, fill, &[&id.to_string(), &text]).await;
    }
    let mut asked = ids.clone();
    asked.push(MemoryId::of("nobody's"));
    let found = texts(&d1, &asked).await.expect("texts");
    assert_eq!(found.found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[..2]);
    assert!(found.found.iter().all(|(_, one)| *one == text));
    assert_eq!(found.cut, ids[2..]);
    execute(
        &d1,
        "UPDATE memories SET content = x'ff' WHERE content_hash = ?1",
        &[&ids[2].to_string()],
    )
    .await;
    let odd = texts(&d1, &ids[2..]).await.expect("texts");
    assert_eq!(odd, Texts::default(), "what is no text is neither found nor cut");
}
