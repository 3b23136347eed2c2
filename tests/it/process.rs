//! An engine in a process of its own: it answers as one on a thread does, and whatever becomes of it, its parent and its
//! siblings live on and nothing of it stays behind.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use slm::engine::{
    Compute, Detail, Drafts, Engine, EngineError, Event, GenerateRequest, Grammar, Group, GroupScores, Load, Options,
    Request, ScoreRequest, Scores, Weights,
};
use slm::gguf::Footprint;
use slm::prompt::{Prompt, Run};
use slm::sampling::{AnswerShape, Parameters};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::slm::{Home, send, triage_gguf};

/// What is waited for at most where only a fault would take longer.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_slm");

pub fn options(weights: Weights) -> Options {
    Options {
        weights,
        weights_id: "triage".to_owned(),
        load: Load::Everything,
        n_ctx: Some(1024),
        compute: Compute { n_threads: Some(1), ..Compute::default() },
        footprint: Footprint::default(),
    }
}

/// The embedded model, as the program itself sends it to a child.
pub fn triage() -> Options {
    options(Weights::Bytes(triage_gguf().into()))
}

pub fn spawned() -> Engine {
    Engine::spawn(PROGRAM, triage()).wait().unwrap()
}

pub fn plain(text: &str) -> Prompt {
    Prompt { runs: vec![Run::Text { text: text.to_owned(), persons: vec![] }], row_start: None, row: None }
}

pub fn question(number: usize) -> ScoreRequest {
    let group = |prefix: &str, candidates: &[&str]| Group::new(prefix, candidates.iter().copied());
    ScoreRequest::new(
        plain(&format!("Ticket {number}: I was charged {} times for order {}\n", number % 5, 1182 + number)),
        vec![
            group("queue:", &[" billing", " shipping", " account access", " technical", " legal", " other"]),
            group("urgency:", &[" 1", " 2", " 3"]),
        ],
    )
}

pub fn bits(scores: Result<Scores, EngineError>) -> Vec<Vec<u64>> {
    let bits = |group: &GroupScores| group.logprobs.iter().map(|logprob| logprob.to_bits()).collect();
    scores.unwrap().groups.iter().map(bits).collect()
}

/// Text that takes long, and never ends before it is `n_bytes` long.
pub fn long_text(n_bytes: usize, seed: i64) -> Request {
    let parameters =
        Parameters { temperature: Some(1.0), seed: Some(seed), num_predict: Some(900), ..Parameters::default() };
    Request::Generate(GenerateRequest {
        grammar: Some(Grammar(format!("start: /[a-z ]{{{n_bytes}}}/").into())),
        detail: Detail::Tokens,
        drafts: Drafts::Off,
        ..GenerateRequest::new(plain("Once"), parameters.resolve(AnswerShape::Open))
    })
}

/// Everything that a request is told.
pub fn all(mut events: UnboundedReceiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.blocking_recv()).collect()
}

#[track_caller]
fn assert_crashed(event: Option<&Event>, how: &str) {
    let Some(Event::Failed(error @ EngineError::Crashed { .. })) = event else { panic!("{event:?}") };
    assert_eq!(error.to_string(), format!("the model's process {how}"));
}

/// A process that is there, if only as a zombie.
fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until an engine is over, outside of any runtime.
fn closed(engine: &Engine) -> EngineError {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, engine.closed()).await.expect("it ends") })
}

/// The processor's time that a process has had, in ticks of a hundredth of a second.
pub fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    behind_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}

/// The processor's time of a process that has had none for as long as many steps take.
pub fn ticks_when_idle(pid: u32) -> u64 {
    let mut last = (ticks(pid), Instant::now());
    until("the child is idle", || {
        let now = ticks(pid);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(500)
    });
    last.0
}

#[test]
fn a_child_answers_as_a_thread_does() {
    let (thread, child) = (Engine::load(triage()).unwrap(), spawned());
    assert_eq!(thread.info().evaluation_id, child.info().evaluation_id);
    assert_eq!(thread.info().chat_template, child.info().chat_template);
    for number in 0..20 {
        assert_eq!(bits(thread.score(question(number))), bits(child.score(question(number))), "question {number}");
    }
    let prompt = || plain("Grüße aus <|im_start|> München\0");
    assert_eq!(thread.tokenize(prompt()).unwrap(), child.tokenize(prompt()).unwrap());
    let cut = |engine: &Engine| engine.cut("one two three four five six", 3).unwrap();
    assert_eq!(cut(&thread), cut(&child));
    let text = |engine: &Engine| {
        let mut text = String::new();
        let mut last = None;
        for event in all(engine.send(long_text(200, 7))) {
            match event {
                Event::Text(piece) => text += &piece.text,
                other => last = Some(other),
            }
        }
        let Some(Event::Generated(generation)) = last else { panic!("{last:?}") };
        (text, generation.finish, generation.counts, generation.tokens)
    };
    assert_eq!(text(&thread), text(&child));
    // Errors as well.
    let too_long = || ScoreRequest { prompt: plain(&"word ".repeat(3000)), ..question(0) };
    let error = |engine: &Engine| engine.score(too_long()).unwrap_err().to_string();
    assert_eq!(error(&thread), error(&child));
    assert!(child.memory().unwrap() > 1 << 20);
    assert_eq!((thread.pid(), thread.memory()), (None, None));
}

#[test]
fn replies_can_be_awaited() {
    let child = spawned();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let expected = bits(child.score(question(1)));
    let awaited = runtime.block_on(async { child.scoring(question(1)).await });
    assert_eq!(bits(awaited), expected);
}

#[test]
fn a_killed_child_ends_its_requests_and_no_others() {
    let (thread, sibling, doomed) = (Engine::load(triage()).unwrap(), spawned(), spawned());
    let expected = bits(thread.score(question(3)));
    let mut running: Vec<_> = (0..4).map(|seed| doomed.send(long_text(800, seed))).collect();
    for events in &mut running {
        assert!(matches!(events.blocking_recv(), Some(Event::Text(_))));
    }
    let others: Vec<_> = (0..4).map(|seed| sibling.send(long_text(300, seed))).collect();
    let pid = doomed.pid().unwrap();
    send(Signal::KILL, pid);
    for events in running {
        let events = all(events);
        assert_crashed(events.last(), "was ended by signal 9 (SIGKILL)");
        assert!(events[..events.len() - 1].iter().all(|event| matches!(event, Event::Text(_))), "{events:?}");
    }
    // Whoever asks later hears the same at once, and nothing is left of it.
    assert_crashed(all(doomed.send(Request::Score(question(0)))).last(), "was ended by signal 9 (SIGKILL)");
    assert_crashed(Some(&Event::Failed(closed(&doomed))), "was ended by signal 9 (SIGKILL)");
    assert!(!exists(pid));
    assert_eq!(doomed.memory(), None);
    for events in others {
        assert!(matches!(all(events).last(), Some(Event::Generated(_))));
    }
    assert_eq!(bits(sibling.score(question(3))), expected);
    assert_eq!(bits(thread.score(question(3))), expected);
}

#[test]
fn a_death_is_noticed_while_nobody_asks() {
    let child = spawned();
    send(Signal::ABORT, child.pid().unwrap());
    assert_crashed(Some(&Event::Failed(closed(&child))), "was ended by signal 6 (SIGABRT)");
}

#[test]
fn signals_that_mean_leave_are_the_parents_to_answer() {
    let child = spawned();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        send(signal, child.pid().unwrap());
    }
    bits(child.score(question(1)));
}

#[test]
fn dropping_is_cancelling() {
    let child = spawned();
    let pid = child.pid().unwrap();
    let run = || (0..16).map(|seed| child.send(long_text(800, seed))).collect::<Vec<_>>();
    // Contexts are made with the first request, and are not what is measured.
    assert!(matches!(all(child.send(long_text(2, 0))).last(), Some(Event::Generated(_))));
    let before = ticks(pid);
    for events in run() {
        assert!(matches!(all(events).last(), Some(Event::Generated(_))));
    }
    let whole = ticks(pid) - before;
    let before = ticks(pid);
    let mut running = run();
    assert!(matches!(running[0].blocking_recv(), Some(Event::Text(_))));
    drop(running);
    let cancelled = ticks_when_idle(pid) - before;
    assert!(cancelled * 3 < whole, "{cancelled} of {whole} hundredths of a second");
    bits(child.score(question(1)));
}

#[test]
fn requests_end_before_their_engine_does() {
    let child = spawned();
    let pid = child.pid().unwrap();
    let (events, over) = (child.send(long_text(300, 1)), child.closed());
    drop(child);
    assert!(matches!(all(events).last(), Some(Event::Generated(_))));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(over), EngineError::Stopped));
    assert!(!exists(pid));
}

#[test]
fn a_child_that_does_not_answer_any_more_is_ended() {
    let child = spawned();
    let (pid, over) = (child.pid().unwrap(), child.closed());
    send(Signal::STOP, pid);
    drop(child);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(over);
    assert!(!exists(pid));
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let refused = |options: Options| Engine::spawn(PROGRAM, options).wait().unwrap_err().to_string();
    let missing = PathBuf::from("/nowhere/model.gguf");
    assert_eq!(
        refused(options(Weights::File(missing.clone()))),
        Engine::load(options(Weights::File(missing))).unwrap_err().to_string()
    );
    let no_program = Engine::spawn("/nowhere/slm", triage()).wait().unwrap_err().to_string();
    assert_eq!(no_program, "cannot load the model: cannot start its process: No such file or directory (os error 2)");
    let other = Engine::spawn("/bin/false", triage()).wait().unwrap_err().to_string();
    assert_eq!(other, "the model's process ended with exit code 1");
    let talks = Home::new().slm(["engine"]).fails(
        2,
        "slm: standard input does not come from another slm (Socket operation on non-socket (os error 88)); `slm serve` starts this command itself\n",
    );
    assert_eq!(talks, "");
}

#[test]
fn a_child_that_talks_nonsense_is_ended() {
    let home = Home::new();
    let script = home.file("talker", "#!/bin/sh\nprintf 'hello, world' >&0\nexec sleep 60\n");
    make_executable(&script);
    let error = Engine::spawn(script, triage()).wait().unwrap_err().to_string();
    assert_eq!(
        error,
        "the model's process sent an invalid message and was stopped: a message of 1819043176 bytes is longer than the \
         268435456 that may go to another process"
    );
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// A model that takes forever to load: a pipe that nobody writes to.
fn endless(home: &Home) -> Options {
    let path = home.path().join("model.gguf");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    options(Weights::File(path))
}

/// The processes that a process has started.
fn children_of(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        if fields.get(1).and_then(|parent| parent.parse().ok()) == Some(pid) {
            found.push(child);
        }
    }
    found
}

/// Ran by [`a_child_does_not_outlive_its_parent`] in a process of its own.
#[test]
fn as_a_parent() {
    let Some(model) = std::env::var_os("SLM_TEST_PARENT_OF") else { return };
    let loading = Engine::spawn(PROGRAM, options(Weights::File(model.into())));
    let _loaded = loading.wait();
    std::thread::sleep(PATIENCE);
}

fn parent(model: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process::as_a_parent", "--nocapture"]).env("SLM_TEST_PARENT_OF", model);
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_child_does_not_outlive_its_parent() {
    let home = Home::new();
    let triage = home.file("triage.gguf", triage_gguf());
    endless(&home);
    for model in [triage, home.path().join("model.gguf")] {
        let mut parent = parent(&model);
        let mut child = None;
        until("the parent has a child that opens the model", || {
            child = children_of(parent.id()).first().copied();
            child.is_some()
        });
        let child = child.unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        until("the child is gone", || !exists(child));
    }
}

#[test]
fn loading_can_be_cancelled() {
    let home = Home::new();
    // A process that would not even read what it is told, and the real one inside llama.cpp's loading.
    let pids = home.path().join("pids");
    let deaf = home.file("deaf", format!("#!/bin/sh\necho $$ >> '{}'\nexec sleep 60\n", pids.display()));
    let real = home.file("real", format!("#!/bin/sh\necho $$ >> '{}'\nexec '{PROGRAM}' \"$@\"\n", pids.display()));
    let options = endless(&home);
    for script in [deaf, real] {
        make_executable(&script);
        let _ = std::fs::remove_file(&pids);
        let loading = Engine::spawn(script, options.clone());
        let mut pid = None;
        until("the process has started", || {
            pid = std::fs::read_to_string(&pids).ok().and_then(|text| text.trim().parse::<u32>().ok());
            pid.is_some()
        });
        drop(loading);
        until("the process is gone", || !exists(pid.unwrap()));
    }
}

/// What a child costs over a thread, asked as a server asks; prints and compares within one run.
///
/// `cargo test --release --test it -- --ignored --nocapture process::what_a_child_costs`
#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn what_a_child_costs() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let thread = Engine::load(triage()).unwrap();
    let asked = async {
        let child = Engine::spawn(PROGRAM, triage()).await.unwrap();
        let mut took: [[Vec<Duration>; 2]; 3] = Default::default();
        for number in 0..600 {
            for (n, engine) in [&thread, &child].into_iter().enumerate() {
                let begun = Instant::now();
                let scores = engine.scoring(question(number)).await.unwrap();
                took[0][n].push(begun.elapsed());
                // What the model itself took is the same work in both, and varies more than what is measured here.
                took[1][n].push(begun.elapsed().saturating_sub(scores.timings.prompt));
            }
        }
        for _ in 0..600 {
            for (n, engine) in [&thread, &child].into_iter().enumerate() {
                let begun = Instant::now();
                engine.cutting("a b c", 2).await.unwrap();
                took[2][n].push(begun.elapsed());
            }
        }
        let same = bits(thread.scoring(question(1)).await) == bits(child.scoring(question(1)).await);
        (thread, child, took, same)
    };
    let (_thread, _child, mut took, same) = runtime.block_on(async { tokio::spawn(asked).await.unwrap() });
    let mut out = std::io::stdout().lock();
    for (what, took) in ["score", "score without the model", "cut"].into_iter().zip(&mut took) {
        took.iter_mut().for_each(|took| took.sort());
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let [thread, child] = [0, 1].map(|n| took[n][(took[n].len() as f64 * part) as usize]);
            let added = child.saturating_sub(thread);
            writeln!(out, "{what} {name}: thread {thread:?}, child {child:?}, added {added:?}").unwrap();
        }
    }
    drop(out);
    assert!(same);
}
