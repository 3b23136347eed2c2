//! `slm log export`: decisions as rows that `slm fit` and `slm eval` read as they are, with the labels that people say are right.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::args::ExportArgs;
use super::corrections::Corrections;
use super::entry::Entry;
use super::files::LogFiles;
use super::listing::say_unreadable;
use super::texts::Texts;
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::{Output, say};
use crate::ui::table::counted;

/// The column of the label where the answer is one value.
const LABEL: &str = "label";

/// Rows in the order in which their decisions were made; one for each id and text.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Map<String, Value>>,
    places: HashMap<(String, String), usize>,
    n_without_text: u64,
}

/// Writes the rows.
///
/// # Errors
/// There are none, none has its text, or the file cannot be written.
pub fn run(log: &Path, args: &ExportArgs) -> Outcome {
    let (filter, corrections) = (args.filter.read()?, Corrections::read(log)?);
    if let Some(path) = args.output.as_deref().filter(|path| path.exists() && !args.overwrite) {
        return Err(Failure::usage(format!("`{}` exists; give another file, or --overwrite", path.display())));
    }
    let texts = args.texts.as_deref().map_or_else(|| Ok(Texts::default()), Texts::read)?;
    let mut rows = Rows::default();
    let read = Entry::each(LogFiles::open(log)?, &corrections, &filter, |entry| {
        rows.take(entry, &texts);
        Ok(())
    })?;
    say_unreadable(log, read);
    let Rows { rows, n_without_text, .. } = rows;
    if rows.is_empty() {
        return Err(Failure::failed(nothing(args, read.n, n_without_text)));
    }
    if n_without_text > 0 {
        say(format_args!(
            "{} left out, whose text is not in the log{}",
            counted(n_without_text, "decision"),
            how(args)
        ));
    }
    if filter.corrected && corrections.n() > rows.len() && filter.model.is_none() && filter.since.is_none() {
        let n = corrections.n() as u64 - rows.len() as u64;
        if n > n_without_text {
            say(format_args!(
                "{} of decisions that are in no file any more",
                counted(n - n_without_text, "correction")
            ));
        }
    }
    let n = rows.len() as u64;
    let lines: String = rows.into_iter().map(|row| format!("{}\n", Value::Object(row))).collect();
    match &args.output {
        None => Output::default().text(&lines).map(drop)?,
        Some(path) => {
            written(path, &lines)
                .map_err(|error| Failure::failed(format!("cannot write `{}`: {error}", path.display())))?;
            say(format_args!("{} in `{}`", counted(n, "row"), path.display()));
        }
    }
    Ok(Exit::Done)
}

impl Rows {
    fn take(&mut self, entry: Entry, texts: &Texts) {
        let Entry { line, corrected } = entry;
        let key = (line.id.clone(), line.input.digest.clone());
        let at = match self.places.get(&key) {
            Some(at) => *at,
            None => {
                let Some(text) = line.input.text.as_deref().or_else(|| texts.of(&line.input.digest)) else {
                    self.n_without_text += 1;
                    return;
                };
                let row = [("id", line.id.as_str()), ("text", text)];
                self.rows.push(row.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect());
                self.places.insert(key, self.rows.len() - 1);
                self.rows.len() - 1
            }
        };
        for (name, label) in corrected {
            self.rows[at].insert(name.unwrap_or_else(|| LABEL.to_owned()), label);
        }
    }
}

/// Why there are no rows.
fn nothing(args: &ExportArgs, n: u64, n_without_text: u64) -> String {
    if n_without_text > 0 {
        let these =
            if n_without_text == 1 { "the decision".to_owned() } else { format!("the {n_without_text} decisions") };
        return format!("the log has no text of {these}, only the SHA-256{}", how(args));
    }
    let kind = if args.filter.corrected {
        "none is corrected; `slm log correct ID LABEL` corrects one"
    } else {
        "none is of this kind"
    };
    format!("of {} {kind}", counted(n, "decision"))
}

/// How texts can be had.
fn how(args: &ExportArgs) -> &'static str {
    if args.texts.is_some() {
        "; nor is it in the file of --texts"
    } else {
        "; --texts FILE finds them in a file of yours, and --decisions-text of `slm serve` writes them from now on"
    }
}

/// Writes a file whole or not at all.
fn written(path: &Path, lines: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(lines.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
