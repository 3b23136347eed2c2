//! `slm log show`: all that was written down of a decision, for people or as JSON.

use std::fmt::Write as _;
use std::path::Path;

use super::args::{Filter, ShowArgs};
use super::corrections::Corrections;
use super::entry::{Entry, shown};
use super::files::LogFiles;
use crate::api::decision_log::{DecisionLine, LineStep};
use crate::api::extra::ExtraField;
use crate::eval::label::{harmless, show};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::Output;

/// The answers of a field that are shown.
const MAX_ANSWERS: usize = 5;

/// Shows every line of an id: a request for several answers has several.
///
/// # Errors
/// No line has it.
pub fn run(log: &Path, args: &ShowArgs) -> Outcome {
    let corrections = Corrections::read(log)?;
    let mut found = Vec::new();
    let read = Entry::each(LogFiles::open(log)?, &corrections, &Filter::default(), |entry| {
        if entry.line.id == args.id {
            found.push(entry);
        }
        Ok(())
    })?;
    if found.is_empty() {
        return Err(Failure::failed(format!(
            "none of the {} decisions in `{}` has the id `{}`; `slm log` lists them",
            read.n,
            log.display(),
            args.id
        )));
    }
    let mut output = Output::default();
    if args.json {
        for entry in &found {
            output.json(&entry.json())?;
        }
        return Ok(Exit::Done);
    }
    let pages: Vec<String> = found.iter().map(page).collect();
    output.text(&pages.join("\n"))?;
    Ok(Exit::Done)
}

fn page(entry: &Entry) -> String {
    let line = &entry.line;
    let mut page = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(page, "{name:<14} {value}");
    };
    row("id", &harmless(&line.id));
    row("time", &line.time);
    row("model", &format!("{} ({})", line.model, line.manifest));
    for (name, of) in [
        ("weights", &line.weights),
        ("cascade", &line.cascade),
        ("remote", &line.remote),
        ("task", &line.task),
        ("fit", &line.fit),
        ("evaluation id", &line.evaluation_id),
    ] {
        of.iter().for_each(|of| row(name, of));
    }
    line.adapters.iter().for_each(|adapter| row("adapter", adapter));
    row("prompt", &line.prompt);
    row("text", &text(line));
    row("answer", &answer(line));
    line.fields.iter().for_each(|field| row("field", &of_field(field)));
    line.path.iter().for_each(|step| row("tier", &of_step(step)));
    let tokens = line.tokens;
    row("tokens", &format!("{} prompt ({} reused), {} generated", tokens.prompt, tokens.reused, tokens.generated));
    row("took", &format!("{:.1} ms", line.ms));
    line.cost.iter().for_each(|cost| row("cost", &format!("{cost:.6}")));
    if !entry.corrected.is_empty() {
        row("corrected", &shown(&entry.corrected));
    }
    page
}

fn text(line: &DecisionLine) -> String {
    let input = &line.input;
    let known = format!("{} characters, {}", input.chars, input.digest);
    input.text.as_ref().map_or_else(|| format!("not in the log: {known}"), |text| harmless(text))
}

fn answer(line: &DecisionLine) -> String {
    if line.review { "left to a person".to_owned() } else { show(&line.answer) }
}

fn of_field(field: &ExtraField) -> String {
    let mut of: Vec<(&serde_json::Value, f64)> =
        field.probabilities.iter().map(|one| (&one.value, one.probability)).collect();
    of.sort_by(|one, other| other.1.total_cmp(&one.1));
    let of: Vec<String> = of.iter().take(MAX_ANSWERS).map(|(value, p)| format!("{} {p:.3}", show(value))).collect();
    let name = field.name.as_ref().map_or_else(String::new, |name| format!("{}: ", harmless(name)));
    let threshold = field.fit.as_ref().and_then(|fit| fit.threshold);
    let threshold = threshold.map_or_else(String::new, |threshold| format!("; accepted from {threshold:.3}"));
    let withheld =
        field.abstained.as_ref().map_or_else(String::new, |why| format!("; left to a person: {}", harmless(why)));
    format!("{name}{}{threshold}{withheld}", of.join(", "))
}

fn of_step(step: &LineStep) -> String {
    let reason = step.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let below = step.below.as_ref().map_or_else(String::new, |below| {
        let field = below.field.as_ref().map_or_else(String::new, |field| format!(" of {}", harmless(field)));
        format!(": {}{field} {:.3}, and {} is asked for", below.measure, below.found, below.threshold)
    });
    let answer = step.answer.as_ref().map_or_else(String::new, |answer| format!(", answered {}", show(answer)));
    let cost = step.cost.map_or_else(String::new, |cost| format!(", cost {cost:.6}"));
    format!("{} {}{reason}{below}{answer}, {:.1} ms{cost}", harmless(&step.tier), step.outcome, step.ms)
}
