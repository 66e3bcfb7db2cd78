//! The terms of a text: what the words of a query are compared by.
//!
//! A term is a word without case and diacritics, reduced to its stem; words that rank nothing are none. Of a
//! name in camel case the parts are terms too. Scripts that don't space their words give each character and
//! each pair of neighbours.

use rust_stemmers::{Algorithm, Stemmer};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// English words so frequent that they rank nothing.
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "did",
    "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it",
    "its", "me", "my", "no", "not", "of", "on", "or", "our", "should", "so", "that", "the",
    "their", "them", "then", "there", "these", "they", "this", "to", "was", "we", "were", "what",
    "when", "where", "which", "who", "why", "will", "with", "would", "you", "your",
];

/// Bytes of the longest word that has a stem; what is longer is a number or a key.
const STEMMED_MAX_BYTES: usize = 40;

/// Words that are remembered: more than most people use, in a few megabytes.
const KNOWN_MAX: usize = 1 << 15;

/// A term, by its hash: two in a hundred thousand meet with a probability of one in a thousand million.
pub(super) type Term = u64;

/// Whether a lower-case word ranks nothing.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Whether `c` belongs to a script that doesn't space its words.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2ffff}')
}

/// The terms of `text`, in order, as often as they stand there.
pub(super) fn of(text: &str) -> Vec<Term> {
    Terms::new().of(text)
}

/// Reads one text after the other, and remembers the terms of the words that it has met: a stem takes longer to
/// find than all else, and texts share most of their words.
pub(super) struct Terms {
    /// The word that is being read.
    text: String,
    lower: String,
    stemmer: Stemmer,
    known: HashMap<String, Term>,
}

impl Terms {
    pub(super) fn new() -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        Self { text: String::new(), lower: String::new(), stemmer, known: HashMap::new() }
    }

    /// The terms of `text`, in order, as often as they stand there.
    pub(super) fn of(&mut self, text: &str) -> Vec<Term> {
        let mut terms = Vec::with_capacity(text.len() / 6);
        let mut before: Option<char> = None;
        for c in text.chars() {
            if c.is_ascii_alphanumeric() {
                self.text.push(c);
            } else if is_unspaced(c) {
                self.end(&mut terms);
                terms.push(term_of_chars(&[c]));
                terms.extend(before.map(|before| term_of_chars(&[before, c])));
                before = Some(c);
                continue;
            } else if c.is_ascii() || !(c.is_alphanumeric() || is_combining_mark(c)) {
                self.end(&mut terms);
            } else {
                decompose_canonical(c, |part| {
                    if !is_combining_mark(part) {
                        self.text.push(part);
                    }
                });
            }
            before = None;
        }
        self.end(&mut terms);
        terms
    }

    /// Notes the word, if there is one, and the parts of its name.
    fn end(&mut self, terms: &mut Vec<Term>) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        self.note(&text, terms);
        if parts(&text).next().is_some_and(|first| first.len() < text.len()) {
            for part in parts(&text) {
                self.note(part, terms);
            }
        }
        self.text = text;
        self.text.clear();
    }

    fn note(&mut self, word: &str, terms: &mut Vec<Term>) {
        self.lower.clear();
        if word.is_ascii() {
            self.lower.push_str(word);
            self.lower.make_ascii_lowercase();
        } else {
            self.lower.extend(word.chars().flat_map(char::to_lowercase));
        }
        if is_stop_word(&self.lower) {
            return;
        }
        let has_stem = self.lower.len() <= STEMMED_MAX_BYTES
            && self.lower.bytes().all(|byte| byte.is_ascii_lowercase());
        terms.push(if has_stem { self.stemmed() } else { hash(self.lower.as_bytes()) });
    }

    fn stemmed(&mut self) -> Term {
        if let Some(term) = self.known.get(&self.lower) {
            return *term;
        }
        let term = hash(self.stemmer.stem(&self.lower).as_bytes());
        if self.known.len() < KNOWN_MAX {
            self.known.insert(self.lower.clone(), term);
        }
        term
    }
}

/// The parts of a name in camel case: `parse`, `HTTP` and `Request` of `parseHTTPRequest`. A word without
/// such parts is its only one.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let bytes = word.as_bytes();
    let starts = (1..bytes.len()).filter(|at| {
        let kind = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
        let (before, here, after) = (kind(at - 1), kind(*at), kind(at + 1));
        here.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || (before.is_ascii_uppercase() && after.is_ascii_lowercase()))
    });
    let mut from = 0;
    starts.chain([bytes.len()]).filter_map(move |to| {
        let part = word.get(from..to);
        from = to;
        part
    })
}

fn hash(bytes: &[u8]) -> Term {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn term_of_chars(chars: &[char]) -> Term {
    hash(chars.iter().collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_lose_their_case_their_marks_and_their_endings() {
        assert_eq!(of("The daemons were RUNNING"), of("daemon run"));
        assert_eq!(of("cafés in Zürich"), of("cafe zurich"));
        assert_eq!(of("cafe\u{301}"), of("café"), "a mark of its own");
        assert_eq!(of("what is the"), Vec::<Term>::new());
        assert_eq!(of("ΣΊΣΥΦΟΣ"), of("σίσυφοσ"));
    }

    #[test]
    fn a_name_is_found_whole_and_by_its_parts() {
        let name = of("parseHTTPRequest");
        assert_eq!(name.len(), 4);
        for part in ["parsehttprequest", "parse", "http", "request"] {
            assert!(name.contains(&of(part)[0]), "{part}");
        }
        assert_eq!(of("E0277").len(), 1);
        assert_eq!(of("HTTP").len(), 1);
        assert_eq!(of("src/store/read_only.rs"), of("src store read only rs"));
    }

    #[test]
    fn characters_without_spaces_are_found_alone_and_in_pairs() {
        let text = of("我喜欢数据库索引");
        let holds = |query: &str| of(query).iter().all(|term| text.contains(term));
        assert!(holds("数据库"));
        assert!(holds("库"));
        assert!(!holds("据数"));
        assert!(of("データ").iter().all(|term| of("データベース").contains(term)));
        assert!(of("한국어").contains(&of("국")[0]), "a syllable stays whole");
        assert_eq!(of("x数y").len(), 3, "words end where such a script begins");
    }

    #[test]
    fn what_was_read_before_changes_nothing() {
        let mut terms = Terms::new();
        for text in ["Running daemons", "the DAEMON runs", "runningDaemons 我喜 run", ""] {
            assert_eq!(terms.of(text), of(text));
            assert_eq!(terms.of(text), of(text), "known by now");
        }
    }

    #[test]
    fn the_words_that_rank_nothing_are_in_order() {
        assert!(STOP_WORDS.is_sorted());
    }

    proptest! {
        #[test]
        fn any_text_has_terms_and_its_parts_add_up(a in any::<String>(), b in any::<String>()) {
            let joined = format!("{a}\n{b}");
            prop_assert_eq!(of(&joined), [of(&a), of(&b)].concat());
        }
    }
}
