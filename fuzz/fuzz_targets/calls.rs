//! Of any text, however it comes, the same calls and the same text are read, in every form; without calls nothing is lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use slm_values::tools::{CallReader, Form, Part, Tool};

fn read<'p>(form: Form, tools: &[Tool], pieces: impl Iterator<Item = &'p str>) -> (String, Vec<(usize, String)>) {
    let mut reader = CallReader::new(form, tools);
    let mut parts: Vec<Part> = pieces.flat_map(|piece| reader.push(piece)).collect();
    parts.extend(reader.finish());
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text { text: more, .. } => text.push_str(&more),
            Part::Call(call) => calls.push((text.len(), call.json().to_string())),
        }
    }
    (text, calls)
}

fuzz_target!(|input: (u8, u8, &str)| {
    let (form, n_bytes, text) = input;
    let form = Form::ALL[usize::from(form) % Form::ALL.len()];
    let parameters = json!({"properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
    let Ok(tool) = Tool::new("f", None, Some(&parameters), "tool") else { return };
    let whole = read(form, std::slice::from_ref(&tool), std::iter::once(text));
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (usize::from(n_bytes).max(1)..=rest.len()).find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    assert_eq!(read(form, &[tool], pieces.into_iter()), whole);
    if whole.1.is_empty() {
        assert_eq!(whole.0, text);
    }
});
