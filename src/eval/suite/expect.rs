//! What a suite expects of an answer: its fields, the columns that hold the truth, and when two values are the same.

use serde_json::{Map, Value, json};
use serde_yaml::Spanned;
use slm_stats::text::{DayMonth, Tolerance};

use super::error::SuiteError;
use super::limits::{self, TextLimits};
use super::yaml::invalid;
use crate::contract::{Contract, Field};

/// A field of the answer and the column of the data that says what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedField {
    pub field: String,
    /// `None` where nothing is expected but that limits are kept.
    pub column: Option<String>,
    pub judge: Judge,
    /// What a written answer is to keep beside.
    pub limits: Option<TextLimits>,
}

impl ExpectedField {
    /// Whether it is what is expected of this field of a contract, whose only field has no name where it is bare.
    #[must_use]
    pub fn is_of(&self, field: &Field, contract: &Contract) -> bool {
        contract.is_bare() || Some(&self.field) == field.name().as_ref()
    }

    /// As a suite says it in its map of fields, of another column.
    #[must_use]
    pub fn to_json(&self, column: &str) -> Value {
        let mut said = json!({"column": column, "as": self.judge.name()});
        match &self.judge {
            Judge::Number { tolerance: Tolerance { absolute, relative } } if *relative == 0.0 => {
                said["tolerance"] = json!(absolute);
            }
            Judge::Number { tolerance: Tolerance { relative, .. } } => {
                said["tolerance"] = json!(format!("{}%", relative * 100.0));
            }
            Judge::Date { order: DayMonth::MonthFirst } => said["order"] = json!("month_first"),
            Judge::List { key: Some(key) } => said["key"] = json!(key),
            Judge::Overlap { at_least } => said["at_least"] = json!(at_least),
            Judge::Date { order: DayMonth::DayFirst }
            | Judge::List { key: None }
            | Judge::Label
            | Judge::Tags
            | Judge::Text
            | Judge::OneOf
            | Judge::Limits => {}
        }
        said
    }
}

/// When an answer is as expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Judge {
    /// The same label: equal JSON, numbers by value.
    Label,
    /// The same set of tags. The answer is a list, or booleans below the field's name.
    Tags,
    /// The same text after case, space, punctuation and Unicode's variants of a character are folded away.
    Text,
    /// Numbers that differ by at most so much.
    Number { tolerance: Tolerance },
    /// The same day, however it is written.
    Date { order: DayMonth },
    /// The same things in any order, matched by a key of theirs where one is named, else so that most fit.
    List { key: Option<String> },
    /// One of several expected values: a list in the data, or a cell with `|` between them.
    OneOf,
    /// A text that has so much in common with the expected one: the F1 of ROUGE-L.
    Overlap { at_least: f64 },
    /// Any text that keeps its field's limits.
    Limits,
}

impl Judge {
    /// The same number, in whatever way it is written.
    pub const NUMBER: Judge = Judge::Number { tolerance: Tolerance { absolute: ROUNDING, relative: 0.0 } };

    /// The name in a suite.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Judge::Label => "exact",
            Judge::Tags => "tags",
            Judge::Text => "text",
            Judge::Number { .. } => "number",
            Judge::Date { .. } => "date",
            Judge::List { .. } => "list",
            Judge::OneOf => "one_of",
            Judge::Overlap { .. } => "overlap",
            Judge::Limits => "limits",
        }
    }

    /// Whether answers are classes, so that there are confusions of them.
    #[must_use]
    pub fn is_label(&self) -> bool {
        matches!(self, Judge::Label)
    }
}

const KINDS: &str = "is neither a column's name, nor a list of fields, nor a map of fields to columns";
const AS: &str = "`exact`, `text`, `number`, `date`, `list`, `one_of`, `tags`, `overlap`";
/// From this ROUGE-L on a text counts as right, where a suite says nothing.
const OVERLAP: f64 = 0.5;
/// What two ways of writing a number may differ by.
const ROUNDING: f64 = 1e-9;

/// The value of `expect`.
///
/// # Errors
///
/// It is of another kind, names nothing, or a field twice.
pub fn parse(value: Spanned<Value>) -> Result<Vec<ExpectedField>, SuiteError> {
    let fields = match &value.value {
        Value::String(column) => vec![same(column)],
        Value::Array(names) => {
            let names: Option<Vec<ExpectedField>> = names.iter().map(|n| n.as_str().map(same)).collect();
            match names {
                Some(names) => names,
                None => return invalid("expect", &value, KINDS),
            }
        }
        Value::Object(map) => map.iter().map(|(field, said)| of_map(field, said, &value)).collect::<Result<_, _>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) => return invalid("expect", &value, KINDS),
    };
    if fields.is_empty() {
        return invalid("expect", &value, "names no field");
    }
    if fields.iter().any(|f| f.field.trim().is_empty() || f.column.as_deref() == Some("")) {
        return invalid("expect", &value, "has an empty name");
    }
    let repeated = fields.iter().enumerate().find(|(i, f)| fields[..*i].iter().any(|e| e.field == f.field));
    if let Some((_, ExpectedField { field, .. })) = repeated {
        return invalid("expect", &value, format!("names `{field}` twice"));
    }
    Ok(fields)
}

fn same(name: impl AsRef<str>) -> ExpectedField {
    let name = name.as_ref().to_owned();
    ExpectedField { field: name.clone(), column: Some(name), judge: Judge::Label, limits: None }
}

fn of_map(field: &str, said: &Value, at: &Spanned<Value>) -> Result<ExpectedField, SuiteError> {
    match said {
        Value::String(column) => Ok(ExpectedField { column: Some(column.clone()), ..same(field) }),
        Value::Object(said) => {
            let known = ["column", "as", "tolerance", "order", "key", "at_least"];
            if let Some(key) = said.keys().find(|key| !known.contains(&key.as_str())) {
                let known = super::error::list(known);
                return invalid("expect", at, format!("of `{field}` has an unknown key `{key}`; the keys are {known}"));
            }
            let column = match said.get("column") {
                None => field.to_owned(),
                Some(Value::String(column)) => column.clone(),
                Some(other) => {
                    return invalid("expect", at, format!("of `{field}`: the column is `{other}`, not a name"));
                }
            };
            Ok(ExpectedField { column: Some(column), judge: judge(field, said, at)?, ..same(field) })
        }
        _ => invalid("expect", at, KINDS),
    }
}

fn judge(field: &str, said: &Map<String, Value>, at: &Spanned<Value>) -> Result<Judge, SuiteError> {
    let name = said.get("as").map_or(Some("exact"), Value::as_str);
    let judge = match name {
        Some("exact") => Judge::Label,
        Some("tags") => Judge::Tags,
        Some("text") => Judge::Text,
        Some("one_of") => Judge::OneOf,
        Some("overlap") => match said.get("at_least").map_or(Some(OVERLAP), Value::as_f64) {
            Some(at_least) if (0.0..=1.0).contains(&at_least) => Judge::Overlap { at_least },
            _ => return invalid("expect", at, format!("of `{field}`: `at_least` is no share from 0 to 1")),
        },
        Some("number") => Judge::Number { tolerance: tolerance(field, said, at)? },
        Some("date") => match said.get("order").map(Value::as_str) {
            None | Some(Some("day_first")) => Judge::Date { order: DayMonth::DayFirst },
            Some(Some("month_first")) => Judge::Date { order: DayMonth::MonthFirst },
            _ => {
                let problem =
                    format!("of `{field}`: `order` is {}; it can be `day_first` or `month_first`", said["order"]);
                return invalid("expect", at, problem);
            }
        },
        Some("list") => match said.get("key") {
            None => Judge::List { key: None },
            Some(Value::String(key)) => Judge::List { key: Some(key.clone()) },
            Some(other) => return invalid("expect", at, format!("of `{field}`: the key is `{other}`, not a name")),
        },
        _ => {
            let said = &said["as"];
            return invalid("expect", at, format!("of `{field}`: `as` is {said}; it can be {AS}"));
        }
    };
    let misplaced = [("tolerance", "number"), ("order", "date"), ("key", "list"), ("at_least", "overlap")];
    match misplaced.into_iter().find(|(key, of)| said.contains_key(*key) && *of != judge.name()) {
        Some((key, of)) => invalid("expect", at, format!("of `{field}`: `{key}` goes with `as: {of}` alone")),
        None => Ok(judge),
    }
}

/// How far two numbers may be apart: `0.01`, or `1%` of the expected one.
fn tolerance(field: &str, said: &Map<String, Value>, at: &Spanned<Value>) -> Result<Tolerance, SuiteError> {
    let found = match said.get("tolerance") {
        None => Some(Tolerance { absolute: ROUNDING, relative: 0.0 }),
        Some(Value::Number(absolute)) => absolute.as_f64().map(|absolute| Tolerance { absolute, relative: 0.0 }),
        Some(Value::String(text)) => {
            let percent = text.trim().strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
            percent.map(|percent| Tolerance { absolute: ROUNDING, relative: percent / 100.0 })
        }
        Some(_) => None,
    };
    match found {
        Some(tolerance) if tolerance.absolute >= 0.0 && tolerance.relative >= 0.0 => Ok(tolerance),
        _ => {
            let said = &said["tolerance"];
            invalid(
                "expect",
                at,
                format!("of `{field}`: the tolerance is {said}; write a number such as `0.01`, or `1%`"),
            )
        }
    }
}

/// The value of `limits`, set on the fields that it names, or on the only one. A field that nothing is expected of is added: its
/// answers are right where they keep the limits.
///
/// # Errors
///
/// It is of another kind, a limit is no such number or pattern, or a field is no text.
pub fn set_limits(value: &Spanned<Value>, expect: &mut Vec<ExpectedField>) -> Result<(), SuiteError> {
    let Value::Object(map) = &value.value else {
        return invalid("limits", value, "is not a map, such as `{max_words: 30, max_sentences: 2}`");
    };
    let is_by_field = !map.is_empty() && map.values().all(Value::is_object);
    if is_by_field {
        for (field, said) in map {
            let said = said.as_object().expect("checked above");
            let limits = limits::parse(said, value, &format!("of `{field}`: "))?;
            set_field(value, expect, field, limits)?;
        }
        return Ok(());
    }
    let limits = limits::parse(map, value, "")?;
    let field = match expect.as_slice() {
        [] => ANSWER.to_owned(),
        [only] => only.field.clone(),
        [first, ..] => {
            let problem = format!("does not say of which field; write `limits: {{{}: …}}`", first.field);
            return invalid("limits", value, problem);
        }
    };
    set_field(value, expect, &field, limits)
}

/// How the only field of a plain answer is called where nothing else names it.
const ANSWER: &str = "answer";

fn set_field(
    at: &Spanned<Value>,
    expect: &mut Vec<ExpectedField>,
    field: &str,
    limits: TextLimits,
) -> Result<(), SuiteError> {
    let Some(known) = expect.iter_mut().find(|known| known.field == field) else {
        let field = field.to_owned();
        expect.push(ExpectedField { field, column: None, judge: Judge::Limits, limits: Some(limits) });
        return Ok(());
    };
    if !matches!(known.judge, Judge::Text | Judge::OneOf | Judge::Overlap { .. }) {
        let judge = known.judge.name();
        let problem = format!(
            "of `{field}`: limits are of written text, and `expect` holds it against the data as `{judge}`; `as: overlap` and \
             `as: text` are of texts"
        );
        return invalid("limits", at, problem);
    }
    known.limits = Some(limits);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::eval::suite::{Suite, TextLimit};

    fn suite(more: &str) -> Result<Suite, String> {
        let text = format!("model: m\ndata: d.csv\ninput: text\n{more}\n");
        Suite::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_expected_is_said_as_it_was_read() {
        let kinds = [
            "exact",
            "text",
            "number",
            "number, tolerance: 0.5",
            "number, tolerance: 2%",
            "date",
            "date, order: month_first",
            "list",
            "list, key: name",
            "one_of",
            "tags",
            "overlap",
            "overlap, at_least: 0.25",
        ];
        for kind in kinds {
            let read = suite(&format!("expect: {{a: {{column: b, as: {kind}}}}}")).expect(kind).expect;
            let said = json!({"a": read[0].to_json("b")});
            assert_eq!(suite(&format!("expect: {said}")).expect(kind).expect, read, "{said}");
        }
    }

    #[test]
    fn limits_are_of_the_only_field_or_of_those_that_they_name() {
        let fields = |more: &str| suite(more).expect(more).expect;
        let limits = |field: &ExpectedField| field.limits.clone().expect("it has limits");
        let [alone] = fields("limits: {max_words: 3, matches: '[a-z ]+'}").try_into().expect("one field");
        assert_eq!((alone.field.as_str(), alone.column.as_ref(), &alone.judge), ("answer", None, &Judge::Limits));
        let limit = limits(&alone);
        let broken = |text: &str| limit.broken(&json!(text));
        assert_eq!(broken(" one two three\n"), Some(vec![]));
        assert_eq!(broken("One two three four"), Some(vec![TextLimit::Words, TextLimit::Pattern]));
        assert_eq!((broken(" "), limit.broken(&json!(null))), (None, None));

        let [only] = fields("expect: {s: {as: overlap}}\nlimits: {max_characters: 4}").try_into().expect("one field");
        assert_eq!(
            (only.column.as_deref(), limits(&only).broken(&json!("äöüß!"))),
            (Some("s"), Some(vec![TextLimit::Characters]))
        );

        let all = fields("expect: {s: {as: text}}\nlimits: {t: {max_sentences: 1}, s: {max_words: 9}}");
        let named: Vec<_> = all.iter().map(|field| (field.field.as_str(), field.judge.name())).collect();
        assert_eq!(named, [("s", "text"), ("t", "limits")]);
        assert_eq!(limits(&all[1]).broken(&json!("One. Two.")), Some(vec![TextLimit::Sentences]));
    }

    #[test]
    fn a_limit_that_cannot_be_used_is_named() {
        let refused = |more: &str, expected: &str| assert_eq!(suite(more).expect_err(more), expected);
        let limits = "`max_words`, `max_sentences`, `max_characters`, `matches`";
        refused("limits: 30", "line 4: `limits` is not a map, such as `{max_words: 30, max_sentences: 2}`");
        refused("limits: {}", &format!("line 4: `limits` names no limit; they are {limits}"));
        refused("limits: {words: 3}", &format!("line 4: `limits` has an unknown key `words`; the limits are {limits}"));
        refused("limits: {max_words: 0}", "line 4: `limits` `max_words` is `0`; write a whole number, 1 or more");
        refused(
            "limits: {s: {matches: '('}}",
            "line 4: `limits` of `s`: `matches`: `(` is not a supported regular expression: unclosed group",
        );
        refused(
            "expect: [a, b]\nlimits: {max_words: 3}",
            "line 5: `limits` does not say of which field; write `limits: {a: …}`",
        );
        refused(
            "expect: a\nlimits: {max_words: 3}",
            "line 5: `limits` of `a`: limits are of written text, and `expect` holds it against the data as `exact`; `as: overlap` \
             and `as: text` are of texts",
        );
        refused("limit: 3", "the suite has no `expect`; it needs `model` or `models`, `data`, `input` and `expect`");
    }
}
