//! Remotes as subjects of an evaluation: a second `slm serve` that answers as the model itself, and a remote that fails.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::slm::Home;

const PRICE: &str = "price: {input: 1, output: 2, per: 1M, date: 2026-11-30}\n";
const ROWS: &str = r#"{"text": "I was charged twice", "queue": "billing"}
{"text": "broken parcel", "queue": "shipping"}
{"text": "my parcel never came", "queue": "shipping"}
{"text": "everything is broken", "queue": "billing"}
"#;

/// A chat server of its own on a port: it answers `billing` to everything, status 500 to what has `broken` in it, and counts
/// what it was asked.
struct Chat {
    address: String,
    n_asked: Arc<AtomicUsize>,
}

impl Chat {
    fn new() -> Chat {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let n_asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&n_asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                // A client that goes away is no matter here.
                let _ = Chat::answer(stream);
            }
        });
        Chat { address, n_asked }
    }

    fn answer(mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut n_bytes = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                n_bytes = length.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; n_bytes];
        reader.read_exact(&mut body)?;
        let question: Value = serde_json::from_slice(&body).expect("JSON");
        let text =
            question["messages"].as_array().and_then(|all| all.last()).expect("a message")["content"].to_string();
        let (status, answer) = if text.contains("broken") {
            ("500 Internal Server Error", json!({"error": {"message": "out of order"}}))
        } else {
            let message = json!({"content": r#"{"queue": "billing"}"#});
            let usage = json!({"prompt_tokens": 10, "completion_tokens": 5});
            ("200 OK", json!({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}))
        };
        let answer = answer.to_string();
        let n = answer.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {n}\r\nconnection: close\r\n\r\n{answer}"
        )
    }
}

fn suite(subjects: &str) -> String {
    format!(
        "models: [{subjects}]\ndata: rows.jsonl\ninput: text\nexpect: queue\nbaselines: none\n\
         format: {{type: object, properties: {{queue: {{enum: [billing, shipping]}}}}, required: [queue], additionalProperties: false}}\n"
    )
}

#[test]
fn a_second_server_answers_as_the_model_itself() {
    let (home, far) = (Home::new(), Home::new());
    let server = Server::of(&far);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/Modelfiles/triage");
    std::fs::copy(format!("{folder}/tickets.jsonl"), home.path().join("rows.jsonl")).expect("committed");
    home.file("far.yaml", format!("base_url: {}\nmodel: triage\nconcurrency: 2\n{PRICE}", server.url("/v1")));
    home.file("suite.yaml", suite("triage, {remote: far.yaml}").replace("expect", "limit: 12\nexpect"));
    let report = home.slm(["eval", "suite.yaml", "--json", "--rows"]).json();
    for row in report["rows"].as_array().unwrap() {
        let [near, far] = row["answers"].as_array().unwrap().as_slice() else { panic!("two answers: {row}") };
        let of = |answer: &Value| answer["fields"][0]["answer"].clone();
        assert_eq!(of(near), of(far), "{row}");
        let listed = |answer: &Value| answer["fields"][0]["probability"].as_f64().unwrap();
        assert!((listed(near) - listed(far)).abs() < 1e-9, "{row}");
        assert!(far["latency_ms"].as_f64().unwrap() > 0.0, "{row}");
    }
    let subject = &report["subjects"][1];
    assert_eq!(
        (&subject["name"], &subject["kind"], &subject["model"]),
        (&json!("far"), &json!("remote"), &json!("triage"))
    );
    assert_eq!(subject["host"], server.address());
    let (tokens, cost) = (&subject["speed"], &subject["cost"]);
    let n = |name: &str| tokens[name].as_f64().unwrap();
    let expected = (n("prompt_tokens") + 2.0 * n("written_tokens")) / 1e6 / 12.0 * 1000.0;
    assert!(
        n("prompt_tokens") > 0.0 && (cost["per_thousand_rows"].as_f64().unwrap() - expected).abs() < 1e-9,
        "{cost}"
    );
    assert_eq!((&cost["counted_rows"], &cost["price_date"]), (&json!(12), &json!("2026-11-30")));
    // Its server may be gone: what it said is kept.
    drop(server);
    let kept = home.slm(["eval", "suite.yaml", "--json", "--rows"]).json();
    assert_eq!((&kept["subjects"][1]["speed"]["cached_rows"], &kept["rows"]), (&json!(12), &report["rows"]));
    let said = home.slm(["eval", "suite.yaml"]).succeeds();
    assert!(said.contains("rows/s  cost/1k\n"), "{said}");
    assert!(said.contains("far: cost of 1,000 rows at the prices of 2026-11-30\n"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(home.slm(["eval", "suite.yaml", "--markdown"]).succeeds().contains("| cost of 1,000 rows |\n|---|"));
}

#[test]
fn rows_that_a_remote_fails_stay_and_figures_without_probabilities_are_left_out() {
    let (home, chat) = (Home::new(), Chat::new());
    home.file("rows.jsonl", ROWS);
    let inline = format!("{{remote: {{base_url: 'http://{}/v1', model: m, retries: 1}}}}", chat.address);
    home.file("suite.yaml", suite(&inline));
    let report = home.slm(["eval", "suite.yaml", "--json"]).json();
    let subject = &report["subjects"][0];
    assert_eq!((&subject["name"], &subject["cost"]), (&json!("m"), &json!(null)));
    assert_eq!((&subject["accuracy"]["hits"], &subject["accuracy"]["rows"]), (&json!(1), &json!(4)));
    assert_eq!(subject["failed_by"], json!([{"why": "no_answer", "rows": 2}]));
    let reason = format!("`{}` failed with status 500 2 times: out of order", chat.address);
    let failures: Vec<(&Value, &Value)> =
        subject["failures"].as_array().unwrap().iter().map(|one| (&one["at"], &one["reason"])).collect();
    let (second, fourth, reason) = (json!("line 2"), json!("line 4"), json!(reason));
    assert_eq!(failures, [(&second, &reason), (&fourth, &reason)]);
    let field = &subject["fields"][0];
    assert_eq!((&field["probabilities"], &field["labels"]["top_k"]), (&json!(null), &json!([])));
    assert_eq!(field["labels"]["confusion"]["failed"], json!([1, 1]));
    assert_eq!(chat.n_asked.load(Ordering::SeqCst), 6, "two rows once, two rows twice");

    // Only what failed is asked again.
    let said = home.slm(["eval", "suite.yaml"]).succeeds();
    assert_eq!(chat.n_asked.load(Ordering::SeqCst), 10);
    assert!(said.contains("failed rows of m: 2 no answer\n  line 2  "), "{said}");
    assert!(!said.contains("mean label mass") && !said.contains("cost"), "{said}");
    home.slm(["eval", "suite.yaml", "--csv"]).succeeds();
    home.slm(["eval", "suite.yaml", "--output", "report.html"]).succeeds();
}

#[test]
fn a_remote_that_cannot_be_asked_is_a_sentence() {
    let home = Home::new();
    home.file("rows.jsonl", ROWS);
    // Nobody listens on a port that was just given back.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let remote = format!("base_url: http://{free}/v1\nmodel: m\nretries: 0\n");
    home.file("suite.yaml", suite("{remote: far.yaml}"));
    home.file("far.yaml", format!("{remote}api_key_env: NOT_SET\n"));
    let unset =
        "the environment variable `NOT_SET` is not set: it holds the remote's key; set it, or change `api_key_env`";
    home.slm(["eval", "suite.yaml"]).fails(1, &format!("slm: the remote `far`: {unset}\n"));
    home.file("far.yaml", format!("{remote}api_key: sk-secret\n"));
    let said = home.slm(["eval", "suite.yaml"]).ends(1).stderr;
    assert!(said.starts_with("slm: the remote `far`: ") && said.contains("unknown field `api_key`"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    home.file("far.yaml", &remote);
    let said = home.slm(["eval", "suite.yaml"]).ends(1).stderr;
    let beginning = format!("slm: the remote `far`: `{free}` cannot be reached, tried once: ");
    assert!(said.starts_with(&beginning) && !said.contains("kept"), "{said}");
    home.slm(["eval", "suite.yaml", "--rescore"])
        .fails(1, "slm: no answers of `far` are kept; run once without --rescore\n");
    home.slm(["eval", "suite.yaml", "--model", "far"]).ends(1);
}
