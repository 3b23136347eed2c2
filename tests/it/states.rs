//! Hidden states that scored questions tell: the same bits whatever was asked before and whoever computes, of the token after
//! which the answer is chosen, and without a changed bit of any log-probability.
//!
//! `SLM_CANONICAL_MODEL=file.gguf cargo test --release states -- --nocapture` asks another model than the embedded one.

use proptest::prelude::*;
use slm::engine::{
    AdapterSet, EmbedRequest, Engine, EngineError, Event, Group, Lane, Load, Options, Reading, Request, ScoreRequest,
    Scores, Search, Spelling, StateAt, Weights,
};
use slm::prompt::{Prompt, Run, RunOffset};

use crate::kinds::{Tiny, words};
use crate::process::{all, bits, long_text, options, plain, spawned, triage};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slm");

fn weights() -> Options {
    match std::env::var("SLM_CANONICAL_MODEL") {
        Ok(path) => Options { weights_id: path.clone(), ..options(Weights::File(path.into())) },
        Err(_) => triage(),
    }
}

fn with_state(request: &ScoreRequest) -> ScoreRequest {
    ScoreRequest { state: Some(StateAt::default()), ..request.clone() }
}

/// The state's numbers as bits.
fn state_bits(scores: &Scores) -> Vec<u32> {
    scores.state.as_ref().expect("a state was asked for").iter().map(|x| x.to_bits()).collect()
}

fn asked(engine: &Engine, request: &ScoreRequest) -> (Vec<u32>, Vec<Vec<u64>>) {
    let scores = engine.score(with_state(request)).unwrap();
    (state_bits(&scores), bits(Ok(scores)))
}

fn state(engine: &Engine, prompt: &str, before: &str) -> Vec<f32> {
    let groups = vec![Group::new(before, [" billing", " shipping"])];
    told(engine, &ScoreRequest::new(plain(prompt), groups), StateAt::Choice)
}

fn told(engine: &Engine, request: &ScoreRequest, at: StateAt) -> Vec<f32> {
    engine.score(ScoreRequest { state: Some(at), ..request.clone() }).unwrap().state.unwrap()
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    assert_eq!(one.len(), other.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

/// A prompt whose row begins somewhere, and groups of candidates behind prefixes, in one spelling or two.
fn requests() -> impl Strategy<Value = ScoreRequest> {
    let group = (0..3usize, 1..9usize, 1..3usize).prop_map(|(prefix, n, n_spellings)| {
        let labels = [" billing", " bill", " no", " no idea", " legal", " other", " account access", " account"];
        let around = |after: &str| Spelling {
            before: ["", "queue:", "{\"queue\":"][prefix].to_owned(),
            after: after.to_owned(),
        };
        let spellings = [around(""), around("\"")].into_iter().take(n_spellings).collect();
        Group { spellings, ..Group::new("", labels.into_iter().take(n)) }
    });
    let reading = prop_oneof![Just(Reading::Choices), Just(Reading::Likelihood)];
    let lane = prop_oneof![Just(Lane::Canonical), Just(Lane::Throughput)];
    (2..900usize, 0..9usize, 0..100usize, prop::collection::vec(group, 1..4), reading, lane).prop_map(
        |(n_bytes, seed, percent, groups, reading, lane)| {
            let text = words(n_bytes, seed);
            let row_start = Some(RunOffset { run: 0, offset: text.len() * percent / 100 });
            let prompt = Prompt { runs: vec![Run::Text { text, persons: vec![] }], row_start, row: None };
            ScoreRequest { reading, lane, ..ScoreRequest::new(prompt, groups) }
        },
    )
}

#[test]
fn a_state_changes_no_bit_and_has_the_same_bits_whatever_was_asked_before() {
    let warm = Engine::load(weights()).unwrap();
    let child = Engine::spawn(PROGRAM, weights()).wait().unwrap();
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    proptest!(config, |(request in requests(), other in requests())| {
        let canonical = ScoreRequest { lane: Lane::Canonical, ..request.clone() };
        let without = warm.score(canonical).unwrap();
        prop_assert_eq!(&without.state, &None);
        let scores = bits(Ok(without));
        let is_chosen = request.groups.iter().any(|group| group.candidates.len() > 1);
        if !is_chosen {
            let told = warm.score(with_state(&request)).unwrap();
            // Spellings of one candidate are a choice too.
            if told.state.is_none() {
                prop_assert_eq!(bits(Ok(told)), scores);
                return Ok(());
            }
        }
        let cold = asked(&Engine::load(weights()).unwrap(), &request);
        prop_assert_eq!(&cold.1, &scores);
        prop_assert!(cold.0.iter().all(|&bits| f32::from_bits(bits).is_finite()));
        prop_assert_eq!(&asked(&warm, &request), &cold, "again");
        warm.score(with_state(&other)).unwrap();
        prop_assert_eq!(&asked(&warm, &request), &cold, "after another question");
        prop_assert_eq!(&asked(&child, &request), &cold, "in a process of its own");
    });
}

#[test]
fn every_kind_of_model_tells_its_state_with_the_same_bits() {
    for tiny in Tiny::all() {
        let warm = tiny.session();
        for n_bytes in [10, 41, 700] {
            let text = words(n_bytes, 1);
            let groups = vec![Group::new("kind:", ["bill", "billing", "zebra"])];
            for reading in [Reading::Choices, Reading::Likelihood] {
                let request = ScoreRequest { reading, ..ScoreRequest::new(plain(&text), groups.clone()) };
                let scores = bits(warm.engine().score(request.clone()));
                let cold = asked(tiny.session().engine(), &request);
                assert_eq!(cold.1, scores, "{:?} {n_bytes} {reading:?}", tiny.kind);
                assert_eq!(cold.0.len(), 2 * 64, "{:?}", tiny.kind);
                let other = ScoreRequest::new(plain(&words(90, 5)), groups.clone());
                assert_ne!(asked(warm.engine(), &other).0, cold.0, "{:?}", tiny.kind);
                assert_eq!(asked(warm.engine(), &request), cold, "{:?} {n_bytes} {reading:?}", tiny.kind);
            }
        }
    }
}

#[test]
fn a_state_under_load_has_the_bits_of_one_alone() {
    let (thread, child) = (Engine::load(weights()).unwrap(), spawned());
    let request =
        |n: usize| ScoreRequest::new(plain(&words(40 + n * 9, n)), vec![Group::new("", [" legal", " other"])]);
    for engine in [thread, child] {
        let alone: Vec<_> = (0..6).map(|n| asked(&engine, &request(n))).collect();
        let writing: Vec<_> = (0..3).map(|seed| engine.send(long_text(200, seed))).collect();
        let sent: Vec<_> = (0..6).map(|n| engine.send(Request::Score(with_state(&request(n))))).collect();
        for (events, alone) in sent.into_iter().zip(alone) {
            let Some(Event::Scored(scores)) = all(events).pop() else { panic!("no scores") };
            assert_eq!((state_bits(&scores), bits(Ok(scores))), alone);
        }
        drop(writing);
    }
}

#[test]
fn the_state_is_of_the_token_after_which_the_answer_is_chosen() {
    let engine = Engine::load(weights()).unwrap();
    let text = "I was charged twice for one order\n";
    // A prefix is evaluated as a branch, and the same text as a part of the prompt.
    let (branch, prompt) = (state(&engine, text, "queue:"), state(&engine, &format!("{text}queue:"), ""));
    assert!(cosine(&branch, &prompt) > 0.999, "{}", cosine(&branch, &prompt));
    let before = state(&engine, text, "");
    assert!(cosine(&branch, &before) < 0.99, "{}", cosine(&branch, &before));
    // Candidates that begin alike are told apart later.
    let groups = vec![Group::new("", ["queue: billing", "queue: shipping"])];
    let later = told(&engine, &ScoreRequest::new(plain(text), groups), StateAt::Choice);
    assert!(cosine(&branch, &later) > 0.999, "{}", cosine(&branch, &later));
    // A group without a choice is passed over.
    let groups = vec![Group::new("", ["kind: ticket"]), Group::new("queue:", [" billing", " shipping"])];
    let second = told(&engine, &ScoreRequest::new(plain(text), groups), StateAt::Choice);
    assert!(cosine(&branch, &second) > 0.999, "{}", cosine(&branch, &second));
    let one = ScoreRequest::new(plain(text), vec![Group::new("", [" billing"])]);
    assert_eq!(engine.score(with_state(&one)).unwrap().state, None);
}

#[test]
fn the_rows_state_is_of_the_tokens_after_the_border_alone() {
    let engine = Engine::load(weights()).unwrap();
    let (system, other) = ("Sort the ticket.\n", "Sort the ticket by its tone.\n");
    let request = |system: &str, row: &str| {
        let row_start = Some(RunOffset { run: 0, offset: system.len() });
        let runs = vec![Run::Text { text: format!("{system}{row}"), persons: vec![] }];
        ScoreRequest::new(Prompt { runs, row_start, row: None }, vec![Group::new("queue:", [" billing", " shipping"])])
    };
    // A row of one word, one of several decodes, and one that begins like it.
    let n_tokens = |text: &str| engine.tokenize(plain(text)).unwrap().tokens.len();
    let long = (1..).map(|n| words(n * 100, 1)).find(|text| n_tokens(text) > 600).unwrap();
    for row in ["late", &long, &format!("{long} again")] {
        let both = told(&engine, &request(system, row), StateAt::ChoiceAndRow);
        let [choice, of_row] = [StateAt::Choice, StateAt::Row].map(|at| told(&engine, &request(system, row), at));
        assert_eq!(both, [choice.as_slice(), of_row.as_slice()].concat());
        // The longer the row, the less its instructions matter to it; those of another row always do.
        let under_other = told(&engine, &request(other, row), StateAt::Row);
        let of_other = told(&engine, &request(system, "I was charged twice for one order"), StateAt::Row);
        assert!(cosine(&of_row, &under_other) > cosine(&of_row, &of_other), "{row}");
    }
}

/// A prompt with its row from somewhere on, long enough for several decodes or not.
fn rows() -> impl Strategy<Value = ScoreRequest> {
    (2..4000usize, 0..9usize, 0..100usize).prop_map(|(n_bytes, seed, percent)| {
        let text = words(n_bytes, seed);
        let row_start = Some(RunOffset { run: 0, offset: text.len() * percent / 100 });
        let prompt = Prompt { runs: vec![Run::Text { text, persons: vec![] }], row_start, row: None };
        ScoreRequest::new(prompt, vec![Group::new("queue:", [" billing", " shipping"])])
    })
}

/// The state after some layers, as bits.
fn after(engine: &Engine, n_layers: u32, request: &ScoreRequest) -> Vec<u32> {
    state_bits(&engine.score(request.only_layers(n_layers)).unwrap())
}

#[test]
fn a_state_after_some_layers_has_the_same_bits_and_leaves_nothing_to_other_questions() {
    let warm = Engine::load(weights()).unwrap();
    let child = Engine::spawn(PROGRAM, weights()).wait().unwrap();
    let n_layers = warm.info().n_layers;
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    proptest!(config, |(request in rows(), other in rows(), n in 1..n_layers)| {
        let engine = Engine::load(weights()).unwrap();
        let scores = bits(engine.score(request.clone()));
        let cold = after(&Engine::load(weights()).unwrap(), n, &request);
        prop_assert!(cold.iter().all(|&bits| f32::from_bits(bits).is_finite()));
        prop_assert_eq!(&after(&warm, n, &request), &cold, "again");
        // The row's cells lack what the later layers would have left there: the whole question begins where the row does.
        prop_assert_eq!(&bits(warm.score(request.clone())), &scores, "the whole after its part");
        prop_assert_eq!(&after(&warm, n, &request), &cold, "the part after the whole");
        after(&warm, 1 + n % (n_layers - 1), &other);
        prop_assert_eq!(&after(&warm, n, &request), &cold, "after another row");
        prop_assert_eq!(&bits(warm.score(request.clone())), &scores, "the whole after other parts");
        prop_assert_eq!(&after(&child, n, &request), &cold, "in a process of its own");
    });
}

#[test]
fn every_kind_of_model_tells_its_state_after_some_layers() {
    for tiny in Tiny::all() {
        let warm = tiny.session();
        let n_layers = warm.engine().info().n_layers;
        for n_bytes in [10, 41, 700] {
            let request =
                ScoreRequest::new(plain(&words(n_bytes, 1)), vec![Group::new("kind:", ["bill", "billing", "zebra"])]);
            let scores = bits(tiny.session().engine().score(request.clone()));
            for n in 1..n_layers {
                let cold = after(tiny.session().engine(), n, &request);
                assert_eq!(cold.len(), 2 * 64, "{:?}", tiny.kind);
                assert_eq!(bits(warm.engine().score(request.clone())), scores, "{:?} {n_bytes} {n}", tiny.kind);
                assert_eq!(after(warm.engine(), n, &request), cold, "{:?} {n_bytes} {n}", tiny.kind);
            }
            for wanted in [0, n_layers] {
                let error = warm.engine().score(request.only_layers(wanted)).unwrap_err();
                assert!(matches!(error, EngineError::Layers { wanted: of, .. } if of == wanted), "{error}");
            }
        }
    }
}

#[test]
fn a_state_after_some_layers_is_the_same_under_load_and_that_of_the_whole_row() {
    let (thread, child) = (Engine::load(weights()).unwrap(), spawned());
    let request =
        |n: usize| ScoreRequest::new(plain(&words(40 + n * 9, n)), vec![Group::new("", [" legal", " other"])]);
    for engine in [thread, child] {
        let n_layers = engine.info().n_layers;
        let alone: Vec<_> = (0..6).map(|n| after(&engine, 1, &request(n))).collect();
        let writing: Vec<_> = (0..3).map(|seed| engine.send(long_text(200, seed))).collect();
        let sent: Vec<_> = (0..6).map(|n| engine.send(Request::Score(request(n).only_layers(1)))).collect();
        for (events, alone) in sent.into_iter().zip(alone) {
            let Some(Event::Scored(scores)) = all(events).pop() else { panic!("no scores") };
            assert_eq!(state_bits(&scores), alone);
            assert!(scores.groups.is_empty() && scores.counts.branch == 0);
        }
        drop(writing);
        // After the layer before the last, where the mean of the row is read in whole rows too. Their branches are in other decodes.
        for n in 0..6 {
            let whole = told(&engine, &ScoreRequest { reading: Reading::Choices, ..request(n) }, StateAt::Row);
            let part = engine.score(request(n).only_layers(n_layers - 1)).unwrap().state.unwrap();
            assert_eq!(part[..part.len() / 2], whole);
        }
    }
}

/// llama.cpp's own pooling of the last token, which takes the state on another way.
#[test]
fn the_state_is_what_llama_cpp_calls_the_last_tokens_embedding() {
    let engine = Engine::load(weights()).unwrap();
    for text in ["my parcel is late", "I was charged twice"] {
        let request = EmbedRequest { texts: vec![text.to_owned()], adapters: AdapterSet::NONE };
        let embedded = engine.embed(request).unwrap().rows.remove(0);
        let told = state(&engine, text, "");
        assert!(cosine(&embedded, &told) > 0.99, "{}", cosine(&embedded, &told));
    }
}

#[test]
fn a_vocabulary_alone_tells_no_state() {
    let engine = Engine::load(Options { load: Load::Vocabulary, ..triage() }).unwrap();
    let request = ScoreRequest::new(plain("x"), vec![Group::new("", ["a", "b"])]);
    assert!(matches!(engine.score(with_state(&request)), Err(EngineError::VocabularyOnly)));
}

/// What a row costs of which some layers are evaluated and no label is read, against a whole one; prints, and compares within one
/// run.
///
/// `SLM_CANONICAL_MODEL=file.gguf cargo test --release --test it -- --ignored --nocapture states::what_some_layers_cost`
#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn what_some_layers_cost() {
    let engine = Engine::spawn(PROGRAM, weights()).wait().unwrap();
    let n_layers = engine.info().n_layers;
    let system = "Classify the sentiment of the film review as positive or negative.\n";
    let labels = |n: usize| (0..n).map(|n| words(8 + n % 9, n)).collect::<std::collections::BTreeSet<_>>();
    for (n_bytes, n_labels) in [(150, 2), (150, 60), (900, 2)] {
        let request = |number: usize| {
            let text = format!("{system}{}\n", words(n_bytes, number));
            let row_start = Some(RunOffset { run: 0, offset: system.len() });
            let prompt = Prompt { runs: vec![Run::Text { text, persons: vec![] }], row_start, row: None };
            let request = ScoreRequest::new(prompt, vec![Group::new("", labels(n_labels))]);
            ScoreRequest { reading: Reading::Choices, search: Search::BestFirst, ..request }
        };
        let ways = [n_layers, n_layers / 3, n_layers / 2, n_layers * 2 / 3];
        let mut took: [Vec<f64>; 4] = Default::default();
        for number in 0..60 {
            for (way, &n) in ways.iter().enumerate() {
                let whole = with_state(&request(number));
                let asked = if n == n_layers { whole } else { whole.only_layers(n) };
                let begun = std::time::Instant::now();
                engine.score(asked).unwrap();
                took[way].push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        for (n, times) in ways.iter().zip(&mut took) {
            times.sort_by(f64::total_cmp);
            println!(
                "{n_bytes} bytes, {n_labels} labels, {n} of {n_layers} layers: {:.2} ms a row",
                times[times.len() / 2]
            );
        }
    }
}

/// What a state adds to a row as `serve` answers it, through a process of its own; prints, and compares within one run.
///
/// `SLM_CANONICAL_MODEL=file.gguf cargo test --release --test it -- --ignored --nocapture states::what_a_state_costs`
#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn what_a_state_costs() {
    let engine = Engine::spawn(PROGRAM, weights()).wait().unwrap();
    let system = "Classify the sentiment of the film review as positive or negative.\n";
    let request = |number: usize| {
        let text = format!("{system}{}\n", words(150, number));
        let row_start = Some(RunOffset { run: 0, offset: system.len() });
        let prompt = Prompt { runs: vec![Run::Text { text, persons: vec![] }], row_start, row: None };
        ScoreRequest {
            reading: Reading::Choices,
            ..ScoreRequest::new(prompt, vec![Group::new("", ["positive", "negative"])])
        }
    };
    let mut took: [Vec<f64>; 2] = Default::default();
    for number in 0..400 {
        // In turn first, so that neither has the warmer caches.
        for which in [number % 2, 1 - number % 2] {
            let asked = if which == 0 { request(number) } else { with_state(&request(number)) };
            let begun = std::time::Instant::now();
            engine.score(asked).unwrap();
            took[which].push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let mut more: Vec<f64> = took[0].iter().zip(&took[1]).map(|(without, with)| with / without - 1.0).collect();
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let [without, with] = &mut took;
    println!("ms a row: {:.3} without, {:.3} with a state", median(without), median(with));
    println!("the same row with a state takes {:.2} % more (median of 400 pairs)", median(&mut more) * 100.0);
}
