//! What no sane writer puts into the database: it is checked as any input is, set aside visibly, and the
//! feed goes on.

use super::judge::all_hold_the_same;
use super::python::Python;
use super::{another, converge, is_alive, two};
use crate::World;
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::product::Product;
use memtide::model::id::{BodyHash, MemoryId};
use memtide::store::pull::{self, Quarantined};
use std::time::Duration;

async fn set_aside(world: &World) -> Vec<Quarantined> {
    world.store.read(|read| pull::quarantined(read, 1000)).await.unwrap().0
}

/// Why something of the cloud is set aside; empty if it isn't.
async fn reason(world: &World, key: &str) -> String {
    let found = set_aside(world).await;
    let one = found.into_iter().find(|one| one.key == key);
    one.map(|one| one.reason).unwrap_or_default()
}

/// Everything after what was set aside arrives, and goes up.
async fn goes_on(first: &World, second: &World) {
    let theirs = Python(first).store("after all that", &["ok"]);
    let ours = first.remember("and from here", &[]).await;
    converge(&[first, second]).await;
    converge(&[first, second]).await;
    for world in [first, second] {
        assert_eq!(world.get(theirs).await.tags, ["ok"], "the feed is stuck");
        assert_eq!(world.get(ours).await.content, "and from here");
        assert_eq!(world.replicator.handle().progress().pull.behind, Some(0));
    }
}

/// Each change of a row of the Python service, and a word of the reason for which it is not taken.
const ROWS: &[(&str, &str)] = &[
    ("metadata_json = '{\"a\":'", "no JSON"),
    ("metadata_json = '[1]'", "array"),
    ("metadata_json = '\"text\"'", "string"),
    ("metadata_json = 5", "must be an object"),
    ("metadata_json = x'7b7d'", "another type"),
    ("metadata_json = '{\"a\":1}' || char(0)", "no JSON"),
    ("metadata_json = '{\"deep\":' || replace(hex(zeroblob(2000)), '0', '[') || '}'", "no JSON"),
    ("metadata_json = '{\"huge\":\"' || hex(zeroblob(750000)) || '\"}'", "1048576"),
    ("metadata_json = '{\"nul\":\"\\u0000\"}'", ""),
    ("memory_type = char(0)", "NUL"),
    ("memory_type = x'00ff'", "another type"),
    ("memory_type = hex(zeroblob(900000))", "type"),
    ("created_at = 'soon'", "created_at"),
    ("created_at = x'00'", "created_at"),
    ("created_at = 1e300", "no instant"),
    ("created_at = 9e999", "created_at"),
    ("created_at = -1", "no instant"),
    ("created_at = 300000000000", "no instant"),
    ("created_at = 281474976710.655", "no instant"),
    ("updated_at = 'x'", "updated_at"),
    ("updated_at = -9e300", "no instant"),
    ("deleted_at = 'never'", "deleted_at"),
    ("deleted_at = 1e18", "no instant"),
    ("content = ''", "text"),
    ("content = '   '", "text"),
    ("content = 'a' || char(0) || 'b'", "NUL"),
    ("content = x'ff'", "text"),
    ("r2_key = '../../../user/tokens/verify'", "none of a text"),
    ("r2_key = 'content/../../secrets.txt'", "none of a text"),
    ("r2_key = '/etc/passwd'", "none of a text"),
    ("r2_key = 'content/' || hex(zeroblob(900000))", "none of a text"),
    ("r2_key = 'content/gone.txt'", "missing in the bucket"),
    ("r2_key = 'content/a?b=c#d.txt'", "missing in the bucket"),
    ("r2_key = 'content/' || char(0) || '.txt'", "text"),
    ("r2_key = x'00'", "another type"),
];

#[tokio::test]
async fn rows_of_wrong_types_and_sizes_are_set_aside_one_by_one() {
    let (first, second) = two().await;
    let python = Python(&first);
    let mut ids = Vec::new();
    for (n, (change, _)) in ROWS.iter().enumerate() {
        let id = python.store(&format!("hostile {n}"), &["t"]);
        first.rows(&format!("UPDATE memories SET {change} WHERE content_hash = '{id}'"));
        ids.push(id);
    }
    goes_on(&first, &second).await;
    for world in [&first, &second] {
        for (id, (change, word)) in ids.iter().zip(ROWS) {
            let why = reason(world, &id.to_string()).await;
            if word.is_empty() {
                assert!(is_alive(world, *id).await, "{change}: {why}");
            } else {
                assert!(why.contains(word), "{change}: {why:?}");
                assert!(!is_alive(world, *id).await, "{change}");
            }
            assert!(why.len() < 500, "{change}: a reason of {} bytes", why.len());
        }
    }
    // Mended, all of them come.
    first.rows("DELETE FROM memories WHERE content LIKE 'hostile%' OR content_hash NOT IN (SELECT id FROM mt_entry)");
    for (n, _) in ROWS.iter().enumerate() {
        python.store(&format!("hostile {n}"), &["mended"]);
    }
    converge(&[&first, &second]).await;
    converge(&[&first, &second]).await;
    for id in &ids {
        assert_eq!(second.get(*id).await.tags, ["mended"]);
    }
    all_hold_the_same(&[&first, &second]).await;
}

/// Tags that the service would never let through.
#[tokio::test]
async fn tags_of_wrong_types_and_numbers_are_checked_as_any() {
    let (first, second) = two().await;
    let python = Python(&first);
    let long = "x".repeat(101);
    let taken = python.store("odd tags", &["UPPER", " outer ", "a,b", "same", "Same", "1"]);
    let too_long = python.store("a tag that is too long", &[&long]);
    let many = python.store("too many tags", &[]);
    let huge = python.store("a huge tag", &[]);
    let blob = python.store("a tag of bytes", &[]);
    let nul = python.store("a tag with a NUL", &[]);
    first.rows(
        "INSERT INTO tags(name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
         WHERE i < 2000) SELECT 'many ' || i FROM n",
    );
    first.rows(
        "INSERT INTO tags(name) VALUES (hex(zeroblob(999000))), (x'ff00'), ('a' || char(0) || 'b')",
    );
    let link = |id: MemoryId, tags: &str| {
        first.rows(&format!(
            "INSERT INTO memory_tags SELECT (SELECT id FROM memories WHERE content_hash = '{id}'), id
             FROM tags WHERE {tags}"
        ));
    };
    link(many, "name LIKE 'many %'");
    link(huge, "length(name) > 1000000");
    link(blob, "typeof(name) = 'blob'");
    link(nul, "instr(name, char(0)) > 0");
    goes_on(&first, &second).await;
    for world in [&first, &second] {
        assert_eq!(world.get(taken).await.tags, ["1", "a-b", "outer", "same", "upper"]);
        for (id, word) in [(too_long, "100"), (many, "299"), (huge, "tag"), (blob, ""), (nul, "")] {
            let why = reason(world, &id.to_string()).await;
            assert!(!why.is_empty() && why.contains(word), "{id}: {why:?}");
            assert!(why.len() < 500, "{why}");
        }
    }
}

/// More tags than one value of the database can list.
#[tokio::test]
async fn a_memory_that_no_answer_can_carry_holds_up_none_of_the_others() {
    let (first, second) = two().await;
    let python = Python(&first);
    let before = python.store("before it", &[]);
    let bomb = python.store("with megabytes of tags", &[]);
    // The device has the memory too, and owes it.
    first.remember("with megabytes of tags", &["ours"]).await;
    first.rows(
        "INSERT INTO tags(name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
         WHERE i < 8) SELECT i || hex(zeroblob(490000)) FROM n",
    );
    first.rows(&format!(
        "INSERT INTO memory_tags SELECT (SELECT id FROM memories WHERE content_hash = '{bomb}'), id
         FROM tags WHERE length(name) > 900000"
    ));
    let others = first.remember_many(120).await;
    goes_on(&first, &second).await;
    assert!(is_alive(&second, before).await && is_alive(&second, others[119]).await);
    assert!(!reason(&second, &bomb.to_string()).await.is_empty());
    let owed = first.entries().await;
    let owed: Vec<_> = owed.iter().filter(|one| one.product.as_str() == "d1").collect();
    assert!(owed.iter().all(|one| one.id == bomb), "others are held up: {owed:?}");
    // What else is set aside is tried again, and comes when it is mended.
    let other = python.store("mended later", &[]);
    first.rows(&format!("UPDATE memories SET metadata_json = '{{' WHERE content_hash = '{other}'"));
    converge(&[&first, &second]).await;
    assert!(!is_alive(&second, other).await);
    first.rows(&format!(
        "UPDATE memories SET metadata_json = '{{}}' WHERE content_hash = '{other}'"
    ));
    converge(&[&first, &second]).await;
    assert!(is_alive(&second, other).await);
    first.rows(
        "DELETE FROM memory_tags WHERE tag_id IN (SELECT id FROM tags WHERE length(name) > 1000)",
    );
    for _ in 0..3 {
        converge(&[&first, &second]).await;
        first.clock.advance(Duration::from_hours(2));
    }
    assert_eq!(reason(&second, &bomb.to_string()).await, "");
    assert!(is_alive(&second, bomb).await);
}

/// States that no memtide writes: `S` stands for one that is sound.
const STATES: &[(&str, &str)] = &[
    ("'{'", "not readable"),
    ("'null'", "not readable"),
    ("''", "not readable"),
    ("x'7b7d'", "not readable"),
    ("5", "not readable"),
    ("replace(S, '\"v\":1', '\"v\":9')", "form 9"),
    ("replace(S, '\"v\":1', '\"v\":-1')", "not readable"),
    ("substr(S, 1, 200)", "not readable"),
    ("json_set(S, '$.life[0]', 'ffff')", "stamp"),
    ("json_set(S, '$.life[0]', 'zz')", "stamp"),
    ("json_set(S, '$.life[0]', 'ffffffffffffffffffffffff')", "end of time"),
    ("json_set(S, '$.tags.t[0]', 'ffffffffffff000000000001')", "end of time"),
    ("json_set(S, '$.text[1]', 'short')", "hash"),
    ("json_set(S, '$.sup[1]', '../x')", "successor"),
    ("json_set(S, '$.type[1]', hex(zeroblob(300)))", "type"),
    ("json_set(S, '$.meta.k', json_array(json_extract(S, '$.life[0]'), '{'))", "no JSON"),
    ("json_set(S, '$.tags.\"\"', json_array(json_extract(S, '$.life[0]'), json('true')))", "tag"),
    ("json_set(S, '$.upd', 1e40)", "not readable"),
    ("json_set(S, '$.birth[1]', -9223372036854775808)", "no instant"),
    ("json_set(S, '$.upd', 9223372036854775807)", "no instant"),
    (
        "json_set(S, '$.text[1]', '0000000000000000000000000000000000000000000000000000000000000000')",
        "",
    ),
];

#[tokio::test]
async fn states_that_no_memtide_writes_are_set_aside_one_by_one() {
    let (first, second) = two().await;
    let mut ids = Vec::new();
    for n in 0..STATES.len() {
        ids.push(first.remember(&format!("state {n}"), &["t"]).await);
    }
    converge(&[&first]).await;
    for (id, (state, _)) in ids.iter().zip(STATES) {
        let state = state.replace('S', "state");
        first.rows(&format!("UPDATE mt_entry SET state = {state} WHERE id = '{id}'"));
        // A write of the service puts it into the feed again.
        Python(&first).annotate(*id, &serde_json::json!({"touched": 1}));
    }
    goes_on(&first, &second).await;
    for (id, (state, word)) in ids.iter().zip(STATES) {
        let why = reason(&second, &id.to_string()).await;
        assert!(why.contains(word) && (word.is_empty() || !why.is_empty()), "{state}: {why:?}");
        assert!(is_alive(&first, *id).await, "{state}: it was damaged here");
    }
}

/// Keys and instants of the feed that are none.
#[tokio::test]
async fn a_feed_of_odd_keys_and_instants_is_read_to_its_end() {
    let (first, second) = two().await;
    let id = MemoryId::of("odd instant");
    let upper = id.to_string().to_uppercase();
    let mut keys = vec![
        "''".to_owned(),
        "'x'".to_owned(),
        format!("'{upper}'"),
        format!("'{id}' || char(0)"),
        "hex(zeroblob(900000))".to_owned(),
        "x'ff00'".to_owned(),
        "char(0)".to_owned(),
        "'../../etc/passwd'".to_owned(),
    ];
    for key in &keys {
        first.rows(&format!("INSERT INTO mt_entry(id, state, dg) VALUES ({key}, '{{', 1)"));
        first.rows(&format!("INSERT INTO mt_feed(id) VALUES ({key})"));
    }
    keys.clear();
    let python = Python(&first);
    let instants = ["9e15", "1e300", "'never'", "x'00'", "-9223372036854775808", "4000000000"];
    for (n, at) in instants.iter().enumerate() {
        let id = python.store(&format!("instant {n}"), &[]);
        first.rows(&format!("UPDATE mt_feed SET at = {at} WHERE id = '{id}'"));
    }
    let no_mark = python.store("without its mark", &[]);
    first.rows("DELETE FROM mt_heads WHERE seq = (SELECT max(seq) FROM mt_feed)");
    goes_on(&first, &second).await;
    for (n, at) in instants.iter().enumerate() {
        let id = MemoryId::of(&format!("instant {n}"));
        assert!(is_alive(&second, id).await, "{at}");
    }
    assert!(is_alive(&second, no_mark).await);
    let found = set_aside(&second).await;
    assert!(found.len() >= 7, "{found:?}");
    assert!(found.iter().all(|one| one.key.chars().count() <= 80 && one.reason.contains("id")));
    // Once nothing is under them, they are no concern of anybody's: not here, nor of a new device.
    first.rows("DELETE FROM mt_entry WHERE state = '{'");
    first.rows("UPDATE mt_feed SET seq = seq + 1000 WHERE length(CAST(id AS BLOB)) <> 64");
    first.rows(&format!("UPDATE mt_feed SET seq = seq + 1000 WHERE id = '{upper}'"));
    converge(&[&first, &second]).await;
    let third = another(&first, 3).await;
    converge(&[&third]).await;
    for world in [&second, &third] {
        assert_eq!(set_aside(world).await, []);
    }
}

/// More is set aside than is tried at once: all of it has its turn.
#[tokio::test]
async fn everything_that_was_set_aside_is_tried_again_in_turn() {
    let (first, second) = two().await;
    let python = Python(&first);
    let mut ids = Vec::new();
    for n in 0..250 {
        let id = python.store(&format!("set aside {n}"), &[]);
        first
            .rows(&format!("UPDATE memories SET metadata_json = '{{' WHERE content_hash = '{id}'"));
        ids.push(id);
    }
    converge(&[&second]).await;
    assert_eq!(set_aside(&second).await.len(), 250);
    // Mended where no trigger tells of it.
    first.rows("INSERT INTO mt_stage(j) VALUES ('quiet')");
    for id in ids.iter().step_by(2) {
        first
            .rows(&format!("UPDATE memories SET metadata_json = NULL WHERE content_hash = '{id}'"));
    }
    first.rows("DELETE FROM mt_stage");
    // The next are fetched at once as long as any come.
    second.clock.advance(Duration::from_hours(1));
    second.settle().await;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(is_alive(&second, *id).await, n % 2 == 0, "{n}");
    }
    assert_eq!(set_aside(&second).await.len(), 125);
}

/// One of them can't even be asked for: the others come all the same.
#[tokio::test]
async fn what_no_answer_can_carry_is_tried_again_without_the_others() {
    let (first, second) = two().await;
    let python = Python(&first);
    let ids: Vec<MemoryId> = (0..9).map(|n| python.store(&format!("set aside {n}"), &[])).collect();
    first.rows("UPDATE memories SET metadata_json = '{'");
    converge(&[&second]).await;
    assert_eq!(set_aside(&second).await.len(), 9);
    first.rows("INSERT INTO mt_stage(j) VALUES ('quiet')");
    first.rows("UPDATE memories SET metadata_json = NULL");
    first.rows("DELETE FROM mt_stage");
    let bomb = ids[4].to_string();
    let reply = Reply::error(400, 7500, "string or blob too big: SQLITE_TOOBIG");
    let fault = Rule::new(Effect::reply(reply)).on(Product::D1).body(&bomb);
    let fault = first.account.core().inject(fault);
    second.clock.advance(Duration::from_hours(1));
    second.settle().await;
    assert!(first.account.core().fired(fault) > 2, "it was looked for by halves");
    let left = set_aside(&second).await;
    assert_eq!(left.iter().map(|one| &one.key).collect::<Vec<_>>(), [&bomb]);
    first.account.core().clear_faults();
    second.clock.advance(Duration::from_hours(1));
    second.settle().await;
    assert!(is_alive(&second, ids[4]).await);
}

/// What the service shows for a text in the bucket, stored as a text by somebody who copied it.
#[tokio::test]
async fn a_text_that_looks_like_a_placeholder_is_one_all_the_same() {
    let (first, second) = two().await;
    let ours = first.remember("[R2 Content: content/notes.txt]", &[]).await;
    let theirs = Python(&first).store("[R2 Content: content/ab/cd.txt]", &[]);
    goes_on(&first, &second).await;
    assert_eq!(second.get(ours).await.content, "[R2 Content: content/notes.txt]");
    assert!(is_alive(&second, theirs).await);
    assert_eq!(set_aside(&second).await, []);
    all_hold_the_same(&[&first, &second]).await;
}

/// Columns that somebody added, and tables with names like ours, are nobody's concern.
#[tokio::test]
async fn unknown_columns_and_tables_change_nothing() {
    let (first, second) = two().await;
    let id = first.remember("before the column", &["a"]).await;
    converge(&[&first, &second]).await;
    first.rows("ALTER TABLE memories ADD COLUMN confidence REAL DEFAULT 0.5");
    first.rows("ALTER TABLE memories ADD COLUMN state TEXT DEFAULT 'x'");
    first.rows("ALTER TABLE memories ADD COLUMN seq TEXT DEFAULT 'x'");
    first.rows("ALTER TABLE memory_tags ADD COLUMN name TEXT DEFAULT 'x'");
    first.rows("ALTER TABLE mt_entry ADD COLUMN nonce TEXT DEFAULT 'x'");
    first.rows("ALTER TABLE mt_feed ADD COLUMN age TEXT DEFAULT 'x'");
    first.rows("CREATE TABLE mt_unknown (x)");
    first.retag(id, &["b"]).await;
    second.remember("after the column", &["c"]).await;
    goes_on(&first, &second).await;
    assert_eq!(second.get(id).await.tags, ["b"]);
    assert_eq!(first.rows("SELECT confidence FROM memories LIMIT 1"), ["0.5"]);
    all_hold_the_same(&[&first, &second]).await;
}

/// An instant in the future is taken as it is, and an edit after it wins all the same.
#[tokio::test]
async fn a_row_from_the_far_future_is_taken_and_an_edit_of_it_wins() {
    let (first, second) = two().await;
    let python = Python(&first);
    let id = python.store_as_of("from 2999", &["theirs"], 32_472_144_000);
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.tags, ["theirs"]);
    second.retag(id, &["ours"]).await;
    converge(&[&second, &first]).await;
    assert_eq!(first.get(id).await.tags, ["ours"]);
    second.forget(id).await;
    converge(&[&second, &first]).await;
    assert!(!is_alive(&first, id).await);
    let ahead = first.replicator.handle().progress().pull.ahead;
    assert!(ahead.is_some() || first.clock.now() > crate::NOON);
    all_hold_the_same(&[&first, &second]).await;
}

/// A body in the bucket that is not the text which the state names, or no text at all.
#[tokio::test]
async fn a_body_that_is_not_the_text_is_not_taken() {
    let (first, second) = two().await;
    let large = "large ".repeat(1000);
    let ids = [
        first.remember(&format!("{large} 0"), &[]).await,
        first.remember(&format!("{large} 1"), &[]).await,
    ];
    converge(&[&first]).await;
    let put = async |key: &str, body: &'static [u8]| {
        first.clock.advance(Duration::from_secs(2));
        let r2 = memtide::remote::r2::R2::new(first.remote(), "bodies");
        r2.put(key, body.into()).await.unwrap();
    };
    let key = |id: MemoryId| {
        first.rows(&format!("SELECT r2_key FROM memories WHERE content_hash = '{id}'")).remove(0)
    };
    put(&key(ids[0]), b"another text").await;
    put(&key(ids[1]), b"\xff\xfe").await;
    converge(&[&second]).await;
    assert!(
        reason(&second, &ids[0].to_string()).await.contains("not the one that its state names")
    );
    assert!(reason(&second, &ids[1].to_string()).await.contains("UTF-8"));
    assert_eq!(set_aside(&second).await.len(), 2);
    goes_on(&first, &second).await;
    // Whoever has the text brings it back by storing it again.
    for n in 0..2 {
        first.remember(&format!("{large} {n}").to_uppercase(), &[]).await;
    }
    converge(&[&first, &second]).await;
    converge(&[&first, &second]).await;
    let text = second.get(ids[0]).await.content;
    assert_eq!(BodyHash::of(&text), BodyHash::of(&format!("{large} 0").to_uppercase()));
    all_hold_the_same(&[&first, &second]).await;
}
