//! How a closed contract is presented to a model: its description, where that is in the prompt, and the form in which answers are
//! scored.
//!
//! The words were chosen by a sweep over real models and labelled texts (`examples/sweep.rs`).

use std::fmt::Write as _;

use serde_json::Value;

use slm_engine::{Ending, Group, Spelling};
use slm_values::contract::{AllowedAnswer, Contract, Field, FieldKind};

/// The version of the wordings below. A change of the words is another version, and other probabilities.
pub const WORDING: u32 = 2;

/// The name of a single value where it is written as an object's field.
const ONE_FIELD: &str = "answer";

/// How a closed contract is put to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording {
    pub written: Written,
    pub place: Place,
}

/// How the model would write its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A single value as it is; the fields of an object as lines of the form `field: value`.
    Plain,
    /// JSON, with a space after each colon and comma.
    Json,
    /// JSON without spaces.
    CompactJson,
    /// JSON as the model would write it: with spaces, without, or in indented lines.
    AnyJson,
    /// JSON with spaces, in which a single value is the field `answer` of an object.
    JsonObject,
    /// The number of an option in a list.
    Number,
}

/// Where the contract is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the caller's own words do.
    Nowhere,
    /// At the end of the system message.
    System,
    /// Before the text, in its message.
    Before,
    /// After the text, in its message.
    After,
}

impl Default for Wording {
    fn default() -> Wording {
        Wording::PINNED
    }
}

impl Wording {
    /// For a contract that nobody else describes: a Modelfile's, or one that was given on the command line.
    pub const PINNED: Wording = Wording { written: Written::JsonObject, place: Place::System };
    /// For a model that has learned to answer contracts, and for a base model, which continues texts: descriptions lead it astray.
    pub const UNDESCRIBED: Wording = Wording { written: Written::Plain, place: Place::Nowhere };
    /// For the format of a request: its caller reads JSON.
    pub const CALLERS: Wording = Wording { written: Written::AnyJson, place: Place::System };

    /// The contract in words; nothing where its [`Place`] is nowhere.
    #[must_use]
    pub fn describe(self, contract: &Contract) -> Option<String> {
        if self.place == Place::Nowhere {
            return None;
        }
        let mut text = String::new();
        match (contract.fields(), self.written) {
            ([field], Written::Plain | Written::Number) if contract.is_bare() => {
                if let Some(description) = &field.description {
                    let _ = writeln!(text, "{description}");
                }
                let ask = if self.written == Written::Number { "the number of one" } else { "exactly one" };
                let _ = writeln!(text, "Answer with {ask} of the following, and nothing else:");
                self.options(field, "", &mut text);
            }
            (fields, _) => {
                let _ = writeln!(text, "Read the message and decide these fields:");
                for field in fields {
                    self.field(field, &mut text);
                }
                text += &self.shape(contract);
            }
        }
        Some(text.trim_end().to_owned())
    }

    /// An example's answer in the form that is described; one that is no allowed answer stays as it is.
    #[must_use]
    pub fn example(self, contract: &Contract, answer: &str) -> String {
        let [field] = contract.fields() else { return answer.to_owned() };
        let allowed = field.options.iter().find(|option| option.label == answer.trim());
        match allowed.filter(|_| contract.is_bare() && self.written == Written::JsonObject) {
            Some(option) => format!("{{{}: {}}}", Value::from(ONE_FIELD), option.value),
            None => answer.to_owned(),
        }
    }

    /// The names that lead to each field in the JSON that is written.
    fn paths(self, contract: &Contract) -> Vec<Vec<String>> {
        if contract.is_bare() && self.written == Written::JsonObject {
            return vec![vec![ONE_FIELD.to_owned()]];
        }
        contract.fields().iter().map(|field| field.path.clone()).collect()
    }

    fn field(self, field: &Field, text: &mut String) {
        let name = field.name().unwrap_or_else(|| ONE_FIELD.to_owned());
        let description = field.description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
        match (field.kind, field.options.as_slice()) {
            (FieldKind::Boolean, _) if self.written != Written::Number => {
                let _ = writeln!(text, "- {name}{description}: true or false");
            }
            (FieldKind::Integer, [first, .., last]) if self.written != Written::Number => {
                let _ = writeln!(text, "- {name}{description}: a whole number from {} to {}", first.label, last.label);
            }
            _ => {
                let _ = writeln!(text, "- {name}{description}, one of:");
                self.options(field, "  ", text);
            }
        }
    }

    fn options(self, field: &Field, indent: &str, text: &mut String) {
        for (number, option) in (1..).zip(&field.options) {
            let description = option.description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
            let label = match self.written {
                Written::Plain => option.label.clone(),
                Written::Number => format!("{number}. {}", option.label),
                _ => option.value.to_string(),
            };
            let bullet = if self.written == Written::Number { "" } else { "- " };
            let _ = writeln!(text, "{indent}{bullet}{label}{description}");
        }
    }

    /// What an answer looks like.
    fn shape(self, contract: &Contract) -> String {
        match self.written {
            Written::Plain => "Answer with one line of the form `field: value`, and nothing else.".to_owned(),
            Written::Number => "Answer with one line of the form `field: number`, and nothing else.".to_owned(),
            _ if self.paths(contract) == [&[] as &[String]] => {
                "Answer with the JSON of the value, and nothing else.".to_owned()
            }
            _ => {
                let paths = self.paths(contract);
                let field = |number| format!("{}…{}", opening(&paths, number), closing(&paths, number));
                let shape: String = (0..paths.len()).map(field).collect();
                format!("Answer with JSON of the form {shape}, and nothing else.")
            }
        }
    }

    /// What is scored: for every field how its answer begins and the ways in which it may go on. `lead` stands between the
    /// prompt and the answer.
    #[must_use]
    pub fn groups(self, contract: &Contract, lead: &str) -> Vec<Group> {
        let paths = self.paths(contract);
        let group = |(number, field): (usize, &Field)| match self.written {
            Written::Plain | Written::Number => {
                let label = |(number, option): (usize, &AllowedAnswer)| match self.written {
                    Written::Number => (number + 1).to_string(),
                    _ => option.label.clone(),
                };
                let labels = field.options.iter().enumerate().map(label);
                match field.name() {
                    None if lead.is_empty() => Group::new("", labels),
                    None => Group::new("", labels.map(|label| format!("{lead}{label}"))),
                    Some(name) => Group::new(&format!("{lead}{name}:"), labels.map(|label| format!(" {label}"))),
                }
            }
            Written::Json | Written::JsonObject => json_group(field, number, &paths, &[SPACED], lead),
            Written::CompactJson => json_group(field, number, &paths, &[COMPACT], lead),
            Written::AnyJson => json_group(field, number, &paths, &[SPACED, COMPACT, INDENTED], lead),
        };
        contract.fields().iter().enumerate().map(group).collect()
    }
}

/// A field of an object's JSON as though it came first in the object: which answers the fields before it have must not matter.
fn json_group(field: &Field, number: usize, paths: &[Vec<String>], spellings: &[Json], lead: &str) -> Group {
    let ending = if paths[number].is_empty() { Ending::Turn } else { Ending::Text };
    let mut candidates: Vec<String> = field.options.iter().map(|option| option.value.to_string()).collect();
    // A quote that all have is part of what is given.
    let is_quoted = candidates.iter().all(|value| value.starts_with('"'));
    for value in candidates.iter_mut().filter(|_| is_quoted) {
        value.remove(0);
    }
    let quote = if is_quoted { "\"" } else { "" };
    let spelling = |json: &Json| {
        let before: String = paths[number].iter().enumerate().map(|(depth, name)| json.opening(depth, name)).collect();
        Spelling { before: format!("{lead}{before}{quote}"), after: json.closing(paths, number) }
    };
    let mut all: Vec<Spelling> = spellings.iter().map(spelling).collect();
    // A bare value has one.
    all.dedup();
    Group { spellings: all, candidates, ending }
}

/// A way to write JSON.
struct Json {
    colon: &'static str,
    is_indented: bool,
}

const SPACED: Json = Json { colon: ": ", is_indented: false };
const COMPACT: Json = Json { colon: ":", is_indented: false };
const INDENTED: Json = Json { colon: ": ", is_indented: true };

impl Json {
    /// What stands before the value of an object's first field, so deep in the answer.
    fn opening(&self, depth: usize, name: &str) -> String {
        let Json { colon, .. } = self;
        let indent = if self.is_indented { format!("\n{}", "  ".repeat(depth + 1)) } else { String::new() };
        format!("{{{indent}{}{colon}", Value::from(name))
    }

    fn closing(&self, paths: &[Vec<String>], number: usize) -> String {
        let closing = closing(paths, number);
        if !self.is_indented {
            return closing;
        }
        let depth = paths[number].len();
        let close = |(level, c): (usize, char)| match c {
            '}' => format!("\n{}}}", "  ".repeat(depth - 1 - level)),
            c => c.to_string(),
        };
        closing.chars().enumerate().map(close).collect()
    }
}

/// What stands between the value of the field before and this field's own.
fn opening(paths: &[Vec<String>], number: usize) -> String {
    let path = &paths[number];
    let before = number.checked_sub(1).map_or(&[][..], |before| &paths[before]);
    let shared = path.iter().zip(before).take_while(|(one, other)| one == other).count();
    let name = |(depth, name): (usize, &String)| {
        let between = if depth == shared && number > 0 { " " } else { "{" };
        format!("{between}{}: ", Value::from(name.as_str()))
    };
    path.iter().enumerate().skip(shared).map(name).collect()
}

/// What closes a field's value: the objects that end with it, and the comma before the next field.
fn closing(paths: &[Vec<String>], number: usize) -> String {
    let path = &paths[number];
    let Some(next) = paths.get(number + 1) else { return "}".repeat(path.len()) };
    let shared = path.iter().zip(next).take_while(|(one, other)| one == other).count();
    "}".repeat(path.len().saturating_sub(shared + 1)) + ","
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const JSON: Wording = Wording { written: Written::Json, place: Place::System };
    const NUMBER: Wording = Wording { written: Written::Number, place: Place::System };
    const PLAIN: Wording = Wording { written: Written::Plain, place: Place::System };

    fn contract() -> Contract {
        Contract::from_schema(json!({"type": "object", "properties": {
            "queue": {"description": "who handles it", "oneOf": [
                {"const": "billing", "description": "money"}, {"const": "other"},
            ]},
            "at": {"type": "object", "properties": {"urgency": {"type": "integer", "minimum": 1, "maximum": 3}}},
            "refund": {"type": "boolean"},
        }}))
        .unwrap()
    }

    #[test]
    fn an_object_is_described_field_by_field() {
        let fields = "Read the message and decide these fields:\n\
            - queue (who handles it), one of:\n  - billing (money)\n  - other\n\
            - at.urgency: a whole number from 1 to 3\n\
            - refund: true or false\n";
        let line = "Answer with one line of the form `field: value`, and nothing else.";
        assert_eq!(PLAIN.describe(&contract()).unwrap(), format!("{fields}{line}"));
        let fields = fields.replace("- billing", "- \"billing\"").replace("- other", "- \"other\"");
        let shape =
            "Answer with JSON of the form {\"queue\": …, \"at\": {\"urgency\": …}, \"refund\": …}, and nothing else.";
        assert_eq!(JSON.describe(&contract()).unwrap(), format!("{fields}{shape}"));
        assert_eq!(Wording { place: Place::Nowhere, ..JSON }.describe(&contract()), None);
    }

    #[test]
    fn a_bare_value_is_described_by_its_options() {
        let contract = Contract::choices("yes,no idea").unwrap();
        let expected = "Answer with exactly one of the following, and nothing else:\n- yes\n- no idea";
        assert_eq!(PLAIN.describe(&contract).unwrap(), expected);
        assert_eq!(PLAIN.groups(&contract, ""), [Group::new("", ["yes", "no idea"])]);
        let expected = "Answer with the number of one of the following, and nothing else:\n1. yes\n2. no idea";
        assert_eq!(NUMBER.describe(&contract).unwrap(), expected);
        assert_eq!(NUMBER.groups(&contract, " "), [Group::new("", [" 1", " 2"])]);
        assert_eq!(JSON.groups(&contract, ""), [Group::new("\"", ["yes\"", "no idea\""])]);
        let object = Wording { written: Written::JsonObject, place: Place::System };
        let expected = "Read the message and decide these fields:\n- answer, one of:\n  - \"yes\"\n  - \"no idea\"\n\
            Answer with JSON of the form {\"answer\": …}, and nothing else.";
        assert_eq!(object.describe(&contract).unwrap(), expected);
        assert_eq!(object.example(&contract, "no idea\n"), "{\"answer\": \"no idea\"}");
        assert_eq!(
            (object.example(&contract, "maybe"), PLAIN.example(&contract, "yes")),
            ("maybe".into(), "yes".into())
        );
        let groups = object.groups(&contract, "");
        assert_eq!(
            (groups[0].spellings[0].before.as_str(), groups[0].spellings[0].after.as_str()),
            ("{\"answer\": \"", "}")
        );
    }

    #[test]
    fn fields_are_scored_as_they_are_written() {
        let lines = PLAIN.groups(&contract(), "");
        assert_eq!(lines[1], Group::new("at.urgency:", [" 1", " 2", " 3"]));
        let json = JSON.groups(&contract(), "");
        let of = |before: &str, candidates: &[&str], after: &str| {
            let spelling = Spelling { before: before.to_owned(), after: after.to_owned() };
            Group { spellings: vec![spelling], ending: Ending::Text, ..Group::new("", candidates.iter().copied()) }
        };
        assert_eq!(json[0], of("{\"queue\": \"", &["billing\"", "other\""], ","));
        assert_eq!(json[1], of("{\"at\": {\"urgency\": ", &["1", "2", "3"], "},"));
        assert_eq!(json[2], of("{\"refund\": ", &["true", "false"], "}"));
        let any = Wording { written: Written::AnyJson, place: Place::Nowhere };
        let spelled = any.groups(&contract(), "").remove(1).spellings.into_iter();
        let spelled: Vec<String> = spelled.map(|spelling| format!("{}2{}", spelling.before, spelling.after)).collect();
        let expected =
            ["{\"at\": {\"urgency\": 2},", "{\"at\":{\"urgency\":2},", "{\n  \"at\": {\n    \"urgency\": 2\n  },"];
        assert_eq!(spelled, expected);
    }
}
