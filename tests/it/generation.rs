//! Many requests in one engine: each answers as it does alone, whatever company, cache and cancels there are.

use slm::engine::{
    AdapterSet, Detail, Engine, Event, Finish, GenerateRequest, Generation, Grammar, Lane, Point, ProbeRequest,
    Request, ScoreRequest, Token,
};
use slm::sampling::{AnswerShape, Parameters, Sampling};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::kinds::{Tiny, group, plain, score, words};
use crate::tiny::Kind;

fn request(text: &str, n_predict: i32, grammar: Option<&str>) -> GenerateRequest {
    let parameters = Parameters { temperature: Some(0.0), num_predict: Some(n_predict), ..Parameters::default() };
    let sampling: Sampling = parameters.resolve(AnswerShape::Open);
    let grammar = grammar.map(|grammar| Grammar(grammar.into()));
    GenerateRequest { grammar, detail: Detail::Tokens, ..GenerateRequest::new(plain(text), sampling) }
}

fn ids(engine: &Engine, text: &str) -> Vec<Token> {
    engine.tokenize(plain(text)).unwrap().tokens.iter().map(|token| token.id).collect()
}

fn wait(mut events: UnboundedReceiver<Event>) -> (String, Generation) {
    let mut text = String::new();
    loop {
        match events.blocking_recv() {
            Some(Event::Text(piece)) => text += &piece.text,
            Some(Event::Generated(generation)) => return (text, generation),
            other => panic!("{other:?}"),
        }
    }
}

fn alone(engine: &Engine, request: GenerateRequest) -> (String, Generation) {
    wait(engine.send(Request::Generate(request)))
}

/// Requests that begin alike, some of them longer than a window, one with a grammar.
fn requests() -> Vec<GenerateRequest> {
    let stable = words(150, 3);
    let text = |n: usize| format!("{stable}\n{}", words(10 + 37 * (n % 5), n));
    let mut requests: Vec<GenerateRequest> = (0..9).map(|n| request(&text(n), 12 + n as i32 * 3, None)).collect();
    requests.push(request(&text(3), 40, Some("start: /[a-c]{4} (yes|no)/")));
    requests.push(request(&words(900, 5), 30, None));
    requests
}

#[test]
fn everybody_gets_in_company_what_they_get_alone() {
    for tiny in Tiny::all() {
        let expected: Vec<(String, Generation)> =
            requests().into_iter().map(|request| alone(tiny.session().engine(), request)).collect();
        let session = tiny.session();
        let engine = session.engine();
        for round in 0..2 {
            let events: Vec<_> = requests().into_iter().map(|r| engine.send(Request::Generate(r))).collect();
            // Some that nobody waits for, and a closed question in between.
            drop(engine.send(Request::Generate(request(&words(300, 8), 100, None))));
            score(engine, &words(80, 2), vec![group("", &["a", "b"])]);
            for (number, (events, expected)) in events.into_iter().zip(&expected).enumerate() {
                let (text, generation) = wait(events);
                assert_eq!(
                    (&text, generation.finish),
                    (&expected.0, expected.1.finish),
                    "{:?} {round} {number}",
                    tiny.kind
                );
                let n_bytes: usize = generation.tokens.iter().map(|token| token.n_bytes).sum();
                assert!(n_bytes >= text.replace('\u{fffd}', "").len(), "{n_bytes} {text:?}");
            }
        }
        // What is in the cache serves, where the model's memory allows it.
        let again = alone(engine, requests().swap_remove(10)).1.counts;
        let may_reuse = matches!(tiny.kind, Kind::Attention);
        assert!(again.reused > 0 || !may_reuse, "{:?}: {again:?}", tiny.kind);
    }
}

#[test]
fn no_token_is_an_answer_too() {
    for tiny in Tiny::all() {
        let (text, generation) = alone(tiny.session().engine(), request("a text", 0, None));
        assert_eq!((text.as_str(), generation.finish, generation.counts.generated), ("", Finish::Length, 0));
    }
}

#[test]
fn questions_in_one_batch_score_as_they_do_alone() {
    let labels = ["billing", "bill", "no", "no idea", "zebra"];
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let stable = words(150, 3);
        let texts: Vec<String> = (0..12).map(|n| format!("{stable}\n{}", words(5 + 9 * n, n))).collect();
        let groups = || vec![group("", &labels), group("kind:", &labels)];
        let send = |text: &String| {
            engine.send(Request::Score(ScoreRequest {
                lane: Lane::Throughput,
                ..ScoreRequest::new(plain(text), groups())
            }))
        };
        let waiting: Vec<_> = texts.iter().map(send).collect();
        for (mut events, text) in waiting.into_iter().zip(&texts) {
            let Some(Event::Scored(scores)) = events.blocking_recv() else { panic!("no scores") };
            let canonical = score(engine, text, groups());
            for (together, alone) in
                scores.groups.iter().flat_map(|group| &group.logprobs).zip(canonical.iter().flatten())
            {
                // Sums of logarithms over a few tokens; quantized rows round elsewhere in other company.
                assert!((together - alone).abs() < 0.05 + alone.abs() * 0.005, "{:?}: {together} {alone}", tiny.kind);
            }
        }
    }
}

#[test]
fn places_of_an_answer_can_be_asked_for_what_else_might_have_come() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let text = words(120, 1);
        let grammar = "start: /\\{\"a\": \"(red|green|blue)\", \"b\": (true|false)\\}/";
        let (answer, generation) = alone(engine, request(&text, 60, Some(grammar)));
        assert_eq!(generation.finish, Finish::Stop, "{answer}");
        let b = answer.find("\"b\": ").unwrap() + 5;
        let points = vec![
            Point { at: 6, candidates: ["\"red\"", "\"green\"", "\"blue\""].map(str::to_owned).to_vec() },
            Point { at: b, candidates: ["true", "false"].map(str::to_owned).to_vec() },
        ];
        let generated = generation.tokens;
        let mut n_compared = 0;
        let probe = ProbeRequest {
            prompt: plain(&text),
            adapters: AdapterSet::NONE,
            generated: generated.clone(),
            points: points.clone(),
        };
        let scores = match engine.probe(probe) {
            Ok(scores) => scores.groups.into_iter().map(|group| group.logprobs).collect::<Vec<_>>(),
            Err(error) => {
                assert!(matches!(tiny.kind, Kind::Recurrent | Kind::Hybrid), "{:?}: {error}", tiny.kind);
                continue;
            }
        };
        for (point, scores) in points.iter().zip(&scores) {
            // The same texts read from the beginning, the end after them taken out.
            let prefix = format!("{text}{}", &answer[..point.at]);
            let all: Vec<&str> = point.candidates.iter().map(String::as_str).collect();
            let all = score(engine, &prefix, vec![group("", &all)]).remove(0);
            for (number, (candidate, probed)) in point.candidates.iter().zip(scores).enumerate() {
                // A random model does not always write the tokens that the same text is read as.
                let read_as = ids(engine, &format!("{prefix}{candidate}"));
                let mut end = 0;
                let written = generated.iter().take_while(|token| {
                    end += token.n_bytes;
                    end <= point.at
                });
                let written: Vec<Token> = ids(engine, &text).into_iter().chain(written.map(|token| token.id)).collect();
                if !read_as.starts_with(&written) {
                    continue;
                }
                n_compared += 1;
                let with_end = all[number];
                let end = score(engine, &prefix, vec![group(candidate, &[""])])[0][0];
                let read = with_end - end;
                assert!((probed - read).abs() < 0.05, "{:?}: {candidate} {probed} {read}", tiny.kind);
            }
        }
        assert!(n_compared > 0, "{:?}", tiny.kind);
    }
}
