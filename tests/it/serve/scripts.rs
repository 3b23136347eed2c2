//! Scripts in other languages that print a line for each thing that they check: `ok NAME`, `FAILED NAME: why` or
//! `skipped NAME: why` (`tests/clients`), against a server with models whose answers are known.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::serve::{Server, environments};
use crate::slm::Home;
use crate::speaker::{Then, write};

/// As long as one script may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Positions that the models claim; a prompt beyond them is refused with this number.
const CONTEXT: u32 = 2048;

/// A script and what runs it.
#[derive(Clone)]
pub struct Script {
    program: PathBuf,
    path: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// What a script said.
pub struct Judgement {
    /// Who judges, with version.
    pub client: String,
    pub lines: Vec<(Outcome, String)>,
    /// Everything that it wrote besides.
    pub rest: String,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Outcome {
    Ok,
    Failed,
    Skipped,
}

impl Script {
    /// A script of `tests/clients` in Python; `None` where that has no clients, which is said.
    pub fn python(name: &str) -> Option<Script> {
        let path = environments::sources().join(name);
        Some(Script { program: environments::python()?, path, environment: Vec::new() })
    }

    /// A script of `tests/clients` for Node; `None` where that has no clients, which is said.
    pub fn node(name: &str) -> Option<Script> {
        Some(Script { program: "node".into(), path: environments::node()?.join(name), environment: Vec::new() })
    }

    pub fn env(mut self, name: &'static str, value: String) -> Script {
        self.environment.push((name, value));
        self
    }

    /// A script of `tests/clients` by an interpreter of its own.
    pub fn by(program: PathBuf, name: &str) -> Script {
        Script { program, path: environments::sources().join(name), environment: Vec::new() }
    }

    /// Runs it against a server that has the models of [`stock`].
    pub fn judge(&self, server: &Server) -> Judgement {
        let mut command = self.command();
        command.env("SLM_URL", server.url(""));
        // A variable of the person who runs the tests must not lead a client elsewhere.
        for name in
            ["OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy"]
        {
            command.env_remove(name);
        }
        Judgement::read(&self.path, &output_within(command, PATIENCE))
    }

    /// Runs it without a server, in this folder.
    pub fn judge_in(&self, folder: &Path, patience: Duration) -> Judgement {
        let mut command = self.command();
        command.current_dir(folder);
        Judgement::read(&self.path, &output_within(command, patience))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.path).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
        command.envs(self.environment.iter().cloned());
        command
    }
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
        judgement.named(Outcome::Skipped).for_each(|name| slm_testing::skipped!("{}: {name}", judgement.client));
        judgement
    }

    pub fn named(&self, wanted: Outcome) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(outcome, _)| *outcome == wanted).map(|(_, name)| name.as_str())
    }

    /// What went wrong, to be shown; nothing where all is well. A script that checked nothing is wrong too.
    pub fn complaint(&self) -> Option<String> {
        let failed: Vec<&str> = self.named(Outcome::Failed).collect();
        let is_well = failed.is_empty() && !self.lines.is_empty();
        (!is_well).then(|| format!("{}\n  {}\n{}\n", self.client, failed.join("\n  "), self.rest))
    }
}

/// Puts the models into a home that the scripts speak of; gives the file of one of them.
pub fn stock(home: &Home) -> PathBuf {
    let fox = ["The", " quick", " brown", " fox", "\n", "jumps", " over", " the", " lazy", " dog", "."];
    let arguments = " \"arguments\": {\"city\": \"Paris\", \"days\": 2}}";
    let call = ["<tool_call>\n", "{\"name\": \"get_weather\",", arguments, "\n</tool_call>"];
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
    let modelfile = home.file("Modelfile", "FROM triage\nFORMAT {\"enum\": [\"billing\", \"shipping\", \"other\"]}\n");
    home.slm(["create", "sorter", "-f", modelfile.to_str().expect("a path of ours")]).succeeds();
    path
}

/// What a program wrote to its standard output and standard error, in this order; it is killed after `patience`.
pub fn output_within(mut command: Command, patience: Duration) -> String {
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    let spoken = tempfile::NamedTempFile::new().expect("a temporary file");
    let stdio = |file: &tempfile::NamedTempFile| Stdio::from(file.reopen().expect("a file of ours"));
    command.stdin(Stdio::null()).stdout(stdio(&written)).stderr(stdio(&spoken));
    let mut child = command.spawn().expect("a program");
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
    let text = |file: &tempfile::NamedTempFile| {
        String::from_utf8_lossy(&std::fs::read(file.path()).expect("a file of ours")).into_owned()
    };
    text(&written) + late + &text(&spoken)
}
