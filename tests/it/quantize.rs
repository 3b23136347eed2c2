//! `slm create -q`, `slm eval --quantizations` and importance matrices: against llama-quantize's bytes where it is there, against
//! numpy's numbers, and against what the files themselves say.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slm::engine::imatrix::ImatrixTexts;
use slm::engine::{self, Compute, Load, Options, Weights};
use slm::gguf::Footprint;
use slm::imatrix::Imatrix;
use slm::prompt::{Prompt, Run};

use crate::slm::{Home, files};

/// Where llama.cpp's own tool is, of the version that slm is built with; its bytes are compared where it is.
const LLAMA_QUANTIZE: &str = "SLM_LLAMA_QUANTIZE";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A home with the embedded model in half precision, under the name `half`.
fn home_with_half() -> Home {
    let home = Home::new();
    home.file("Half", "FROM triage");
    let said = home.slm(["create", "half", "-q", "f16", "--requantize", "-f", "Half"]).ends(0);
    assert!(said.stderr.starts_with("slm: quantizing to F16: about "), "{}", said.stderr);
    home.file("FromHalf", "FROM half");
    home
}

fn show(home: &Home, model: &str) -> Value {
    home.slm(["show", model, "--json"]).json()
}

/// The file of a model's weights.
fn weights(home: &Home, model: &str) -> PathBuf {
    let modelfile = home.slm(["show", model, "--modelfile"]).succeeds();
    PathBuf::from(modelfile.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap())
}

#[test]
fn a_quantized_model_is_as_large_as_its_plan_said_and_answers() {
    let home = home_with_half();
    let half = weights(&home, "half");
    let before = std::fs::read(&half).unwrap();
    let plan = home.slm(["create", "small", "-q", "q4_0", "-f", "FromHalf", "--dry-run", "--json"]).json();
    assert_eq!(plan["quantization"], "Q4_0");
    assert_eq!(plan["from"]["quantization"], "F16");
    assert!(home.slm(["list"]).succeeds().lines().all(|line| !line.starts_with("small")), "a plan makes nothing");
    home.slm(["create", "small", "-q", "q4_0", "-f", "FromHalf"]).ends(0);
    let size = std::fs::metadata(weights(&home, "small")).unwrap().len();
    let planned = plan["size"].as_u64().unwrap();
    assert!(planned.abs_diff(size) < 256, "planned {planned}, made {size}");
    let shown = show(&home, "small");
    assert_eq!(shown["details"]["quantization_level"], "Q4_0");
    assert_eq!(shown["tensor_types"], plan["tensor_types"]);
    assert_eq!(shown["bits_per_weight"], plan["bits_per_weight"]);
    assert_eq!(std::fs::read(&half).unwrap(), before, "the source stays as it is");
    // It has the contract of the model that it was made from, and keeps it.
    let answer = home.slm(["run", "small", "--json", "I was charged twice for order 1182"]).json();
    assert!(answer["value"]["queue"].is_string(), "{answer}");
    home.slm(["verify", "small"]).succeeds();
}

#[test]
fn types_of_single_tensors_take_the_place_of_the_mixs() {
    let home = home_with_half();
    let arguments = ["create", "mixed", "-q", "q4_0", "-f", "FromHalf", "--tensor-type", r"blk\.0\.ffn_.*=q8_0"];
    home.slm(arguments).ends(0);
    let shown = home.slm(["show", "mixed", "--json", "--verbose"]).json();
    let kind = |name: &str| {
        let tensors = shown["tensors"].as_array().unwrap();
        tensors.iter().find(|tensor| tensor["name"] == name).unwrap()["type"].clone()
    };
    assert_eq!([kind("blk.0.ffn_up.weight"), kind("blk.1.ffn_up.weight")], ["Q8_0", "Q4_0"]);
}

#[test]
fn what_cannot_be_quantized_is_said_and_changes_nothing() {
    let home = home_with_half();
    home.file("FromTriage", "FROM triage");
    home.file("Remote.yaml", "base_url: http://127.0.0.1:1/v1\nmodel: m\n");
    home.file("FromRemote", "FROM ./Remote.yaml");
    let before = files(&home.models());
    let refused = |arguments: &[&str], code: i32, message: &str| {
        let said = home.slm([&["create", "new"], arguments].concat()).ends(code);
        assert_eq!(said.stderr.trim_end(), message);
        assert!(files(&home.models()) == before, "{arguments:?} changed the store");
    };
    refused(
        &["-q", "q4_0", "-f", "FromTriage"],
        1,
        "slm: `triage:latest` is quantized already (Q8_0): 28 tensors would lose precision a second time, such as \
         `blk.0.attn_k.weight` from Q8_0 to Q4_0; quantize from its F16, BF16 or F32 file, or add --requantize",
    );
    refused(
        &["-q", "q4_0", "-f", "FromRemote"],
        2,
        "slm: a remote has no weights that could be quantized; remove --quantize",
    );
    // The rest is the C++ library's.
    let said = home.slm(["create", "new", "-q", "q4_0", "-f", "FromHalf", "--tensor-type", "(=q8_0"]).ends(1);
    assert!(said.stderr.starts_with("slm: `half:latest` cannot be quantized: failed to quantize: "), "{}", said.stderr);
    assert!(files(&home.models()) == before, "a wrong pattern changed the store");
    let said = home.slm(["create", "new", "-q", "q9", "-f", "FromHalf"]).ends(2);
    assert!(said.stderr.contains("`q9` is not a quantization that llama.cpp has; it has `Q1_0`"), "{}", said.stderr);
}

/// The bytes of llama.cpp's own tool, for mixes, plain types, fallbacks for rows of 128, overrides and an importance matrix.
#[test]
fn files_are_those_of_llama_quantize() {
    let Some(tool) = std::env::var_os(LLAMA_QUANTIZE) else {
        slm_testing::skipped!("`{LLAMA_QUANTIZE}` does not name llama.cpp's llama-quantize");
        return;
    };
    let home = home_with_half();
    home.file("rows.jsonl", "{\"text\": \"I was charged twice\"}\n{\"text\": \"my parcel never came\"}\n");
    home.slm(["create", "m", "-q", "q4_0", "-f", "FromHalf", "--imatrix", "rows.jsonl", "--imatrix-out", "i.gguf"])
        .ends(0);
    let cases: [(&str, &[&str]); 8] = [
        ("q8_0", &[]),
        ("q4_0", &[]),
        ("q5_1", &[]),
        ("iq4_nl", &[]),
        ("q4_k_m", &[]),
        ("bf16", &[]),
        ("q4_0", &["--tensor-type", "attn_v=q8_0"]),
        ("q4_0", &["--imatrix", "i.gguf"]),
    ];
    for (kind, options) in cases {
        home.slm([&["create", "ours", "--yes", "-f", "FromHalf", "-q", kind], options].concat()).ends(0);
        let theirs = home.path().join("theirs.gguf");
        let mut command = std::process::Command::new(&tool);
        command.args(options).arg(weights(&home, "half")).arg(&theirs).arg(kind).current_dir(home.path());
        assert!(command.output().unwrap().status.success(), "{kind}");
        let equal = std::fs::read(weights(&home, "ours")).unwrap() == std::fs::read(&theirs).unwrap();
        assert!(equal, "{kind} {options:?}");
    }
}

/// Sums of squares of a small Llama, and of one with experts, against those of numpy.
#[test]
fn an_importance_matrix_has_numpys_sums() {
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("imatrix.json")).unwrap()).unwrap();
    let prompt = |text: &Value| {
        let text = text.as_str().unwrap().to_owned();
        Prompt { runs: vec![Run::Text { text, persons: vec![] }], row_start: None, row: None }
    };
    let prompts: Vec<Prompt> = expected["texts"].as_array().unwrap().iter().map(prompt).collect();
    for (model, entries) in expected["models"].as_object().unwrap() {
        let options = Options {
            weights: Weights::File(golden(model)),
            weights_id: model.clone(),
            load: Load::Everything,
            n_ctx: None,
            compute: Compute { n_threads: Some(1), ..Compute::default() },
            footprint: Footprint::default(),
        };
        let texts = ImatrixTexts::Prompts(prompts.clone());
        let found = engine::imatrix(&options, &texts, |_, _| ControlFlow::Continue(())).unwrap();
        let entries = entries.as_object().unwrap();
        assert_eq!(found.entries.keys().collect::<Vec<_>>(), entries.keys().collect::<Vec<_>>());
        let mut worst = 0.0_f64;
        for (name, entry) in entries {
            let counts: Vec<f64> = found.entries[name].counts.iter().copied().map(f64::from).collect();
            assert_eq!(json!(counts), json!(numbers(&entry["counts"])), "{name} of {model}");
            let sums = numbers(&entry["sums"]);
            assert_eq!(found.entries[name].sums.len(), sums.len(), "{name} of {model}");
            for (ours, theirs) in found.entries[name].sums.iter().zip(sums) {
                worst = worst.max((f64::from(*ours) - theirs).abs() / theirs);
            }
        }
        println!("largest relative difference of a sum of {model}: {worst:.2e}");
        // Keys and values are kept in half precision.
        assert!(worst < 5e-3, "{model}: {worst:e}");
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

#[test]
fn a_tasks_rows_make_an_importance_matrix() {
    let home = home_with_half();
    home.file("rows.csv", "text,queue\nI was charged twice,billing\nmy parcel never came,shipping\n");
    let arguments =
        ["create", "by-rows", "-q", "q4_0", "-f", "FromHalf", "--imatrix", "rows.csv", "--imatrix-out", "i.gguf"];
    let said = home.slm(arguments).ends(0);
    assert!(said.stderr.contains("slm: importance matrix of 28 tensors from `rows.csv`\n"), "{}", said.stderr);
    let matrix = Imatrix::parse(&std::fs::read(home.path().join("i.gguf")).unwrap()).unwrap();
    assert_eq!(matrix.datasets, ["rows.csv"]);
    // The prompts as slm renders them, whole.
    let tokens = |text: &str| {
        let dry = home.slm(["run", "half", "--dry-run", "--json", text]).json();
        dry["tokens"].as_array().unwrap().len()
    };
    let expected = tokens("I was charged twice") + tokens("my parcel never came");
    assert_eq!(f64::from(matrix.entries["blk.0.attn_q.weight"].counts[0]), expected as f64);
    let info = show(&home, "by-rows")["model_info"].clone();
    assert_eq!(info["quantize.imatrix.file"], "rows.csv");
    assert_eq!(info["quantize.imatrix.entries_count"], 28);
    // The matrix changes the weights, and the same matrix from its file makes the same.
    home.slm(["create", "without", "-q", "q4_0", "-f", "FromHalf"]).ends(0);
    assert_ne!(std::fs::read(weights(&home, "by-rows")).unwrap(), std::fs::read(weights(&home, "without")).unwrap());
    home.file("none.dat", "what is this");
    let said = home.slm(["create", "new", "-q", "q4_0", "-f", "FromHalf", "--imatrix", "none.dat"]).ends(1);
    assert!(
        said.stderr.starts_with("slm: `none.dat`: it is neither a GGUF file nor an importance matrix"),
        "{}",
        said.stderr
    );
}

/// A suite of some of triage's tickets in the home.
fn suite(home: &Home) -> PathBuf {
    let tickets = Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage/tickets.jsonl");
    let tickets = std::fs::read_to_string(tickets).unwrap();
    home.file("tickets.jsonl", tickets.lines().take(24).collect::<Vec<_>>().join("\n"));
    home.file("suite.yaml", "model: half\ndata: tickets.jsonl\ninput: text\nexpect: [queue, urgency, refund]\n")
}

#[test]
fn the_drift_of_a_new_model_is_told() {
    let home = home_with_half();
    suite(&home);
    let said = home.slm(["create", "small", "-q", "q8_0", "-f", "FromHalf", "--json"]).ends(0);
    let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["name"], "small:latest", "the suite beside the Modelfile is asked");
    let report = &lines[1];
    assert_eq!(
        (&report["rows"], &report["original"]["name"], &report["original"]["drift"]),
        (&json!(24), &json!("F16"), &Value::Null)
    );
    let quantized = &report["quantized"][0];
    assert_eq!(quantized["name"], "Q8_0");
    assert!(quantized["bits_per_weight"].as_f64().unwrap() < 9.0);
    let drift = &quantized["drift"];
    let [mean, worst] = ["mean_divergence", "worst_divergence"].map(|key| drift[key].as_f64().unwrap());
    // It was made of these very 8 bits.
    assert!((0.0..0.01).contains(&mean) && mean <= worst, "{drift}");
    assert_eq!((&drift["flips"]["hits"], &drift["is_worse"]), (&json!(0), &json!(false)));
    assert!(quantized["rows_per_second"].as_f64().unwrap() > 0.0);
    // Without a suite's answers nobody is asked.
    let said = home.slm(["create", "small", "-q", "q8_0", "-f", "FromHalf", "--check", "none"]).ends(0);
    assert_eq!(said.stdout.lines().count(), 1);
    // Labelled rows do as well.
    let said = home.slm(["create", "small", "-q", "q8_0", "-f", "FromHalf", "--check", "tickets.jsonl"]).ends(0);
    assert!(
        said.stdout.contains("TYPE  BITS") && said.stdout.contains("no type is worse than `F16` beyond chance"),
        "{}",
        said.stdout
    );
}

#[test]
fn several_types_make_a_table_and_can_be_kept() {
    let home = home_with_half();
    suite(&home);
    let before = files(&home.models());
    let table = home.slm(["eval", "suite.yaml", "--quantizations", "q8_0,q4_0", "--json"]).ends(0);
    let report: Value = serde_json::from_str(&table.stdout).unwrap();
    let names: Vec<&Value> = report["quantized"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["q8_0", "q4_0"], "the largest first");
    assert!(files(&home.models()) == before, "nothing is kept unasked");
    home.slm(["eval", "suite.yaml", "--quantizations", "q4_0", "--keep", "me/half"]).ends(0);
    assert_eq!(show(&home, "me/half:q4_0")["details"]["quantization_level"], "Q4_0");
    let said = home.slm(["eval", "suite.yaml", "--quantizations", "q4_0", "--model", "triage"]).ends(1);
    assert!(said.stderr.contains("is quantized already (Q8_0)"), "{}", said.stderr);
}
