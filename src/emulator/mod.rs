//! An in-process Cloudflare: D1, Vectorize, R2, Workers AI, tokens and throttling, behind the same
//! REST paths, envelopes, limits and error texts as the real one.
//!
//! The core, [`Cloudflare`], owns no socket, thread or timer: it takes a request and says what
//! becomes of it, with time from the clock and chance from the seed it was given, so that a
//! simulator can drive it in virtual time. [`server`] puts it on a loopback port.
//!
//! What it promises: whatever it accepts, the real service accepts, and where the service's
//! behaviour is known only from reports, the emulator takes the strictest reading. D1 is a real
//! `SQLite` with D1's limits. The conformance suite asks the emulator and Cloudflare's own engine
//! the same questions and knows the few differences by name. Faults are data: see [`faults`].
//!
//! Not here: D1 import, export and the Sessions API, R2's S3 interface and multipart uploads,
//! Vectorize's free-plan ceiling of stored dimensions (its error isn't documented).

pub mod faults;
pub mod inspect;
pub mod journal;
pub mod options;
pub mod outcome;
pub mod product;
pub mod server;
pub mod tokens;

mod ai;
mod call;
mod chance;
mod d1;
mod envelope;
mod r2;
mod throttle;
mod vectorize;

use crate::clock::{Micros, SharedClock};
use bytes::Bytes;
use call::Call;
use envelope::Failure;
use faults::{Effect, Faults, Rule, RuleId};
use http::{Request, Response};
use journal::{Entry, Journal};
use options::Options;
use outcome::Outcome;
use product::Product;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokens::Token;

/// One emulated Cloudflare account.
pub struct Cloudflare {
    clock: SharedClock,
    /// What the account was made with; [`Cloudflare::reset`] goes back to it.
    options: Options,
    seed: u64,
    up: AtomicBool,
    world: Mutex<World>,
}

/// Everything that requests change.
struct World {
    chance: chance::Chance,
    tokens: Vec<Token>,
    throttle: throttle::Throttle,
    faults: Faults,
    journal: Journal,
    d1: d1::Databases,
    vectorize: vectorize::Indexes,
    r2: r2::Buckets,
    ai: ai::Models,
}

impl World {
    fn new(clock: &SharedClock, seed: u64, options: &Options) -> Self {
        let databases = d1::Databases::new(
            Arc::clone(clock),
            options.d1_folder.clone(),
            options.limits.clone(),
        );
        Self {
            chance: chance::Chance::new(seed),
            tokens: options.tokens.clone(),
            throttle: throttle::Throttle::new(options.limits.requests_per_5min),
            faults: Faults::new(seed, options.faults.clone()),
            journal: Journal::default(),
            d1: databases,
            vectorize: vectorize::Indexes::new(options.vectorize_delay, options.limits.clone()),
            r2: r2::Buckets::new(options.r2_enabled),
            ai: ai::Models::new(seed, options.limits.neurons_per_day),
        }
    }
}

impl Cloudflare {
    /// An empty account. Equal seeds, options, clocks and requests give equal answers.
    pub fn new(clock: SharedClock, seed: u64, options: Options) -> Self {
        let world = Mutex::new(World::new(&clock, seed, &options));
        Self { clock, options, seed, up: AtomicBool::new(true), world }
    }

    /// Decides what becomes of one request. `request`'s URI is the path below the host, with
    /// `/client/v4` in front, or an absolute URL.
    pub fn handle(&self, request: &Request<Bytes>) -> Outcome {
        let mut world = self.world();
        if !self.network_is_up() {
            world.journal.count_refused();
            return Outcome::NoAnswer;
        }
        let now = self.clock.now();
        let product = Product::of_path(request.uri().path());
        let fired = world.faults.next(product, request);
        let ray = world.chance.ray();
        let outcome = match fired.effect {
            None => Outcome::Answer(world.answer(request, now, &self.options)),
            Some(effect) => world.faulty(&effect, request, now, &self.options),
        };
        let outcome = outcome.map(|response| envelope::stamped(response, now, &ray));
        world.journal.add(Entry {
            at: now,
            product,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            request_bytes: request.body().len(),
            status: outcome.status(),
            fault: fired.rule,
        });
        if fired.delay.is_zero() {
            outcome
        } else {
            Outcome::Late { after: fired.delay, then: Box::new(outcome) }
        }
    }

    /// Connects or cuts the network. While it is cut, every request ends without an answer and
    /// nothing is executed.
    pub fn set_network(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    /// Whether requests get through.
    pub fn network_is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    /// Adds a fault; rules are asked in the order in which they came.
    pub fn inject(&self, rule: Rule) -> RuleId {
        self.world().faults.add(rule)
    }

    /// How often a fault has happened.
    pub fn fired(&self, rule: RuleId) -> u64 {
        self.world().faults.fired(rule)
    }

    /// Ends all faults; their counts stay.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Replaces the tokens the account knows, for example with a revoked or a weaker one.
    pub fn set_tokens(&self, tokens: Vec<Token>) {
        self.world().tokens = tokens;
    }

    /// The options the account was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The clock the account lives by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Empties the account: data, faults, request log and counts; the network comes back.
    pub fn reset(&self) {
        let mut world = self.world();
        *world = World::new(&self.clock, self.seed, &self.options);
        self.set_network(true);
    }

    /// Counts a connection that met a dead network.
    fn count_refused(&self) {
        self.world().journal.count_refused();
    }

    /// Lets the request end that is being answered, and answers no other while the value lives.
    pub fn still(&self) -> Still<'_> {
        Still(self.world())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic in a test's thread must not hide the state from the assertion that follows.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account that stands still.
pub struct Still<'a>(#[expect(dead_code, reason = "it is held, not read")] MutexGuard<'a, World>);

impl World {
    fn answer(
        &mut self,
        request: &Request<Bytes>,
        now: Micros,
        options: &Options,
    ) -> Response<Bytes> {
        self.route(request, now, options).unwrap_or_else(Failure::into_response)
    }

    fn faulty(
        &mut self,
        effect: &Effect,
        request: &Request<Bytes>,
        now: Micros,
        options: &Options,
    ) -> Outcome {
        match effect {
            Effect::Drop => Outcome::NoAnswer,
            Effect::LoseAnswer => {
                self.answer(request, now, options);
                Outcome::NoAnswer
            }
            Effect::CutAnswer { keep } => {
                let whole = self.answer(request, now, options);
                let keep = (*keep).min(whole.body().len().saturating_sub(1));
                Outcome::CutAnswer(whole, keep)
            }
            Effect::DropMutation => {
                self.vectorize.drop_changes(true);
                let answer = self.answer(request, now, options);
                self.vectorize.drop_changes(false);
                Outcome::Answer(answer)
            }
            Effect::Delay(_) => Outcome::Answer(self.answer(request, now, options)),
            Effect::Reply { executed, reply } => {
                if *executed {
                    self.answer(request, now, options);
                }
                Outcome::Answer(reply.response(now))
            }
        }
    }

    fn route(
        &mut self,
        request: &Request<Bytes>,
        now: Micros,
        options: &Options,
    ) -> Result<Response<Bytes>, Failure> {
        let mut call = Call::parse(request, now)?;
        let identity = tokens::identify(&self.tokens, &call);
        self.throttle.admit(identity.as_ref().ok().copied(), now)?;
        let segments: Vec<String> = call.segments.clone();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["user", "tokens", "verify"] => tokens::verify(&call, identity, tokens::Kind::User),
            ["accounts", _, "tokens", "verify"] => {
                tokens::verify(&call, identity, tokens::Kind::Account)
            }
            ["accounts", account, product, rest @ ..] => {
                call.grants = identity?.permissions.clone();
                if *account != options.account_id {
                    return Err(tokens::wrong_account(product));
                }
                let chance = &mut self.chance;
                match (*product, rest) {
                    ("d1", ["database", rest @ ..]) => self.d1.route(&call, rest, chance),
                    ("vectorize", ["v2", "indexes", rest @ ..]) => {
                        self.vectorize.route(&call, rest, chance)
                    }
                    ("r2", ["buckets", rest @ ..]) => self.r2.route(&call, rest, chance),
                    ("ai", ["run", model @ ..]) => self.ai.route(&call, &model.join("/")),
                    _ => Err(call.no_route()),
                }
            }
            _ => Err(call.no_route()),
        }
    }
}

#[cfg(test)]
mod tests;
