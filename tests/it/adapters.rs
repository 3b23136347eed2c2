//! LoRA adapters: PEFT's and GGUF's, alone and together, against numpy's numbers, and to the last bit against themselves.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slm::engine::{
    Adapter, AdapterSet, Compute, Detail, Engine, EngineError, Event, GenerateRequest, Group, Load, Options, Request,
    ScoreRequest, TokenLogprob, Weights,
};
use slm::gguf::Footprint;
use slm::prompt::{Prompt, Run};
use slm::sampling::{AnswerShape, Parameters};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::slm::{Home, files, probability};

/// Texts as they are, and a contract that the prompt does not describe.
const TEMPLATE: &str = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if contract %}{% endif %}";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora").join(name)
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(golden("expected.json")).unwrap()).unwrap()
}

fn choices(expected: &Value) -> Vec<&str> {
    expected["candidates"].as_array().unwrap().iter().map(|choice| choice.as_str().unwrap()).collect()
}

/// Makes a model of the golden base with these lines in its Modelfile.
fn create(home: &Home, name: &str, lines: &str) {
    let modelfile = format!("FROM {}\nTEMPLATE {TEMPLATE}\n{lines}", golden("base.gguf").display());
    home.file("Modelfile", modelfile);
    home.slm(["create", name]).succeeds();
}

/// The natural logarithms of the raw probabilities that a model gives to the choices.
fn logprobs(home: &Home, args: &[&str], choices: &[&str], text: &str) -> Vec<f64> {
    let list = choices.join(",");
    let args = [&["run"], args, &["--choices", &list, "--reading", "likelihood", "--json", text]].concat();
    let answer = home.slm(args).json();
    let mass = answer["label_mass"].as_f64().unwrap();
    choices.iter().map(|choice| (probability(&answer, *choice) * mass).ln()).collect()
}

/// PEFT's files through `slm create`, one and two at a time, at several scales.
#[test]
fn peft_adapters_give_numpys_probabilities() {
    let expected = expected();
    let choices = choices(&expected);
    let home = Home::new();
    // Against exact arithmetic, and against the half precision in which keys and values are kept; the lane's attention
    // has half precision in its sums, too.
    let (mut exact, mut kept) = (0.0_f64, 0.0_f64);
    for (number, case) in expected["cases"].as_array().unwrap().iter().enumerate() {
        let name = format!("case{number}");
        let adapter = |pair: &Value| format!("ADAPTER {} {}\n", golden(pair[0].as_str().unwrap()).display(), pair[1]);
        let lines: String = case["adapters"].as_array().unwrap().iter().map(adapter).collect();
        create(&home, &name, &lines);
        let ours = logprobs(&home, &[&name], &choices, case["text"].as_str().unwrap());
        for (key, worst) in [("logprobs", &mut exact), ("logprobs_f16_cache", &mut kept)] {
            for (ours, theirs) in ours.iter().zip(case[key].as_array().unwrap()) {
                let theirs = theirs.as_f64().unwrap();
                *worst = worst.max((ours - theirs).abs() / theirs.abs());
            }
        }
    }
    println!("largest relative difference of a log-probability: {exact:.2e}, with half-precision keys {kept:.2e}");
    assert!(exact < 1e-3 && kept < 1e-3, "{exact:e} {kept:e}");
    // The adapters matter: without them the numbers are others by far.
    let [base, one] = [0, 2].map(|at| expected["cases"][at]["logprobs"][0].as_f64().unwrap());
    assert!((base - one).abs() > 0.1, "{base} {one}");
}

/// Adapters of other families' shapes: biases, norms of heads, weights for several modules at once.
#[test]
fn adapters_of_other_families_give_numpys_probabilities() {
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("shapes.json")).unwrap()).unwrap();
    let choices = choices(&expected);
    let home = Home::new();
    for family in ["qwen2", "gemma3", "phi3"] {
        let mut worst = 0.0_f64;
        let cases = expected["cases"].as_array().unwrap().iter().filter(|case| case["family"] == family);
        for (number, case) in cases.enumerate() {
            let name = format!("{family}{number}");
            let [base, adapter] = ["base.gguf", ""].map(|file| golden(family).join(file).display().to_string());
            let adapter = match case["scale"].as_f64().unwrap() {
                0.0 => String::new(),
                scale => format!("ADAPTER {} {scale}\n", adapter.trim_end_matches('/')),
            };
            home.file("Modelfile", format!("FROM {base}\nTEMPLATE {TEMPLATE}\n{adapter}"));
            home.slm(["create", &name]).succeeds();
            let ours = logprobs(&home, &[&name], &choices, case["text"].as_str().unwrap());
            for (ours, theirs) in ours.iter().zip(case["logprobs"].as_array().unwrap()) {
                let theirs = theirs.as_f64().unwrap();
                worst = worst.max((ours - theirs).abs() / theirs.abs());
            }
        }
        println!("{family}: largest relative difference of a log-probability: {worst:.2e}");
        assert!(worst < 1e-3, "{family} {worst:e}");
    }
}

/// Adapters in the weights themselves give the numbers that they give beside them.
#[test]
fn merged_adapters_give_numpys_probabilities() {
    let expected = expected();
    let choices = choices(&expected);
    let home = Home::new();
    let case = &expected["cases"][8];
    let adapters = case["adapters"].as_array().unwrap();
    assert_eq!(adapters.len(), 2);
    let adapter = |pair: &Value| format!("ADAPTER {} {}\n", golden(pair[0].as_str().unwrap()).display(), pair[1]);
    create(&home, "beside", &adapters.iter().map(adapter).collect::<String>());
    let created = home.slm(["adapter", "merge", "beside", "--as", "within", "--json"]).json();
    assert_eq!(created["name"], "within:latest");
    assert_eq!(home.slm(["show", "within", "--json"]).json()["adapters"], json!([]));
    let ours = logprobs(&home, &["within"], &choices, case["text"].as_str().unwrap());
    for (ours, theirs) in ours.iter().zip(case["logprobs"].as_array().unwrap()) {
        let theirs = theirs.as_f64().unwrap();
        assert!(((ours - theirs) / theirs).abs() < 1e-3, "{ours} {theirs}");
    }
    // The same as a file, which is the base's but for the weights that changed.
    let written = home.slm(["adapter", "merge", "beside", "-o", "within.gguf"]).succeeds();
    assert_eq!(written, "wrote within.gguf (16 tensors changed)\n");
    let file = std::fs::read(home.path().join("within.gguf")).unwrap();
    assert_eq!(file.len(), std::fs::read(golden("base.gguf")).unwrap().len());
    let said = home.slm(["adapter", "merge", "within", "--as", "again"]).ends(2);
    assert_eq!(said.stderr, "slm: `within:latest` has no adapters; name those to merge into it\n");
}

/// An adapter as MLX-LM saves it is the same adapter.
#[test]
fn an_adapter_of_mlx_is_the_same_as_pefts() {
    let home = Home::new();
    let file = std::fs::read(golden("one").join("adapter_model.safetensors")).unwrap();
    let n_header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&file[8..8 + n_header]).unwrap();
    let (mut turned, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in &header {
        let at = |nth: usize| 8 + n_header + tensor["data_offsets"][nth].as_u64().unwrap() as usize;
        let [rows, columns] = [0, 1].map(|nth| tensor["shape"][nth].as_u64().unwrap() as usize);
        let numbers: Vec<&[u8]> = file[at(0)..at(1)].chunks_exact(4).collect();
        let begin = data.len();
        (0..columns).for_each(|c| (0..rows).for_each(|r| data.extend(numbers[r * columns + c])));
        let name =
            name.replace("base_model.model.", "").replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b");
        turned.insert(name, json!({"dtype": "F32", "shape": [columns, rows], "data_offsets": [begin, data.len()]}));
    }
    let header = serde_json::to_vec(&turned).unwrap();
    std::fs::create_dir(home.path().join("mlx")).unwrap();
    home.file("mlx/adapters.safetensors", [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat());
    home.file("mlx/adapter_config.json", r#"{"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 2.0}}"#);
    create(&home, "peft", &format!("ADAPTER {}\n", golden("one").display()));
    create(&home, "mlx", "ADAPTER ./mlx\n");
    let adapter = |model: &str| adapters_of(&home, model)[0].1.clone();
    assert_eq!(adapter("mlx"), adapter("peft"));
}

/// The adapters of a stored model as files, with their digests.
fn adapters_of(home: &Home, model: &str) -> Vec<(PathBuf, String)> {
    let show = home.slm(["show", model, "--json"]).json();
    let digests = show["adapters"].as_array().unwrap().iter().map(|adapter| adapter["digest"].as_str().unwrap());
    digests.map(|hex| (home.models().join("blobs").join(format!("sha256-{hex}")), format!("sha256:{hex}"))).collect()
}

fn engine() -> Engine {
    Engine::load(Options {
        weights: Weights::File(golden("base.gguf")),
        weights_id: "base".to_owned(),
        load: Load::Everything,
        n_ctx: None,
        compute: Compute { n_threads: Some(1), ..Compute::default() },
        footprint: Footprint::default(),
    })
    .unwrap()
}

fn plain(text: &str) -> Prompt {
    Prompt { runs: vec![Run::Text { text: text.to_owned(), persons: vec![] }], row_start: None, row: None }
}

fn request(text: &str, adapters: &AdapterSet) -> ScoreRequest {
    let candidates = ["yes", "no", "not yet"].map(str::to_owned).to_vec();
    let groups = vec![Group::new("", candidates)];
    ScoreRequest { adapters: adapters.clone(), ..ScoreRequest::new(plain(text), groups) }
}

fn bits(engine: &Engine, text: &str, adapters: &AdapterSet) -> Vec<u64> {
    engine.score(request(text, adapters)).unwrap().groups[0].logprobs.iter().map(|value| value.to_bits()).collect()
}

fn generate(engine: &Engine, text: &str, adapters: &AdapterSet) -> UnboundedReceiver<Event> {
    let parameters = Parameters { temperature: Some(0.0), num_predict: Some(12), ..Parameters::default() };
    let (prompt, sampling, adapters) = (plain(text), parameters.resolve(AnswerShape::Open), adapters.clone());
    let detail = Detail::Likely { n: 2 };
    let request = GenerateRequest { adapters, detail, ..GenerateRequest::new(prompt, sampling) };
    engine.send(Request::Generate(request))
}

fn whole(mut events: UnboundedReceiver<Event>) -> Vec<TokenLogprob> {
    let mut tokens = Vec::new();
    loop {
        match events.blocking_recv() {
            Some(Event::Text(piece)) => tokens.extend(piece.tokens),
            Some(Event::Generated(_)) => return tokens,
            other => panic!("{other:?}"),
        }
    }
}

fn generated(engine: &Engine, text: &str, adapters: &AdapterSet) -> Vec<TokenLogprob> {
    whole(generate(engine, text, adapters))
}

/// Whether two answers are one model's: generations round as their batches fall, so that probabilities differ a little, and where
/// two tokens are as likely as each other either may come, with all that follows from it.
fn are_of_one_model(found: &[TokenLogprob], expected: &[TokenLogprob]) -> bool {
    const LITTLE: f64 = 0.05;
    for (found, expected) in found.iter().zip(expected) {
        if found.id != expected.id {
            return expected.likely[0].logprob - expected.likely[1].logprob < LITTLE;
        }
        if (found.logprob - expected.logprob).abs() > LITTLE {
            return false;
        }
    }
    found.len() == expected.len()
}

#[test]
fn adapters_in_turn_give_the_same_bits_as_each_alone() {
    let home = Home::new();
    create(&home, "both", &format!("ADAPTER {}\nADAPTER {}\n", golden("one").display(), golden("two").display()));
    let files = adapters_of(&home, "both");
    let adapter = |at: usize, scale: f32| Adapter { path: files[at].0.clone(), id: files[at].1.clone(), scale };
    let sets = [
        AdapterSet::NONE,
        AdapterSet::new([adapter(0, 1.0)]),
        AdapterSet::new([adapter(1, 1.0)]),
        AdapterSet::new([adapter(0, 0.5)]),
        AdapterSet::new([adapter(0, 1.0), adapter(1, 0.5)]),
    ];
    // Longer than a decode's part that could serve again, and with a beginning in common.
    let texts = ["the customer says: my parcel never came", "the customer says: I was charged twice"];
    let alone: Vec<Vec<Vec<u64>>> =
        sets.iter().map(|set| texts.iter().map(|text| bits(&engine(), text, set)).collect()).collect();
    for (number, one) in alone.iter().enumerate() {
        assert!(alone[..number].iter().all(|other| other != one), "set {number} changes nothing");
    }
    let written: Vec<Vec<TokenLogprob>> = sets.iter().map(|set| generated(&engine(), texts[0], set)).collect();
    for (number, one) in written.iter().enumerate() {
        assert!(written[..number].iter().all(|other| !are_of_one_model(one, other)), "set {number} writes as another");
    }
    let shared = engine();
    for round in 0..3 {
        for (set, alone) in sets.iter().zip(&alone) {
            for (text, alone) in texts.iter().zip(alone) {
                assert_eq!(&bits(&shared, text, set), alone, "round {round}, {set:?}");
            }
        }
        // In the other order, and with another lane in between.
        for ((set, alone), written) in sets.iter().zip(&alone).zip(&written).rev() {
            assert!(are_of_one_model(&generated(&shared, texts[0], set), written), "round {round}, {set:?}");
            assert_eq!(bits(&shared, texts[1], set), alone[1], "round {round}, {set:?}");
        }
    }
    // All at once: no decode has two sets in it, and no set takes over another's text.
    let asked: Vec<_> = (0..3)
        .flat_map(|_| sets.iter().flat_map(|set| texts.map(|text| (set, text))))
        .map(|(set, text)| (set, text, generate(&shared, text, set)))
        .collect();
    for (set, text, events) in asked {
        assert!(are_of_one_model(&whole(events), &generated(&engine(), text, set)), "{set:?}");
    }
    // The order in which someone names them does not matter.
    let turned = AdapterSet::new([adapter(1, 0.5), adapter(0, 1.0)]);
    assert_eq!(bits(&shared, texts[0], &turned), alone[4][0]);
}

/// More sets than stay loaded, each used again after it was dropped.
#[test]
fn sets_that_were_dropped_are_loaded_again() {
    let home = Home::new();
    create(&home, "both", &format!("ADAPTER {}\nADAPTER {}\n", golden("one").display(), golden("two").display()));
    let files = adapters_of(&home, "both");
    let engine = engine();
    let set = |n: u8| {
        let scale = |at: usize| f32::from(n) / 20.0 + at as f32;
        let adapter = |at: usize| Adapter { path: files[at].0.clone(), id: files[at].1.clone(), scale: scale(at) };
        AdapterSet::new([adapter(0), adapter(1)])
    };
    let first: Vec<_> = (1..=20).map(|n| bits(&engine, "a text", &set(n))).collect();
    let again: Vec<_> = (1..=20).map(|n| bits(&engine, "a text", &set(n))).collect();
    assert_eq!(first, again);
    assert_ne!(first[0], first[19]);
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_and_the_engine_goes_on() {
    let engine = engine();
    let folder = tempfile::tempdir().unwrap();
    let before = bits(&engine, "a text", &AdapterSet::NONE);
    let base = std::fs::read(golden("base.gguf")).unwrap();
    for (name, bytes, reason) in [
        ("none.gguf", None, "No such file or directory (os error 2)"),
        (
            "base.gguf",
            Some(base.as_slice()),
            "it is not a LoRA adapter: its key `general.type` is `model`, not `adapter`",
        ),
        ("text.gguf", Some(b"hello".as_slice()), "it begins with `hell`, not with `GGUF`, so it is not a GGUF file"),
    ] {
        let path = folder.path().join(name);
        bytes.iter().for_each(|bytes| std::fs::write(&path, bytes).unwrap());
        let set = AdapterSet::new([Adapter { path: path.clone(), id: name.to_owned(), scale: 1.0 }]);
        let message = format!("the adapter `{}` cannot be applied: {reason}", path.display());
        assert_eq!(engine.prepare(&set).unwrap_err().to_string(), message);
        let error = engine.score(request("a text", &set)).unwrap_err();
        assert!(matches!(error, EngineError::Adapter { .. }), "{error}");
        assert_eq!(bits(&engine, "a text", &AdapterSet::NONE), before);
    }
}

#[test]
fn the_command_line_takes_the_place_of_the_modelfiles_adapters() {
    let expected = expected();
    let choices = choices(&expected);
    let home = Home::new();
    create(&home, "base", "");
    create(&home, "one", &format!("ADAPTER {}\n", golden("one").display()));
    create(&home, "half", &format!("ADAPTER {} 0.5\n", golden("one").display()));
    let text = expected["cases"][0]["text"].as_str().unwrap();
    let ask = |args: &[&str]| logprobs(&home, args, &choices, text);
    let file = home.path().join("one.gguf");
    std::fs::copy(&adapters_of(&home, "one")[0].0, &file).unwrap();
    let with = ask(&["one"]);
    assert_ne!(with, ask(&["base"]));
    assert_eq!(ask(&["one", "--adapter", "none"]), ask(&["base"]));
    assert_eq!(ask(&["base", "--adapter", "one"]), with);
    assert_eq!(ask(&["base", "--adapter", "./one.gguf"]), with);
    assert_eq!(ask(&["base", "--adapter", "half=2"]), with);
    assert_eq!(ask(&["base", "--adapter", "one.gguf=0.5"]), ask(&["half"]));
    assert_eq!(ask(&["base", "--adapter", "one=0.5", "--adapter", "one.gguf=0.5"]), with);

    let id = |args: &[&str]| {
        let args = [&["run"], args, &["--choices", "a,b", "--json", "x"]].concat();
        home.slm(args).json()["evaluation_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(&["one"]), id(&["base", "--adapter", "./one.gguf"]));
    assert_eq!(id(&["one", "--adapter", "none"]), id(&["base"]));
    assert!(id(&["one"]) != id(&["base"]) && id(&["one"]) != id(&["half"]));
    let said = home.slm(["run", "half", "--verbose", "--choices", "a,b", "x"]).ends(0);
    let digest = &adapters_of(&home, "half")[0].1;
    assert!(said.stderr.contains(&format!("adapter        {digest} at 0.5\n")), "{}", said.stderr);

    let refused = |adapter: &str, code: i32, message: &str| {
        home.slm(["run", "base", "--adapter", adapter, "x"]).fails(code, &format!("slm: {message}\n"));
    };
    refused("./none.gguf", 1, "there is no adapter `./none.gguf`; give a GGUF file or a model with adapters");
    refused("one=much", 2, "--adapter: the scale `much` is not a number");
    refused("one=1e9", 2, "--adapter: the scale `1e9` is out of range; give a number from -1000 to 1000");
    refused("base", 2, "`base:latest` has no adapters; `slm show` lists the adapters of a model");
    home.slm(["run", "triage", "--adapter", "one", "x"]).fails(
        2,
        "slm: the adapters of `one:latest` were made for other weights than those of `triage:latest`; to try them anyway, give the GGUF file\n",
    );
    let said = home.slm(["run", "triage", "--adapter", "one.gguf", "x"]).ends(1);
    assert!(said.stderr.contains("the adapter `one.gguf` cannot be applied: its tensor `"), "{}", said.stderr);
}

#[test]
fn a_model_keeps_its_adapters_and_shows_them() {
    let home = Home::new();
    create(&home, "base", "");
    create(&home, "one", &format!("ADAPTER {} 0.5\n", golden("one").display()));
    home.file(
        "Modelfile",
        format!("FROM one\nADAPTER {}\nSYSTEM Be brief.", golden("two/adapter_model.safetensors").display()),
    );
    home.slm(["create", "both"]).succeeds();
    let show = |model: &str| home.slm(["show", model, "--json"]).json();
    let (one, both) = (show("one"), show("both"));
    let adapters = both["adapters"].as_array().unwrap();
    assert_eq!(adapters[0], one["adapters"][0]);
    let of = |key: &str| adapters.iter().map(|adapter| adapter[key].clone()).collect::<Vec<_>>();
    assert_eq!((of("scale"), of("rank")), (vec![json!(0.5), json!(1.0)], vec![json!(4), json!(3)]));
    assert_eq!(adapters[0]["tensors"].as_array().unwrap().len(), 15);
    let bytes: u64 = of("size").iter().map(|size| size.as_u64().unwrap()).sum();
    assert!(both["size"].as_u64().unwrap() > show("base")["size"].as_u64().unwrap() + bytes);
    let page = home.slm(["show", "both"]).succeeds();
    let line = |at: usize, scale: &str, rest: &str| {
        format!("adapter          sha256:{} at {scale} ({rest})\n", adapters[at]["digest"].as_str().unwrap())
    };
    assert!(page.contains(&line(0, "0.5", "rank 4, 15 tensors, 14 KB")), "{page}");
    assert!(page.contains("at 1 (rank 3, 13 tensors, "), "{page}");

    // Written as a Modelfile it makes the same model again.
    let written = home.slm(["show", "both", "--modelfile"]).succeeds();
    home.slm(["create", "again", "-f", "-"]).stdin(&written).succeeds();
    assert_eq!(show("again")["digest"], both["digest"]);
    // Another scale for an adapter of the base takes its place.
    home.file("Modelfile", format!("FROM both\nADAPTER {} 0.25", golden("one").display()));
    home.slm(["create", "weaker"]).succeeds();
    let scales = |model: &Value| -> Vec<Value> {
        model["adapters"].as_array().unwrap().iter().map(|adapter| adapter["scale"].clone()).collect()
    };
    assert_eq!(scales(&show("weaker")), [json!(1.0), json!(0.25)]);
}

#[test]
fn adapters_that_cannot_be_taken_change_nothing() {
    let home = Home::new();
    create(&home, "kept", "");
    let before = files(&home.models());
    let peft = |name: &str, config: &Value| {
        std::fs::create_dir_all(home.path().join(name)).unwrap();
        home.file(&format!("{name}/adapter_config.json"), config.to_string());
        std::fs::copy(
            golden("one/adapter_model.safetensors"),
            home.path().join(name).join("adapter_model.safetensors"),
        )
        .unwrap();
    };
    let config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        config
    };
    peft("dora", &with("use_dora", json!(true)));
    peft("rank", &with("r", json!(8)));
    peft("bad", &json!("x"));
    std::fs::create_dir(home.path().join("empty")).unwrap();
    peft("damaged", &config);
    home.file("damaged/adapter_model.safetensors", [255; 64]);
    let refused = |from: &str, adapter: &str, message: &str| {
        home.file("M", format!("FROM {from}\nADAPTER {adapter}"));
        home.slm(["create", "kept", "-f", "M"]).fails(1, &format!("slm: {message}\n"));
        assert!(files(&home.models()) == before, "`{adapter}` changed the store");
    };
    refused("kept", "./none.gguf", "cannot read `./none.gguf`: No such file or directory (os error 2)");
    refused(
        "kept",
        "./empty",
        "`./empty` has neither `adapter_model.safetensors` (PEFT) nor `adapters.safetensors` (MLX), and is not a GGUF file; \
         save the adapter with PEFT's `save_pretrained` or `mlx_lm.lora`",
    );
    refused(
        "kept",
        "./dora",
        "`./dora/adapter_model.safetensors` cannot be made an adapter: it is trained with DoRA, which a GGUF adapter \
         cannot hold; merge it into the base model and convert that",
    );
    refused(
        "kept",
        "./rank",
        "`./rank/adapter_model.safetensors` cannot be made an adapter: its tensor \
         `base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight` has the rank 4, but the configuration says 8",
    );
    refused("triage", "./one", "cannot read `./one`: No such file or directory (os error 2)");
    home.file("M", format!("FROM triage\nADAPTER {}", golden("one").display()));
    let said = home.slm(["create", "kept", "-f", "M"]).ends(1);
    assert!(
        said.stderr.contains("cannot be made an adapter: it does not fit the base model: its tensor `"),
        "{}",
        said.stderr
    );
    for name in ["./bad", "./damaged"] {
        home.file("M", format!("FROM kept\nADAPTER {name}"));
        let said = home.slm(["create", "kept", "-f", "M"]).ends(1);
        assert!(said.stderr.contains("cannot be made an adapter: its "), "{}", said.stderr);
    }
    assert!(files(&home.models()) == before);
    let said = home.slm(["run", "kept", "--adapter", "./dora", "x"]).ends(2);
    assert!(
        said.stderr.contains("is a PEFT folder, which has to be converted once: write a Modelfile"),
        "{}",
        said.stderr
    );
}
