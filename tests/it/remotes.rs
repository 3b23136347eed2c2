//! A second `slm serve` as a remote, in every dialect: its answers and probabilities are those that it gives its own clients.

use std::time::SystemTime;

use serde_json::{Value, json};
use slm::contract::Form;
use slm_remote::{Client, Content, Question, Remote, RemoteError};

use crate::registry::servers::on_runtime;
use crate::serve::Server;
use crate::slm::Home;

const TEXT: &str = "I was charged twice for order 1182 and want my money back";

fn question(schema: Value) -> Question {
    Question { text: TEXT.to_owned(), form: Form::from_schema(schema).unwrap(), ..Question::default() }
}

fn client(server: &Server, dialect: &str) -> Client {
    let price = json!({"input": 1, "output": 2, "per": "1M", "date": "2026-11-30"});
    let remote = json!({"base_url": server.url("/v1"), "model": "triage", "dialect": dialect, "price": price});
    Client::connect(Remote::from_value(remote).unwrap(), |_| None, SystemTime::now).unwrap()
}

fn ask(client: &Client, question: &Question) -> Result<slm_remote::Answer, RemoteError> {
    on_runtime(client.ask(question))
}

#[test]
fn a_second_server_answers_in_every_dialect() {
    let home = Home::new();
    let server = Server::of(&home);
    let schema = json!({"type": "object", "properties": {
        "queue": {"description": "Which team?", "enum": ["billing", "shipping", "technical"]},
        "refund": {"description": "Is money wanted back?", "type": "boolean"},
    }, "required": ["queue", "refund"], "additionalProperties": false});
    for dialect in ["chat", "decisions", "systemone"] {
        let answer = ask(&client(&server, dialect), &question(schema.clone())).unwrap();
        let Content::Value { json, probabilities } = &answer.content else { panic!("{dialect}: {answer:?}") };
        let fields: Vec<&str> = probabilities.iter().map(|field| field.field.as_deref().unwrap()).collect();
        assert_eq!(fields, ["queue", "refund"], "{dialect}");
        for field in probabilities {
            let sum: f64 = field.of.iter().map(|(_, p)| p).sum();
            let best = field.of.iter().max_by(|one, other| one.1.total_cmp(&other.1)).unwrap();
            assert!((sum - 1.0).abs() < 1e-6, "{dialect}: {field:?}");
            assert_eq!(json[field.field.as_deref().unwrap()], best.0, "{dialect}");
        }
        assert!(answer.usage.unwrap().input > 10 && answer.cost.unwrap() > 0.0, "{dialect}: {answer:?}");
        assert!(answer.n_tries == 1 && !answer.latency.is_zero());
    }
}

#[test]
fn a_bare_choice_has_the_probabilities_of_the_server() {
    let home = Home::new();
    let server = Server::of(&home);
    let schema = json!({"enum": ["billing", "shipping", "technical"]});
    let answer = ask(&client(&server, "chat"), &question(schema)).unwrap();
    let Content::Value { json, probabilities } = answer.content else { panic!("a value") };
    let [only] = probabilities.as_slice() else { panic!("one field: {probabilities:?}") };
    assert_eq!((&json, only.field.as_deref(), only.of.len()), (&json!("billing"), None, 3));

    let free = Question { form: Form::Free, ..question(json!({"type": "boolean"})) };
    let refused = ask(&client(&server, "decisions"), &free).unwrap_err();
    assert!(matches!(refused, RemoteError::Unaskable { .. }), "{refused}");
}

#[test]
fn what_the_server_refuses_is_told_with_its_words() {
    let home = Home::new();
    let server = Server::of(&home);
    let remote = json!({"base_url": server.url("/v1"), "model": "nobody"});
    let nobody = Client::connect(Remote::from_value(remote).unwrap(), |_| None, SystemTime::now).unwrap();
    let error = ask(&nobody, &question(json!({"enum": ["a", "b"]}))).unwrap_err();
    assert!(matches!(&error, RemoteError::Refused { status: 404, .. }), "{error}");
    assert!(error.to_string().contains("nobody"), "{error}");
}
