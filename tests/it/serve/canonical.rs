//! The promise of canonical evaluation over HTTP: a question has the same probabilities to the last bit while others chat.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::Server;
use crate::slm::Home;

const QUESTIONS: usize = 50;
const CHATS: usize = 8;

fn ticket(number: usize) -> String {
    const WORDS: [&str; 9] = ["refund", "parcel", "login", "order", "late", "invoice", "app", "broken", "twice"];
    (0..6 + number % 23).map(|i| WORDS[(i * 7 + i * i + number) % WORDS.len()]).collect::<Vec<_>>().join(" ")
}

/// The probabilities of a question, as the bits that were sent.
fn ask(served: &Server, number: usize) -> String {
    let question = json!({
        "queue": {"type": "choice", "instructions": "Which team?", "criteria": {"billing": "money", "shipping": null}},
        "refund": {"type": "noul", "instructions": "Is money wanted back?"},
    });
    let body = json!({"model": "triage", "state": ticket(number), "questions": question});
    served.post("/v1/systemone", body).ok()["answers"].to_string()
}

#[test]
fn answers_are_the_same_to_the_last_bit_while_others_chat() {
    let home = Home::new();
    let served = Server::of(&home);
    let alone: Vec<String> = (0..QUESTIONS).map(|number| ask(&served, number)).collect();
    let (is_over, n_chats) = (AtomicBool::new(false), AtomicUsize::new(0));
    let busy: Vec<String> = std::thread::scope(|scope| {
        for chat in 0..CHATS {
            let (served, is_over, n_chats) = (&served, &is_over, &n_chats);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let text = json!({"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]});
                    let body: Value = json!({
                        "model": "triage", "stream": false, "format": text, "options": {"num_predict": 60, "seed": chat},
                        "messages": [{"role": "user", "content": ticket(chat)}],
                    });
                    served.post("/api/chat", body).ok();
                    n_chats.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let busy = (0..QUESTIONS).rev().map(|number| ask(&served, number)).collect();
        is_over.store(true, Ordering::Relaxed);
        busy
    });
    let differing = alone.iter().zip(busy.iter().rev()).filter(|(alone, busy)| alone != busy).count();
    println!("{QUESTIONS} questions while {CHATS} chats generate ({} ended): {differing} differ", n_chats.into_inner());
    assert_eq!(differing, 0);
}
