//! Threads that compute together beside other work: they sleep instead of spinning, unless the environment says how to wait.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::serve::Server;
use crate::slm::{Call, Home, end_within};

/// What `--verbose` says of the wait.
fn waiting(call: Call) -> Option<String> {
    let stderr = call.ends(0).stderr;
    stderr.lines().find_map(|line| line.strip_prefix("waiting")).map(|said| said.trim().to_owned())
}

const LEARNED: &str = "spins for 50µs, beside other work for 1µs, then sleeps";

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#[test]
fn the_environments_wait_is_kept_here_and_in_a_servers_processes() {
    let home = Home::new();
    let run = |n: &str| home.slm(["run", "triage", "--verbose", "--num-thread", n, "I was charged twice"]);
    assert_eq!(waiting(run("2")).as_deref(), Some(LEARNED));
    assert_eq!(waiting(run("1")), None, "one thread waits for nobody");
    let kept = |n: u64| format!("spins {n} times, as the environment sets, then sleeps");
    assert_eq!(waiting(run("2").env("GOMP_SPINCOUNT", "77")), Some(kept(77)));
    assert_eq!(waiting(run("2").env("OMP_WAIT_POLICY", "passive")), Some(kept(0)));
    for (variables, expected) in [(vec![], LEARNED.to_owned()), (vec![("GOMP_SPINCOUNT", "77")], kept(77))] {
        // What counts is the environment of the process that computes.
        let _server = Server::with(&home, &variables);
        assert_eq!(waiting(run("2").env("GOMP_SPINCOUNT", "55")), Some(expected));
    }
}

/// Threads that only spin take more than ten times as long here: each waits for one that the other run's keep from
/// its processor.
#[test]
fn two_runs_at_once_take_about_as_long_as_one_after_the_other() {
    let home = Home::new();
    let rows = home.file("rows.txt", "I was charged twice for order 1182, and nobody answers the phone\n".repeat(300));
    let n_threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)).to_string();
    let start = || -> Child {
        let mut command = home.slm(["run", "triage", "--local", "--lines", "--num-thread", &n_threads]).command();
        command.stdin(std::fs::File::open(&rows).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let end = |child| end_within(child, Duration::from_secs(120)).is_some_and(|status| status.success());
    let started = Instant::now();
    assert!(end(start()) && end(start()));
    let in_turn = started.elapsed();
    let started = Instant::now();
    let (one, other) = (start(), start());
    assert!(end(one) && end(other));
    let at_once = started.elapsed();
    assert!(at_once < 3 * in_turn, "{at_once:?} at once, {in_turn:?} one after the other");
}
