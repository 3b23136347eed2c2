//! Independent pieces of work on several threads, with results in the order of the pieces.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `work` makes of 0..n, whatever the number of threads: no piece knows another.
pub(super) fn map<T: Send>(n: usize, n_threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<T>>> = (0..n).map(|_| Mutex::new(None)).collect();
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = results.get(at) else { return };
            let result = work(at);
            *place.lock().expect("nobody panics with it") = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..n_threads.clamp(1, n.max(1)) {
            scope.spawn(run);
        }
        run();
    });
    let taken = results.into_iter().map(|place| place.into_inner().expect("as above"));
    taken.map(|result| result.expect("every piece was done")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_have_the_order_of_their_pieces() {
        for n_threads in [0, 1, 2, 7] {
            assert_eq!(super::map(23, n_threads, |at| at * at), (0..23).map(|at| at * at).collect::<Vec<_>>());
        }
        assert_eq!(super::map(0, 3, |at| at), Vec::<usize>::new());
    }
}
