//! An engine's process, seen from its parent: it is started, asked, and gone when nobody wants it, whatever it is doing. It
//! is never left behind, and never waited for by those who ask.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::line::{Line, LineError};
use super::link::{Driver, End, Link};
use crate::engine::{Engine, EngineError, ModelInfo, Options};

/// The subcommand of this program that is an engine.
pub const SUBCOMMAND: &str = "engine";

/// How long a process may take to end by itself after its line was closed: it leaves in the middle of whatever it does.
const GRACE: Duration = Duration::from_secs(2);

/// A process that was started and loads its model. Dropping it ends the process.
#[derive(Debug)]
#[must_use = "dropping it ends the process"]
pub struct Loading(oneshot::Receiver<Result<Link, EngineError>>);

impl Loading {
    /// Waits on this thread, which must not be a runtime's.
    ///
    /// # Errors
    /// The process cannot be started, it refuses the model, or it ended.
    pub fn wait(self) -> Result<Engine, EngineError> {
        self.0.blocking_recv().unwrap_or(Err(EngineError::Stopped)).map(Engine::linked)
    }
}

impl Future for Loading {
    type Output = Result<Engine, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let loaded = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(loaded.unwrap_or(Err(EngineError::Stopped)).map(Engine::linked))
    }
}

/// Starts `program` as an engine and lets it load a model.
pub fn spawn(program: PathBuf, options: Options) -> Loading {
    let (loaded, loading) = oneshot::channel();
    // A thread for each process, from its start to its end: Linux ends a process whose death signal is set when the
    // *thread* that started it ends.
    let thread = std::thread::Builder::new().name("engine's keeper".to_owned());
    if let Err(error) = thread.spawn(move || keep(&program, &options, loaded)) {
        let (failed, loading) = oneshot::channel();
        let _ = failed.send(Err(not_started(&error)));
        return Loading(loading);
    }
    Loading(loading)
}

fn not_started(error: &io::Error) -> EngineError {
    EngineError::Load { reason: format!("no process could be started for it: {error}") }
}

/// A process from its start to its end.
fn keep(program: &Path, options: &Options, mut loaded: oneshot::Sender<Result<Link, EngineError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let started = runtime.and_then(|runtime| start(program).map(|(process, stream)| (runtime, process, stream)));
    let (runtime, mut process, stream) = match started {
        Ok(started) => started,
        Err(error) => return drop(loaded.send(Err(not_started(&error)))),
    };
    runtime.block_on(async {
        let driver = tokio::select! {
            () = loaded.closed() => return process.end_now(),
            answered = load(stream, options, process.id()) => match answered {
                Ok(Ok((link, driver))) => match loaded.send(Ok(link)) {
                    Ok(()) => driver,
                    Err(_) => return process.end_now(),
                },
                Ok(Err(refused)) => {
                    process.end_within(GRACE);
                    return drop(loaded.send(Err(refused)));
                }
                Err(lost) => {
                    process.end_now();
                    return drop(loaded.send(Err(crashed(&lost, process.status))));
                }
            },
        };
        drive(driver, &mut process).await;
    });
    // Whatever could not be ended within the time that others wait for it.
    process.reap();
}

/// Sends the options and waits for what becomes of them.
async fn load(
    stream: UnixStream,
    options: &Options,
    pid: u32,
) -> Result<Result<(Link, Driver), EngineError>, LineError> {
    let mut line = Line::new(stream).map_err(|_| LineError::Closed)?;
    line.push(options)?;
    let answer: Result<ModelInfo, EngineError> = line.receive().await?;
    Ok(answer.map(|info| Link::new(line, info, Some(pid))))
}

/// Carries requests until nobody wants any more or the process has ended, and ends it.
async fn drive(mut driver: Driver, process: &mut Process) {
    let end = driver.run().await;
    let ending = driver.hang_up();
    let why = match end {
        End::Unwanted => {
            process.end_within(GRACE);
            EngineError::Stopped
        }
        End::Lost(lost) => {
            process.end_now();
            crashed(&lost, process.status)
        }
    };
    ending.tell(why).await;
}

/// What is said to those who waited for a process.
fn crashed(lost: &LineError, status: Option<ExitStatus>) -> EngineError {
    let how = match (lost, status.map(|status| (status.signal(), status.code()))) {
        (LineError::Frame(error), _) => format!("sent what it should not, and was ended: {error}"),
        (LineError::Closed, Some((Some(signal), _))) => match name(signal) {
            Some(name) => format!("was ended by signal {signal} ({name})"),
            None => format!("was ended by signal {signal}"),
        },
        (LineError::Closed, Some((_, Some(code)))) => format!("ended with exit code {code}"),
        (LineError::Closed, _) => "does not answer any more".to_owned(),
    };
    EngineError::Crashed { how }
}

/// The signals that end programs, by name.
fn name(signal: i32) -> Option<&'static str> {
    let names = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGSYS, "SIGSYS"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
    ];
    names.into_iter().find(|(number, _)| *number == signal).map(|(_, name)| name)
}

/// A child process that is reaped exactly once.
struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

/// Starts a process; the other end of the stream is its standard input.
fn start(program: &Path) -> io::Result<(Process, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(program)
        // As people see it in a list of processes.
        .arg0("slm")
        .arg(SUBCOMMAND)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // Native code that prints must not be taken for data.
        .stdout(io::stderr())
        .stderr(Stdio::inherit())
        // Ctrl-C goes to all of a terminal's group; what it means for an engine is its parent's to say.
        .process_group(0)
        .spawn()?;
    Ok((Process { child, status: None }, ours))
}

impl Process {
    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once.
    fn end_now(&mut self) {
        // It fails where the process has ended already.
        let _ = self.child.kill();
        self.ended_within(GRACE);
    }

    /// Lets it end by itself, and ends it where it does not.
    fn end_within(&mut self, grace: Duration) {
        self.ended_within(grace);
        if self.status.is_none() {
            self.end_now();
        }
    }

    /// Waits until it has ended, on a thread that has nothing else to do.
    fn ended_within(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(100);
        while self.status.is_none() && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(status) => self.status = status,
                // Nobody's child: there is nothing to wait for.
                Err(_) => return,
            }
            if self.status.is_none() {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
        }
    }

    fn reap(mut self) {
        if self.status.is_none() {
            let _ = self.child.wait();
        }
    }
}
