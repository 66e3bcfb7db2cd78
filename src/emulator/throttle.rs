//! The client API's ceiling: so many calls in five minutes, then none for five minutes.

use super::envelope::Failure;
use super::tokens::{Kind, Token};
use crate::clock::Micros;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Both the window in which calls are counted and the length of the block.
const WINDOW: Duration = Duration::from_mins(5);

/// Counts calls for each token's owner: all tokens of a person share one budget, each account
/// token has its own.
pub(super) struct Throttle {
    limit: Option<u32>,
    owners: BTreeMap<String, Owner>,
}

#[derive(Default)]
struct Owner {
    calls: VecDeque<Micros>,
    blocked_until: Option<Micros>,
}

impl Throttle {
    pub(super) fn new(limit: Option<u32>) -> Self {
        Self { limit, owners: BTreeMap::new() }
    }

    /// Counts one call. Calls without a known token have no owner to count for.
    pub(super) fn admit(&mut self, token: Option<&Token>, now: Micros) -> Result<(), Failure> {
        let (Some(limit), Some(token)) = (self.limit, token) else { return Ok(()) };
        let name = match token.kind {
            Kind::User => "user".to_owned(),
            Kind::Account => token.id(),
        };
        let owner = self.owners.entry(name).or_default();
        if owner.blocked_until.is_some_and(|until| until <= now) {
            *owner = Owner::default();
        }
        if owner.blocked_until.is_none() {
            while owner.calls.front().is_some_and(|at| at.plus(WINDOW) <= now) {
                owner.calls.pop_front();
            }
            owner.calls.push_back(now);
            if owner.calls.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
                owner.blocked_until = Some(now.plus(WINDOW));
            }
        }
        match owner.blocked_until {
            None => Ok(()),
            Some(until) => {
                let wait = until.since(now);
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let text = "Please wait and consider throttling your request speed";
                Err(Failure::new(429, 971, text).retry_after(seconds))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_too_many_blocks_for_five_minutes() {
        let mut throttle = Throttle::new(Some(3));
        let token = Token::user("t");
        let at = |s: i64| Micros(s * 1_000_000);
        for s in 0..3 {
            assert!(throttle.admit(Some(&token), at(s)).is_ok());
        }
        let refusal = throttle.admit(Some(&token), at(10)).unwrap_err().into_response();
        assert_eq!(refusal.status(), 429);
        assert_eq!(refusal.headers()["retry-after"], "300");
        let refusal = throttle.admit(Some(&token), at(309)).unwrap_err().into_response();
        assert_eq!(refusal.headers()["retry-after"], "1");
        assert!(throttle.admit(Some(&Token::account("a")), at(309)).is_ok(), "another budget");
        assert!(throttle.admit(Some(&token), at(310)).is_ok(), "the block is over");
    }

    #[test]
    fn the_window_slides() {
        let mut throttle = Throttle::new(Some(2));
        let token = Token::user("t");
        for s in [0, 200, 301, 501, 602] {
            assert!(throttle.admit(Some(&token), Micros(s * 1_000_000)).is_ok(), "at {s} s");
        }
    }
}
