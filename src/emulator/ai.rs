//! Workers AI: the embedding models under `/accounts/{a}/ai/run/{model}`.
//!
//! The vectors are made up: each word has a random direction of its own, drawn from the seed, the
//! model, the pooling and the word, and a text's vector is the sum over its words. So texts that
//! share words are near, equal texts are equal, and `mean` and `cls` are different spaces, as
//! they are in the service. They aren't of length 1: whether the service's are is not documented,
//! so a caller has to make sure.

use super::call::Call;
use super::envelope::{self, Failure};
use super::tokens::Permission;
use crate::clock::Micros;
use bytes::Bytes;
use http::{Method, Response};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Texts of one call. Documented.
const TEXTS: usize = 100;
/// Words of a text that count: the models' window of 512 tokens, taking a word for a token.
const WINDOW: usize = 512;
/// Neurons that a million tokens cost. Documented.
const NEURONS_PER_MILLION: u64 = 6_058;

/// The models that the account can run.
pub(super) struct Models {
    seed: u64,
    neurons_per_day: Option<u64>,
    day: i64,
    tokens_today: u64,
}

#[derive(Deserialize)]
struct Ask {
    text: Texts,
    #[serde(default)]
    pooling: Pooling,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pooling {
    #[default]
    Mean,
    Cls,
}

impl Pooling {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

impl Models {
    pub(super) fn new(seed: u64, neurons_per_day: Option<u64>) -> Self {
        Self { seed, neurons_per_day, day: 0, tokens_today: 0 }
    }

    /// Neurons spent since the last midnight in UTC.
    pub(super) fn neurons_today(&self) -> u64 {
        self.tokens_today * NEURONS_PER_MILLION / 1_000_000
    }

    pub(super) fn route(
        &mut self,
        call: &Call<'_>,
        model: &str,
    ) -> Result<Response<Bytes>, Failure> {
        call.need(Permission::AiRead)?;
        if call.method != Method::POST {
            return Err(call.no_method());
        }
        let dimensions = match model {
            "@cf/baai/bge-small-en-v1.5" => 384,
            "@cf/baai/bge-base-en-v1.5" => 768,
            "@cf/baai/bge-large-en-v1.5" => 1024,
            _ => return Err(Failure::new(400, 5007, format!("No such model {model} or task"))),
        };
        let ask: Ask = call.json().map_err(|error| bad_input(&error.to_string()))?;
        let texts = match ask.text {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        };
        if texts.is_empty() || texts.len() > TEXTS {
            let text = format!("text: 1 to {TEXTS} items, got {}", texts.len());
            return Err(bad_input(&text));
        }
        if texts.iter().any(String::is_empty) {
            return Err(bad_input("text: every item takes at least 1 character"));
        }
        self.spend(&texts, call.now)?;
        let data: Vec<Vec<f32>> =
            texts.iter().map(|text| self.embedded(text, model, ask.pooling, dimensions)).collect();
        Ok(envelope::success(json!({
            "shape": [data.len(), dimensions],
            "data": data,
            "pooling": ask.pooling.as_str(),
        })))
    }

    fn spend(&mut self, texts: &[String], now: Micros) -> Result<(), Failure> {
        let day = now.0.div_euclid(86_400_000_000);
        if day != self.day {
            (self.day, self.tokens_today) = (day, 0);
        }
        if self.neurons_per_day.is_some_and(|limit| self.neurons_today() >= limit) {
            let text = "you have used up your daily free allocation of 10,000 neurons";
            return Err(Failure::new(429, 3036, text));
        }
        let tokens: usize =
            texts.iter().map(|text| text.split_whitespace().count().clamp(1, WINDOW)).sum();
        self.tokens_today += tokens as u64;
        Ok(())
    }

    fn embedded(&self, text: &str, model: &str, pooling: Pooling, dimensions: usize) -> Vec<f32> {
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let mut counts = BTreeMap::<&str, f32>::new();
        for word in words.take(WINDOW) {
            *counts.entry(word).or_default() += 1.0;
        }
        if counts.is_empty() {
            // A text of signs only has a direction too.
            counts.insert(text, 1.0);
        }
        let mut sum = vec![0.0_f32; dimensions];
        for (word, count) in counts {
            let mut hash = Sha256::new();
            for part in [model, pooling.as_str(), word] {
                hash.update(part.as_bytes());
                hash.update([0]);
            }
            hash.update(self.seed.to_le_bytes());
            let mut direction = ChaCha8Rng::from_seed(hash.finalize().into());
            for component in &mut sum {
                *component += (direction.random::<f32>() - 0.5) * count.sqrt();
            }
        }
        sum
    }
}

fn bad_input(why: &str) -> Failure {
    Failure::new(400, 5006, format!("AiError: Bad input: Error: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn shared_words_make_texts_near() {
        let models = Models::new(7, None);
        let embed =
            |text, pooling| models.embedded(text, "@cf/baai/bge-base-en-v1.5", pooling, 768);
        let a = embed("the cat sat on the mat", Pooling::Mean);
        let near = embed("The cat lay on the mat!", Pooling::Mean);
        let far = embed("quarterly revenue grew", Pooling::Mean);
        assert!(cosine(&a, &near) > 0.5, "{}", cosine(&a, &near));
        assert!(cosine(&a, &far) < 0.2, "{}", cosine(&a, &far));
        let cls = embed("the cat sat on the mat", Pooling::Cls);
        assert!(cosine(&a, &cls).abs() < 0.2, "pooling makes another space");
        assert_eq!(a, embed("the cat sat on the mat", Pooling::Mean));
    }
}
