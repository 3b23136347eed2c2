//! Pulls that end before they are done: killed, interrupted, or over a line with faults by chance.
//!
//! `SLM_PULL_KILLS=300 SLM_PULL_FAULTS=300 cargo test --release --locked --test it registry::kills -- --nocapture` gives the
//! figures of the release notes.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::registry::faulty::{Fault, Faulty, What};
use crate::registry::package::{Package, nothing_is_wrong};
use crate::slm::{Home, Random, end_within};

const PATIENCE: Duration = Duration::from_secs(120);

fn count(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn start(home: &Home, server: &Faulty) -> Child {
    let mut command = home.slm(["pull", &server.model()]).command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until a server has sent so many bytes of blobs, or the child has ended by itself.
fn wait_for(server: &Faulty, n_bytes: u64, child: &mut Child) {
    let started = Instant::now();
    while server.n_sent() < n_bytes && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < PATIENCE, "{} of {n_bytes} bytes came", server.n_sent());
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn killed_pulls_are_gone_on_with() {
    let n_kills = count("SLM_PULL_KILLS", 8);
    // The size of a small model's weights, where it is for the figures.
    let megabytes = if n_kills > 20 { 256 } else { 48 };
    let package = Package::random(3, megabytes << 20, &[700_000, 20_000]);
    let server = Faulty::serve(&package);
    let mut random = Random::new(count("SLM_PULL_SEED", 1) as u64);
    let (mut n_in_the_middle, mut n_twice) = (0, 0);
    for _ in 0..n_kills {
        let home = Home::new();
        server.forget();
        let mut child = start(&home, &server);
        if random.below(8) == 0 {
            // Before the first byte, or after the last.
            std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
        } else {
            wait_for(&server, random.below(package.n_bytes() as usize) as u64, &mut child);
            std::thread::sleep(Duration::from_micros(random.below(3000) as u64));
        }
        child.kill().unwrap();
        let is_killed = child.wait().unwrap().code().is_none();
        n_in_the_middle += usize::from(is_killed && server.n_sent() > 0);
        nothing_is_wrong(&home.models());
        home.slm(["pull", &server.model()]).succeeds();
        package.is_in(&home.models(), &server.place());
        n_twice += server.n_sent() - package.n_bytes();
    }
    let share = n_twice as f64 / (package.n_bytes() * n_kills as u64) as f64;
    println!(
        "{n_kills} pulls of {megabytes} MiB killed, {n_in_the_middle} of them in the middle: 0 wrong models, \
         {n_twice} bytes sent twice, {:.2} % of all",
        share * 100.0
    );
    assert!(n_in_the_middle > 0);
    assert!(share < 0.2, "{share}");
}

#[test]
fn ctrl_c_ends_a_pull_that_can_be_gone_on_with() {
    let (home, package) = (Home::new(), Package::random(1, 20_000_000, &[]));
    let server = Faulty::serve(&package).with(|_| Fault::Slow { bytes_per_second: 3_000_000 });
    let mut child = start(&home, &server);
    wait_for(&server, 4_000_000, &mut child);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(end_within(child, Duration::from_secs(10)).and_then(|status| status.code()), Some(130));
    nothing_is_wrong(&home.models());
    server.faults(|_| Fault::None);
    home.slm(["pull", &server.model()]).succeeds();
    package.is_in(&home.models(), &server.place());
    let twice = server.n_sent() - package.n_bytes();
    assert!(twice < package.n_bytes() / 10, "{twice} bytes came twice");
}

/// A kind of fault, and one of it for a number that chance picks.
type Kind = (&'static str, fn(u64) -> Fault);

fn kinds() -> [Kind; 16] {
    [
        ("cut", |after| Fault::Cut { after }),
        ("reset", |after| Fault::Reset { after }),
        ("206 of another range", |by| Fault::OtherRange { by: 1 + by }),
        ("206 without a range", |_| Fault::NoContentRange),
        ("more than asked for", |by| Fault::MoreBytes { by: 1 + by }),
        ("no ranges", |_| Fault::NoRanges),
        ("416", |_| Fault::Status(416)),
        ("429 with Retry-After", |_| Fault::Later { status: 429, retry_after: "1".to_owned() }),
        ("503", |_| Fault::Status(503)),
        ("500", |_| Fault::Status(500)),
        ("a page", |_| Fault::Page),
        ("false length", |by| Fault::Length(by + (1 << 40))),
        ("endless", |_| Fault::Endless),
        ("slow", |by| Fault::Slow { bytes_per_second: 3_000_000 + by }),
        ("a wrong byte", |at| Fault::Flip { at }),
        ("wrong bytes", |by| Fault::OtherBytes { by: 1 + by }),
    ]
}

/// Wrong bytes that look like right ones: a blob has one digest, so nobody can say which they are, and all of it comes again.
const SILENT: [&str; 2] = ["a wrong byte", "wrong bytes"];

#[derive(Default)]
struct Tally {
    n_pulls: u64,
    n_calls: u64,
    n_bytes: u64,
    n_twice: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.n_pulls += other.n_pulls;
        self.n_calls += other.n_calls;
        self.n_bytes += other.n_bytes;
        self.n_twice += other.n_twice;
    }
}

#[test]
fn pulls_over_a_faulty_line_end_with_the_right_bytes() {
    let n_pulls = count("SLM_PULL_FAULTS", kinds().len());
    let package = Package::random(4, 40 << 20, &[700_000, 20_000]);
    let server = Faulty::serve(&package);
    let mut random = Random::new(count("SLM_PULL_SEED", 1) as u64);
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for number in 0..n_pulls {
        let (kind, fault) = kinds()[number % kinds().len()];
        let home = Home::new();
        server.forget();
        // One to three faults, at requests and places of chance; the manifest's is among them.
        let seeds = Mutex::new(Random::new(random.below(1 << 30) as u64));
        let left = Mutex::new(1 + random.below(3));
        server.faults(move |seen| {
            let (mut random, mut left) = (seeds.lock().unwrap(), left.lock().unwrap());
            let is_hit = *left > 0 && random.below(3) == 0;
            if !is_hit || !matches!(seen.what, What::Blob | What::Manifest) {
                return Fault::None;
            }
            *left -= 1;
            fault(random.below(2_000_000) as u64)
        });
        let tally = tallies.entry(kind).or_default();
        for call in 1.. {
            assert!(call < 10, "{kind} never ends");
            let child = start(&home, &server);
            let code = end_within(child, PATIENCE).and_then(|status| status.code());
            nothing_is_wrong(&home.models());
            tally.n_calls += 1;
            match code {
                Some(0) => break,
                Some(1) => {}
                code => panic!("{kind}: {code:?}"),
            }
        }
        package.is_in(&home.models(), &server.place());
        tally.n_pulls += 1;
        tally.n_bytes += package.n_bytes();
        tally.n_twice += server.n_sent() - package.n_bytes();
    }
    println!("\n| fault | pulls | calls of slm | wrong models | bytes sent twice |\n|---|---|---|---|---|");
    let share = |tally: &Tally| 100.0 * tally.n_twice as f64 / tally.n_bytes as f64;
    let (mut all, mut told) = (Tally::default(), Tally::default());
    for (kind, tally) in &tallies {
        println!("| {kind} | {} | {} | 0 | {:.2} % |", tally.n_pulls, tally.n_calls, share(tally));
        all.add(tally);
        if !SILENT.contains(kind) {
            told.add(tally);
        }
    }
    println!(
        "| all but bytes that are wrong in silence | {} | {} | 0 | {:.2} % |",
        told.n_pulls,
        told.n_calls,
        share(&told)
    );
    println!("| all | {} | {} | 0 | {:.2} % |", all.n_pulls, all.n_calls, share(&all));
    assert!(share(&told) < 5.0);
}
