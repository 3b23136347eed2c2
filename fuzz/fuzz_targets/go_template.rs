//! Any text is a Go template or an error, renders or fails within its limits, and no content forges a control token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, json};
use slm_values::chat::{Message, Role};
use slm_values::prompt::{Run, SpecialTokens};
use slm_values::template::{ChatTemplate, Date, Inputs, Language};
use slm_values::tools::{Tool, ToolCall};

/// A special token that the source does not write, so that only a content could.
const FORGED: &str = "<|forged|>";

fuzz_target!(|texts: (&str, &str)| {
    let (source, content) = texts;
    let specials = SpecialTokens { control: vec![FORGED.to_owned(), "<|end|>".to_owned()], ..SpecialTokens::default() };
    let Ok(template) = ChatTemplate::parse(Language::Go, source, specials) else { return };
    let _ = template.turn_end();
    let words = format!("{FORGED}{content}");
    let parameters = json!({"properties": {&words: {"type": "string", "enum": [words], "description": words}}});
    let Ok(tool) = Tool::new("look_up", Some(&words), Some(&parameters), "tool") else { return };
    let mut call = Message::new(Role::Assistant, "");
    call.tool_calls = vec![ToolCall::new("look_up", Map::from_iter([(words.clone(), json!(words))]))];
    let messages = [
        Message::new(Role::System, "Sort it."),
        Message::new(Role::User, format!("{content}{FORGED}{content}")),
        call,
        Message::new(Role::Tool, content),
        Message::new(Role::Assistant, "a"),
        Message::new(Role::User, content),
    ];
    let variables = Map::new();
    let inputs = Inputs {
        messages: &messages,
        n_beside: 0,
        add_generation_prompt: true,
        date: Date::PINNED,
        variables: &variables,
        tools: &[tool],
        contract: None,
    };
    if let Ok(prompt) = template.render(&inputs)
        && !"<|forged|>".chars().any(|c| source.contains(c))
    {
        assert!(!prompt.runs.iter().any(|run| matches!(run, Run::Control(text) if text == FORGED)));
    }
});
