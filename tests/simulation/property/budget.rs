//! I13: no device sends more than its budget, and none sends while it was told to wait.

use super::{Moment, Property, View};
use memtide::clock::Micros;
use memtide::emulator::product::Product;
use memtide::remote::budget::{IN_FLIGHT, WINDOW};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Clocks that are set make waits shorter or longer; those of the budget are measured without.
pub struct TheBudgetIsKept {
    sent: Vec<VecDeque<Micros>>,
    waits: Vec<BTreeMap<Product, Micros>>,
    /// Requests that a crash may have made the device forget.
    forgotten: Vec<usize>,
    requests: usize,
    clocks_jump: bool,
}

const PRODUCTS: [Product; 4] = [Product::D1, Product::Vectorize, Product::R2, Product::Ai];

impl TheBudgetIsKept {
    pub fn new(n_devices: usize, requests: usize, clocks_jump: bool) -> Self {
        Self {
            sent: vec![VecDeque::new(); n_devices],
            waits: vec![BTreeMap::new(); n_devices],
            forgotten: vec![0; n_devices],
            requests,
            clocks_jump,
        }
    }
}

impl Property for TheBudgetIsKept {
    fn name(&self) -> &'static str {
        "the_budget_is_kept"
    }

    fn see(&mut self, moment: &Moment<'_>, view: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::Crashed { device, .. } => {
                // What wasn't written down yet is forgotten: the requests under way, and a wait that
                // an answer told just then.
                self.forgotten[*device] += IN_FLIGHT;
                self.waits[*device].clear();
            }
            Moment::Replaced { device, .. } => {
                self.sent[*device].clear();
                self.waits[*device].clear();
            }
            Moment::ToldToWait { device, product, is_for_all, wait } => {
                // One second of grace for what is rounded.
                let until = view.now.plus(wait.saturating_sub(Duration::from_secs(1)));
                let products = PRODUCTS.into_iter().filter(|one| *is_for_all || one == product);
                for product in products {
                    let known = self.waits[*device].entry(product).or_insert(until);
                    *known = (*known).max(until);
                }
            }
            Moment::Sent { device, product } if !self.clocks_jump => {
                if let Some(until) = self.waits[*device].get(product)
                    && view.now < *until
                {
                    let early = until.since(view.now);
                    return Err(format!("device {device} asked {product} {early:?} too early"));
                }
                let sent = &mut self.sent[*device];
                sent.push_back(view.now);
                while sent.front().is_some_and(|at| view.now.since(*at) >= WINDOW) {
                    sent.pop_front();
                }
                let allowed = self.requests + self.forgotten[*device];
                if sent.len() > allowed {
                    return Err(format!(
                        "device {device} sent {} requests in five minutes",
                        sent.len()
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
