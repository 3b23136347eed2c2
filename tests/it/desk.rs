//! A cascade whose first tier is words alone, `slm fit` on a cascade, drift, and cascades in batches.

use std::path::Path;

use serde_json::{Value, json};

use crate::faulty::{Manner, Remote, holders};
use crate::serve::Server;
use crate::slm::{Home, Said};

const KEY: &str = "sk-very-secret-0815";
const QUEUES: [&str; 6] = ["billing", "shipping", "account access", "technical", "legal", "other"];
/// Words that the tickets say much of.
const PARCEL: &str = "where is my parcel, the courier said it was delivered and it never came";
const VAGUE: &str = "hm";

/// The embedded model's own rows, with the queue alone.
fn tickets(home: &Home, file: &str, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage").join(file);
    let text = std::fs::read_to_string(path).expect("committed");
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        format!("{}\n", json!({"text": row["text"], "queue": row["queue"]}))
    };
    home.file(name, text.lines().map(row).collect::<String>());
}

/// `queues`, which sorts tickets, and `words`, its fit of words alone.
fn home() -> Home {
    let home = Home::new();
    home.file("Queues", format!("FROM triage\nFORMAT {}\n", json!({"enum": QUEUES})));
    home.slm(["create", "queues", "-f", "Queues"]).succeeds();
    tickets(&home, "tickets.jsonl", "tickets.jsonl");
    tickets(&home, "dev.jsonl", "later.jsonl");
    home.slm(["fit", "queues", "tickets.jsonl", "--words-only", "--as", "worded"]).ends(0);
    home
}

fn desk(home: &Home, tiers: &str) {
    home.file("cascade.yaml", tiers);
    home.slm(["create", "desk", "-f", "cascade.yaml", "--yes"]).env("DESK_KEY", KEY).succeeds();
}

fn remote_tier(remote: &Remote) -> String {
    format!(
        "- remote: {{base_url: 'http://{}/v1', model: far, api_key_env: DESK_KEY, retries: 0, timeout: 5, price: {{input: 1, output: 2, \
         per: 1M, date: 2026-11-30}}}}\n",
        remote.address
    )
}

/// The tiers of an answer, each with what came of it and the word for why.
fn path(answer: &Value) -> Vec<[String; 3]> {
    let word = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let steps = answer["path"].as_array().unwrap_or_else(|| panic!("no path: {answer}"));
    steps.iter().map(|step| ["tier", "outcome", "reason"].map(|name| word(step, name))).collect()
}

fn step(tier: &str, outcome: &str, reason: &str) -> [String; 3] {
    [tier, outcome, reason].map(str::to_owned)
}

fn parsed(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
}

#[test]
fn words_answer_what_they_are_sure_of_and_no_model_is_asked() {
    let home = home();
    desk(&home, "tiers:\n- {words: worded, accept: {probability: 0.97}}\n- {model: queues, accept: anything}\n");
    let answer = home.slm(["run", "desk", PARCEL, "--json"]).json();
    assert_eq!((path(&answer), &answer["value"]), (vec![step("words", "accepted", "")], &json!("shipping")));
    let p = answer["probability"].as_f64().unwrap();
    assert!((0.97..1.0).contains(&p) && answer["raw"].is_null(), "{answer}");
    let vague = home.slm(["run", "desk", VAGUE, "--json"]).json();
    assert_eq!(path(&vague), [step("words", "went on", "below"), step("queues", "accepted", "")]);
    let alone = home.slm(["run", "queues", VAGUE, "--json"]).json();
    assert_eq!((&vague["value"], &vague["probability"]), (&alone["value"], &alone["probability"]));
    // Words know neither a conversation nor other instructions: then the model is asked.
    let told = home.slm(["run", "desk", PARCEL, "--json", "--system", "Sort by colour."]).json();
    assert_eq!(path(&told)[0], step("words", "went on", "failed"));
    // The model that has the fit gives the same answer, and so does a server, which loads nothing for it.
    let same = home.slm(["run", "worded", PARCEL, "--json"]).json();
    assert_eq!((&same["value"], same["probability"].as_f64()), (&answer["value"], Some(p)));
    let server = Server::of(&home);
    let messages = json!([{"role": "user", "content": PARCEL}]);
    let served = server.post("/api/chat", json!({"model": "desk", "messages": messages, "stream": false})).ok();
    assert_eq!((path(&served["slm"]), &served["slm"]["fields"][0]["probability"]), (path(&answer), &json!(p)));
    assert_eq!(server.get("/api/ps").ok()["models"], json!([]));
    let show = home.slm(["show", "desk"]).succeeds();
    assert!(
        show.contains("tier             words: the words of the fit of `worded:latest`, without a model, accepts"),
        "{show}"
    );
    home.slm(["fit", "worded", "later.jsonl", "--check"]).ends(0);
}

#[test]
fn a_tier_of_words_needs_a_fit_of_words() {
    let home = home();
    let said = home.slm(["fit", "queues", "tickets.jsonl", "--words-only"]).ends(2).stderr;
    assert!(said.contains("store it under another name with --as NAME"), "{said}");
    let said = home.slm(["fit", "triage", "tickets.jsonl", "--words-only", "--as", "x"]).ends(2).stderr;
    assert!(said.contains("the data has no labels for `urgency`"), "{said}");
    home.file("Colours", "FROM triage\nFORMAT {\"enum\": [\"red\", \"blue\"]}\n");
    home.slm(["create", "colours", "-f", "Colours"]).succeeds();
    for (tiers, said) in [
        (
            "- {words: queues, accept: anything}\n- model: queues\n",
            "line 2: `queues:latest` has no fit that answers from words alone",
        ),
        ("- {words: nobody, accept: anything}\n- model: queues\n", "line 2: there is no model `nobody:latest`"),
        ("- {words: worded}\n- model: queues\n", "line 2: the tier `words` does not say what it accepts"),
        (
            "- {model: colours, accept: anything}\n- words: worded\n",
            "line 3: the words of `worded:latest` were learned for other answers",
        ),
        (
            "- {model: queues, accept: {probability: 0.5}, drift: 500}\n- model: worded\n",
            "line 2: `drift` holds answers against those of a fit's rows, and the tier `queues` has no fit",
        ),
    ] {
        home.file("cascade.yaml", format!("tiers:\n{tiers}"));
        let stderr = home.slm(["create", "desk", "-f", "cascade.yaml"]).ends(1).stderr;
        assert!(stderr.contains(&format!("`cascade.yaml`: {said}")), "{tiers}: {stderr}");
    }
    assert!(home.slm(["show", "desk"]).run().code != Some(0), "nothing half done");
    // Another fit under the name is another tier.
    desk(&home, "tiers:\n- {words: worded, accept: anything}\n- model: queues\n");
    home.slm(["fit", "queues", "tickets.jsonl", "--words-only", "--as", "worded", "--limit", "200"]).ends(0);
    let stderr = home.slm(["run", "desk", PARCEL]).ends(1).stderr;
    assert!(stderr.contains("`worded:latest` was replaced since the cascade `desk:latest` was made of it"), "{stderr}");
}

#[test]
fn a_fitted_cascade_keeps_its_promise_and_says_whether_it_is_worth_it() {
    let (home, remote) = (home(), Remote::new(Manner::Says("\"billing\"".to_owned())));
    desk(&home, &format!("tiers:\n- {{words: worded, accept: {{probability: 0.9}}}}\n{}", remote_tier(&remote)));
    let fit = |more: &[&str]| {
        let args = ["fit", "desk", "later.jsonl", "--json"].iter().chain(more);
        home.slm(args).env("DESK_KEY", KEY).run()
    };
    let told = parsed(&fit(&[]));
    let n = remote.asked().len();
    assert_eq!(told["rows"]["find"].as_u64().unwrap() + told["rows"]["report"].as_u64().unwrap(), n as u64);
    // A remote that calls everything billing is no match for words, which cost nothing.
    assert_eq!(told["verdict"], json!({"worth_it": false, "alone": "words"}));
    let accuracy = |figures: &Value| figures["accuracy"].as_f64().unwrap();
    let tiers = told["tiers"].as_array().unwrap();
    for tier in tiers {
        assert!(accuracy(&tier["figures"]) <= accuracy(&told["oracle"]), "{told}");
    }
    assert!(accuracy(&tiers[0]["figures"]) > accuracy(&tiers[1]["figures"]), "{told}");
    assert!(tiers[1]["figures"]["cost"].as_f64() > Some(0.0) && tiers[0]["figures"]["cost"] == 0.0, "{told}");
    let frontier = told["frontier"].as_array().unwrap();
    let handled = |point: &Value| point["figures"]["handled"].as_f64().unwrap();
    assert!(handled(&frontier[0]) == 0.0 && handled(frontier.last().unwrap()) > 0.9, "{told}");
    assert!(frontier[0]["figures"]["cost"].as_f64() > frontier.last().unwrap()["figures"]["cost"].as_f64());
    // Its answers are kept: nobody is asked twice.
    let said = fit(&["--risk", "40%", "--as", "sure"]);
    assert_eq!((said.code, remote.asked().len()), (Some(0), n), "{}", said.stderr);
    let again = parsed(&said);
    assert_eq!(again["kept"], n);
    let promise = &again["promise"];
    assert!(promise["risk_at_most"].as_f64().unwrap() <= 0.4 && promise["handled"].as_u64().unwrap() > 0, "{again}");
    let threshold = again["judged"]["thresholds"][0].as_f64().unwrap();
    let show = home.slm(["show", "sure"]).succeeds();
    assert!(show.contains(&format!("accepts a probability of {threshold} or more\n")), "{show}");
    assert!(show.contains("promise          at most 0.4 of the answers before the last tier wrong"), "{show}");
    let answer = home.slm(["run", "sure", PARCEL, "--json"]).env("DESK_KEY", KEY).json();
    assert_eq!(path(&answer), [step("words", "accepted", "")]);
    // What cannot be promised is refused, and nothing is stored.
    let said = fit(&["--risk", "1%", "--as", "never"]);
    assert_eq!(said.code, Some(3), "{}{}", said.stdout, said.stderr);
    assert!(
        parsed(&said)["refused"].as_str().unwrap().contains("needs 299 answers before the last tier"),
        "{}",
        said.stdout
    );
    assert!(home.slm(["show", "never"]).run().code != Some(0));
    let said = fit(&["--person", "legal"]);
    assert!(said.stderr.contains("for which --person is not; write `always_on` into its file"), "{}", said.stderr);
    assert_eq!(holders(home.path(), KEY), Vec::<std::path::PathBuf>::new());
    // For people.
    let page =
        home.slm(["fit", "desk", "later.jsonl", "--coverage", "50%", "--dry-run"]).env("DESK_KEY", KEY).ends(0).stdout;
    for part in [
        "the right one of them",
        "what thresholds buy",
        "do not route: `words` alone is not found to be worse",
        "nothing was stored",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_check_holds_a_cascade_against_its_promise_and_asks_no_last_tier() {
    let (home, remote) = (home(), Remote::new(Manner::Says("\"billing\"".to_owned())));
    desk(&home, &format!("tiers:\n- {{words: worded, accept: {{probability: 0.9}}}}\n{}", remote_tier(&remote)));
    let slm = |args: &[&str]| home.slm(args).env("DESK_KEY", KEY).run();
    assert_eq!(slm(&["fit", "desk", "later.jsonl", "--risk", "40%"]).code, Some(0));
    let n = remote.asked().len();
    let said = slm(&["fit", "desk", "tickets.jsonl", "--check"]);
    assert_eq!((said.code, remote.asked().len()), (Some(0), n), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("the promise of 0.4 may well be kept: "), "{}", said.stdout);
    // The same texts with the labels of others.
    let wrong =
        std::fs::read_to_string(home.path().join("tickets.jsonl")).unwrap().replace("\"shipping\"", "\"legal\"");
    home.file("wrong.jsonl", wrong.replace("\"billing\"", "\"other\"").replace("\"technical\"", "\"legal\""));
    let said = slm(&["fit", "desk", "wrong.jsonl", "--check"]);
    assert_eq!(said.code, Some(3), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("the promise of 0.4 is broken: "), "{}", said.stdout);
    // Without labels it is told how answers are spread.
    home.file("parcels.txt", (0..120).map(|n| format!("{PARCEL}, order {n}\n")).collect::<String>());
    let said = slm(&["fit", "desk", "parcels.txt", "--check"]);
    assert_eq!(said.code, Some(3), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("shares of labels: changed"), "{}", said.stdout);
}

#[test]
fn all_goes_on_while_a_tiers_answers_are_not_spread_as_they_were() {
    let home = home();
    desk(
        &home,
        "tiers:\n- {words: worded, accept: {probability: 0.01}, drift: 100}\n- {model: queues, accept: anything}\n",
    );
    let lines: String = (0..120).map(|n| format!("{PARCEL}, order {n}\n")).collect();
    let rows = home.slm(["run", "desk", "--lines", "--json=full"]).stdin(lines).succeeds();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let n_on = rows.iter().filter(|row| path(row)[0] == step("words", "went on", "drift")).count();
    // Looked at after the hundredth.
    assert_eq!((n_on, path(&rows[0])), (21, vec![step("words", "accepted", "")]));
    let why = rows.iter().find_map(|row| row["path"][0]["why"].as_str()).unwrap();
    assert!(
        why.starts_with(
            "the last 100 texts are spread otherwise than those that the tier learned from (shares of labels"
        ),
        "{why}"
    );
    let server = Server::of(&home);
    for _ in 0..101 {
        server.post("/api/generate", json!({"model": "desk", "prompt": PARCEL, "stream": false})).ok();
    }
    let line = "slm_escalations_total{model=\"desk:latest\",tier=\"words\",reason=\"drift\"} 2";
    assert!(server.get("/metrics").text().contains(line), "{}", server.get("/metrics").text());
}

#[test]
fn a_batch_goes_through_a_cascade_with_path_cost_and_privacy() {
    let (home, remote) = (home(), Remote::new(Manner::Says("\"billing\"".to_owned())));
    let tiers = format!(
        "tiers:\n- {{words: worded, accept: {{probability: 0.6}}}}\n{}privacy: {{mask: [email], never: [legal]}}\n",
        remote_tier(&remote)
    );
    desk(&home, &tiers);
    let mail = "hm, jane@doe.example";
    let texts = [("sure", PARCEL), ("mail", mail)];
    let line = |(id, text): &(&str, &str)| {
        let body = json!({"model": "desk", "messages": [{"role": "user", "content": text}]});
        format!("{}\n", json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}))
    };
    let lines: String = texts.iter().map(line).collect();
    home.file("in.jsonl", &lines);
    let expected = |of: &dyn Fn(&str) -> Value| {
        let sure = of("sure");
        assert_eq!(path(&sure["choices"][0]["slm"]), [step("words", "accepted", "")], "{sure}");
        let mail = of("mail");
        let slm = &mail["choices"][0]["slm"];
        assert_eq!(path(slm), [step("words", "went on", "below"), step("far", "accepted", "")]);
        assert!((slm["cost"].as_f64().unwrap() - 0.00012).abs() < 1e-12, "{mail}");
        assert_eq!(remote.last_text(), "hm, [masked]");
    };
    home.slm(["batch", "in.jsonl", "-o", "out.jsonl", "--local"]).env("DESK_KEY", KEY).ends(0);
    let of = |file: &str| {
        let results: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        move |id: &str| {
            let result = results.iter().find(|result| result["custom_id"] == id);
            result.unwrap_or_else(|| panic!("no {id}"))["response"]["body"].clone()
        }
    };
    let out = std::fs::read_to_string(home.path().join("out.jsonl")).unwrap();
    expected(&of(&out));
    assert_eq!(remote.asked().len(), 1);
    // The same over HTTP.
    let server = Server::with(&home, &[("DESK_KEY", KEY)]);
    let id = crate::batch::begin(&server, &lines, "none");
    let started = std::time::Instant::now();
    let batch = loop {
        let batch = server.get(&format!("/v1/batches/{id}")).json();
        if batch["status"] == "completed" {
            break batch;
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(120), "{batch}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let content = server.get(&format!("/v1/files/{}/content", batch["output_file_id"].as_str().unwrap()));
    expected(&of(content.text()));
    assert_eq!(remote.asked().len(), 2);
    assert_eq!(holders(home.path(), KEY), Vec::<std::path::PathBuf>::new());
}
