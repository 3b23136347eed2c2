//! The rows that a benchmark answers: texts of about 60 tokens, a closed contract and a record to extract.

use std::sync::Arc;

use crate::contract::{Contract, Form, Open};

/// The contract for scored rows if the model has none.
const CLOSED: &str = r#"{"type": "object", "properties": {
    "queue": {"enum": ["billing", "shipping", "account access", "technical", "legal", "other"]},
    "urgency": {"type": "integer", "minimum": 1, "maximum": 3},
    "refund": {"type": "boolean"}}}"#;

/// The record of six fields that is extracted; every string has a longest form, so that models of any quality write about
/// as much.
const RECORD: &str = r#"{"x-guidance": {"whitespace_flexible": false},
"type": "object", "additionalProperties": false,
"required": ["customer", "order", "amount", "queue", "refund", "date"], "properties": {
"customer": {"type": "string", "minLength": 8, "maxLength": 24},
"order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
"amount": {"type": "integer", "minimum": 0, "maximum": 9999},
"queue": {"enum": ["billing", "shipping", "account access", "technical", "legal", "other"]},
"refund": {"type": "boolean"},
"date": {"type": "string", "pattern": "^20[0-9]{2}-[01][0-9]-[0-3][0-9]$"}}}"#;

/// The instruction before a text to extract from.
pub const INSTRUCTION: &str = "Extract the customer's name, the order's number, the amount, the queue that should answer, \
                               whether a refund is asked for, and the date. Answer with JSON.";

const NAMES: [&str; 8] =
    ["Ada Moreau", "Tomas Lind", "Priya Nair", "Omar Haddad", "Lena Vogel", "Jun Tanaka", "Rosa Ortiz", "Sam Okafor"];
const COMPLAINTS: [&str; 8] = [
    "was charged twice and the bank cannot undo it",
    "arrived with a cracked screen and a missing cable",
    "still says that it waits in the warehouse",
    "cannot be opened since the password was changed",
    "was sent to the old address in the other town",
    "stops with an error after the last update",
    "should have been cancelled on the same morning",
    "came in the wrong colour for the second time",
];

/// A text of about 60 tokens; every number gives another.
#[must_use]
pub fn text(number: usize) -> String {
    let name = NAMES[number % NAMES.len()];
    let complaint = COMPLAINTS[(number / NAMES.len() + number) % COMPLAINTS.len()];
    let (order, amount) = (1000 + number * 37 % 9000, 10 + number * 13 % 900);
    let (month, day) = (1 + number % 12, 1 + number * 5 % 28);
    format!(
        "My name is {name}. The order KX-{order} of 2025-{month:02}-{day:02} {complaint}. I paid {amount}.50 for it and \
         would like to know what happens next, and when somebody will answer me."
    )
}

/// The contract of the scored rows.
///
/// # Panics
/// Never: the schema is a constant.
#[must_use]
pub fn closed() -> Arc<Contract> {
    Arc::new(Contract::parse(CLOSED).expect("a constant that a test parses"))
}

/// The form of the extracted records: a grammar, described in the prompt only by [`INSTRUCTION`].
///
/// # Panics
/// Never: the schema is a constant.
#[must_use]
pub fn record() -> Form {
    Form::Open(Open::lark(&format!("start: %json {RECORD}")).expect("a constant that a test compiles"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_differ_and_are_alike_in_length() {
        let texts: Vec<String> = (0..200).map(text).collect();
        let distinct: std::collections::HashSet<&String> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len());
        assert!(texts.iter().all(|text| (170..260).contains(&text.len())), "{texts:?}");
        assert_eq!(closed().fields().len(), 3);
        assert!(matches!(record(), Form::Open(_)));
    }
}
