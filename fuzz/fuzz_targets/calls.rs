//! Of any text, however it comes, the same calls and the same text are read, in every format; without calls nothing is lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use slm_values::tools::{AnswerPart, CallFormat, CallReader, Tool};

fn read<'p>(format: CallFormat, tools: &[Tool], pieces: impl Iterator<Item = &'p str>) -> (String, Vec<(usize, String)>) {
    let mut reader = CallReader::new(format, tools);
    let mut parts: Vec<AnswerPart> = pieces.flat_map(|piece| reader.push(piece)).collect();
    parts.extend(reader.finish());
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in parts {
        match part {
            AnswerPart::Text { text: more, .. } => text.push_str(&more),
            AnswerPart::Call(call) => calls.push((text.len(), call.json().to_string())),
        }
    }
    (text, calls)
}

fuzz_target!(|input: (u8, u8, &str)| {
    let (format, n_bytes, text) = input;
    let format = CallFormat::ALL[usize::from(format) % CallFormat::ALL.len()];
    let parameters = json!({"properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
    let Ok(tool) = Tool::new("f", None, Some(&parameters), "tool") else { return };
    let whole = read(format, std::slice::from_ref(&tool), std::iter::once(text));
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (usize::from(n_bytes).max(1)..=rest.len()).find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    assert_eq!(read(format, &[tool], pieces.into_iter()), whole);
    if whole.1.is_empty() {
        assert_eq!(whole.0, text);
    }
});
