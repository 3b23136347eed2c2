//! `slm batch`: requests in OpenAI's lines, answered as over HTTP, in files that outlive kills.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::slm::{Home, Random, end_within};

const PATIENCE: Duration = Duration::from_secs(180);
const CHAT: &str = "/v1/chat/completions";

/// How often a process is killed in a test of kills; `SLM_KILLS=50` gives the figure of the release notes.
fn n_kills() -> usize {
    std::env::var("SLM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

fn request(id: &str, url: &str, body: Value) -> String {
    json!({ "custom_id": id, "method": "POST", "url": url, "body": body }).to_string() + "\n"
}

fn chat(id: &str, text: &str) -> String {
    request(id, CHAT, json!({ "model": "triage", "messages": [{ "role": "user", "content": text }] }))
}

/// Requests of which some fail.
fn requests(n: usize) -> String {
    let wants = ["I was charged twice", "my parcel never came", "I will sue you", "hello"];
    let one = |n: usize| match n % 17 {
        5 => request(&format!("r{n}"), CHAT, json!({ "model": "triage", "messages": [], "frequency": n })),
        _ => chat(&format!("r{n}"), &format!("{} about {n}", wants[n * 7 % 4])),
    };
    (0..n).map(one).collect()
}

/// Results by id; none is there twice.
fn results(text: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let result: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let id = result["custom_id"].as_str().unwrap().to_owned();
        assert!(all.insert(id.clone(), result).is_none(), "`{id}` is there twice");
    }
    all
}

fn read(home: &Home, file: &str) -> String {
    std::fs::read_to_string(home.path().join(file)).unwrap()
}

fn content(result: &Value) -> &str {
    result["response"]["body"]["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{result}"))
}

/// Each path, beside the same request over HTTP.
#[test]
fn every_line_is_answered_as_the_same_request_over_http() {
    let home = Home::new();
    crate::serve::scripts::stock(&home);
    let messages = json!([{ "role": "user", "content": "I was charged twice" }]);
    let bodies = [
        (CHAT, json!({ "model": "triage", "messages": messages })),
        (CHAT, json!({ "model": "sorter", "messages": messages, "logprobs": true, "top_logprobs": 2 })),
        ("/v1/completions", json!({ "model": "fox", "prompt": "<|answer|>", "temperature": 0 })),
        ("/v1/responses", json!({ "model": "fox", "input": "hello", "temperature": 0 })),
        ("/v1/embeddings", json!({ "model": "bert", "input": ["one", "two"] })),
        (
            "/v1/decisions",
            json!({ "model": "triage", "input": "x", "questions": [{ "type": "predicate", "instructions": "?" }] }),
        ),
        (
            "/v1/systemone",
            json!({ "model": "triage", "state": "x", "questions": { "q": { "type": "noul", "instructions": "?" } } }),
        ),
        (CHAT, json!({ "model": "triage", "messages": messages, "frequency": 1 })),
        ("/v1/systemone", json!({ "model": "triage", "state": "x", "questions": {} })),
    ];
    let lines: String =
        bodies.iter().enumerate().map(|(n, (url, body))| request(&n.to_string(), url, body.clone())).collect();
    home.file("in", &lines);
    let said = home.slm(["batch", "in", "--ordered", "--local"]).ends(1);
    let here = results(&said.stdout);
    assert_eq!(said.stderr, "slm: 2 of 9 requests failed; the first: `7`: `frequency` is not known here; remove it\n");
    let order: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["custom_id"].clone()).collect();
    assert_eq!(order, (0..bodies.len()).map(|n| json!(n.to_string())).collect::<Vec<_>>());
    let server = Server::of(&home);
    let served = results(&home.slm(["batch", "in"]).ends(1).stdout);
    for (n, (url, body)) in bodies.iter().enumerate() {
        let answer = server.post(url, body.clone());
        for result in [&here[&n.to_string()], &served[&n.to_string()]] {
            assert_eq!(
                (result["response"]["status_code"].as_u64(), &result["error"]),
                (Some(answer.status.into()), &Value::Null)
            );
            assert!(!result["response"]["request_id"].as_str().unwrap().is_empty());
            assert_eq!(lasting(&result["response"]["body"]), lasting(&answer.json()), "{url}");
        }
    }
}

/// An answer without what is another in every answer: ids, times, and what the cache had.
fn lasting(answer: &Value) -> Value {
    match answer {
        Value::Object(fields) => {
            let passing = ["id", "created", "created_at", "completed_at", "latency_ms", "cached_tokens", "slm_timings"];
            let kept = fields.iter().filter(|(name, _)| !passing.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), lasting(value))).collect()
        }
        Value::Array(list) => list.iter().map(lasting).collect(),
        other => other.clone(),
    }
}

fn kill_until_done(home: &Home, args: &[&str], n_bytes_of_line: usize) {
    let mut random = Random::new(17);
    let start = || {
        let mut command = home.slm(args).command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let n_bytes = || home.path().join("out").metadata().map_or(0, |file| file.len());
    let mut in_the_middle = 0;
    for n in 0..n_kills() {
        let before = n_bytes();
        let mut child = start();
        if random.below(4) == 0 {
            // Before the first result, most likely: while the requests are checked and the model is loaded.
            std::thread::sleep(Duration::from_micros(random.below(60_000) as u64));
        } else {
            let started = Instant::now();
            let wanted = before + (random.below(40) * n_bytes_of_line) as u64;
            while n_bytes() <= wanted && started.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_micros(random.below(500) as u64));
            }
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), None, "it ended before it was killed {n} times");
        in_the_middle += usize::from(n_bytes() > before);
    }
    println!("{} kills, {in_the_middle} of them while results were written", n_kills());
    assert!(in_the_middle > 0);
    assert_eq!(end_within(start(), PATIENCE).and_then(|status| status.code()), Some(1), "some fail");
}

#[test]
fn results_are_neither_lost_nor_repeated_by_kills() {
    let home = Home::new();
    let n = n_kills() * 90;
    home.file("in", requests(n));
    let at_once = results(&home.slm(["batch", "in"]).ends(1).stdout);
    kill_until_done(&home, &["batch", "in", "-o", "out", "--errors", "bad", "--resume"], 900);
    let (done, failed) = (results(&read(&home, "out")), results(&read(&home, "bad")));
    assert_eq!((done.len() + failed.len(), failed.len()), (n, (0..n).filter(|n| n % 17 == 5).count()));
    for (id, result) in &done {
        assert_eq!(lasting(&result["response"]["body"]), lasting(&at_once[id]["response"]["body"]), "{id}");
    }
    for (id, result) in &failed {
        assert_eq!(
            (&result["response"]["status_code"], &at_once[id]["response"]["status_code"]),
            (&json!(400), &json!(400))
        );
    }
}

/// A file that was cut at any byte is continued.
#[test]
fn a_torn_result_is_asked_again() {
    let home = Home::new();
    let n = 6;
    home.file("in", requests(n));
    let args = ["batch", "in", "-o", "out", "--resume", "--ordered"];
    home.slm(args).ends(1);
    let (whole, mut random) = (std::fs::read(home.path().join("out")).unwrap(), Random::new(3));
    let notes = read(&home, "out.slm");
    let notes: Value = serde_json::from_str(&notes).unwrap();
    for _ in 0..8 {
        let cut = random.below(whole.len());
        home.file("out", &whole[..cut]);
        // As a kill leaves them, which comes between the lines and the notes.
        let mut earlier = notes.clone();
        earlier["bytes"] = json!(0);
        home.file("out.slm", earlier.to_string());
        home.slm(args).ends(1);
        let ids: Vec<String> = read(&home, "out")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["custom_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, (0..n).map(|n| format!("r{n}")).collect::<Vec<_>>(), "cut at {cut}");
    }
    // Results that are gone were not lost by a kill.
    home.file("out", &whole[..10]);
    home.file("out.slm", notes.to_string());
    let why = format!(
        "slm: cannot continue `out`: it has 0 bytes of complete results where {} were written, or they were changed; give another \
         file, or start again with --overwrite\n",
        whole.len()
    );
    home.slm(args).fails(1, &why);
    assert_eq!(std::fs::read(home.path().join("out")).unwrap(), whole[..10]);
}

#[test]
fn what_failed_is_asked_again_and_nothing_else() {
    let home = Home::new();
    for errors in [&[][..], &["--errors", "bad"]] {
        home.file("in", requests(40));
        let args = |more: &[&'static str]| [&["batch", "in", "-o", "out"], errors, more].concat();
        let said = home.slm(args(&[])).ends(1).stderr;
        assert!(said.ends_with("; --retry-errors asks them again\n"), "{said}");
        let ids = |file: &str| -> BTreeMap<String, String> {
            let all = results(&std::fs::read_to_string(home.path().join(file)).unwrap_or_default());
            all.into_iter().map(|(id, result)| (id, result["id"].as_str().unwrap().to_owned())).collect()
        };
        let (before, failed_before) = (ids("out"), ids("bad"));
        // Nothing has changed: nothing is asked.
        let said = home.slm(args(&["--resume"])).ends(1).stderr;
        assert_eq!(said, "slm: 3 of 40 requests failed; --retry-errors asks them again\n");
        assert_eq!((ids("out"), ids("bad")), (before.clone(), failed_before.clone()));
        home.slm(args(&["--retry-errors"])).ends(1);
        let (after, failed_after) = (ids("out"), ids("bad"));
        let failed = ["r22", "r39", "r5"];
        let changed: Vec<&str> = before
            .iter()
            .chain(&failed_before)
            .filter_map(|(id, own)| {
                let now = after.get(id).or(failed_after.get(id)).unwrap();
                (now != own).then_some(id.as_str())
            })
            .collect();
        assert_eq!((changed.as_slice(), after.len() + failed_after.len()), (&failed[..], 40));
        for file in ["out", "out.slm", "bad"] {
            let _ = std::fs::remove_file(home.path().join(file));
        }
    }
}

#[test]
fn shards_are_parts_and_tell_themselves_apart() {
    let home = Home::new();
    home.file("in", (0..60).map(|n| chat(&format!("r{n}"), &format!("hello {n}"))).collect::<String>());
    let mut all = BTreeMap::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let part = results(&home.slm(["batch", "in", "--shard", shard]).succeeds());
        assert!((8..=32).contains(&part.len()), "{shard}: {}", part.len());
        for (id, result) in part {
            assert!(all.insert(id, result).is_none());
        }
    }
    assert_eq!(all.len(), 60);
    // A request stays in its part whatever stands around it.
    let half: String = (0..60).step_by(2).map(|n| chat(&format!("r{n}"), &format!("hello {n}"))).collect();
    home.file("half", half);
    let first = results(&home.slm(["batch", "in", "--shard", "1/3"]).succeeds());
    for id in results(&home.slm(["batch", "half", "--shard", "1/3"]).succeeds()).keys() {
        assert!(first.contains_key(id), "{id}");
    }
    home.slm(["batch", "in", "--shard", "1/3", "-o", "out"]).succeeds();
    let other = "slm: cannot continue `out`: it was begun with other rows: another field is read, or answers are written in another \
                 way; give another file, or start again with --overwrite\n";
    home.slm(["batch", "in", "--shard", "2/3", "-o", "out", "--resume"]).fails(1, other);
    home.slm(["batch", "in", "--shard", "4/3"])
        .fails(2, "slm: --shard: `4/3` is not a part of the rows; write `2/5` for the second of five\n");
}

#[test]
fn wrong_lines_are_told_before_anything_is_asked() {
    let home = Home::new();
    let line = chat("a", "hello");
    let wrong = [
        line.clone(),
        "{\"custom_id\n".to_owned(),
        line.clone(),
        line.replace("POST", "GET"),
        line.replace(CHAT, "/v1/images"),
        line.replace("\"model\"", "\"stream\":true,\"model\""),
        line.replace("\"model\":\"triage\",", ""),
        "\n".to_owned(),
        "7\n".to_owned(),
    ];
    home.file("in", wrong.concat());
    let said = "slm: `in`: line 2: the line is not JSON: EOF while parsing a string at line 1 column 11
`in`: line 3: the `custom_id` `a` is also that of line 1; give every request its own
`in`: line 4: `method` is `GET`; give `POST`
`in`: line 5: `url` is `/v1/images`, which a batch cannot ask; give `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, \
                `/v1/embeddings`, `/v1/decisions` or `/v1/systemone`
`in`: line 6: `body.stream` is `true`; remove it, the results of a batch are not streamed
`in`: line 7: `body.model` is missing; name a model
`in`: line 9: the line is not a JSON object
7 lines are wrong, so nothing was asked\n";
    for more in [&["--dry-run"][..], &["-o", "out"], &["--local"]] {
        home.slm([&["batch", "in"], more].concat()).fails(1, said);
    }
    assert_eq!(read(&home, "out"), "");
    home.file("in", chat("a", "hello") + &request("b", CHAT, json!({ "model": "triagee" })));
    let said = home.slm(["batch", "in", "--dry-run"]).ends(1).stderr;
    assert!(said.starts_with("slm: `in`: line 2: `body.model`: there is no model `triagee:latest`"), "{said}");
    home.file("in", "\n \n");
    home.slm(["batch", "in"]).fails(1, "slm: `in` has no requests\n");
    home.slm(["batch", "none"]).fails(1, "slm: cannot read `none`: No such file or directory (os error 2)\n");
}

#[test]
fn a_dry_run_says_what_would_be_asked() {
    let home = Home::new();
    home.slm(["cp", "triage", "other"]).succeeds();
    let text = chat("a", "x")
        + &chat("b", "y")
        + &request("c", "/v1/decisions", json!({ "model": "other" }))
        + &request("d", "/v1/systemone", json!({}));
    home.file("in", &text);
    let said = home.slm(["batch", "in", "--dry-run", "-o", "out"]).succeeds();
    let expected = "URL                   MODEL           REQUESTS
/v1/chat/completions  triage          2
/v1/decisions         other           1
/v1/systemone         (the only one)  1
4 requests; every line is right\n";
    assert_eq!(said, expected);
    assert!(!home.path().join("out").exists());
    // UTF-16, and standard input.
    let utf16: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    home.file("wide", &utf16);
    assert_eq!(home.slm(["batch", "wide", "--dry-run"]).succeeds(), expected);
    assert_eq!(home.slm(["batch", "-", "--dry-run"]).stdin(&utf16).succeeds(), expected);
}

#[test]
fn files_are_only_touched_when_told_how() {
    let home = Home::new();
    home.file("in", chat("a", "hello"));
    home.slm(["batch", "in", "-o", "out"]).succeeds();
    let before = read(&home, "out");
    let exists = "slm: `out` already exists; continue it with --resume, or start again with --overwrite\n";
    home.slm(["batch", "in", "-o", "out"]).fails(1, exists);
    home.slm(["batch", "in", "-o", "in"])
        .fails(2, "slm: `in` has the requests themselves; give another file for the results\n");
    let same = "slm: --errors and --output name the same file; leave out --errors to have both in one\n";
    home.slm(["batch", "in", "-o", "new", "--errors", "./new"]).fails(2, same);
    home.slm(["batch", "in", "-o", "-", "--resume"])
        .fails(2, "slm: --resume needs a file of results; give one to --output\n");
    // More requests may come, but those that were there stay.
    home.file("in", chat("a", "hello") + &chat("b", "hi"));
    home.slm(["batch", "in", "-o", "out", "--resume"]).succeeds();
    assert!(read(&home, "out").starts_with(&before) && results(&read(&home, "out")).len() == 2);
    home.file("in", chat("a", "something else") + &chat("b", "hi"));
    let other = "slm: cannot continue `out`: the first 2 requests of the input are not those that it was begun with; give another \
                 file, or start again with --overwrite\n";
    home.slm(["batch", "in", "-o", "out", "--resume"]).fails(1, other);
    home.slm(["batch", "in", "-o", "out", "--overwrite"]).succeeds();
    assert_eq!(results(&read(&home, "out")).len(), 2);
    content(&results(&read(&home, "out"))["a"]);
}

/// A server that is killed with batches in its folder goes on with them.
#[test]
fn batches_of_a_server_are_neither_lost_nor_repeated_by_kills() {
    let home = Home::new();
    let n = 60 * n_kills();
    let (created, keys) = (std::cell::OnceCell::new(), [("SLM_API_KEY", "one,two")]);
    let as_house = |server: &Server, key: &str, path: &str| {
        let answer = server.send_with(("authorization", &format!("Bearer {key}")), reqwest::Method::GET, path, None);
        (answer.status, answer.json())
    };
    let mut random = Random::new(5);
    for round in 0..=n_kills() {
        let server = Server::with(&home, &keys);
        let id = created.get_or_init(|| begin(&server, &requests(n), "one"));
        let path = format!("/v1/batches/{id}");
        assert_eq!(as_house(&server, "two", &path).0, 404);
        let (started, n_more) = (Instant::now(), random.below(40) as u64);
        let mut n_before = None;
        loop {
            let (_, batch) = as_house(&server, "one", &path);
            if batch["status"] == "completed" {
                assert!(round > 0, "it was never killed");
                return all_are_there(&server, &batch, n);
            }
            let counts = &batch["request_counts"];
            let done = counts["completed"].as_u64().unwrap() + counts["failed"].as_u64().unwrap();
            if round < n_kills() && done > *n_before.get_or_insert(done) + n_more {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{batch}");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Killed where it stands.
        drop(server);
    }
    panic!("the batch did not end");
}

/// A completed batch has every result once, for its own house alone.
fn all_are_there(server: &Server, batch: &Value, n: usize) {
    let content = |field: &str| {
        let path = format!("/v1/files/{}/content", batch[field].as_str().unwrap());
        let as_house = |key| server.send_with(("authorization", key), reqwest::Method::GET, &path, None);
        assert_eq!(as_house("Bearer two").status, 404);
        results(as_house("Bearer one").text())
    };
    let (done, failed) = (content("output_file_id"), content("error_file_id"));
    assert_eq!((done.len() + failed.len(), failed.len()), (n, (0..n).filter(|n| n % 17 == 5).count()));
    assert!(done.keys().all(|id| !failed.contains_key(id)));
}

/// Uploads requests and begins a batch of them; gives its id.
pub fn begin(server: &Server, lines: &str, key: &str) -> String {
    let form = format!(
        "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--x\r\ncontent-disposition: form-data; \
         name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{lines}\r\n--x--\r\n"
    );
    let request = crate::registry::servers::http().post(server.url("/v1/files")).bearer_auth(key);
    let request = request.header("content-type", "multipart/form-data; boundary=x").body(form);
    let file = crate::serve::answer(request).ok();
    let asked = json!({ "input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h" });
    let request = crate::registry::servers::http().post(server.url("/v1/batches")).bearer_auth(key);
    let batch = crate::serve::answer(request.header("content-type", "application/json").body(asked.to_string())).ok();
    batch["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_openai_client_runs_batches() {
    let Some(script) = crate::serve::scripts::Script::python("batches_client.py") else { return };
    let home = Home::new();
    crate::serve::scripts::stock(&home);
    let judgement = script.judge(&Server::of(&home));
    assert_eq!(judgement.complaint(), None);
}

/// vLLM's wheel has 340 MB, so that this runs where `SLM_VLLM` names a folder with its Python files (`unzip vllm-*.whl 'vllm/*.py'`).
#[test]
fn vllms_own_classes_read_the_results() {
    let Ok(package) = std::env::var("SLM_VLLM") else {
        return slm_testing::skipped!("SLM_VLLM is not set: vLLM's wheel has 340 MB");
    };
    let Some(script) = crate::serve::scripts::Script::python("vllm_run_batch.py") else { return };
    let home = Home::new();
    crate::serve::scripts::stock(&home);
    let messages = json!([{ "role": "user", "content": "I was charged twice" }]);
    let logprobs = json!({ "model": "sorter", "messages": messages, "logprobs": true, "top_logprobs": 2 });
    let lines = [
        chat("chat-closed", "I was charged twice"),
        request("chat-open", CHAT, json!({ "model": "fox", "messages": messages, "max_tokens": 4 })),
        request("chat-logprobs", CHAT, logprobs),
        request("embed-one", "/v1/embeddings", json!({ "model": "bert", "input": "one" })),
    ];
    home.file("in.jsonl", lines.concat());
    home.slm(["batch", "in.jsonl", "-o", "results.jsonl", "--local"]).succeeds();
    let judgement = script.env("SLM_VLLM", package).judge_in(home.path(), PATIENCE);
    assert_eq!((judgement.complaint(), judgement.lines.len()), (None, lines.len()));
}

/// A folder that cannot be written: everything else works, and the paths say why they do not.
#[test]
fn a_server_without_a_place_for_batches_says_so() {
    let home = Home::new();
    std::fs::create_dir_all(home.models()).unwrap();
    home.file(home.models().join(".slm-batches").strip_prefix(home.path()).unwrap().to_str().unwrap(), "in the way");
    let server = Server::of(&home);
    assert_eq!(server.get("/health").status, 200);
    let answer = server.get("/v1/batches");
    let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(answer.status == 403 && said.starts_with("this server keeps no files and batches: `"), "{said}");
}
