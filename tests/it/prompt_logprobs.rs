//! How likely a prompt's own tokens are: as candidates are scored, the same bits in every state of the lane, and as clients of
//! `/v1/completions` get it with `echo`.

use serde_json::{Value, json};
use slm::engine::{
    AdapterSet, Ending, Engine, EngineError, Finish, Group, NextToken, PromptLogprobs, PromptLogprobsRequest,
    ScoreRequest, Spelling,
};
use slm::prompt::{Prompt, Run};
use slm::sampling::{AnswerShape, Parameters};

use crate::kinds::{Tiny, plain, words};
use crate::serve::Server;
use crate::slm::Home;
use crate::speaker;

fn ids(engine: &Engine, text: &str) -> Vec<i32> {
    engine.tokenize(plain(text)).unwrap().tokens.iter().map(|token| token.id).collect()
}

fn read(engine: &Engine, tokens: &[i32], next: Option<NextToken>) -> Result<PromptLogprobs, EngineError> {
    let prompt = Prompt::of(Run::Tokens(tokens.to_vec()));
    engine.prompt_logprobs(PromptLogprobsRequest { prompt, n_likely: 3, next, adapters: AdapterSet::NONE })
}

fn greedy(stop: &[&str]) -> Parameters {
    let stop = Some(stop.iter().map(|&stop| stop.to_owned()).collect());
    Parameters { temperature: Some(0.0), stop, ..Parameters::default() }
}

fn next(parameters: Parameters) -> NextToken {
    NextToken { sampling: parameters.resolve(AnswerShape::Open), bias: Vec::new() }
}

/// A token with the bits of its log-probability, and of what else might have come.
type Bits = (i32, Option<u64>, Vec<(i32, u64)>);

fn bits(read: &PromptLogprobs) -> Vec<Bits> {
    let token = |token: &slm::engine::PromptTokenLogprob| {
        let likely = token.likely.iter().map(|likely| (likely.id, likely.logprob.to_bits()));
        (token.id, token.logprob.map(f64::to_bits), likely.collect())
    };
    read.tokens.iter().map(token).collect()
}

#[test]
fn a_prompts_tokens_are_as_likely_as_when_they_are_candidates() {
    for tiny in Tiny::all() {
        let session = tiny.session();
        let engine = session.engine();
        // Longer than what one decode reads.
        let before = words(100, 1);
        for candidate in [" late", " an order that never came, twice over"] {
            let (n_before, whole) = (ids(engine, &before).len(), ids(engine, &format!("{before}{candidate}")));
            assert!(n_before > 64 && whole[..n_before] == ids(engine, &before));
            let read = read(engine, &whole, None).unwrap();
            assert_eq!((read.tokens.len(), read.tokens[0].logprob, &read.next), (whole.len(), None, &None));
            assert_eq!((read.counts.prompt, read.counts.reused), (whole.len(), 0));
            let group = Group {
                spellings: vec![Spelling::default()],
                candidates: vec![candidate.to_owned()],
                ending: Ending::Text,
            };
            let scored = engine.score(ScoreRequest::new(plain(&before), vec![group])).unwrap().groups[0].logprobs[0];
            let own: f64 = read.tokens[n_before..].iter().map(|token| token.logprob.unwrap()).sum();
            assert!((own - scored).abs() < 0.01 * candidate.len() as f64, "{:?}: {own} {scored}", tiny.kind);
            for token in &read.tokens[1..] {
                assert!(token.likely.is_sorted_by(|one, other| one.logprob >= other.logprob), "{token:?}");
                assert!(token.likely.len() == 3 && token.likely[0].logprob >= token.logprob.unwrap());
            }
        }
    }
}

#[test]
fn they_have_the_same_bits_in_every_state_of_the_lane() {
    for tiny in Tiny::all() {
        let (text, other) = (words(130, 1), words(130, 2));
        let session = tiny.session();
        let engine = session.engine();
        let tokens = ids(engine, &text);
        let cold = bits(&read(engine, &tokens, None).unwrap());
        let question = |text: &str| {
            let group = Group::new("", ["a", "b"]);
            engine.score(ScoreRequest::new(plain(text), vec![group])).unwrap().groups[0].logprobs.clone()
        };
        let scored = question(&text);
        assert_eq!(bits(&read(engine, &tokens, None).unwrap()), cold, "{:?}", tiny.kind);
        read(engine, &ids(engine, &other), None).unwrap();
        assert_eq!(bits(&read(engine, &tokens, Some(next(greedy(&[])))).unwrap()), cold, "{:?}", tiny.kind);
        // What is asked for beside it is not evaluated in another way, and neither are questions.
        assert_eq!(question(&text), scored);
        let more = tiny.session();
        assert_eq!(bits(&read(more.engine(), &tokens, None).unwrap()), cold);
    }
}

#[test]
fn one_token_comes_after_a_prompt() {
    let tiny = Tiny::all().remove(0);
    let session = tiny.session();
    let engine = session.engine();
    let tokens = ids(engine, &words(20, 1));
    let chosen = |next: NextToken| read(engine, &tokens, Some(next)).unwrap().next.unwrap();
    let likeliest = chosen(next(greedy(&[])));
    let (text, id) = (String::from_utf8_lossy(&likeliest.token.likely[0].bytes).into_owned(), likeliest.token.id);
    assert_eq!((likeliest.finish, id), (Finish::Length, likeliest.token.likely[0].id));
    // A stop string cuts the text of the token, which is told all the same.
    let stopped = chosen(next(greedy(&[&text])));
    assert_eq!((stopped.finish, stopped.token.id, stopped.token.bytes.len()), (Finish::Stop, id, 0));
    assert_eq!(stopped.stopped_by, Some(text));
    let banned = NextToken { bias: vec![(id, -100.0)], ..next(greedy(&[])) };
    assert_eq!(chosen(banned).token.id, likeliest.token.likely[1].id);
    let refused = |tokens: &[i32], bias| {
        let next = NextToken { bias, ..next(greedy(&[])) };
        read(engine, tokens, Some(next)).unwrap_err().to_string()
    };
    assert!(refused(&tokens, vec![(-1, 1.0)]).starts_with("there is no token -1"));
    assert_eq!(refused(&[], Vec::new()), "there is no token in front of the answer; give a longer prompt");
    let n_ctx = engine.info().n_ctx as usize;
    read(engine, &vec![tokens[0]; n_ctx], None).unwrap();
    let long = refused(&vec![tokens[0]; n_ctx + 1], Vec::new());
    assert_eq!(long, format!("the prompt is too long: {} tokens are needed, the context has {n_ctx}", n_ctx + 1));
}

/// A home with the model `fox`, which says `The quick fox` after `<|answer|>`.
fn foxes() -> Home {
    let home = Home::new();
    speaker::write(home.path(), "fox", &["The", " quick", " fox"], speaker::Then::End, 512);
    home.file("Modelfile", "FROM ./fox.gguf\n");
    home.slm(["create", "fox"]).succeeds();
    home
}

fn choice(reply: &Value, number: usize) -> (&Value, &Value) {
    let choice = &reply["choices"][number];
    (choice, &choice["logprobs"])
}

#[test]
fn an_echo_has_the_log_probabilities_of_its_prompt() {
    let home = foxes();
    let server = Server::of(&home);
    let ask = |more: Value| {
        let mut body = json!({"model": "fox", "temperature": 0, "echo": true, "logprobs": 1, "max_tokens": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/completions", body)
    };
    let reply = ask(json!({"prompt": "é<|answer|>"})).ok();
    let (told, logprobs) = choice(&reply, 0);
    assert_eq!((&told["text"], &told["finish_reason"]), (&json!("é<|answer|>The"), &json!("length")));
    // Before the text, its beginning and SentencePiece's space; `é` is two tokens, each a byte.
    let expected = json!(["<s>", " ", "bytes:\\xc3", "bytes:\\xa9", "<|answer|>", "The"]);
    assert_eq!((&logprobs["tokens"], &logprobs["text_offset"]), (&expected, &json!([0, 0, 0, 0, 1, 11])));
    assert_eq!((&logprobs["token_logprobs"][0], &logprobs["top_logprobs"][0]), (&Value::Null, &Value::Null));
    assert_eq!(reply["usage"]["prompt_tokens"], 5);
    assert_eq!(reply["system_fingerprint"], told["slm"]["evaluation_id"]);
    assert!(reply["system_fingerprint"].is_string(), "{reply}");

    // The same prompt in tokens, in company, and without a token after it.
    let ids = server.post("/tokenize", json!({"prompt": "é<|answer|>", "model": "fox"})).ok()["tokens"].clone();
    let several = ask(json!({"prompt": [ids, [1, 5, 263, 264]], "max_tokens": 0})).ok();
    let (told, whole) = choice(&several, 0);
    assert_eq!(told["text"], "<s> é<|answer|>");
    assert_eq!(whole["token_logprobs"].as_array().unwrap()[..], logprobs["token_logprobs"].as_array().unwrap()[..5]);
    // What the model would have written is likely.
    let (told, logprobs) = choice(&several, 1);
    assert_eq!((&told["text"], &logprobs["text_offset"]), (&json!("<s><|answer|>The quick"), &json!([0, 3, 13, 16])));
    let likely = |at: usize| logprobs["token_logprobs"][at].as_f64().unwrap();
    assert!(likely(2) > -0.01 && likely(3) > -0.01, "{logprobs}");
    assert_eq!(logprobs["top_logprobs"][3], json!({" quick": likely(3)}));

    // More tokens, several answers and streams: the prompt's tokens come first.
    let longer = ask(json!({"prompt": "<|answer|>", "max_tokens": 9, "n": 2})).ok();
    for number in 0..2 {
        let (told, logprobs) = choice(&longer, number);
        assert_eq!((&told["text"], &told["finish_reason"]), (&json!("<|answer|>The quick fox"), &json!("stop")));
        assert_eq!(logprobs["tokens"], json!(["<s>", "<|answer|>", "The", " quick", " fox"]));
        assert_eq!(logprobs["text_offset"], json!([0, 0, 10, 13, 19]));
        assert_eq!(logprobs["top_logprobs"].as_array().unwrap().len(), 5);
    }
    let streamed = ask(json!({"prompt": "<|answer|>", "max_tokens": 2, "stream": true}));
    let parts = streamed.text().lines().filter_map(|line| line.strip_prefix("data: {"));
    let parts: Vec<Value> = parts.map(|part| serde_json::from_str(&format!("{{{part}")).unwrap()).collect();
    assert_eq!(parts[0]["choices"][0]["logprobs"]["tokens"], json!(["<s>", "<|answer|>"]));
    let offsets = parts.iter().flat_map(|part| part["choices"][0]["logprobs"]["text_offset"].as_array().cloned());
    assert_eq!(offsets.flatten().collect::<Vec<_>>(), [0, 0, 10, 13]);

    // An answer that ends at once still has its token: clients drop the last one.
    let ended = ask(json!({"prompt": [5, 263, 264, 265]})).ok();
    let (told, logprobs) = choice(&ended, 0);
    assert_eq!((&told["text"], &told["finish_reason"]), (&json!("<|answer|>The quick fox"), &json!("stop")));
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 5);

    let refused = ask(json!({"prompt": [[1, 999]]}));
    let error = "there is no token 999: the tokens of this vocabulary are numbered from 0 to 265";
    assert_eq!((refused.status, refused.json()["error"]["message"].as_str()), (400, Some(error)));
}

#[test]
fn a_tokenizer_is_asked_for_tokens_and_texts() {
    let home = foxes();
    let server = Server::of(&home);
    let tokens = |more: Value| {
        let mut body = json!({"model": "fox", "prompt": "a<|end|>"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/tokenize", body)
    };
    let whole = tokens(json!({"return_token_strs": true})).ok();
    assert_eq!(whole["token_strs"], json!(["<s>", " ", "a", "<|end|>"]));
    assert_eq!((&whole["count"], &whole["max_model_len"]), (&json!(4), &json!(512)));
    let bare = tokens(json!({"add_special_tokens": false})).ok();
    assert_eq!(bare["tokens"].as_array().unwrap()[..], whole["tokens"].as_array().unwrap()[1..]);
    assert_eq!(bare["token_strs"], Value::Null);
    let text = server.post("/detokenize", json!({"model": "fox", "tokens": whole["tokens"]})).ok();
    assert_eq!(text, json!({"prompt": "<s> a<|end|>"}));
    // By now one model is loaded: it is the one that is meant.
    assert_eq!(server.post("/detokenize", json!({"tokens": [5]})).ok(), json!({"prompt": "<|answer|>"}));
    let info = server.get("/tokenizer_info").ok();
    assert_eq!((&info["bos_token"], &info["model_max_length"]), (&json!("<s>"), &json!(512)));
    assert!(info["eos_token"].is_string() && info["chat_template"].as_str().unwrap().contains("<|answer|>"));
    let refused = server.post("/tokenize", json!({"model": "fox", "prompt": "a", "messages": [{}]}));
    assert_eq!(refused.status, 400, "{}", refused.text());
    let unknown = server.post("/detokenize", json!({"model": "nobody", "tokens": [1]}));
    assert_eq!(unknown.status, 404, "{}", unknown.text());
}
