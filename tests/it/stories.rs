//! Real text from a real model of 260 thousand parameters (`../shared/models/stories260K.gguf`), where it exists.

use std::collections::HashSet;

use crate::kinds::plain;
use crate::slm::{Home, probability};
use slm::engine::{Compute, Ending, Engine, Group, Load, Options, Reading, ScoreRequest, Weights};
use slm::gguf::Footprint;
use slm_testing::shared;

/// What slm says on standard error of a model without a chat template.
const NO_TEMPLATE: &str = "slm: `stories:latest` has no chat template; texts are given to it as they are (a Modelfile's TEMPLATE gives it one)\n";

/// A home with the model in its store, or nothing where the file is not there.
fn stories() -> Option<Home> {
    let path = shared("models/stories260K.gguf")?;
    let home = Home::new();
    let modelfile = home.file("Modelfile", format!("FROM {}\n", path.display()));
    home.slm(["create", "stories", "-f", modelfile.to_str().unwrap()]).succeeds();
    Some(home)
}

fn tell(home: &Home, args: &[&str]) -> String {
    let said = home.slm([&["run", "stories", "--temperature", "0"], args, &["Once upon a time"]].concat()).run();
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), NO_TEMPLATE), "{}", said.stdout);
    said.stdout
}

/// English of a child's story: nothing but letters and punctuation, and nearly all of its words are of a short list.
#[track_caller]
fn check_english(text: &str) {
    let known: HashSet<&str> = "a all and big boy can could day do dog for friend friends from girl go good had happy he \
        her him his home house in is it liked little loved mom mommy named not of on one or out outside park play played \
        playing ran said saw she so some sun that the there they time to too toy toys tree very walked wanted was went \
        were what when with would you lily tim timmy sam ball her's cat"
        .split_whitespace()
        .collect();
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let n_known = words.iter().filter(|word| known.contains(*word)).count();
    assert!(words.len() >= 10 && n_known * 4 >= words.len() * 3, "{n_known} of {} words: {text}", words.len());
    assert!(text.chars().all(|c| c.is_ascii_graphic() || c.is_whitespace()), "{text:?}");
}

#[test]
fn a_small_model_tells_a_story() {
    let Some(home) = stories() else { return };
    let story = tell(&home, &["--num-predict", "30"]);
    check_english(&story);
    assert_eq!(tell(&home, &["--num-predict", "30"]), story);
    // Fewer tokens are the beginning of the same text.
    let short = tell(&home, &["--num-predict", "5"]);
    let short = short.trim_end();
    assert!(!short.is_empty() && short.len() < story.trim_end().len() && story.starts_with(short), "{short} | {story}");
}

#[test]
fn a_stop_string_ends_the_story_before_itself() {
    let Some(home) = stories() else { return };
    let story = tell(&home, &["--num-predict", "60"]);
    let sentence = tell(&home, &["--num-predict", "60", "--stop", "."]);
    assert_eq!(sentence.trim_end(), story.split('.').next().unwrap().trim_end());
    let word = tell(&home, &["--num-predict", "60", "--stop", " little", "--stop", "zebra"]);
    assert_eq!(word.trim_end(), story.split(" little").next().unwrap().trim_end());
}

/// Sampling at a high temperature reaches byte tokens too; whatever comes is UTF-8.
#[test]
fn a_seed_decides_and_text_is_always_utf_8() {
    let Some(home) = stories() else { return };
    let sample = |seed: &str| {
        let args = ["run", "stories", "--temperature", "3", "--seed", seed, "--num-predict", "80", "--top-k", "0", "ü"];
        let said = home.slm(args).run();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), NO_TEMPLATE));
        said.stdout
    };
    assert_eq!(sample("7"), sample("7"));
    assert_ne!(sample("7"), sample("8"));
}

/// The model has read of little girls, and never of customs.
#[test]
fn what_is_likely_in_a_story_wins() {
    let Some(path) = shared("models/stories260K.gguf") else { return };
    let engine = Engine::load(Options {
        weights: Weights::File(path),
        weights_id: "stories".to_owned(),
        load: Load::Everything,
        n_ctx: None,
        compute: Compute { n_threads: Some(1), ..Compute::default() },
        footprint: Footprint::default(),
    })
    .unwrap();
    for reading in [Reading::Choices, Reading::Likelihood] {
        let groups = vec![Group { ending: Ending::Text, ..Group::new("", [" customs.", " park."]) }];
        let request = ScoreRequest { reading, ..ScoreRequest::new(plain("Lily went to play in the"), groups) };
        let scores = engine.score(request).unwrap().groups.remove(0);
        assert!(scores.logprobs[1] > scores.logprobs[0] + 3.0, "{reading:?}: {scores:?}");
    }
}

/// Examples, and the text after them, as one document that a model without a template continues.
#[test]
fn a_model_without_a_template_continues_texts_and_answers() {
    let Some(path) = shared("models/stories260K.gguf") else { return };
    let home = Home::new();
    let examples = "MESSAGE user The sun was warm\nMESSAGE assistant happy\n";
    home.file("Modelfile", format!("FROM {}\n{examples}", path.display()));
    home.slm(["create", "stories"]).succeeds();
    let shown = home.slm(["run", "stories", "--choices", "happy,sad", "--dry-run", "Tim lost his ball"]).run().stdout;
    let document = "Text: The sun was warm\nAnswer: happy\n\nText: Tim lost his ball\nAnswer:";
    assert!(shown.contains(document), "{shown}");
    let said = home.slm(["run", "stories", "--choices", "happy,sad", "--json", "Tim lost his ball"]).run();
    assert!(said.stderr.contains("it continues `Text: …`, `Answer:`"), "{}", said.stderr);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let p = ["happy", "sad"].map(|label| probability(&answer, label));
    assert!((p[0] + p[1] - 1.0).abs() < 1e-9, "{answer}");
}
