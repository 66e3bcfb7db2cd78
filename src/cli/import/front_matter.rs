//! What stands between `---` and `---` at the start of a note: YAML, read as JSON. References within it
//! are refused: a few lines of them can stand for any number of values.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// Levels of nesting; metadata may have no more anyway.
const DEPTH_MAX: usize = 32;

/// Why it can't be read, and in which line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadFrontMatter {
    pub(super) line: usize,
    pub(super) why: String,
}

/// Divides a note into the text of its front matter and its body.
pub(super) fn split(note: &str) -> (Option<&str>, &str) {
    let Some(rest) = note.strip_prefix("---").and_then(after_line_end) else { return (None, note) };
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            let (matter, body) = rest.split_at(at);
            return (Some(matter), body.get(line.len()..).unwrap_or_default());
        }
        at += line.len();
    }
    // A rule at the top of a text, and no second one.
    (None, note)
}

fn after_line_end(text: &str) -> Option<&str> {
    text.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')
}

/// Reads the text of a front matter, which begins in line 2 of its file.
pub(super) fn read(text: &str) -> Result<Map<String, Value>, BadFrontMatter> {
    let mut events = Parser::new_from_str(text);
    let mut document = None;
    loop {
        let (event, span) = next(&mut events)?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event if document.is_none() => {
                document = Some(value(&mut events, event, span, 0)?);
            }
            _ => return Err(bad(span, "more than one document")),
        }
    }
    match document {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => {
            Err(BadFrontMatter { line: 2, why: "the front matter names no fields".to_owned() })
        }
    }
}

type Events<'t> = Parser<'t, saphyr_parser::StrInput<'t>>;

fn next<'t>(events: &mut Events<'t>) -> Result<(Event<'t>, Span), BadFrontMatter> {
    match events.next_event() {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) => Err(BadFrontMatter {
            line: error.marker().line() + 1,
            why: format!("the front matter is no YAML: {}", error.info()),
        }),
        None => Ok((Event::StreamEnd, Span::default())),
    }
}

fn bad(span: Span, why: &str) -> BadFrontMatter {
    BadFrontMatter { line: span.start.line() + 1, why: format!("the front matter has {why}") }
}

fn value<'t>(
    events: &mut Events<'t>,
    event: Event<'t>,
    span: Span,
    depth: usize,
) -> Result<Value, BadFrontMatter> {
    if depth > DEPTH_MAX {
        return Err(bad(span, &format!("more than {DEPTH_MAX} levels")));
    }
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => Ok(plain(&text)),
        Event::Scalar(text, ..) => Ok(Value::from(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                let (event, span) = next(events)?;
                if event == Event::SequenceEnd {
                    return Ok(Value::Array(items));
                }
                items.push(value(events, event, span, depth + 1)?);
            }
        }
        Event::MappingStart(..) => {
            let mut fields = Map::new();
            loop {
                let (event, span) = next(events)?;
                let key = match event {
                    Event::MappingEnd => return Ok(Value::Object(fields)),
                    Event::Scalar(key, ..) => key.into_owned(),
                    _ => return Err(bad(span, "a key that is no text")),
                };
                let (event, at) = next(events)?;
                let read = value(events, event, at, depth + 1)?;
                if fields.insert(key, read).is_some() {
                    return Err(bad(span, "a key twice"));
                }
            }
        }
        Event::Alias(_) => Err(bad(span, "a reference (`*name`)")),
        _ => Err(bad(span, "an end too early")),
    }
}

/// A word without quotes, by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.ends_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if is_number {
        if let Ok(whole) = text.parse::<i64>() {
            return whole.into();
        }
        if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_note_is_divided_at_its_second_rule() {
        assert_eq!(split("---\na: 1\n---\nbody\n"), (Some("a: 1\n"), "body\n"));
        assert_eq!(split("--- \r\na: 1\r\n---\r\nbody"), (Some("a: 1\r\n"), "body"));
        assert_eq!(split("---\n---\n"), (Some(""), ""));
        assert_eq!(split("---\na: 1\n---"), (Some("a: 1\n"), ""));
        for text in
            ["no rule", "---\na text below a rule", "----\na: 1\n---\n", " ---\na: 1\n---\n"]
        {
            assert_eq!(split(text), (None, text));
        }
    }

    #[test]
    fn what_people_write_there_is_read() {
        let text = "title: \"Deploy: the rules\"\ntags: [Work, 'on call']\naliases:\n  - one\n  - 2\n\
                    date: 2024-01-05 # a comment\nrating: 4.5\ndraft: false\nempty:\n\
                    nested: {a: {b: ~}}\nlong: |\n  two\n  lines\nversion: '1.0'\nip: 10.0.0.1\n";
        let read = read(text).unwrap();
        assert_eq!(
            Value::Object(read),
            json!({"title": "Deploy: the rules", "tags": ["Work", "on call"], "aliases": ["one", 2],
                "date": "2024-01-05", "rating": 4.5, "draft": false, "empty": null,
                "nested": {"a": {"b": null}}, "long": "two\nlines\n", "version": "1.0",
                "ip": "10.0.0.1"})
        );
        assert_eq!(super::read("").unwrap(), Map::new());
        assert_eq!(super::read("# only a comment\n").unwrap(), Map::new());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let told = |text: &str| {
            let bad = read(text).unwrap_err();
            (bad.line, bad.why)
        };
        let (line, why) = told("a: 1\nb: [1, 2\n");
        assert!(line >= 3 && why.starts_with("the front matter is no YAML: "), "{line} {why}");
        assert_eq!(told("a: 1\na: 2\n"), (3, "the front matter has a key twice".to_owned()));
        assert_eq!(told("- a\n"), (2, "the front matter names no fields".to_owned()));
        let bomb = "a: &a [x, x]\nb: *a\n";
        assert_eq!(told(bomb), (3, "the front matter has a reference (`*name`)".to_owned()));
        let deep = format!("a: {}1{}\n", "[".repeat(40), "]".repeat(40));
        assert_eq!(told(&deep), (2, "the front matter has more than 32 levels".to_owned()));
    }
}
