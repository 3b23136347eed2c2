//! Judges one pull from a server that misbehaves: the model is whole, or there is a sentence, the store is as it was, and
//! the next pull from a server in order completes it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::registry::faulty::{Fault, Faulty, Seen};
use crate::registry::package::{Package, nothing_is_wrong, outside_of_the_store};
use crate::slm::{Home, files};

/// What has to come of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// The whole model, at the first call.
    Whole,
    /// Exit 1, and a sentence with these words.
    Refused(&'static str),
    /// The model or a sentence: both are right.
    Either,
}

type Prepare = Box<dyn Fn(&Home, &Faulty) + Send + Sync>;

/// One way to misbehave.
pub struct Case {
    name: String,
    /// What the server has, and should have had.
    offered: Package,
    right: Package,
    fault: Arc<dyn Fn(&Seen) -> Fault + Send + Sync>,
    wanted: Wanted,
    prepare: Prepare,
    lasts: Lasts,
}

/// How long a case takes.
#[derive(Clone, Copy, PartialEq)]
enum Lasts {
    Seconds,
    /// All the patience that a pull has, about two minutes; played where `SLM_PULL_ALL` is set.
    Minutes,
}

impl Case {
    pub fn new(name: impl Into<String>, package: &Package, wanted: Wanted) -> Case {
        Case {
            name: name.into(),
            offered: package.clone(),
            right: package.clone(),
            fault: Arc::new(|_| Fault::None),
            wanted,
            prepare: Box::new(|_, _| {}),
            lasts: Lasts::Seconds,
        }
    }

    /// With faults, decided for each request.
    pub fn fault(self, fault: impl Fn(&Seen) -> Fault + Send + Sync + 'static) -> Case {
        Case { fault: Arc::new(fault), ..self }
    }

    /// With something else in the model's place.
    pub fn offers(self, offered: Package) -> Case {
        Case { offered, ..self }
    }

    /// With something done to the home and the server first.
    pub fn prepare(self, prepare: impl Fn(&Home, &Faulty) + Send + Sync + 'static) -> Case {
        Case { prepare: Box::new(prepare), ..self }
    }

    /// Until a pull's patience is at its end.
    pub fn exhausts_patience(self) -> Case {
        Case { lasts: Lasts::Minutes, ..self }
    }

    /// Plays the case and gives its line of the table.
    fn judge(&self) -> String {
        let home = Home::new();
        // Another model is there before.
        let kept = Package::random(77, 3000, &[]);
        let good = Faulty::serve(&kept);
        home.slm(["pull", &good.model()]).succeeds();
        let server = Faulty::serve(&self.offered);
        (self.prepare)(&home, &server);
        let fault = Arc::clone(&self.fault);
        server.faults(move |seen| fault(seen));
        let (visible, outside) = (visible(&home), outside_of_the_store(&home));

        let started = Instant::now();
        // What stands still is told soon.
        let said = home.slm(["pull", &server.model()]).env("SLM_STALL_SECONDS", "2").run();
        let seconds = started.elapsed().as_secs_f64();
        let (n_requests, n_sent) = (server.seen().len(), server.n_sent());
        let about = format!("{}: {:?} {}", self.name, said.code, said.stderr);
        nothing_is_wrong(&home.models());
        assert_eq!(outside_of_the_store(&home), outside, "{about}");
        let is_whole = said.code == Some(0);
        match self.wanted {
            Wanted::Whole => assert!(is_whole, "{about}"),
            Wanted::Refused(words) => assert!(!is_whole && said.stderr.contains(words), "{about}"),
            Wanted::Either => {}
        }
        if is_whole {
            self.offered.is_in(&home.models(), &server.place());
        } else {
            assert_eq!(said.code, Some(1), "{about}");
            assert!(said.stderr.starts_with("slm: ") && said.stderr.trim_end().lines().count() == 1, "{about}");
            assert!(said.stderr.len() < 1000 && !said.stderr.contains('\x1b'), "{about}");
            let now = self::visible(&home);
            assert!(visible.iter().all(|old| now.contains(old)), "a file of the store is another: {about}");
            // Layers that came whole may stay, for the next try; no name points at them.
            let is_new_name = |path: &PathBuf| !path.starts_with(home.models().join("blobs"));
            let n_names = |files: &[(PathBuf, Vec<u8>)]| files.iter().filter(|(path, _)| is_new_name(path)).count();
            assert_eq!(n_names(&now), n_names(&visible), "{about}");
            server.offer(&self.right);
            server.faults(|_| Fault::None);
            home.slm(["pull", &server.model()]).succeeds();
            self.right.is_in(&home.models(), &server.place());
        }
        assert_eq!(outside_of_the_store(&home), outside, "{about}");
        let outcome = if is_whole { "whole model" } else { said.stderr.trim_start_matches("slm: ").trim_end() };
        let outcome = outcome.replace('|', "\\|").replace(&server.host(), "HOST");
        let times = n_sent as f64 / self.offered.n_bytes() as f64;
        format!("| {} | {outcome} | {n_requests} | {times:.2} | {seconds:.1} |", self.name)
    }
}

/// Plays cases, several at a time for most of them wait, and prints their table.
pub fn judge(title: &str, cases: &[Case]) {
    let plays_all = std::env::var_os("SLM_PULL_ALL").is_some();
    let played: Vec<&Case> = cases.iter().filter(|case| plays_all || case.lasts == Lasts::Seconds).collect();
    let (next, n_wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let lines = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let play = || {
            while let Some((nth, case)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, played.get(n)?)))
            {
                let judged = std::panic::catch_unwind(AssertUnwindSafe(|| case.judge()));
                let line = judged.unwrap_or_else(|_| {
                    n_wrong.fetch_add(1, Ordering::Relaxed);
                    format!("| {} | WRONG, see above | | | |", case.name)
                });
                lines.lock().unwrap().insert(nth, line);
            }
        };
        (0..N_AT_ONCE).for_each(|_| drop(scope.spawn(play)));
    });
    println!("\n{title}\n\n| case | outcome | requests | sent / size | seconds |\n|---|---|---|---|---|");
    lines.into_inner().unwrap().values().for_each(|line| println!("{line}"));
    assert_eq!(n_wrong.into_inner(), 0, "cases went wrong");
    if played.len() < cases.len() {
        println!("{} cases that take minutes were not played; SLM_PULL_ALL=1 plays them", cases.len() - played.len());
    }
}

const N_AT_ONCE: usize = 8;

/// The models and blobs of a store, without what is on its way.
fn visible(home: &Home) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = ["manifests", "blobs"].map(|folder| home.models().join(folder));
    folders.iter().flat_map(|folder| files(folder)).collect()
}
