//! `slm batch --hosted-batch`: what a cascade would ask a remote goes to a file for that server's batches, and their results come back.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faulty::{Manner, Remote};
use crate::slm::{Home, Random, end_within};

const CHAT: &str = "/v1/chat/completions";
const ANSWER: &str = r#"{"queue": "other", "urgency": 1, "refund": false}"#;
const PATIENCE: Duration = Duration::from_secs(180);

/// A desk that hands every answer but those about parcels on to a remote that must not be asked.
fn desk(home: &Home, remote: &Remote) {
    let yaml = format!(
        "tiers:\n- {{model: triage, accept: {{probability: 0.01}}}}\n- remote: {{base_url: 'http://{}/v1', model: far, retries: 0, \
         timeout: 1, price: {{input: 1, output: 2, per: 1M, date: 2026-11-30}}}}\n  given: draft\n\
         always_on: {{queue: [billing, legal, other, account access]}}\nprivacy: {{mask: [email]}}\n",
        remote.address
    );
    home.file("cascade.yaml", yaml);
    home.slm(["create", "desk", "-f", "cascade.yaml", "--yes"]).succeeds();
}

fn request(id: &str, text: &str) -> String {
    let body = json!({"model": "desk", "messages": [{"role": "user", "content": text}]});
    json!({"custom_id": id, "method": "POST", "url": CHAT, "body": body}).to_string() + "\n"
}

fn lines(home: &Home, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn by_id(lines: Vec<Value>) -> BTreeMap<String, Value> {
    let n = lines.len();
    let all: BTreeMap<String, Value> =
        lines.into_iter().map(|line| (line["custom_id"].as_str().unwrap().to_owned(), line)).collect();
    assert_eq!(all.len(), n, "a line is there twice");
    all
}

/// A result as OpenAI writes it.
fn result(key: &Value, content: &str) -> String {
    let message = json!({"role": "assistant", "content": content, "refusal": null});
    let body = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "far",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}});
    let response = json!({"status_code": 200, "request_id": "r", "body": body});
    json!({"id": "batch_req_1", "custom_id": key, "response": response, "error": null}).to_string() + "\n"
}

/// Both of the ways in which OpenAI's error files tell of a request.
fn errors(refused: &Value, expired: &Value) -> String {
    let body = json!({"error": {"message": "too long", "type": "invalid_request_error", "param": null, "code": null}});
    let refused = json!({"id": "batch_req_2", "custom_id": refused, "error": null,
        "response": {"status_code": 400, "request_id": "r", "body": body}});
    let message = "This request could not be executed before the completion window expired.";
    let expired = json!({"id": "batch_req_3", "custom_id": expired, "response": null,
        "error": {"code": "batch_expired", "message": message}});
    format!("{refused}\n{expired}\n")
}

fn path(result: &Value) -> (String, String, String) {
    let step = &result["response"]["body"]["choices"][0]["slm"]["path"][1];
    let word = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("reason"), word("why"))
}

#[test]
fn what_the_first_tier_settles_is_answered_and_the_rest_comes_with_the_results() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(ANSWER.to_owned())));
    desk(&home, &remote);
    let texts = [
        ("a", "my parcel never came, where is it"),
        ("b", "I was charged twice, write to jane@doe.example"),
        ("c", "my lawyer will sue you, delete my data under GDPR"),
        ("d", "I was charged twice for order 7"),
        ("e", "I was charged twice for order 8"),
    ];
    home.file("in.jsonl", texts.iter().map(|(id, text)| request(id, text)).collect::<String>());
    let said = home.slm(["batch", "in.jsonl", "-o", "out.jsonl", "--hosted-batch", "hosted.jsonl"]).ends(0);
    let told = "slm: 4 requests wait for a hosted batch: send `hosted.jsonl` (4 lines) to the remote's server, then give what comes back \
                to --hosted-results, with --resume\n";
    assert_eq!(said.stderr, told);
    assert_eq!(by_id(lines(&home, "out.jsonl")).keys().collect::<Vec<_>>(), ["a"]);
    let sent = lines(&home, "hosted.jsonl");
    let key = |id: &str| {
        let is_its = |line: &&Value| line["custom_id"].as_str().unwrap().starts_with(&format!("{id}/"));
        sent.iter().find(is_its).unwrap_or_else(|| panic!("{id}"))["custom_id"].clone()
    };
    let b = sent.iter().find(|line| line["custom_id"] == key("b")).unwrap();
    assert_eq!((&b["method"], &b["url"], &b["body"]["model"]), (&json!("POST"), &json!(CHAT), &json!("far")));
    let text = b["body"]["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    assert!(text.starts_with("I was charged twice, write to [masked]\n\nA smaller model's answer"), "{text}");
    // Nothing is asked again, and nothing is written twice.
    home.slm(["batch", "in.jsonl", "-o", "out.jsonl", "--hosted-batch", "hosted.jsonl", "--resume"]).ends(0);
    assert_eq!(by_id(lines(&home, "hosted.jsonl")), by_id(sent.clone()));

    home.file("results.jsonl", result(&key("b"), ANSWER));
    home.file("errors.jsonl", errors(&key("c"), &key("d")));
    let args = ["batch", "in.jsonl", "-o", "out.jsonl", "--resume", "--hosted-results", "results.jsonl"];
    home.slm(args.into_iter().chain(["--hosted-results", "errors.jsonl"])).succeeds();
    let all = by_id(lines(&home, "out.jsonl"));
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    assert_eq!(path(&all["b"]), ("accepted".to_owned(), String::new(), String::new()));
    let choice = &all["b"]["response"]["body"]["choices"][0];
    assert_eq!(
        serde_json::from_str::<Value>(choice["message"]["content"].as_str().unwrap()).unwrap(),
        json!({"queue": "other", "urgency": 1, "refund": false})
    );
    // Half of 0.00012.
    assert!((choice["slm"]["cost"].as_f64().unwrap() - 0.00006).abs() < 1e-12, "{choice}");
    let missing = format!("the hosted batch has no answer: its results have none of `{}`", key("e").as_str().unwrap());
    for (id, why) in [
        ("c", "the hosted batch has no answer: status 400: too long"),
        (
            "d",
            "the hosted batch has no answer: batch_expired: This request could not be executed before the completion window expired.",
        ),
        ("e", missing.as_str()),
    ] {
        assert_eq!(path(&all[id]), ("went on".to_owned(), "failed".to_owned(), why.to_owned()));
        assert!(all[id]["response"]["body"]["choices"][0]["slm"]["review"].is_string(), "{}", all[id]);
    }
    assert_eq!(remote.asked().len(), 0);
}

#[test]
fn what_expired_is_sent_again_and_every_question_of_a_request_is_in_the_file() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Silent));
    desk(&home, &remote);
    let yaml = std::fs::read_to_string(home.path().join("cascade.yaml")).unwrap();
    home.file("cascade.yaml", yaml.replace("{probability: 0.01}", "{margin: 1}"));
    home.slm(["create", "desk", "-f", "cascade.yaml", "--yes"]).succeeds();
    let question = |words: &str| json!({"type": "noul", "instructions": words});
    let body = json!({"model": "desk", "state": "I was charged twice", "questions": {"q": question("Is it urgent?"), "r": question("Is it rude?")}});
    let asked = json!({"custom_id": "x", "method": "POST", "url": "/v1/systemone", "body": body}).to_string() + "\n";
    home.file("in.jsonl", request("a", "I was charged twice") + &asked);
    home.slm(["batch", "in.jsonl", "-o", "out.jsonl", "--hosted-batch", "hosted.jsonl"]).ends(0);
    let sent = lines(&home, "hosted.jsonl");
    let of =
        |id: &str| sent.iter().filter(|line| line["custom_id"].as_str().unwrap().starts_with(id)).collect::<Vec<_>>();
    assert_eq!((of("a/").len(), of("x/").len()), (1, 2));
    home.file("errors.jsonl", errors(&json!("nobody/1"), &of("a/")[0]["custom_id"]));
    let args = [
        "batch",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--resume",
        "--hosted-results",
        "errors.jsonl",
        "--hosted-batch",
        "again.jsonl",
    ];
    home.slm(args).ends(0);
    assert_eq!(by_id(lines(&home, "again.jsonl")).len(), 3);
    assert_eq!(lines(&home, "out.jsonl"), Vec::<Value>::new());
    assert_eq!(remote.asked().len(), 0);
}

#[test]
fn a_run_that_is_killed_loses_no_request_and_writes_none_twice() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Silent));
    desk(&home, &remote);
    let texts = ["my parcel never came", "I was charged twice", "my lawyer will sue you"];
    let n = 120;
    home.file(
        "in.jsonl",
        (0..n).map(|n| request(&format!("r{n}"), &format!("{}, case {n}", texts[n % 3]))).collect::<String>(),
    );
    let args = ["batch", "in.jsonl", "-o", "out.jsonl", "--hosted-batch", "hosted.jsonl", "--resume"];
    let mut random = Random::new(3);
    for _ in 0..6 {
        let mut command = home.slm(args).command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100 + random.below(900) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let child = home.slm(args).command().stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(end_within(child, PATIENCE).expect("it ends").success());
    let (done, sent) = (by_id(lines(&home, "out.jsonl")), by_id(lines(&home, "hosted.jsonl")));
    let waiting: Vec<String> = sent.keys().map(|key| key.split('/').next().unwrap().to_owned()).collect();
    assert_eq!(done.len() + waiting.len(), n);
    assert!(waiting.iter().all(|id| !done.contains_key(id)));
    assert!(!done.is_empty() && !waiting.is_empty());
}

#[test]
fn what_cannot_be_a_hosted_batch_is_said() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Silent));
    desk(&home, &remote);
    let chat = json!({"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "triage", "messages": []}});
    home.file("plain.jsonl", format!("{chat}\n"));
    home.file("in.jsonl", request("a", "x"));
    home.file("bad.jsonl", "{\"id\": 1}\n");
    for (args, code, said) in [
        (vec!["plain.jsonl", "-o", "o", "--hosted-batch", "h"], 2, "none of these models is a cascade with a remote"),
        (
            vec!["in.jsonl", "-o", "o", "--hosted-batch", "in.jsonl"],
            2,
            "--hosted-batch `in.jsonl` is another file of this batch",
        ),
        (
            vec!["in.jsonl", "-o", "o", "--hosted-batch", "bad.jsonl"],
            1,
            "`bad.jsonl` has requests; continue it with --resume",
        ),
        (
            vec!["in.jsonl", "-o", "o", "--hosted-results", "bad.jsonl"],
            1,
            "`bad.jsonl`: line 1 is not a result of a batch: missing field `custom_id`",
        ),
        (vec!["in.jsonl", "-o", "-", "--hosted-batch", "h"], 2, "--hosted-batch needs a file of results"),
    ] {
        let stderr = home.slm(["batch"].into_iter().chain(args.iter().copied())).ends(code).stderr;
        assert!(stderr.starts_with(&format!("slm: {said}")), "{args:?}: {stderr}");
    }
}
