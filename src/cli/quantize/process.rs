//! `slm quantizer`: the process in which llama.cpp quantizes, with its memory bounded; and how it is started, heard and ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::cli::interrupt;
use crate::engine;
use crate::engine::quantize::{QuantizeEvent, QuantizeJob};
use crate::failure::{Exit, Failure, Outcome};

/// The subcommand of this program that quantizes.
const SUBCOMMAND: &str = "quantizer";
/// Memory beside the buffers for a tensor's numbers: an importance matrix, tables of the types, stacks of threads.
const MEMORY_BESIDE_BUFFERS: u64 = 2 << 30;

/// A line of the process's standard output.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Event(QuantizeEvent),
    Refused(String),
}

/// Does the job on standard input, and tells on standard output how far it is.
///
/// # Errors
/// There is no job, or the weights cannot be quantized.
pub fn serve() -> Outcome {
    end_with_parent();
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string());
    let job: Result<QuantizeJob, String> =
        read.and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string()));
    let job = job.map_err(|error| {
        Failure::usage(format!(
            "standard input has no job for the quantizer ({error}); `slm create -q` starts this command"
        ))
    })?;
    bound(job.max_buffer_bytes.saturating_add(MEMORY_BESIDE_BUFFERS));
    match engine::quantize(&job, |event| write(&Line::Event(event))) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            write(&Line::Refused(error.to_string()));
            Ok(Exit::Failed)
        }
    }
}

/// Writes a line. A parent that is gone ends this process by its signal.
fn write(line: &Line) {
    let mut line = serde_json::to_string(line).expect("text and numbers");
    line.push('\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// Where the parent dies, Linux ends this process too.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Bounds the memory that is this process's own; mapped weights do not count.
fn bound(most: u64) {
    let limit = getrlimit(Resource::Data);
    let current = Some(limit.current.unwrap_or(most).min(most));
    // A system that does not let it has none.
    let _ = setrlimit(Resource::Data, Rlimit { current, ..limit });
}

/// Does a job in a process of its own.
///
/// # Errors
/// It cannot be started, refuses the job, is ended, or a person interrupts it.
pub fn run(job: &QuantizeJob, mut on: impl FnMut(QuantizeEvent)) -> Result<(), Failure> {
    let mut child = start().map_err(|error| Failure::failed(format!("cannot start the quantizer: {error}")))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
    let child = Arc::new(Mutex::new(child));
    let ended = Arc::clone(&child);
    let _listening = interrupt::listen(move || drop(lock(&ended).kill()));
    let json = serde_json::to_vec(job).expect("text and numbers");
    // One that has ended says why, and standard input is closed in any case.
    let _ = stdin.expect("it is piped").write_all(&json);
    let mut refused = None;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Line::Event(event)) => on(event),
            Ok(Line::Refused(reason)) => refused = Some(reason),
            // Native code that prints.
            Err(_) => tracing::debug!("the quantizer says: {line}"),
        }
    }
    let status = lock(&child).wait().map_err(|error| Failure::failed(format!("the quantizer is lost: {error}")))?;
    if interrupt::happened() {
        return Err(Failure { message: "interrupted; nothing was changed".to_owned(), exit: Exit::Interrupted });
    }
    match (refused, status.signal()) {
        (Some(reason), _) => Err(Failure::failed(reason)),
        (None, Some(signal)) => Err(Failure::failed(format!("the quantizer was ended by signal {signal}"))),
        (None, None) if status.success() => Ok(()),
        (None, None) => Err(Failure::failed(format!("the quantizer ended with {status}"))),
    }
}

fn start() -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        // As people see it in a list of processes.
        .arg0("slm")
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C goes to all of a terminal's group; what it means here is its parent's to say.
        .process_group(0)
        .spawn()
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
