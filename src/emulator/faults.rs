//! Faults as data: which request, how often, and what goes wrong.
//!
//! ```
//! use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
//! use memtide::emulator::product::Product;
//!
//! // The first two D1 queries are throttled, the third gets no answer although it is executed.
//! let throttled = Rule::new(Effect::reply(Reply::throttled(10429, RetryAfter::Seconds(2))))
//!     .on(Product::D1)
//!     .path("/query")
//!     .times(2);
//! let lost = Rule::new(Effect::LoseAnswer).on(Product::D1).path("/query").times(1);
//! # let _ = (throttled, lost);
//! ```

use super::envelope::{self, Failure, http_date};
use super::product::Product;
use crate::clock::Micros;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The connection ends before anything is executed.
    Drop,
    /// The request is executed, then the connection ends without an answer.
    LoseAnswer,
    /// The request is executed; only `keep` bytes of the body arrive, fewer than were promised.
    CutAnswer {
        /// Bytes that arrive.
        keep: usize,
    },
    /// Another answer than the service's own arrives.
    Reply {
        /// Whether the request was executed all the same.
        executed: bool,
        /// The answer.
        reply: Reply,
    },
    /// A change of a vector index is accepted, answered and then dropped without a word. Other requests
    /// are executed as always.
    DropMutation,
    /// The request is executed, and its answer comes late. Goes together with other rules.
    Delay(Duration),
}

impl Effect {
    /// Answers in the service's stead; nothing is executed.
    pub fn reply(reply: Reply) -> Self {
        Self::Reply { executed: false, reply }
    }

    /// Executes the request, and answers something else.
    pub fn reply_after_execution(reply: Reply) -> Self {
        Self::Reply { executed: true, reply }
    }
}

/// A `Retry-After` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// No such header.
    Absent,
    /// Whole seconds.
    Seconds(u64),
    /// An HTTP date that lies this far ahead.
    Date(Duration),
}

/// An answer that a fault gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// What the body holds.
    pub body: ReplyBody,
    /// The header that says when to come back.
    pub retry_after: RetryAfter,
}

/// The body of an answer that a fault gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyBody {
    /// The API's envelope with one error.
    Envelope {
        /// Cloudflare's error code.
        code: u32,
        /// Its text.
        message: String,
    },
    /// A page from a proxy in between.
    Html,
    /// This text, called JSON by its header.
    Text(String),
}

impl Reply {
    /// An error in the API's own form.
    pub fn error(status: u16, code: u32, message: &str) -> Self {
        let body = ReplyBody::Envelope { code, message: message.to_owned() };
        Self { status, body, retry_after: RetryAfter::Absent }
    }

    /// 429 with one of the codes seen with it: 971, 10429, 10013, 40041, 10058, 7429, 3040, 3036.
    pub fn throttled(code: u32, retry_after: RetryAfter) -> Self {
        let mut reply = Self::error(429, code, "Rate limited. Please wait and try again");
        reply.retry_after = retry_after;
        reply
    }

    /// A page of HTML, as 500, 502, 503 and 520 bring it.
    pub fn html(status: u16) -> Self {
        Self { status, body: ReplyBody::Html, retry_after: RetryAfter::Absent }
    }

    /// A success that isn't JSON.
    pub fn not_json() -> Self {
        Self {
            status: 200,
            body: ReplyBody::Text("upstream said nothing".to_owned()),
            retry_after: RetryAfter::Absent,
        }
    }

    pub(super) fn response(&self, now: Micros) -> Response<Bytes> {
        let mut response = match &self.body {
            ReplyBody::Envelope { code, message } => {
                Failure::new(self.status, *code, message.clone()).into_response()
            }
            ReplyBody::Html => {
                let page = format!(
                    "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>Error {0}</h1></body></html>",
                    self.status
                );
                envelope::with_body(self.status, "text/html; charset=UTF-8", Bytes::from(page))
            }
            ReplyBody::Text(text) => {
                envelope::with_body(self.status, "application/json", Bytes::from(text.clone()))
            }
        };
        match self.retry_after {
            RetryAfter::Absent => {}
            RetryAfter::Seconds(seconds) => {
                envelope::insert(&mut response, RETRY_AFTER, &seconds.to_string());
            }
            RetryAfter::Date(ahead) => {
                envelope::insert(&mut response, RETRY_AFTER, &http_date(now.plus(ahead)));
            }
        }
        response
    }
}

/// Which requests meet a fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    effect: Effect,
    product: Option<Product>,
    method: Option<Method>,
    path: Option<String>,
    body: Option<String>,
    skip: u64,
    times: Option<u64>,
    chance: f64,
}

impl Rule {
    /// Every request, for ever; the methods below narrow it.
    pub fn new(effect: Effect) -> Self {
        Self {
            effect,
            product: None,
            method: None,
            path: None,
            body: None,
            skip: 0,
            times: None,
            chance: 1.0,
        }
    }

    /// Only requests to `product`.
    #[must_use]
    pub fn on(mut self, product: Product) -> Self {
        self.product = Some(product);
        self
    }

    /// Only requests with `method`.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only requests whose path or query contains `fragment`.
    #[must_use]
    pub fn path(mut self, fragment: &str) -> Self {
        self.path = Some(fragment.to_owned());
        self
    }

    /// Only requests whose body contains `fragment`.
    #[must_use]
    pub fn body(mut self, fragment: &str) -> Self {
        self.body = Some(fragment.to_owned());
        self
    }

    /// Lets the first `n` matching requests through.
    #[must_use]
    pub fn skip(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Happens `n` times at most.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    /// Happens to a matching request with this probability, 0 to 1.
    #[must_use]
    pub fn chance(mut self, probability: f64) -> Self {
        self.chance = probability;
        self
    }

    fn matches(&self, product: Product, request: &Request<Bytes>) -> bool {
        let target = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        self.product.is_none_or(|wanted| wanted == product)
            && self.method.as_ref().is_none_or(|wanted| wanted == request.method())
            && self.path.as_ref().is_none_or(|fragment| target.contains(fragment.as_str()))
            && self.body.as_ref().is_none_or(|fragment| contains(request.body(), fragment))
    }
}

fn contains(body: &[u8], fragment: &str) -> bool {
    fragment.is_empty() || body.windows(fragment.len()).any(|window| window == fragment.as_bytes())
}

/// Names a rule, to ask how often it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(usize);

/// What the rules say about one request.
pub(super) struct Fired {
    pub(super) effect: Option<Effect>,
    pub(super) rule: Option<RuleId>,
    pub(super) delay: Duration,
}

pub(super) struct Faults {
    rng: ChaCha8Rng,
    rules: Vec<Live>,
}

struct Live {
    rule: Rule,
    seen: u64,
    fired: u64,
    ended: bool,
}

impl Faults {
    pub(super) fn new(seed: u64, rules: Vec<Rule>) -> Self {
        // Another stream than the one that makes ids, so that a rule doesn't change them.
        let mut faults =
            Self { rng: ChaCha8Rng::seed_from_u64(seed ^ 0xFA_u64), rules: Vec::new() };
        for rule in rules {
            faults.add(rule);
        }
        faults
    }

    pub(super) fn add(&mut self, rule: Rule) -> RuleId {
        self.rules.push(Live { rule, seen: 0, fired: 0, ended: false });
        RuleId(self.rules.len() - 1)
    }

    pub(super) fn fired(&self, id: RuleId) -> u64 {
        self.rules.get(id.0).map_or(0, |live| live.fired)
    }

    pub(super) fn clear(&mut self) {
        for live in &mut self.rules {
            live.ended = true;
        }
    }

    /// Takes the first rule that has something to say, and every delay before it.
    pub(super) fn next(&mut self, product: Product, request: &Request<Bytes>) -> Fired {
        let mut fired = Fired { effect: None, rule: None, delay: Duration::ZERO };
        for (index, live) in self.rules.iter_mut().enumerate() {
            if live.ended
                || live.rule.times.is_some_and(|times| live.fired >= times)
                || !live.rule.matches(product, request)
            {
                continue;
            }
            live.seen += 1;
            if live.seen <= live.rule.skip
                || (live.rule.chance < 1.0 && self.rng.random::<f64>() >= live.rule.chance)
            {
                continue;
            }
            live.fired += 1;
            fired.rule = Some(RuleId(index));
            if let Effect::Delay(delay) = live.rule.effect {
                fired.delay += delay;
                continue;
            }
            fired.effect = Some(live.rule.effect.clone());
            break;
        }
        fired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, body: &str) -> Request<Bytes> {
        Request::builder().method("POST").uri(path).body(Bytes::from(body.to_owned())).unwrap()
    }

    #[test]
    fn a_rule_skips_fires_and_ends() {
        let mut faults = Faults::new(1, Vec::new());
        let id = faults.add(Rule::new(Effect::Drop).path("/query").skip(1).times(2));
        let hits: Vec<bool> = (0..5)
            .map(|_| faults.next(Product::D1, &request("/x/query", "")).effect.is_some())
            .collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert_eq!(faults.fired(id), 2);
        assert!(faults.next(Product::D1, &request("/x/raw", "")).effect.is_none());
    }

    #[test]
    fn a_delay_goes_together_with_another_fault() {
        let mut faults = Faults::new(1, Vec::new());
        let late = faults.add(Rule::new(Effect::Delay(Duration::from_secs(3))));
        let lost = faults.add(Rule::new(Effect::LoseAnswer).body("poison"));
        let fired = faults.next(Product::D1, &request("/", "a poison pill"));
        assert_eq!(fired.delay, Duration::from_secs(3));
        assert_eq!(fired.effect, Some(Effect::LoseAnswer));
        assert_eq!((faults.fired(late), faults.fired(lost)), (1, 1));
        faults.clear();
        assert!(faults.next(Product::D1, &request("/", "a poison pill")).delay.is_zero());
    }

    #[test]
    fn chance_is_neither_never_nor_always() {
        let mut faults = Faults::new(1, Vec::new());
        let id = faults.add(Rule::new(Effect::Drop).chance(0.3));
        for _ in 0..1000 {
            faults.next(Product::R2, &request("/", ""));
        }
        assert!((200..400).contains(&faults.fired(id)), "fired {} times", faults.fired(id));
    }

    #[test]
    fn retry_after_takes_every_form() {
        let now = Micros(784_111_777_000_000);
        let header = |retry_after| {
            let response = Reply::throttled(971, retry_after).response(now);
            response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(header(RetryAfter::Absent), None);
        assert_eq!(header(RetryAfter::Seconds(7)).as_deref(), Some("7"));
        let date = header(RetryAfter::Date(Duration::from_mins(1)));
        assert_eq!(date.as_deref(), Some("Sun, 06 Nov 1994 08:50:37 GMT"));
    }
}
