//! Batches with answers that finish in any order, fail, panic, or are not wanted any more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::Duration;

use proptest::prelude::*;

use super::records::{Record, Records};
use super::*;

fn numbers(n: usize) -> impl Iterator<Item = std::io::Result<Record>> + Send + 'static {
    let text: String = (0..n).map(|number| format!("{number}\n")).collect();
    Records::new(std::io::Cursor::new(text.into_bytes()))
}

fn number(record: Record) -> usize {
    record.text.unwrap().parse().unwrap()
}

/// Lets numbers pass in an order of its own: each waits until those before it in `order` that are in flight have passed.
struct Gate {
    rank: Vec<usize>,
    waiting: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl Gate {
    fn new(rank: Vec<usize>) -> Self {
        Gate { rank, waiting: Mutex::default(), changed: Condvar::new() }
    }

    fn enter(&self, number: usize) {
        self.waiting.lock().unwrap().push(number);
        self.changed.notify_all();
    }

    /// Waits a moment for others to enter, then until no lower rank is here.
    fn pass(&self, number: usize) {
        let mut waiting = self.waiting.lock().unwrap();
        (waiting, _) = self.changed.wait_timeout(waiting, Duration::from_micros(300)).unwrap();
        while waiting.iter().any(|other| self.rank[*other] < self.rank[number]) {
            waiting = self.changed.wait(waiting).unwrap();
        }
        waiting.retain(|other| *other != number);
        self.changed.notify_all();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn order_is_kept_whatever_finishes_first_and_whatever_fails(
        (n, rank) in (0usize..50).prop_flat_map(|n| (Just(n), Just((0..n).collect::<Vec<_>>()).prop_shuffle())),
        n_parallel in 1usize..9,
        failing in 1usize..5,
        broken_at in proptest::option::of(0usize..60),
        stopped_at in proptest::option::of(0usize..60),
    ) {
        let gate = Gate::new(rank);
        let (n_started, most, running) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let mut delivered = Vec::new();
        let batch = Batch::default();
        let stop = batch.stop();
        let end = batch.run(numbers(n), n_parallel, Work {
            start: |record| {
                let number = number(record);
                gate.enter(number);
                assert_eq!(n_started.fetch_add(1, Ordering::SeqCst), number, "started out of order");
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                number
            },
            finish: |number, _cancel: &Cancel| {
                gate.pass(number);
                running.fetch_sub(1, Ordering::SeqCst);
                if number % failing == 0 { Err(number) } else { Ok(number) }
            },
            deliver: |answer| {
                let (Ok(number) | Err(number)) = answer;
                assert_eq!(answer.is_err(), number % failing == 0);
                delivered.push(number);
                if stopped_at == Some(number) {
                    stop.stop();
                }
                if broken_at == Some(number) { ControlFlow::Break(number) } else { ControlFlow::Continue(()) }
            },
        });
        prop_assert!(most.into_inner() <= n_parallel);
        prop_assert_eq!(&delivered, &(0..delivered.len()).collect::<Vec<_>>());
        match end {
            End::Whole => prop_assert_eq!(delivered.len(), n),
            // What was in flight is delivered, and nothing started is lost.
            End::Stopped => prop_assert_eq!((stopped_at < Some(n), delivered.len()), (true, n_started.into_inner())),
            End::Broken(number) => prop_assert_eq!((broken_at, delivered.len()), (Some(number), number + 1)),
            End::Unreadable(error) => panic!("{error}"),
        }
    }
}

/// The reader stands in a read while the answer before is wanted, as with `tail -f`.
#[test]
fn an_answer_does_not_wait_for_the_next_record() {
    let (lines, input) = mpsc::channel::<Record>();
    let mut texts = vec!["b", "a"];
    let say = |lines: &mpsc::Sender<Record>, text: &str| {
        let read = Records::new(std::io::Cursor::new(text.as_bytes().to_vec())).next().unwrap().unwrap();
        lines.send(read).unwrap();
    };
    say(&lines, "first");
    let mut lines = Some(lines);
    let mut answers = Vec::new();
    let end = Batch::default().run(
        input.into_iter().map(Ok),
        4,
        Work {
            start: |record: Record| record.text.unwrap(),
            finish: |text, _cancel: &Cancel| text,
            deliver: |text| {
                answers.push(text);
                match texts.pop() {
                    Some(next) => say(lines.as_ref().unwrap(), next),
                    None => lines = None,
                }
                ControlFlow::<()>::Continue(())
            },
        },
    );
    assert!(matches!(end, End::Whole), "{end:?}");
    assert_eq!(answers, ["first", "a", "b"]);
}

#[test]
fn a_stop_ends_a_batch_that_waits_for_input() {
    let (lines, input) = mpsc::channel::<Record>();
    let batch = Batch::default();
    let stop = batch.stop();
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        stop.stop();
    });
    let end: End<()> = batch.run(
        input.into_iter().map(Ok),
        4,
        Work { start: |_| (), finish: |(), _cancel: &Cancel| (), deliver: |()| ControlFlow::Continue(()) },
    );
    assert!(matches!(end, End::Stopped), "{end:?}");
    stopping.join().unwrap();
    drop(lines);
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_worker_that_panics_ends_the_batch() {
    let _: End<()> = Batch::default().run(
        numbers(9),
        3,
        Work {
            start: number,
            finish: |number, _cancel: &Cancel| assert_ne!(number, 4, "expected here"),
            deliver: |()| ControlFlow::Continue(()),
        },
    );
}

#[test]
fn input_that_breaks_off_ends_behind_what_was_read() {
    let input = numbers(5).chain(std::iter::once_with(|| Err(std::io::Error::other("gone"))));
    let mut n_delivered = 0;
    let end: End<()> = Batch::default().run(
        input,
        2,
        Work {
            start: number,
            finish: |number, _cancel: &Cancel| number,
            deliver: |_| {
                n_delivered += 1;
                ControlFlow::Continue(())
            },
        },
    );
    assert!(matches!(&end, End::Unreadable(error) if error.to_string() == "gone"), "{end:?}");
    assert_eq!(n_delivered, 5);
}
