//! `slm log`: decisions as a table, or as the lines of the log.

use std::collections::VecDeque;
use std::path::Path;

use super::args::{FilterArgs, ShapeArgs};
use super::corrections::Corrections;
use super::entry::{Entry, Read, Slot, named, shown, slots};
use super::files::LogFiles;
use crate::eval::label::{harmless, show};
use crate::failure::{Exit, Outcome};
use crate::ui::output::{Output, Reader, say};
use crate::ui::table::table;

/// Decisions that a table shows where nobody says how many.
const SHOWN: usize = 40;

/// Lists the decisions, the oldest first.
///
/// # Errors
/// The log cannot be read.
pub fn run(log: &Path, filter: &FilterArgs, shape: &ShapeArgs) -> Outcome {
    let (filter, corrections) = (filter.read()?, Corrections::read(log)?);
    let files = LogFiles::open(log)?;
    let most = shape.last.unwrap_or(if shape.json { usize::MAX } else { SHOWN });
    let (mut output, mut last, mut n) = (Output::default(), VecDeque::new(), 0_usize);
    let mut is_gone = false;
    let read = Entry::each(files, &corrections, &filter, |entry| {
        n += 1;
        // Nothing has to be kept where all are wanted.
        if shape.json && most == usize::MAX {
            is_gone |= !is_gone && output.json(&entry.json())? == Reader::Gone;
            return Ok(());
        }
        if last.len() == most {
            last.pop_front();
        }
        if most > 0 {
            last.push_back(entry);
        }
        Ok(())
    })?;
    say_unreadable(log, read);
    if shape.json {
        for entry in &last {
            if output.json(&entry.json())? == Reader::Gone {
                break;
            }
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = last.iter().map(row).collect();
    output.text(&table(&["TIME", "ID", "MODEL", "ANSWER", "P", "NOTE"], &rows))?;
    if n > last.len() {
        say(format_args!("the last {} of {n} decisions; -n {n} shows all", last.len()));
    }
    Ok(Exit::Done)
}

/// Says how many lines are not decisions.
pub fn say_unreadable(log: &Path, read: Read) {
    if read.n_unreadable > 0 {
        say(format_args!("`{}`: {} lines are not decisions and are left out", log.display(), read.n_unreadable));
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let slots = slots(&entry.line);
    let answer: Vec<String> = slots.iter().map(answered).collect();
    let least = slots.iter().filter_map(|slot| slot.probability).min_by(f64::total_cmp);
    vec![
        entry.line.time.clone(),
        harmless(&entry.line.id),
        entry.line.model.clone(),
        answer.join(" "),
        least.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}")),
        notes(entry).join("; "),
    ]
}

/// A field's answer; a guess that nobody was given is in brackets.
fn answered(slot: &Slot) -> String {
    let best = slot.best.as_ref().map_or_else(|| "-".to_owned(), show);
    named(slot.name.as_deref(), &if slot.is_withheld { format!("({best})") } else { best })
}

fn notes(entry: &Entry) -> Vec<String> {
    let tier = entry.line.path.iter().find(|step| step.outcome == "accepted").map(|step| format!("by {}", step.tier));
    let withheld = entry.is_withheld().then(|| "left to a person".to_owned());
    let corrected = (!entry.corrected.is_empty()).then(|| format!("corrected: {}", shown(&entry.corrected)));
    [tier, withheld, corrected].into_iter().flatten().collect()
}
