//! What the log says about trouble: a line when it begins, one when it is over, and at most one in between
//! for each interval and state. A network that is away is one trouble, however many products need it.

use super::progress::SyncState;
use super::session::ConnectError;
use crate::clock::Micros;
use crate::remote::error::{Product, RemoteError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The shortest time between two lines about one trouble in one state.
const INTERVAL: Duration = Duration::from_mins(10);

/// What can be in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// The making of a client: no token, an unusable link.
    Link,
    /// What all products are reached by.
    Network,
    Product(Product),
}

#[derive(Default)]
struct Trouble {
    /// When each state was last mentioned.
    said_at: BTreeMap<&'static str, Micros>,
    failures: u64,
    /// Who met it.
    products: BTreeSet<Product>,
}

impl Trouble {
    /// Counts a failure. Returns whether it is to be mentioned.
    fn count(&mut self, state: SyncState, now: Micros) -> bool {
        self.failures += 1;
        // What was said in the future was said under a clock that was set back since.
        let is_recent = |at: &Micros| now.since(*at) < INTERVAL && at.since(now) < INTERVAL;
        let is_news = !self.said_at.get(state.as_str()).is_some_and(is_recent);
        if is_news {
            self.said_at.insert(state.as_str(), now);
        }
        is_news
    }
}

/// Remembers what was said.
#[derive(Default)]
pub(super) struct Announcer {
    troubles: BTreeMap<Subject, Trouble>,
}

impl Announcer {
    /// A product failed and is in `state` since. Returns whether a line was written.
    pub(super) fn failed(&mut self, state: SyncState, error: &RemoteError, now: Micros) -> bool {
        let product = error.product;
        let is_network = state == SyncState::Offline;
        let subject = if is_network { Subject::Network } else { Subject::Product(product) };
        let trouble = self.troubles.entry(subject).or_default();
        trouble.products.insert(product);
        let is_news = trouble.count(state, now);
        if is_news {
            let (product, state, failures) = (product.name(), state.as_str(), trouble.failures);
            let hint = &error.hint;
            tracing::warn!(product, state, %error, failures, %hint, "cloud sync is held up");
        }
        is_news
    }

    /// A product did what it was asked. Returns whether a line was written.
    pub(super) fn succeeded(&mut self, product: Product) -> bool {
        let over = self.troubles.extract_if(.., |subject, trouble| {
            *subject != Subject::Link && trouble.products.contains(&product)
        });
        let failures: u64 = over.map(|(_, trouble)| trouble.failures).sum();
        if failures > 0 {
            tracing::info!(product = product.name(), failures, "cloud sync works again");
        }
        failures > 0
    }

    /// There is no client for the linked account. Returns whether a line was written.
    pub(super) fn unconnected(&mut self, error: &ConnectError, now: Micros) -> bool {
        let is_news = self.troubles.entry(Subject::Link).or_default().count(error.state, now);
        if is_news {
            tracing::warn!(%error, next_step = error.next_step, "cloud sync can't start");
        }
        is_news
    }

    /// There is a client. Returns whether a line was written.
    pub(super) fn connected(&mut self) -> bool {
        let over = self.troubles.remove(&Subject::Link);
        if let Some(Trouble { failures, .. }) = over {
            tracing::info!(failures, "cloud sync can start");
        }
        over.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::error::Disposition;

    fn error(product: Product) -> RemoteError {
        RemoteError::local(product, Disposition::Retry, "x", "y")
    }

    fn at(minute: u64) -> Micros {
        Micros(0).plus(Duration::from_mins(minute))
    }

    #[test]
    fn a_failing_product_is_mentioned_once_an_interval_and_when_it_works_again() {
        let mut announcer = Announcer::default();
        let error = error(Product::D1);
        let mut said = 0;
        for minute in 0..30 {
            said += usize::from(announcer.failed(SyncState::BackingOff, &error, at(minute)));
        }
        assert_eq!(said, 3);
        assert!(announcer.failed(SyncState::Offline, &error, at(29)), "another state is news");
        assert!(!announcer.failed(SyncState::BackingOff, &error, at(29)), "not each time");
        assert!(!announcer.failed(SyncState::Offline, &error, at(29)));
        assert!(!announcer.succeeded(Product::R2));
        assert!(announcer.succeeded(Product::D1));
        assert!(!announcer.succeeded(Product::D1));
    }

    #[test]
    fn a_network_that_is_away_is_one_trouble() {
        let mut announcer = Announcer::default();
        let fails = |announcer: &mut Announcer, product| {
            announcer.failed(SyncState::Offline, &error(product), at(0))
        };
        assert!(fails(&mut announcer, Product::D1));
        assert!(!fails(&mut announcer, Product::R2));
        assert!(!fails(&mut announcer, Product::Vectorize));
        assert!(announcer.succeeded(Product::Vectorize));
        assert!(!announcer.succeeded(Product::D1));
        assert!(fails(&mut announcer, Product::D1), "another one");
    }

    #[test]
    fn a_link_without_a_client_is_mentioned_as_rarely() {
        let mut announcer = Announcer::default();
        let error = ConnectError {
            state: SyncState::AuthRequired,
            message: "no token".to_owned(),
            next_step: "give one".to_owned(),
        };
        let said = (0..30).filter(|n| announcer.unconnected(&error, at(*n))).count();
        assert_eq!(said, 3);
        assert!(!announcer.succeeded(Product::D1));
        assert!(announcer.connected());
        assert!(!announcer.connected());
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let mut announcer = Announcer::default();
        let error = error(Product::D1);
        assert!(announcer.failed(SyncState::BackingOff, &error, at(1000)));
        assert!(announcer.failed(SyncState::BackingOff, &error, at(0)));
    }
}
