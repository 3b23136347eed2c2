//! Models as Ollama stores them: every layer and field takes effect, and what slm does not know does no harm.

use serde_json::{Value, json};
use slm::digest::Digest;
use slm::manifest::{Layer, Manifest, media_type};

use crate::slm::{Home, triage_gguf};

/// What Ollama's tools wrote of a model; nothing of it came through slm.
struct Stored {
    home: Home,
    config: Value,
    layers: Vec<Layer>,
}

impl Stored {
    fn new() -> Stored {
        let config = json!({
            "model_format": "gguf", "model_family": "llama", "model_families": null, "model_type": "1.2B",
            "file_type": "Q8_0", "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        });
        let mut stored = Stored { home: Home::new(), config, layers: Vec::new() };
        stored.layer(media_type::MODEL, triage_gguf());
        stored
    }

    /// Writes a blob and names it in a layer of that type.
    fn layer(&mut self, kind: &str, bytes: impl AsRef<[u8]>) {
        let layer = self.blob(kind, bytes.as_ref());
        self.layers.push(layer);
    }

    fn blob(&self, kind: &str, bytes: &[u8]) -> Layer {
        let digest = Digest::of(bytes);
        let blobs = self.home.models().join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(digest.file_name()), bytes).unwrap();
        Layer::new(kind, digest, bytes.len() as u64)
    }

    /// Writes the manifest of `there:latest`.
    fn done(self) -> Home {
        let config = self.blob(media_type::CONFIG, self.config.to_string().as_bytes());
        let folder = self.home.models().join("manifests/registry.ollama.ai/library/there");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("latest"), Manifest::new(config, self.layers).to_json()).unwrap();
        self.home
    }
}

const TEMPLATE: &str = "{{- range $i, $_ := .Messages }}<{{ .Role }}>{{ .Content }}\n{{ end }}<assistant>";

#[test]
fn every_layer_takes_effect() {
    let mut stored = Stored::new();
    stored.layer(media_type::TEMPLATE, TEMPLATE);
    stored.layer(media_type::SYSTEM, "Sort it.");
    stored.layer(media_type::LICENSE, "MIT");
    stored.layer(media_type::LICENSE, "Apache");
    stored.layer(
        media_type::PARAMS,
        r#"{"stop":["<assistant>","<user>"],"num_ctx":512,"mirostat":1,"penalize_newline":false,"low_vram":true,
            "f16_kv":true,"vocab_only":false,"use_mlock":true,"num_thread":1,"temperature":-1,"num_experts":8}"#,
    );
    stored.layer(
        media_type::MESSAGES,
        r#"[{"role":"user","content":"late","images":null},{"role":"assistant","content":"shipping"}]"#,
    );
    stored.layer(media_type::PROJECTOR, "a vision encoder, which nothing here reads");
    let home = stored.done();

    let show = home.slm(["show", "there", "--json"]).json();
    assert_eq!(show["template_source"], "TEMPLATE of the Modelfile (Go)");
    assert_eq!((&show["system"], &show["license"]), (&json!("Sort it."), &json!("MIT\n\nApache")));
    assert_eq!((&show["parameters"]["num_ctx"], &show["parameters"]["stop"][1]), (&json!(512), &json!("<user>")));
    let page = home.slm(["show", "there"]).succeeds();
    assert!(page.contains("parameter        mirostat 1 (no effect)\n"), "{page}");
    assert!(page.contains("parameter        num_thread 1\n"), "{page}");

    let said = home.slm(["run", "there", "--dry-run", "--json", "charged twice"]).ends(0);
    let dry: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(dry["prompt"], "<system>Sort it.\n<user>late\n<assistant>shipping\n<user>charged twice\n<assistant>");
    assert_eq!(
        said.stderr,
        "slm: `there:latest` is used without one of its parameters: parameter `temperature` cannot be `-1`: it must be a \
         number from 0 to 100\n"
    );
    home.slm(["run", "there", "--num-predict", "2", "charged twice"]).ends(0);

    // A Modelfile says all of it but what has no instruction, and what it says makes a model that is asked alike.
    let written = home.slm(["show", "there", "--modelfile"]).succeeds();
    let lost: Vec<&str> = written.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(lost.len(), 3, "{written}");
    assert!(lost[0].starts_with("# not written: the layer sha256:") && lost[0].ends_with(".projector`"), "{written}");
    assert!(lost[1].starts_with("# not written: the parameter `num_experts` with the value 8"), "{written}");
    home.slm(["create", "again", "-f", "-"]).stdin(&written).ends(0);
    let again = home.slm(["run", "again", "--dry-run", "--json", "charged twice"]).json();
    assert_eq!((&again["prompt"], &again["prompt_digest"]), (&dry["prompt"], &dry["prompt_digest"]));
    let twice = home.slm(["show", "again", "--modelfile"]).succeeds();
    home.slm(["create", "third", "-f", "-"]).stdin(&twice).ends(0);
    let digest = |name: &str| home.slm(["show", name, "--json"]).json()["digest"].clone();
    assert_eq!(digest("third"), digest("again"));
}

#[test]
fn a_modelfile_says_what_docker_calls_by_other_words() {
    let mut stored = Stored::new();
    stored.layers[0].media_type = "application/vnd.docker.ai.gguf.v3".to_owned();
    stored.layer("application/vnd.docker.ai.license", "MIT");
    let home = stored.done();
    let written = home.slm(["show", "there", "--modelfile"]).succeeds();
    assert!(written.starts_with("FROM ") && written.ends_with("\nLICENSE MIT\n"), "{written}");
}

#[test]
fn a_template_that_is_none_gives_way_to_the_weights_own() {
    let mut stored = Stored::new();
    stored.layer(media_type::TEMPLATE, "{{ if .Prompt }}a");
    let home = stored.done();
    let said = home.slm(["run", "there", "--dry-run", "--json", "--choices", "a,b", "x"]).ends(0);
    let why = "it is not a template in Go: line 1: the block that begins here is not closed with `{{ end }}`";
    assert_eq!(
        said.stderr,
        format!("slm: the TEMPLATE of `there:latest` cannot be used, so the chat template in its GGUF is: {why}\n")
    );
    let own = home.slm(["run", "triage", "--dry-run", "--json", "--choices", "a,b", "x"]).json();
    assert_eq!(serde_json::from_str::<Value>(&said.stdout).unwrap()["prompt"], own["prompt"]);
    let source = format!("the GGUF's own (Jinja); the TEMPLATE cannot be used: {why}");
    assert_eq!(home.slm(["show", "there", "--json"]).json()["template_source"], source);
}

/// Ollama has programs that write the prompts of newer models; their TEMPLATE says nothing then.
#[test]
fn a_model_with_a_renderer_is_asked_by_the_weights_own_template() {
    let mut stored = Stored::new();
    stored.config["renderer"] = "qwen3-coder".into();
    stored.config["parser"] = "qwen3-coder".into();
    stored.config["requires"] = "0.14.0".into();
    stored.layer("application/vnd.ollama.image.prompt", "{{ .Prompt }}");
    let home = stored.done();
    let show = home.slm(["show", "there", "--json"]).json();
    assert_eq!(show["template_source"], "the GGUF's own (Jinja); Ollama has its own renderer `qwen3-coder` for it");
    let prompt =
        |name: &str| home.slm(["run", name, "--dry-run", "--json", "--choices", "a,b", "x"]).json()["prompt"].clone();
    assert_eq!(prompt("there"), prompt("triage"));
    let written = home.slm(["show", "there", "--modelfile"]).succeeds();
    assert!(written.contains("\nREQUIRES 0.14.0\nRENDERER qwen3-coder\nPARSER qwen3-coder\n"), "{written}");

    // Someone who gives the model a TEMPLATE wants that one.
    home.file("Modelfile", "FROM there\nTEMPLATE {{ .System }}|{{ .Prompt }}|");
    home.slm(["create", "mine"]).ends(0);
    assert!(prompt("mine").as_str().unwrap().ends_with("|x|"), "{}", prompt("mine"));
}

#[test]
fn instructions_without_an_effect_are_said() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nPARAMETER mirostat 0\nPARAMETER low_vram true\nDRAFT ./small.gguf\n");
    let said = home.slm(["create", "old"]).ends(0);
    assert_eq!(
        said.stderr,
        "slm: these parameters are stored but have no effect: `mirostat`, `low_vram`\nslm: DRAFT `./small.gguf` is not used: \
         slm drafts from the prompt and needs no second model\n"
    );
    // As Notepad on Windows saves it.
    let bytes: Vec<u8> = "\u{feff}FROM triage\r\nSYSTEM é\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    home.file("Modelfile", bytes);
    home.slm(["create", "wide"]).ends(0);
    assert_eq!(home.slm(["show", "wide", "--json"]).json()["system"], "é");
}
