//! A program as a person at a terminal has it: through a pseudo-terminal, which util-linux's `script` gives.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slm_testing::skipped;

use crate::slm::{Home, end_within};

/// How long a person waits.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// What a session shows when it waits for a line.
pub const PROMPT: &str = ">>> ";

/// A terminal with a program in it.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    /// What was looked at already.
    seen: usize,
}

/// A search path with the binary under test in front.
pub fn search_path() -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_slm")).parent().expect("the binary lies in a folder");
    format!("{}:/usr/bin:/bin", bin.display())
}

impl Terminal {
    /// Runs a shell's line, in which `slm` is the binary, in a terminal of that kind; `None` where there is no `script`.
    pub fn open(home: &Home, term: &str, line: &str) -> Option<Terminal> {
        if !Command::new("script").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
        {
            skipped!("there is no `script` of util-linux");
            return None;
        }
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", line, "/dev/null"]);
        command.env_clear().env("HOME", home.path()).env("PATH", search_path()).env("TERM", term);
        command.env("SLM_REGISTRY", "127.0.0.1:1").env("SHELL", "/bin/sh").current_dir(home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let written = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = shown.read(&mut bytes) {
                written.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Some(Terminal { child, keys, screen, reader, seen: 0 })
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// What came since the last look, up to `end`.
    #[track_caller]
    pub fn until(&mut self, end: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen.lock().unwrap().clone();
            let new = String::from_utf8_lossy(&screen[self.seen..]).into_owned();
            if let Some(at) = new.find(end) {
                self.seen += at + end.len();
                return new[..at].replace("\r\n", "\n");
            }
            assert!(Instant::now() < deadline, "`{end}` does not come: {new:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for so many bytes more.
    #[track_caller]
    pub fn until_more(&mut self, n_bytes: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.screen.lock().unwrap().len() < self.seen + n_bytes {
            assert!(Instant::now() < deadline, "nothing comes");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Types a line and gives all that comes before the next prompt, the typed line itself left out where it is echoed.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> String {
        self.press(&format!("{line}\r"));
        let shown = self.until(PROMPT);
        shown.strip_prefix(&format!("{line}\n")).map_or(shown.clone(), str::to_owned)
    }

    /// As [`Terminal::say`] where lines are edited: bracketed paste is off while the program works.
    #[track_caller]
    pub fn say_edited(&mut self, line: &str) -> String {
        self.press(&format!("{line}\r"));
        self.until("\u{1b}[?2004l\r\n");
        self.until("\u{1b}[?2004h")
    }

    /// Presses keys that end the program, and gives the exit code.
    #[track_caller]
    pub fn leave(mut self, keys: &str) -> Option<i32> {
        self.press(keys);
        end_within(self.child, PATIENCE).expect("the session ends").code()
    }

    /// Waits for the end of a program that reads no keys: all that it showed, and its exit code.
    #[track_caller]
    pub fn watch(self) -> (String, Option<i32>) {
        let code = end_within(self.child, PATIENCE).expect("the program ends").code();
        self.reader.join().unwrap();
        let screen = self.screen.lock().unwrap();
        (String::from_utf8_lossy(&screen[self.seen..]).replace("\r\n", "\n"), code)
    }
}
