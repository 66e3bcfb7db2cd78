//! The arguments of one call, taken one by one. What a tool does not have is refused by name: an
//! argument that is silently ignored lets a model believe that it was heeded.

use super::failure::Failure;
use rmcp::model::JsonObject;
use serde_json::Value;

/// Arguments that all belong to the tool's schema.
#[derive(Debug)]
pub(super) struct Arguments {
    tool: &'static str,
    given: JsonObject,
}

impl Arguments {
    /// Checks the names against the properties of the tool's input schema. A null counts as not given.
    pub(super) fn check(
        tool: &'static str,
        schema: &JsonObject,
        given: Option<JsonObject>,
    ) -> Result<Self, Failure> {
        let mut given = given.unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        let is_known = |name: &String| properties.is_some_and(|known| known.contains_key(name));
        if let Some(name) = given.keys().find(|name| !is_known(name)) {
            return Err(Failure::Unknown {
                tool,
                name: name.clone(),
                known: properties.map(|known| known.keys().cloned().collect()).unwrap_or_default(),
            });
        }
        given.retain(|_, value| !value.is_null());
        Ok(Self { tool, given })
    }

    /// Whether all were taken.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// A text as it is.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Failure> {
        self.given.remove(name).map(|value| text_of(name, value)).transpose()
    }

    /// A text that must be there.
    pub(super) fn needed_text(&mut self, name: &'static str) -> Result<String, Failure> {
        self.text(name)?.ok_or(Failure::Missing { tool: self.tool, name })
    }

    /// A text that only narrows a reading call: a blank one counts as not given.
    pub(super) fn words(&mut self, name: &'static str) -> Result<Option<String>, Failure> {
        Ok(self.text(name)?.filter(|text| !text.trim().is_empty()))
    }

    /// A switch; off if not given.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Failure> {
        Ok(self.switch(name)?.unwrap_or(false))
    }

    /// A switch that says a third thing when it is not given.
    pub(super) fn switch(&mut self, name: &'static str) -> Result<Option<bool>, Failure> {
        match self.given.remove(name) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(on)),
            Some(other) => Err(wrong_type(name, &other, "true or false")),
        }
    }

    /// A whole number between `min` and `max`.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        min: i64,
        max: i64,
    ) -> Result<Option<i64>, Failure> {
        let number = match self.given.remove(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number,
            Some(other) => return Err(wrong_type(name, &other, "a whole number")),
        };
        whole(&number)
            .filter(|whole| (min..=max).contains(whole))
            .map(Some)
            .ok_or(Failure::OutOfRange { name, actual: number, min, max })
    }

    /// One word of several.
    pub(super) fn choice(
        &mut self,
        name: &'static str,
        choices: &'static [&'static str],
    ) -> Result<Option<&'static str>, Failure> {
        let Some(actual) = self.words(name)? else { return Ok(None) };
        let chosen = choices.iter().copied().find(|choice| *choice == actual);
        chosen.map(Some).ok_or(Failure::NoChoice { name, actual, choices })
    }

    /// One word of several that must be there.
    pub(super) fn needed_choice(
        &mut self,
        name: &'static str,
        choices: &'static [&'static str],
    ) -> Result<&'static str, Failure> {
        self.choice(name, choices)?.ok_or(Failure::Missing { tool: self.tool, name })
    }

    /// Tags, as a list or as one text with commas.
    pub(super) fn tags(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Failure> {
        self.given.remove(name).map(|value| tags_of(name, value)).transpose()
    }

    /// An object.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<JsonObject>, Failure> {
        self.given.remove(name).map(|value| object_of(name, value)).transpose()
    }

    /// Objects that must be there, at least one.
    pub(super) fn needed_objects(
        &mut self,
        name: &'static str,
    ) -> Result<Vec<JsonObject>, Failure> {
        let items = match self.given.remove(name) {
            Some(Value::Array(items)) if !items.is_empty() => items,
            None | Some(Value::Array(_)) => return Err(Failure::Missing { tool: self.tool, name }),
            Some(other) => return Err(wrong_type(name, &other, "a list of objects")),
        };
        items.into_iter().map(|item| object_of(&format!("an item of {name}"), item)).collect()
    }

    /// An object that must be there.
    pub(super) fn needed_object(&mut self, name: &'static str) -> Result<JsonObject, Failure> {
        self.object(name)?.ok_or(Failure::Missing { tool: self.tool, name })
    }
}

/// The whole number that a JSON number stands for, also when it is written as `10.0`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let text = number.to_string();
        text.strip_suffix(".0")?.parse().ok()
    })
}

/// The text in `value`.
pub(super) fn text_of(name: &str, value: Value) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(name, &other, "a string")),
    }
}

/// The object in `value`.
pub(super) fn object_of(name: &str, value: Value) -> Result<JsonObject, Failure> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong_type(name, &other, "an object")),
    }
}

/// The tags in `value`: a list, or one text with commas between them.
pub(super) fn tags_of(name: &str, value: Value) -> Result<Vec<String>, Failure> {
    let expected = "a list of strings, or one string with commas";
    match value {
        Value::String(text) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect()),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(tag) => Ok(tag),
                other => Err(wrong_type(&format!("an item of {name}"), &other, "a string")),
            })
            .collect(),
        other => Err(wrong_type(name, &other, expected)),
    }
}

fn wrong_type(name: &str, value: &Value, expected: &'static str) -> Failure {
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Failure::WrongType { name: name.to_owned(), actual, expected }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// The object that a `json!` literal is.
    pub(in crate::mcp) fn object(value: Value) -> JsonObject {
        object_of("test", value).unwrap()
    }

    fn arguments(given: Value) -> Result<Arguments, Failure> {
        let schema = object(json!({"properties": {"a": {}, "b": {}}}));
        Arguments::check("memory_test", &schema, Some(object(given)))
    }

    #[test]
    fn an_unknown_argument_is_refused_by_name() {
        let failure = arguments(json!({"a": 1, "agent_id": "x"})).unwrap_err();
        assert_eq!(
            failure.text(),
            "Error: memory_test has no argument \"agent_id\"\n\
             Next step: leave it out; the arguments are a, b"
        );
    }

    #[test]
    fn an_unknown_argument_is_refused_even_if_it_is_null() {
        assert!(arguments(json!({"store": null})).is_err());
        assert_eq!(arguments(json!({"a": null})).unwrap().text("a").unwrap(), None);
    }

    #[test]
    fn wrong_types_name_the_argument_and_both_types() {
        let mut given = arguments(json!({"a": 3, "b": "yes"})).unwrap();
        let text = given.text("a").unwrap_err().to_string();
        assert_eq!(text, "a is a JSON number, it must be a string");
        let text = given.flag("b").unwrap_err().to_string();
        assert_eq!(text, "b is a JSON string, it must be true or false");
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        let number = |value: Value| arguments(json!({ "a": value })).unwrap().number("a", 1, 100);
        assert_eq!(number(json!(10)).unwrap(), Some(10));
        assert_eq!(number(json!(10.0)).unwrap(), Some(10));
        assert_eq!(number(json!(null)).unwrap(), None);
        for bad in [json!(0), json!(101), json!(1.5), json!(1e300), json!(-1)] {
            let text = number(bad.clone()).unwrap_err().to_string();
            assert_eq!(text, format!("a is {bad}, it must be between 1 and 100"));
        }
        assert!(number(json!("10")).is_err());
    }

    #[test]
    fn tags_come_as_a_list_or_with_commas() {
        let tags = |value: Value| tags_of("tags", value);
        assert_eq!(tags(json!(["a", "b,c"])).unwrap(), ["a", "b,c"]);
        assert_eq!(tags(json!("a, b c,,d ")).unwrap(), ["a", "b c", "d"]);
        assert_eq!(tags(json!("")).unwrap(), [""; 0]);
        assert!(tags(json!({"a": 1})).is_err());
        let text = tags(json!(["a", 1])).unwrap_err().to_string();
        assert_eq!(text, "an item of tags is a JSON number, it must be a string");
    }

    #[test]
    fn a_choice_names_what_there_is_to_choose() {
        let mut given = arguments(json!({"a": "ranked", "b": " "})).unwrap();
        assert_eq!(given.choice("b", &["any", "all"]).unwrap(), None);
        let text = given.choice("a", &["any", "all"]).unwrap_err().to_string();
        assert_eq!(text, "a is \"ranked\", it must be one of any, all");
    }
}
