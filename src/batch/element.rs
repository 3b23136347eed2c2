//! Where an element of a JSON array ends, byte by byte. It knows brackets, strings and commas; whether what is between them is JSON
//! is for its reader to find out.

/// Looks for the end of one element.
#[derive(Debug, Default)]
pub struct ElementEnd {
    /// Brackets of the element that are open.
    depth: usize,
    string: InString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum InString {
    #[default]
    Outside,
    Inside,
    /// After a backslash: the next byte ends no string.
    Escaped,
}

/// What comes after an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Element,
    Nothing,
}

impl ElementEnd {
    /// Takes the next byte. Where it ends the element, which it is no part of, says what comes after.
    pub fn at(&mut self, byte: u8) -> Option<After> {
        match (self.string, byte) {
            (InString::Inside, b'\\') => self.string = InString::Escaped,
            (InString::Inside, b'"') => self.string = InString::Outside,
            (InString::Inside, _) => {}
            (InString::Escaped, _) => self.string = InString::Inside,
            (InString::Outside, b'"') => self.string = InString::Inside,
            (InString::Outside, b'{' | b'[') => self.depth += 1,
            (InString::Outside, b',') if self.depth == 0 => return Some(After::Element),
            (InString::Outside, b']') if self.depth == 0 => return Some(After::Nothing),
            (InString::Outside, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            (InString::Outside, _) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The elements of an array's text after its opening bracket, and whether its end was found.
    fn split(text: &str) -> (Vec<&str>, bool) {
        let (mut elements, mut from, mut end) = (Vec::new(), 0, ElementEnd::default());
        for (at, byte) in text.bytes().enumerate() {
            let Some(after) = end.at(byte) else { continue };
            elements.push(text[from..at].trim());
            if after == After::Nothing {
                return (elements, true);
            }
            (from, end) = (at + 1, ElementEnd::default());
        }
        (elements, false)
    }

    #[test]
    fn brackets_and_commas_in_strings_end_nothing() {
        let text = r#" {"a": ["],", {"b\"}": "\\"}]} , "x],\"" ,7 ]"#;
        assert_eq!(split(text), (vec![r#"{"a": ["],", {"b\"}": "\\"}]}"#, r#""x],\"""#, "7"], true));
        assert_eq!(split(r#"{"a": 1}, {"b": "]"#), (vec![r#"{"a": 1}"#], false));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a\"\\\\\\[\\]{},: \n\u{e9}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a\"\\]},]{0,3}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Compact and over many lines, an array falls into the elements that serde_json reads.
        #[test]
        fn elements_are_those_that_serde_json_reads(elements in prop::collection::vec(value(), 1..6)) {
            let array = json!(elements);
            for text in [array.to_string(), serde_json::to_string_pretty(&array).unwrap()] {
                let (found, is_closed) = split(&text[1..]);
                let found: Vec<Value> = found.into_iter().map(|text| serde_json::from_str(text).unwrap()).collect();
                prop_assert!(is_closed);
                prop_assert_eq!(&found, &elements);
            }
        }
    }
}
