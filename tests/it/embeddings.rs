//! Embedding models: vectors against numpy's, alone and together, and what is refused before llama.cpp would end the process.

use std::path::{Path, PathBuf};

use serde_json::Value;
use slm::engine::{
    Adapter, AdapterSet, Compute, EmbedRequest, EmbeddingKind, Embeddings, Engine, Group, Load, Options, ScoreRequest,
    Weights,
};
use slm::gguf::Footprint;
use slm::prompt::{Prompt, Run};

use crate::slm::Home;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn cases() -> Vec<Value> {
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("embeddings/expected.json")).unwrap()).unwrap();
    expected["cases"].as_array().unwrap().clone()
}

/// A golden model that pools in this way: the number after its key is another.
fn gguf(model: &str, pooling: &str) -> Vec<u8> {
    let (file, key) = match model {
        "bert" => ("embeddings/bert.gguf", "bert.pooling_type"),
        _ => ("lora/base.gguf", "llama.pooling_none"),
    };
    let mut bytes = std::fs::read(golden(file)).unwrap();
    let at = bytes.windows(key.len()).position(|window| window == key.as_bytes()).expect("the key is there");
    bytes[at..at + key.len()].copy_from_slice(format!("{model}.pooling_type").as_bytes());
    let number: u32 = match pooling {
        "none" => 0,
        "mean" => 1,
        "cls" => 2,
        "last" => 3,
        "rank" => 4,
        other => panic!("{other}"),
    };
    // Behind the key's text and its value's type.
    let at = at + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn create(home: &Home, model: &str, pooling: &str) -> String {
    let name = format!("{model}-{pooling}");
    home.file(&format!("{name}.gguf"), gguf(model, pooling));
    home.file("Modelfile", format!("FROM ./{name}.gguf"));
    home.slm(["create", &name]).succeeds();
    name
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .map_or_else(|| vec![value.as_f64().unwrap()], |list| list.iter().map(|n| n.as_f64().unwrap()).collect())
}

/// The largest difference of two vectors' numbers, relative to the length of the second.
fn difference(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let length = theirs.iter().map(|n| n * n).sum::<f64>().sqrt();
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / length
}

/// Through the program: mean, first, last and rank pooling, of an encoder and of a decoder.
#[test]
fn vectors_are_numpys() {
    let home = Home::new();
    let mut made = std::collections::HashSet::new();
    // Against exact arithmetic, and against ggml's GELU, which is read from a table of half-precision numbers.
    let (mut exact, mut table) = (0.0_f64, 0.0_f64);
    for case in cases().iter().filter(|case| case["adapters"].as_array().unwrap().is_empty()) {
        let [model, pooling, text] = ["model", "pooling", "text"].map(|key| case[key].as_str().unwrap());
        let name = format!("{model}-{pooling}");
        if made.insert(name.clone()) {
            create(&home, model, pooling);
        }
        let line = home.slm(["run", &name, text]).succeeds();
        let ours = numbers(&serde_json::from_str(&line).unwrap());
        if pooling != "rank" {
            let length: f64 = ours.iter().map(|n| n * n).sum();
            assert!((length - 1.0).abs() < 1e-6, "{name}: {length}");
        }
        let [to_exact, to_table] = ["exact", "table"].map(|key| difference(&ours, &numbers(&case[key])));
        println!("{name}: {to_exact:.2e}, with GELU from a table {to_table:.2e}");
        match (pooling, text.len()) {
            // A score of almost nothing has a large relative difference; here they are all below 1.
            ("rank", _) => assert!(to_exact < 1e-2 && to_table < 1e-3, "{name}: {to_exact:e} {to_table:e}"),
            // Long texts are computed with flash attention, in half precision.
            (_, 500..) => assert!(to_exact < 1e-2, "{name}: {to_exact:e}"),
            _ => (exact, table) = (exact.max(to_exact), table.max(to_table)),
        }
    }
    assert_eq!(made.len(), 5);
    println!("largest relative difference: {exact:.2e}, with GELU read from ggml's table {table:.2e}");
    assert!(exact < 5e-4 && table < 1e-4, "{exact:e} {table:e}");
}

fn engine(folder: &Path, model: &str, pooling: &str) -> Engine {
    let path = folder.join(format!("{model}-{pooling}.gguf"));
    std::fs::write(&path, gguf(model, pooling)).unwrap();
    Engine::load(options(path)).unwrap()
}

fn options(path: PathBuf) -> Options {
    Options {
        weights: Weights::File(path),
        weights_id: String::new(),
        load: Load::Everything,
        n_ctx: None,
        compute: Compute { n_threads: Some(1), ..Compute::default() },
        footprint: Footprint::default(),
    }
}

fn embed(engine: &Engine, texts: &[&str], adapters: &AdapterSet) -> Embeddings {
    let texts = texts.iter().map(ToString::to_string).collect();
    engine.embed(EmbedRequest { texts, adapters: adapters.clone() }).unwrap()
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&n| f64::from(n)).collect()
}

/// The same factors as in the log-probabilities' test, without the half precision of the score lane.
#[test]
fn adapters_change_vectors_as_numpy_says() {
    let home = Home::new();
    let modelfile = ["one", "two"].map(|name| format!("ADAPTER {}\n", golden("lora").join(name).display())).concat();
    home.file("Modelfile", format!("FROM {}\n{modelfile}", golden("lora/base.gguf").display()));
    home.slm(["create", "both"]).succeeds();
    let show = home.slm(["show", "both", "--json"]).json();
    let file = |at: usize| format!("sha256-{}", show["adapters"][at]["digest"].as_str().unwrap());
    let adapter = |named: &Value| {
        let id = file(if named[0] == "one" { 0 } else { 1 });
        Adapter { path: home.models().join("blobs").join(&id), id, scale: named[1].as_f64().unwrap() as f32 }
    };
    let mut worst = 0.0_f64;
    for pooling in ["last", "mean"] {
        let engine = engine(home.path(), "llama", pooling);
        for case in cases().iter().filter(|case| case["model"] == "llama" && case["pooling"] == pooling) {
            // Long texts are computed in half precision, with adapters or without.
            if case["text"].as_str().unwrap().len() > 500 {
                continue;
            }
            let set = AdapterSet::new(case["adapters"].as_array().unwrap().iter().map(adapter));
            let embeddings = embed(&engine, &[case["text"].as_str().unwrap()], &set);
            worst = worst.max(difference(&wide(&embeddings.rows[0]), &numbers(&case["exact"])));
        }
    }
    println!("largest relative difference with adapters: {worst:.2e}");
    assert!(worst < 1e-5, "{worst:e}");
}

#[test]
fn texts_together_are_as_each_alone() {
    let folder = tempfile::tempdir().unwrap();
    let words: String = "my parcel never came late ".repeat(8);
    for (model, pooling) in
        [("bert", "mean"), ("bert", "cls"), ("bert", "rank"), ("llama", "last"), ("llama", "mean"), ("llama", "none")]
    {
        let engine = engine(folder.path(), model, pooling);
        // More than one decode holds, of lengths that do not come out even.
        let texts: Vec<&str> = (0..70).map(|n| words[..5 + n * 2 % 190].trim()).collect();
        let together = embed(&engine, &texts, &AdapterSet::NONE);
        let kind = if pooling == "rank" { EmbeddingKind::Scores } else { EmbeddingKind::UnitVectors };
        assert_eq!((together.kind, together.rows.len()), (kind, texts.len()));
        let mut n_tokens = 0;
        for (text, row) in texts.iter().zip(&together.rows) {
            let alone = embed(&engine, &[text], &AdapterSet::NONE);
            n_tokens += alone.counts.prompt;
            let difference = difference(&wide(row), &wide(&alone.rows[0]));
            assert!(difference < 1e-4, "{model} {pooling}: {difference:e} {text}");
            // Alone, a text has the same bits every time.
            assert_eq!(embed(&engine, &[text], &AdapterSet::NONE).rows, alone.rows);
        }
        assert_eq!(together.counts.prompt, n_tokens);
    }
}

/// What their evaluation id promises: the vectors of a request have the same bits, whatever was embedded before. The decoder's
/// long texts are computed in another context than the short ones, which is made again for a longer one.
#[test]
fn a_requests_vectors_have_the_same_bits_in_every_state_of_the_lane() {
    let folder = tempfile::tempdir().unwrap();
    let words = "my parcel never came late ".repeat(200);
    let engine = |model: &str, pooling: &str| {
        let path = folder.path().join(format!("{model}-{pooling}.gguf"));
        let mut bytes = gguf(model, pooling);
        // The decoder takes longer texts than it was trained with.
        let key = b"llama.context_length";
        if let Some(at) = bytes.windows(key.len()).position(|window| window == key) {
            bytes[at + key.len() + 4..at + key.len() + 8].copy_from_slice(&4096_u32.to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        Engine::load(options(path)).unwrap()
    };
    for (model, pooling) in
        [("bert", "mean"), ("bert", "cls"), ("bert", "rank"), ("llama", "last"), ("llama", "mean"), ("llama", "none")]
    {
        let words: Vec<&str> = words.split_whitespace().take(if model == "bert" { 58 } else { 700 }).collect();
        let long = [words.join(" "), words[..words.len() / 4].join(" ")];
        let short: Vec<String> = (1..40).map(|n| words[n..n + n % 13 + 1].join(" ")).collect();
        let alone = [&long[0], &long[1], &short[11], &short[0]].map(|text| vec![text.as_str()]);
        let together = vec![short.iter().map(String::as_str).collect(), vec![short[3].as_str(), &long[1], &short[5]]];
        let requests: Vec<Vec<&str>> = alone.into_iter().chain(together).collect();
        let bits = |engine: &Engine, texts: &[&str]| -> Vec<Vec<u32>> {
            let rows = embed(engine, texts, &AdapterSet::NONE).rows;
            rows.iter().map(|row| row.iter().map(|n| n.to_bits()).collect()).collect()
        };
        let cold: Vec<_> = requests.iter().map(|texts| bits(&engine(model, pooling), texts)).collect();
        let warm = engine(model, pooling);
        let order = (0..requests.len()).rev().chain(0..requests.len());
        let differing: Vec<usize> = order.filter(|&n| bits(&warm, &requests[n]) != cold[n]).collect();
        assert_eq!(differing, Vec::<usize>::new(), "{model} {pooling}");
    }
}

#[test]
fn a_text_beyond_the_context_names_both_numbers_and_the_engine_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for (pooling, n_ctx) in [("last", Some(600)), ("mean", None)] {
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, gguf("llama", pooling)).unwrap();
        let engine = Engine::load(Options { n_ctx, ..options(path) }).unwrap();
        let before = embed(&engine, &["a text"], &AdapterSet::NONE);
        let limit = engine.info().n_ctx as usize;
        assert_eq!(limit, n_ctx.map_or(1024, |n| n as usize));
        // BOS and the space in front are the model's own.
        for n_tokens in [limit - 1, limit, limit + 1, 5 * limit] {
            let texts = vec!["x".repeat(n_tokens - 2)];
            let embedded = engine.embed(EmbedRequest { texts, adapters: AdapterSet::NONE });
            if n_tokens <= limit {
                assert_eq!(embedded.unwrap().counts.prompt, n_tokens);
            } else {
                let expected = format!(
                    "the text has {n_tokens} tokens with the model's start and end tokens, and at most {limit} fit"
                );
                assert_eq!(embedded.unwrap_err().to_string(), expected);
            }
        }
        assert_eq!(embed(&engine, &["a text"], &AdapterSet::NONE).rows, before.rows);
    }
}

/// BERT has no output that could be read as text; llama.cpp would give a pointer to nothing.
#[test]
fn an_encoder_does_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), "bert", "mean");
    let prompt =
        Prompt { runs: vec![Run::Text { text: "my parcel".to_owned(), persons: vec![] }], row_start: None, row: None };
    let groups = vec![Group::new("", vec!["my".to_owned(), "late".to_owned()])];
    let request = ScoreRequest::new(prompt, groups);
    assert_eq!(
        engine.score(request).unwrap_err().to_string(),
        "the model's architecture `bert` makes embeddings, not text, so it cannot answer; use a text model"
    );
}

#[test]
fn an_embedding_model_answers_with_json_lines_and_nothing_else() {
    let home = Home::new();
    let (bert, rank) = (create(&home, "bert", "mean"), create(&home, "bert", "rank"));
    let vector = home.slm(["run", &bert, "my parcel"]).succeeds();
    assert_eq!(home.slm(["run", &bert]).stdin("my parcel\n").succeeds(), vector);
    let other = home.slm(["run", &bert, "never came"]).succeeds();
    let lines = home.slm(["run", &bert, "--lines"]).stdin("my parcel\nnever came\n").succeeds();
    assert_eq!(lines, format!("{vector}{other}"));
    let record = home.slm(["run", &bert, "--jsonl", "body"]).stdin("{\"id\": 7, \"body\": \"my parcel\"}\n").succeeds();
    assert_eq!(record, format!("{{\"id\": 7, \"body\": \"my parcel\",\"answer\":{}}}\n", vector.trim()));
    let json = home.slm(["run", &bert, "--json", "my parcel"]).json();
    assert_eq!(json["embedding"].to_string(), vector.trim());
    assert!(json["evaluation_id"].is_string(), "{json}");
    assert_eq!(json["tokens"]["prompt"], 4);
    // Special tokens that someone writes are words.
    let spelled = home.slm(["run", &bert, "--json", "my [SEP] parcel"]).json();
    assert!(spelled["tokens"]["prompt"].as_u64().unwrap() > 5, "{spelled}");
    // A reranker's score is a number.
    let score: f64 = home.slm(["run", &rank, "my parcel"]).succeeds().trim().parse().unwrap();
    assert_eq!(home.slm(["run", &rank, "--json", "my parcel"]).json()["score"], score);

    assert!(
        home.slm(["show", &bert])
            .succeeds()
            .contains("embeds           pooling `mean`; it makes embeddings, not text\n")
    );
    assert_eq!(home.slm(["show", &rank, "--json"]).json()["embeds"], "rank");
    let said = home.slm(["run", &bert, "--verbose", "my parcel"]).ends(0);
    assert!(said.stderr.contains("answers are    embeddings, pooling `mean`\n"), "{}", said.stderr);

    for flag in [["--choices", "a,b"], ["--format", "none"], ["--system", "x"], ["--max-words", "3"], ["--top-k", "1"]]
    {
        home.slm([&["run", &bert, "my parcel"], flag.as_slice()].concat()).fails(
            2,
            &format!(
                "slm: `{bert}:latest` is an embedding model: it gives a vector for each text, not an answer; remove {}, or use a text model\n",
                flag[0]
            ),
        );
    }
    // Longer than the model's 64 positions: refused with both numbers, or cut where that is wanted.
    let long = "my parcel ".repeat(40);
    home.slm(["run", &bert, &long])
        .fails(1, "slm: the text has 82 tokens with the model's start and end tokens, and at most 64 fit; shorten it with --truncate\n");
    let said = home.slm(["run", &bert, "--truncate", "62", &long]).ends(0);
    assert_eq!(said.stderr, "slm: the text was cut by 18 tokens\n");
    let rows = home.slm(["run", &bert, "--lines"]).stdin(format!("my parcel\n{long}\nmy parcel\n")).ends(1);
    assert_eq!(rows.stdout, format!("{vector}\n{vector}"));
}
