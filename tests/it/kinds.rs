//! Models that remember differently (plain attention, a sliding window, a recurrent state, both): all of them keep the
//! engine's promises. The models are random; what they say does not matter, that they say the same does.

use std::path::Path;
use std::sync::Arc;

use slm::contract::{Contract, Form};
use slm::engine::{
    Compute, Engine, Event, Finish, GenerateRequest, Group, Load, Options, Request, ScoreRequest, Weights,
};
use slm::gguf::Footprint;
use slm::infer::{Cancel, Defaults, Finished, InferError, Session, Turn, wait};
use slm::prompt::{Prompt, Run};
use slm::sampling::{AnswerShape, Parameters, Sampling};

use crate::slm::Home;
use crate::tiny::{KINDS, Kind, WINDOW};

/// Positions of the contexts here: more than two decodes of a prompt.
const N_CTX: u32 = 1200;

/// A model in a folder that is removed with it.
pub struct Tiny {
    pub kind: Kind,
    folder: tempfile::TempDir,
}

impl Tiny {
    pub fn all() -> Vec<Tiny> {
        let tiny = |kind: Kind| {
            let folder = tempfile::tempdir().unwrap();
            kind.write(folder.path());
            Tiny { kind, folder }
        };
        KINDS.into_iter().map(tiny).collect()
    }

    pub fn session(&self) -> Session {
        self.session_of(&self.folder.path().join(format!("{:?}.gguf", self.kind)))
    }

    /// The same with tokens of its vocabulary around a gap to fill.
    pub fn infilling(&self, tokens: [u32; 3]) -> Session {
        self.session_of(&self.kind.write_infilling(self.folder.path(), tokens))
    }

    fn session_of(&self, file: &Path) -> Session {
        let weights = Weights::File(file.to_owned());
        let weights_id = format!("{:?}", self.kind);
        let options = Options {
            weights,
            weights_id,
            load: Load::Everything,
            n_ctx: Some(N_CTX),
            // One thread is enough, and does not wait for another where the machine is busy.
            compute: Compute { n_threads: Some(1), ..Compute::default() },
            footprint: Footprint::default(),
        };
        Session::open(options, Defaults::default()).unwrap()
    }
}

pub fn words(n_bytes: usize, seed: usize) -> String {
    let words = ["refund", "parcel", "login", "order", "late", "please", "invoice", "broken"];
    let mut text = String::new();
    while text.len() < n_bytes {
        text += words[(text.len() * 7 + seed) % words.len()];
        text.push(if text.len().is_multiple_of(5) { '\n' } else { ' ' });
    }
    text
}

pub fn plain(text: &str) -> Prompt {
    Prompt { runs: vec![Run::Text { text: text.to_owned(), persons: vec![] }], row_start: None, row: None }
}

pub fn group(prefix: &str, candidates: &[&str]) -> Group {
    Group::new(prefix, candidates.iter().copied())
}

pub fn score(engine: &Engine, text: &str, groups: Vec<Group>) -> Vec<Vec<f64>> {
    let scores = engine.score(ScoreRequest::new(plain(text), groups)).unwrap();
    scores.groups.into_iter().map(|group| group.logprobs).collect()
}

/// Texts shorter and longer than the window, and than one decode.
fn texts() -> Vec<String> {
    [10, WINDOW as usize + 9, 700].into_iter().map(|n| words(n, n)).collect()
}

#[test]
fn one_pass_equals_the_same_text_read_as_a_prompt() {
    let labels = ["billing", "bill", "no", "no idea", "zebra"];
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let mut seen: Vec<f64> = Vec::new();
        for text in texts() {
            // Candidates as branches, after a prefix that is a branch too ...
            let groups = vec![group("", &labels), group("kind:", &labels)];
            let together = score(engine, &text, groups);
            for (number, label) in labels.into_iter().enumerate() {
                // ... against each by itself, its prefix at the end of the prompt.
                let alone = score(engine, &text, vec![group("", &[label])])[0][0];
                let read = score(engine, &format!("{text}kind:"), vec![group("", &[label])])[0][0];
                for (one_pass, separate) in [(together[0][number], alone), (together[1][number], read)] {
                    assert!((one_pass - separate).abs() < 0.05, "{:?}: {label} {one_pass} {separate}", tiny.kind);
                }
            }
            seen.push(together[0][4]);
        }
        // A model that did not read its prompt would pass all of the above.
        let (least, most) = seen.iter().fold((f64::MAX, f64::MIN), |(least, most), &p| (least.min(p), most.max(p)));
        assert!(most - least > 0.5, "{:?}: {seen:?}", tiny.kind);
    }
}

fn ask(session: &Session, turn: Turn) -> Result<Finished, InferError> {
    wait(session.ask(turn)?.whole(), &Cancel::default())
}

fn bits(session: &Session, system: &str, text: &str) -> Vec<u64> {
    let contract = Contract::parse(
        r#"{"type": "object", "properties": {"queue": {"enum": ["billing", "bill", "other"]}, "refund": {"type": "boolean"}}}"#,
    );
    let form = Form::Closed(Arc::new(contract.unwrap()));
    let end = ask(session, Turn { form, ..Turn::to_text(Some(system), text) }).unwrap().end;
    let fields = end.closed_fields().iter();
    fields.flat_map(|field| field.probabilities.iter().map(|(_, p)| p.to_bits())).collect()
}

#[test]
fn probabilities_have_the_same_bits_cold_again_and_after_another_prefix() {
    for tiny in Tiny::all() {
        let warm = tiny.session();
        // Below and beyond the window, and beyond one decode.
        for (n_system, n_text) in [(10, 8), (WINDOW as usize + 9, 60), (560, 8)] {
            let (system, text) = (words(n_system, 1), words(n_text, 2));
            let cold = bits(&tiny.session(), &system, &text);
            assert!(cold.iter().any(|&bits| bits != cold[0]), "{:?}", tiny.kind);
            for state in ["another row", "again", "another prefix", "a generation"] {
                match state {
                    "another row" => drop(bits(&warm, &system, "another row")),
                    "another prefix" => drop(bits(&warm, &words(90, 5), &text)),
                    "a generation" => {
                        let few = Parameters { num_predict: Some(4), ..Parameters::default() };
                        drop(generate(&warm, &text, few));
                    }
                    _ => {}
                }
                assert_eq!(bits(&warm, &system, &text), cold, "{:?}, after {state}, {n_system}", tiny.kind);
            }
        }
    }
}

/// A greedy answer of at most 40 tokens, unless the parameters say otherwise.
fn generate(session: &Session, text: &str, parameters: Parameters) -> (String, Finish, usize) {
    let own = Parameters { temperature: Some(0.0), num_predict: Some(40), ..Parameters::default() };
    let turn = Turn { parameters: parameters.over(own), ..Turn::to_text(None, text) };
    let Finished { text, end, .. } = ask(session, turn).unwrap();
    (text, end.finish, end.counts.generated)
}

#[test]
fn generation_says_the_same_again_and_stops_where_it_is_told() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        for text in texts() {
            let (answer, finish, n_tokens) = generate(&session, &text, Parameters::default());
            assert!(finish == Finish::Stop || n_tokens == 40, "{:?}: {finish:?} {n_tokens}", tiny.kind);
            generate(&session, "another text takes the lane", Parameters::default());
            assert_eq!(generate(&session, &text, Parameters::default()).0, answer, "{:?}", tiny.kind);

            // Two characters that the model wrote: U+FFFD stands for bytes that are none.
            let rest: Vec<char> = answer.chars().skip(3).collect();
            let Some(two) = rest.windows(2).find(|two| !two.contains(&char::REPLACEMENT_CHARACTER)) else { continue };
            let stop: String = two.iter().collect();
            let first = answer.find(&stop).unwrap();
            let stops = Parameters { stop: Some(vec![stop]), ..Parameters::default() };
            let (stopped, finish, _) = generate(&session, &text, stops);
            assert_eq!((stopped.as_str(), finish), (&answer[..first], Finish::Stop), "{:?}", tiny.kind);
        }
    }
}

#[test]
fn a_dropped_request_makes_room_for_the_next() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let before = score(engine, "one", vec![group("", &["a", "b"])]);
        let sampling = Sampling { num_predict: None, ..Parameters::default().resolve(AnswerShape::Open) };
        for n_events in [0, 1, 3] {
            let request = GenerateRequest::new(plain(&words(600, 4)), sampling.clone());
            let mut events = engine.send(Request::Generate(request));
            for _ in 0..n_events {
                let event = events.blocking_recv();
                assert!(matches!(event, Some(Event::Text(_) | Event::Generated(_)) | None), "{event:?}");
            }
            drop(events);
            drop(
                engine.send(Request::Score(ScoreRequest::new(
                    plain(&words(900, n_events)),
                    vec![group("", &["a", "b"])],
                ))),
            );
            assert_eq!(score(engine, "one", vec![group("", &["a", "b"])]), before, "{:?}", tiny.kind);
        }
    }
}

#[test]
fn a_prompt_beyond_the_context_names_both_numbers() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        let before = score(engine, "one", vec![group("", &["a", "b"])]);
        let long = words(4000, 1);
        let n_tokens = engine.tokenize(plain(&long)).unwrap().tokens.len();
        let request = ScoreRequest::new(plain(&long), vec![group("", &["a", "b"])]);
        let error = engine.score(request).unwrap_err().to_string();
        assert!(error.ends_with(&format!("the context has {N_CTX}")), "{:?}: {error}", tiny.kind);
        let error = ask(&session, Turn::to_text(None, &long)).unwrap_err().to_string();
        let expected = format!("the prompt is too long: {} tokens are needed, the context has {N_CTX}", n_tokens + 1);
        assert_eq!(error, expected, "{:?}", tiny.kind);
        assert_eq!(score(engine, "one", vec![group("", &["a", "b"])]), before, "{:?}", tiny.kind);
        // An answer that runs out of context ends there.
        let short = words(N_CTX as usize - 60, 1);
        let (_, finish, n_generated) =
            generate(&session, &short, Parameters { num_predict: Some(-1), ..Parameters::default() });
        let n_tokens = engine.tokenize(plain(&short)).unwrap().tokens.len();
        assert!(finish == Finish::Stop || n_tokens + n_generated == N_CTX as usize, "{:?}: {n_generated}", tiny.kind);
    }
}

/// Through the store and the program: a header that our own check accepts, an answer for everybody.
#[test]
fn every_kind_can_be_created_and_asked() {
    let home = Home::new();
    for kind in KINDS {
        let path = kind.write(home.path());
        let name = format!("{kind:?}").to_lowercase();
        let modelfile = home.file("Modelfile", format!("FROM {}\n", path.display()));
        home.slm(["create", &name, "-f", modelfile.to_str().unwrap()]).succeeds();
        let said = home.slm(["run", &name, "--choices", "yes,no", "is it late"]).run();
        assert!(said.code == Some(0) && ["yes\n", "no\n"].contains(&said.stdout.as_str()), "{kind:?}: {}", said.stderr);
        let said = home.slm(["run", &name, "--temperature", "0", "--num-predict", "8", "is it late"]).run();
        assert_eq!(said.code, Some(0), "{kind:?}: {}", said.stderr);
    }
}
