//! Whether the account is left alone for as long as it asks, judged from the requests that were met.

use crate::chaos::{Chaos, Passage};
use crate::device::Device;
use crate::load;
use memtide::clock::Micros;
use memtide::emulator::product::Product;
use serde_json::Value;

/// A gate that a throttle had shut, as the database had it when a run of the daemon was over.
#[derive(Debug, Clone, Copy)]
pub struct ShutGate {
    life: usize,
    product: Product,
    until: Micros,
}

/// What the database remembers under a name.
fn remembered(device: &Device, name: &str) -> Option<Value> {
    let conn = load::snapshot(&device.home.database());
    let text =
        load::texts(&conn, "SELECT value FROM replicator_state WHERE name = ?1", [name]).pop()?;
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// How many requests from this instant on are written down as sent.
pub fn n_counted(device: &Device, from: Micros) -> usize {
    let Some(sent) = remembered(device, "budget") else { return 0 };
    let sent = sent.as_array().expect("instants");
    sent.iter().filter(|at| at.as_i64().expect("an instant") >= from.0).count()
}

/// The gates that are written down as shut by a throttle.
pub fn shut_gates(device: &Device) -> Vec<ShutGate> {
    let Some(gates) = remembered(device, "breakers") else { return Vec::new() };
    let life = device.chaos.life();
    let gate = |product: Product| {
        let until = gates[product.as_str()]["quiet_until"].as_i64();
        until.map(|until| ShutGate { life, product, until: Micros(until) })
    };
    [Product::D1, Product::R2, Product::Vectorize].into_iter().filter_map(gate).collect()
}

/// No later run sent anything through a gate that was written down as shut.
pub fn check_gates(chaos: &Chaos, gates: &[ShutGate]) {
    let passages = chaos.passages();
    for gate in gates {
        let is_early = |one: &&Passage| {
            one.product == gate.product && one.life > gate.life && one.at < gate.until
        };
        let early: Vec<&Passage> = passages.iter().filter(is_early).collect();
        assert!(early.is_empty(), "{gate:?} did not keep back {early:?}");
    }
}

/// Within one run of the daemon no request came before the time was over that an answer had named. Where
/// it spoke for the whole account, a request to each other product may have been on its way. Returns how
/// many such answers there were, by product.
pub fn check_retry_after(chaos: &Chaos) -> Vec<(Product, usize)> {
    let passages = chaos.passages();
    let mut told = vec![(Product::D1, 0), (Product::R2, 0), (Product::Vectorize, 0)];
    for (n, throttled) in passages.iter().enumerate() {
        let Some(answer) = throttled.told else { continue };
        let later = passages[n + 1..].iter();
        let early: Vec<&Passage> =
            later.filter(|one| one.life == throttled.life && one.at < answer.until).collect();
        for (product, n_told) in &mut told {
            let is_own = throttled.product == *product;
            *n_told += usize::from(is_own);
            let most = usize::from(!is_own);
            let n_early = early.iter().filter(|one| one.product == *product).count();
            let is_kept_back = is_own || answer.every_product;
            assert!(!is_kept_back || n_early <= most, "{throttled:?} was followed by {early:?}");
        }
    }
    told
}
