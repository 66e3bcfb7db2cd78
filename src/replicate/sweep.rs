//! Removes bodies from the bucket that no living memory names any more.
//!
//! A body goes only when the database's own states say that it has lost: its memory was deleted, or got a
//! newer text, longer ago than deleted texts are kept, and the stamp in its key is older than that. A
//! body whose row has yet to come carries a newer stamp and stays, and so does everything of which the
//! database has no state. Keys carry the text's stamp, so a memory that comes back never needs a key that
//! was swept.

use super::session::Session;
use super::verify::{Check, VerifyError};
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::model::stamp::Stamp;
use crate::remote::budget::Lane;
use crate::remote::digest::{self, BodyFacts};
use crate::remote::error::Product;
use crate::remote::r2::{Listed, R2};
use crate::store::Read;
use crate::store::digest as local_digest;
use std::collections::HashMap;
use std::time::Duration;

/// Pages of the bucket's list in one sweep; the next one goes on there.
const PAGES: usize = 5;
/// Bodies that one sweep removes at most, so that it stays within the budget.
const REMOVED_MAX: usize = 100;

/// Sweeps a bounded part of the bucket; gives where the next sweep goes on.
pub(super) async fn sweep(
    session: &Session,
    keep_for: Duration,
    mut cursor: Option<String>,
) -> Result<Option<String>, VerifyError> {
    let Some(bucket) = &session.link.bucket else { return Ok(None) };
    let mut check = Check::begin(session).await?;
    check.demand_open(Product::R2)?;
    let bucket = R2::new(session.remote.in_lane(Lane::Backfill), bucket);
    let mut n_removed = 0;
    for _ in 0..PAGES {
        let answer = bucket.list("content/", cursor.as_deref()).await;
        let page = check.noted(Product::R2, answer)?;
        let forsaken = forsaken(&mut check, &page.objects, keep_for).await?;
        for key in &forsaken {
            if n_removed == REMOVED_MAX {
                return Ok(cursor);
            }
            let answer = bucket.delete(key).await;
            check.noted(Product::R2, answer)?;
            n_removed += 1;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    if n_removed > 0 {
        tracing::info!(
            bodies = n_removed,
            "bodies of deleted and replaced texts were removed from the bucket"
        );
    }
    Ok(cursor)
}

/// A body by what its key says.
struct Body {
    key: String,
    id: MemoryId,
    stamp: Stamp,
    stored_at: Option<Micros>,
}

impl Body {
    /// Takes a key of memtide's apart; other keys are none of its business.
    fn of(object: &Listed) -> Option<Self> {
        let name = object.key.strip_prefix("content/")?.strip_suffix(".txt")?;
        let (id, stamp) = name.split_once('-')?;
        let (id, stamp) = (id.parse().ok()?, stamp.parse().ok()?);
        Some(Self { key: object.key.clone(), id, stamp, stored_at: object.stored_at })
    }

    /// Whether the database says that the body has lost, longer than `keep_for` ago.
    fn is_forsaken(&self, facts: &BodyFacts, keep_for: Duration, now: Micros) -> bool {
        let is_old = |ms: u64| {
            let at = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000);
            now.since(Micros(at)) > keep_for
        };
        let is_named = facts.is_shown && facts.shown_key.as_ref() == Some(&self.key);
        let lost_at = if facts.is_alive { facts.text_at } else { facts.life_at };
        let is_settled = self.stored_at.is_none_or(|at| now.since(at) > keep_for);
        !is_named && is_settled && self.stamp < lost_at && is_old(lost_at.ms)
    }
}

/// The keys among `objects` that can go.
async fn forsaken(
    check: &mut Check<'_>,
    objects: &[Listed],
    keep_for: Duration,
) -> Result<Vec<String>, VerifyError> {
    let bodies: Vec<Body> = objects.iter().filter_map(Body::of).collect();
    let ids: Vec<String> = bodies.iter().map(|body| body.id.to_string()).collect();
    let mut facts: HashMap<MemoryId, BodyFacts> = HashMap::new();
    for ids in ids.chunks(digest::KNOWN_MAX) {
        let answer = digest::bodies(&check.d1, ids, check.anchor.as_ref()).await;
        facts.extend(check.told(answer)?.into_iter().map(|facts| (facts.id, facts)));
    }
    let now = check.session.now();
    let lost: Vec<Body> = bodies
        .into_iter()
        .filter(|body| facts.get(&body.id).is_some_and(|f| body.is_forsaken(f, keep_for, now)))
        .collect();
    // What this device still counts on stays, whatever the database says.
    let unnamed = move |read: &Read<'_>| {
        let mut keys = Vec::new();
        for body in lost {
            let here = local_digest::one(read, &body.id)?;
            let is_named =
                here.is_some_and(|here| here.is_alive && here.r2_key.as_ref() == Some(&body.key));
            if !is_named {
                keys.push(body.key);
            }
        }
        Ok(keys)
    };
    Ok(check.session.store.read(unnamed).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::DeviceId;

    const DAY: Duration = Duration::from_hours(24);

    fn stamp(days: u64) -> Stamp {
        Stamp { ms: days * 86_400_000, counter: 0, device: DeviceId(1) }
    }

    fn at(days: u64) -> Micros {
        Micros(0).plus(DAY * u32::try_from(days).unwrap())
    }

    fn body(days: u64) -> Body {
        let key = format!("content/{}-{}.txt", MemoryId::of("x"), stamp(days));
        let listed = Listed { key, size: None, stored_at: Some(at(days)) };
        Body::of(&listed).expect("a key of memtide's")
    }

    fn facts(is_alive: bool, life: u64, text: u64) -> BodyFacts {
        BodyFacts {
            id: MemoryId::of("x"),
            is_alive,
            life_at: stamp(life),
            text_at: stamp(text),
            shown_key: None,
            is_shown: is_alive,
        }
    }

    #[test]
    fn a_body_goes_when_its_memory_is_long_deleted_or_long_has_another_text() {
        let goes =
            |body: &Body, facts: &BodyFacts, today| body.is_forsaken(facts, DAY * 30, at(today));
        assert!(!goes(&body(1), &facts(false, 10, 1), 40));
        assert!(goes(&body(1), &facts(false, 10, 1), 41));
        assert!(goes(&body(1), &facts(true, 1, 10), 41), "another text took its place");
        assert!(!goes(&body(10), &facts(true, 10, 10), 90), "it is the present text");
        // Its row has yet to come: a revival, or a newer text.
        assert!(!goes(&body(11), &facts(false, 10, 1), 90));
        assert!(!goes(&body(11), &facts(true, 1, 10), 90));
        let mut named = facts(true, 1, 10);
        named.shown_key = Some(body(1).key);
        assert!(!goes(&body(1), &named, 90), "a living row names it");
    }

    #[test]
    fn only_keys_of_memtides_form_are_looked_at() {
        let listed = |key: &str| Listed { key: key.to_owned(), size: None, stored_at: None };
        let id = MemoryId::of("x");
        for key in [
            format!("content/{id}.txt"),
            format!("content/{id}-12.txt"),
            format!("{id}-{}.txt", stamp(1)),
            format!("content/../{}.txt", stamp(1)),
        ] {
            assert!(Body::of(&listed(&key)).is_none(), "{key}");
        }
    }
}
