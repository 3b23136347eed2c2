//! `slm tune` and `slm label`: what rows are good for, the job that is made of them, and, where there is a Python with PyTorch, a
//! training from the first row to a stored model.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slm_testing::skipped;

use crate::slm::{Home, Said, triage_gguf};

const QUEUES: [&str; 6] = ["billing", "shipping", "account access", "technical", "legal", "other"];

/// The embedded model's own rows, where each queue is called by the name of the next: labels that the model cannot know.
fn rows() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage/tickets.jsonl");
    let text = std::fs::read_to_string(path).expect("committed");
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).expect("JSON");
        let at = QUEUES.iter().position(|queue| row["queue"] == *queue).expect("one of them");
        row["queue"] = QUEUES[(at + 1) % QUEUES.len()].into();
        row
    };
    text.lines().map(row).collect()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// A home with the rows, and with the embedded model's weights as a file and as a stored model.
fn home() -> Home {
    let home = Home::new();
    home.file("mine.jsonl", lines(&rows()));
    home.file("base.gguf", triage_gguf());
    home
}

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
}

fn read_rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// `slm tune triage mine.jsonl`, with more words.
fn tune(home: &Home, more: &[&str]) -> crate::slm::Call {
    let usual = ["tune", "triage", "mine.jsonl", "--label", "queue", "--weights", "base.gguf"];
    home.slm(usual.iter().chain(more))
}

/// A Python with the trainer's packages, where `SLM_TUNE_PYTHON` names one.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("SLM_TUNE_PYTHON").map(PathBuf::from);
    if named.is_none() {
        skipped(format_args!("SLM_TUNE_PYTHON names no Python with torch, transformers, trl, peft and gguf"));
    }
    named
}

#[test]
fn a_job_has_prompts_as_slm_renders_them_and_parts_without_leaks() {
    let home = home();
    let mut rows = rows();
    rows.push(rows[0].clone());
    rows.push(json!({"text": "my parcel came at last", "queue": "legal"}));
    rows.push(json!({"text": "My parcel  came at last", "queue": "other"}));
    rows.push(json!({"text": "nobody knows", "queue": "nowhere"}));
    home.file("mine.jsonl", lines(&rows));
    let job = json_of(&tune(&home, &["--as", "mine", "--export", "job", "--json"]).ends(0));
    let folder = home.path().join("job");
    assert_eq!((&job["name"], &job["rows"]["left_out"]), (&json!("mine:latest"), &json!(4)));
    let left: Vec<Value> = read_rows(&folder.join("left_out.jsonl")).iter().map(|row| row["why"].clone()).collect();
    assert_eq!(left, ["no_label", "repeated", "conflict", "conflict"]);
    let [train, valid, held_out] =
        ["train.jsonl", "valid.jsonl", "held_out.jsonl"].map(|name| read_rows(&folder.join(name)));
    assert_eq!(train.len() + valid.len() + held_out.len(), 306);
    let text = |row: &Value| row["messages"].as_array().unwrap().iter().rev().nth(1).unwrap()["content"].clone();
    let texts: Vec<Value> = train.iter().chain(&valid).map(text).collect();
    assert!(held_out.iter().all(|row| !texts.contains(&row["text"])), "no held-out text is taught");
    // What is taught is the prompt of `slm run`, token by token, and the answer after it.
    let row = &train[0];
    let shown = home.slm(["run", "triage", "--dry-run", "--json", text(row).as_str().unwrap()]).json();
    assert_eq!(row["prompt"], shown["prompt"]);
    let prompt: Vec<&Value> = shown["tokens"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    let (tokens, n_given) = (row["tokens"].as_array().unwrap(), row["n_given"].as_u64().unwrap() as usize);
    assert_eq!(tokens.iter().take(prompt.len()).collect::<Vec<_>>(), prompt);
    assert!(n_given >= prompt.len() && n_given < tokens.len(), "{n_given} of {}", tokens.len());
    let answer = row["messages"].as_array().unwrap().last().unwrap();
    assert_eq!((&answer["role"], &answer["content"]), (&json!("assistant"), &row["answer"]));
    assert!(row["answer"].as_str().unwrap().starts_with("queue:"), "{}", row["answer"]);
    // The job stands alone: weights, trainer and instructions are there.
    for name in ["weights/base.gguf", "train.py", "README.md"] {
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[test]
fn the_same_job_goes_on_and_another_one_is_not_overwritten() {
    let home = home();
    let first = json_of(&tune(&home, &["--dry-run", "--json", "--job", "job"]).ends(0));
    let again = json_of(&tune(&home, &["--dry-run", "--json", "--job", "job", "--train-threads", "1"]).ends(0));
    assert_eq!(first, again);
    let refused = "slm: `job` has another job (other rows, settings or weights); give --job another folder, or --fresh to begin anew \
                   there\n";
    tune(&home, &["--dry-run", "--json", "--job", "job", "--rank", "4"]).fails(1, refused);
    let anew = json_of(&tune(&home, &["--dry-run", "--json", "--job", "job", "--rank", "4", "--fresh"]).ends(0));
    assert_eq!((&anew["settings"]["rank"], &anew["settings"]["alpha"]), (&json!(4), &json!(8)));
}

#[test]
fn a_job_for_mlx_has_its_rows_and_settings() {
    let home = home();
    tune(&home, &["--engine", "mlx", "--export", "job", "--json"]).ends(0);
    let rows = read_rows(&home.path().join("job/mlx/train.jsonl"));
    let roles: Vec<&Value> = rows[0]["messages"].as_array().unwrap().iter().map(|one| &one["role"]).collect();
    assert_eq!(roles.last(), Some(&&json!("assistant")));
    let config = std::fs::read_to_string(home.path().join("job/mlx/config.yaml")).unwrap();
    assert!(
        config.contains("mask_prompt: true\n") && config.contains("lora_parameters: {rank: 8, scale: 2"),
        "{config}"
    );
}

#[test]
fn a_check_says_what_rows_are_good_for() {
    let home = home();
    let told = home.slm(["tune", "mine.jsonl", "--label", "queue", "--check", "--json"]).json();
    assert_eq!((&told["rows"], &told["usable"], &told["enough"]), (&json!(306), &json!(306), &json!(false)));
    assert_eq!(told["longest_tokens"], Value::Null);
    let told = home.slm(["tune", "triage", "mine.jsonl", "--label", "queue", "--check", "--json"]).json();
    assert!(told["longest_tokens"].as_u64() > told["median_tokens"].as_u64(), "{told}");
    let page = home.slm(["tune", "triage", "mine.jsonl", "--label", "queue", "--check"]).succeeds();
    let end = "fewer than 1000 rows: try `slm fit triage DATA` first: accuracy ";
    assert!(page.starts_with("306 rows, 306 of them can teach\n\nqueue\n") && page.contains(end), "{page}");
    let of_fit = |name: &str| told["fit"][name].as_f64().unwrap();
    assert!(of_fit("accuracy_after") > of_fit("accuracy_before") + 0.3 && of_fit("rows") > 200.0, "{told}");
    // Too few to tune with, and one of them twice.
    home.file(
        "few.csv",
        "text,label\na first text,x\nthe other one,y\nA first  text,x\nmore of it,x\nstill more,y\nlast one,y\n",
    );
    let said = home.slm(["tune", "few.csv", "--check", "--json"]).ends(3);
    let told = json_of(&said);
    assert_eq!((&told["usable"], &told["left_out"]), (&json!(5), &json!([{"why": "repeated", "rows": 1}])));
}

#[test]
fn what_cannot_be_tuned_is_refused_with_a_way_out() {
    let home = home();
    let built_in = "slm: `triage:latest` is built into slm; give the weights that it was made of with --weights\n";
    let said = home.slm(["tune", "triage", "mine.jsonl", "--label", "queue"]).ends(2);
    assert!(said.stderr.ends_with(built_in), "{}", said.stderr);
    let said = tune(&home, &["--job", "job"]).ends(1);
    let no_python = "slm: training needs Python with torch, trl and peft: give it with --python PATH, or let `slm tune \
                     --setup` make an environment\n";
    assert!(said.stderr.ends_with(no_python), "{}", said.stderr);
    let nowhere = "slm: `nowhere` holds no tuning job; a job's folder has a job.json\n";
    home.slm(["tune", "--import", "nowhere"]).fails(1, nowhere);
    let early = "slm: `job` has no adapter yet; train it with `python train.py .` there\n";
    home.slm(["tune", "--import", "job"]).fails(1, early);
}

#[test]
fn a_teacher_labels_texts_and_drops_what_it_doubts() {
    let home = Home::new();
    home.file("texts.txt", "I was charged twice for order 1182\nmy parcel never came\n\nhm\n");
    let label = |more: &[&str]| {
        let usual = ["label", "triage", "texts.txt", "-o", "rows.jsonl", "--json"];
        json_of(&home.slm(usual.iter().chain(more)).ends(0))
    };
    let all = label(&["--min-probability", "0"]);
    assert_eq!((&all["texts"], &all["labelled"], &all["doubtful"]), (&json!(3), &json!(3), &json!(0)));
    let rows = read_rows(&home.path().join("rows.jsonl"));
    let row = &rows[0];
    assert_eq!((&row["queue"], &row["refund"]), (&json!("billing"), &row["refund"]));
    let shares: f64 = row["probabilities"]["queue"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    let least = rows.iter().filter_map(|row| row["probability"].as_f64()).fold(1.0, f64::min);
    let sure = label(&["--min-probability", &format!("{}", least + 1e-9)]);
    assert_eq!((&sure["labelled"], &sure["doubtful"]), (&json!(2), &json!(1)));
    // Another contract than the model's own.
    let said = home.slm(["label", "triage", "texts.txt", "--choices", "money,other", "--min-probability", "0"]).ends(0);
    let row: Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert!([json!("money"), json!("other")].contains(&row["label"]), "{row}");
    let warning = "slm: these labels are the teacher's, its mistakes among them: measure whatever learns from them on rows that people \
                   labelled (slm tune --held-out ROWS)\n";
    assert!(said.stderr.ends_with(warning), "{}", said.stderr);
}

/// Rows of whole answers, and the same as a suite of columns: what is taught is what the model's grammar lets it write.
#[test]
fn written_answers_are_taught_whole() {
    let home = home();
    let schema = json!({"type": "object", "properties": {"reply": {"type": "string"}, "amount": {"type": ["number", "null"]}},
        "required": ["reply", "amount"], "additionalProperties": false});
    home.file("Modelfile", format!("FROM ./base.gguf\nFORMAT {schema}\n"));
    home.slm(["create", "m"]).ends(0);
    let row = |nth: usize| {
        (format!("text number {nth} of a kind that is {nth} times its own"), format!("r {}", nth % 7), nth % 3)
    };
    let answer = |(_, reply, amount): &(String, String, usize)| json!({"amount": amount, "reply": reply});
    let whole = |nth| json!({"text": row(nth).0, "label": answer(&row(nth))});
    let mut rows: Vec<Value> = (0..80).map(whole).collect();
    rows.push(json!({"text": "an answer that the FORMAT refuses", "label": {"reply": 1, "amount": 2}}));
    rows.push(json!({"text": "no answer", "label": "r 1"}));
    home.file("whole.jsonl", lines(&rows));
    let columns = |nth| json!({"text": row(nth).0, "reply": [row(nth).1, "or so"], "sum": row(nth).2});
    home.file("columns.jsonl", lines(&(0..80).map(columns).collect::<Vec<_>>()));
    let suite = json!({"model": "any", "data": "columns.jsonl", "input": "text",
        "expect": {"reply": {"as": "one_of"}, "amount": {"column": "sum", "as": "number", "tolerance": 0.5}}});
    home.file("suite.yaml", suite.to_string());
    let job = |data: &str, n_left: u64| {
        let job = json_of(&home.slm(["tune", "m", data, "--dry-run", "--json", "--fresh", "--job", "job"]).ends(0));
        assert_eq!((&job["rows"]["left_out"], &job["labels"]), (&json!(n_left), &json!([])), "{data}");
        let read = |name: &str| read_rows(&home.path().join("job").join(name));
        (job["expect"].clone(), read("train.jsonl"), read("held_out.jsonl"))
    };
    let (expect, of_whole, held_out) = job("whole.jsonl", 2);
    assert_eq!(expect["reply"], json!({"column": "label reply", "as": "text"}));
    assert_eq!(held_out[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["text", "label reply", "label amount"]);
    let (expect, of_columns, held_out) = job("suite.yaml", 0);
    assert_eq!(expect["amount"], json!({"column": "label amount", "as": "number", "tolerance": 0.5}));
    assert_eq!(held_out[0]["label reply"][1], "or so");
    assert_eq!(of_whole, of_columns);
    for row in &of_whole {
        let answer = row["answer"].as_str().unwrap();
        assert!(answer.starts_with("{\"reply\": \"r ") && answer.contains("\", \"amount\": "), "{answer}");
    }
    let n_given = of_whole[0]["n_given"].as_u64().unwrap() as usize;
    assert!(n_given < of_whole[0]["tokens"].as_array().unwrap().len() - 10, "all of the answer counts");
    let page = home.slm(["tune", "m", "whole.jsonl", "--check"]).ends(3).stdout;
    assert!(page.ends_with("try `slm fit m DATA --examples` first\n"), "{page}");
}

#[test]
fn a_training_is_stopped_gone_on_with_measured_and_kept() {
    let Some(python) = python() else { return };
    let home = home();
    let python = python.to_str().unwrap();
    let settings =
        ["--python", python, "--as", "mine", "--train-threads", "1", "--learning-rate", "0.003", "--rank", "16"];
    let args: Vec<&str> = settings.iter().copied().chain(["--epochs", "15", "--patience", "15"]).collect();
    // A trainer whose starter goes away writes a checkpoint, and the next run goes on there.
    tune(&home, &[&args[..], &["--dry-run", "--json"]].concat()).ends(0);
    let job = home.path().join("mine.tune");
    let mut trainer = std::process::Command::new(python)
        .args([job.join("train.py").to_str().unwrap(), job.to_str().unwrap(), "--until-eof"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop((trainer.stdin.take(), trainer.stdout.take()));
    assert_eq!(trainer.wait().unwrap().code(), Some(130));
    assert!(job.join("checkpoints").exists());
    let said = tune(&home, &[&args[..], &["--json"]].concat()).ends(0);
    assert!(said.stderr.contains("slm: going on after step "), "{}", said.stderr);
    let told = json_of(&said);
    assert_eq!((&told["kept"], &told["card"]["is_better"]), (&json!(true), &json!(true)));
    let of = |name: &str| {
        let all = told["card"]["figures"].as_array().unwrap();
        all.iter().find(|one| one["subject"] == name).and_then(|one| one["accuracy"].as_f64()).unwrap()
    };
    // The model, the model with a fit of the same rows, and the tuned one: labels that were turned can be learned both ways.
    assert!(
        of("tuned") > of("triage:latest") + 0.3 && of("triage:latest, fitted") > of("triage:latest") + 0.3,
        "{told}"
    );
    assert_eq!(told["card"]["comparisons"][0]["over"], "triage:latest");
    // A training that was stopped and resumed gives the same adapter, bit for bit, as one that ran through.
    tune(&home, &[&args[..], &["--export", "whole"]].concat()).ends(0);
    let whole = home.path().join("whole");
    let trained = std::process::Command::new(python).args([whole.join("train.py"), whole.clone()]).output().unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let adapter = |job: &Path| std::fs::read(job.join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter(&job), adapter(&whole));
    // It answers with the new labels, its card is shown, and the model that it was made of is as it was.
    let answer = |model: &str| home.slm(["run", model, "--json", "I was charged twice for order 1182"]).json();
    assert_eq!(answer("mine")["value"]["queue"], "shipping");
    assert_eq!(answer("triage")["value"]["queue"], "billing");
    assert!(home.slm(["show", "mine"]).succeeds().contains("\ntuning\n  made on "));
    assert_eq!(home.slm(["show", "mine", "--json"]).json()["tuning"]["rows"], told["card"]["rows"]);
    // What is not better is not kept unless asked.
    let weak =
        ["--python", python, "--as", "weak", "--train-threads", "1", "--epochs", "1", "--learning-rate", "0.0000001"];
    let said = tune(&home, &[&weak[..], &["--json"]].concat()).ends(3);
    assert_eq!(json_of(&said)["kept"], json!(false));
    home.slm(["show", "weak"]).ends(1);
    home.slm(["tune", "--import", "weak.tune", "--keep", "--json"]).ends(0);
    home.slm(["show", "weak"]).ends(0);
}
