//! Memories with questions about them: the set that comes with memtide, or a folder of the same form.
//!
//! Both files have a JSON object a line; empty lines are passed over. `memories.jsonl`:
//!
//! | key | meaning |
//! |---|---|
//! | `id` | a label of its own, which the questions use |
//! | `content` | the text; no two texts that memtide takes for one |
//! | `tags`, `type` | as when storing; may be left out |
//! | `created_at` | when it was stored, RFC 3339; now, if left out |
//! | `days_ago` | the same, so many days before the run |
//! | `deleted` | `true`: it is stored, embedded and then deleted |
//!
//! `questions.jsonl`:
//!
//! | key | meaning |
//! |---|---|
//! | `query` | what is asked |
//! | `kind` | what is hard about it; the results are shown for each kind |
//! | `relevant` | labels of all memories that answer it; none, if it is only asked for what must not appear |
//! | `tags`, `tags_all`, `type`, `after`, `before`, `time` | the filter, as of a search; may be left out |

use crate::api::wire::FilterJson;
use crate::clock::Micros;
use crate::model::draft::{TEXT_DEFAULT_BYTES, Text, check_tags, check_type};
use crate::model::id::MemoryId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The file of the memories.
pub const MEMORIES: &str = "memories.jsonl";
/// The file of the questions.
pub const QUESTIONS: &str = "questions.jsonl";
/// Days that a memory may be old.
const DAYS_MAX: u32 = 36_500;

/// Memories with questions about them.
#[derive(Debug, Clone)]
pub struct Set {
    /// The memories, in the order of the file.
    pub memories: Vec<Memory>,
    /// The questions, in the order of the file.
    pub questions: Vec<Question>,
    /// What names both files: 64 hex digits.
    pub sha256: String,
}

/// A memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its label.
    pub id: String,
    /// The text.
    pub content: String,
    /// Tags; normalised once the set is read.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The type.
    #[serde(default, rename = "type")]
    pub memory_type: Option<String>,
    /// When it was stored, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// How many days before the run it was stored.
    #[serde(default)]
    pub days_ago: Option<u32>,
    /// Whether it is deleted before anything is asked.
    #[serde(default)]
    pub deleted: bool,
}

/// A question.
#[derive(Debug, Clone, Deserialize)]
pub struct Question {
    /// Its line in the file.
    #[serde(skip)]
    pub line: usize,
    /// What is asked.
    pub query: String,
    /// What is hard about it.
    pub kind: String,
    /// Labels of all memories that answer it.
    pub relevant: BTreeSet<String>,
    /// Which memories may be found.
    #[serde(flatten)]
    pub filter: FilterJson,
    /// Anything else, refused by name.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A set that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A file can't be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line is not as it must be.
    #[error("{file}, line {line}: {why}")]
    Line {
        /// The file.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Nothing but empty lines.
    #[error("{0} holds nothing")]
    Empty(&'static str),
}

impl Set {
    /// The set that comes with memtide.
    ///
    /// # Errors
    /// Never, as long as its own test passes.
    pub fn built_in() -> Result<Self, SetError> {
        Self::parse(include_str!("memories.jsonl"), include_str!("questions.jsonl"))
    }

    /// The set in a folder.
    ///
    /// # Errors
    /// A file is missing or holds what it must not.
    pub fn open(folder: &Path) -> Result<Self, SetError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| SetError::Unreadable { path, error })
        };
        Self::parse(&read(MEMORIES)?, &read(QUESTIONS)?)
    }

    /// Reads both files.
    ///
    /// # Errors
    /// The first line that is not as it must be.
    pub fn parse(memories: &str, questions: &str) -> Result<Self, SetError> {
        let mut labels = BTreeMap::new();
        let mut texts = BTreeMap::new();
        let mut read = Vec::new();
        for (line, memory) in lines::<Memory>(MEMORIES, memories)? {
            let refuse = |why| SetError::Line { file: MEMORIES, line, why };
            let memory = memory.checked().map_err(refuse)?;
            if labels.insert(memory.id.clone(), memory.deleted).is_some() {
                return Err(refuse(format!("the id {:?} was there before", memory.id)));
            }
            if let Some(other) = texts.insert(memory.name(), memory.id.clone()) {
                return Err(refuse(format!("memtide takes its text for that of {other:?}")));
            }
            read.push(memory);
        }
        let mut asked = Vec::new();
        for (line, question) in lines::<Question>(QUESTIONS, questions)? {
            let question = Question { line, ..question };
            question.check(&labels).map_err(|why| SetError::Line { file: QUESTIONS, line, why })?;
            asked.push(question);
        }
        let mut hash = Sha256::new();
        hash.update(memories.as_bytes());
        hash.update(b"\n");
        hash.update(questions.as_bytes());
        Ok(Self { memories: read, questions: asked, sha256: hex::encode(hash.finalize()) })
    }

    /// How many memories are there once the deleted ones are gone.
    pub fn n_alive(&self) -> usize {
        self.memories.iter().filter(|memory| !memory.deleted).count()
    }
}

/// The objects of a file with the numbers of their lines.
fn lines<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<Vec<(usize, T)>, SetError> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let object = serde_json::from_str(text).map_err(|error| {
            // The line that it names is always the first: it has seen no other.
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default().to_owned();
            SetError::Line { file, line, why }
        })?;
        found.push((line, object));
    }
    if found.is_empty() { Err(SetError::Empty(file)) } else { Ok(found) }
}

impl Memory {
    /// The id that memtide gives it.
    pub fn name(&self) -> MemoryId {
        MemoryId::of(&self.content)
    }

    /// When it was stored, if not just now.
    pub fn stored_at(&self, now: Micros) -> Option<Micros> {
        let days = |days: u32| Micros(now.0 - i64::from(days) * 86_400_000_000);
        let told = self.created_at.as_deref().and_then(Micros::parse_rfc3339);
        told.or_else(|| self.days_ago.map(days))
    }

    fn checked(mut self) -> Result<Self, String> {
        if self.id.trim().is_empty() {
            return Err("the id is empty".to_owned());
        }
        let refused = |refusal: crate::model::refusal::Refusal| refusal.to_string();
        Text::check(self.content.clone(), TEXT_DEFAULT_BYTES).map_err(refused)?;
        self.tags = check_tags(&self.tags).map_err(refused)?.into_iter().collect();
        if let Some(memory_type) = &self.memory_type {
            self.memory_type = check_type(memory_type).map_err(refused)?;
        }
        if let Some(at) = &self.created_at
            && Micros::parse_rfc3339(at).is_none()
        {
            return Err(format!("created_at is {at:?}, it must be an instant of RFC 3339"));
        }
        match (&self.created_at, self.days_ago) {
            (Some(_), Some(_)) => Err("it has both created_at and days_ago".to_owned()),
            (_, Some(days)) if days > DAYS_MAX => {
                Err(format!("days_ago is {days}, it may be {DAYS_MAX} at most"))
            }
            _ => Ok(self),
        }
    }
}

impl Question {
    /// Checks it against the labels of the memories, which tell whether one is deleted.
    fn check(&self, labels: &BTreeMap<String, bool>) -> Result<(), String> {
        if let Some(key) = self.unknown.keys().next() {
            return Err(format!("the key {key:?} is not known"));
        }
        for (name, text) in [("query", &self.query), ("kind", &self.kind)] {
            if text.trim().is_empty() {
                return Err(format!("the {name} is empty"));
            }
        }
        for label in &self.relevant {
            match labels.get(label) {
                None => return Err(format!("no memory has the id {label:?}")),
                Some(true) => {
                    return Err(format!("the memory {label:?} is deleted, it can't answer"));
                }
                Some(false) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: &str = r#"{"id":"a","content":"The sky is blue."}"#;
    const QUESTION: &str = r#"{"query":"colour of the sky","kind":"any","relevant":["a"]}"#;

    fn refusal(memories: &str, questions: &str) -> String {
        Set::parse(memories, questions).unwrap_err().to_string()
    }

    #[test]
    fn a_set_is_read_with_its_lines() {
        let memories = format!(
            "{MEMORY}\n\n{}\n",
            r#"{"id":"b","content":"x","tags":["B ","a"],"type":"fact","days_ago":2,"deleted":true}"#
        );
        let question = r#"{"query":"q","kind":"tags","relevant":[],"tags":["a"],"time":"today"}"#;
        let set = Set::parse(&memories, &format!("\n{QUESTION}\n{question}")).unwrap();
        assert_eq!((set.memories.len(), set.n_alive(), set.questions.len()), (2, 1, 2));
        assert_eq!(set.memories[1].tags, ["a", "b"]);
        let now = Micros(200_000_000_000);
        assert_eq!(set.memories[0].stored_at(now), None);
        assert_eq!(set.memories[1].stored_at(now), Some(Micros(27_200_000_000)));
        assert_eq!(set.questions[1].line, 3);
        assert_eq!(set.questions[1].filter.time.as_deref(), Some("today"));
        assert_eq!(set.sha256.len(), 64);
        let other = Set::parse(&memories, QUESTION).unwrap();
        assert_ne!(other.sha256, set.sha256);
    }

    #[test]
    fn a_bad_memory_is_refused_with_its_line_and_the_reason() {
        let after = |line: &str| refusal(&format!("{MEMORY}\n{line}"), QUESTION);
        for (line, why) in [
            ("{", "EOF while parsing an object"),
            (r#"{"id":"b"}"#, "missing field `content`"),
            (r#"{"id":"b","content":"x","tag":[]}"#, "unknown field `tag`"),
            (r#"{"id":" ","content":"x"}"#, "the id is empty"),
            (r#"{"id":"a","content":"x"}"#, "the id \"a\" was there before"),
            (r#"{"id":"b","content":"the sky is blue."}"#, "takes its text for that of \"a\""),
            (r#"{"id":"b","content":"  "}"#, "only white space"),
            (r#"{"id":"b","content":"x","created_at":"May"}"#, "created_at is \"May\""),
            (r#"{"id":"b","content":"x","days_ago":-1}"#, "invalid value: integer `-1`"),
            (r#"{"id":"b","content":"x","days_ago":99999}"#, "may be 36500 at most"),
            (
                r#"{"id":"b","content":"x","days_ago":1,"created_at":"2026-01-01T00:00:00Z"}"#,
                "both created_at and days_ago",
            ),
        ] {
            let said = after(line);
            assert!(said.starts_with("memories.jsonl, line 2: "), "{line}: {said}");
            assert!(said.contains(why), "{line}: {said}");
            assert!(!said.contains("at line 1"), "{said}");
        }
    }

    #[test]
    fn a_bad_question_is_refused_with_its_line_and_the_reason() {
        let memories =
            format!("{MEMORY}\n{}", r#"{"id":"gone","content":"It was red.","deleted":true}"#);
        for (line, why) in [
            ("[]", "invalid"),
            (r#"{"query":"q","kind":"k"}"#, "missing field `relevant`"),
            (r#"{"query":"","kind":"k","relevant":[]}"#, "the query is empty"),
            (r#"{"query":"q","kind":" ","relevant":[]}"#, "the kind is empty"),
            (r#"{"query":"q","kind":"k","relevant":["b"]}"#, "no memory has the id \"b\""),
            (r#"{"query":"q","kind":"k","relevant":["gone"]}"#, "\"gone\" is deleted"),
            (r#"{"query":"q","kind":"k","relevant":[],"tagz":1}"#, "the key \"tagz\" is not known"),
        ] {
            let said = refusal(&memories, &format!("{QUESTION}\n{line}"));
            assert!(said.starts_with("questions.jsonl, line 2: "), "{line}: {said}");
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[test]
    fn files_that_are_empty_or_missing_are_refused() {
        assert_eq!(refusal("\n", QUESTION), "memories.jsonl holds nothing");
        assert_eq!(refusal(MEMORY, ""), "questions.jsonl holds nothing");
        let folder = tempfile::tempdir().unwrap();
        let said = Set::open(folder.path()).unwrap_err().to_string();
        assert!(said.contains("memories.jsonl: No such file"), "{said}");
    }

    /// Words that say something, in lower case.
    fn words(text: &str) -> BTreeSet<String> {
        let stop = "a about all an and any are as at be because been before but by can could did do does \
                    don for from get got had has have how i if in into is it its make made may me my no \
                    not of off on one or our out over should since so t than that the their them then \
                    there these they this to two up us was we were what when where which while who why \
                    will with would you your";
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty() && !stop.split_whitespace().any(|stop| stop == *word))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_own_set_is_what_it_claims_to_be() {
        let set = Set::built_in().unwrap();
        assert!(set.memories.len() >= 220 && set.questions.len() >= 160);
        let n_long = set.memories.iter().filter(|memory| memory.content.len() >= 3000).count();
        assert!(n_long >= 8, "{n_long} long texts");
        assert!(set.memories.len() - set.n_alive() >= 10, "too few are deleted");
        let text_of: BTreeMap<&str, &str> =
            set.memories.iter().map(|m| (m.id.as_str(), m.content.as_str())).collect();
        let mut queries = BTreeSet::new();
        let mut n_of_kind: BTreeMap<&str, usize> = BTreeMap::new();
        for question in &set.questions {
            let Question { line, query, .. } = question;
            assert!(queries.insert(query.to_lowercase()), "line {line} asks what was asked before");
            *n_of_kind.entry(&question.kind).or_default() += 1;
            if question.kind == "paraphrase" {
                for label in &question.relevant {
                    let shared: Vec<String> = words(query)
                        .intersection(&words(text_of[label.as_str()]))
                        .cloned()
                        .collect();
                    assert!(shared.is_empty(), "line {line} shares {shared:?} with {label}");
                }
            }
            assert!(question.kind == "deleted" || !question.relevant.is_empty(), "line {line}");
        }
        assert_eq!(n_of_kind.len(), 10, "{n_of_kind:?}");
        assert!(n_of_kind.values().all(|n| *n >= 12), "{n_of_kind:?}");
    }
}
