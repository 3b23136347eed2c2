//! The Modelfiles of families and tasks: each parses and pins what it should, its contract can be kept, its suite fits it, and
//! the table beside them tells the truth.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use slm::contract::{Contract, Form, Open};
use slm::eval::data::{Data, Selection};
use slm::eval::label::key;
use slm::eval::suite::Suite;
use slm::limits::sentences;
use slm::modelfile::{BaseSource, Format, Modelfile};

use crate::slm::Home;

const CLOSED: [&str; 7] = ["intent", "language", "routing", "sentiment", "tags", "topic", "toxicity"];
const OPEN: [&str; 3] = ["email", "invoice", "summary"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles")
}

/// The folders below `Modelfiles/{kind}`, by name.
fn folders(kind: &str) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(root().join(kind)).expect("the folder is committed");
    let mut found: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.expect("a readable entry"))
        .map(|entry| (entry.file_name().into_string().expect("a plain name"), entry.path()))
        .collect();
    found.sort();
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn modelfile(folder: &Path) -> Modelfile {
    let path = folder.join("Modelfile");
    Modelfile::parse(&text(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn task(name: &str) -> Modelfile {
    modelfile(&root().join("tasks").join(name))
}

/// The contract of a task's FORMAT.
#[track_caller]
fn form(name: &str) -> Form {
    let folder = root().join("tasks").join(name);
    let with_schema = slm::store::with_schema(&modelfile(&folder), &folder).expect("the schema's file is beside it");
    let Some(Format::Schema(schema)) = with_schema.format else { panic!("{name} has no schema") };
    Form::from_schema(schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn closed(name: &str) -> Arc<Contract> {
    match form(name) {
        Form::Closed(contract) => contract,
        Form::Open(_) | Form::Free => panic!("{name} is open"),
    }
}

fn open(name: &str) -> Open {
    match form(name) {
        Form::Open(open) => open,
        Form::Closed(_) | Form::Free => panic!("{name} is not open"),
    }
}

/// The cells of the rows of a table in `Modelfiles/README.md`, below the heading of that name.
fn table(heading: &str) -> Vec<Vec<String>> {
    let readme = text(&root().join("README.md"));
    let section = readme.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What is between backticks.
fn code(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("no code in `{cell}`"))
}

fn from_name(modelfile: &Modelfile) -> String {
    match &modelfile.from {
        BaseSource::Name(name) => name.to_string(),
        BaseSource::Path(path) => panic!("{path} is no name"),
    }
}

#[test]
fn every_modelfile_parses_and_pins_sampling_and_context() {
    let all: Vec<(String, PathBuf)> = folders("families").into_iter().chain(folders("tasks")).collect();
    assert!(all.len() >= 31, "{} of 21 families and 10 tasks", all.len());
    for (name, folder) in all {
        let modelfile = modelfile(&folder);
        let parameters = &modelfile.parameters;
        assert_eq!(parameters.temperature, Some(0.0), "{name}");
        assert!(parameters.seed.is_some() && parameters.num_ctx.is_some(), "{name}");
        assert_eq!(Modelfile::parse(&modelfile.to_string()), Ok(modelfile), "{name}");
    }
    modelfile(&root().join("triage"));
}

#[test]
fn the_table_of_sizes_is_what_the_families_say_and_adds_up() {
    let rows = table("Size and memory");
    let listed: Vec<&str> = rows.iter().map(|row| code(&row[0])).collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, folders("families").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    assert_eq!(table("Families").iter().map(|row| code(&row[0]).to_owned()).collect::<Vec<_>>(), listed);
    for row in &rows {
        let family = modelfile(&root().join("families").join(code(&row[0])));
        assert_eq!(from_name(&family), code(&row[1]));
        let file_gb: f64 = row[2].trim_end_matches('?').parse().expect("gigabytes");
        let shape: Vec<f64> = row[3].split(" × ").map(|n| n.parse().expect("a number")).collect();
        let (n_ctx, most) = row[4].split_once(" of ").expect("the context and the most");
        let (n_ctx, most): (u32, u32) = (n_ctx.parse().expect("tokens"), most.parse().expect("tokens"));
        assert_eq!((family.parameters.num_ctx, n_ctx), (Some(n_ctx), most.min(8192)), "{}", row[0]);
        let context_bytes = 2.0 * shape.iter().product::<f64>() * 2.0 * f64::from(n_ctx);
        assert_eq!(format!("{:.1}", file_gb + context_bytes / 1e9), row[5], "{}", row[0]);
    }
}

#[test]
fn the_table_of_tasks_is_what_the_tasks_say() {
    let families = folders("families");
    let mut names: Vec<String> = Vec::new();
    for row in table("Tasks") {
        let name = code(&row[0]).to_owned();
        let made_from = families.iter().find(|(family, _)| family == code(&row[3])).expect("a family");
        assert_eq!(from_name(&task(&name)), from_name(&modelfile(&made_from.1)), "{name}");
        let n_rows = suite(&name).map_or("none".to_owned(), |(_, data)| data.rows.len().to_string());
        assert_eq!(
            (&row[2][..4], &row[4]),
            (if CLOSED.contains(&&*name) { "clos" } else { "open" }, &n_rows),
            "{name}"
        );
        names.push(name);
    }
    names.sort_unstable();
    let mut all: Vec<&str> = CLOSED.into_iter().chain(OPEN).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    assert_eq!(folders("tasks").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), all);
}

#[test]
fn examples_keep_the_contract() {
    for name in CLOSED {
        let contract = closed(name);
        for message in task(name).messages.iter().filter(|message| message.role.as_str() == "assistant") {
            assert!(contract.is_bare(), "{name}");
            assert!(contract.fields()[0].options.iter().any(|option| option.label == message.content), "{name}");
        }
    }
    for name in OPEN {
        for message in task(name).messages.iter().filter(|message| message.role.as_str() == "assistant") {
            open(name).check(&message.content).unwrap_or_else(|violation| panic!("{name}: {violation}"));
        }
    }
}

/// A task's suite and its data.
fn suite(name: &str) -> Option<(Suite, Data)> {
    let folder = root().join("tasks").join(name);
    let path = folder.join("suite.yaml");
    path.exists().then(|| {
        let suite = Suite::load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let data = Data::load(&folder, &suite, &Selection::default(), &slm::eval::data::parquet::read_here);
        let data = data.unwrap_or_else(|error| panic!("{name}: {error}"));
        (suite, data)
    })
}

#[test]
fn suites_ask_for_answers_that_exist_and_for_every_one_of_them() {
    for name in CLOSED {
        let (suite, data) = suite(name).unwrap_or_else(|| panic!("{name} has no suite"));
        assert_eq!(suite.variants[0].whom, slm::eval::suite::Whom::Model(name.to_owned()));
        let contract = closed(name);
        let names: Vec<Option<String>> = contract.fields().iter().map(slm::contract::Field::name).collect();
        suite.check_fields(&names.iter().map(Option::as_deref).collect::<Vec<_>>()).expect("fields of the contract");
        assert_eq!(suite.expect.len(), names.len(), "{name} leaves a field out");
        let rows: Vec<_> = data.rows.iter().map(|row| row.content.as_ref().expect("a readable row")).collect();
        let inputs: BTreeSet<&str> = rows.iter().map(|row| row.input.as_str()).collect();
        assert_eq!(inputs.len(), rows.len(), "{name} has a row twice");
        for (at, expected) in suite.expect.iter().enumerate() {
            let field = contract
                .fields()
                .iter()
                .find(|field| contract.is_bare() || field.name().as_deref() == Some(&expected.field))
                .expect("checked above");
            let options: Vec<Value> = field.options.iter().map(|option| option.value.clone()).collect();
            let asked: BTreeSet<String> = rows.iter().map(|row| key(&row.expected[at].resolve(&options))).collect();
            assert_eq!(asked, options.iter().map(key).collect(), "{name}, {}", expected.field);
        }
    }
}

#[test]
fn a_summary_is_two_sentences_whatever_is_written() {
    let summary = open("summary");
    let check = |what: &str| summary.check(&json!({"what": what, "then": "Nothing follows."}).to_string());
    for one in [
        "Sales rose by 3.5 % at acme.com.",
        "Is that all?",
        "これは文です。",
        "He asked: who pays, and when, for all of it?",
    ] {
        check(one).unwrap_or_else(|violation| panic!("{one}: {violation}"));
        assert_eq!(sentences(one), 1, "{one}");
    }
    for other in
        ["It rose. It fell.", "It rose! It fell.", "No stop", "One\nTwo.", "", "。", "これは文です。これも文です。"]
    {
        assert!(check(other).is_err(), "{other}");
    }
}

/// With the embedded model in place of the one that `FROM` names: it answers without sense, but in the contract.
#[test]
fn every_task_is_created_and_closed_ones_are_evaluated() {
    let home = Home::new();
    for (name, folder) in folders("tasks") {
        let there = home.path().join(&name);
        std::fs::create_dir(&there).expect("a writable home");
        for entry in std::fs::read_dir(&folder).expect("the folder is committed") {
            let entry = entry.expect("a readable entry");
            std::fs::copy(entry.path(), there.join(entry.file_name())).expect("a writable home");
        }
        let written = text(&folder.join("Modelfile"));
        let line = |begin: &str| written.lines().find(|line| line.starts_with(begin)).expect("checked by the parser");
        let (from, n_ctx) = (line("FROM "), line("PARAMETER num_ctx "));
        let stand_in = written.replace(from, "FROM triage").replace(n_ctx, "PARAMETER num_ctx 1024");
        home.file(&format!("{name}/Modelfile"), stand_in);
        let created = home.slm(["create", &name, "-f", &format!("{name}/Modelfile")]).succeeds();
        assert!(created.starts_with(&format!("created {name}:latest (")), "{created}");
        if CLOSED.contains(&&*name) {
            // That the model makes no sense of it is said on standard error.
            let report = home.slm(["eval", &format!("{name}/suite.yaml"), "--limit", "2", "--json"]).ends(0).stdout;
            let report: Value = serde_json::from_str(&report).expect("JSON");
            assert_eq!(report["counts"], json!({"total": 2, "rows": 2, "unreadable": 0}));
        }
    }
}
