//! Ctrl-C: the first finishes what is in progress, the second ends at once; a session handles each itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::engine;
use crate::failure::Failure;

static HAPPENED: AtomicBool = AtomicBool::new(false);
/// As a shell reports SIGINT.
const EXIT_CODE: i32 = 130;

/// Whether Ctrl-C was pressed since [`listen`].
#[must_use]
pub fn happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}

/// What is said where the answers that came before Ctrl-C are kept.
pub const KEPT: &str = "interrupted; the answers that came are kept, so that the same command goes on there";

/// Holds that Ctrl-C was not pressed while rows were asked whose answers are kept.
///
/// # Errors
/// It was.
pub fn finished() -> Result<(), Failure> {
    if happened() { Err(Failure::failed(KEPT)) } else { Ok(()) }
}

/// What Ctrl-C does; without it, Ctrl-C ends the process.
static ANSWER: Mutex<Option<Answer>> = Mutex::new(None);
static LISTENING: Once = Once::new();

/// Who answers Ctrl-C.
enum Answer {
    /// The first alone: the second ends the process.
    First(Box<dyn Fn() + Send>),
    /// Each of them, and none ends the process.
    Each(Box<dyn Fn() + Send>),
}

/// While it is held, Ctrl-C is someone's to answer.
#[derive(Debug)]
pub struct Listening(());

/// Takes Ctrl-C over from the system, which would end the process in the middle of a row, until what is given back is
/// dropped. The first Ctrl-C calls `first` on another thread.
#[must_use]
pub fn listen(first: impl Fn() + Send + 'static) -> Listening {
    begin(Answer::First(Box::new(first)))
}

/// As [`listen`], for every Ctrl-C until what is given back is dropped. None of them counts as [`happened`].
#[must_use]
pub fn listen_to_each(each: impl Fn() + Send + 'static) -> Listening {
    begin(Answer::Each(Box::new(each)))
}

impl Drop for Listening {
    fn drop(&mut self) {
        set(None);
    }
}

fn begin(answer: Answer) -> Listening {
    set(Some(answer));
    LISTENING.call_once(take_over);
    Listening(())
}

fn set(answer: Option<Answer>) {
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = answer;
}

fn take_over() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let entered = runtime.enter();
    let registered = signal(SignalKind::interrupt());
    drop(entered);
    // Where it could not be taken over, Ctrl-C keeps its ordinary meaning.
    let Ok(mut interrupts) = registered else { return };
    let listener = move || {
        runtime.block_on(async {
            while interrupts.recv().await.is_some() {
                match &*ANSWER.lock().unwrap_or_else(PoisonError::into_inner) {
                    Some(Answer::Each(each)) => each(),
                    _ if HAPPENED.swap(true, Ordering::SeqCst) => engine::leave(EXIT_CODE),
                    Some(Answer::First(first)) => first(),
                    None => engine::leave(EXIT_CODE),
                }
            }
        });
    };
    let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(listener);
}
