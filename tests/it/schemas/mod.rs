//! Schemas of others: what slm makes of them, held against who wrote them and against an independent validator.

mod judge;
mod packages;
mod suite;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use judge::{Found, Judged};

/// A schema with instances whose validity is known.
pub struct Case {
    /// Whose it is: a package or a file.
    pub of: String,
    pub name: String,
    pub schema: Value,
    pub valid: Vec<Value>,
    pub invalid: Vec<Value>,
}

/// What came of the cases of one package or file.
#[derive(Default)]
pub struct Tally {
    pub n_cases: usize,
    pub n_closed: usize,
    pub n_open: usize,
    /// Names and reasons.
    pub refused: Vec<(String, String)>,
    /// How many of them are about each keyword.
    pub keywords: BTreeMap<String, usize>,
    /// Names and what is wrong.
    pub wrong: Vec<(String, String)>,
    /// Names and what their refusals do not say.
    pub unplaced: Vec<(String, String)>,
}

impl Tally {
    fn add(&mut self, case: &Case, judged: Judged) {
        self.n_cases += 1;
        match judged.found {
            Found::Closed => self.n_closed += 1,
            Found::Open => self.n_open += 1,
            Found::Refused { keyword, message } => {
                self.refused.push((case.name.clone(), message));
                *self.keywords.entry(keyword).or_default() += 1;
            }
        }
        self.wrong.extend(judged.wrong.into_iter().map(|what| (case.name.clone(), what)));
        self.unplaced.extend(judged.unplaced.map(|what| (case.name.clone(), what)));
    }
}

/// Judges all cases and prints what came of them: a table, what is refused and what is wrong.
fn judge_all(cases: &[Case]) -> BTreeMap<String, Tally> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for case in cases {
        tallies.entry(case.of.clone()).or_default().add(case, judge::judge(case));
    }
    println!("| of | schemas | closed | open | refused | without place | wrong |\n|---|---|---|---|---|---|---|");
    let row = |of: &str, tallies: &[&Tally]| {
        let sum = |count: fn(&Tally) -> usize| tallies.iter().map(|tally| count(tally)).sum::<usize>();
        let (closed, open) = (sum(|tally| tally.n_closed), sum(|tally| tally.n_open));
        let (refused, unplaced) = (sum(|tally| tally.refused.len()), sum(|tally| tally.unplaced.len()));
        let (n_cases, wrong) = (sum(|tally| tally.n_cases), sum(|tally| tally.wrong.len()));
        println!("| {of} | {n_cases} | {closed} | {open} | {refused} | {unplaced} | {wrong} |");
    };
    tallies.iter().for_each(|(of, tally)| row(of, &[tally]));
    row("all", &tallies.values().collect::<Vec<_>>());
    let mut keywords: BTreeMap<&str, usize> = BTreeMap::new();
    for (keyword, n) in tallies.values().flat_map(|tally| &tally.keywords) {
        *keywords.entry(keyword).or_default() += n;
    }
    println!("refused by keyword: {keywords:?}");
    println!("refused:\n{}", lines(&tallies, |tally| &tally.refused));
    println!("refused without a place and a keyword:\n{}", lines(&tallies, |tally| &tally.unplaced));
    println!("wrong:\n{}", lines(&tallies, |tally| &tally.wrong));
    tallies
}

/// What is held of all cases together.
struct Due {
    /// How many of a hundred schemas are accepted at least.
    accepted_percent: usize,
    /// How many refusals name no place or no keyword at most.
    unplaced: usize,
}

/// Holds that nothing is wrong, that enough is accepted, and that refusals say where and why.
fn hold(tallies: &BTreeMap<String, Tally>, due: &Due) {
    let wrong = lines(tallies, |tally| &tally.wrong);
    assert!(wrong.is_empty(), "{wrong}");
    let unplaced = lines(tallies, |tally| &tally.unplaced);
    assert!(unplaced.lines().count() <= due.unplaced, "{unplaced}");
    let n_cases: usize = tallies.values().map(|tally| tally.n_cases).sum();
    let n_refused: usize = tallies.values().map(|tally| tally.refused.len()).sum();
    let percent = (n_cases - n_refused) * 100 / n_cases;
    assert!(percent >= due.accepted_percent, "{percent} % are accepted, at least {} % are due", due.accepted_percent);
}

/// Some of what was found about all cases, one per line.
fn lines(tallies: &BTreeMap<String, Tally>, which: fn(&Tally) -> &[(String, String)]) -> String {
    let all = tallies.iter().flat_map(|(of, tally)| which(tally).iter().map(move |(name, what)| (of, name, what)));
    all.map(|(of, name, what)| format!("{of}: {name}: {what}\n")).collect()
}

/// Writes the schemas into the folder that `SLM_SCHEMAS_OUT` names, a file for each package, as the engine's tests of thousands
/// of schemas read them.
fn hand_out(prefix: &str, cases: &[Case]) {
    let Some(folder) = std::env::var_os("SLM_SCHEMAS_OUT") else { return };
    let mut files: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for case in cases {
        let name: String = case.of.chars().map(|c| if c.is_alphanumeric() || c == '.' { c } else { '-' }).collect();
        files
            .entry(format!("{prefix}-{}.json", name.trim_end_matches(".json")))
            .or_default()
            .push(json!({"schema": case.schema}));
    }
    std::fs::create_dir_all(&folder).expect("SLM_SCHEMAS_OUT names a folder that can be made");
    for (name, schemas) in files {
        let text = serde_json::to_string(&schemas).expect("values are JSON");
        std::fs::write(Path::new(&folder).join(name), text).expect("a writable folder");
    }
}
