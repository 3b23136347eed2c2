//! What templates must keep where there are tools: the reference's renderings, and that no word of a tool or a call
//! becomes a control token.

use super::*;
use crate::chat::{Message, Role};
use crate::digest::Digest;
use crate::prompt::{Prompt, Run, SpecialTokens};
use crate::thinking::Tags;
use crate::tools::{CallFormat, Tool, ToolCall};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

const CONTROL: [&str; 20] = [
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<|tool_call|>",
    "<|end_of_text|>",
];

fn specials() -> SpecialTokens {
    SpecialTokens { bos: "<s>".to_owned(), eos: "</s>".to_owned(), control: CONTROL.map(str::to_owned).to_vec() }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn golden(file: &str) -> String {
    let path = folder("chat_tools").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A conversation with its tools, from the golden files' form.
struct Talk {
    tools: Vec<Tool>,
    messages: Vec<Message>,
}

fn read_talks(json: &str) -> BTreeMap<String, Talk> {
    let text = |message: &Json, key: &str| message.get(key).and_then(Json::as_str).map(str::to_owned);
    let message = |json: &Json| Message {
        thinking: text(json, "thinking"),
        tool_calls: json.get("tool_calls").map(|calls| ToolCall::list(calls, "").unwrap()).unwrap_or_default(),
        tool_name: text(json, "name").or_else(|| text(json, "tool_name")),
        tool_call_id: text(json, "tool_call_id"),
        ..serde_json::from_value(json!({"role": json["role"], "content": json["content"]})).unwrap()
    };
    let talks: BTreeMap<String, Json> = serde_json::from_str(json).unwrap();
    let talk = |(name, talk): (String, Json)| {
        let messages = talk["messages"].as_array().unwrap().iter().map(message).collect();
        (name, Talk { tools: Tool::list(talk.get("tools").unwrap_or(&json!([])), "tools").unwrap(), messages })
    };
    talks.into_iter().map(talk).collect()
}

fn parse(source: &str) -> ChatTemplate {
    ChatTemplate::parse(Language::Jinja, source, specials()).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// The templates of the golden files by name; those of other people where they are.
fn templates() -> BTreeMap<String, ChatTemplate> {
    let shared = std::env::var_os("SLM_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let rendered: BTreeMap<String, Json> = serde_json::from_str(&golden("rendered.json")).unwrap();
    let own = folder("chat_tools");
    let mut found = BTreeMap::new();
    for name in rendered.into_keys() {
        let file = format!("{name}.jinja");
        let places = [own.join(&file), shared.join("vectors/chat").join(&file)];
        match places.iter().find_map(|path| std::fs::read_to_string(path).ok()) {
            Some(source) => drop(found.insert(name, parse(&source))),
            None => slm_testing::skipped!("there is no `{}`", places[1].display()),
        }
    }
    found
}

fn inputs<'a>(talk: &'a Talk, variables: &'a Map<String, Json>) -> Inputs<'a> {
    let Talk { tools, messages } = talk;
    Inputs { messages, n_beside: 0, add_generation_prompt: true, date: Date::PINNED, variables, tools, contract: None }
}

fn controls(prompt: &Prompt) -> Vec<&str> {
    prompt.runs.iter().filter(|run| matches!(run, Run::Control(_))).map(Run::text).collect()
}

/// `tests/golden/chat_tools.py` made the renderings.
#[test]
fn renderings_with_tools_equal_the_reference_byte_for_byte() {
    let rendered: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&golden("rendered.json")).unwrap();
    let talks = read_talks(&golden("conversations.json"));
    let mut n_compared = 0;
    for (name, template) in templates() {
        let ToolUse { calls, results, .. } = template.tool_use();
        for (case, expected) in &rendered[&name] {
            let (talk, variables) = match case.strip_suffix(", no thinking") {
                Some(talk) => (&talks[talk], json!({"enable_thinking": false})),
                None => (&talks[case], json!({})),
            };
            let has_calls = talk.messages.iter().any(|message| !message.tool_calls.is_empty());
            if has_calls && !(calls && results) {
                // The reference drops the calls.
                continue;
            }
            let variables = variables.as_object().unwrap();
            let text = template.render(&inputs(talk, variables)).unwrap().text();
            match expected.strip_prefix("sha256:") {
                Some(expected) => {
                    assert_eq!(Digest::of(text.as_bytes()).hex(), expected, "{name}, {case}:\n{text}");
                }
                None => assert_eq!(text, *expected, "{name}, {case}"),
            }
            n_compared += 1;
        }
    }
    assert!(n_compared >= 68, "{n_compared}");
}

#[test]
fn it_is_found_what_a_template_does_with_tools() {
    let all = ToolUse { tools: true, calls: true, results: true };
    let none = ToolUse::default();
    let results = ToolUse { results: true, ..none };
    let expected = [
        ("tagged", all, CallFormat::TAGGED),
        ("bare", all, CallFormat::BARE),
        ("ids", all, CallFormat::MISTRAL),
        ("typescript", all, CallFormat::TAGS),
        ("HuggingFaceTB-SmolLM3-3B", results, CallFormat::TAGGED),
        ("Qwen-Qwen2.5-7B-Instruct", all, CallFormat::TAGGED),
        ("Qwen-Qwen3-0.6B", all, CallFormat::TAGGED),
        ("google-gemma-2-2b-it", none, CallFormat::TAGGED),
        ("ibm-granite-granite-3.3-2B-Instruct", ToolUse { calls: false, ..all }, CallFormat::GRANITE),
        ("meta-llama-Llama-3.2-3B-Instruct", all, CallFormat::BARE),
        ("microsoft-Phi-3.5-mini-instruct", none, CallFormat::TAGGED),
        ("mistralai-Mistral-Nemo-Instruct-2407", all, CallFormat::MISTRAL),
    ];
    for (name, template) in templates() {
        let (_, tool_use, form) = expected.iter().find(|(known, ..)| *known == name).unwrap();
        assert_eq!((template.tool_use(), template.call_format()), (*tool_use, *form), "{name}");
    }
}

/// A conversation whose every word can be chosen.
fn talk_of(words: &[String; 9]) -> Talk {
    let [description, property, label, argument, value, id, result, thought, key] = words;
    let parameters = json!({
        "type": "object",
        "properties": {property: {"type": "string", "enum": [label, "a"], "description": description}, "n": {"type": key}},
        "required": [property],
        key: description,
    });
    let tool = Tool::new("look_up", Some(description), Some(&parameters), "tools[0]").unwrap();
    let arguments = json!({argument: value, "list": [value, {property: label}], "type": value});
    let mut call = Message::new(Role::Assistant, thought);
    call.thinking = Some(thought.clone());
    call.tool_calls =
        vec![ToolCall { id: Some(id.clone()), ..ToolCall::new("look_up", arguments.as_object().unwrap().clone()) }];
    let mut answer = Message::new(Role::Tool, result);
    (answer.tool_name, answer.tool_call_id) = (Some(description.clone()), Some(id.clone()));
    let messages = vec![Message::new(Role::System, "Sort."), Message::new(Role::User, "q"), call, answer];
    Talk { tools: vec![tool], messages }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever a tool, a call or an answer says, the prompt has the control tokens of one that says nothing odd.
    #[test]
    fn no_word_of_a_tool_or_a_call_becomes_control(
        pieces in prop::collection::vec((0..CONTROL.len(), 0..4usize, 0..4usize, "[ a\"\\\\\n<|é]{0,3}"), 9)
    ) {
        let spelled = |(at, front, back, text): &(usize, usize, usize, String)| {
            let special = CONTROL[*at];
            let n = special.len();
            format!("w{}{text}{special}{text}{}w", &special[n * front / 4..], &special[..n * back / 4])
        };
        let words: Vec<String> = pieces.iter().map(spelled).collect();
        let hostile = talk_of(&words.try_into().unwrap());
        let harmless = talk_of(&["d", "p", "l", "a", "v", "i", "r", "t", "k"].map(str::to_owned));
        let variables = Map::new();
        let go = ["json", "tagged", "typescript"].map(|name| {
            let source = std::fs::read_to_string(folder("go_tools").join(format!("{name}.gotmpl"))).unwrap();
            (format!("{name} in Go"), ChatTemplate::parse(Language::Go, &source, specials()).unwrap())
        });
        for (name, template) in templates().into_iter().chain(go) {
            let render = |talk: &Talk| template.render(&inputs(talk, &variables));
            if let (Ok(prompt), Ok(plain)) = (render(&hostile), template.plain(&inputs(&hostile, &variables))) {
                prop_assert_eq!(prompt.text(), plain, "{}", name);
            }
            match (render(&hostile), render(&harmless)) {
                (Ok(hostile), Ok(harmless)) => prop_assert_eq!(controls(&hostile), controls(&harmless), "{}", name),
                // What is refused for its shape is refused with other words, too.
                (Err(_), Err(_)) => {}
                (hostile, harmless) => prop_assert!(false, "{name}: {hostile:?} {harmless:?}"),
            }
        }
    }
}

/// What a template refuses as it came, it gets in the shape that it wants.
#[test]
fn calls_come_in_the_shape_that_a_template_takes() {
    let call = |id: Option<&str>, n: u8| ToolCall {
        id: id.map(str::to_owned),
        ..ToolCall::new("f", json!({"n": n}).as_object().unwrap().clone())
    };
    let talk = |ids: [Option<&str>; 2], answered: [Option<&str>; 2]| {
        let mut calls = Message::new(Role::Assistant, "");
        calls.tool_calls = vec![call(ids[0], 1), call(ids[1], 2)];
        let answer = |content: &str, id: Option<&str>| Message {
            tool_call_id: id.map(str::to_owned),
            ..Message::new(Role::Tool, content)
        };
        let messages =
            vec![Message::new(Role::User, "q"), calls, answer("one", answered[0]), answer("two", answered[1])];
        Talk { tools: Vec::new(), messages }
    };
    let templates = templates();
    let text = |name: &str, talk: &Talk| templates[name].render(&inputs(talk, &Map::new())).unwrap().text();
    let bare = text("bare", &talk([Some("call_1"), Some("call_2")], [Some("call_2"), Some("call_1")]));
    let begin = bare.find("{\"name\"").unwrap();
    assert_eq!(
        &bare[begin..],
        "{\"name\": \"f\", \"parameters\": {\"n\": 1}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n\"two\"<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n{\"name\": \"f\", \"parameters\": {\"n\": 2}}<|eot_id|>\
         <|start_header_id|>ipython<|end_header_id|>\n\n\"one\"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    let expected = |first: &str, second: &str, answers: [(&str, &str); 2]| {
        format!(
            "<s>[INST]q[/INST][TOOL_CALLS][{{\"name\": \"f\", \"arguments\": {{\"n\": 1}}, \"id\": \"{first}\"}}, \
             {{\"name\": \"f\", \"arguments\": {{\"n\": 2}}, \"id\": \"{second}\"}}]</s>\
             [TOOL_RESULTS]{{\"content\": {}, \"call_id\": \"{}\"}}[/TOOL_RESULTS]\
             [TOOL_RESULTS]{{\"content\": {}, \"call_id\": \"{}\"}}[/TOOL_RESULTS]",
            answers[0].0, answers[0].1, answers[1].0, answers[1].1
        )
    };
    let (first, second) = ("000000001", "000000002");
    let in_order = expected(first, second, [("one", first), ("two", second)]);
    assert_eq!(text("ids", &talk([None, None], [None, None])), in_order);
    assert_eq!(text("ids", &talk([Some("call_1"), Some("call_2")], [Some("call_1"), Some("call_2")])), in_order);
    let crossed = expected(first, second, [("one", second), ("two", first)]);
    assert_eq!(text("ids", &talk([Some("call_1"), Some("call_2")], [Some("call_2"), Some("call_1")])), crossed);
    let kept = expected("abcdefgh1", second, [("one", "abcdefgh1"), ("two", second)]);
    assert_eq!(text("ids", &talk([Some("abcdefgh1"), Some("x")], [Some("abcdefgh1"), Some("x")])), kept);
}

/// A template that knows no calls gets them in the contents, in the model's own form.
#[test]
fn calls_that_a_template_would_drop_are_written_for_it() {
    let template = parse("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}{# <|tool_call|> #}");
    let mut call = Message::new(Role::Assistant, "Wait.");
    let arguments = json!({"q": "<|tool_call|><|im_end|>"});
    call.tool_calls = vec![ToolCall::new("f", arguments.as_object().unwrap().clone())];
    let talk = Talk { tools: Vec::new(), messages: vec![Message::new(Role::User, "q"), call] };
    let prompt = template.render(&inputs(&talk, &Map::new())).unwrap();
    assert_eq!(
        prompt.text(),
        "<|im_start|>q<|im_end|><|im_start|>Wait.\n<|tool_call|>[{\"name\": \"f\", \"arguments\": \
         {\"q\": \"<|tool_call|><|im_end|>\"}}]<|im_end|>"
    );
    let expected = ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|tool_call|>", "<|im_end|>"];
    assert_eq!(controls(&prompt), expected);
}

/// `tests/golden/go_tools.go` made the renderings.
#[test]
fn renderings_with_tools_equal_those_of_go_byte_for_byte() {
    let file = |file: &str| std::fs::read_to_string(folder("go_tools").join(file)).unwrap();
    let rendered: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&file("rendered.json")).unwrap();
    let talks = read_talks(&file("conversations.json"));
    let mut n_compared = 0;
    for (name, cases) in rendered {
        let source = file(&format!("{name}.gotmpl"));
        let template = ChatTemplate::parse(Language::Go, &source, specials()).unwrap();
        assert_eq!(template.tool_use(), ToolUse { tools: true, calls: true, results: true }, "{name}");
        for (case, expected) in cases {
            let (talk, variables) = match case.rsplit_once(", ") {
                Some((talk, "think")) => (&talks[talk], json!({"enable_thinking": true})),
                Some((talk, "no think")) => (&talks[talk], json!({"enable_thinking": false})),
                _ => (&talks[&case], json!({})),
            };
            let prompt = template.render(&inputs(talk, variables.as_object().unwrap())).unwrap();
            assert_eq!(prompt.text(), expected, "{name}, {case}");
            n_compared += 1;
        }
    }
    assert_eq!(n_compared, 96);
}

/// What Ollama drops of a schema, and a model can use, stays behind what Ollama writes.
#[test]
fn go_shows_all_of_a_schema() {
    let parameters = json!({"additionalProperties": false, "properties": {"n": {"maximum": 3, "type": "integer"}}});
    let tool = Tool::new("f", None, Some(&parameters), "tools[0]").unwrap();
    let talk = Talk { tools: vec![tool], messages: vec![Message::new(Role::User, "q")] };
    let template = ChatTemplate::parse(Language::Go, "{{ .Messages | len }} {{ .Tools }}", specials()).unwrap();
    assert_eq!(
        template.render(&inputs(&talk, &Map::new())).unwrap().text(),
        "1 [{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\",\"parameters\":{\"type\":\"object\",\
         \"properties\":{\"n\":{\"type\":\"integer\",\"maximum\":3}},\"additionalProperties\":false}}}]"
    );
}

/// Escapes are those of the person's character, not of its twin.
#[test]
fn what_a_filter_escapes_is_escaped_for_the_characters_sake() {
    let description = "<|im_end|> ü\n\"\\ 🦙";
    let tool = Tool::new("f", Some(description), None, "tools[0]").unwrap();
    let talk = Talk { tools: vec![tool], messages: vec![Message::new(Role::User, description)] };
    let escaped = "<|im_end|> \\u00fc\\n\\\"\\\\ \\ud83e\\udd99";
    let template = parse(
        "{% for t in tools %}{{ t.function | tojson(ensure_ascii=True) }}{% endfor %}<|im_start|>\
         {{ messages[0].content | tojson(ensure_ascii=True) }}",
    );
    let prompt = template.render(&inputs(&talk, &Map::new())).unwrap();
    let expected = format!("{{\"name\": \"f\", \"description\": \"{escaped}\"}}<|im_start|>\"{escaped}\"");
    assert_eq!((prompt.text(), controls(&prompt)), (expected, vec!["<|im_start|>"]));
    let template = ChatTemplate::parse(Language::Go, "{{ json .Messages }}<|im_end|>", specials()).unwrap();
    let prompt = template.render(&inputs(&talk, &Map::new())).unwrap();
    assert!(prompt.text().contains("\\u003c|im_end|\\u003e ü\\n\\\"\\\\ 🦙"), "{}", prompt.text());
    assert_eq!(controls(&prompt), ["<|im_end|>"]);
}

/// A template that knows no tools is told of them in words, and of their answers by the user.
#[test]
fn a_template_without_tools_is_told_of_them() {
    let source = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}\
                  <|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let template = parse(source);
    assert_eq!((template.tool_use(), template.call_format()), (ToolUse::default(), CallFormat::TAGGED));
    let parameters = json!({"type": "object", "properties": {"q": {"enum": ["<|im_end|>"]}}});
    let tools = [Tool::new("look_up", Some("Finds."), Some(&parameters), "tools[0]").unwrap()];
    let mut call = Message::new(Role::Assistant, "");
    call.tool_calls = vec![ToolCall::new("look_up", json!({"q": "<|im_end|>"}).as_object().unwrap().clone())];
    let answers = ["one", "two"].map(|content| Message::new(Role::Tool, content));
    let [first, second] = answers;
    let system = Message::new(Role::System, "Be short.");
    let messages = [system, Message::new(Role::User, "q"), call, first, second, Message::new(Role::User, "Well?")];
    let messages = template.with_tools(&messages, &tools);
    let (tools, variables) = (tools.to_vec(), Map::new());
    let prompt = template.render(&inputs(&Talk { tools, messages: messages.into_owned() }, &variables)).unwrap();
    let expected = "<|im_start|>system\nBe short.\n\nYou can call these tools, each given with a JSON schema of its arguments:\n\
        {\"name\": \"look_up\", \"description\": \"Finds.\", \"parameters\": {\"type\": \"object\", \"properties\": \
        {\"q\": {\"enum\": [\"<|im_end|>\"]}}}}\nTo call a tool, write only this:\n<tool_call>\n\
        {\"name\": \"the name of the tool\", \"arguments\": {\"the name of an argument\": \"its value\"}}\n</tool_call>\n\
        What it answers comes back in <tool_response>. Where no tool helps, answer in words.<|im_end|>\n\
        <|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"look_up\", \"arguments\": \
        {\"q\": \"<|im_end|>\"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\none\n</tool_response>\n\
        <tool_response>\ntwo\n</tool_response>\n\nWell?<|im_end|>\n";
    assert_eq!(prompt.text(), expected);
    let expected: Vec<&str> = ["<|im_start|>", "<|im_end|>"].into_iter().cycle().take(8).collect();
    let own: Vec<&str> = controls(&prompt).into_iter().filter(|text| !text.contains("tool_call")).collect();
    assert_eq!(own, expected);
    // One that knows them is left alone.
    let tagged = &templates()["tagged"];
    let talk = [Message::new(Role::User, "q"), Message::new(Role::Tool, "one")];
    assert!(matches!(tagged.with_tools(&talk, &[]), Cow::Borrowed(_)));
}

/// Phi's looks for tools in the system message, as a text.
#[test]
fn tools_in_the_system_message_are_a_text() {
    let template = parse(
        "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not \
         none %}{{ '<|im_start|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' }}{% else %}\
         {{ '<|im_start|>' + message['content'] }}{% endif %}{% endfor %}",
    );
    assert_eq!(
        (template.tool_use(), template.call_format()),
        (ToolUse { tools: true, calls: false, results: true }, CallFormat::PHI)
    );
    let tool = Tool::new("f", Some("<|im_start|> \"ü\""), None, "tools[0]").unwrap();
    let mut talk = Talk { tools: vec![tool], messages: vec![Message::new(Role::User, "q")] };
    let expected =
        "<|im_start|><|tool|>[{\"name\": \"f\", \"description\": \"<|im_start|> \\\"ü\\\"\"}]<|/tool|><|im_start|>q";
    let prompt = template.render(&inputs(&talk, &Map::new())).unwrap();
    assert_eq!((prompt.text().as_str(), controls(&prompt)), (expected, vec!["<|im_start|>"; 2]));
    talk.messages.insert(0, Message::new(Role::System, "Be short."));
    let prompt = template.render(&inputs(&talk, &Map::new())).unwrap();
    assert_eq!(prompt.text(), expected.replacen("<|tool|>", "Be short.<|tool|>", 1));
}

#[test]
fn the_beginning_of_an_answer_has_its_special_tokens() {
    let template = parse("{{ messages[0].content }}<|im_end|>\nassistant:");
    let talk = Talk { tools: Vec::new(), messages: vec![Message::new(Role::User, "q")] };
    let mut prompt = template.render(&inputs(&talk, &Map::new())).unwrap();
    template.lead(&mut prompt, "Well <tool_call>\n");
    assert_eq!(prompt.text(), "q<|im_end|>\nassistant:Well <tool_call>\n");
    assert_eq!(controls(&prompt), ["<|im_end|>", "<tool_call>"]);
    assert_eq!(prompt.runs.len(), 5);
    let same = prompt.clone();
    template.lead(&mut prompt, "");
    assert_eq!(prompt, same);
}

#[test]
fn it_is_found_whether_a_model_thinks_and_what_turns_that() {
    let think = Tags::ALL[0];
    let switched =
        |variable: &'static str, by_default: bool| ThinkingSupport::Switched { tags: think, variable, by_default };
    let header = "{% for m in messages %}{{ m.content }}{% endfor %}<|im_start|>";
    let sources = [
        (header.to_owned(), ThinkingSupport::Never),
        (format!("{header}<think>\n"), ThinkingSupport::Always(think)),
        (format!("{header}{{{{ '</thinking>' if false }}}}"), ThinkingSupport::Always(Tags::ALL[1])),
        (
            format!("{header}{{% if enable_thinking is false %}}<think></think>{{% endif %}}"),
            switched("enable_thinking", true),
        ),
        (format!("{header}{{% if thinking %}}<think>{{% endif %}}"), switched("thinking", false)),
    ];
    for (source, expected) in sources {
        assert_eq!(parse(&source).thinking(), expected, "{source}");
    }
    let go = std::fs::read_to_string(folder("go_tools").join("tagged.gotmpl")).unwrap();
    let go = ChatTemplate::parse(Language::Go, &go, specials()).unwrap();
    assert_eq!(go.thinking(), switched("enable_thinking", true));
    let variables =
        |thinking: ThinkingSupport, wish| thinking.variables(wish).map(Json::Object).map_err(|error| error.to_string());
    assert_eq!(variables(switched("thinking", true), Some(false)), Ok(json!({"thinking": false})));
    assert_eq!(variables(ThinkingSupport::Never, Some(false)), Ok(json!({})));
    assert_eq!(
        variables(ThinkingSupport::Never, Some(true)).unwrap_err(),
        "this model does not think before it answers"
    );
    assert!(variables(ThinkingSupport::Always(think), Some(false)).unwrap_err().contains("always thinks"));
    assert_eq!(variables(ThinkingSupport::Always(think), None), Ok(json!({})));
}

#[test]
fn capabilities_are_told_in_ollamas_words() {
    let go = |source: &str| ChatTemplate::parse(Language::Go, source, specials()).unwrap();
    assert_eq!(go("{{ .Prompt }}").capabilities(false), ["completion"]);
    assert_eq!(go("{{ .Prompt }}{{ .Suffix }}").capabilities(false), ["completion", "insert"]);
    assert_eq!(parse("{{ messages[0].content }}").capabilities(true), ["completion", "insert"]);
    let tagged = std::fs::read_to_string(folder("go_tools").join("tagged.gotmpl")).unwrap();
    assert_eq!(go(&tagged).capabilities(false), ["completion", "tools", "thinking"]);
    assert_eq!(templates()["tagged"].capabilities(true), ["completion", "tools", "insert", "thinking"]);
}
