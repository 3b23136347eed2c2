//! The clients that people have, each against a server of its own: every endpoint that it knows, in scripts that print a line for
//! each thing that they check (`tests/clients`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::registry::docker::{Access, DockerRegistry};
use crate::serve::{Server, environments};
use crate::slm::Home;
use crate::speaker::{Then, write};

const PYTHON: [&str; 6] = [
    "ollama_client.py",
    "openai_client.py",
    "anthropic_client.py",
    "systemone_client.py",
    "langchain_ollama_client.py",
    "langchain_openai_client.py",
];
const NODE: [&str; 2] = ["ollama_client.mjs", "openai_client.mjs"];
/// As long as one client's script may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Positions that the models claim; a prompt beyond them is refused with this number.
const CONTEXT: u32 = 2048;

/// What one client's script said.
struct Judgement {
    client: String,
    /// A name, and how it went: `ok`, `FAILED` with the reason, or `skipped` with the reason.
    lines: Vec<(Outcome, String)>,
    /// Everything that it wrote besides.
    rest: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Ok,
    Failed,
    Skipped,
}

#[test]
#[ignore = "some of the endpoints are not there yet"]
fn the_clients_that_people_have_find_what_they_expect() {
    let mut scripts: Vec<(PathBuf, PathBuf)> = Vec::new();
    if let Some(python) = environments::python() {
        scripts.extend(PYTHON.map(|script| (python.clone(), environments::sources().join(script))));
    }
    if let Some(folder) = environments::node() {
        scripts.extend(NODE.map(|script| (PathBuf::from("node"), folder.join(script))));
    }
    let registry = DockerRegistry::start(Access::Everybody);
    let judgements: Vec<Judgement> =
        scripts.iter().map(|(program, script)| judge(program, script, registry.as_ref())).collect();
    print_table(&judgements);
    let mut wrong = String::new();
    for judgement in &judgements {
        let failed: Vec<&str> = judgement.named(Outcome::Failed).collect();
        if !failed.is_empty() || judgement.lines.is_empty() {
            wrong += &format!("{}\n  {}\n{}\n", judgement.client, failed.join("\n  "), judgement.rest);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Runs one script against a new server.
fn judge(program: &Path, script: &Path, registry: Option<&DockerRegistry>) -> Judgement {
    let home = Home::new();
    let gguf = stock(&home);
    let server = Server::of(&home);
    let mut command = Command::new(program);
    command.arg(script).env("SLM_URL", server.url("")).env("SLM_GGUF", gguf);
    // A variable of the person who runs the tests must not lead a client elsewhere.
    for name in ["OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy"] {
        command.env_remove(name);
    }
    command.env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(registry) = registry {
        command.env("SLM_TEST_REGISTRY", registry.host());
    }
    let said = output_within(command, PATIENCE);
    drop(server);
    Judgement::read(script, &said)
}

/// Puts the models into a home that the scripts speak of; gives the file of one of them.
fn stock(home: &Home) -> PathBuf {
    let fox = ["The", " quick", " brown", " fox", "\n", "jumps", " over", " the", " lazy", " dog", "."];
    let call = [
        "<tool_call>\n",
        "{\"name\": \"get_weather\",",
        " \"arguments\": {\"city\": \"Paris\", \"days\": 2}}",
        "\n</tool_call>",
    ];
    let thought = ["<think>\n", "Two", " and", " two.", "\n</think>\n\n", "Four", "."];
    let bert = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/embeddings/bert.gguf"));
    home.file("bert.gguf", bert.expect("the golden model is committed"));
    let path = write(home.path(), "fox", &fox, Then::End, CONTEXT);
    write(home.path(), "endless", &["ab"], Then::Again, 1 << 17);
    write(home.path(), "caller", &call, Then::End, CONTEXT);
    write(home.path(), "thinker", &thought, Then::End, CONTEXT);
    for name in ["fox", "endless", "caller", "thinker", "bert"] {
        let context = if name == "endless" { "PARAMETER num_ctx 131072\n" } else { "" };
        let modelfile = home.file("Modelfile", format!("FROM ./{name}.gguf\n{context}"));
        home.slm(["create", name, "-f", modelfile.to_str().expect("a path of ours")]).succeeds();
    }
    path
}

/// What a program wrote to its standard output and standard error, in this order; it is killed after `patience`.
fn output_within(mut command: Command, patience: Duration) -> String {
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    let spoken = tempfile::NamedTempFile::new().expect("a temporary file");
    let stdio = |file: &tempfile::NamedTempFile| Stdio::from(file.reopen().expect("a file of ours"));
    let mut child =
        command.stdin(Stdio::null()).stdout(stdio(&written)).stderr(stdio(&spoken)).spawn().expect("a program");
    let deadline = Instant::now() + patience;
    let mut late = "";
    while child.try_wait().expect("a child of ours").is_none() {
        if Instant::now() > deadline {
            late = "\nFAILED the script: it took too long and was killed\n";
            let _ = child.kill();
            let _ = child.wait();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let text =
        |file: &tempfile::NamedTempFile| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
    text(&written) + late + &text(&spoken)
}

impl Judgement {
    fn read(script: &Path, said: &str) -> Judgement {
        let mut judgement = Judgement { client: script.display().to_string(), lines: Vec::new(), rest: String::new() };
        for line in said.lines() {
            let (word, name) = line.split_once(' ').unwrap_or((line, ""));
            let outcome = match word {
                "client" => {
                    judgement.client = name.to_owned();
                    continue;
                }
                "ok" => Outcome::Ok,
                "FAILED" => Outcome::Failed,
                "skipped" => Outcome::Skipped,
                _ => {
                    judgement.rest += line;
                    judgement.rest.push('\n');
                    continue;
                }
            };
            judgement.lines.push((outcome, name.to_owned()));
        }
        judgement.named(Outcome::Skipped).for_each(|name| eprintln!("skipped: {}: {name}", judgement.client));
        judgement
    }

    fn named(&self, wanted: Outcome) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(outcome, _)| *outcome == wanted).map(|(_, name)| name.as_str())
    }
}

/// Endpoints down, clients across; in a cell how many checks passed, of how many where not all did.
fn print_table(judgements: &[Judgement]) {
    let mut endpoints: BTreeMap<(&str, &str), Vec<(usize, usize)>> = BTreeMap::new();
    for (column, judgement) in judgements.iter().enumerate() {
        for (outcome, name) in judgement.lines.iter().filter(|(outcome, _)| *outcome != Outcome::Skipped) {
            let endpoint = name.split(": ").next().unwrap_or(name);
            let (method, path) = endpoint.split_once(' ').unwrap_or(("", endpoint));
            let row = endpoints.entry((path, method)).or_insert_with(|| vec![(0, 0); judgements.len()]);
            row[column].0 += usize::from(*outcome == Outcome::Ok);
            row[column].1 += 1;
        }
    }
    let clients: Vec<&str> = judgements.iter().map(|judgement| judgement.client.as_str()).collect();
    println!("| endpoint | {} |\n|---{}|", clients.join(" | "), "|---".repeat(clients.len()));
    for ((path, method), row) in endpoints {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| match cell {
                (_, 0) => String::new(),
                (passed, all) if passed == all => format!("{passed}"),
                (passed, all) => format!("{passed} of {all}"),
            })
            .collect();
        println!("| {method} {path} | {} |", cells.join(" | "));
    }
}
