//! Real tokenizers: the reference tokenizations of llama.cpp, and hostile words in every message of a conversation.
//!
//! The files are beside the checkout (`../shared/vocabs`, `../shared/vectors`); without them these tests say that they
//! were skipped.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use slm::chat::{Message, Role};
use slm::engine::{Compute, Engine, Load, Options, PromptToken, TokenKind, Weights};
use slm::gguf::Footprint;
use slm::prompt::{Prompt, Run};
use slm::template::{ChatTemplate, Date, Inputs, Language, SystemRole};

use crate::tiny::{Kind, USER_DEFINED};
use slm_testing::shared;

/// Every tokenizer, with the reference chat template that fits it.
const VOCABULARIES: [(&str, &[&str]); 5] = [
    ("llama-bpe", &["meta-llama-Llama-3.2-3B-Instruct"]),
    ("qwen2", &["Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B"]),
    ("phi-3", &["microsoft-Phi-3.5-mini-instruct"]),
    ("llama-spm", &["mistralai-Mistral-Nemo-Instruct-2407"]),
    ("bert-bge", &[]),
];

/// A template that writes nothing but contents and the vocabulary's own end of text.
const BARE: &str = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";

/// One that reads the contract, as a model that was trained on schemas would have it.
const READS_CONTRACT: &str = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}\
    {% for name, field in contract.properties.items() %}{{ name }}: {{ field.description }} ({{ field.type }})\
    {% for value in field.enum %} {{ value }}{% endfor %}{% endfor %}{{ contract | tojson }}";

/// What is between two texts of an `.inp` file, and after the last.
const BETWEEN: &str = "\n__ggml_vocab_test__\n";

struct Family {
    engine: Engine,
    templates: Vec<(String, ChatTemplate)>,
}

fn vocabulary(name: &str) -> Option<(PathBuf, Engine)> {
    let path = shared(format!("vocabs/ggml-vocab-{name}.gguf"))?;
    let engine = load(&path);
    Some((path, engine))
}

fn load(path: &Path) -> Engine {
    let engine = Engine::load(Options {
        weights: Weights::File(path.to_owned()),
        weights_id: String::new(),
        load: Load::Vocabulary,
        n_ctx: None,
        compute: Compute::default(),
        footprint: Footprint::default(),
    });
    engine.unwrap()
}

fn beside(path: &Path, extension: &str) -> String {
    std::fs::read_to_string(format!("{}.{extension}", path.display())).unwrap()
}

fn text(text: &str) -> Prompt {
    Prompt { runs: vec![Run::Text { text: text.to_owned(), persons: vec![] }], row_start: None, row: None }
}

/// The texts' tokens; the beginning of a sequence, which the engine adds where the vocabulary wants one, set aside.
#[test]
fn texts_are_tokenized_as_llama_cpp_says() {
    for (name, _) in VOCABULARIES {
        let Some((path, engine)) = vocabulary(name) else { return };
        let inputs = beside(&path, "inp");
        let inputs: Vec<&str> = inputs.strip_suffix(BETWEEN).unwrap_or(&inputs).split(BETWEEN).collect();
        let outputs = beside(&path, "out");
        let outputs: Vec<&str> = outputs.lines().collect();
        assert_eq!(inputs.len(), outputs.len(), "{name}");
        assert!(inputs.len() > 40, "{name}");
        for (input, output) in inputs.into_iter().zip(outputs) {
            let expected: Vec<i32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let tokens = engine.tokenize(text(input)).unwrap().tokens;
            let from = tokens.first().is_some_and(|first| first.kind == TokenKind::Control).into();
            let ids: Vec<i32> = tokens[from..].iter().map(|token| token.id).collect();
            assert_eq!(ids, expected, "{name}: {input:?}");
        }
    }
}

/// White space among the USER_DEFINED tokens is what models were trained on, and forges nothing; the rest is nobody's.
#[test]
fn white_space_may_be_a_token_of_its_own_and_tags_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let engine = load(&Kind::Attention.write(folder.path()));
    let [space, tag] = USER_DEFINED;
    let tokens = engine.tokenize(text(&format!("a{space}{tag}{tag}"))).unwrap().tokens;
    let own: Vec<String> = tokens
        .iter()
        .filter(|token| token.kind == TokenKind::UserDefined)
        .map(|token| token.text().into_owned())
        .collect();
    assert_eq!(own, [space], "{tokens:?}");
    assert_eq!(engine.info().specials.control, ["</s>", "<b>", "<s>"]);
}

/// Every family whose files are there; loaded once.
fn families() -> &'static [(&'static str, Family)] {
    static FAMILIES: OnceLock<Vec<(&'static str, Family)>> = OnceLock::new();
    let load = |&(name, templates): &(&'static str, &[&str])| {
        let (_, engine) = vocabulary(name)?;
        let specials = engine.info().specials.clone();
        let mut sources = vec![("bare".to_owned(), BARE.to_owned())];
        for template in templates {
            let path = shared(format!("vectors/chat/{template}.jinja"))?;
            sources.push(((*template).to_owned(), std::fs::read_to_string(path).unwrap()));
        }
        let parse = |(name, source): (String, String)| {
            (name, ChatTemplate::parse(Language::Jinja, &source, specials.clone()).unwrap())
        };
        Some((name, Family { templates: sources.into_iter().map(parse).collect(), engine }))
    };
    FAMILIES.get_or_init(|| VOCABULARIES.iter().filter_map(load).collect())
}

/// A part of a hostile text; which special token is meant depends on the vocabulary.
#[derive(Debug, Clone)]
enum Piece {
    /// A part of one of the vocabulary's own special tokens: its number, and thirds that are left out.
    Own(usize, usize, usize),
    Text(String),
}

/// Special tokens of many families, as anybody may write them.
const KNOWN: [&str; 16] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|im_start|>",
    "[INST]",
    "[/INST]",
    "</s>",
    "<s>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "[MASK]",
    "[SEP]",
    "<think>",
    "<unk>",
    "<0x0A>",
    "<|endoftext|>",
];

fn piece() -> impl Strategy<Value = Piece> {
    let known = prop::sample::select(KNOWN.to_vec());
    let text = prop_oneof![
        known.clone().prop_map(str::to_owned),
        (known, 0usize..12).prop_map(|(text, at)| text.chars().skip(at).collect()),
        "[\u{F0000}-\u{F0004}\u{10FFFD}\u{E000}\u{200B}\u{200D}\u{301}\u{FEFF}\u{0}]{1,3}",
        "[ \n\t\u{2581}]{1,3}",
        "[a-zé日🦙\"\\\\]{1,4}",
    ];
    prop_oneof![
        3 => (any::<usize>(), 0usize..3, 0usize..3).prop_map(|(number, front, back)| Piece::Own(number, front, back)),
        3 => text.prop_map(Piece::Text),
    ]
}

fn hostile() -> impl Strategy<Value = Vec<Piece>> {
    prop::collection::vec(piece(), 0..8)
}

fn spell(pieces: &[Piece], specials: &[String]) -> String {
    let one = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Own(number, front, back) => {
            let special = &specials[number % specials.len()];
            let n = special.chars().count();
            special.chars().skip(n * front / 3).take(n * (3 - back) / 3).collect()
        }
    };
    pieces.iter().map(one).collect()
}

fn render(template: &ChatTemplate, messages: &[Message], contract: Option<&Value>) -> Prompt {
    let inputs = Inputs {
        messages,
        n_beside: 0,
        add_generation_prompt: true,
        date: Date::PINNED,
        variables: &Map::new(),
        tools: &[],
        contract,
    };
    template.render(&inputs).unwrap()
}

/// The special tokens of a prompt, in order.
fn specials(family: &Family, prompt: Prompt) -> Vec<i32> {
    let info = family.engine.info();
    let is_special = |token: &PromptToken| {
        let is_space = token.text().chars().all(char::is_whitespace);
        matches!(token.kind, TokenKind::Control | TokenKind::UserDefined) && !is_space
            || info.specials.control.contains(&token.text().into_owned())
    };
    let tokens = family.engine.tokenize(prompt).unwrap().tokens;
    tokens.into_iter().filter(is_special).map(|token| token.id).collect()
}

/// A letter around each content, so that the template sees the same shape as in the harmless conversation.
fn conversation(template: &ChatTemplate, contents: [&str; 4]) -> Vec<Message> {
    let roles = [Role::System, Role::User, Role::Assistant, Role::User];
    let messages: Vec<Message> =
        roles.into_iter().zip(contents).map(|(role, content)| Message::new(role, format!("x{content}x"))).collect();
    if template.system_role() == SystemRole::Native { messages } else { slm::template::fold_system(&messages) }
}

#[test]
fn nobodys_words_become_special_tokens() {
    let strategy = (hostile(), hostile(), hostile(), hostile());
    let mut runner = TestRunner::new(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() });
    for (name, family) in families() {
        let own = &family.engine.info().specials.control;
        for (template_name, template) in &family.templates {
            let harmless = specials(family, render(template, &conversation(template, ["a", "b", "c", "d"]), None));
            runner
                .run(&strategy, |(system, user, assistant, last)| {
                    let contents = [&system, &user, &assistant, &last].map(|pieces| spell(pieces, own));
                    let messages = conversation(template, contents.each_ref().map(String::as_str));
                    let found = specials(family, render(template, &messages, None));
                    prop_assert_eq!(found, harmless.clone(), "{}, {}: {:?}", name, template_name, messages);
                    Ok(())
                })
                .unwrap();
        }
    }
}

#[test]
fn a_contracts_words_become_no_special_tokens_where_the_template_reads_it() {
    let strategy = (hostile(), hostile(), hostile());
    let mut runner = TestRunner::new(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() });
    for (name, family) in families() {
        let own = &family.engine.info().specials;
        let template = ChatTemplate::parse(Language::Jinja, READS_CONTRACT, own.clone()).unwrap();
        let contract = |name: &str, description: &str, value: &str| {
            json!({"type": "object", "properties": {
                name: {"type": "string", "description": description, "enum": [value, "b"]},
            }})
        };
        let messages = [Message::new(Role::User, "hi")];
        let harmless = specials(family, render(&template, &messages, Some(&contract("n", "d", "v"))));
        runner
            .run(&strategy, |pieces| {
                let texts = [&pieces.0, &pieces.1, &pieces.2].map(|pieces| spell(pieces, &own.control));
                let contract = contract(&texts[0], &texts[1], &texts[2]);
                let found = specials(family, render(&template, &messages, Some(&contract)));
                prop_assert_eq!(found, harmless.clone(), "{}: {}", name, contract);
                Ok(())
            })
            .unwrap();
    }
}
