//! What becomes of requests on their way to the account and back.

use super::account::addressed;
use super::fault::Fault;
use super::network::{Reply, Sent};
use super::property::Moment;
use super::trouble::Boundary;
use super::world::{Event, World};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response};
use memtide::emulator::outcome::Outcome;
use memtide::emulator::product::Product;
use memtide::model::id::MemoryId;
use memtide::remote::transport::TransportError;
use rand::RngExt as _;
use std::time::Duration;

/// Characters of a request's body that a trace shows.
const TRACED: usize = 3_000;

/// The product that a device's request is for; its path lacks the interface's base.
fn product(request: &Request<Bytes>) -> Product {
    Product::of_path(&format!("/client/v4{}", request.uri().path()))
}

impl World {
    /// Decides about a request that has just left its device.
    pub fn post(&mut self, sent: Sent) {
        let Sent { ticket, device, request, deadline } = sent;
        self.n_requests += 1;
        self.stir(request.uri().path().as_bytes());
        self.stir(request.body());
        self.tell(&Moment::Sent { device, product: product(&request) });
        self.note(|| {
            let body = String::from_utf8_lossy(request.body());
            let body: String = body.chars().take(TRACED).collect();
            format!("device {device} sends {ticket} {} {} {body}", request.method(), request.uri())
        });
        let late: Reply = Err(TransportError::Timeout(deadline));
        self.schedule_in(deadline, Event::Answer { ticket, device, reply: late });
        let is_away = self.offline == Some(device);
        if is_away {
            self.faults.count(Fault::MonthsOffline);
        }
        if is_away || self.faults.strikes(Fault::Refused, 25, &mut self.rng) {
            let reply = Err(TransportError::Unreachable("no way there".to_owned()));
            let after = self.millis(10..200);
            return self.schedule_in(after, Event::Answer { ticket, device, reply });
        }
        if self.faults.strikes(Fault::Dropped, 20, &mut self.rng) {
            if self.rng.random_bool(0.6) {
                let reply = Err(TransportError::Lost("the connection ended".to_owned()));
                let after = self.millis(100..15_000);
                self.schedule_in(after, Event::Answer { ticket, device, reply });
            }
            return;
        }
        let slow = self.faults.strikes(Fault::Delayed, 15, &mut self.rng);
        let after = self.millis(if slow { 1_000..60_000 } else { 10..200 });
        if self.faults.strikes(Fault::Duplicated, 25, &mut self.rng) {
            let again = self.millis(200..60_000);
            let (request, is_answered) = (request.clone(), false);
            self.schedule_in(again, Event::Arrive { ticket, device, request, is_answered });
        }
        self.schedule_in(after, Event::Arrive { ticket, device, request, is_answered: true });
    }

    /// Lets the account carry a request out.
    pub fn arrive(
        &mut self,
        ticket: u64,
        device: usize,
        request: Request<Bytes>,
        is_answered: bool,
    ) {
        let product = product(&request);
        self.trouble(product);
        let outcome = self.account.handle(&addressed(request.clone()));
        let status = outcome.status();
        self.note(|| format!("  {ticket} is carried out: {status:?}"));
        if let Outcome::Answer(answer) = &outcome {
            self.stir(answer.body());
            if product == Product::Vectorize && answer.status().is_success() {
                self.told_vectors(&request);
            }
        }
        self.look_at_cloud(product == Product::R2);
        self.crash_at(device, Boundary::CarriedOut);
        if !is_answered {
            return;
        }
        let lost = self.faults.strikes(Fault::AnswerLost, 20, &mut self.rng);
        let reply = match outcome {
            Outcome::Answer(_) if lost => match self.rng.random_range(0..3) {
                0 => return,
                1 => Err(TransportError::Lost("the connection ended".to_owned())),
                _ => Err(TransportError::Cut("the answer ended too soon".to_owned())),
            },
            Outcome::Answer(answer) => Ok(answer),
            _ => Err(TransportError::Lost("the connection ended".to_owned())),
        };
        let slow = self.faults.strikes(Fault::Delayed, 15, &mut self.rng);
        let after = self.millis(if slow { 1_000..60_000 } else { 10..200 });
        self.schedule_in(after, Event::Answer { ticket, device, reply });
    }

    /// Hands an answer to a device and lets it go on.
    pub fn deliver(&mut self, ticket: u64, device: usize, reply: Reply) {
        let wait = reply.as_ref().ok().and_then(told_wait);
        let shown = reply.as_ref().map(|answer| answer.status().as_u16()).map_err(Clone::clone);
        if !self.network.answer(ticket, reply) {
            return;
        }
        self.note(|| format!("device {device} is answered {ticket}: {shown:?}"));
        if let Some((product, is_for_all, wait)) = wait {
            self.tell(&Moment::ToldToWait { device, product, is_for_all, wait });
        }
        self.advance(device);
    }

    fn told_vectors(&mut self, request: &Request<Bytes>) {
        if !request.uri().path().ends_with("/upsert") {
            return;
        }
        let text = String::from_utf8_lossy(request.body());
        let id = |line: &str| -> Option<MemoryId> {
            let vector: serde_json::Value = serde_json::from_str(line).ok()?;
            vector["id"].as_str()?.parse().ok()
        };
        let ids: Vec<MemoryId> = text.lines().filter_map(id).collect();
        self.tell(&Moment::VectorsTaken { ids: &ids });
    }
}

/// For which product, for all of them or not, and how long an answer asks to be left alone.
fn told_wait(answer: &Response<Bytes>) -> Option<(Product, bool, Duration)> {
    if answer.status() != 429 {
        return None;
    }
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    let body: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
    let (product, is_for_all) = match body["errors"][0]["code"].as_i64()? {
        7429 => (Product::D1, false),
        40041 => (Product::Vectorize, false),
        10058 => (Product::R2, false),
        _ => (Product::D1, true),
    };
    Some((product, is_for_all, Duration::from_secs(seconds)))
}
