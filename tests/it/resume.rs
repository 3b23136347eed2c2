//! `--output FILE --resume`: answers in a file that outlives kills, full disks and second writers.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::life::SmallDisk;
use crate::slm::{Call, Home, Random, end_within};

const PATIENCE: Duration = Duration::from_secs(120);
/// Records for each kill: more than are answered between two.
const N_FOR_A_KILL: usize = 120;

fn answer(home: &Home, more: &[&str]) -> Call {
    home.slm([&["run", "triage", "--choices", "billing,shipping,legal"], more].concat())
}

fn read(home: &Home, file: &str) -> String {
    std::fs::read_to_string(home.path().join(file)).unwrap()
}

/// How often a process is killed in a test of kills; `SLM_KILLS=100` gives the figure of the release notes.
fn n_kills() -> usize {
    std::env::var("SLM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
}

fn texts(n: usize) -> impl Iterator<Item = String> {
    let wants = ["I was charged twice", "my parcel never came", "I will sue you", "hello"];
    // Bad rows keep their places too.
    (0..n).map(move |n| if n % 17 == 5 { String::new() } else { format!("{} about {n}", wants[n * 7 % 4]) })
}

/// Kills slm at random instants as often as is wanted, then lets it end.
fn kill_until_done(home: &Home, args: &[&str], input: &str, bytes_of_line: usize) {
    let mut random = Random::new(bytes_of_line as u64);
    let path = home.file("input", input);
    let start = || {
        let mut command = home.slm(args).command();
        command.stdin(std::fs::File::open(&path).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let n_bytes = || home.path().join("out").metadata().map_or(0, |file| file.len());
    let mut in_the_middle = 0;
    for _ in 0..n_kills() {
        let before = n_bytes();
        let mut child = start();
        if random.below(3) == 0 {
            // Before the first line, most likely: while the file is looked at and the model is loaded.
            std::thread::sleep(Duration::from_micros(random.below(40_000) as u64));
        } else {
            let started = Instant::now();
            let wanted = before + (random.below(N_FOR_A_KILL / 2) * bytes_of_line) as u64;
            while n_bytes() <= wanted && started.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_micros(random.below(500) as u64));
            }
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), None, "it ended before it was killed {} times", n_kills());
        in_the_middle += usize::from(n_bytes() > before);
    }
    println!("{} kills, {in_the_middle} of them while lines were written", n_kills());
    assert!(in_the_middle > 0);
    let code = end_within(start(), PATIENCE).and_then(|status| status.code());
    // Rows that failed were in earlier runs or in the last one.
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
}

#[test]
fn lines_are_neither_lost_nor_repeated_by_kills() {
    let home = Home::new();
    let input: String = texts(n_kills() * N_FOR_A_KILL).map(|text| text + "\n").collect();
    let at_once = answer(&home, &["--lines"]).stdin(&input).ends(1).stdout;
    let args = "run triage --choices billing,shipping,legal --lines --output out --resume";
    kill_until_done(&home, &args.split(' ').collect::<Vec<_>>(), &input, 8);
    assert!(read(&home, "out") == at_once);
}

#[test]
fn objects_are_neither_lost_nor_repeated_by_kills() {
    let home = Home::new();
    let objects = texts(n_kills() * N_FOR_A_KILL).enumerate();
    let input: String =
        objects.map(|(id, text)| serde_json::json!({"id": id, "body": text}).to_string() + "\n").collect();
    let at_once = answer(&home, &["--jsonl", "body"]).stdin(&input).ends(1).stdout;
    let args = "run triage --choices billing,shipping,legal --jsonl body --output out --resume";
    kill_until_done(&home, &args.split(' ').collect::<Vec<_>>(), &input, 70);
    assert!(read(&home, "out") == at_once);
}

/// Answers that end in any order.
#[test]
fn generated_answers_are_neither_lost_nor_repeated_by_kills() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nTEMPLATE {% for m in messages %}{{ m['content'] }}{% endfor %}");
    home.slm(["create", "free"]).succeeds();
    let n = n_kills() * N_FOR_A_KILL;
    let input: String = (0..n).map(|id| format!("{{\"id\":{id},\"b\":\"row {id} wants\"}}\n")).collect();
    let args = "run free --format none --num-predict 6 --jsonl b --output out --resume --parallel 8";
    kill_until_done(&home, &args.split(' ').collect::<Vec<_>>(), &input, 60);
    let rows: Vec<Value> = read(&home, "out").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<usize> = rows.iter().map(|row| row["id"].as_u64().unwrap() as usize).collect();
    assert!(ids == (0..n).collect::<Vec<_>>() && rows.iter().all(|row| row["answer"].is_string()));
}

#[test]
fn a_file_with_answers_is_only_touched_when_told_how() {
    let home = Home::new();
    let said = answer(&home, &["--lines", "--output", "out"]).stdin("one\n\ntwo\n").ends(1);
    assert_eq!((said.stdout.as_str(), said.stderr.lines().last()), ("", Some("slm: 1 of 3 rows failed")));
    let first = read(&home, "out");
    assert_eq!(first.lines().count(), 3);

    let exists = "slm: `out` already exists; continue it with --resume, or start again with --overwrite\n";
    answer(&home, &["--lines", "--output", "out"]).stdin("three\n").fails(1, exists);
    let foreign =
        |why: &str| format!("slm: cannot continue `out`: {why}; give another file, or start again with --overwrite\n");
    let resume = |more: &[&str], input: &str| {
        answer(&home, &[&["--lines", "--output", "out", "--resume"], more].concat()).stdin(input)
    };
    let model = "it was begun with another model (triage:latest)";
    home.file("Modelfile", "FROM triage\nSYSTEM other");
    home.slm(["create", "other"]).succeeds();
    home.slm("run other --choices billing,shipping,legal --lines --output out --resume".split(' '))
        .fails(1, &foreign(model));
    let rows = "it was begun with other rows: another field is read, or answers are written in another way";
    resume(&["--json"], "one\n\ntwo\n").fails(1, &foreign(rows));
    let prompt = "it was begun with another prompt: another system message, template or examples";
    resume(&["--system", "other"], "one\n\ntwo\n").fails(1, &foreign(prompt));
    resume(&[], "one\n\nTWO\n").fails(1, &foreign("its first 3 lines answer other records than the input has"));
    resume(&[], "one\n").fails(1, &foreign("it has more lines (3) than the input has records (1)"));
    assert_eq!(read(&home, "out"), first);

    // Nothing is left to do; then there is more, and flags that change no answer may be others.
    resume(&[], "one\n\ntwo\n").succeeds();
    assert_eq!(read(&home, "out"), first);
    resume(&["--parallel", "1"], "one\n\ntwo\nthree\n").succeeds();
    let grown = read(&home, "out");
    assert!(grown.starts_with(&first) && grown.lines().count() == 4, "{grown}");
    answer(&home, &["--lines", "--output", "out", "--overwrite"]).stdin("one\n").succeeds();
    assert_eq!(read(&home, "out"), first.lines().next().unwrap().to_owned() + "\n");
}

#[test]
fn what_cannot_be_an_output_is_refused() {
    let home = Home::new();
    let input = home.file("tickets", "one\ntwo\n");
    let mut command = answer(&home, &["--lines", "--output", "tickets", "--overwrite"]).command();
    let output = command.stdin(std::fs::File::open(&input).unwrap()).output().unwrap();
    let refused = "slm: `tickets` is the input itself; give another file to --output\n";
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(2), refused));
    assert_eq!(read(&home, "tickets"), "one\ntwo\n");
    let device = "slm: `/dev/null` is not a regular file, so answers cannot be appended to it; leave out --output and redirect standard \
         output\n";
    answer(&home, &["--lines", "--output", "/dev/null", "--resume"]).fails(1, device);
    let single = "slm: --output is for rows: give --lines, --jsonl or --csv, or redirect standard output\n";
    answer(&home, &["--output", "out", "text"]).fails(2, single);
    let nowhere = "slm: cannot open `no/out`: No such file or directory (os error 2)\n";
    answer(&home, &["--lines", "--output", "no/out"]).fails(1, nowhere);
}

#[test]
fn two_do_not_write_one_file() {
    let home = Home::new();
    let args = ["--lines", "--output", "out", "--resume"];
    let mut child = answer(&home, &args).command().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    let out = home.path().join("out");
    wait_for_line(&out);
    answer(&home, &args).stdin("one\n").fails(1, "slm: another slm is writing `out`\n");
    drop(stdin);
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(0));
    assert_eq!(read(&home, "out").lines().count(), 1);
}

fn wait_for_line(path: &Path) {
    let started = Instant::now();
    while std::fs::read(path).map_or(0, |bytes| bytes.len()) == 0 {
        assert!(started.elapsed() < PATIENCE, "no line came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_is_a_sentence_and_the_rest_follows() {
    let home = Home::new();
    let disk = home.path().join("small");
    let Some(_disk) = SmallDisk::mount(&disk) else { return };
    let filler = disk.join("filler");
    let n = 1000;
    // 1 MB of which little is left: about 100 records.
    std::fs::write(&filler, vec![0; (1 << 20) - (60 << 10)]).unwrap();
    let record = |id| format!("{{\"id\":{id},\"body\":\"charged twice\",\"more\":\"{}\"}}\n", "x".repeat(400));
    let input: String = (0..n).map(record).collect();
    let args = ["--jsonl", "body", "--output", "small/out", "--resume"];
    let said = answer(&home, &args).stdin(&input).ends(1);
    let out = read(&home, "small/out");
    let n_lines = out.lines().count();
    assert!((10..n).contains(&n_lines) && out.ends_with('\n'), "{n_lines}");
    let full = format!(
        "slm: no space left to write `small/out`; its {n_lines} complete lines are kept; free some space and continue with \
         --resume\n"
    );
    assert_eq!(said.stderr, full);
    std::fs::remove_file(filler).unwrap();
    answer(&home, &args).stdin(&input).succeeds();
    let ids: Vec<u64> = read(&home, "small/out")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, (0..n as u64).collect::<Vec<_>>());
}

#[test]
fn ctrl_c_leaves_a_file_that_can_be_gone_on_with() {
    let home = Home::new();
    let input: String = texts(3000).map(|text| text + "\n").collect();
    let path = home.file("input", &input);
    let args = ["--lines", "--output", "out", "--resume"];
    let mut command = answer(&home, &args).command();
    let said = std::fs::File::create(home.path().join("said")).unwrap();
    command.stdin(std::fs::File::open(path).unwrap()).stdout(Stdio::null()).stderr(said);
    let child = command.spawn().unwrap();
    wait_for_line(&home.path().join("out"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(130));
    let n_lines = read(&home, "out").lines().count();
    assert!(n_lines < 3000);
    let rows = if n_lines == 1 { "1 row is".to_owned() } else { format!("{n_lines} rows are") };
    let last = format!("slm: stopped: {rows} in `out`; the same command continues");
    assert_eq!(read(&home, "said").lines().find(|line| line.starts_with("slm: stopped")), Some(last.as_str()));
    answer(&home, &args).stdin(&input).ends(1);
    assert!(read(&home, "out") == answer(&home, &["--lines"]).stdin(&input).ends(1).stdout);
}
