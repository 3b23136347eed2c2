//! Which models are loaded, with real processes: they are measured, they die, they are loaded again, and none is left over.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal};
use slm::digest::Digest;
use slm::engine::{Compute, Engine, EngineError, Group, Load, Options, ScoreRequest, Weights};
use slm::gguf::Header;
use slm::prompt::{Prompt, Run};
use slm::residents::{Loader, Order, Residents, Settings, State, Tenant};

use crate::slm::triage_gguf;

const PROGRAM: &str = env!("CARGO_BIN_EXE_slm");

/// What is waited for at most where only a fault would take longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn order(base: &str, gguf: &[u8]) -> Order {
    let options = Options {
        weights: Weights::Bytes(gguf.to_vec().into()),
        weights_id: base.to_owned(),
        load: Load::Everything,
        n_ctx: Some(1024),
        compute: Compute { n_threads: Some(1), ..Compute::default() },
        footprint: Header::read(gguf, gguf.len() as u64).unwrap().footprint(),
    };
    let tenant = Tenant { name: base.parse().unwrap(), digest: Digest::of(base.as_bytes()), adapters: Vec::new() };
    Order { tenant, options, keep_alive: None }
}

fn start(settings: Settings) -> Residents {
    Residents::start(settings, Loader::processes(PathBuf::from(PROGRAM), SystemTime::now))
}

async fn answer(engine: &Engine) -> Result<f64, EngineError> {
    let run = Run::Text { text: "Ticket: I was charged twice\n".to_owned(), persons: vec![] };
    let request = ScoreRequest::new(
        Prompt { runs: vec![run], row_start: None, row: None },
        vec![Group::new("queue:", vec![" billing".to_owned(), " legal".to_owned()])],
    );
    Ok(engine.scoring(request).await?.groups[0].logprobs[0])
}

async fn pids(residents: &Residents) -> Vec<u32> {
    residents.list().await.iter().filter_map(|resident| resident.pid).collect()
}

/// Ends a process of this test's residents, which one that is reaped is not any more; its number is not given to another within
/// this moment.
fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_dead_process_ends_its_requests_and_the_next_one_loads_it_again() {
    let (residents, gguf) = (start(Settings::default()), triage_gguf());
    let guest = residents.acquire(order("one", &gguf)).await.unwrap();
    let expected = answer(guest.engine()).await.unwrap();
    let first = pids(&residents).await;
    kill(first[0]);
    until("its guest hears of it", async || matches!(answer(guest.engine()).await, Err(EngineError::Crashed { .. })))
        .await;
    let again = residents.acquire(order("one", &gguf)).await.unwrap();
    assert_eq!(answer(again.engine()).await.unwrap().to_bits(), expected.to_bits());
    drop((guest, again));
    let second = pids(&residents).await;
    assert!(second.len() == 1 && second != first);
    // One that nobody uses is missed as well.
    kill(second[0]);
    until("it is not listed", async || residents.list().await.is_empty()).await;
    drop(residents.acquire(order("one", &gguf)).await.unwrap());
    let counters = residents.snapshot().await.counters;
    assert_eq!((counters.loads, counters.crashes, counters.restarts, counters.load_failures), (3, 2, 2, 0));
}

#[tokio::test]
async fn what_is_loaded_is_measured_and_gone_after_draining() {
    let (residents, gguf) = (start(Settings::default()), triage_gguf());
    for name in ["one", "two"] {
        let guest = residents.acquire(order(name, &gguf)).await.unwrap();
        answer(guest.engine()).await.unwrap();
    }
    let list = residents.list().await;
    assert_eq!(list.len(), 2);
    for resident in &list {
        assert_eq!((resident.state, resident.n_ctx, resident.size_vram), (State::Ready, 1024, 0));
        assert!(resident.size.is_some_and(|size| size > gguf.len() as u64), "{resident:?}");
    }
    let pids = pids(&residents).await;
    residents.drain(PATIENCE).await;
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
    }
}

/// A load blocks on a pipe that nobody writes to.
#[tokio::test]
async fn a_load_that_nobody_waits_for_ends_and_makes_place_at_once() {
    let one = Settings { max_loaded: NonZeroUsize::new(1), ..Settings::default() };
    let (residents, gguf) = (start(one), triage_gguf());
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("weights");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut stuck = order("stuck", &gguf);
    stuck.options.weights = Weights::File(pipe);
    let mut acquiring = Box::pin(residents.acquire(stuck));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut acquiring).await.is_err());
    assert!(matches!(residents.list().await[0].state, State::Loading { .. }));
    drop(acquiring);
    let guest = tokio::time::timeout(PATIENCE, residents.acquire(order("one", &gguf))).await.unwrap().unwrap();
    answer(guest.engine()).await.unwrap();
    let counters = residents.snapshot().await.counters;
    assert_eq!((counters.loads, counters.loads_cancelled, counters.loaded), (2, 1, 1));
}

/// Clients of three bases, two of which fit; processes are killed and models unloaded meanwhile. Each request is answered
/// rightly, or told that its process died; and nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_deaths_and_unloads_at_random() {
    let two = Settings { max_loaded: NonZeroUsize::new(2), patience: Duration::from_millis(50), ..Settings::default() };
    let (residents, gguf) = (start(two), Arc::new(triage_gguf()));
    let expected = answer(residents.acquire(order("base0", &gguf)).await.unwrap().engine()).await.unwrap().to_bits();
    let (answered, crashed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let until = Instant::now() + Duration::from_secs(3);
    let clients = (0..6).map(|n| {
        let (residents, gguf) = (residents.clone(), Arc::clone(&gguf));
        let (answered, crashed) = (Arc::clone(&answered), Arc::clone(&crashed));
        tokio::spawn(async move {
            let mut sent = 0_u64;
            while Instant::now() < until {
                sent += 1;
                let base = format!("base{}", (n + sent / 5) % 3);
                let done = async {
                    let guest = residents.acquire(order(&base, &gguf)).await.map_err(|refused| refused.to_string())?;
                    answer(guest.engine()).await.map_err(|error| error.to_string())
                };
                match tokio::time::timeout(PATIENCE, done).await.expect("nobody waits for ever") {
                    Ok(bits) => {
                        assert_eq!(bits.to_bits(), expected);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        assert!(error.starts_with("the model's process "), "{error}");
                        crashed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            sent
        })
    });
    let clients: Vec<_> = clients.collect();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(120)).await;
        if let Some(&pid) = pids(&residents).await.first() {
            kill(pid);
        }
        residents.unload(&"base1".parse().unwrap()).await;
    }
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert_eq!(sent, answered.load(Ordering::Relaxed) + crashed.load(Ordering::Relaxed));
    assert!(answered.load(Ordering::Relaxed) > 20, "{answered:?} of {sent}");
    let left = pids(&residents).await;
    residents.drain(PATIENCE).await;
    let snapshot = residents.snapshot().await;
    assert_eq!((snapshot.n_loaded, snapshot.n_answering, snapshot.n_waiting), (0, 0, 0));
    assert!(snapshot.counters.crashes > 0 && snapshot.counters.restarts > 0, "{snapshot:?}");
    for pid in left {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
    }
}
