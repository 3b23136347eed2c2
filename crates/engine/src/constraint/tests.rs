//! Masks, checks and drafts agree, and no grammar panics, hangs or fills the machine.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// One token for every byte, and six special ones of which the last is the end.
static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let env = toktrie::ApproximateTokEnv::single_byte_env();
    let n_tokens = env.tok_trie().vocab_size();
    let texts = (0..n_tokens).map(|token| token < 255).collect();
    Compiler::new(Vocabulary { env, texts, ends: vec![END as TokenId] }).unwrap()
});
const END: Token = 261;

fn compile(grammar: &str) -> Result<Constraint, EngineError> {
    COMPILER.compile(&Grammar(grammar.into()))
}

fn tokens(text: &str) -> Vec<Token> {
    text.bytes().map(Token::from).collect()
}

fn text(tokens: &[Token]) -> String {
    String::from_utf8(tokens.iter().map(|&token| token as u8).collect()).unwrap()
}

fn allowed(constraint: &mut Constraint) -> Vec<Token> {
    constraint.mask().unwrap().iter().collect()
}

#[test]
fn only_what_the_grammar_allows_is_taken() {
    let mut constraint = compile("start: \"yes\" | /no+/").unwrap();
    assert_eq!(allowed(&mut constraint), tokens("ny"));
    assert!(!constraint.take(Token::from(b'x')).unwrap());
    assert!(!constraint.take(END).unwrap());
    assert_eq!(allowed(&mut constraint), tokens("ny"), "a refused token changes nothing");
    assert!(constraint.take(Token::from(b'n')).unwrap());
    assert_eq!(text(&constraint.forced().unwrap()), "o");
    assert!(constraint.take(Token::from(b'o')).unwrap());
    assert!(constraint.accepts_end().unwrap() && !constraint.is_finished());
    assert_eq!(allowed(&mut constraint), [tokens("o"), vec![END]].concat());
    assert!(constraint.take(END).unwrap());
}

#[test]
fn a_finished_answer_allows_the_end_alone() {
    let mut constraint = compile("start: \"yes\"").unwrap();
    assert_eq!(text(&constraint.forced().unwrap()), "yes");
    for token in tokens("yes") {
        assert!(constraint.take(token).unwrap());
    }
    assert!(constraint.is_finished() && constraint.accepts_end().unwrap());
    assert_eq!(allowed(&mut constraint), [END]);
    assert!(!constraint.take(Token::from(b'!')).unwrap());
    assert_eq!(constraint.n_allowed(&tokens("!")).unwrap(), 0);
    assert!(constraint.forced().unwrap().is_empty());
}

#[test]
fn what_was_taken_can_be_taken_back() {
    let mut constraint = compile("start: \"yes\" | \"yet\"").unwrap();
    let before = allowed(&mut constraint);
    for token in tokens("yes") {
        assert!(constraint.take(token).unwrap());
    }
    constraint.rollback(1).unwrap();
    assert!(!constraint.is_finished());
    assert_eq!(allowed(&mut constraint), tokens("st"));
    constraint.rollback(2).unwrap();
    assert_eq!(allowed(&mut constraint), before);
    assert!(constraint.rollback(1).is_err());
}

#[test]
fn a_draft_is_counted_and_nothing_changes() {
    let mut constraint = compile("start: \"a\" \"b\"* \"c\"").unwrap();
    let before = allowed(&mut constraint);
    assert_eq!(constraint.n_allowed(&tokens("abbcc")).unwrap(), 4);
    assert_eq!(constraint.n_allowed(&[97, END, 98]).unwrap(), 1);
    assert_eq!(constraint.n_allowed(&[]).unwrap(), 0);
    assert_eq!(constraint.n_allowed(&[97, 258, -1, 1_000_000]).unwrap(), 1);
    assert_eq!(allowed(&mut constraint), before);
}

#[test]
fn special_tokens_are_never_allowed() {
    for grammar in ["start: /(?s:.*)/", "start: <|user|> \"a\" | \"b\"", "start: <[256-260]> | \"b\""] {
        let Ok(mut constraint) = compile(grammar) else { continue };
        let mask = constraint.mask().unwrap();
        assert!((256..END).all(|special| !mask.allows(special)), "{grammar}");
        assert!(!constraint.take(256).unwrap(), "{grammar}");
    }
}

#[test]
fn refusals_say_why() {
    let reason = |grammar: &str| compile(grammar).map(|_| ()).expect_err(grammar).to_string();
    let endless = "the grammar is not supported: no answer can satisfy it: a rule refers to itself without another \
                   way to end";
    assert_eq!(reason("start: \"a\" start"), endless);
    assert_eq!(reason("start: start \"a\""), endless);
    assert_eq!(reason("start: a\na: \"[\" b \"]\"\nb: a \",\" b"), endless);
    assert_eq!(
        reason(
            "start: %json {\"$defs\": {\"a\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/a\"}, \"minItems\": 1}}, \"$ref\": \"#/$defs/a\"}"
        ),
        endless
    );
    let deep = format!("start: {}\"a\"{}", "(".repeat(300), ")".repeat(300));
    assert_eq!(reason(&deep), "the grammar is not supported: its brackets are nested more than 256 deep");
    for grammar in ["", "  ", "start", "start: nothing", "a: \"b\"", "start: /(/", "start: %json {", "{}", "\u{0}"] {
        assert!(matches!(compile(grammar), Err(EngineError::Grammar { .. })), "{grammar:?}");
    }
    let secret = reason("start: %json {\"$ref\": \"file:///etc/hostname\"}");
    assert!(secret.len() < 400, "{secret}");
}

#[test]
fn recursion_that_can_end_is_kept() {
    for grammar in ["start: \"(\" start \")\" | \"x\"", "start: start \"a\" | \"b\"", "start: \"\" | \"a\" start"] {
        assert!(compile(grammar).is_ok(), "{grammar}");
    }
}

/// Limits end in an error, at compile time or while an answer is written, and in bounded time.
#[test]
fn grammars_that_explode_end_in_an_error() {
    let many: String = (0..5000).map(|i| format!(" | /[a-z]{{{i},}}x{i}/")).collect();
    let grammars = [
        "start: /(a+)+$/".to_owned(),
        "start: /((a+)+)+b/".to_owned(),
        "start: /[a-z]{1,100000}/".to_owned(),
        "start: /(([a-z]{1,1000}){1,1000}){1,1000}/".to_owned(),
        "start: /(.*a.{20})&(.*b.{20})&(.*c.{20})/".to_owned(),
        "start: /.*a.{60}b.{60}/".to_owned(),
        "start: a{1,1000000}\na: \"x\"{1,1000000}".to_owned(),
        "start: (\"a\" | \"aa\" | \"aaa\")* \"b\"".to_owned(),
        "start: e\ne: e e | \"a\" | ".to_owned(),
        format!("start: \"never\"{many}"),
    ];
    for grammar in grammars {
        let started = Instant::now();
        if let Ok(mut constraint) = compile(&grammar) {
            for _ in 0..200 {
                let Ok(mask) = constraint.mask() else { break };
                let Some(token) = mask.iter().find(|&token| token != END) else { break };
                if constraint.take(token).is_err() {
                    break;
                }
            }
        }
        let head: String = grammar.chars().take(60).collect();
        eprintln!("{:?} {head}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(60), "{head}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written by masks alone ends, and is a text of the grammar; the mask, the check and the draft agree.
    #[test]
    fn masks_checks_and_drafts_agree(seed in any::<u64>(), grammar in 0usize..4) {
        let grammar = [
            "start: \"{\" pair (\",\" pair)* \"}\"\npair: /[a-c]{1,3}/ \":\" /[0-9]{1,4}/",
            "start: e\ne: e \"+\" t | t\nt: \"(\" e \")\" | /[0-9]/",
            "start: %json {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 4}, \"b\": {\"enum\": [1, 2]}}, \"required\": [\"a\", \"b\"], \"additionalProperties\": false}",
            "start: /(ab|ba){2,5}/ | \"end\"",
        ][grammar];
        let mut constraint = compile(grammar).unwrap();
        let mut random = seed;
        for _ in 0..60 {
            let mask = constraint.mask().unwrap();
            let choices: Vec<Token> = mask.iter().collect();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let token = choices[(random >> 33) as usize % choices.len()];
            let refused = (0..255).find(|&token| !mask.allows(token));
            if let Some(refused) = refused {
                prop_assert_eq!(constraint.n_allowed(&[refused]).unwrap(), 0);
                prop_assert!(!constraint.take(refused).unwrap());
            }
            prop_assert_eq!(mask.allows(END), constraint.accepts_end().unwrap());
            if token == END {
                break;
            }
            prop_assert_eq!(constraint.n_allowed(&[token]).unwrap(), 1);
            prop_assert!(constraint.take(token).unwrap());
        }
    }

    #[test]
    fn no_text_panics_or_hangs(grammar in "(start: |a: |\"x\"|/[a-z]+/|\\(|\\)|\\||\\*|\\?|\n|%json \\{|\\}|start|a| |<\\[1\\]>|\\PC){0,30}") {
        let _ = compile(&grammar);
    }
}
