//! Texts as agents store them and questions as they ask them, made from a seed.
//!
//! Words follow Zipf's law within a topic: a few are frequent, most are rare, as in real notes, because
//! the cost of a keyword search depends on how many texts share its words. Every text carries a ticket
//! number of its own, so that no two are the same memory.

use super::words::{ADJECTIVES, HEADS, NOUNS, TAILS, VERBS};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Topics that texts are about.
pub const TOPICS: usize = 48;
/// Characters of a text at least.
pub const CHARS_MIN: usize = 200;
/// Characters of a text at most.
pub const CHARS_MAX: usize = 800;

/// Sentences with places for words: noun, verb, adjective, coined name, number, weekday.
const SENTENCES: &[&str] = &[
    "We decided to [v] the [a] [n] of [c] before the next [n].",
    "The [n] in [c] was [e] after the [n] had grown to [#] entries.",
    "[c] keeps its [n] in a [a] [n], so every [n] has to be [e] twice.",
    "On [w] the team [e] the [a] [n] and [e] the [n] for [c].",
    "If the [n] is [a], [v] the [n] first and only then the [n].",
    "Measured on [c]: [#] ms for a [a] [n], [#] ms once the [n] was [e].",
    "Never [v] a [n] while the [n] of [c] is [a]; it cost us [#] hours.",
    "The customer wants a [a] [n] with [#] rows and no [n].",
    "Root cause: the [n] [e] the [a] [n], which the [n] did not expect.",
    "To [v] it by hand, open the [n], choose the [a] [n] and wait for the [n].",
    "[c] and [c] now share one [n]; the [a] one was [e].",
    "Preference: [a] names for each [n], and a short [n] over a [a] one.",
    "The [n] must be [e] every [#] days, else the [a] [n] of [c] expires.",
    "Open question: who will [v] the [n] when [c] is [a]?",
    "Version [#] of [c] needs a [a] [n]; older ones [v] the [n] themselves.",
    "After the incident we [e] the [n], [e] the [n] and wrote a [a] [n].",
];

/// Questions with places for words.
const QUESTIONS: &[&str] = &[
    "how did we [v] the [a] [n] of [c]",
    "why was the [n] in [c] [e]",
    "[c] [n] and [n]",
    "what did the customer say about the [a] [n]",
    "who will [v] the [n] of [c]",
    "[a] [n] of [c] after the [n]",
    "decision about [c]",
    "when do we have to [v] the [n] for [c]",
];

/// A text and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What it is about, below [`TOPICS`].
    pub topic: usize,
    /// The text, [`CHARS_MIN`] to [`CHARS_MAX`] characters.
    pub text: String,
    /// Three tags.
    pub tags: Vec<String>,
}

/// Writes texts and questions; the same seed gives the same ones.
#[derive(Debug)]
pub struct Author {
    rng: ChaCha8Rng,
    nouns: Vec<&'static str>,
    verbs: Vec<&'static str>,
    adjectives: Vec<&'static str>,
    heads: Vec<&'static str>,
    tails: Vec<&'static str>,
    n_written: u64,
}

impl Author {
    /// An author whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let list = |words: &'static str| words.split_whitespace().collect();
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            nouns: list(NOUNS),
            verbs: list(VERBS),
            adjectives: list(ADJECTIVES),
            heads: list(HEADS),
            tails: list(TAILS),
            n_written: 0,
        }
    }

    /// The next text.
    pub fn passage(&mut self) -> Passage {
        let topic = self.rng.random_range(0..TOPICS);
        let aim = self.rng.random_range(CHARS_MIN..CHARS_MAX - 20);
        let mut text = format!("T-{}:", self.n_written);
        self.n_written += 1;
        loop {
            let sentence = self.fill_one_of(SENTENCES, topic);
            let grown = text.len() + 1 + sentence.len();
            if grown > CHARS_MAX {
                // Never reached below the least length: no sentence is that long.
                break;
            }
            text.push(' ');
            text.push_str(&sentence);
            if grown >= aim {
                break;
            }
        }
        let tags = vec![format!("topic-{topic}"), self.noun(topic).to_owned(), self.coined(topic)];
        Passage { topic, text, tags }
    }

    /// The next question.
    pub fn question(&mut self) -> String {
        let topic = self.rng.random_range(0..TOPICS);
        self.fill_one_of(QUESTIONS, topic)
    }

    fn fill_one_of(&mut self, patterns: &[&str], topic: usize) -> String {
        let nth = self.rng.random_range(0..patterns.len());
        let pattern = patterns.get(nth).copied().unwrap_or_default();
        let mut parts = pattern.split('[');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (place, rest) = part.split_once(']').unwrap_or((part, ""));
            filled.push_str(&self.word(place, topic));
            filled.push_str(rest);
        }
        filled
    }

    fn word(&mut self, place: &str, topic: usize) -> String {
        match place {
            "n" => self.noun(topic).to_owned(),
            "v" => self.verb(topic).to_owned(),
            "e" => past(self.verb(topic)),
            "a" => {
                let nth = self.zipf(self.adjectives.len(), topic);
                self.adjectives.get(nth).copied().unwrap_or_default().to_owned()
            }
            "c" => self.coined(topic),
            "#" => self.rng.random_range(2..10_000_u32).to_string(),
            _ => {
                let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];
                let nth = self.rng.random_range(0..days.len());
                days.get(nth).copied().unwrap_or_default().to_owned()
            }
        }
    }

    fn noun(&mut self, topic: usize) -> &'static str {
        let nth = self.zipf(self.nouns.len(), topic);
        self.nouns.get(nth).copied().unwrap_or_default()
    }

    fn verb(&mut self, topic: usize) -> &'static str {
        let nth = self.zipf(self.verbs.len(), topic);
        self.verbs.get(nth).copied().unwrap_or_default()
    }

    /// A name that a project or a service might have.
    fn coined(&mut self, topic: usize) -> String {
        let nth = self.zipf(self.heads.len() * self.tails.len(), topic);
        let head = self.heads.get(nth % self.heads.len()).copied().unwrap_or_default();
        let tail = self.tails.get(nth / self.heads.len()).copied().unwrap_or_default();
        format!("{head}{tail}")
    }

    /// A place in a list of `len` words, by Zipf's law over the topic's own order of them: half of the
    /// words are drawn from that, half from the order that all topics share.
    fn zipf(&mut self, len: usize, topic: usize) -> usize {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list of a few thousand words"
        )]
        let rank = (len as f64).powf(self.rng.random::<f64>()) as usize - 1;
        let shift = if self.rng.random_bool(0.5) { topic + 1 } else { 0 };
        // A large step, so that the ranks of two topics have little in common.
        (rank + shift * (len / 3 + 7)) % len.max(1)
    }
}

fn past(verb: &str) -> String {
    let stem = verb.strip_suffix('e').unwrap_or(verb);
    format!("{stem}ed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn the_same_seed_gives_the_same_texts() {
        let write = |seed| {
            let mut author = Author::new(seed);
            (0..50).map(|_| (author.passage(), author.question())).collect::<Vec<_>>()
        };
        assert_eq!(write(1), write(1));
        assert_ne!(write(1), write(2));
    }

    #[test]
    fn texts_are_distinct_and_of_the_stated_length() {
        let mut author = Author::new(3);
        let texts: Vec<Passage> = (0..5000).map(|_| author.passage()).collect();
        let distinct: BTreeSet<&str> = texts.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(distinct.len(), texts.len());
        for one in &texts {
            let n_chars = one.text.chars().count();
            assert!((CHARS_MIN..=CHARS_MAX).contains(&n_chars), "{n_chars}: {}", one.text);
            assert!(one.topic < TOPICS && !one.text.contains('['), "{}", one.text);
        }
    }

    #[test]
    fn few_words_are_frequent_and_most_are_rare() {
        let mut author = Author::new(4);
        let mut frequency: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..2000 {
            let text = author.passage().text.to_lowercase();
            let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
            for word in words {
                *frequency.entry(word.to_owned()).or_default() += 1;
            }
        }
        let n_rare = frequency.values().filter(|n| **n < 20).count();
        let n_frequent = frequency.values().filter(|n| **n > 200).count();
        assert!(n_rare > 3000, "{n_rare} rare words");
        assert!((20..200).contains(&n_frequent), "{n_frequent} frequent words");
    }
}
