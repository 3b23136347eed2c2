//! Labelled texts in a Modelfile: the nearest come before each text, from the file to the prompt.

use serde_json::{Value, json};

use crate::serve::Server;
use crate::slm::Home;

const ROWS: &str = r#"{"text": "the parcel never came", "label": "shipping"}
{"text": "charged twice for one order", "label": "billing"}
{"text": "the parcel is damaged", "label": "shipping"}
{"text": "refund the second charge", "label": "billing"}
"#;

const TEMPLATE: &str =
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}{% if contract %}{% endif %}";

/// A home with a model whose template shows each message, and its rows.
fn home(examples: &str) -> Home {
    let home = Home::new();
    home.file("rows.jsonl", ROWS);
    let format = r#"{"enum": ["shipping", "billing"]}"#;
    home.file("Modelfile", format!("FROM triage\nTEMPLATE {TEMPLATE}\nSYSTEM Sort it.\nFORMAT {format}\n{examples}\n"));
    home.slm(["create", "sorter"]).succeeds();
    home
}

fn dry(home: &Home, text: &str) -> Value {
    home.slm(["run", "sorter", "--dry-run", "--json", text]).json()
}

fn prompt(home: &Home, text: &str) -> String {
    dry(home, text)["prompt"].as_str().unwrap().to_owned()
}

#[test]
fn the_nearest_rows_come_before_a_text_and_the_nearest_is_the_last() {
    let home = home("EXAMPLES rows.jsonl k=2");
    assert_eq!(
        prompt(&home, "where is the parcel, it never came"),
        "[system] Sort it. [user] the parcel is damaged [assistant] shipping \
         [user] the parcel never came [assistant] shipping [user] where is the parcel, it never came "
    );
    // A text is not its own example.
    assert_eq!(
        prompt(&home, "charged twice for one order"),
        "[system] Sort it. [user] the parcel never came [assistant] shipping \
         [user] refund the second charge [assistant] billing [user] charged twice for one order "
    );
    let answer = home.slm(["run", "sorter", "was I charged twice"]).succeeds();
    assert!(["shipping\n", "billing\n"].contains(&answer.as_str()), "{answer}");
}

#[test]
fn examples_are_of_the_row_and_not_of_the_prefix_that_rows_share() {
    let home = home("");
    let format = r#"{"enum": ["shipping", "billing"]}"#;
    home.file(
        "Modelfile",
        format!(
            "FROM triage\nFORMAT {format}\nMESSAGE user late\nMESSAGE assistant shipping\nEXAMPLES rows.jsonl k=1\n"
        ),
    );
    home.slm(["create", "sorter", "--yes"]).succeeds();
    let dry = dry(&home, "where is the parcel, it never came");
    assert_eq!(
        dry["prompt"],
        "<|user|>late<|end|><|assistant|>shipping<|end|><|user|>the parcel never came<|end|><|assistant|>shipping<|end|>\
         <|user|>where is the parcel, it never came<|end|><|assistant|>"
    );
    let of_prefix = dry["segments"][0]["to"].as_u64().unwrap() as usize;
    let tokens = dry["tokens"].as_array().unwrap()[..of_prefix].iter().map(|token| token["text"].as_str().unwrap());
    assert_eq!(tokens.collect::<String>(), "<|user|>late<|end|><|assistant|>shipping<|end|><|user|>");
}

#[test]
fn rows_in_one_run_get_their_own_examples_and_the_answers_of_rows_alone() {
    let home = home("EXAMPLES rows.jsonl k=2");
    let texts = ["my parcel is late", "I was charged again", "the parcel never came", "refund me"];
    let together = home.slm(["run", "sorter", "--lines", "--json=full"]).stdin(texts.join("\n")).succeeds();
    for (line, text) in together.lines().zip(texts) {
        let (line, alone): (Value, _) =
            (serde_json::from_str(line).unwrap(), home.slm(["run", "sorter", "--json", text]).json());
        assert_eq!(line["probabilities"], alone["probabilities"], "{text}");
        assert_eq!(line["prompt_digest"], alone["prompt_digest"], "{text}");
        assert!(!line["probabilities"].is_null(), "{line}");
    }
}

#[test]
fn the_prompts_digest_is_of_all_rows_and_their_number() {
    let digest = |home: &Home| home.slm(["run", "sorter", "--json", "late"]).json()["prompt_digest"].clone();
    let (two, three, without) = (home("EXAMPLES rows.jsonl k=2"), home("EXAMPLES rows.jsonl k=3"), home(""));
    let of_two = digest(&two);
    assert!(of_two.is_string() && of_two == digest(&two));
    assert!(of_two != digest(&three) && of_two != digest(&without));
    let home = home("EXAMPLES rows.jsonl k=2");
    home.file("rows.jsonl", ROWS.replace("damaged", "broken"));
    home.slm(["create", "sorter", "--yes"]).succeeds();
    assert_ne!(digest(&home), of_two);
}

#[test]
fn examples_are_a_layer_that_is_shown_copied_and_made_again() {
    let home = home("EXAMPLES rows.jsonl");
    let show = home.slm(["show", "sorter", "--json"]).json();
    assert_eq!((&show["examples"]["n"], &show["examples"]["k"]), (&json!(4), &json!(4)));
    let page = home.slm(["show", "sorter"]).succeeds();
    assert!(page.contains("\nexamples         the nearest 4 of 4 labelled texts before each text\n"), "{page}");
    let written = home.slm(["show", "sorter", "--modelfile"]).succeeds();
    home.slm(["create", "again", "-f", "-"]).stdin(&written).succeeds();
    let again = home.slm(["show", "again", "--json"]).json();
    assert_eq!((&again["format"], &again["examples"]), (&show["format"], &show["examples"]));
    home.slm(["cp", "sorter", "copy"]).succeeds();
    assert_eq!(home.slm(["show", "copy", "--json"]).json()["examples"], show["examples"]);
    // A model over it has them too, and another format must allow them.
    home.file("Modelfile", "FROM sorter\nSYSTEM Quick.\n");
    home.slm(["create", "over"]).succeeds();
    assert_eq!(home.slm(["show", "over", "--json"]).json()["examples"], show["examples"]);
    home.file("Modelfile", "FROM sorter\nFORMAT {\"enum\": [\"yes\", \"no\"]}\n");
    let refused = home.slm(["create", "other"]).ends(1).stderr;
    assert!(refused.contains("of EXAMPLES: example 1: the label `shipping` breaks the FORMAT: "), "{refused}");
}

#[test]
fn a_request_of_another_format_gets_no_examples() {
    let home = home("EXAMPLES rows.jsonl k=2");
    let dry = home.slm(["run", "sorter", "--dry-run", "--json", "--choices", "yes,no", "is it late"]).json();
    assert_eq!(dry["prompt"], "[system] Sort it. [user] is it late ");
    let dry = home.slm(["run", "sorter", "--dry-run", "--json", "--format", "none", "is it late"]).json();
    assert!(dry["prompt"].as_str().unwrap().contains("[assistant] "), "{dry}");
}

#[test]
fn an_extraction_has_examples_too() {
    let home = Home::new();
    home.file("rows.jsonl", "{\"mail\": \"order 17 is late\", \"found\": {\"order\": \"17\"}}\n{\"mail\": \"hello\", \"found\": {\"order\": \"\"}}\n");
    let format = r#"{"type": "object", "properties": {"order": {"type": "string", "maxLength": 4}}, "required": ["order"], "additionalProperties": false}"#;
    home.file(
        "Modelfile",
        format!("FROM triage\nTEMPLATE {TEMPLATE}\nFORMAT {format}\nEXAMPLES rows.jsonl k=1 text=mail label=found\n"),
    );
    home.slm(["create", "sorter"]).succeeds();
    assert_eq!(
        prompt(&home, "order 9 never came"),
        "[user] order 17 is late [assistant] {\"order\":\"17\"} [user] order 9 never came "
    );
    let answer = home.slm(["run", "sorter", "order 9 never came"]).succeeds();
    assert!(serde_json::from_str::<Value>(&answer).unwrap()["order"].is_string(), "{answer}");
}

#[test]
fn wrong_examples_are_refused_with_their_place() {
    let home = Home::new();
    let fails = |examples: &str, rows: &str, said: &str| {
        home.file("rows.jsonl", rows);
        home.file("Modelfile", format!("FROM triage\nFORMAT {{\"enum\": [\"a\", \"b\"]}}\n{examples}\n"));
        let stderr = home.slm(["create", "x"]).ends(1).stderr;
        assert!(stderr.contains(said), "{stderr}");
    };
    let row = "{\"text\": \"x\", \"label\": \"a\"}\n";
    fails("EXAMPLES none.jsonl", row, "none.jsonl` of EXAMPLES: it does not exist");
    fails("EXAMPLES rows.jsonl k=0", row, "EXAMPLES has `k=0`, but takes a number from 1 to 32");
    fails("EXAMPLES k=3", row, "EXAMPLES names no file; give one of JSON lines, for example `EXAMPLES rows.jsonl k=4`");
    fails("EXAMPLES rows.jsonl\nEXAMPLES rows.jsonl", row, "EXAMPLES is given twice; keep one of them");
    fails("EXAMPLES rows.jsonl", "", "of EXAMPLES: there are no examples in it");
    fails(
        "EXAMPLES rows.jsonl label=intent",
        row,
        "line 1 has no `intent`; name the key of its label with `label=KEY`",
    );
    fails("EXAMPLES rows.jsonl", &row.replace("\"a\"", "\"c\""), "example 1: the label `c` breaks the FORMAT: ");
}

/// A home with the embedding model `mini` and a model that finds its examples by its vectors.
fn home_with_vectors() -> Home {
    let home = Home::new();
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/embeddings/bert.gguf");
    home.file("mini.gguf", std::fs::read(golden).expect("committed"));
    home.file("Modelfile", "FROM ./mini.gguf");
    home.slm(["create", "mini"]).succeeds();
    home.file("rows.jsonl", ROWS);
    let format = r#"{"enum": ["shipping", "billing"]}"#;
    home.file(
        "Modelfile",
        format!("FROM triage\nTEMPLATE {TEMPLATE}\nFORMAT {format}\nEXAMPLES rows.jsonl k=2 by=mini\n"),
    );
    home.slm(["create", "sorter"]).succeeds();
    home
}

#[test]
fn the_vectors_of_an_embedding_model_find_examples_which_stay_when_it_is_removed() {
    let home = home_with_vectors();
    let text = "where is the parcel";
    let before = prompt(&home, text);
    assert_eq!(before.matches("[assistant] ").count(), 2, "{before}");
    // No text is its own example, whatever its vector.
    let of_row = prompt(&home, "refund the second charge");
    assert_eq!(of_row.matches("refund the second charge").count(), 1, "{of_row}");
    let page = home.slm(["show", "sorter"]).succeeds();
    let line = "the nearest 2 of 4 labelled texts before each text, by the vectors of the embedding model sha256:";
    assert!(page.contains(line), "{page}");
    let answer = home.slm(["run", "sorter", "--json", text]).json();
    home.slm(["rm", "mini", "--yes"]).succeeds();
    assert_eq!(prompt(&home, text), before);
    assert_eq!(home.slm(["run", "sorter", "--json", text]).json()["probabilities"], answer["probabilities"]);
    // Its Modelfile says by which weights, which the store still has.
    let written = home.slm(["show", "sorter", "--modelfile"]).succeeds();
    home.slm(["create", "again", "-f", "-"]).stdin(&written).succeeds();
    let examples = |name: &str| home.slm(["show", name, "--json"]).json()["examples"].clone();
    assert_eq!(examples("again"), examples("sorter"));
    assert!(examples("again")["by"].as_str().unwrap().starts_with("sha256:"));
    let server = Server::of(&home);
    let body = json!({"model": "sorter", "messages": [{"role": "user", "content": text}], "stream": false});
    for _ in 0..2 {
        let served = server.post("/api/chat", body.clone()).json();
        assert_eq!(served["slm"]["prompt_digest"], answer["prompt_digest"], "{served}");
        let probabilities = &served["slm"]["fields"][0]["probabilities"];
        assert_eq!(*probabilities, answer["probabilities"], "{served}");
    }
}

#[test]
fn examples_by_words_and_by_vectors_are_two_prompts_and_a_model_over_them_can_have_others() {
    let home = home_with_vectors();
    let digest = |name: &str| home.slm(["run", name, "--json", "late"]).json()["prompt_digest"].clone();
    home.file("Modelfile", "FROM sorter\nEXAMPLES rows.jsonl k=2\n");
    home.slm(["create", "words"]).succeeds();
    assert_ne!(digest("words"), digest("sorter"));
    assert!(home.slm(["show", "words", "--json"]).json()["examples"]["by"].is_null());
    home.file("Modelfile", "FROM words\nEXAMPLES rows.jsonl k=2 by=triage\n");
    let refused = home.slm(["create", "other"]).ends(1).stderr;
    assert!(refused.contains("`triage:latest` cannot find examples: "), "{refused}");
}
