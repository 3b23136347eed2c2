//! Prompts that clients made: gaps in texts, and conversations that continue after tokens.

use serde_json::{Value, json};

use super::Server;
use crate::slm::Home;
use crate::speaker;

/// A home with the model `fox` of this Modelfile, which says `The quick fox` whatever it is asked, in gaps as well.
fn foxes(modelfile: &str) -> Home {
    let home = Home::new();
    speaker::write_for_gaps(home.path(), "fox", &["The", " quick", " fox"], 512);
    home.file("Modelfile", format!("FROM ./fox.gguf\n{modelfile}"));
    home.slm(["create", "fox"]).succeeds();
    home
}

#[test]
fn gaps_are_filled_in_both_dialects() {
    let home = foxes("");
    let server = Server::of(&home);
    let cold = json!({"temperature": 0});
    let asked = json!({"model": "fox", "prompt": "a", "suffix": "b<|end|>", "stream": false, "options": cold});
    let reply = server.post("/api/generate", asked.clone()).ok();
    assert_eq!((&reply["response"], &reply["done_reason"]), (&"The quick fox".into(), &"stop".into()));
    // The beginning, three tokens around the gap, and a token for each byte: a text's special tokens are text there.
    let n_bytes = [" a", " b<|end|>"].map(str::len).iter().sum::<usize>();
    assert_eq!((&reply["prompt_eval_count"], reply.get("context")), (&json!(1 + 3 + n_bytes), None));
    let mut before_all = asked.clone();
    before_all["prompt"] = "".into();
    assert_eq!(server.post("/api/generate", before_all).ok()["response"], "The quick fox");
    for name in ["system", "template"] {
        let mut more = asked.clone();
        more[name] = "x".into();
        let refused = server.post("/api/generate", more);
        let error =
            format!("`{name}` is not supported: a gap is not filled within a conversation; remove it or `suffix`");
        assert_eq!((refused.status, refused.json()), (400, json!({ "error": error })));
    }

    let completed = json!({"model": "fox", "prompt": ["a", "c"], "suffix": "b", "temperature": 0, "echo": true});
    let reply = server.post("/v1/completions", completed).ok();
    let texts: Vec<&Value> = reply["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["aThe quick fox", "cThe quick fox"]);
    let tokens = json!({"model": "fox", "prompt": [1, 7], "suffix": "b"});
    let refused = server.post("/v1/completions", tokens);
    let error = json!({
        "message": "`suffix` needs a prompt that is text, not tokens",
        "type": "invalid_request_error", "param": "suffix", "code": "unsupported_parameter"
    });
    assert_eq!((refused.status, refused.json()), (400, json!({ "error": error })));
}

#[test]
fn a_conversation_goes_on_behind_its_tokens() {
    let home = foxes("SYSTEM Be brief.\nMESSAGE user one\nMESSAGE assistant two\n");
    let server = Server::of(&home);
    let generate = |prompt: &str, context: &Value, more: Value| {
        let mut asked = json!({"model": "fox", "prompt": prompt, "context": context, "stream": false});
        asked["options"] = json!({"temperature": 0});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/api/generate", asked).ok()
    };
    let count = |reply: &Value, name: &str| reply[name].as_u64().unwrap() as usize;
    let tokens = |reply: &Value| reply["context"].as_array().unwrap().clone();

    let first = generate("hello", &Value::Null, json!({}));
    let said = tokens(&first);
    // The prompt, the answer, and the token that ends its turn.
    assert_eq!(said.len(), count(&first, "prompt_eval_count") + 3 + 1);
    assert_eq!(said[said.len() - 4..], [json!(263), json!(264), json!(265), json!(4)]);

    // A turn of the user's, neither what the Modelfile says nor another beginning of the text.
    let second = generate("you", &first["context"], json!({}));
    assert_eq!(second["response"], "The quick fox");
    // `<|start|> user`, a line break, `you<|end|><|answer|>`: a token for each byte, and the three.
    assert_eq!(count(&second, "prompt_eval_count"), said.len() + " user\nyou".len() + 3);
    assert_eq!(tokens(&second)[..said.len()], said);
    // What was evaluated for the first answer is not evaluated again: they are the same tokens.
    assert!(count(&second["slm"], "reused_tokens") >= said.len() - 2, "{second}");

    // Where all messages come with every request, nobody needs tokens.
    let messages = json!([{"role": "user", "content": "hello"}]);
    let chat = server.post("/api/chat", json!({"model": "fox", "messages": messages, "stream": false})).ok();
    assert_eq!(chat.get("context"), None);

    // What a request says for itself holds in a conversation that has begun, and a closed answer is a turn as well.
    let with_system = generate("you", &first["context"], json!({"system": "Now sing."}));
    assert!(count(&with_system, "prompt_eval_count") > count(&second, "prompt_eval_count") + 10);
    let closed = generate("you", &first["context"], json!({"format": {"enum": ["ab", "cd"]}}));
    assert!(tokens(&closed).len() > count(&closed, "prompt_eval_count") + "\"ab\"".len());
    let raw = generate("you<|answer|>", &Value::Null, json!({"raw": true}));
    assert_eq!((&raw["response"], raw.get("context")), (&"The quick fox".into(), None));

    let refused = server.post("/api/generate", json!({"model": "fox", "prompt": "x", "context": [1, 266]}));
    let error = "there is no token 266: the tokens of this vocabulary are numbered from 0 to 265";
    assert_eq!((refused.status, refused.json()), (400, json!({ "error": error })));
}

#[test]
fn a_models_own_form_holds_behind_a_raw_prompt() {
    let home = Home::new();
    let server = Server::of(&home);
    let complete = |more: Value| {
        let mut asked = json!({"model": "triage"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/completions", asked)
    };
    let reply = complete(json!({"prompt": "I was charged twice"})).ok();
    let choice = &reply["choices"][0];
    let answer: Value = serde_json::from_str(choice["text"].as_str().unwrap()).unwrap();
    let fields = choice["slm"]["fields"].as_array().unwrap();
    assert_eq!((&answer["queue"], choice["finish_reason"].as_str()), (&fields[0]["value"], Some("stop")));

    let refused = |more: Value, message: &str, field: Option<&str>, code: &str| {
        let refused = complete(more);
        let error = json!({ "message": message, "type": "invalid_request_error", "param": field, "code": code });
        assert_eq!((refused.status, refused.json()), (400, json!({ "error": error })));
    };
    let bias = "answers of a closed format are scored, which a logit bias cannot change; remove `logit_bias`";
    let biased = json!({"prompt": "I was charged twice", "logit_bias": {"7": 1}});
    refused(biased, bias, Some("logit_bias"), "unsupported_parameter");
    // This vocabulary has no token that every text begins with.
    let empty = "there is no token in front of the answer; give a longer prompt";
    refused(json!({}), empty, None, "invalid_value");
}
