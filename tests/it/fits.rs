//! Models whose answers are fitted to labels: what a fit changes of an answer, when it is refused, and that it travels with its
//! model.

use serde_json::{Value, json};
use slm::contract::{Contract, Form};
use slm::embedded::TRIAGE;
use slm::load_spec;
use slm::store::{FitFiles, Store};
use slm_fit::{FieldFit, Fit, Gate, Method, MethodName, Pins, Pool};

use crate::registry::docker::{Access, DockerRegistry};
use crate::registry::package::nothing_is_wrong;
use crate::slm::Home;

pub const TEXT: &str = "I want my money back, the parcel never came";

/// Twice the log-probabilities of a field: every probability squared, and made to sum to 1.
pub fn squared(n_options: usize) -> Method {
    let (seen, biases) = (vec![true; n_options], vec![0.0; n_options]);
    let name = MethodName::Temperature;
    Method::Pool(Box::new(Pool { name, seen, raw_weight: 2.0, experts: Vec::new(), biases }))
}

/// All answers of a field to a person.
pub fn closed_gate(n_options: usize) -> Gate {
    Gate { thresholds: vec![1.5; n_options], person: Vec::new() }
}

/// A contract's closed field and its number of options, to what is done with it.
pub type Learned<'a> = &'a dyn Fn(Option<&str>, usize) -> (Method, Gate);

/// What `slm fit` would belong to here, as the model's own answer says.
fn pins(home: &Home, model: &str, store: &Store) -> Pins {
    let answer = home.slm(["run", model, "--no-fit", "--json", TEXT]).json();
    let said = |name: &str| answer[name].as_str().unwrap().to_owned();
    Pins {
        weights: store.resolve(&model.parse().unwrap()).unwrap().weights_digest.to_string(),
        adapters: "none".to_owned(),
        prompt: said("prompt_digest"),
        evaluation_id: said("evaluation_id"),
        ..Pins::default()
    }
}

fn store(home: &Home) -> Store {
    Store::open(home.models()).with_embedded(TRIAGE)
}

/// Gives a model a fit, with pins that may be changed before.
pub fn fit_with(home: &Home, model: &str, learned: Learned<'_>, change: impl FnOnce(&mut Pins)) {
    let store = store(home);
    let mut pins = pins(home, model, &store);
    change(&mut pins);
    let name = model.parse().unwrap();
    let Form::Closed(contract) = load_spec::own_form(&store.resolve(&name).unwrap()).unwrap() else {
        panic!("a closed form");
    };
    let layers = fit_of(&contract, learned, &pins).to_layers();
    store.set_fit(&name, &name, Some(FitFiles { card: &layers.card, numbers: &layers.numbers })).unwrap();
}

/// Gives a model a fit.
pub fn fit(home: &Home, model: &str, learned: Learned<'_>) {
    fit_with(home, model, learned, |_| {});
}

fn fit_of(contract: &Contract, learned: Learned<'_>, pins: &Pins) -> Fit {
    let (mut fields, mut cards) = (Vec::new(), Vec::new());
    for field in contract.fields() {
        let (name, n) = (field.name(), field.options.len());
        let (method, gate) = learned(name.as_deref(), n);
        let figures = |accuracy: f64| json!({"rows": 40, "accuracy": accuracy, "nll": 1.0 - accuracy, "ece": 0.1});
        cards.push(json!({"name": name, "method": method.name(), "rows_by_option": vec![20; n],
            "before": figures(0.5), "after": figures(0.75), "thresholds": gate.thresholds}));
        let options = field.options.iter().map(|option| option.value.clone()).collect();
        fields.push(FieldFit { name, options, method, gate });
    }
    let card = json!({"format": 1, "tool": "0.1.0", "date": "2026-11-30", "pins": pins, "fields": cards});
    Fit { card: serde_json::from_value(card).unwrap(), fields, early: None }
}

/// `queue` is squared and always left to a person; the other fields stay as they are.
pub fn queue_to_a_person(name: Option<&str>, n: usize) -> (Method, Gate) {
    match name {
        Some("queue") => (squared(n), closed_gate(n)),
        _ => (Method::Nothing, Gate::default()),
    }
}

/// All fields are squared, and every answer is accepted.
pub fn all_squared(_: Option<&str>, n: usize) -> (Method, Gate) {
    (squared(n), Gate::default())
}

/// All fields are squared and left to a person.
pub fn all_to_a_person(_: Option<&str>, n: usize) -> (Method, Gate) {
    (squared(n), closed_gate(n))
}

pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).collect()
}

/// That a field's probabilities are the squares of its raw ones, and both sum to 1.
#[track_caller]
pub fn is_squared(field: &Value) {
    let (fitted, raw) = (numbers(&field["probabilities"]), numbers(&field["raw"]));
    let sum: f64 = raw.iter().map(|p| p * p).sum();
    assert_eq!(fitted.len(), raw.len());
    assert!(fitted.iter().zip(&raw).all(|(fitted, raw)| (fitted - raw * raw / sum).abs() < 1e-9), "{field}");
    for all in [&fitted, &raw] {
        assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{field}");
    }
}

/// A model whose answer is one label, and whose prompt describes it.
pub fn sorter(home: &Home) {
    let format = json!({"enum": ["billing", "shipping", "other"]});
    let template = "{{ .System }} {{ .Prompt }}";
    home.file(
        "Modelfile",
        format!("FROM triage\nTEMPLATE \"{template}\"\nSYSTEM Sort.\nFORMAT \"\"\"{format}\"\"\"\n"),
    );
    home.slm(["create", "sorter"]).succeeds();
}

#[test]
fn fitted_probabilities_take_the_place_of_the_models_own_and_say_so() {
    let home = Home::new();
    home.slm(["cp", "triage", "desk"]).succeeds();
    let own = home.slm(["run", "desk", "--json", TEXT]).json();
    fit(&home, "desk", &all_squared);
    let fitted = home.slm(["run", "desk", "--json", TEXT]).json();
    for name in ["queue", "urgency", "refund"] {
        let (field, own) = (&fitted["fields"][name], &own["fields"][name]);
        is_squared(field);
        assert_eq!((&field["raw"], &field["label_mass"]), (&own["probabilities"], &own["label_mass"]), "{name}");
        assert_eq!((&field["fit"]["method"], &field["fit"]["threshold"]), (&json!("temperature"), &Value::Null));
        assert!(field["fit"]["digest"].is_string() && field.get("abstained").is_none() && own.get("fit").is_none());
    }
    assert_eq!((&fitted["value"], &fitted["prompt_digest"]), (&own["value"], &own["prompt_digest"]));
    let raw = home.slm(["run", "desk", "--no-fit", "--json", TEXT]).json();
    assert_eq!(raw["fields"], own["fields"]);
    // Other questions than those that it was made for are answered as ever.
    let other = home.slm(["run", "desk", "--choices", "yes,no", "--json", TEXT]).json();
    assert!(other.get("raw").is_none() && numbers(&other["probabilities"]).len() == 2, "{other}");
    assert!(home.slm(["run", "desk", "--dry-run", TEXT]).succeeds().contains("tokens:"));
}

#[test]
fn an_answer_below_its_threshold_is_left_to_a_person_in_every_form() {
    let home = Home::new();
    home.slm(["cp", "triage", "desk"]).succeeds();
    fit(&home, "desk", &queue_to_a_person);
    let answer = home.slm(["run", "desk", "--json", TEXT]).json();
    assert_eq!(answer["value"], json!({"queue": null, "urgency": 2, "refund": true}));
    let queue = &answer["fields"]["queue"];
    is_squared(queue);
    assert_eq!(
        (&queue["value"], &queue["guess"], &queue["fit"]["threshold"]),
        (&Value::Null, &json!("shipping"), &json!(1.5))
    );
    assert!(
        queue["abstained"].as_str().unwrap().starts_with("no answer with this label was reliable enough"),
        "{queue}"
    );
    assert!(answer["fields"]["urgency"].get("fit").is_none());
    let text = home.slm(["run", "desk", TEXT]).succeeds();
    assert_eq!(text, "{\"queue\":null,\"urgency\":2,\"refund\":true}\n");
    let rows = home.slm(["run", "desk", "--lines", "--json"]).stdin(TEXT).json();
    assert_eq!((&rows["queue"], &rows["queue_guess"]), (&Value::Null, &json!("shipping")));
    assert!(rows["queue_abstained"].is_string() && rows["urgency"] == 2 && rows.get("urgency_guess").is_none());
    let table = |more: &[&str]| {
        let args = ["run", "desk", "--csv", "body"].iter().chain(more);
        home.slm(args).stdin(format!("body\n\"{TEXT}\"\n")).succeeds()
    };
    let header = "body,queue,queue_probability,queue_guess,queue_abstained,urgency,urgency_probability,refund,refund_probability,error";
    for (more, cell) in [(&[][..], ""), (&["--abstain", "person"][..], "person")] {
        let table = table(more);
        let lines: Vec<&str> = table.lines().collect();
        let is_row =
            lines[1].starts_with(&format!("\"{TEXT}\",{cell},0.")) && lines[1].contains(",shipping,no answer with");
        assert!(lines[0] == header && is_row, "{table}");
    }
}

#[test]
fn a_bare_label_that_is_left_to_a_person_is_an_empty_line_or_what_was_asked_for() {
    let home = Home::new();
    sorter(&home);
    let own = home.slm(["run", "sorter", TEXT]).succeeds();
    fit(&home, "sorter", &all_to_a_person);
    assert_eq!(home.slm(["run", "sorter", TEXT]).succeeds(), "\n");
    assert_eq!(home.slm(["run", "sorter", "--abstain", "ask Ada", TEXT]).succeeds(), "ask Ada\n");
    assert_eq!(home.slm(["run", "sorter", "--no-fit", TEXT]).succeeds(), own);
    assert_eq!(home.slm(["run", "sorter", "--lines"]).stdin("a\nb\n").succeeds(), "\n\n");
    let row = home.slm(["run", "sorter", "--lines", "--json"]).stdin(TEXT).json();
    assert_eq!((&row["label"], &row["guess"]), (&Value::Null, &json!(own.trim())));
    let names: Vec<&String> = row.as_object().unwrap().keys().collect();
    assert_eq!(names, ["line", "label", "probability", "label_mass", "guess", "abstained"]);
    let answer = home.slm(["run", "sorter", "--json", TEXT]).json();
    is_squared(&answer);
    let objects = home.slm(["run", "sorter", "--jsonl", "body"]).stdin(json!({"body": TEXT}).to_string()).json();
    assert_eq!(objects["answer"], Value::Null);
}

#[test]
fn a_fit_that_was_made_for_another_way_of_asking_is_refused_with_what_differs() {
    let home = Home::new();
    sorter(&home);
    fit(&home, "sorter", &all_squared);
    let refused = |args: &[&str], why: &str| {
        let rest = "fit the model again with `slm fit`, or use the model's own probabilities with --no-fit";
        let sentence = format!("slm: the fit of this model does not hold for this request: {why}; {rest}\n");
        home.slm(["run", "sorter"].iter().chain(args)).fails(1, &sentence);
        home.slm(["run", "sorter", "--no-fit"].iter().chain(args)).succeeds();
    };
    refused(&["--system", "Other.", TEXT], "it was made with other instructions (another system message, or none)");
    let described = r#"{"description": "which desk", "enum": ["billing", "shipping", "other"]}"#;
    let prompt =
        "it was made for another prompt: other instructions, template, examples, or descriptions in the format";
    refused(&["--format", described, TEXT], prompt);
    let reading =
        "it was made for probabilities of choices that are searched best first, and here they are read otherwise";
    refused(&["--reading", "likelihood", TEXT], reading);

    let elsewhere = |checked: &[&str]| {
        fit_with(&home, "sorter", &all_squared, |pins| {
            let here = std::mem::replace(&mut pins.evaluation_id, "elsewhere".to_owned());
            pins.checked =
                checked.iter().map(|id| if *id == "here" { here.clone() } else { (*id).to_owned() }).collect();
        });
        home.slm(["run", "sorter", "--json", TEXT]).run()
    };
    let said = elsewhere(&["there"]);
    assert_eq!(said.code, Some(1));
    for part in [
        "(evaluation id `elsewhere`, here `",
        "nobody has checked that it holds here; check it on labelled rows with `slm fit --check`",
    ] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
    assert_eq!(elsewhere(&["there", "here"]).code, Some(0));
    for (change, why) in [
        ((|pins: &mut Pins| pins.weights = "x".to_owned()) as fn(&mut Pins), "it was made for other weights"),
        (|pins| pins.adapters = "x".to_owned(), "it was made with other adapters"),
    ] {
        fit_with(&home, "sorter", &all_squared, change);
        refused(&[TEXT], why);
    }
}

#[test]
fn layers_that_are_no_fit_are_a_sentence_and_the_model_answers_without_them() {
    let home = Home::new();
    sorter(&home);
    let name = "sorter".parse().unwrap();
    let own = home.slm(["run", "sorter", TEXT]).succeeds();
    for (card, numbers, why) in [
        (&b"{"[..], &b""[..], "the fit's card is not one: EOF while parsing an object at line 1 column 1"),
        (
            b"{\"format\": 9}",
            b"",
            "the fit's card has format 9, and this version reads 1 and 2; update slm, or fit again",
        ),
    ] {
        store(&home).set_fit(&name, &name, Some(FitFiles { card, numbers })).unwrap();
        let sentence =
            format!("the fit of `sorter:latest` cannot be used: {why}; fit the model again, or remove its fit");
        home.slm(["run", "sorter", TEXT]).fails(1, &format!("slm: {sentence}\n"));
        assert_eq!(home.slm(["run", "sorter", "--no-fit", TEXT]).succeeds(), own);
        assert!(home.slm(["show", "sorter"]).succeeds().contains(&format!("fit              {sentence}\n")));
        assert_eq!(home.slm(["show", "sorter", "--json"]).json()["fit"]["error"], sentence);
    }
    store(&home).set_fit(&name, &name, None).unwrap();
    assert_eq!(home.slm(["run", "sorter", TEXT]).succeeds(), own);
}

#[test]
fn a_fit_is_shown_listed_and_kept_by_copies() {
    let home = Home::new();
    sorter(&home);
    fit(&home, "sorter", &all_to_a_person);
    let page = home.slm(["show", "sorter"]).succeeds();
    for line in [
        "  temperature, learned from 60 rows (billing 20, shipping 20, other 20)\n",
        "    accuracy 0.500 -> 0.750, negative log-likelihood 0.500 -> 0.250, calibration error 0.100 -> 0.100 (on 40 held-out rows)\n",
        "    accepted: billing never, shipping never, other never\n",
        ", made on 2026-11-30 with slm 0.1.0\n",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    let json = home.slm(["show", "sorter", "--json"]).json();
    assert_eq!(json["fit"]["card"]["fields"][0]["method"], "temperature");
    assert!(home.slm(["list"]).succeeds().lines().any(|line| line.starts_with("sorter") && line.ends_with(", fitted")));
    let listed = home.slm(["list", "sorter", "--json"]).json();
    assert_eq!(listed["models"][0]["fitted"], true);
    assert!(
        home.slm(["show", "sorter", "--modelfile"])
            .succeeds()
            .contains("# not written: its fit, which `FROM sorter:latest`")
    );
    home.slm(["cp", "sorter", "other"]).succeeds();
    assert_eq!(home.slm(["run", "other", TEXT]).succeeds(), "\n");
    home.file("Modelfile", "FROM sorter\nSYSTEM Sort by desk.\n");
    let said = home.slm(["create", "new"]).run();
    let note = "slm: the fit of the model that it is built on is left out: it holds for other prompts; make one with `slm fit`\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), note));
    assert_ne!(home.slm(["run", "new", TEXT]).succeeds(), "\n");
    // All of it is found again, and nothing else is left behind.
    home.slm(["verify"]).succeeds();
    for name in ["other", "new", "sorter"] {
        home.slm(["rm", "--yes", name]).succeeds();
    }
    // The configuration without the fit was another model's once.
    home.slm(["prune", "--all"]).succeeds();
    let blobs = std::fs::read_dir(home.models().join("blobs")).unwrap().count();
    assert_eq!(blobs, 0);
}

#[test]
fn a_fit_travels_with_its_model() {
    let Some(registry) = DockerRegistry::start(Access::Everybody) else { return };
    let home = Home::new();
    sorter(&home);
    fit(&home, "sorter", &all_squared);
    let name = format!("{}/team/sorter:v1", registry.host());
    home.slm(["push", "sorter", "--as", &name]).succeeds();
    let other = Home::new();
    other.slm(["pull", &name]).succeeds();
    let answers = [(&home, "sorter"), (&other, name.as_str())].map(|(home, name)| {
        let answer = home.slm(["run", name, "--json", TEXT]).json();
        is_squared(&answer);
        json!([answer["probabilities"], answer["raw"], answer["fit"], answer["evaluation_id"]])
    });
    assert_eq!(answers[0], answers[1]);
    other.slm(["verify"]).succeeds();
    nothing_is_wrong(&other.models());
}

#[test]
fn an_evaluation_compares_fitted_and_raw_answers_that_were_asked_once() {
    let home = Home::new();
    sorter(&home);
    let texts =
        ["I was charged twice", "the parcel never came", "hello", "my invoice is wrong", "where is it", "thanks"];
    let labels = ["billing", "shipping", "other", "billing", "shipping", "other"];
    let rows: String = texts.iter().zip(labels).map(|(text, label)| format!("{text},{label}\n")).collect();
    home.file("rows.csv", format!("text,label\n{rows}"));
    home.file("suite.yaml", "model: sorter\ndata: rows.csv\ninput: text\nexpect: label\nbaselines: none\n");
    let report = |args: &[&str]| {
        let said = home.slm(["eval", "suite.yaml", "--json"].iter().chain(args)).ends(0);
        let report: Value = serde_json::from_str(&said.stdout).unwrap();
        report["subjects"].as_array().unwrap().clone()
    };
    let plain = report(&[]);
    assert_eq!((plain.len(), &plain[0]["abstaining"]), (1, &Value::Null));
    fit(&home, "sorter", &all_squared);
    let both = report(&[]);
    let names: Vec<&Value> = both.iter().map(|subject| &subject["name"]).collect();
    assert_eq!(names, [&json!("sorter"), &json!("sorter (raw)")]);
    // The fit is no part of what the model itself answers, so that nothing was asked again.
    assert!(both.iter().all(|subject| subject["speed"]["cached_rows"] == 6), "{both:?}");
    let nll =
        |subject: &Value| subject["fields"][0]["probabilities"]["negative_log_likelihood"]["value"].as_f64().unwrap();
    assert_eq!((&both[0]["accuracy"], &both[1]["accuracy"]), (&plain[0]["accuracy"], &plain[0]["accuracy"]));
    assert!(nll(&both[1]) == nll(&plain[0]) && nll(&both[0]) != nll(&both[1]), "{both:?}");
    assert_eq!(report(&["--no-fit"])[0]["accuracy"], plain[0]["accuracy"]);
    fit(&home, "sorter", &all_to_a_person);
    let both = report(&[]);
    assert_eq!((&both[0]["abstaining"]["coverage"]["hits"], &both[1]["abstaining"]), (&json!(0), &Value::Null));
    assert_eq!(both[0]["accuracy"], plain[0]["accuracy"]);
    let text = home.slm(["eval", "suite.yaml"]).ends(0).stdout;
    assert!(text.contains("sorter: answers 0.000 of the rows by itself (0)"), "{text}");
}
