//! Records in, answers out in the records' order, several in flight; it knows no terminals, and of files only the one
//! that answers are appended to.
//!
//! A reader's thread reads one record whenever the [`window`] has room, and workers answer them; the caller's thread is the
//! only one that knows what comes next, so that there is nothing to lock but the workers' queue. An answer is delivered as
//! soon as its turn has come: nothing waits for a full window.

pub mod boundary;
pub mod element;
pub mod journal;
pub mod records;
pub mod row;
pub mod table;
pub mod window;

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::infer::Cancel;

/// Answers in flight that share their batches: as many as an engine takes at once.
pub const N_BATCHED: usize = 32;
/// Closed answers in flight otherwise: they are scored one after the other, and the next ones' prompts are made meanwhile.
pub const N_CLOSED: usize = 4;
use records::Record;
use window::Window;

/// Work on records that has not begun yet.
#[derive(Debug)]
pub struct Batch<A> {
    events: Receiver<Event<A>>,
    sender: Sender<Event<A>>,
}

/// Asks a batch to end behind the records in flight.
#[derive(Debug, Clone)]
pub struct Stop<A>(Sender<Event<A>>);

/// How a batch ended.
#[derive(Debug)]
pub enum End<B> {
    /// The input's last record was delivered.
    Whole,
    /// [`Stop`] was asked for; every record that was in flight then was delivered.
    Stopped,
    /// `deliver` wanted no more.
    Broken(B),
    /// The input cannot be read on; every record before was delivered.
    Unreadable(std::io::Error),
}

/// What the caller's thread waits for.
#[derive(Debug)]
enum Event<A> {
    Read(Record),
    Unreadable(std::io::Error),
    EndOfInput,
    Answered(u64, A),
    Stop,
    /// A worker panicked: its answer will never come.
    Lost,
}

/// What is done with a record.
pub struct Work<S, F, D> {
    /// Begins the answer; called in the records' order, one at a time, so that an engine gets its requests in that order.
    pub start: S,
    /// Ends what `start` began; several at once. Waits for the engine are to end with the [`Cancel`].
    pub finish: F,
    /// Takes the answers in the records' order, on the caller's thread; `Break` cancels the rest.
    pub deliver: D,
}

impl<A: Send + 'static> Default for Batch<A> {
    fn default() -> Self {
        let (sender, events) = channel();
        Batch { events, sender }
    }
}

impl<A: Send + 'static> Batch<A> {
    #[must_use]
    pub fn stop(&self) -> Stop<A> {
        Stop(self.sender.clone())
    }

    /// Answers the records of an input, at most `n_parallel` at once.
    pub fn run<I, P, B, S, F, D>(self, input: I, n_parallel: usize, work: Work<S, F, D>) -> End<B>
    where
        I: Iterator<Item = std::io::Result<Record>> + Send + 'static,
        S: FnMut(Record) -> P + Send,
        F: Fn(P, &Cancel) -> A + Sync,
        D: FnMut(A) -> ControlFlow<B>,
    {
        let Batch { events, sender } = self;
        let Work { start, finish, mut deliver } = work;
        let reader = read(input, sender.clone());
        let (jobs, queue) = channel();
        let (queue, cancel) = (Mutex::new((queue, start)), Cancel::default());
        std::thread::scope(|scope| {
            let mut workers = Vec::new();
            let mut course = Course { window: Window::new(n_parallel), end: None, is_reading: false };
            loop {
                while let Some(job) = course.window.start() {
                    if course.window.n_running() > workers.len() {
                        let (queue, finish, cancel, sender) = (&queue, &finish, &cancel, sender.clone());
                        workers.push(scope.spawn(move || answer(queue, finish, cancel, &sender)));
                    }
                    jobs.send(job).expect("the queue outlives the loop");
                }
                if course.wants_record() {
                    // A reader that has ended has said so.
                    course.is_reading = reader.send(()).is_ok();
                }
                if course.end.is_some() && course.window.is_empty() {
                    break;
                }
                match events.recv().expect("a sender is held here") {
                    // Leaving the scope passes the panic on.
                    Event::Lost => break,
                    event => {
                        if let ControlFlow::Break(why) = course.take(event, &mut deliver) {
                            cancel.cancel(workers.iter().map(|worker| worker.thread()));
                            drop(jobs);
                            return End::Broken(why);
                        }
                    }
                }
            }
            drop(jobs);
            course.end.unwrap_or(End::Stopped)
        })
    }
}

/// How far a batch is.
struct Course<A, B> {
    window: Window<Record, A>,
    /// How the batch ends once its window is empty; nothing is read any more where it is known.
    end: Option<End<B>>,
    is_reading: bool,
}

impl<A, B> Course<A, B> {
    fn wants_record(&self) -> bool {
        self.end.is_none() && !self.is_reading && self.window.wants_record()
    }

    /// Takes what has happened; delivers what its turn has come for.
    fn take(&mut self, event: Event<A>, deliver: &mut impl FnMut(A) -> ControlFlow<B>) -> ControlFlow<B> {
        match event {
            Event::Read(record) => {
                self.is_reading = false;
                if self.end.is_none() {
                    let n_bytes = record.n_bytes();
                    self.window.push(record, n_bytes);
                }
            }
            Event::EndOfInput => self.end = self.end.take().or(Some(End::Whole)),
            Event::Unreadable(error) => self.end = self.end.take().or(Some(End::Unreadable(error))),
            Event::Stop => {
                self.window.forget_unstarted();
                self.end = Some(End::Stopped);
            }
            Event::Answered(place, answer) => {
                self.window.answered(place, answer);
                while let Some(answer) = self.window.deliver() {
                    deliver(answer)?;
                }
            }
            Event::Lost => {}
        }
        ControlFlow::Continue(())
    }
}

impl<A> Stop<A> {
    pub fn stop(&self) {
        // A batch that is over has stopped.
        let _ = self.0.send(Event::Stop);
    }
}

/// Reads a record for each message. The thread is not waited for: it may stand in a read that never returns.
fn read<A: Send + 'static>(
    mut input: impl Iterator<Item = std::io::Result<Record>> + Send + 'static,
    events: Sender<Event<A>>,
) -> Sender<()> {
    let (wanted, wants) = channel();
    let reading = move || {
        while wants.recv().is_ok() {
            let event = match input.next() {
                Some(Ok(record)) => Event::Read(record),
                Some(Err(error)) => Event::Unreadable(error),
                None => Event::EndOfInput,
            };
            if events.send(event).is_err() {
                break;
            }
        }
    };
    std::thread::spawn(reading);
    wanted
}

/// A worker: the queue is held until the record is started, which keeps requests in order.
fn answer<P, A, S: FnMut(Record) -> P>(
    queue: &Mutex<(Receiver<(u64, Record)>, S)>,
    finish: impl Fn(P, &Cancel) -> A,
    cancel: &Cancel,
    events: &Sender<Event<A>>,
) {
    let _guard = Guard(events);
    loop {
        let (place, started) = {
            let mut queue = queue.lock().expect("a panic ends the batch");
            let (jobs, start) = &mut *queue;
            let Ok((place, record)) = jobs.recv() else { return };
            (place, start(record))
        };
        if events.send(Event::Answered(place, finish(started, cancel))).is_err() {
            return;
        }
    }
}

/// Says that a worker panics.
struct Guard<'a, A>(&'a Sender<Event<A>>);

impl<A> Drop for Guard<'_, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Event::Lost);
        }
    }
}

#[cfg(test)]
mod tests;
