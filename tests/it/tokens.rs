//! What is told of a generated text's tokens, and how callers steer them.

use slm::engine::{
    AdapterSet, Detail, Drafts, Engine, EngineError, Event, Finish, GenerateRequest, GeneratedToken, Generation,
    Grammar, Point, ProbeRequest, Request, ScoreRequest, TokenLogprob,
};
use slm::prompt::{Prompt, Run};
use slm::sampling::{AnswerShape, Parameters};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::kinds::{Tiny, group, plain, words};
use crate::tiny::Kind;

/// More tokens than one decode reads, of which the grammar leaves the model two to choose.
const FORCED: &str = "start: /[ab]/ \"the model has no choice about this text, which is longer than what one decode reads of it\" /[ab]/";
const RECORD: &str = "start: /\\{\"a\": \"(red|green|blue)\", \"b\": (true|false)\\}/";

fn greedy(n_predict: i32, stop: Option<&str>) -> Parameters {
    let stop = stop.map(|stop| vec![stop.to_owned()]);
    Parameters { temperature: Some(0.0), num_predict: Some(n_predict), stop, ..Parameters::default() }
}

fn request(text: &str, parameters: Parameters, grammar: Option<&str>) -> GenerateRequest {
    let grammar = grammar.map(|grammar| Grammar(grammar.into()));
    GenerateRequest { grammar, ..GenerateRequest::new(plain(text), parameters.resolve(AnswerShape::Open)) }
}

fn likely(request: GenerateRequest, n: u8) -> GenerateRequest {
    GenerateRequest { detail: Detail::Likely { n }, ..request }
}

/// An answer, the tokens that came with it, and how it ended.
struct Told {
    text: String,
    tokens: Vec<TokenLogprob>,
    end: Generation,
}

fn wait(mut events: UnboundedReceiver<Event>) -> Told {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        match events.blocking_recv() {
            Some(Event::Text(piece)) => {
                if !piece.tokens.is_empty() {
                    assert_eq!(piece.text, String::from_utf8_lossy(&bytes(&piece.tokens)));
                }
                text += &piece.text;
                tokens.extend(piece.tokens);
            }
            Some(Event::Generated(end)) => return Told { text, tokens, end },
            other => panic!("{other:?}"),
        }
    }
}

fn alone(engine: &Engine, request: GenerateRequest) -> Told {
    wait(engine.send(Request::Generate(request)))
}

fn bytes(tokens: &[TokenLogprob]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.bytes.clone()).collect()
}

/// Free text, forced text, and texts that a stop string or the limit cut in the middle of what is forced.
fn requests() -> Vec<GenerateRequest> {
    let text = |n: usize| format!("{}\n{}", words(150, 3), words(10 + 37 * n, n));
    vec![
        request(&text(0), greedy(40, None), None),
        request(&text(1), greedy(9, None), None),
        request(&text(2), greedy(200, None), Some(FORCED)),
        request(&text(3), greedy(70, None), Some(RECORD)),
        request(&text(4), greedy(200, Some("longer")), Some(FORCED)),
        request(&text(0), greedy(80, None), Some(FORCED)),
        request(&text(1), greedy(90, Some("b\"")), Some(RECORD)),
    ]
}

#[test]
fn tokens_are_told_beside_the_same_text() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let told: Vec<Told> = requests().into_iter().map(|request| alone(engine, request)).collect();
        assert!(told.iter().all(|told| told.tokens.is_empty()), "nobody asked for them");
        // Each alone, then all at once.
        let each: Vec<Told> = requests().into_iter().map(|request| alone(engine, likely(request, 5))).collect();
        let sent: Vec<_> = requests().into_iter().map(|r| engine.send(Request::Generate(likely(r, 5)))).collect();
        let together: Vec<Told> = sent.into_iter().map(wait).collect();
        for (number, told) in told.iter().enumerate() {
            for with in [&each[number], &together[number]] {
                assert_eq!((&with.text, with.end.finish), (&told.text, told.end.finish), "{:?} {number}", tiny.kind);
                assert_eq!(with.text, String::from_utf8_lossy(&bytes(&with.tokens)));
                let (n, forced) = (with.end.counts.generated, with.end.counts.forced);
                assert_eq!((n, forced), (told.end.counts.generated, told.end.counts.forced), "{:?}", tiny.kind);
                // A stop string leaves tokens out, which were generated.
                assert!(with.tokens.len() <= n && (told.end.finish == Finish::Stop || with.tokens.len() == n));
            }
        }
        assert!(told.iter().any(|told| told.end.counts.forced > 64), "{:?}", tiny.kind);
    }
}

#[test]
fn probabilities_are_those_of_a_softmax() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        for (number, request) in requests().into_iter().enumerate() {
            let is_free = request.grammar.is_none();
            let told = alone(session.engine(), likely(request, 20));
            for token in &told.tokens {
                assert_eq!(token.likely.len(), 20);
                assert!(token.likely.is_sorted_by(|a, b| a.logprob >= b.logprob), "{:?}", tiny.kind);
                let sum: f64 = token.likely.iter().map(|likely| likely.logprob.exp()).sum();
                assert!(sum <= 1.0 + 1e-9 && sum > 20.0 / 300.0, "{:?} {number}: {sum}", tiny.kind);
                // The most likely is taken where nothing forbids it.
                let best = &token.likely[0];
                assert!(token.logprob <= best.logprob);
                assert!(!is_free || (token.id, token.logprob.to_bits()) == (best.id, best.logprob.to_bits()));
                let same = token.likely.iter().find(|likely| likely.id == token.id);
                assert!(same.is_none_or(|same| same.bytes.starts_with(&token.bytes) && same.logprob == token.logprob));
            }
        }
    }
}

/// The probability that came with a token, forced or not, is the one that the same text gets when it is read again.
#[test]
fn probabilities_are_those_of_the_text_read_again() {
    for tiny in Tiny::all().into_iter().filter(|tiny| matches!(tiny.kind, Kind::Attention | Kind::SlidingWindow)) {
        let session = tiny.session();
        let engine = session.engine();
        let text = words(120, 1);
        for grammar in [RECORD, FORCED] {
            let told = alone(engine, likely(request(&text, greedy(200, None), Some(grammar)), 2));
            let generated = told.tokens.iter().map(|token| {
                let n_bytes = token.bytes.len();
                GeneratedToken { id: token.id, n_bytes, logprob: None }
            });
            let mut at = 0;
            let points = told.tokens.iter().map(|token| {
                at += token.bytes.len();
                let candidate = String::from_utf8(token.bytes.clone()).unwrap();
                Point { at: at - token.bytes.len(), candidates: vec![candidate] }
            });
            let (prompt, adapters, generated) = (plain(&text), AdapterSet::NONE, generated.collect());
            let probe = ProbeRequest { prompt, adapters, generated, points: points.collect() };
            let scores = engine.probe(probe).unwrap();
            assert!(told.tokens.len() > 10);
            let mut n_compared = 0;
            for (token, read) in told.tokens.iter().zip(&scores.groups) {
                let ids = engine.tokenize(plain(&format!("e{}", String::from_utf8_lossy(&token.bytes)))).unwrap();
                // A model may write what its tokenizer would write in other tokens.
                if ids.tokens.last().map(|last| last.id) == Some(token.id) {
                    n_compared += 1;
                    assert!((token.logprob - read.logprobs[0]).abs() < 0.05, "{:?}: {token:?} {read:?}", tiny.kind);
                }
            }
            assert!(n_compared * 10 > told.tokens.len() * 9, "{:?}: {n_compared}", tiny.kind);
        }
    }
}

/// Numbers that the tiny models' vocabularies give to single bytes.
fn byte(byte: u8) -> i32 {
    3 + i32::from(byte)
}

#[test]
fn a_bias_is_kept_by_greedy_and_random_choices_by_penalties_grammars_and_drafts() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let text = words(120, 1);
        let biased = |parameters: Parameters, grammar: Option<&str>, bias: &[(i32, f32)]| {
            let request = request(&text, parameters, grammar);
            alone(engine, GenerateRequest { bias: bias.to_vec(), ..request }).text
        };
        let random = || Parameters { temperature: Some(1.0), seed: Some(7), ..greedy(6, None) };
        let penalized = || Parameters { frequency_penalty: Some(1.0), ..greedy(6, None) };
        for parameters in [greedy(6, None), random(), penalized()] {
            assert_eq!(biased(parameters.clone(), None, &[(byte(b'z'), 100.0)]), "zzzzzz", "{:?}", tiny.kind);
            let free = biased(parameters.clone(), None, &[]);
            assert_ne!(free, "zzzzzz");
            assert_eq!(biased(parameters.clone(), None, &[(byte(b'z'), 0.0)]), free, "{:?}", tiny.kind);
            let one_of = Some("start: /[xyz]{6}/");
            assert_eq!(biased(parameters.clone(), one_of, &[(byte(b'y'), 100.0)]), "yyyyyy");
            let two = [(byte(b'x'), -100.0), (byte(b'y'), -100.0)];
            assert_eq!(biased(parameters, one_of, &two), "zzzzzz");
        }
        // What repeats is drafted; the answer is the one without drafts.
        let long = || GenerateRequest { bias: vec![(byte(b'q'), 3.0)], ..request(&text, greedy(120, None), None) };
        // Rows that are checked together meet other kernels than one alone: where two tokens are as likely, either may win.
        let told = |drafts| alone(engine, likely(GenerateRequest { drafts, ..long() }, 1)).tokens;
        let (drafted, plain) = (told(Drafts::Auto), told(Drafts::Off));
        let biased = |token: &TokenLogprob| token.logprob + if token.id == byte(b'q') { 3.0 } else { 0.0 };
        if let Some((one, other)) = drafted.iter().zip(&plain).find(|(one, other)| one.id != other.id) {
            assert!((biased(one) - biased(other)).abs() < 0.05, "{:?}: {one:?} {other:?}", tiny.kind);
        }
    }
}

#[test]
fn probabilities_are_told_without_the_bias() {
    let tiny = Tiny::all().remove(0);
    let session = tiny.session();
    let bias = vec![(byte(b'z'), 100.0)];
    let request = likely(request(&words(120, 1), greedy(4, None), None), 3);
    let told = alone(session.engine(), GenerateRequest { bias, ..request.clone() });
    let free = alone(session.engine(), request);
    assert!(told.tokens.iter().all(|token| token.id == byte(b'z') && token.logprob < token.likely[0].logprob));
    assert_eq!(told.tokens[0].likely[0].id, free.tokens[0].id);
    assert!((told.tokens[0].likely[0].logprob - free.tokens[0].logprob).abs() < 0.05);
}

#[test]
fn a_bias_of_no_token_is_refused() {
    let tiny = Tiny::all().remove(0);
    let session = tiny.session();
    let refused = |id: i32, bias: f32| {
        let request = GenerateRequest { bias: vec![(5, 1.0), (id, bias)], ..request("a", greedy(4, None), None) };
        let Some(Event::Failed(error)) = session.engine().send(Request::Generate(request)).blocking_recv() else {
            panic!("it was not refused");
        };
        error
    };
    for id in [-1, 269, i32::MAX, i32::MIN] {
        let error = refused(id, 1.0);
        assert!(matches!(error, EngineError::TokenOutOfRange { id: named, last: 268 } if named == id), "{error}");
    }
    assert_eq!(
        refused(269, 1.0).to_string(),
        "there is no token 269: the tokens of this vocabulary are numbered from 0 to 268"
    );
    assert!(matches!(refused(7, f32::NAN), EngineError::Bias { id: 7, .. }));
}

/// What is written where the bias lets nothing but one token be written.
fn written(engine: &Engine, token: i32, visible: &[&str], stop: Option<&str>) -> Told {
    let visible = visible.iter().map(ToString::to_string).collect();
    let request = request(&words(60, 1), greedy(2, stop), None);
    alone(engine, GenerateRequest { bias: vec![(token, 1000.0)], visible, ..request })
}

#[test]
fn control_tokens_are_shown_to_whom_asks_for_them() {
    // The tiny models' numbers of `<s>`, which is CONTROL, and of `<b>`, which is USER_DEFINED.
    let (begin, bold) = (1, 268);
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let text = |token, visible: &[&str]| written(engine, token, visible, None).text;
        assert_eq!(text(begin, &[]), "", "{:?}", tiny.kind);
        assert_eq!(text(begin, &["[TOOL_CALLS]", "</s>"]), "");
        assert_eq!(text(begin, &["[TOOL_CALLS]", "<s>"]), "<s><s>", "{:?}", tiny.kind);
        assert_eq!(text(bold, &[]), "<b><b>", "{:?}", tiny.kind);
        assert_eq!(text(bold, &["<b>", "<s>"]), "<b><b>");
    }
}

#[test]
fn a_stop_string_that_is_a_special_token_ends_the_answer() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        for (token, stop) in [(1, "<s>"), (268, "<b>")] {
            for visible in [&[][..], &[stop]] {
                let told = written(session.engine(), token, visible, Some(stop));
                assert_eq!((told.text.as_str(), told.end.finish), ("", Finish::Stop), "{:?} {stop}", tiny.kind);
            }
            let other = written(session.engine(), token, &[], Some("</b>"));
            assert_eq!(other.end.finish, Finish::Length);
        }
    }
}

fn score_of(engine: &Engine, tokens: Vec<i32>, end: &str) -> f64 {
    let request = ScoreRequest {
        turn_end: Some(end.to_owned()),
        ..ScoreRequest::new(Prompt::of(Run::Tokens(tokens)), vec![group("", &[""])])
    };
    engine.score(request).unwrap().groups[0].logprobs[0]
}

/// What might have come in place of a token, forced ones too, has the probability that it gets when it is asked for alone.
#[test]
fn likely_tokens_have_the_probabilities_of_a_separate_score() {
    let asked = [("<s>", 1), ("</s>", 2), ("<b>", 268)];
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let text = words(120, 1);
        for grammar in [None, Some(RECORD)] {
            let told = alone(engine, likely(request(&text, greedy(25, None), grammar), 255));
            let mut before = ids(engine, &text);
            let mut n_compared = 0;
            for token in &told.tokens {
                for (end, id) in asked {
                    // Fourteen of this vocabulary's 269 are not told.
                    let Some(likely) = token.likely.iter().find(|likely| likely.id == id) else { continue };
                    n_compared += 1;
                    let alone = score_of(engine, before.clone(), end);
                    assert!((likely.logprob - alone).abs() < 0.05, "{:?}: {end} {alone} {likely:?}", tiny.kind);
                    assert_eq!(likely.bytes, end.as_bytes());
                }
                before.push(token.id);
            }
            assert!(n_compared > 2 * told.tokens.len(), "{:?}: {n_compared}", tiny.kind);
        }
    }
}

fn ids(engine: &Engine, text: &str) -> Vec<i32> {
    engine.tokenize(plain(text)).unwrap().tokens.iter().map(|token| token.id).collect()
}

#[test]
fn an_answer_goes_on_behind_its_tokens() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let text = words(120, 1);
        let whole = alone(engine, request(&text, greedy(24, None), None));
        let (first, rest) = whole.end.ids.split_at(12);
        let prompt = Prompt::of(Run::Tokens([&ids(engine, &text), first].concat()));
        let request = GenerateRequest { prompt, ..request("", greedy(12, None), None) };
        let more = alone(engine, request);
        assert_eq!(more.end.ids, rest, "{:?}", tiny.kind);
        assert_eq!(more.end.counts.prompt, ids(engine, &text).len() + 12);
    }
}

#[test]
fn an_answers_tokens_are_those_of_its_text() {
    let tiny = Tiny::all().remove(0);
    let session = tiny.session();
    let engine = session.engine();
    let asked = |stop| request("a text", greedy(60, stop), Some("start: \"one two three four five\""));
    let bytes = |ids: &[i32]| {
        let told = engine.tokenize(Prompt::of(Run::Tokens(ids.to_vec()))).unwrap();
        told.tokens.iter().map(|token| token.text().into_owned()).collect::<String>()
    };
    let whole = alone(engine, asked(None));
    assert_eq!(bytes(&whole.end.ids), "one two three four five");
    let cut = alone(engine, asked(Some("hree f")));
    assert_eq!((cut.text.as_str(), bytes(&cut.end.ids).as_str()), ("one two t", "one two t"));
}

#[test]
fn a_seed_says_which_answer_comes() {
    let tiny = Tiny::all().remove(0);
    let answer = |seed: i64| {
        let parameters = Parameters { temperature: Some(1.0), seed: Some(seed), ..greedy(30, None) };
        alone(tiny.session().engine(), request(&words(120, 1), parameters, None)).end.ids
    };
    assert_eq!(answer(1), answer(1));
    assert_ne!(answer(1), answer(2));
}

#[test]
fn a_gap_is_filled_between_the_vocabularys_own_tokens() {
    let tiny = Tiny::all().remove(0);
    assert_eq!(tiny.session().engine().info().infill, None);
    // `<b>`, `<s>` and `</s>`: the vocabulary has no others that are special.
    let session = tiny.infilling([268, 1, 2]);
    let engine = session.engine();
    let infill = engine.info().infill.clone().unwrap();
    let tokens = |before: &str, behind: &str| {
        let told = engine.tokenize(infill.prompt(before, behind)).unwrap();
        told.tokens.iter().map(|token| token.id).collect::<Vec<_>>()
    };
    // Behind the model's own beginning of a text; neither text can write a special token.
    let text = |text: &str| ids(engine, text).split_off(1);
    assert_eq!(tokens("ate", "</s>"), [&[1, 268], &text("ate")[..], &[1], &text("</s>"), &[2]].concat());
    assert_eq!(tokens("", ""), [1, 268, 1, 2]);
    // A token that is not special is none to ask with.
    assert_eq!(tiny.infilling([268, 1, 100]).engine().info().infill, None);
}
