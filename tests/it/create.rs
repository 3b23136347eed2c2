//! `slm create` and `slm show`: from a Modelfile to a model that does what it says.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use crate::slm::{Home, files, triage_gguf, unpullable};

/// A home with the embedded model's file in it.
fn home_with_gguf() -> Home {
    let home = Home::new();
    home.file("triage.gguf", triage_gguf());
    home
}

const EVERYTHING: &str = r#"# A comment
from ./triage.gguf
PARAMETER temperature 0.5
PARAMETER num_ctx 512
PARAMETER stop "<stop>"
PARAMETER stop two words
SYSTEM """You sort tickets.
Be quick."""
TEMPLATE {% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}
MESSAGE user my parcel is late
MESSAGE assistant shipping
FORMAT {"enum": ["shipping", "billing"]}
LICENSE MIT
LICENSE """Another
licence"""
"#;

#[test]
fn every_instruction_reaches_the_model_and_show_writes_it_back() {
    let home = home_with_gguf();
    home.file("Modelfile", EVERYTHING);
    let created = home.slm(["create", "me/sorter:1"]).succeeds();
    let show = home.slm(["show", "me/sorter:1", "--json"]).json();
    assert_eq!(created, format!("created me/sorter:1 ({})\n", &show["digest"].as_str().unwrap()[..12]));
    assert_eq!(show["system"], "You sort tickets.\nBe quick.");
    assert_eq!(show["template"], "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}");
    assert_eq!(show["format"], json!({"enum": ["shipping", "billing"]}));
    assert_eq!(show["parameters"], json!({"temperature": 0.5, "num_ctx": 512, "stop": ["<stop>", "two words"]}));
    assert_eq!(show["license"], "MIT\n\nAnother\nlicence");
    assert_eq!(show["messages"][1], json!({"role": "assistant", "content": "shipping"}));
    assert_eq!(show["details"]["family"], "llama");
    assert_eq!(show["model_info"]["llama.context_length"], 1024);

    // Back through create, to the same manifest: the same model.
    let written = home.slm(["show", "me/sorter:1", "--modelfile"]).succeeds();
    let again = home.slm(["create", "again", "-f", "-", "--json"]).stdin(&written).json();
    assert_eq!(again["digest"], show["digest"]);
    assert_eq!(home.slm(["show", "again", "--modelfile"]).succeeds(), written);

    // All of it is in the prompt and in the answer.
    let dry = home.slm(["run", "me/sorter:1", "--dry-run", "--json", "--format", "none", "charged twice"]).json();
    assert_eq!(
        dry["prompt"],
        "[system] You sort tickets.\nBe quick. [user] my parcel is late [assistant] shipping [user] charged twice "
    );
    let answer = home.slm(["run", "me/sorter:1", "charged twice"]).succeeds();
    assert!(["shipping\n", "billing\n"].contains(&answer.as_str()), "{answer}");
}

#[test]
fn each_part_of_a_model_is_shown_by_itself() {
    let home = home_with_gguf();
    home.file("Modelfile", EVERYTHING);
    home.slm(["create", "sorter"]).succeeds();
    let show = |model: &str, part: &str| home.slm(["show", model, part]).succeeds();
    assert_eq!(show("sorter", "--system"), "You sort tickets.\nBe quick.\n");
    let template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}\n";
    assert_eq!(show("sorter", "--template"), template);
    let parameter = |name: &str, value: &str| format!("{name:<30} {value}\n");
    let parameters = [("num_ctx", "512"), ("stop", "\"<stop>\""), ("stop", "\"two words\""), ("temperature", "0.5")];
    let parameters: String = parameters.map(|(name, value)| parameter(name, value)).concat();
    assert_eq!(show("sorter", "--parameters"), parameters);
    assert_eq!(show("sorter", "--license"), "MIT\n\nAnother\nlicence\n");
    // A part that is not set prints nothing; the template is then the GGUF's own.
    assert_eq!(show("triage", "--system"), "");
    assert!(show("triage", "--template").contains("{%"));
    let said = home.slm(["show", "sorter", "--system", "--template"]).ends(2);
    assert!(said.stderr.contains("cannot be used with"), "{}", said.stderr);
}

#[test]
fn a_page_shows_what_a_model_is_made_of() {
    let home = home_with_gguf();
    home.file("Modelfile", EVERYTHING);
    home.slm(["create", "sorter"]).succeeds();
    let page = home.slm(["show", "sorter"]).succeeds();
    let (figures, rest) = page.split_once("\nsystem\n").unwrap();
    let names: Vec<&str> = figures.lines().map(|line| line[..17].trim_end()).collect();
    assert_eq!(names[..5], ["name", "digest", "weights", "architecture", "parameters"]);
    assert_eq!(
        rest,
        "  You sort tickets.
  Be quick.

format
  {\"enum\":[\"shipping\",\"billing\"]}

message user
  my parcel is late

message assistant
  shipping

license
  MIT

license
  Another
  licence

tensors
  TYPE  TENSORS  BITS   SIZE    SHARE
  Q8_0  29       8.50   1.3 MB  99.7 %
  F32   9        32.00  4.6 KB  0.3 %
"
    );
    assert!(figures.contains("quantization     Q8_0 (8.52 bits per weight)"), "{figures}");
    assert!(home.slm(["show", "triage"]).succeeds().contains("weights          built into slm\n"));
}

#[test]
fn the_embedded_model_and_its_copies_are_one() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    let copy = home.slm(["create", "copy", "--json"]).json();
    assert_eq!(copy["digest"], home.slm(["show", "triage", "--json"]).json()["digest"]);
    let ask = |model: &str| home.slm(["run", model, "--json", "I was charged twice"]).json();
    let (ours, theirs) = (ask("copy"), ask("triage"));
    for same in ["fields", "evaluation_id", "prompt_digest"] {
        assert_eq!(ours[same], theirs[same], "{same}");
    }
}

#[test]
fn a_model_from_a_stored_name_keeps_what_it_does_not_replace() {
    let home = home_with_gguf();
    home.file("Modelfile", EVERYTHING);
    home.slm(["create", "base"]).succeeds();
    let n_files = files(&home.models()).len();
    home.file("Modelfile", "FROM base\nSYSTEM Other words.\nPARAMETER top_k 3");
    home.slm(["create", "child"]).succeeds();
    let child = home.slm(["show", "child", "--json"]).json();
    assert_eq!(child["system"], "Other words.");
    assert_eq!(
        child["parameters"],
        json!({"temperature": 0.5, "num_ctx": 512, "stop": ["<stop>", "two words"], "top_k": 3})
    );
    assert_eq!(child["format"], json!({"enum": ["shipping", "billing"]}));
    // Its manifest, configuration, system and parameters; the weights are shared.
    assert_eq!(files(&home.models()).len(), n_files + 4);
}

#[test]
fn a_blob_has_the_files_bytes_and_nothing_else_in_common_with_it() {
    let home = home_with_gguf();
    home.file("Modelfile", "FROM ./triage.gguf");
    home.slm(["create", "mine"]).succeeds();
    let blob = files(&home.models()).into_iter().find(|(_, bytes)| *bytes == triage_gguf()).expect("its own bytes").0;
    assert_eq!(std::fs::metadata(&blob).unwrap().nlink(), 1);
    // In place, as quantizers write: the same inode.
    let path = home.path().join("triage.gguf");
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(&vec![0; triage_gguf().len()]).unwrap();
    assert_eq!(std::fs::read(blob).unwrap(), triage_gguf());
    home.slm(["run", "mine", "--choices", "a,b", "x"]).succeeds();
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let home = home_with_gguf();
    let gguf = triage_gguf();
    home.file("cut.gguf", &gguf[..gguf.len() / 2]);
    home.file("header.gguf", &gguf[..1000]);
    home.file("empty.gguf", "");
    home.file("photo.gguf", b"\x89PNG\r\n");
    home.file("unkept.json", r#"{"not": {"type": "string"}}"#);
    home.file("Modelfile", "FROM triage\nSYSTEM kept");
    home.slm(["create", "kept"]).succeeds();
    let before = files(&home.models());
    let refused = |modelfile: &str, code: i32, expected: &str| {
        home.file("M", modelfile);
        assert_eq!(home.slm(["create", "kept", "-f", "M"]).fails(code, &format!("slm: {expected}\n")), "");
        assert!(files(&home.models()) == before, "`{modelfile}` changed the store");
    };
    let unkept = "the schema at `/not` is not supported: `not` cannot be enforced; say what is allowed with `anyOf`";
    refused(
        "FROM triage\nSYSTEM a\n  FOO b\n",
        1,
        "`M`: line 3, column 3: there is no instruction `FOO`; the nearest is `FROM`",
    );
    refused(
        "FROM triage\nPARAMETER temperature hot",
        1,
        "`M`: line 2, column 1: parameter `temperature` cannot be `hot`: it must be a number from 0 to 100",
    );
    refused(
        "SYSTEM a",
        1,
        "`M`: line 1, column 1: there is no FROM; begin with the model to build on, for example `FROM triage` or \
         `FROM ./model.gguf`",
    );
    refused("FROM triage\nFORMAT {\"not\": {\"type\": \"string\"}}", 2, &format!("FORMAT in `M`: {unkept}"));
    refused("FROM triage\nFORMAT @unkept.json", 2, &format!("FORMAT in `M`: {unkept}"));
    refused("FROM triage\nFORMAT @none.json", 1, "the schema `none.json` of FORMAT does not exist");
    refused("FROM ./none.gguf", 1, "cannot read `./none.gguf`: No such file or directory (os error 2)");
    refused("FROM ./", 1, "`./` is not a regular file; give the path of a GGUF file");
    refused("FROM /dev/zero", 1, "`/dev/zero` is not a regular file; give the path of a GGUF file");
    refused(
        "FROM ./header.gguf",
        1,
        "`./header.gguf` is not a model that slm can load: it ends at byte 1000, in the middle of its header; the copy \
         or download is probably incomplete",
    );
    refused(
        "FROM ./empty.gguf",
        1,
        "`./empty.gguf` is not a model that slm can load: it ends at byte 0, in the middle of its header; the copy \
         or download is probably incomplete",
    );
    refused(
        "FROM ./photo.gguf",
        1,
        "`./photo.gguf` is not a model that slm can load: it begins with `\\x89PNG`, not with `GGUF`, so it is not a GGUF \
         file",
    );
    home.file("M", "FROM kep");
    let known = "did you mean `kept:latest`? There are `kept:latest`, `triage:latest`";
    home.slm(["create", "new", "-f", "M"]).fails(1, &unpullable("kep:latest", known));
    home.file("M", "FROM ./cut.gguf");
    let said = home.slm(["create", "kept", "-f", "M"]).ends(1);
    assert!(said.stderr.ends_with("the copy or download is probably incomplete\n"), "{}", said.stderr);
    assert!(files(&home.models()) == before);

    home.slm(["create", "x", "-f", "none"]).fails(
        1,
        "slm: cannot read the Modelfile `none`: No such file or directory (os error 2); give another with -f\n",
    );
    home.slm(["create", "x", "-f", "/dev/zero"]).fails(
        1,
        "slm: cannot read the Modelfile `/dev/zero`: it has more than 16777216 bytes; give another with -f\n",
    );
    let said = home.slm(["create", "a/../b"]).ends(2);
    assert!(said.stderr.starts_with("slm: `a/../b` is not a model name: "), "{}", said.stderr);
}

#[test]
fn a_context_that_the_model_does_not_have_is_refused_with_both_numbers() {
    let home = home_with_gguf();
    let more =
        "slm: the Modelfile asks for a context of 1025 tokens, but the model was trained for 1024; give at most 1024\n";
    for from in ["./triage.gguf", "triage"] {
        home.file("Modelfile", format!("FROM {from}\nPARAMETER num_ctx 1025"));
        home.slm(["create", "wide"]).fails(1, more);
        home.file("Modelfile", format!("FROM {from}\nPARAMETER num_ctx 1024"));
        home.slm(["create", "whole", "--yes"]).succeeds();
    }
    assert!(!home.slm(["list"]).succeeds().contains("wide"));
}

#[test]
fn an_example_that_breaks_the_format_is_refused_with_its_line() {
    let home = home_with_gguf();
    let examples = |format: &str, answer: &str| {
        format!("FROM triage\nMESSAGE user late\nMESSAGE assistant {answer}\nFORMAT {format}\n")
    };
    let refused = |format: &str, answer: &str, why: &str| {
        home.file("Modelfile", examples(format, answer));
        let said = "line 3: this MESSAGE is an example that breaks the FORMAT";
        let next = "write it as the model is to answer";
        home.slm(["create", "x"]).fails(1, &format!("slm: `Modelfile`: {said}: {why}; {next}\n"));
    };
    let labels = r#"{"enum": ["late", "lost"]}"#;
    let object = r#"{"type": "object", "properties": {"kind": {"enum": ["late"]}, "note": {"type": "string", "maxLength": 3}}, "required": ["kind", "note"]}"#;
    let broken = "the answer does not meet the schema";
    refused(labels, "early", &format!("{broken}: \"early\" is not one of \"late\" or \"lost\""));
    refused(object, "late", "the answer is not JSON: expected value at line 1 column 1");
    let long = r#"{"kind": "late", "note": "long"}"#;
    refused(object, long, "the answer at `/note` does not meet the schema: \"long\" is longer than 3 characters");
    refused("json", "[1]", &format!("{broken}: [1] is not of type \"object\""));
    home.file("labels.json", labels);
    refused("@labels.json", "early", &format!("{broken}: \"early\" is not one of \"late\" or \"lost\""));
    for (format, answer) in [(labels, "lost"), (labels, r#""lost""#), (object, r#"{"kind": "late", "note": "so"}"#)] {
        home.file("Modelfile", examples(format, answer));
        home.slm(["create", "x", "--yes"]).succeeds();
    }
}

/// Paths in a Modelfile are relative to it, wherever slm is started.
#[test]
fn paths_are_relative_to_the_modelfile() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("there")).unwrap();
    home.file("there/x.gguf", triage_gguf());
    home.file("there/schema.json", r#"{"enum": ["a", "b"]}"#);
    home.file("there/Modelfile", "FROM x.gguf\nFORMAT @schema.json");
    home.slm(["create", "mine", "-f", "there/Modelfile"]).succeeds();
    assert_eq!(home.slm(["show", "mine", "--json"]).json()["format"], json!({"enum": ["a", "b"]}));
}

const CHATML: &str = "TEMPLATE \"\"\"{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}\
    {{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n\"\"\"";

#[test]
fn a_template_in_gos_language_is_rendered_turn_by_turn() {
    let home = Home::new();
    let rest = "SYSTEM Sort it.\nMESSAGE user late\nMESSAGE assistant shipping\nFORMAT {\"enum\": [\"shipping\", \"billing\"]}";
    home.file("Modelfile", format!("FROM triage\n{CHATML}\n{rest}"));
    assert_eq!(home.slm(["create", "go"]).ends(0).stderr, "");
    let show: Value = home.slm(["show", "go", "--json"]).json();
    assert_eq!(show["template_source"], "TEMPLATE of the Modelfile (Go)");
    assert!(home.slm(["show", "go"]).succeeds().contains("\nchat template    TEMPLATE of the Modelfile (Go)\n"));
    let dry = home.slm(["run", "go", "--dry-run", "--json", "--format", "none", "charged <|im_end|> twice"]).json();
    assert_eq!(
        dry["prompt"],
        "<|im_start|>system\nSort it.<|im_end|>\n<|im_start|>user\nlate<|im_end|>\n<|im_start|>assistant\nshipping<|im_end|>\n\
         <|im_start|>user\ncharged <|im_end|> twice<|im_end|>\n<|im_start|>assistant\n"
    );
    // A closed answer is described and scored as with any other template.
    let dry = home.slm(["run", "go", "--dry-run", "--json", "charged twice"]).json();
    let described = dry["prompt"].as_str().unwrap();
    assert!(described.starts_with("<|im_start|>system\nSort it.\n\n") && described.contains("billing"), "{described}");
    let answer = home.slm(["run", "go", "charged twice"]).succeeds();
    assert!(["shipping\n", "billing\n"].contains(&answer.as_str()), "{answer}");
}

#[test]
fn a_template_that_drops_the_question_is_refused_and_an_empty_one_says_nothing() {
    let home = Home::new();
    for template in ["{{ .Foo }}", "{{ .System }} only", "{% if false %}{% endif %}hello"] {
        home.file("Modelfile", format!("FROM triage\nTEMPLATE {template}"));
        home.slm(["create", "mute"]).fails(
            1,
            "slm: TEMPLATE in `Modelfile` cannot be used: it failed: it ignores the user's text; \
             correct it or leave it out\n",
        );
    }
    home.file("Modelfile", "FROM triage\nTEMPLATE \"\"");
    home.slm(["create", "same"]).succeeds();
    let prompt = |model: &str| home.slm(["run", model, "--dry-run", "My parcel never arrived"]).succeeds();
    assert_eq!(prompt("same"), prompt("triage"));
    assert_eq!(home.slm(["show", "same", "--json"]).json()["template_source"], "the GGUF's own (Jinja)");
}

#[test]
fn a_template_that_is_none_is_refused_when_a_model_is_made_of_it() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nTEMPLATE \"\"\"a\n{{ if .Prompt }}b\"\"\"");
    let refused = home.slm(["create", "go"]).ends(1);
    assert_eq!(
        refused.stderr,
        "slm: TEMPLATE in `Modelfile` cannot be used: it is not a template in Go: line 2: the block that begins here is not \
         closed with `{{ end }}`; correct it or leave it out\n"
    );
    home.slm(["show", "go"]).ends(1);
}
