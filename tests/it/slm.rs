//! Runs the binary in a temporary home and checks what it says, to the letter.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// A home folder with an empty store, removed when dropped.
pub struct Home {
    folder: tempfile::TempDir,
}

/// One call of the binary.
pub struct Call {
    command: Command,
    stdin: Vec<u8>,
}

/// What a call said.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Home {
    pub fn new() -> Self {
        Home { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn models(&self) -> PathBuf {
        self.path().join(".local/share/slm/models")
    }

    /// Writes a file into the home and gives its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("a writable home");
        path
    }

    /// `slm` with arguments, with nothing on standard input and an environment of its own.
    pub fn slm<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slm"));
        command.args(args);
        self.call(command)
    }

    /// The same within the limits of bash's `ulimit`.
    pub fn limited<S: AsRef<std::ffi::OsStr>>(&self, limits: &str, args: impl IntoIterator<Item = S>) -> Call {
        let script = format!("ulimit {limits} && exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_slm")]).args(args);
        self.call(command)
    }

    fn call(&self, mut command: Command) -> Call {
        command.env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin").current_dir(self.path());
        // No test leaves this machine.
        command.env("SLM_REGISTRY", NO_REGISTRY);
        Call { command, stdin: Vec::new() }
    }
}

/// Sends a signal to a process that this test has started and not yet reaped.
#[track_caller]
pub fn send(signal: Signal, pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// What is said before there is a model of a name that is neither here nor in a registry.
pub fn unpullable(name: &str, known: &str) -> String {
    let near = known.strip_prefix("did you mean ").and_then(|known| known.split('?').next());
    let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    format!(
        "slm: `{name}` is not here yet{near}: pulling it\nslm: cannot pull `{name}`: cannot reach `{NO_REGISTRY}`: Connection refused \
         (os error 111); check the name, the connection and the proxy (HTTPS_PROXY), and try again; there is no model `{name}`; \
         {known}\n"
    )
}

/// The error for bytes that are neither UTF-8 nor UTF-16.
pub const NOT_TEXT: &str = "the text here is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8";

/// A port where nobody listens.
const NO_REGISTRY: &str = "127.0.0.1:1";

impl Call {
    pub fn stdin(mut self, input: impl AsRef<[u8]>) -> Self {
        self.stdin = input.as_ref().to_vec();
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn command(self) -> Command {
        self.command
    }

    pub fn run(mut self) -> Said {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("piped above");
        let input = std::mem::take(&mut self.stdin);
        let writer = std::thread::spawn(move || {
            // A program that ends before it has read everything is not a failure of the test.
            let _ = stdin.write_all(&input);
        });
        let Output { status, stdout, stderr } = child.wait_with_output().expect("the binary ends");
        writer.join().expect("the writer does not panic");
        Said {
            stdout: String::from_utf8(stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(stderr).expect("UTF-8 on standard error"),
            code: status.code(),
        }
    }

    /// Runs and checks that all went well; gives standard output.
    #[track_caller]
    pub fn succeeds(self) -> String {
        let said = self.run();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "stdout: {}", said.stdout);
        said.stdout
    }

    /// Runs and checks the exit code and the whole of standard error; gives standard output.
    #[track_caller]
    pub fn fails(self, code: i32, stderr: &str) -> String {
        let said = self.run();
        assert_eq!((said.code, said.stderr.as_str()), (Some(code), stderr), "stdout: {}", said.stdout);
        said.stdout
    }

    /// Runs and checks the exit code; gives what it said.
    #[track_caller]
    pub fn ends(self, code: i32) -> Said {
        let said = self.run();
        assert_eq!(said.code, Some(code), "stdout: {}\nstderr: {}", said.stdout, said.stderr);
        said
    }

    /// Runs and parses standard output as one JSON value.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).expect("JSON on standard output")
    }
}

/// The probability of an allowed answer, as a field's `probabilities` say.
#[track_caller]
pub fn probability(field: &serde_json::Value, value: impl Into<serde_json::Value>) -> f64 {
    let (value, listed) = (value.into(), field["probabilities"].as_array().expect("a list"));
    let found = listed.iter().find(|one| one["value"] == value).and_then(|one| one["probability"].as_f64());
    found.unwrap_or_else(|| panic!("{value} has no probability in {field}"))
}

/// The allowed answers of a field in their order, as its `probabilities` say.
#[track_caller]
pub fn allowed(field: &serde_json::Value) -> Vec<serde_json::Value> {
    let listed = field["probabilities"].as_array().expect("a list");
    listed.iter().map(|one| one["value"].clone()).collect()
}

/// Every file below `folder` with its bytes, the store's lock aside.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".slm.lock") {
                let bytes = std::fs::read(&path).expect("a readable file");
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

/// The embedded model's own file.
pub fn triage_gguf() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage/triage.gguf");
    std::fs::read(path).expect("the model is committed")
}

/// How a child ended; `None` after it was killed for taking too long.
pub fn end_within(mut child: Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Random numbers that are the same in every run (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// A number from 0 to below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}
