//! The file of the official MCP memory server: a line for each entity, with observations, and for each
//! relation. Each observation becomes a memory, and so does each relation: both are facts that are found
//! by what they say. The parts stand in the metadata.

use super::super::failure::Failure;
use super::pages::Pages;
use crate::clock::Micros;
use crate::model::draft::{TAG_MAX_CHARS, Text, check_metadata, check_tags, check_type};
use crate::model::refusal::Refusal;
use crate::model::shown::Shown;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::BufRead;

/// Who is named as the author of these memories.
const CLIENT: &str = "mcp-memory-server";

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Entity(Entity),
    Relation(Relation),
}

#[derive(Debug, Deserialize)]
struct Entity {
    name: String,
    #[serde(default, rename = "entityType")]
    kind: String,
    #[serde(default)]
    observations: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Relation {
    from: String,
    to: String,
    #[serde(rename = "relationType")]
    verb: String,
}

/// A fact of the graph.
#[derive(Debug, PartialEq)]
struct Fact {
    text: String,
    kind: String,
    tags: Vec<String>,
    metadata: Value,
}

/// Reads all lines; the memories are as old as the file, which knows no times.
pub(super) fn read(pages: &mut Pages<'_>, input: impl BufRead, at: Micros) -> Result<(), Failure> {
    for (number, line) in (1_u64..).zip(input.lines()) {
        let place = format!("line {number}");
        let line = line.map_err(|error| pages.refuse(&place, error))?;
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&line).map_err(|error| {
            pages.refuse(&place, format!("neither an entity nor a relation: {error}"))
        })?;
        for fact in facts(line) {
            take(pages, &place, fact, at)?;
        }
    }
    Ok(())
}

fn take(pages: &mut Pages<'_>, place: &str, fact: Fact, at: Micros) -> Result<(), Failure> {
    let limit = pages.text_limit();
    let (text, shown) =
        check(fact, limit, at).map_err(|refusal| pages.refuse_limit(place, &refusal))?;
    pages.add_foreign(place.to_owned(), text.id, text.content, &shown, CLIENT, None)
}

fn check(fact: Fact, limit: usize, at: Micros) -> Result<(Text, Shown), Refusal> {
    let text = Text::check(fact.text, limit)?;
    let mut shown = Shown::new(at, at);
    if let Some(kind) = check_type(&fact.kind)? {
        shown.kind = kind;
    }
    shown.tags = check_tags(&fact.tags)?;
    shown.metadata = check_metadata(&fact.metadata)?;
    Ok((text, shown))
}

fn facts(line: Line) -> Vec<Fact> {
    match line {
        Line::Entity(entity) => of_entity(&entity),
        Line::Relation(Relation { from, to, verb }) => vec![Fact {
            text: format!("{from} {} {to}", verb.replace('_', " ")),
            kind: "relation".to_owned(),
            tags: tags(&[&from, &to]),
            metadata: json!({"from": from, "relation": verb, "to": to}),
        }],
    }
}

/// Names as tags; one that is too long for that stands in the metadata only.
fn tags(names: &[&String]) -> Vec<String> {
    let fits = |name: &&&String| name.chars().count() <= TAG_MAX_CHARS;
    names.iter().filter(fits).map(|name| (*name).clone()).collect()
}

fn of_entity(entity: &Entity) -> Vec<Fact> {
    let Entity { name, kind, observations } = entity;
    let fact = |text: String, metadata: Value| Fact {
        text,
        kind: kind.clone(),
        tags: tags(&[name]),
        metadata,
    };
    if observations.is_empty() {
        let text = if kind.is_empty() { name.clone() } else { format!("{name} ({kind})") };
        return vec![fact(text, json!({"entity": name}))];
    }
    observations
        .iter()
        .map(|observation| {
            // An observation alone often doesn't say of whom it speaks.
            let is_named = observation.to_lowercase().contains(&name.to_lowercase());
            let text =
                if is_named { observation.clone() } else { format!("{name}: {observation}") };
            fact(text, json!({"entity": name, "observation": observation}))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: Value) -> Vec<Fact> {
        facts(serde_json::from_value(line).unwrap())
    }

    #[test]
    fn each_observation_and_each_relation_is_a_fact_that_says_of_whom() {
        let entity = json!({"type": "entity", "name": "Ada", "entityType": "person",
            "observations": ["likes tea", "In 1843 Ada wrote notes"], "later": "more keys"});
        let found = read_line(entity);
        let texts: Vec<&str> = found.iter().map(|fact| fact.text.as_str()).collect();
        assert_eq!(texts, ["Ada: likes tea", "In 1843 Ada wrote notes"]);
        assert_eq!(
            (found[0].kind.as_str(), found[0].tags.as_slice()),
            ("person", &["Ada".into()][..])
        );
        assert_eq!(found[0].metadata, json!({"entity": "Ada", "observation": "likes tea"}));
        let bare = read_line(json!({"type": "entity", "name": "Rome", "entityType": "city"}));
        assert_eq!(bare[0].text, "Rome (city)");
        let relation =
            json!({"type": "relation", "from": "Ada", "to": "Rome", "relationType": "lives_in"});
        let relation = read_line(relation);
        assert_eq!(relation[0].text, "Ada lives in Rome");
        assert_eq!(relation[0].tags, ["Ada", "Rome"]);
        assert_eq!(
            relation[0].metadata,
            json!({"from": "Ada", "relation": "lives_in", "to": "Rome"})
        );
    }

    #[test]
    fn a_name_that_is_too_long_for_a_tag_stays_in_the_metadata() {
        let name = "x".repeat(101);
        let line = json!({"type": "entity", "name": name, "observations": ["y"]});
        let (_, shown) = check(read_line(line).remove(0), 1000, Micros(0)).unwrap();
        assert!(shown.tags.is_empty());
        assert_eq!(shown.metadata["entity"], format!("\"{name}\""));
    }
}
