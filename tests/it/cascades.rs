//! A cascade as a model of the store: which tier answers and why the others did not, what leaves the machine, what it may cost, and
//! what becomes of a text when the remote fails.

use serde_json::{Value, json};

use crate::faulty::{Manner, Remote, completion, holders};
use crate::serve::{Server, written};
use crate::slm::Home;

const TEXT: &str = "I was charged twice for order 1182";
const LEGAL: &str = "my lawyer will sue you, delete my data under GDPR";
const KEY: &str = "sk-very-secret-0815";
const SURE: &str = "{probability: 0.01}";
const UNSURE: &str = "{margin: 1}";
const ANSWER: &str = r#"{"queue": "other", "urgency": 1, "refund": false}"#;

/// The desk: `triage`, which accepts so much, and then a remote.
fn desk(home: &Home, accept: &str, address: &str, more: &str) {
    let yaml = format!(
        "tiers:\n- {{model: triage, accept: {accept}}}\n- remote: {{base_url: 'http://{address}/v1', model: far, api_key_env: DESK_KEY, \
         retries: 0, timeout: 1, price: {{input: 1, output: 2, per: 1M, date: 2026-11-30}}}}\n  given: draft\n{more}"
    );
    home.file("cascade.yaml", yaml);
    home.slm(["create", "desk", "-f", "cascade.yaml", "--yes"]).env("DESK_KEY", KEY).succeeds();
}

fn run(home: &Home, text: &str) -> Value {
    home.slm(["run", "desk", text, "--json"]).env("DESK_KEY", KEY).json()
}

/// The tiers of an answer, each with what came of it and the word for why.
fn path(answer: &Value) -> Vec<(String, String, String)> {
    let word = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let steps = answer["path"].as_array().unwrap_or_else(|| panic!("no path: {answer}"));
    steps.iter().map(|step| (word(step, "tier"), word(step, "outcome"), word(step, "reason"))).collect()
}

fn step(tier: &str, outcome: &str, reason: &str) -> (String, String, String) {
    (tier.to_owned(), outcome.to_owned(), reason.to_owned())
}

#[test]
fn what_the_first_tier_is_sure_of_stays_and_the_rest_goes_on() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    desk(&home, SURE, &remote.address, "");
    let alone = home.slm(["run", "triage", TEXT, "--json"]).json();
    let first = run(&home, TEXT);
    assert_eq!(path(&first), [step("triage", "accepted", "")]);
    assert_eq!((&first["value"], &first["fields"]), (&alone["value"], &alone["fields"]));
    assert_eq!((&first["evaluation_id"], remote.asked().len()), (&alone["evaluation_id"], 0));

    desk(&home, UNSURE, &remote.address, "");
    let second = run(&home, TEXT);
    assert_eq!(path(&second), [step("triage", "went on", "below"), step("far", "accepted", "")]);
    assert_eq!(second["value"], json!({"queue": "other", "urgency": 1, "refund": false}));
    assert!((second["cost"].as_f64().unwrap() - 0.00012).abs() < 1e-12, "{second}");
    let why = second["path"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("`queue`: the margin is 0.") && why.ends_with(", and 1 is asked for"), "{why}");
    // The draft is handed on, in words.
    let draft = alone["value"].to_string();
    let handed = format!("{TEXT}\n\nA smaller model's answer to this, which may be wrong: {draft}");
    assert_eq!(remote.last_text(), handed);
    assert_eq!(home.slm(["run", "desk", TEXT]).env("DESK_KEY", KEY).succeeds(), format!("{}\n", second["value"]));
}

#[test]
fn a_second_server_answers_what_always_goes_on() {
    let (home, far) = (Home::new(), Home::new());
    let server = Server::of(&far);
    let yaml = format!(
        "tiers:\n- {{model: triage, accept: {SURE}}}\n- remote: {{base_url: '{}', model: triage}}\n  name: big\nalways_on: {{queue: [legal]}}\n",
        server.url("/v1")
    );
    home.file("cascade.yaml", yaml);
    home.slm(["create", "desk", "-f", "cascade.yaml"]).succeeds();
    let legal = home.slm(["run", "desk", LEGAL, "--json"]).json();
    assert_eq!(path(&legal), [step("triage", "went on", "always_on"), step("big", "accepted", "")]);
    assert_eq!(legal["path"][0]["why"], "`queue`: answers with \"legal\" always go on");
    // The second server is the same model, and tells the same probabilities.
    let alone = home.slm(["run", "triage", LEGAL, "--json"]).json();
    assert_eq!(legal["value"], alone["value"]);
    let p = |answer: &Value| answer["fields"]["queue"]["probability"].as_f64().unwrap();
    assert!((p(&legal) - p(&alone)).abs() < 1e-9 && p(&legal) > 0.0, "{legal}");
    let rows = home.slm(["run", "desk", "--lines"]).stdin(format!("{TEXT}\n{LEGAL}\n")).succeeds();
    assert_eq!(rows.lines().count(), 2);
    home.file(
        "rows.jsonl",
        format!("{}\n{}\n", json!({"text": LEGAL, "queue": "legal"}), json!({"text": TEXT, "queue": "billing"})),
    );
    home.file("suite.yaml", "models: [triage, desk]\ndata: rows.jsonl\ninput: text\nexpect: queue\nbaselines: none\n");
    let report = home.slm(["eval", "suite.yaml", "--json"]).json();
    let names: Vec<&Value> = report["subjects"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["triage", "desk"]);
    assert_eq!(report["subjects"][0]["accuracy"]["hits"], report["subjects"][1]["accuracy"]["hits"]);
}

/// The table of failures in the documentation: the remote, the reason, and what is said.
fn documented() -> Vec<[String; 3]> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cascades.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("| the remote | reason | what is said |\n").nth(1).expect("the table");
    let row = |line: &str| {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let [remote, reason, said] = cells.try_into().expect("three cells");
        [remote, reason.trim_matches('`').to_owned(), said]
    };
    table.lines().skip(1).take_while(|line| line.starts_with('|')).map(row).collect()
}

#[test]
fn every_way_to_fail_has_its_word_and_the_text_goes_to_a_person() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Silent));
    desk(&home, UNSURE, &remote.address, "");
    let refused = completion(json!({"content": null, "refusal": "no"}), "stop");
    let ways = [
        ("status 500", Manner::Body(500, "oops".to_owned())),
        ("status 429", Manner::Body(429, String::new())),
        ("status 401", Manner::Body(401, format!("{{\"error\": \"bad key {KEY}\"}}"))),
        ("status 404", Manner::Body(404, String::new())),
        ("a redirect", Manner::Body(307, String::new())),
        ("a web page", Manner::Body(200, "<html>".to_owned())),
        ("JSON of another kind", Manner::Body(200, "{}".to_owned())),
        ("text in place of the format", Manner::Says("I think billing.".to_owned())),
        (
            "a label that is not allowed",
            Manner::Says(r#"{"queue": "sales", "urgency": 1, "refund": false}"#.to_owned()),
        ),
        ("a refusal", Manner::Body(200, refused)),
        ("an answer that was cut", Manner::Body(200, completion(json!({"content": "{"}), "length"))),
        ("a connection that breaks", Manner::Cut),
        ("a connection that is closed", Manner::Closed),
        ("silence", Manner::Silent),
    ];
    let alone = home.slm(["run", "triage", TEXT, "--json"]).json();
    let mut told = documented();
    assert_eq!(told.len(), ways.len(), "{told:?}");
    for (name, manner) in ways {
        let at =
            told.iter().position(|row| row[0] == name).unwrap_or_else(|| panic!("`{name}` is not in docs/cascades.md"));
        let [_, word, said] = told.swap_remove(at);
        remote.is_to(manner.clone());
        let whole = home.slm(["run", "desk", TEXT, "--json"]).env("DESK_KEY", KEY).ends(0);
        assert!(!whole.stdout.contains(KEY) && !whole.stderr.contains(KEY), "{}{}", whole.stdout, whole.stderr);
        let answer: Value = serde_json::from_str(&whole.stdout).unwrap();
        assert_eq!(path(&answer), [step("triage", "went on", "below"), step("far", "went on", &word)], "{manner:?}");
        let why = answer["path"][1]["why"].as_str().unwrap().replace(&remote.address, "HOST");
        assert!(said.split(" … ").all(|part| why.contains(part)), "{manner:?}: {said:?} is not in {why:?}");
        // Nothing is given for an answer, and what the last tier guessed is beside it.
        assert_eq!(answer["value"], json!({"queue": null, "urgency": null, "refund": null}));
        assert_eq!(answer["fields"]["queue"]["guess"], alone["value"]["queue"]);
        let review = answer["review"].as_str().unwrap();
        assert!(review.starts_with("no tier's answer was taken: `triage`: `queue`: the margin is"), "{review}");
        // What the remote billed is counted, be it of use or not.
        let is_billed = ["broken", "refused", "truncated"].contains(&word.as_str());
        assert_eq!(answer["path"][1].get("cost").is_some(), is_billed, "{manner:?}: {answer}");
    }
    assert_eq!(holders(home.path(), KEY), Vec::<std::path::PathBuf>::new());
    // What comes of it otherwise.
    remote.is_to(Manner::Closed);
    desk(&home, UNSURE, &remote.address, "on_exhausted: best\n");
    assert_eq!(run(&home, TEXT)["value"], alone["value"]);
    desk(&home, UNSURE, &remote.address, "on_exhausted: error\n");
    let failed = home.slm(["run", "desk", TEXT]).env("DESK_KEY", KEY).ends(1);
    assert!(
        failed.stderr.starts_with("slm: no tier of the cascade gave an answer that is taken: `triage`: "),
        "{}",
        failed.stderr
    );
    let csv = home.slm(["run", "desk", "--csv", "text", "--keep-going"]).env("DESK_KEY", KEY);
    let csv = csv.stdin(format!("text\n{TEXT}\n")).run();
    assert!(csv.stdout.contains("no tier of the cascade"), "{} {}", csv.stdout, csv.stderr);
}

#[test]
fn what_leaves_the_machine_is_masked_and_what_may_not_stays() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    let privacy = "privacy: {mask: [email, card, 'order \\d+'], never: {queue: [legal]}}\n";
    desk(&home, UNSURE, &remote.address, privacy);
    run(&home, &format!("{TEXT}, write to jane@doe.example, card 4111 1111 1111 1111"));
    let text = remote.last_text();
    assert!(text.starts_with("I was charged twice for [masked], write to [masked], card [masked]\n\n"), "{text}");
    let n = remote.asked().len();
    let legal = run(&home, LEGAL);
    assert_eq!(path(&legal), [step("triage", "went on", "below"), step("far", "passed over", "private")]);
    assert_eq!(remote.asked().len(), n);
    desk(&home, UNSURE, &remote.address, "privacy: {fields: [body]}\n");
    run(&home, r#"{"name": "Jane", "body": "charged twice"}"#);
    assert!(remote.last_text().starts_with("{\"body\":\"charged twice\"}\n\n"), "{}", remote.last_text());
    assert_eq!(path(&run(&home, TEXT))[1], step("far", "passed over", "private"));
}

#[test]
fn a_budget_is_kept_over_processes_and_long_texts_are_passed_over() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    // An answer costs 0.00012.
    desk(&home, UNSURE, &remote.address, "budget: {dollars_per_day: 0.0002}\n");
    let last = || path(&run(&home, TEXT))[1].clone();
    assert_eq!([last(), last()], [step("far", "accepted", ""), step("far", "accepted", "")]);
    assert_eq!(last(), step("far", "passed over", "money"));
    assert_eq!(remote.asked().len(), 2);
    desk(&home, UNSURE, &remote.address, "budget: {milliseconds: 300}\n");
    remote.is_to(Manner::Silent);
    assert_eq!(path(&run(&home, TEXT))[1].1, "went on");
    remote.is_to(Manner::Says(ANSWER.to_owned()));
    let yaml = std::fs::read_to_string(home.path().join("cascade.yaml")).unwrap();
    home.file("cascade.yaml", yaml.replace("model: triage,", "model: triage, max_characters: 20,"));
    home.slm(["create", "desk", "-f", "cascade.yaml", "--yes"]).env("DESK_KEY", KEY).succeeds();
    assert_eq!(path(&run(&home, TEXT))[0], step("triage", "passed over", "too_long"));
    // The share holds over processes: ten may go on at once, then one of ten.
    desk(&home, UNSURE, &remote.address, "budget: {share: 0.1}\n");
    let n = remote.asked().len();
    let lines = format!("{TEXT}\n").repeat(60);
    home.slm(["run", "desk", "--lines"]).env("DESK_KEY", KEY).stdin(lines).succeeds();
    assert!((14..=16).contains(&(remote.asked().len() - n)), "{}", remote.asked().len() - n);
    let more: Vec<_> = (0..3).map(|_| path(&run(&home, TEXT))[1].clone()).collect();
    assert!(more.iter().filter(|one| **one == step("far", "passed over", "share")).count() >= 2, "{more:?}");
}

#[test]
fn every_dialect_tells_the_path_and_metrics_count_it() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    desk(&home, UNSURE, &remote.address, "");
    let server = Server::with(&home, &[("DESK_KEY", KEY)]);
    let messages = json!([{"role": "user", "content": TEXT}]);
    let expected = [step("triage", "went on", "below"), step("far", "accepted", "")];
    let chat = server.post("/v1/chat/completions", json!({"model": "desk", "messages": messages})).ok();
    assert_eq!(path(&chat["choices"][0]["slm"]), expected);
    let content: Value = serde_json::from_str(chat["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, json!({"queue": "other", "urgency": 1, "refund": false}));
    let ollama = server.post("/api/chat", json!({"model": "desk", "messages": messages, "stream": false})).ok();
    assert_eq!(path(&ollama["slm"]), expected);
    let anthropic = server.post("/v1/messages", json!({"model": "desk", "max_tokens": 9, "messages": messages})).ok();
    assert_eq!(path(&anthropic["slm"]), expected);
    let responses = server.post("/v1/responses", json!({"model": "desk", "input": TEXT})).ok();
    assert_eq!(path(&responses["slm"]), expected);
    let stream = server.post("/v1/chat/completions", json!({"model": "desk", "messages": messages, "stream": true}));
    assert!(stream.text().contains("\"outcome\":\"accepted\""), "{}", stream.text());
    // Typed questions go their own way each.
    remote.is_to(Manner::Body(500, String::new()));
    let questions = json!({"q": {"type": "noul", "instructions": "Is money wanted back?"}});
    let asked = server.post("/v1/systemone", json!({"model": "desk", "state": TEXT, "questions": questions})).ok();
    assert_eq!(path(&asked["answers"]["q"])[1], step("far", "went on", "failed"));
    assert!(asked["answers"]["q"]["review"].as_str().is_some_and(|why| why.contains("status 500")), "{asked}");
    // A remote that keeps failing is left alone, and says so.
    for _ in 0..5 {
        server.post("/v1/chat/completions", json!({"model": "desk", "messages": messages})).ok();
    }
    let n = remote.asked().len();
    let open = server.post("/v1/chat/completions", json!({"model": "desk", "messages": messages})).ok();
    assert_eq!(
        (path(&open["choices"][0]["slm"])[1].clone(), remote.asked().len()),
        (step("far", "went on", "breaker_open"), n)
    );
    let metrics = server.get("/metrics");
    for line in [
        "slm_escalations_total{model=\"desk:latest\",tier=\"triage\",reason=\"below\"} 12",
        "slm_escalations_total{model=\"desk:latest\",tier=\"far\",reason=\"breaker_open\"}",
        "slm_tier_answers_total{model=\"desk:latest\",tier=\"far\"} 5",
        "slm_cascade_exhausted_total{model=\"desk:latest\"} 7",
        "slm_remote_cost_total{model=\"desk:latest\"} 0.0006",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
    // The key is in no file, in no log and no command line.
    let command = std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&command).contains(KEY));
    assert_eq!(holders(home.path(), KEY), Vec::<std::path::PathBuf>::new());
}

#[test]
fn decisions_are_written_down_with_the_path_and_without_a_remotes_words() {
    let echo = format!("cannot answer: {TEXT}");
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    desk(&home, UNSURE, &remote.address, "");
    let file = home.path().join("decisions.jsonl");
    let name = file.display().to_string();
    let server = Server::start(&home, &["--decisions", &name], &[("DESK_KEY", KEY)]);
    let ask = || server.post("/api/generate", json!({"model": "desk", "prompt": TEXT, "stream": false})).ok();
    ask();
    remote.is_to(Manner::Body(500, echo));
    let review = ask();
    assert_eq!(path(&review["slm"])[1], step("far", "went on", "failed"));
    let lines = written(&file, 2);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(TEXT), "{text}");
    assert_eq!(path(&lines[0]), [step("triage", "went on", "below"), step("far", "accepted", "")]);
    let answer: Value = serde_json::from_str(ANSWER).unwrap();
    let accepted = json!("a margin of 1 or more");
    assert_eq!((&lines[0]["path"][0]["accept"], &lines[0]["path"][1]["accept"]), (&accepted, &json!("anything")));
    let below = &lines[0]["path"][0]["below"];
    assert_eq!(
        (&below["field"], &below["measure"], &below["threshold"]),
        (&json!("queue"), &json!("margin"), &json!(1.0))
    );
    assert!(
        below["found"].as_f64().is_some_and(|found| found < 1.0) && lines[0]["cascade"].is_string(),
        "{}",
        lines[0]
    );
    assert_eq!(
        (&lines[0]["answer"], &lines[0]["task"]),
        (&serde_json::from_str::<Value>(ANSWER).unwrap(), &lines[1]["task"])
    );
    assert!((lines[0]["cost"].as_f64().unwrap() - 0.00012).abs() < 1e-12, "{}", lines[0]);
    assert_eq!((&lines[0]["path"][1]["answer"], lines[0].get("review")), (&answer, None));
    assert_eq!(path(&lines[1]), path(&review["slm"]));
    assert_eq!((&lines[1]["review"], &lines[1]["fields"][0]["value"]), (&json!(true), &Value::Null));
}

#[test]
fn a_model_that_was_replaced_is_no_tier_any_more() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    home.file("Small", "FROM triage\n");
    home.slm(["create", "small", "-f", "Small", "--yes"]).succeeds();
    home.file(
        "cascade.yaml",
        format!(
            "tiers:\n- {{model: small, accept: {SURE}}}\n- remote: {{base_url: 'http://{}/v1', model: far}}\n",
            remote.address
        ),
    );
    home.slm(["create", "desk", "-f", "cascade.yaml"]).succeeds();
    home.slm(["run", "desk", TEXT]).succeeds();
    home.file("Small", "FROM triage\nSYSTEM other\n");
    home.slm(["create", "small", "-f", "Small", "--yes"]).succeeds();
    let said = "slm: `small:latest` was replaced since the cascade `desk:latest` was made of it, so that its thresholds may not hold; \
                create `desk:latest` again from its file\n";
    home.slm(["run", "desk", TEXT]).fails(1, said);
    let server = Server::of(&home);
    let answer = server
        .post("/api/chat", json!({"model": "desk", "messages": [{"role": "user", "content": TEXT}], "stream": false}))
        .ok();
    assert_eq!(path(&answer["slm"])[0], step("small", "went on", "failed"));
}

#[test]
fn what_is_wrong_with_a_cascade_is_told_with_its_line_and_nothing_is_made() {
    let home = Home::new();
    home.file("remote.yaml", "base_url: https://a.example/v1\nmodel: m\napi_key_env: DESK_KEY\n");
    for (yaml, said) in [
        ("tiers:\n- model: triage\n- remote: remote.yaml\n", "line 2: the tier `triage` does not say what it accepts"),
        ("tiers:\n- model: desk\n", "line 2: the cascade `desk:latest` names itself"),
        ("tiers:\n- model: nobody\n", "line 2: there is no model `nobody:latest`"),
        (
            "tiers:\n- {model: triage, accept: anything}\n- remote: remote.yaml\n",
            "`remote.yaml`: line 3: the environment variable `DESK_KEY`",
        ),
        (
            "tiers:\n- {model: triage, accept: anything}\n- remote: {base_url: 'https://a.example', model: m, api_key_env: DESK_KEY}\n",
            "line 3: the environment variable `DESK_KEY` is not set",
        ),
        (
            "tiers:\n- model: triage\n  accept: {probability: 0.9, fields: [colour]}\n",
            "line 2: `accept.fields` has `colour`, which is no field of the answer; its fields are `queue`, `urgency`, `refund`",
        ),
        (
            "tiers:\n- model: triage\nalways_on: {queue: [sales]}\n",
            "line 3: `always_on` has the label \"sales\", which is no answer",
        ),
        (
            "tiers:\n- model: triage\nprivacy:\n  never: {colour: [x]}\n",
            "line 4: `never` has `colour`, which is no field",
        ),
        (
            "tiers:\n- {model: triage, accept: fitted}\n",
            "line 2: `accept: fitted` needs a fit, and `triage:latest` has none",
        ),
        (
            "tiers:\n- {model: triage, accept: {probability: 0.5}}\nformat: {type: object, properties: {a: {type: string}}}\n",
            "line 2: the tier `triage` has a threshold, but answers that are written have no probability",
        ),
        ("tiers: 5\n", "line 1: "),
    ] {
        home.file("cascade.yaml", yaml);
        let stderr = home.slm(["create", "desk", "-f", "cascade.yaml"]).ends(1).stderr;
        assert!(
            stderr.contains(said) && stderr.contains("cascade.yaml`") | stderr.contains("remote.yaml`"),
            "{yaml}: {stderr}"
        );
    }
    assert!(!home.models().join("manifests").exists(), "nothing half done");
    // Through another one.
    home.file("cascade.yaml", "tiers:\n- model: triage\n");
    home.slm(["create", "desk", "-f", "cascade.yaml"]).succeeds();
    home.file("around.yaml", "tiers:\n- model: desk\n");
    home.slm(["create", "around", "-f", "around.yaml"]).succeeds();
    assert_eq!(path(&home.slm(["run", "around", TEXT, "--json"]).json()), [step("desk", "accepted", "")]);
    home.file("cascade.yaml", "tiers:\n- model: around\n");
    let said = "slm: `cascade.yaml`: line 2: the cascade `desk:latest` names itself through `around:latest`\n";
    home.slm(["create", "desk", "-f", "cascade.yaml", "--yes"]).fails(1, said);
    let show = home.slm(["show", "desk"]).succeeds();
    assert!(show.contains("tier             triage: the model `triage:latest`, accepts anything\n"), "{show}");
}

#[test]
fn the_desk_that_comes_with_slm_is_a_cascade() {
    let home = Home::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/cascades/triage");
    let file = folder.join("cascade.yaml");
    let created = home.slm(["create", "desk", "-f", file.to_str().unwrap()]).env("DESK_KEY", KEY).succeeds();
    assert!(created.starts_with("created desk:latest ("), "{created}");
    let show = home.slm(["show", "desk"]).succeeds();
    assert!(show.contains("accepts a probability of 0.9 or more for queue\n"), "{show}");
}
