//! Whoever works at a device: stores, edits, deletes and brings back, always of the same few texts, so
//! that devices meet in them.

use super::device::Device;
use super::view::Local;
use memtide::model::draft::{Author, Draft, Patch};
use memtide::model::id::MemoryId;
use memtide::model::refusal::Refusal;
use memtide::store::error::StoreError;
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};

/// Bytes that a text may have here.
const TEXT_MAX: usize = 10_000;

/// The text with this number. Every third is so long that it goes to the bucket.
pub fn text(number: usize) -> String {
    if number % 3 == 2 {
        format!("long note {number} {}", "with many words ".repeat(20))
    } else {
        format!("note {number}")
    }
}

/// The name of a text with this number.
pub fn id(number: usize) -> MemoryId {
    MemoryId::of(&text(number))
}

pub fn some_tags(rng: &mut impl Rng) -> Vec<String> {
    (0..rng.random_range(0..3)).map(|_| format!("tag{}", rng.random_range(0..4))).collect()
}

/// Partial metadata: one key, never one that memtide gives a meaning.
pub fn some_metadata(rng: &mut impl Rng, who: &str) -> Value {
    json!({format!("key{}", rng.random_range(0..3)): format!("{who} {}", rng.random_range(0..100))})
}

fn author() -> Author {
    Author { client: "person".to_owned() }
}

/// Makes one change; says which, for the trace. With `wants_long` it stores a long text.
pub fn act(
    device: &Device,
    seen: &Local,
    n_texts: usize,
    wants_long: bool,
    rng: &mut impl Rng,
) -> String {
    let number = rng.random_range(0..n_texts);
    let memory = id(number);
    let is_alive = seen.memories.get(&memory).is_some_and(|one| one.state.is_alive());
    let is_known = seen.memories.contains_key(&memory);
    let (what, done) = match rng.random_range(0..12) {
        _ if wants_long => {
            let number = 2 + 3 * rng.random_range(0..n_texts.div_ceil(3));
            let shout =
                text(number).replace("many", if rng.random_bool(0.5) { "MANY" } else { "Many" });
            (format!("stores {number} anew"), store(device, shout, rng))
        }
        0..=2 => (format!("stores {number}"), store(device, text(number), rng)),
        3 => (
            format!("stores {number} in capitals"),
            store(device, text(number).to_uppercase(), rng),
        ),
        _ if !is_alive && is_known && rng.random_bool(0.3) => {
            (format!("restores {number}"), device.restore(memory))
        }
        _ if !is_alive => (format!("stores {number}"), store(device, text(number), rng)),
        4..=5 => {
            let tags = some_tags(rng);
            (format!("retags {number} {tags:?}"), patch(device, memory, None, Some(&tags), None))
        }
        6..=7 => {
            let metadata = if rng.random_bool(0.2) {
                json!({format!("key{}", rng.random_range(0..3)): null})
            } else {
                some_metadata(rng, "person")
            };
            let what = format!("annotates {number} {metadata}");
            (what, patch(device, memory, None, None, Some(&metadata)))
        }
        8 => {
            let successor = text(rng.random_range(0..n_texts));
            let what = format!("rewrites {number} as {successor:.12}");
            (what, patch(device, memory, Some(successor), None, None))
        }
        _ => (format!("deletes {number}"), device.delete(memory)),
    };
    match done {
        Ok(()) => what,
        // A case variant may be the text that is there already.
        Err(
            StoreError::NotFound(_)
            | StoreError::ContentDropped(_)
            | StoreError::Refused(Refusal::NothingToChange),
        ) => {
            format!("{what}: nothing to do")
        }
        Err(error) => panic!("device {} {what}: {error}", device.make.number),
    }
}

fn store(device: &Device, text: String, rng: &mut impl Rng) -> Result<(), StoreError> {
    let tags = some_tags(rng);
    let metadata = rng.random_bool(0.4).then(|| some_metadata(rng, "person"));
    let kind = rng.random_bool(0.2).then_some("decision");
    let draft = Draft::check(text, &tags, kind, metadata.as_ref(), author(), TEXT_MAX).unwrap();
    device.store(draft).map(|_| ())
}

fn patch(
    device: &Device,
    memory: MemoryId,
    text: Option<String>,
    tags: Option<&[String]>,
    metadata: Option<&Value>,
) -> Result<(), StoreError> {
    let patch = Patch::check(text, tags, None, metadata, author(), TEXT_MAX).unwrap();
    device.update(memory, patch).map(|_| ())
}
