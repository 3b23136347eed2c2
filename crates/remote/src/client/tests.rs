//! A client before remotes that fail: what it makes of each failure, how often it asks, how long it waits, what it shows.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::*;
use crate::testing::{FaultyRemote, Reply, ok, status};

const KEY: &str = "sk-very-secret";

thread_local! {
    /// What was slept, in the order in which it was.
    static SLEPT: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
}

fn said(content: &str) -> String {
    json!({
        "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 10},
    })
    .to_string()
}

fn free() -> Question {
    Question { text: "hi".to_owned(), ..Question::default() }
}

fn closed() -> Question {
    let form = slm_values::contract::Form::from_schema(json!({"enum": ["a", "b"]})).unwrap();
    Question { form, ..free() }
}

/// A client that does not wait, and remembers how long it would have.
fn client(address: &str, more: Value) -> Client {
    let mut fields = json!({"base_url": format!("http://{address}/v1"), "model": "m", "api_key_env": "KEY"});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let clock = Clock {
        now: || Instant::now() + SLEPT.with_borrow(|slept| slept.iter().sum::<Duration>()),
        sleep: |wait| {
            SLEPT.with_borrow_mut(|slept| slept.push(wait));
            Box::pin(std::future::ready(()))
        },
    };
    let remote = Remote::from_value(fields).unwrap();
    Client::with(remote, |_| Some(KEY.to_owned()), || SystemTime::UNIX_EPOCH, clock).unwrap()
}

fn slept() -> Vec<Duration> {
    SLEPT.take()
}

/// What comes of these replies, and how many requests there were. Nothing that is shown has the key.
async fn outcome(replies: Vec<Reply>, more: Value) -> (Result<Answer, RemoteError>, usize) {
    let server = FaultyRemote::start(replies).await;
    let client = client(&server.address, more);
    let outcome = client.ask(&free()).await;
    let shown =
        format!("{client:?} {outcome:?} {}", outcome.as_ref().err().map_or_else(String::new, ToString::to_string));
    assert!(!shown.contains(KEY), "{shown}");
    (outcome, server.seen().len())
}

#[tokio::test]
async fn a_question_is_asked_with_its_key_and_priced() {
    let server = FaultyRemote::start(vec![ok(said("hello"))]).await;
    let price =
        json!({"price": {"input": 2, "output": 10, "per": "1M", "date": "2026-11-30"}, "body": {"max_tokens": 5}});
    let answer = client(&server.address, price).ask(&free()).await.unwrap();
    assert_eq!((answer.content, answer.n_tries), (Content::Text("hello".to_owned()), 1));
    assert_eq!(answer.usage, Some(Usage { input: 1000, output: 10 }));
    assert!((answer.cost.unwrap() - 0.0021).abs() < 1e-12 && !answer.latency.is_zero());
    let request = server.seen().remove(0);
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer sk-very-secret\r\n"), "{request}");
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let messages = json!([{"role": "user", "content": "hi"}]);
    assert_eq!(body, json!({"messages": messages, "temperature": 0, "model": "m", "max_tokens": 5}));
    assert!(slept().is_empty());
}

#[tokio::test]
async fn what_may_pass_is_asked_again() {
    let busy = || status(429, "retry-after: 3\r\n", "{\"error\": {\"message\": \"slow down\"}}");
    let replies =
        vec![busy(), status(500, "", ""), Reply::Cut(said("a")), Reply::Closed, status(529, "", ""), ok(said("b"))];
    let (outcome, n_requests) = outcome(replies, json!({"retries": 5})).await;
    let answer = outcome.unwrap();
    assert_eq!((answer.content, answer.n_tries, n_requests), (Content::Text("b".to_owned()), 6, 6));
    let slept = slept();
    // As long as the remote asked for, then twice as long each time, spread from half to the whole.
    let bounds = [(2.8, 3.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0)];
    assert_eq!(slept.len(), bounds.len(), "{slept:?}");
    for (slept, (least, most)) in slept.iter().zip(bounds) {
        assert!((least..=most).contains(&slept.as_secs_f64()), "{slept:?} {least} {most}");
    }
}

#[tokio::test]
async fn patience_ends_and_says_how_often_it_tried() {
    let busy = status(429, "retry-after: 7\r\n", "slow down");
    let (limited, n_requests) = outcome(vec![busy], json!({"retries": 2})).await;
    let said_at_last = "wants fewer requests: status 429 3 times, at last with a wait of 7 seconds: slow down; lower \
                        `requests_per_minute` or `concurrency`";
    let limited = limited.unwrap_err().to_string();
    assert!(limited.ends_with(said_at_last), "{limited}");
    assert_eq!(n_requests, 3);
    // A wait that nobody has time for.
    let (long, n_requests) = outcome(vec![status(429, "retry-after: 3600\r\n", "")], json!({})).await;
    assert!(matches!(long, Err(RemoteError::RateLimited { n_tries: 1, .. })), "{long:?}");
    assert_eq!(n_requests, 1);
    let (failed, n_requests) = outcome(vec![status(503, "", "down")], json!({"retries": 1})).await;
    assert!(failed.unwrap_err().to_string().ends_with("failed with status 503 2 times: down"));
    assert_eq!(n_requests, 2);
    let (cut, _) = outcome(vec![Reply::Cut(said("a"))], json!({"retries": 0})).await;
    assert!(matches!(cut, Err(RemoteError::Cut { n_tries: 1, .. })), "{cut:?}");
    let (silent, _) = outcome(vec![Reply::Silence], json!({"retries": 1, "timeout": 0.2})).await;
    let silent = silent.unwrap_err().to_string();
    assert!(silent.ends_with("gave no answer within 0.2 seconds, tried 2 times; raise `timeout`"), "{silent}");
    slept();
}

#[tokio::test]
async fn what_does_not_pass_is_asked_once() {
    let cases = [
        (
            status(401, "", "{\"error\": {\"message\": \"wrong key sk-very-secret\"}}"),
            "refused the request with status 401: wrong key (key)",
        ),
        (status(400, "", "{\"error\": \"no such field\"}"), "refused the request with status 400: no such field"),
        (status(404, "", "<html></html>"), "/v1/chat/completions`; is a part of `base_url` missing, such as `/v1`?"),
        (
            status(429, "", "{\"error\": {\"code\": \"insufficient_quota\", \"message\": \"pay\"}}"),
            "refused the request with status 429: pay",
        ),
        (ok("<html>"), "answered what is not JSON, beginning with \"<html>\"; is `base_url` that of an API?"),
        (ok("{\"done\": true}"), "has no `choices[0].message`; is its dialect `chat`?"),
    ];
    for (reply, expected) in cases {
        let (error, n_requests) = outcome(vec![reply], json!({})).await;
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
        assert_eq!(n_requests, 1, "{error}");
    }
    assert!(slept().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_key() {
    let elsewhere = FaultyRemote::start(vec![ok(said("stolen"))]).await;
    let to = format!("location: http://{}/v1/chat/completions?token=x\r\n", elsewhere.address);
    let (error, _) = outcome(vec![status(307, to.leak(), "")], json!({})).await;
    let error = error.unwrap_err().to_string();
    let place = format!("leads to `http://{}/v1/chat/completions` with status 307", elsewhere.address);
    assert!(error.contains(&place) && !error.contains("token"), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn nobody_there_is_said() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client(&free.to_string(), json!({"retries": 1})).ask(&self::free()).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { n_tries: 2, .. }), "{error:?}");
    assert_eq!(slept().len(), 1);
}

#[tokio::test]
async fn no_more_are_asked_at_once_than_is_allowed() {
    let late = Reply::Late(Duration::from_millis(300), said("x"));
    let server = FaultyRemote::start(vec![late]).await;
    let client = client(&server.address, json!({"concurrency": 2}));
    let five = (0..5).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.ask(&free()).await.map(|answer| answer.content) })
    });
    let five: Vec<_> = five.collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(server.seen().len(), 2);
    for one in five {
        one.await.unwrap().unwrap();
    }
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_given_up() {
    let server = FaultyRemote::start(vec![Reply::Silence]).await;
    let client = client(&server.address, json!({"concurrency": 1}));
    let asked = tokio::time::timeout(Duration::from_millis(200), client.ask(&free())).await;
    assert!(asked.is_err());
    // Its place is free again.
    let _ = tokio::time::timeout(Duration::from_millis(200), client.ask(&free())).await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_remote_that_keeps_failing_is_left_alone_and_tried_again() {
    let server =
        FaultyRemote::start(vec![status(500, "", "oops"); 5].into_iter().chain([ok(said("back"))]).collect()).await;
    let client = client(&server.address, json!({"retries": 0})).guarded();
    for _ in 0..5 {
        assert!(matches!(client.ask(&free()).await, Err(RemoteError::Failed { .. })));
    }
    let host = &server.address;
    let open = client.ask(&free()).await.unwrap_err();
    let said = format!(
        "`{host}` is not asked, for it failed 5 times in a row, and is tried again in 30 seconds: `{host}` failed with \
         status 500 once: oops"
    );
    assert_eq!((open.to_string(), server.seen().len()), (said, 5));
    SLEPT.with_borrow_mut(|slept| slept.push(Duration::from_secs(30)));
    assert_eq!(client.ask(&free()).await.unwrap().content, Content::Text("back".to_owned()));
    assert!(client.ask(&free()).await.is_ok());
}

#[tokio::test]
async fn a_question_has_no_more_time_than_it_is_given() {
    let server = FaultyRemote::start(vec![Reply::Silence]).await;
    let limit = Duration::from_millis(50);
    let error = client(&server.address, json!({})).guarded().ask_within(&free(), limit).await.unwrap_err();
    assert!(matches!(&error.error, RemoteError::TimedOut { timeout, .. } if *timeout == limit), "{error}");
}

#[tokio::test]
async fn an_answer_of_no_use_is_billed_and_a_batch_costs_its_part() {
    let server = FaultyRemote::start(vec![ok(said("neither")), status(400, "", "no")]).await;
    let price = json!({"price": {"input": 2, "output": 10, "per": "1M", "date": "2026-11-30"}});
    let client = client(&server.address, price);
    let broken = client.ask_within(&closed(), Duration::MAX).await.unwrap_err();
    assert!(matches!(broken.error, RemoteError::Broken(_)) && broken.usage == Some(Usage { input: 1000, output: 10 }));
    assert!((broken.cost.unwrap() - 0.0021).abs() < 1e-12);
    let refused = client.ask_within(&closed(), Duration::MAX).await.unwrap_err();
    assert_eq!((refused.usage, refused.cost), (None, None));
    let (path, body) = client.batch_request(&closed()).unwrap();
    assert_eq!((path.as_str(), &body["model"]), ("/v1/chat/completions", &json!("m")));
    let told: Value = serde_json::from_str(&said(r#"{"answer": "b"}"#)).unwrap();
    let answer = client.batch_answer(&closed(), &told).unwrap();
    assert_eq!(answer.content, Content::Value { json: json!("b"), probabilities: Vec::new() });
    assert!((answer.cost.unwrap() - 0.00105).abs() < 1e-12);
}
