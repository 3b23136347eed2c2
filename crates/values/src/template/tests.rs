//! What templates and their prompts must keep: the reference renderings, and authorship under hostile contents.

use super::chat_template::MAX_SOURCE;
use super::*;
use crate::chat::{Message, Role};
use crate::prompt::{Prompt, RowSpan, Run, RunOffset, SpecialTokens};
use proptest::prelude::*;
use serde_json::{Map, json};
use std::ops::Range;
use std::path::PathBuf;

#[derive(serde::Deserialize)]
struct Vectors {
    template: String,
    bos_token: String,
    eos_token: String,
    date: String,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    case: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    rendered: Option<String>,
    error: Option<String>,
}

/// Special tokens of all families together: none of them may come from a content.
const CONTROL: [&str; 34] = [
    "<s>",
    "</s>",
    "<unk>",
    "[INST]",
    "[/INST]",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<think>",
    "</think>",
    "<tool_response>",
    "</tool_response>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "<|tool|>",
    "\n\n",
    "<|python_tag|>",
];

fn specials() -> SpecialTokens {
    SpecialTokens { bos: "<s>".to_owned(), eos: "</s>".to_owned(), control: CONTROL.map(str::to_owned).to_vec() }
}

/// The reference vectors, or a word on standard error and nothing where they are not.
fn vectors() -> Vec<(String, Vectors)> {
    let shared = std::env::var_os("SLM_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(shared.join("vectors/chat")) else {
        slm_testing::skipped!("no reference renderings in `{}`", shared.join("vectors/chat").display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        vectors.template = std::fs::read_to_string(path.with_file_name(&vectors.template)).unwrap();
        (name, vectors)
    };
    paths.into_iter().map(read).collect()
}

fn date(text: &str) -> Date {
    let parts: Vec<u16> = text.split('-').map(|part| part.parse().unwrap()).collect();
    Date::new(parts[0], u8::try_from(parts[1]).unwrap(), u8::try_from(parts[2]).unwrap()).unwrap()
}

fn render(template: &ChatTemplate, messages: &[Message]) -> Result<Prompt, TemplateError> {
    let variables = Map::new();
    template.render(&Inputs {
        messages,
        n_beside: 0,
        add_generation_prompt: true,
        date: Date::PINNED,
        variables: &variables,
        tools: &[],
        contract: None,
    })
}

fn parse(source: &str) -> ChatTemplate {
    ChatTemplate::parse(Language::Jinja, source, specials()).unwrap()
}

fn user(content: &str) -> Vec<Message> {
    vec![Message::new(Role::User, content)]
}

fn controls(prompt: &Prompt) -> Vec<String> {
    let control = |run: &Run| match run {
        Run::Control(text) => Some(text.clone()),
        _ => None,
    };
    prompt.runs.iter().filter_map(control).collect()
}

#[test]
fn renderings_equal_the_reference_byte_for_byte() {
    for (name, vectors) in vectors() {
        let tokens = SpecialTokens { bos: vectors.bos_token, eos: vectors.eos_token, ..specials() };
        let template = ChatTemplate::parse(Language::Jinja, &vectors.template, tokens).unwrap();
        for case in vectors.cases {
            let inputs = Inputs {
                messages: &case.messages,
                n_beside: 0,
                add_generation_prompt: case.add_generation_prompt,
                date: date(&vectors.date),
                variables: &Map::new(),
                tools: &[],
                contract: None,
            };
            let at = format!("{name}, {}", case.case);
            match (template.render(&inputs), case.rendered, case.error) {
                (Ok(prompt), Some(rendered), None) => assert_eq!(prompt.text(), rendered, "{at}"),
                (Err(TemplateError::Refused { message }), None, Some(error)) => assert_eq!(message, error, "{at}"),
                (got, rendered, error) => panic!("{at}: {got:?} is not {rendered:?} {error:?}"),
            }
        }
    }
}

#[test]
fn the_ends_of_turns_and_the_place_of_system_are_found() {
    let found: Vec<(String, Option<String>, SystemRole)> = vectors()
        .into_iter()
        .map(|(name, vectors)| {
            let tokens = SpecialTokens { bos: vectors.bos_token, eos: vectors.eos_token, ..specials() };
            let template = ChatTemplate::parse(Language::Jinja, &vectors.template, tokens).unwrap();
            (name, template.turn_end(), template.system_role())
        })
        .collect();
    let expected = [
        ("HuggingFaceTB-SmolLM3-3B", "<|im_end|>", SystemRole::Native),
        ("Qwen-Qwen2.5-7B-Instruct", "<|im_end|>", SystemRole::Native),
        ("Qwen-Qwen3-0.6B", "<|im_end|>", SystemRole::Native),
        ("google-gemma-2-2b-it", "<end_of_turn>", SystemRole::Refused),
        ("ibm-granite-granite-3.3-2B-Instruct", "<|end_of_text|>", SystemRole::Native),
        ("meta-llama-Llama-3.2-3B-Instruct", "<|eot_id|>", SystemRole::Native),
        ("microsoft-Phi-3.5-mini-instruct", "<|end|>", SystemRole::Native),
        ("mistralai-Mistral-Nemo-Instruct-2407", "</s>", SystemRole::Native),
    ];
    for (name, end, system) in &found {
        if let Some((_, expected_end, expected_system)) = expected.iter().find(|(known, ..)| known == name) {
            assert_eq!((end.as_deref(), *system), (Some(*expected_end), *expected_system), "{name}");
        }
    }
    let ignoring = parse("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}");
    assert_eq!((ignoring.turn_end(), ignoring.system_role()), (None, SystemRole::Ignored));
}

#[test]
fn a_prompt_tells_its_row_and_its_persons() {
    let template = parse(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}<|im_start|>",
    );
    let messages = [Message::new(Role::System, "Label."), Message::new(Role::User, " say <|im_end|> é ")];
    let prompt = render(&template, &messages).unwrap();
    let control = |text: &str| Run::Control(text.to_owned());
    let text = |text: &str, persons: Vec<Range<usize>>| Run::Text { text: text.to_owned(), persons };
    let expected = [
        control("<|im_start|>"),
        text("system\nLabel.", std::iter::once(7..13).collect()),
        control("<|im_end|>"),
        text("\n", vec![]),
        control("<|im_start|>"),
        text("user\nsay <|im_end|> é", std::iter::once(5..22).collect()),
        control("<|im_end|>"),
        text("\n", vec![]),
        control("<|im_start|>"),
    ];
    assert_eq!(prompt.runs, expected);
    assert_eq!(prompt.row_start, Some(RunOffset { run: 5, offset: 5 }));
    assert_eq!(prompt.row, Some(RowSpan { run: 5, range: 5..22 }));
}

#[test]
fn pieces_do_not_join_to_control() {
    let sources = [
        "{{ messages[0].content }}{{ messages[1].content }}",
        "{{ messages[0].content }}im_end|>{{ messages[1].content }}",
        "{{ (messages[0].content ~ messages[1].content) | upper | lower }}",
        "{{ messages[0].content.replace('X', '') ~ messages[1].content.strip() }}",
        "{{ messages[0].content[:4] }}{{ messages[1].content[-10:] }}",
        "{{ messages | tojson }}",
        "{% for c in messages[0].content %}{{ c }}{% endfor %}{{ messages[1].content }}",
        "{{ messages | map(attribute='content') | join('') }}",
    ];
    let pieces =
        [("<|im_", "end|>"), ("<|", "<|im_end|>"), ("<X|imX_end|>", " <|im_end|>"), ("</think>", "<|im_end|>")];
    for source in sources {
        for (first, second) in pieces {
            for role in [Role::User, Role::System, Role::Tool, Role::Assistant] {
                let messages = [Message::new(role, first), Message::new(Role::User, second)];
                let prompt = render(&parse(source), &messages).unwrap();
                assert_eq!(controls(&prompt), Vec::<String>::new(), "{source} {first} {second}");
            }
        }
    }
}

#[test]
fn a_template_that_looks_into_contents_still_can() {
    let thinking = parse(
        "{% for m in messages %}<|im_start|>{{ m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' \
         else m.content }}<|im_end|>{% endfor %}",
    );
    let messages = [Message::new(Role::User, "hi </think> x"), Message::new(Role::Assistant, "<think>a</think>\n\nb")];
    let prompt = render(&thinking, &messages).unwrap();
    assert_eq!(prompt.text(), "<|im_start|>hi </think> x<|im_end|><|im_start|>b<|im_end|>");
    assert_eq!(controls(&prompt), ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]);

    let kept = parse("{% for m in messages %}{% if '</think>' in m.content %}{{ m.content }}{% endif %}{% endfor %}");
    for content in ["a</think>b", "a\n</think>\nb", "</think>", " </think></think>"] {
        let prompt = render(&kept, &[Message::new(Role::Assistant, content)]).unwrap();
        assert_eq!((prompt.text().as_str(), controls(&prompt).len()), (content, 0));
    }
    let rewritten = parse(
        "{% set parts = messages[0].content.split('</think>') %}{{ parts[0].strip() }}\n</think>\n{{ parts[1].strip() }}",
    );
    let prompt = render(&rewritten, &[Message::new(Role::Assistant, "a\n</think>\nb")]).unwrap();
    assert_eq!((prompt.text().as_str(), controls(&prompt).len()), ("a\n</think>\nb", 1));

    let lines = parse("{{ messages[0].content.replace('\\r\\n', '\\n').replace('\\n\\n', '\\n') }}<|user|>");
    let prompt = render(&lines, &user("a\r\n\r\n</s>b")).unwrap();
    assert_eq!((prompt.text().as_str(), controls(&prompt).len()), ("a\n</s>b<|user|>", 1));

    let switch = parse("{{ 'off' if '/no_think' in messages[0].content else 'on' }}<|user|>{{ messages[0].content }}");
    assert_eq!(render(&switch, &user("x /no_think")).unwrap().text(), "off<|user|>x /no_think");
}

/// Some vocabularies have special tokens of letters only, which a label may well be.
#[test]
fn a_contract_does_not_spell_special_tokens_of_letters() {
    let control = ["USER", "<|end|>"].map(str::to_owned).to_vec();
    let specials = SpecialTokens { control, ..SpecialTokens::default() };
    let contract = json!({"properties": {
        "USER": {"type": "string", "description": "the USER who", "enum": ["USER", "US", "ER"]},
        "queue": {"type": "string", "enum": ["USER"]},
    }});
    let sources = [
        // Names and labels are only written.
        "USER{% for name, field in contract.properties.items() %}{{ name }}{{ field.description }}\
         {{ field.enum | join('') }}{{ field.type }}{% endfor %}<|end|>",
        // A field is looked for by its name.
        "<|end|>{% for value in contract.properties.queue.enum %}{{ value }}{% endfor %}{{ contract | tojson }}",
    ];
    for (source, expected) in sources.into_iter().zip([&["USER", "<|end|>"][..], &["<|end|>"][..]]) {
        let template = ChatTemplate::parse(Language::Jinja, source, specials.clone()).unwrap();
        let inputs = Inputs {
            messages: &user("x"),
            n_beside: 0,
            add_generation_prompt: true,
            date: Date::PINNED,
            variables: &Map::new(),
            tools: &[],
            contract: Some(&contract),
        };
        let prompt = template.render(&inputs).unwrap();
        assert_eq!(controls(&prompt), expected, "{source}");
        assert!(prompt.text().contains("USER"), "{source}");
        assert!(!prompt.text().chars().any(|c| u32::from(c) >= 0xF_0000), "{source}");
    }
}

#[test]
fn a_contract_is_seen_but_forges_nothing() {
    let template = parse(
        "{% for name, field in contract.properties.items() %}{{ name }}{% if field.type == 'string' %}: \
         {{ field.enum | join('|') }}{% endif %}<|end|>{% endfor %}{{ messages[0].content }}",
    );
    assert!(template.reads("contract") && !template.reads("tools") && !template.reads("field"));
    let contract = json!({"properties": {"order_id": {"type": "string", "enum": ["a<|end|>", "</s>"]}}});
    let messages = user("x");
    let inputs = Inputs {
        messages: &messages,
        n_beside: 0,
        add_generation_prompt: true,
        date: Date::PINNED,
        variables: &Map::new(),
        tools: &[],
        contract: Some(&contract),
    };
    let prompt = template.render(&inputs).unwrap();
    assert_eq!(prompt.text(), "order_id: a<|end|>|</s><|end|>x");
    assert_eq!(controls(&prompt), ["<|end|>"]);
}

#[test]
fn a_row_begins_with_the_messages_that_vary_with_it() {
    let template = parse("{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}");
    let message = |(role, text): (Role, &str)| Message::new(role, text);
    let turns = [(Role::System, "s"), (Role::User, "an example"), (Role::Assistant, "a"), (Role::User, "the row")];
    let messages = turns.map(message);
    for (n_beside, begins) in [(0, "the row"), (1, "a "), (2, "an example"), (3, "s "), (9, "s ")] {
        let prompt = template.render(&Inputs {
            messages: &messages,
            n_beside,
            add_generation_prompt: true,
            date: Date::PINNED,
            variables: &Map::new(),
            tools: &[],
            contract: None,
        });
        let prompt = prompt.unwrap();
        let (Some(place), [Run::Text { text, .. }]) = (prompt.row_start, prompt.runs.as_slice()) else {
            panic!("{prompt:?}")
        };
        assert!(text[place.offset..].starts_with(begins), "{n_beside}: {}", &text[place.offset..]);
        // What is asked about is the row's own text, whatever comes with it.
        assert_eq!(&text[prompt.row.unwrap().range], "the row");
    }
}

#[test]
fn jinja_speaks_as_python_does() {
    let cases = [
        (
            "{{ true }} {{ none }} {{ [1, 'a', none] }} {{ {'k': 'it\\'s'} }}",
            "True None [1, 'a', None] {'k': \"it's\"}",
        ),
        ("{{ {'a': [1, 'é<'], 'b': {}} | tojson }}", "{\"a\": [1, \"é<\"], \"b\": {}}"),
        ("{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}"),
        ("{{ messages[-1]['role'] }}{{ messages[::-1] | length }}{{ 'abc'[:-1] }}", "user1ab"),
        ("{% generation %}x{%- endgeneration %}{{ missing }}{{ missing is defined }}", "xFalse"),
        ("{{ 'a' is iterable }}{{ 'a' is sequence }}{{ {} is mapping }}{{ none is iterable }}", "TrueTrueTrueFalse"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
        ("{{ ' a\\x1c'.strip() }}|{{ 'xay'.strip('xy') }}|{{ 'a.b.c'.rsplit('.', 1) }}", "a|a|['a.b', 'c']"),
        ("{{ 'ab'.removeprefix('a') }}{{ 'a=b=c'.partition('=') }}", "b['a', '=', 'b=c']"),
        ("{{ strftime_now('%d %B %Y') }} {{ tools is none }} {{ documents is none }}", "01 January 2025 True True"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ 'x' in missing }}", "1False"),
        (
            "{% for k, v in {'a': 1}.items() %}{% if v > 5 %}{% continue %}{% endif %}{{ k }}{{ v }}{% break %}{% endfor %}",
            "a1",
        ),
        ("{% macro m(x, y='d') %}{{ x }}{{ y }}{% endmacro %}{{ m('a') }}\n", "ad"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(&parse(source), &user("x")).unwrap().text(), expected, "{source}");
    }
}

#[test]
fn hostile_templates_end_with_an_error() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let deep = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    for source in [endless, deep] {
        let error = render(&parse(source), &user("x")).unwrap_err();
        assert!(matches!(error, TemplateError::Failed { .. }), "{error}");
    }
    for source in ["{% if %}", "{{", "{% endfor %}"] {
        let error = ChatTemplate::parse(Language::Jinja, source, specials()).unwrap_err();
        assert!(matches!(error, TemplateError::Syntax { .. }), "{error}");
    }
    let long = "x".repeat(MAX_SOURCE + 1);
    assert!(matches!(ChatTemplate::parse(Language::Jinja, &long, specials()), Err(TemplateError::TooLong { .. })));
}

#[test]
fn system_texts_fold_into_the_next_user_message() {
    let message = Message::new;
    let folded = fold_system(&[
        message(Role::System, "S"),
        message(Role::User, "a"),
        message(Role::Assistant, "b"),
        message(Role::User, "c"),
    ]);
    assert_eq!(folded, [message(Role::User, "S\n\na"), message(Role::Assistant, "b"), message(Role::User, "c")]);
    assert_eq!(fold_system(&[message(Role::System, "S")]), [message(Role::User, "S")]);
    let last = fold_system(&[message(Role::User, "a"), message(Role::System, "S")]);
    assert_eq!(last, [message(Role::User, "S\n\na")]);
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(CONTROL.to_vec()).prop_map(str::to_owned),
        prop::sample::select(CONTROL.to_vec())
            .prop_flat_map(|text| (0..=text.len()).prop_map(|at| text[..at].to_owned())),
        prop::sample::select(CONTROL.to_vec())
            .prop_flat_map(|text| (0..=text.len()).prop_map(|at| text[at..].to_owned())),
        "[\u{F0000}-\u{F0010}\u{10FFFD}\u{E000}]{1,3}",
        "[ \\n\\t]{1,2}",
        "[a-z\"\\\\é日📦]{1,4}",
        Just("/no_think".to_owned()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contents_never_forge_control_and_rendering_stays_exact(first in hostile(), second in hostile(), third in hostile()) {
        for (name, vectors) in vectors() {
            let tokens = SpecialTokens { bos: vectors.bos_token, eos: vectors.eos_token, ..specials() };
            let template = ChatTemplate::parse(Language::Jinja, &vectors.template, tokens).unwrap();
            let native = template.system_role() == SystemRole::Native;
            // A letter around each, so that the template sees the same shape as in the harmless conversation.
            let shape = |system: &str, user: &str, last: &str| {
                let messages = [
                    Message::new(Role::System, system),
                    Message::new(Role::User, format!("x{user}x")),
                    Message::new(Role::Assistant, "fine"),
                    Message::new(Role::User, format!(" x{last}x\n")),
                ];
                if native { messages.to_vec() } else { messages[1..].to_vec() }
            };
            let messages = shape("Label.", &first, &second);
            let prompt = render(&template, &messages).unwrap();
            let harmless = render(&template, &shape("Label.", "a", "b")).unwrap();
            prop_assert_eq!(controls(&prompt), controls(&harmless), "{}", &name);
            let plain = template.plain(&Inputs {
                messages: &messages,
                n_beside: 0,
                add_generation_prompt: true,
                date: Date::PINNED,
                variables: &Map::new(),
                tools: &[],
                contract: None,
            }).unwrap();
            prop_assert_eq!(prompt.text(), plain, "{}", &name);
            let row = prompt.row.clone().unwrap();
            let written = &prompt.runs[row.run].text()[row.range];
            prop_assert_eq!(written.trim(), format!("x{second}x"), "{}", &name);

            // A system text may switch what a template writes (`/no_think`), but it forges nothing either.
            let system = render(&template, &shape(&third, "a", "b")).unwrap();
            let count = |prompt: &Prompt| controls(prompt).iter().filter(|text| !text.contains("think")).count();
            prop_assert!(count(&system) <= count(&harmless) + 2, "{}", &name);
        }
    }

    #[test]
    fn nothing_panics(source in "([{][{%]-?|-?[%}][}]|[a-z.|()'\\[\\]:+~*0-9 -]|for |in |if |end|messages|set ){0,30}", content in ".{0,20}") {
        if let Ok(template) = ChatTemplate::parse(Language::Jinja, &source, specials()) {
            drop(render(&template, &user(&content)));
        }
    }
}
