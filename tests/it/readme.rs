//! README.md and the pages beside it hold: their commands run, and what they show is what slm writes.
//!
//! A block of `sh` that calls slm is run as a script, the blocks of a page one after the other in one home. A block of `text`
//! right behind it is what a terminal of 100 columns shows then; a block of `console` is a session. Blocks of no language are
//! not run (they need a network or a model of several gigabytes), but slm's command line has to take what they say.
//! `UPDATE_DOCS=1 cargo test --release --locked --test it readme` writes the shown texts anew.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

use clap::Parser as _;

use crate::slm::Home;
use crate::terminal::{Terminal, search_path};

/// The pages whose commands are run.
const PAGES: [&str; 8] = [
    "README.md",
    "docs/rows.md",
    "docs/batch.md",
    "docs/models.md",
    "docs/modelfile.md",
    "docs/fit.md",
    "docs/tune.md",
    "Modelfiles/triage/README.md",
];

/// How far a probability may be from the shown one: other processors compute it a little otherwise.
const DRIFT: f64 = 0.005;

/// A fenced block of a page.
#[derive(Debug)]
struct Block<'a> {
    language: &'a str,
    body: &'a str,
    /// Where the body is in the page.
    at: Range<usize>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    for line in page.split_inclusive('\n') {
        if let Some(language) = line.strip_prefix("```") {
            open = match open {
                None => Some((language.trim_end(), at + line.len())),
                Some((language, start)) => {
                    blocks.push(Block { language, body: &page[start..at], at: start..at });
                    None
                }
            };
        }
        at += line.len();
    }
    blocks
}

/// A home with the files that the pages speak of.
fn home() -> Home {
    let home = Home::new();
    home.file("tickets.txt", "I was charged twice\nmy parcel never came\nI was charged twice\n");
    home.file(
        "tickets.jsonl",
        "{\"id\": 7, \"body\": \"I was charged twice\"}\n{\"id\": 8, \"body\": \"my parcel never came\"}\n",
    );
    std::os::unix::fs::symlink(root().join("Modelfiles"), home.path().join("Modelfiles")).unwrap();
    home
}

/// Runs a script without a terminal: nothing goes wrong, nothing is said on standard error, and something is written.
fn run(home: &Home, page: &str, script: &str) {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", search_path())
        .current_dir(home.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{page}: {script}");
    assert!(!output.stdout.is_empty(), "{page}: {script}");
}

/// What a script shows on a terminal; nothing is said on standard error. `None` where there is no terminal.
fn shown(home: &Home, page: &str, script: &str) -> Option<String> {
    home.file(".script", script);
    let line = "stty rows 40 cols 100; exec bash -euo pipefail .script 2>.said";
    let (shown, code) = Terminal::open(home, "xterm", line)?.watch();
    let said = std::fs::read_to_string(home.path().join(".said")).unwrap();
    assert_eq!((code, said.as_str()), (Some(0), ""), "{page}: {script}{shown}");
    Some(shown)
}

/// What a session shows: its first line is the command, and `>>> ` is before what is typed.
fn session(home: &Home, body: &str) -> Option<String> {
    let (command, rest) = body.split_once('\n').unwrap();
    let line = format!("stty rows 40 cols 100; exec {}", command.strip_prefix("$ ").expect("a command first"));
    let mut terminal = Terminal::open(home, "xterm", &line)?;
    let mut screen = format!("{command}\n{}", terminal.until("\u{1b}[?2004h"));
    for typed in rest.lines().filter_map(|line| line.strip_prefix(">>> ")) {
        screen += &format!(">>> {typed}\n{}", terminal.say_edited(typed));
    }
    assert_eq!(terminal.leave("\u{4}"), Some(0));
    Some(screen)
}

/// A text in pieces. What differs from run to run or from machine to machine (times, digests) is its name, and bars and spaces
/// are left out; all else is as it is.
#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Probability(f64),
    /// How many of all rows.
    Count(f64),
}

fn pieces(text: &str) -> Vec<Piece> {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_');
    let is_blank = |c: char| c.is_whitespace() || ('\u{2588}'..='\u{258f}').contains(&c);
    let mut parts: Vec<String> = Vec::new();
    let mut continues = false;
    for c in text.chars() {
        match parts.last_mut().filter(|_| continues && is_of_word(c)) {
            Some(part) => part.push(c),
            None if !is_blank(c) => parts.push(c.to_string()),
            None => {}
        }
        continues = is_of_word(c);
    }
    let part = |at: usize| parts.get(at).map_or("", String::as_str);
    let piece = |at: usize| {
        let is_time = matches!(part(at + 1), "ms" | "s" | "rows") || at >= 3 && part(at - 3).ends_with("_ms");
        let is_digest = part(at).len() >= 12 && part(at).bytes().all(|byte| byte.is_ascii_hexdigit());
        match part(at).parse::<f64>() {
            _ if is_digest => Piece::Text("a digest".to_owned()),
            Ok(_) if is_time => Piece::Text("a time".to_owned()),
            Ok(percent) if part(at + 1) == "%" && part(at).contains('.') => Piece::Probability(percent / 100.0),
            Ok(number) if part(at).contains('.') => Piece::Probability(number),
            Ok(number) if part(at + 1) == "of" => Piece::Count(number),
            _ => Piece::Text(part(at).to_owned()),
        }
    };
    (0..parts.len()).map(piece).collect()
}

/// A screen in which the columns of times and rates at the end of an evaluation's first table are left out.
fn without_speed(screen: &str) -> String {
    let mut has_speed = false;
    let line = |line: &str| {
        has_speed = !line.is_empty() && (has_speed || line.ends_with("  p50 ms  rows/s"));
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if has_speed {
            words.truncate(words.len().saturating_sub(2));
            return words.join(" ") + "\n";
        }
        format!("{line}\n")
    };
    screen.lines().map(line).collect()
}

/// Whether two screens say the same on every machine.
fn is_same(shown: &str, real: &str) -> bool {
    let (shown, real) = (without_speed(shown), without_speed(real));
    let line = |(shown, real): (&str, &str)| {
        let (shown, real) = (pieces(shown), pieces(real));
        let is_near = |(shown, real): (&Piece, &Piece)| match (shown, real) {
            (Piece::Probability(shown), Piece::Probability(real)) => (shown - real).abs() <= DRIFT,
            (Piece::Count(shown), Piece::Count(real)) => (shown - real).abs() <= 2.0,
            (shown, real) => shown == real,
        };
        shown.len() == real.len() && shown.iter().zip(&real).all(is_near)
    };
    shown.lines().count() == real.lines().count() && shown.lines().zip(real.lines()).all(line)
}

#[test]
fn screens_differ_by_what_people_would_call_a_difference() {
    let shown = "urgency  2  97.5 %  ███▌\nid 0123456789ab, 3.1 ms";
    assert!(is_same(shown, "urgency  2  97.4 %  ███\nid ba9876543210, 12 ms"));
    assert!(!is_same(shown, "urgency  2  98.4 %  ███▌\nid 0123456789ab, 3.1 ms"));
    assert!(!is_same(shown, "urgency  1  97.5 %  ███▌\nid 0123456789ab, 3.1 ms"));
    assert!(!is_same(shown, "urgency  2  97.5 %  ███▌"));
    assert!(!is_same("\"other\": 0.011", "other: 0.011"));
    assert!(is_same("x_ms\":1.5,\"other  0.3 %", "x_ms\":2.5,\"other  0.1 %"));
    assert!(is_same("p 0.9811698933243466", "p 0.9799") && !is_same("p 0.981", "p 0.971"));
}

#[test]
fn what_the_readme_and_its_pages_show_is_what_slm_writes() {
    let is_updating = std::env::var_os("UPDATE_DOCS").is_some();
    for name in PAGES {
        let (page, home) = (read(name), home());
        let mut updated = page.clone();
        let blocks = blocks(&page);
        // From the end, so that what is before stays where it is.
        let mut outdated = Vec::new();
        let mut check = |block: &Block, real: String| {
            let real = real.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
            if !is_same(block.body, &real) {
                outdated.push((block.at.clone(), real));
            }
        };
        for (at, block) in blocks.iter().enumerate() {
            let calls_slm = block.body.lines().any(|line| line.starts_with("slm "));
            let next = blocks.get(at + 1).filter(|next| {
                next.language == "text" && page[block.at.end..next.at.start].trim_matches(['`', '\n']) == "text"
            });
            match (block.language, next) {
                ("sh", Some(next)) if calls_slm => {
                    let Some(real) = shown(&home, name, block.body) else { return };
                    check(next, real);
                }
                ("sh", None) if calls_slm => run(&home, name, block.body),
                ("console", _) if block.body.starts_with("$ slm run ") => {
                    let Some(real) = session(&home, block.body) else { return };
                    check(block, real);
                }
                _ => {}
            }
        }
        for (at, real) in outdated.iter().rev() {
            assert!(
                is_updating,
                "{name} shows\n{}and slm writes\n{real}(UPDATE_DOCS=1 writes it anew)",
                &page[at.clone()]
            );
            updated.replace_range(at.clone(), real);
        }
        if updated != page {
            std::fs::write(root().join(name), updated).unwrap();
        }
    }
}

/// The words of the calls of slm in a block, without what the shell does around them.
fn calls(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
    lines.filter(|line| line.starts_with("slm ")).map(words).collect()
}

/// A line's words up to the first pipe, redirection, comment or conjunction, with quotes as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '<' | '>' | '&') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words
}

#[test]
fn command_lines_in_all_pages_are_understood() {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let more = ["README.md", "Modelfiles/README.md", "Modelfiles/triage/README.md", "deploy/vllm.md"];
    let mut n_calls = 0;
    for path in docs.chain(more.map(|page| root().join(page))) {
        let page = std::fs::read_to_string(&path).unwrap();
        for block in blocks(&page) {
            for call in calls(block.body) {
                n_calls += 1;
                let parsed = slm::cli::Cli::try_parse_from(&call);
                assert!(parsed.is_ok(), "{}: {call:?}: {}", path.display(), parsed.unwrap_err());
            }
        }
    }
    assert!(n_calls >= 40, "{n_calls}");
}

/// Every page is found from the README, and every link between files of the repository leads somewhere.
#[test]
fn pages_are_linked_and_links_lead_to_files() {
    let readme = read("README.md");
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs: Vec<String> = docs.map(|name| format!("docs/{}", name.to_str().unwrap())).collect();
    let unlinked: Vec<&String> = docs.iter().filter(|page| !readme.contains(&format!("]({page}"))).collect();
    assert_eq!(unlinked, Vec::<&String>::new(), "the README's list of pages lacks them");
    let more =
        ["README.md", "Modelfiles/README.md", "Modelfiles/triage/README.md", "deploy/vllm.md", "ARCHITECTURE.md"];
    for name in docs.iter().map(String::as_str).chain(more) {
        let (page, folder) = (read(name), root().join(name));
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            assert!(folder.parent().unwrap().join(target).exists(), "{name} links to `{target}`, which does not exist");
        }
    }
}

/// The tables of settings name every variable that slm reads.
#[test]
fn every_variable_is_in_the_tables_of_settings() {
    let source = read("src/cli/environment.rs");
    let names = source.split("pub const NAMES").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
    let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.len() >= 23, "{names:?}");
    let tables: String = ["docs/environment.md", "docs/serve.md"].map(read).concat();
    let rows: Vec<&str> = tables.lines().filter(|line| line.starts_with("| `SLM_")).collect();
    let missing = |name: &&&str| !rows.iter().any(|row| row.contains(&format!("`SLM_{name}`")));
    assert_eq!(names.iter().filter(missing).collect::<Vec<_>>(), Vec::<&&str>::new());
}
