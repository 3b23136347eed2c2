//! An engine's process, seen from its parent: it is started, asked, and ended as soon as its last handle is gone, whatever it is
//! doing. It never outlives its parent, and requests never wait for its end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use tokio::sync::oneshot;

use super::run_detached;
use crate::link::connection::{Connection, ConnectionError};
use crate::link::{Driver, Link, LinkEnd};
use crate::{Engine, EngineError, ModelInfo, Options};

/// The subcommand of this program that is an engine.
pub const SUBCOMMAND: &str = "engine";

/// How long a process may take to end by itself after its connection was closed: it leaves in the middle of whatever it does.
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
        engine(self.0.blocking_recv().ok())
    }

    /// Ends the process; what is awaited then comes when it has gone, or was loaded before that.
    pub fn give_up(&mut self) {
        self.0.close();
    }
}

impl Future for Loading {
    type Output = Result<Engine, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let loaded = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(engine(loaded.ok()))
    }
}

fn engine(loaded: Option<Result<Link, EngineError>>) -> Result<Engine, EngineError> {
    loaded.unwrap_or(Err(EngineError::Stopped)).map(Engine::linked)
}

/// Starts `program` as an engine and lets it load a model.
pub fn spawn(program: PathBuf, options: Options) -> Loading {
    let (loaded, loading) = oneshot::channel();
    run_detached("engine's connection", live(program, options, loaded));
    Loading(loading)
}

/// A process from its start to its end.
async fn live(program: PathBuf, options: Options, mut loaded: oneshot::Sender<Result<Link, EngineError>>) {
    let not_started = |error| EngineError::Load { reason: format!("cannot start its process: {error}") };
    let (mut process, stream) = match Process::start(program).await.map_err(not_started) {
        Ok(started) => started,
        Err(error) => return drop(loaded.send(Err(error))),
    };
    let mut driver = tokio::select! {
        // A caller that gave up may wait until the memory is free: the sender is dropped after the process has ended.
        () = loaded.closed() => {
            process.end_now().await;
            return;
        }
        answered = load(stream, &options, process.pid) => match answered {
            Ok(Ok((link, driver))) => {
                if loaded.send(Ok(link)).is_err() {
                    return;
                }
                driver
            }
            Ok(Err(refused)) => {
                process.end_within(GRACE).await;
                return drop(loaded.send(Err(refused)));
            }
            Err(lost) => {
                let crashed = crashed(&lost, process.end_now().await);
                return drop(loaded.send(Err(crashed)));
            }
        },
    };
    let end = driver.run().await;
    let ending = driver.hang_up();
    let why = match end {
        LinkEnd::Unwanted => {
            process.end_within(GRACE).await;
            EngineError::Stopped
        }
        LinkEnd::Lost(lost) => crashed(&lost, process.end_now().await),
    };
    ending.tell(why).await;
}

/// Sends the options and waits for what becomes of them.
async fn load(
    stream: UnixStream,
    options: &Options,
    pid: u32,
) -> Result<Result<(Link, Driver), EngineError>, ConnectionError> {
    let mut connection = Connection::new(stream).map_err(|_| ConnectionError::Closed)?;
    connection.push(options)?;
    let answer: Result<ModelInfo, EngineError> = connection.receive().await?;
    Ok(answer.map(|info| Link::new(connection, info, Some(pid))))
}

/// The error for requests whose process has ended.
fn crashed(lost: &ConnectionError, status: Option<ExitStatus>) -> EngineError {
    let how = match (lost, status.map(|status| (status.signal(), status.code()))) {
        (ConnectionError::Frame(error), _) => format!("sent an invalid message and was stopped: {error}"),
        (ConnectionError::Closed, Some((Some(signal), _))) => match name(signal) {
            Some(name) => format!("was ended by signal {signal} ({name})"),
            None => format!("was ended by signal {signal}"),
        },
        (ConnectionError::Closed, Some((_, Some(code)))) => format!("ended with exit code {code}"),
        (ConnectionError::Closed, _) => "no longer answers".to_owned(),
    };
    EngineError::Crashed { how }
}

/// The signals that end programs, by name.
fn name(signal: i32) -> Option<&'static str> {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::SYS, "SIGSYS"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
    ];
    names.into_iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| name)
}

/// A child process. Dropping it ends it.
struct Process {
    pid: u32,
    child: Arc<Mutex<Child>>,
    ended: oneshot::Receiver<ExitStatus>,
}

impl Process {
    /// Starts a process; the other end of the stream is its standard input.
    async fn start(program: PathBuf) -> io::Result<(Process, UnixStream)> {
        let (started, starting) = oneshot::channel();
        // A thread for each process, from its start to its end: Linux sends the signal of a parent's death when the *thread*
        // ends that started the process.
        std::thread::Builder::new().name("engine's keeper".to_owned()).spawn(move || keep(&program, started))?;
        starting.await.unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))
    }

    /// Kills it; `None` where the system takes too long to end it.
    async fn end_now(&mut self) -> Option<ExitStatus> {
        self.kill();
        tokio::time::timeout(GRACE, &mut self.ended).await.ok()?.ok()
    }

    /// Lets it end by itself, and ends it where it does not.
    async fn end_within(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, &mut self.ended).await.is_err() {
            self.end_now().await;
        }
    }

    fn kill(&self) {
        // One that has ended is left alone: its number may be another's by now.
        let _ = lock(&self.child).kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process, waits for its end and reaps it.
fn keep(program: &Path, started: oneshot::Sender<io::Result<(Process, UnixStream)>>) {
    let (child, stream) = match start(program) {
        Ok(begun) => begun,
        Err(error) => return drop(started.send(Err(error))),
    };
    let pid = child.id();
    let child = Arc::new(Mutex::new(child));
    let (ending, ended) = oneshot::channel();
    // If the caller has given up, the process is dropped here, which ends it.
    drop(started.send(Ok((Process { pid, child: Arc::clone(&child), ended }, stream))));
    // Its number stays its own until it is reaped, which is done under the lock that a kill needs.
    let id = WaitId::Pid(Pid::from_child(&lock(&child)));
    let _ = rustix::io::retry_on_intr(|| waitid(id.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
    if let Ok(status) = lock(&child).wait() {
        let _ = ending.send(status);
    }
}

fn start(program: &Path) -> io::Result<(Child, UnixStream)> {
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
    Ok((child, ours))
}
