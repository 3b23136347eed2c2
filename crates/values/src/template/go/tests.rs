//! What Go templates must keep: the renderings of Go itself, authorship, and an end for hostile sources.

use super::*;
use crate::prompt::{Prompt, RowSpan, Run, RunOffset, SpecialTokens};
use crate::template::probe::inputs;
use crate::template::{ChatTemplate, SystemRole};
use proptest::prelude::*;
use serde_json::{Map, json};
use std::path::PathBuf;

const CONTROL: [&str; 14] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|im_sep|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "</s>",
];

fn specials() -> SpecialTokens {
    SpecialTokens { bos: "<s>".to_owned(), eos: "</s>".to_owned(), control: CONTROL.map(str::to_owned).to_vec() }
}

fn parse(source: &str) -> ChatTemplate {
    ChatTemplate::parse(Language::Go, source, specials()).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn refused(source: &str) -> String {
    ChatTemplate::parse(Language::Go, source, specials()).unwrap_err().to_string()
}

fn render(template: &ChatTemplate, messages: &[Message]) -> Result<Prompt, TemplateError> {
    template.render(&inputs(messages, &Map::new()))
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

fn golden(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/go_templates").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The templates by name, with their sources.
fn templates() -> Vec<(String, String)> {
    let rendered: Map<String, Json> = serde_json::from_str(&golden("rendered.json")).unwrap();
    rendered.keys().map(|name| (name.clone(), golden(&format!("{name}.gotmpl")))).collect()
}

fn conversations() -> Map<String, Json> {
    serde_json::from_str(&golden("conversations.json")).unwrap()
}

/// `tests/golden/go_templates.go` made the renderings with Go's own text/template.
#[test]
fn renderings_equal_those_of_go_byte_for_byte() {
    let rendered: Map<String, Json> = serde_json::from_str(&golden("rendered.json")).unwrap();
    let conversations = conversations();
    let mut n_compared = 0;
    for (name, source) in templates() {
        let template = parse(&source);
        for (case, expected) in rendered[&name].as_object().unwrap() {
            let (conversation, thinks) = match case.rsplit_once(", ") {
                Some((conversation, "think")) => (conversation, Some(true)),
                Some((conversation, "no think")) => (conversation, Some(false)),
                _ => (case.as_str(), None),
            };
            let messages: Vec<Message> = serde_json::from_value(conversations[conversation].clone()).unwrap();
            let variables = thinks.map(|thinks| ("enable_thinking".to_owned(), json!(thinks))).into_iter().collect();
            let inputs = inputs(&messages, &variables);
            let plain = template.plain(&inputs).unwrap_or_else(|error| panic!("{name}, {case}: {error}"));
            assert_eq!(plain, expected.as_str().unwrap(), "{name}, {case}");
            // What counts the bytes of a content does not see those of the person.
            if name != "functions" {
                assert_eq!(template.render(&inputs).unwrap().text(), plain, "{name}, {case}");
            }
            n_compared += 1;
        }
    }
    assert!(n_compared > 200, "{n_compared}");
}

#[test]
fn an_action_that_is_not_closed_is_told() {
    let expected = "it is not a template in Go: line 2: an action is not closed with `}}`";
    assert_eq!(refused("a\n{{ .Prompt"), expected);
    assert_eq!(refused("a\n{{ if .Prompt"), expected);
}

#[test]
fn the_ends_of_turns_and_the_place_of_system_are_found() {
    let expected = [
        ("alpaca", None, SystemRole::Native),
        ("chatml", Some("<|im_end|>"), SystemRole::Native),
        // What opens the next turn ends no answer.
        ("chatml_without_response", None, SystemRole::Native),
        ("deepseek", None, SystemRole::Native),
        ("gemma2", Some("<end_of_turn>"), SystemRole::Native),
        ("gemma3", Some("<end_of_turn>"), SystemRole::Native),
        ("llama2", Some("</s>"), SystemRole::Native),
        ("llama3.2", Some("<|eot_id|>"), SystemRole::Native),
        ("mistral", Some("</s>"), SystemRole::Native),
        ("phi3", Some("<|end|>"), SystemRole::Native),
        ("phi4", Some("<|im_end|>"), SystemRole::Native),
        ("plain", None, SystemRole::Ignored),
        ("qwen2.5", Some("<|im_end|>"), SystemRole::Native),
        ("qwen3", Some("<|im_end|>"), SystemRole::Native),
        ("zephyr", Some("</s>"), SystemRole::Native),
    ];
    for (name, end, system) in expected {
        let template = parse(&golden(&format!("{name}.gotmpl")));
        assert_eq!((template.turn_end().as_deref(), template.system_role()), (end, system), "{name}");
    }
}

#[test]
fn a_prompt_tells_its_row_and_its_persons() {
    let messages = [Message::new(Role::System, "Label."), Message::new(Role::User, " say <|im_end|> é ")];
    let prompt = render(&parse(&golden("chatml.gotmpl")), &messages).unwrap();
    let control = |text: &str| Run::Control(text.to_owned());
    let text = |text: &str, persons: Vec<std::ops::Range<usize>>| Run::Text { text: text.to_owned(), persons };
    let expected = [
        control("<|im_start|>"),
        text("system\nLabel.", std::iter::once(7..13).collect()),
        control("<|im_end|>"),
        text("\n", vec![]),
        control("<|im_start|>"),
        text("user\n say <|im_end|> é ", std::iter::once(5..24).collect()),
        control("<|im_end|>"),
        text("\n", vec![]),
        control("<|im_start|>"),
        text("assistant\n", vec![]),
    ];
    assert_eq!(prompt.runs, expected);
    assert_eq!(prompt.row_start, Some(RunOffset { run: 5, offset: 5 }));
    assert_eq!(prompt.row, Some(RowSpan { run: 5, range: 5..24 }));
}

#[test]
fn a_content_is_no_template() {
    let prompt = render(&parse("{{ .Prompt }}<|end|>"), &user("{{ .System }}{{ range 9 }}<|user|>")).unwrap();
    assert_eq!(prompt.text(), "{{ .System }}{{ range 9 }}<|user|><|end|>");
    assert_eq!(controls(&prompt), ["<|end|>"]);
}

/// Go writes `<` as six characters in JSON; a rendering that would have to be taken apart is left as the person wrote it.
#[test]
fn contents_in_json_forge_nothing() {
    let template = parse("{{ json .Messages }}<|end|>{{ range .Messages }}{{ json .Content }}{{ end }}");
    let prompt = render(&template, &user("a\"<|end|>\n")).unwrap();
    assert_eq!(controls(&prompt), ["<|end|>"]);
}

#[test]
fn sources_that_go_refuses_are_refused_with_their_line() {
    let cases = [
        ("a\n{{ if .X }}b", "line 2: the block that begins here is not closed with `{{ end }}`"),
        ("{{ define \"x\" }}a", "line 1: the block that begins here is not closed with `{{ end }}`"),
        (
            "{{ if .X }}\n{{ range .Y }}\n{{ else }}a",
            "line 3: the block that begins here is not closed with `{{ end }}`",
        ),
        ("a\n{{ .X }}{{ end }}b", "after line 2: an `{{ end }}` or `{{ else }}` belongs to no block"),
        ("{{ end }}", "line 1: an `{{ end }}` or `{{ else }}` belongs to no block"),
        ("a\n\n{{ fetch .X }}", "line 3: there is no function `fetch`"),
        ("{{ if false }}{{ template \"x\" . }}{{ end }}", "line 1: there is no template `x`"),
        ("{{ if .X }}{{ $a := 1 }}{{ end }}{{ $a }}", "line 1: there is no variable `$a`"),
        ("{{ $a = 1 }}", "line 1: there is no variable `$a`"),
        ("{{ break }}", "line 1: `break` and `continue` belong in a `range`"),
        ("{{ define \"x\" }}a{{ end }}\n{{ define \"x\" }}b{{ end }}", "line 2: the template `x` is defined twice"),
    ];
    for (source, expected) in cases {
        assert_eq!(refused(source), format!("it is not a template in Go: {expected}"), "{source}");
    }
    for source in [
        "{{",
        "{{ .X",
        "{{ \"a }}",
        "{{ if }}x{{ end }}",
        "{{ 1 | | }}",
        "{{ ) }}",
        "{{ range $i, $j, $k := .X }}{{ end }}",
    ] {
        assert!(refused(source).starts_with("it is not a template in Go: line 1: "), "{source}: {}", refused(source));
    }
}

#[test]
fn errors_of_a_rendering_name_their_line() {
    let cases = [
        ("a\n{{ range .Messages }}\n{{ index .Content 99 }}{{ end }}", "line 3: index out of range: 99"),
        ("{{ if .Messages }}\n{{ len 1 }}{{ end }}", "line 2: len: cannot take length of 1"),
        ("{{ json .Messages 1 }}", "line 1: json takes one value, not 2"),
    ];
    for (source, expected) in cases {
        let error = render(&parse(source), &user("x")).unwrap_err().to_string();
        assert_eq!(error, format!("it failed: {expected}"), "{source}");
    }
}

#[test]
fn hostile_templates_end_with_an_error() {
    let doubling: String = (0..60)
        .map(|n| {
            format!("{{{{define \"t{n}\"}}}}{{{{template \"t{0}\" .}}}}{{{{template \"t{0}\" .}}}}{{{{end}}}}", n + 1)
        })
        .chain(["{{define \"t60\"}}{{end}}{{template \"t0\" .}}{{.Messages}}".to_owned()])
        .collect();
    let many_padded = format!("{{{{ printf \"{}\" }}}}", "%99999999d".repeat(9000));
    let many_indexed =
        format!("{{{{ $x := \"{}\" }}}}{{{{ printf \"{}\" $x }}}}", "y".repeat(9000), "%[1]s".repeat(99_000));
    let cases = [
        "{{ range 1000000000 }}{{ end }}",
        "{{ range 1000000000 }}x{{ end }}",
        "{{ range 9999999 }}{{ range 9999999 }}{{ if 1 }}{{ end }}{{ end }}{{ end }}",
        "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
        "{{ define \"a\" }}{{ template \"b\" . }}{{ end }}{{ define \"b\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
        "{{ $x := \"0123456789\" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}",
        "{{ $x := \"0123456789\" }}{{ range 99 }}{{ $x = $x | print $x }}{{ end }}",
        "{{ $x := \"\\\"\\\"\\\"\" }}{{ range 99 }}{{ $x = json $x }}{{ end }}",
        "{{ $x := \"aaaaaaaa\" }}{{ range 99 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}",
        &doubling,
        &many_padded,
        &many_indexed,
    ];
    for source in cases {
        let result = render(&parse(source), &user("x"));
        let shown: String = source.chars().take(90).collect();
        assert!(matches!(result, Err(TemplateError::Failed { .. })), "{shown}: {result:?}");
    }
    let nested = "{{ if 1 }}".repeat(5000) + &"{{ end }}".repeat(5000);
    let parens = "{{ ".to_owned() + &"(".repeat(5000) + "1" + &")".repeat(5000) + " }}";
    let elses = |n: usize| "{{ if 0 }}".to_owned() + &"{{ else if (not (not 0)) }}".repeat(n) + "{{ else }}x{{ end }}";
    for source in [nested, parens, elses(5000)] {
        assert!(refused(&source).starts_with("it is not a template in Go: "), "{source}");
    }
    // As deep as it goes.
    let nested = "{{ if 1 }}".repeat(45) + &elses(150) + &"{{ end }}".repeat(45);
    assert_eq!(render(&parse(&nested), &user("x")).unwrap().text(), "x");
    let parens = "{{ print ".to_owned() + &"(print ".repeat(98) + "1" + &")".repeat(98) + " }}";
    assert_eq!(render(&parse(&parens), &user("x")).unwrap().text(), "1");
}

#[test]
fn a_long_conversation_is_no_hostile_one() {
    let turn =
        |n: usize| [Message::new(Role::User, format!("question {n}")), Message::new(Role::Assistant, "a".repeat(999))];
    let mut messages: Vec<Message> = (0..1000).flat_map(turn).collect();
    messages.push(Message::new(Role::User, "last"));
    for name in ["llama3.2", "qwen3", "chatml", "gemma3"] {
        let prompt = render(&parse(&golden(&format!("{name}.gotmpl"))), &messages);
        assert!(prompt.is_ok_and(|prompt| prompt.text().len() > 1_000_000), "{name}");
    }
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
        "[a-z\"\\\\é日📦{}]{1,4}",
        Just("user".to_owned()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contents_never_forge_control_and_rendering_stays_exact(
        first in hostile(), second in hostile(), third in hostile()
    ) {
        for (name, source) in templates() {
            let template = parse(&source);
            // A letter around each, so that the template sees the same shape as in the harmless conversation.
            let shape = |system: &str, user: &str, last: &str| [
                Message::new(Role::System, format!("x{system}x")),
                Message::new(Role::User, format!("x{user}x")),
                Message::new(Role::Assistant, "fine"),
                Message::new(Role::User, format!(" x{last}x\n")),
            ];
            let messages = shape(&third, &first, &second);
            let prompt = render(&template, &messages).unwrap();
            let harmless = render(&template, &shape("c", "a", "b")).unwrap();
            prop_assert_eq!(controls(&prompt), controls(&harmless), "{}", &name);
            // What looks into contents (`%q`, `json`, `len`) may not be kept exactly.
            if name != "functions" {
                let variables = Map::new();
                prop_assert_eq!(prompt.text(), template.plain(&inputs(&messages, &variables)).unwrap(), "{}", &name);
                let row = prompt.row.clone().unwrap();
                let written = &prompt.runs[row.run].text()[row.range];
                prop_assert_eq!(written.trim(), format!("x{second}x"), "{}", &name);
            }
        }
    }

    #[test]
    fn nothing_panics(
        source in "([{][{]-? ?|-? ?[}][}]|[.$][A-Z][a-z]{0,3}|[a-z.|()\"`:=,+~*0-9 -]|\\.(Messages|Response|Content)|range |if |with |end|else|define|block|template|print|printf|slice |len |index |json |\\$x := ){0,30}",
        content in ".{0,20}"
    ) {
        if let Ok(template) = ChatTemplate::parse(Language::Go, &source, specials()) {
            drop(render(&template, &user(&content)));
            let _ = template.turn_end();
        }
    }
}
