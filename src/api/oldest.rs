//! What `status` tells of the oldest duty to the cloud: how long it has waited, what blocks it, when it is
//! tried next. Made from the duty and from what the replicator says of the products: pure.

use crate::clock::Micros;
use crate::replicate::progress::{ProductProgress, Progress, SyncState};
use crate::store::oldest::Oldest;
use crate::store::outbox::{Entry, Product};
use serde::{Deserialize, Serialize};

/// The oldest duty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OldestJson {
    /// The memory's id.
    pub id: String,
    /// Whom it is owed to: `r2`, `d1` or `vectorize`.
    pub product: String,
    /// Seconds since it is owed.
    pub age_s: f64,
    /// What it waits for; null while nothing stands in its way.
    pub blocked_by: Option<String>,
    /// When it is tried next; null if that doesn't happen by itself.
    pub next_attempt_at: Option<String>,
}

/// Describes the oldest duty at `now`.
pub(super) fn describe(found: &Oldest, progress: &Progress, now: Micros) -> OldestJson {
    let Oldest { duty, after } = found;
    let order = after.as_ref().map(|entry| match entry.product {
        Product::R2 => "its text must reach the bucket first",
        Product::D1 | Product::Vectorize => "its row must reach the database first",
    });
    let (why, next_at) = obstacle(after.as_ref().unwrap_or(duty), progress, now);
    OldestJson {
        id: duty.id.to_string(),
        product: duty.product.as_str().to_owned(),
        age_s: now.since(duty.since).as_secs_f64(),
        blocked_by: match (order, why) {
            (Some(order), Some(why)) => Some(format!("{order}; {why}")),
            (Some(order), None) => Some(order.to_owned()),
            (None, why) => why,
        },
        next_attempt_at: next_at.map(Micros::to_rfc3339),
    }
}

/// What keeps a duty from being carried out, and when it is tried.
fn obstacle(duty: &Entry, progress: &Progress, now: Micros) -> (Option<String>, Option<Micros>) {
    let error = duty.error.as_deref().unwrap_or("no reason is known");
    match duty.state.as_str() {
        "parked" => return (Some(format!("parked: {error}")), None),
        "conflict" => return (Some(format!("in conflict: {error}")), None),
        "waiting_for_embedding" => return (Some("its vector doesn't exist yet".to_owned()), None),
        _ => {}
    }
    match progress.state {
        SyncState::Paused => return (Some("paused: syncing rests".to_owned()), None),
        SyncState::Unlinked => return (None, None),
        _ => {}
    }
    let product = decisive(duty.product, progress);
    let due_at = duty.due_at.max(now);
    if let Some(why) = trouble(product, progress) {
        return (Some(why), product.next_attempt_at.map(|at| at.max(due_at)));
    }
    if duty.due_at > now {
        let next_at = product.next_attempt_at.map_or(due_at, |at| at.max(due_at));
        let why = format!("put off after attempt {}: {error}", duty.attempts);
        return (Some(why), Some(next_at));
    }
    match product.next_attempt_at.filter(|at| *at > now) {
        Some(at) => (Some("memtide's own budget of requests is used up".to_owned()), Some(at)),
        None => (None, Some(now)),
    }
}

/// Whose state decides about a duty to `product`.
fn decisive(product: Product, progress: &Progress) -> &ProductProgress {
    // Another database than the linked one stops everything.
    let is_stopped = progress.d1.state == SyncState::Misconfigured;
    let own = match product {
        Product::R2 => &progress.r2,
        Product::D1 => &progress.d1,
        Product::Vectorize => &progress.vectorize,
    };
    if is_stopped && progress.d1.next_attempt_at.is_none() {
        &progress.d1
    } else if product == Product::Vectorize && !is_troubled(own) && is_troubled(&progress.ai) {
        // Vectors that Workers AI makes wait for it.
        &progress.ai
    } else {
        own
    }
}

fn is_troubled(product: &ProductProgress) -> bool {
    let is_fine = matches!(product.state, SyncState::Idle | SyncState::Syncing);
    !is_fine && product.last_error.is_some()
}

/// The state of a product that fails and what it said last.
fn trouble(product: &ProductProgress, progress: &Progress) -> Option<String> {
    let state = product.state.as_str();
    if is_troubled(product) {
        return product.last_error.as_ref().map(|error| format!("{state}: {error}"));
    }
    // There is no client at all.
    let needs_a_person =
        matches!(product.state, SyncState::AuthRequired | SyncState::Misconfigured);
    let (message, _) = progress.action.as_ref().filter(|_| needs_a_person)?;
    Some(format!("{state}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::MemoryId;
    use std::time::Duration;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    fn later(seconds: u64) -> Micros {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn entry(product: Product, state: &str) -> Entry {
        Entry {
            id: MemoryId::of("x"),
            product,
            generation: 1,
            state: state.to_owned(),
            attempts: 2,
            since: Micros(NOW.0 - 5_000_000),
            due_at: NOW,
            error: Some("it failed".to_owned()),
        }
    }

    fn idle() -> Progress {
        let product = ProductProgress { state: SyncState::Idle, ..ProductProgress::default() };
        Progress {
            state: SyncState::Idle,
            d1: product.clone(),
            vectorize: product.clone(),
            r2: product.clone(),
            ai: product,
            ..Progress::default()
        }
    }

    fn failing(state: SyncState, error: &str) -> ProductProgress {
        ProductProgress {
            state,
            last_error: Some(error.to_owned()),
            next_attempt_at: Some(later(30)),
            ..ProductProgress::default()
        }
    }

    fn told(
        duty: Entry,
        after: Option<Entry>,
        progress: &Progress,
    ) -> (Option<String>, Option<Micros>) {
        let told = describe(&Oldest { duty, after }, progress, NOW);
        assert!((told.age_s - 5.0).abs() < 1e-6, "{told:?}");
        (told.blocked_by, told.next_attempt_at.and_then(|at| Micros::parse_rfc3339(&at)))
    }

    fn blocked(why: &str, next_at: Option<Micros>) -> (Option<String>, Option<Micros>) {
        (Some(why.to_owned()), next_at)
    }

    #[test]
    fn nothing_blocks_what_is_due_and_served() {
        assert_eq!(told(entry(Product::D1, "due"), None, &idle()), (None, Some(NOW)));
    }

    #[test]
    fn a_failing_product_is_named_with_its_error_and_its_time() {
        let d1 = failing(SyncState::Offline, "D1: nobody answers");
        let progress = Progress { state: SyncState::Offline, d1, ..idle() };
        let why = "offline: D1: nobody answers";
        assert_eq!(told(entry(Product::D1, "due"), None, &progress), blocked(why, Some(later(30))));
        let vector = entry(Product::Vectorize, "due");
        let row = Some(entry(Product::D1, "due"));
        let why = "its row must reach the database first; offline: D1: nobody answers";
        assert_eq!(told(vector.clone(), row, &progress), blocked(why, Some(later(30))));
        assert_eq!(told(vector, None, &progress), (None, Some(NOW)), "the index is there");
        let mut late = entry(Product::D1, "due");
        late.due_at = later(60);
        let (_, next_at) = told(late, None, &progress);
        assert_eq!(next_at, Some(later(60)), "not before it is due");
    }

    #[test]
    fn vectors_wait_for_the_model_of_the_cloud() {
        let ai = failing(SyncState::Quota, "Workers AI: used up");
        let mut progress = Progress { state: SyncState::Quota, ai, ..idle() };
        progress.vectorize.state = SyncState::BackingOff;
        progress.vectorize.next_attempt_at = Some(later(30));
        let (why, next_at) = told(entry(Product::Vectorize, "due"), None, &progress);
        assert_eq!(
            (why.as_deref(), next_at),
            (Some("quota: Workers AI: used up"), Some(later(30)))
        );
    }

    #[test]
    fn what_does_not_happen_by_itself_has_no_time() {
        let progress = idle();
        let of = |product, state| told(entry(product, state), None, &progress);
        assert_eq!(of(Product::D1, "parked"), blocked("parked: it failed", None));
        assert_eq!(of(Product::D1, "conflict"), blocked("in conflict: it failed", None));
        let waiting = of(Product::Vectorize, "waiting_for_embedding");
        assert_eq!(waiting, blocked("its vector doesn't exist yet", None));
        let paused = Progress { state: SyncState::Paused, ..idle() };
        let why = "paused: syncing rests";
        assert_eq!(told(entry(Product::D1, "due"), None, &paused), blocked(why, None));
        let body = Some(entry(Product::R2, "parked"));
        let why = "its text must reach the bucket first; parked: it failed";
        assert_eq!(told(entry(Product::D1, "due"), body, &progress), blocked(why, None));
    }

    #[test]
    fn another_database_or_no_client_stops_all_products() {
        let mut progress = Progress { state: SyncState::Misconfigured, ..idle() };
        progress.d1.state = SyncState::Misconfigured;
        progress.d1.last_error = Some("another database".to_owned());
        let why = "misconfigured: another database";
        assert_eq!(told(entry(Product::Vectorize, "due"), None, &progress), blocked(why, None));
        let still = ProductProgress {
            state: SyncState::AuthRequired,
            next_attempt_at: Some(later(300)),
            ..ProductProgress::default()
        };
        let progress = Progress {
            state: SyncState::AuthRequired,
            d1: still.clone(),
            r2: still,
            action: Some(("no token".to_owned(), "give one".to_owned())),
            ..idle()
        };
        let why = "auth_required: no token";
        assert_eq!(
            told(entry(Product::R2, "due"), None, &progress),
            blocked(why, Some(later(300)))
        );
    }

    #[test]
    fn what_was_put_off_and_a_used_up_budget_say_so() {
        let mut late = entry(Product::D1, "due");
        late.due_at = later(9);
        let why = "put off after attempt 2: it failed";
        assert_eq!(told(late, None, &idle()), blocked(why, Some(later(9))));
        let mut progress = Progress { state: SyncState::BackingOff, ..idle() };
        progress.d1.state = SyncState::BackingOff;
        progress.d1.next_attempt_at = Some(later(100));
        let why = "memtide's own budget of requests is used up";
        assert_eq!(
            told(entry(Product::D1, "due"), None, &progress),
            blocked(why, Some(later(100)))
        );
    }
}
