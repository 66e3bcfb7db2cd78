//! What the log says about the products: a line when one begins to fail, one when it works again, and
//! at most one in between for each interval.

use super::progress::SyncState;
use crate::clock::Micros;
use crate::remote::error::{Product, RemoteError};
use std::collections::BTreeMap;
use std::time::Duration;

/// The shortest time between two lines about one failing product.
const INTERVAL: Duration = Duration::from_mins(10);

struct Trouble {
    state: SyncState,
    said_at: Micros,
    failures: u64,
}

/// Remembers what was said.
#[derive(Default)]
pub(super) struct Announcer {
    troubles: BTreeMap<Product, Trouble>,
}

impl Announcer {
    /// A product failed and is in `state` since. Returns whether a line was written.
    pub(super) fn failed(&mut self, state: SyncState, error: &RemoteError, now: Micros) -> bool {
        let product = error.product;
        let before = self.troubles.get(&product);
        let failures = before.map_or(0, |trouble| trouble.failures) + 1;
        let is_news = before
            .is_none_or(|trouble| trouble.state != state || now.since(trouble.said_at) >= INTERVAL);
        let said_at = before.filter(|_| !is_news).map_or(now, |trouble| trouble.said_at);
        self.troubles.insert(product, Trouble { state, said_at, failures });
        if is_news {
            let (product, state) = (product.name(), state.as_str());
            let hint = &error.hint;
            tracing::warn!(product, state, %error, failures, %hint, "cloud sync is held up");
        }
        is_news
    }

    /// A product did what it was asked. Returns whether a line was written.
    pub(super) fn succeeded(&mut self, product: Product) -> bool {
        let Some(trouble) = self.troubles.remove(&product) else { return false };
        let failures = trouble.failures;
        tracing::info!(product = product.name(), failures, "cloud sync works again");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::error::Disposition;

    #[test]
    fn a_failing_product_is_mentioned_once_an_interval_and_when_it_works_again() {
        let mut announcer = Announcer::default();
        let error = RemoteError::local(Product::D1, Disposition::Retry, "x", "y");
        let mut said = 0;
        for minute in 0..30 {
            let now = Micros(0).plus(Duration::from_mins(minute));
            said += usize::from(announcer.failed(SyncState::BackingOff, &error, now));
        }
        assert_eq!(said, 3);
        let now = Micros(0).plus(Duration::from_mins(29));
        assert!(announcer.failed(SyncState::Offline, &error, now), "another state is news");
        assert!(!announcer.succeeded(Product::R2));
        assert!(announcer.succeeded(Product::D1));
        assert!(!announcer.succeeded(Product::D1));
    }
}
