//! Where the values of a JSON text are in it: a reader that keeps places, for text that is known to be JSON.

use std::ops::Range;

use serde_json::Value;

/// Lists and objects inside each other: as deep as the JSON parser before it goes.
const MAX_DEPTH: usize = 128;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Name(String),
    Index(usize),
}

/// A value that holds no other: a string, a number, `true`, `false` or `null`.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The steps from the root; none where the whole text is one value.
    pub path: Vec<Step>,
    pub value: Value,
    /// The bytes of the text that are the value, quotes included.
    pub bytes: Range<usize>,
}

impl Leaf {
    /// The bytes of what the value says: a string's without its quotes.
    #[must_use]
    pub fn content(&self) -> Range<usize> {
        if self.value.is_string() { self.bytes.start + 1..self.bytes.end - 1 } else { self.bytes.clone() }
    }

    /// The path with dots: `items.0.name`; nothing for the root.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let steps: Vec<String> = self
            .path
            .iter()
            .map(|step| match step {
                Step::Name(name) => name.clone(),
                Step::Index(index) => index.to_string(),
            })
            .collect();
        (!steps.is_empty()).then(|| steps.join("."))
    }
}

/// The leaves of a JSON text in the order of their places; nothing where it is not JSON.
#[must_use]
pub fn leaves(text: &str) -> Option<Vec<Leaf>> {
    let mut reader = Reader { text, at: 0, path: Vec::new(), leaves: Vec::new() };
    reader.value()?;
    reader.space();
    (reader.at == text.len()).then_some(reader.leaves)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    path: Vec<Step>,
    leaves: Vec<Leaf>,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<()> {
        if self.path.len() > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.peek()? {
            b'{' => self.members(b'}', |reader, _| {
                let name = reader.string()?;
                let name: String = serde_json::from_str(&reader.text[name]).ok()?;
                reader.space();
                reader.eat(b':')?;
                Some(Step::Name(name))
            }),
            b'[' => self.members(b']', |_, index| Some(Step::Index(index))),
            b'"' => {
                let bytes = self.string()?;
                self.leaf(bytes)
            }
            _ => {
                let rest = &self.text.as_bytes()[self.at..];
                let n = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
                let bytes = self.at..self.at + n;
                self.at = bytes.end;
                self.leaf(bytes)
            }
        }
    }

    fn members(&mut self, close: u8, step: impl Fn(&mut Self, usize) -> Option<Step>) -> Option<()> {
        self.at += 1;
        self.space();
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        for index in 0.. {
            self.space();
            let step = step(self, index)?;
            self.path.push(step);
            self.value()?;
            self.path.pop();
            self.space();
            if self.peek()? == close {
                self.at += 1;
                break;
            }
            self.eat(b',')?;
        }
        Some(())
    }

    /// The bytes of a string, quotes included.
    fn string(&mut self) -> Option<Range<usize>> {
        let from = self.at;
        self.eat(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(from..self.at).map(|_| from..self.at)
    }

    fn leaf(&mut self, bytes: Range<usize>) -> Option<()> {
        let value = serde_json::from_str(self.text.get(bytes.clone())?).ok()?;
        self.leaves.push(Leaf { path: self.path.clone(), value, bytes });
        Some(())
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn every_value_has_its_place() {
        let text = r#"{"a": "x\"é", "b": [1.5, {"c": true}], "d": {}, "e": null}"#;
        let found: Vec<(String, &str, Value)> = leaves(text)
            .unwrap()
            .into_iter()
            .map(|leaf| (leaf.name().unwrap(), &text[leaf.content()], leaf.value))
            .collect();
        let expect = [
            ("a", r#"x\"é"#, json!("x\"é")),
            ("b.0", "1.5", json!(1.5)),
            ("b.1.c", "true", json!(true)),
            ("e", "null", json!(null)),
        ];
        assert_eq!(found, expect.map(|(name, text, value)| (name.to_owned(), text, value)));
        assert_eq!(leaves("\"whole\"").unwrap()[0].name(), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn count(value: &Value) -> usize {
        match value {
            Value::Array(list) => list.iter().map(count).sum(),
            Value::Object(map) => map.values().map(count).sum(),
            _ => 1,
        }
    }

    proptest! {
        #[test]
        fn leaves_are_all_values_and_stand_where_they_say(value in any_json(), is_pretty in any::<bool>()) {
            let text = if is_pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let leaves = leaves(&text).unwrap();
            prop_assert_eq!(leaves.len(), count(&value));
            for leaf in leaves {
                prop_assert_eq!(&serde_json::from_str::<Value>(&text[leaf.bytes.clone()]).unwrap(), &leaf.value);
                let mut at = &value;
                for step in &leaf.path {
                    at = match step { Step::Name(name) => &at[name], Step::Index(index) => &at[index] };
                }
                prop_assert_eq!(at, &leaf.value);
            }
        }

        #[test]
        fn what_is_read_is_json_and_the_other_way_round(text in "[\\[\\]{}:,\"\\\\a1é -]{0,12}") {
            let is_json = serde_json::from_str::<Value>(&text).is_ok();
            prop_assert_eq!(leaves(&text).is_some(), is_json);
        }
    }
}
