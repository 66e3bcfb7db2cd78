//! Every shape in which releases of the service have left accounts.

use super::account::{
    Kept, assert_here, beside, database, fill, import, kept, plan, service_tables, vector_names,
};
use crate::devices::converge;
use crate::{LinkMode, World};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::model::id::MemoryId;
use memtide::replicate::preview::Comparison;
use std::collections::BTreeSet;

fn some(n: usize) -> Vec<Kept> {
    (0..n).map(kept).collect()
}

/// Carries everything, both ways.
async fn carried(world: &World) {
    converge(&[world]).await;
    world.drain().await;
}

/// Plans, and looks that nothing came of it.
async fn planned(world: &World) -> Comparison {
    let (before, vectors) = (database(world), vector_names(world));
    let keys = world.account.core().object_keys("bodies").unwrap();
    let counts = plan(world).await;
    assert_eq!(database(world), before, "a plan changes nothing");
    assert_eq!(vector_names(world), vectors);
    assert_eq!(world.account.core().object_keys("bodies").unwrap(), keys);
    assert_eq!(world.account.core().rows_written_today(), 0);
    counts
}

/// An empty device takes everything over; one that has it already finds it the same. In both cases the
/// service's tables, the index and the bucket stay as they are.
async fn is_taken_over_untouched(is_old: bool, all: &[Kept]) {
    let n_living = all.iter().filter(|one| one.deleted_at.is_none()).count() as u64;
    let n_dead = all.len() as u64 - n_living;
    for has_it in [false, true] {
        let mut world = beside(Options::default(), is_old);
        world.mode = LinkMode::Dual;
        fill(&world, all).await;
        if has_it {
            import(&world, all).await;
        }
        let counts = planned(&world).await;
        let expected = if has_it {
            let same = n_living + n_dead;
            Comparison { same, same_without_entry: same, ..Comparison::default() }
        } else {
            Comparison { only_cloud: n_living, only_cloud_deleted: n_dead, ..Comparison::default() }
        };
        assert_eq!(counts, expected, "{has_it}");
        let before = service_tables(&world);
        let (vectors, keys) =
            (vector_names(&world), world.account.core().object_keys("bodies").unwrap());
        world.link().await.unwrap();
        carried(&world).await;
        assert_here(&world, all).await;
        assert_eq!(service_tables(&world), before, "the service's tables stay as they are");
        assert_eq!(vector_names(&world), vectors, "the index holds what it held");
        assert_eq!(world.account.core().object_keys("bodies").unwrap(), keys);
        assert_eq!(world.account.core().n_requests(Product::Ai), 0, "no vector is made");
        let entries = world.rows("SELECT count(*) FROM mt_entry");
        assert_eq!(entries, [all.len().to_string()], "every memory has its entry");
        assert_eq!(plan(&world).await.same, all.len() as u64);
        assert!(world.rows("SELECT j FROM mt_stage").is_empty());
    }
}

#[tokio::test]
async fn an_account_of_today() {
    is_taken_over_untouched(false, &some(40)).await;
}

#[tokio::test]
async fn an_account_without_memories() {
    is_taken_over_untouched(false, &[]).await;
}

#[tokio::test]
async fn tables_of_release_8_without_tags_and_deletions() {
    is_taken_over_untouched(true, &some(40)).await;
}

#[tokio::test]
async fn tags_that_only_the_join_tables_know() {
    let mut all = some(20);
    for one in &mut all {
        one.lists_tags = false;
    }
    is_taken_over_untouched(false, &all).await;
}

#[tokio::test]
async fn metadata_in_every_form_that_was_written() {
    let mut all = some(8);
    let forms = [
        None,
        Some(""),
        Some("null"),
        Some("{}"),
        Some(r#"{"_q": "0.5,ox,0.25,,,,,,,,,,,,", "quality": 1}"#),
        Some(r#"{"z": 1,   "a": "née \ud83d\ude00", "f": 0.1}"#),
        Some(r#"{"access_count": 3, "last_accessed_at": 1690000000.5, "kept": true}"#),
        Some(r#"{"superseded_by": "no id", "deep": {"b": 1, "a": [{}]}}"#),
    ];
    for (one, form) in all.iter_mut().zip(forms) {
        one.metadata = form.map(str::to_owned);
    }
    for has_it in [false, true] {
        let mut world = beside(Options::default(), false);
        world.mode = LinkMode::Dual;
        fill(&world, &all).await;
        if has_it {
            import(&world, &all).await;
        }
        let before = service_tables(&world);
        world.link().await.unwrap();
        carried(&world).await;
        assert_eq!(service_tables(&world), before, "what stands there stays, to the space");
        let quality = world.get(all[4].id()).await.metadata;
        assert_eq!(quality["_q"], "0.5,ox,0.25,,,,,,,,,,,,");
        assert_eq!(world.get(all[5].id()).await.metadata["a"], "née 😀");
        let counted = world.get(all[6].id()).await.metadata;
        assert_eq!(counted["kept"], true);
        assert_eq!(counted.contains_key("access_count"), has_it, "only an import carries counters");
    }
}

#[tokio::test]
async fn vectors_that_no_row_names_and_those_of_restored_memories() {
    let mut all = some(12);
    all[0].vector = None;
    all[1].vector = None;
    let restored = format!("restore-{}", "ab".repeat(16));
    all[2].vector = Some(restored.clone());
    for has_it in [false, true] {
        let mut world = beside(Options::default(), false);
        world.mode = LinkMode::Dual;
        fill(&world, &all).await;
        // The service has lost the row's name of this one, not the vector.
        let orphan = Kept { vector: Some(all[1].id().to_string()), ..all[1].clone() };
        let index = memtide::remote::vectorize::Vectorize::new(world.remote(), "vectors");
        index.upsert(&[super::account::vector(&orphan).unwrap()]).await.unwrap();
        assert!(vector_names(&world).contains(&restored));
        if has_it {
            import(&world, &all).await;
        }
        assert_eq!(planned(&world).await.differing, 0);
        world.link().await.unwrap();
        carried(&world).await;
        assert_here(&world, &all).await;
        let unnamed = "SELECT count(*) FROM memories WHERE vector_id IS NOT content_hash";
        assert_eq!(world.rows(unnamed), ["0"], "every row names a vector of its own");
        let expected: BTreeSet<String> = all.iter().map(|one| one.id().to_string()).collect();
        assert_eq!(vector_names(&world), expected, "and the index holds those, and no other");
        let texts_embedded = world.account.core().n_requests(Product::Ai);
        assert_eq!(texts_embedded, 1, "the two that were missing, together");
    }
}

#[tokio::test]
async fn bodies_in_the_bucket_under_both_kinds_of_keys() {
    let mut all = some(6);
    for (n, one) in all.iter_mut().enumerate().take(3) {
        one.text = format!("a long text, number {n}: {}", "words and words. ".repeat(400));
        let id = MemoryId::of(&one.text);
        one.vector = Some(id.to_string());
        one.body = Some(match n {
            0 => format!("content/{id}.txt"),
            _ => format!("content/{id}/restore-{}.txt", "0f".repeat(16)),
        });
    }
    is_taken_over_untouched(false, &all).await;
}

#[tokio::test]
async fn tombstones() {
    let mut all = some(20);
    for one in all.iter_mut().take(7) {
        one.deleted_at = Some(1_695_000_000.5);
    }
    is_taken_over_untouched(false, &all).await;
}

#[tokio::test]
async fn a_plan_tells_the_sides_apart() {
    let mut world = beside(Options::default(), false);
    world.mode = LinkMode::Dual;
    let mut all = some(30);
    for one in all.iter_mut().take(4) {
        one.deleted_at = Some(1_695_000_000.5);
    }
    fill(&world, &all).await;
    let mut here: Vec<Kept> = all[2..25].to_vec();
    // Two are alive here and deleted there, one is dead here and alive there.
    here[0].deleted_at = None;
    here[1].deleted_at = None;
    here[5].deleted_at = Some(1_695_000_001.0);
    here[6].metadata = Some(r#"{"only": "here"}"#.to_owned());
    here[7].tags.push("another".to_owned());
    here[8].kind = Some("decision");
    import(&world, &here).await;
    world.remember("never was there", &["new"]).await;
    let doomed = world.remember("never was there, and is gone", &[]).await;
    world.forget(doomed).await;
    let counts = planned(&world).await;
    let expected = Comparison {
        only_local: 1,
        only_local_deleted: 1,
        only_cloud: 5,
        only_cloud_deleted: 2,
        same: 17,
        same_without_entry: 17,
        differing: 3,
        deleted_here: 1,
        deleted_there: 2,
    };
    assert_eq!(counts, expected);
    world.link().await.unwrap();
    carried(&world).await;
    let after = plan(&world).await;
    let total = 30 + 2;
    assert_eq!((after.same, after.same_without_entry), (total, 0), "{after:?}");
    assert_eq!(world.get(here[6].id()).await.metadata["only"], "here");
}
