//! Runs the binary in a temporary home and checks what it says, to the letter.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
        command.args(args).env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin").current_dir(self.path());
        Call { command, stdin: Vec::new() }
    }
}

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
            // A program that ends before it has read everything is no failure of the test.
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

    /// Runs and parses standard output as one JSON value.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).expect("JSON on standard output")
    }
}

/// The folder of real models and reference data beside the checkout, where it exists; else says that a test is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SLM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = folder.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: `{}` does not exist", path.display());
    None
}
