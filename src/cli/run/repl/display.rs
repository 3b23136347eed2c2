//! The texts that a session shows: the probabilities of all answers, the settings, and help.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::command::Topic;
use super::dialogue::Dialogue;
use crate::cli::run::answer::{label, share};
use crate::contract::{Contract, Form};
use crate::decide::{Answer, FieldAnswer};
use crate::ui::look::Look;
use crate::ui::table::counted;

/// Answers of a field that are shown.
const MAX_SHOWN: usize = 8;

/// Every allowed answer of every field with its probability, the most likely first.
#[must_use]
pub fn probabilities(answer: &Answer, look: Look) -> String {
    let name = |field: &FieldAnswer| field.name.clone().unwrap_or_default();
    let names = answer.fields.iter().map(|field| name(field).width()).max().unwrap_or(0);
    let of_field = |field: &FieldAnswer| ranked(field).into_iter().map(|(label, _)| label.width()).max();
    let labels = answer.fields.iter().filter_map(of_field).max().unwrap_or(0);
    let gap = if names > 0 { 2 } else { 0 };
    let mut text = String::new();
    for field in &answer.fields {
        let ranked = ranked(field);
        let n_more = field.probabilities.len() - ranked.len();
        for (number, (label, probability)) in ranked.iter().enumerate() {
            let name = if number == 0 { name(field) } else { String::new() };
            text += &padded(&name, names + gap);
            text += &padded(label, labels);
            text += &share(*probability, look);
        }
        if n_more > 0 {
            text += &format!("{}{n_more} more\n", padded("", names + gap));
        }
    }
    text
}

/// The most likely answers of a field.
fn ranked(field: &FieldAnswer) -> Vec<(String, f64)> {
    let one_line = |value| label(value).replace('\n', "␊");
    let mut ranked: Vec<(String, f64)> = field.probabilities.iter().map(|(value, p)| (one_line(value), *p)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(MAX_SHOWN);
    ranked
}

/// A text with spaces after it up to a width in columns.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// How to get help, and how to leave.
pub const HINT: &str = "type /? for help, /bye or Ctrl-D to leave\n";

/// The first lines of a session.
#[must_use]
pub fn greeting(model: &str, form: &Form) -> String {
    let what = match form {
        Form::Closed(contract) => format!("{model} classifies each line: {}", fields(contract)),
        Form::Open(_) => format!("chat with {model}, which answers in a format"),
        Form::Free => format!("chat with {model}"),
    };
    format!("{what}\n{HINT}")
}

/// What a contract asks: its fields, or the answers where it is one value.
fn fields(contract: &Contract) -> String {
    match contract.fields() {
        [field] if field.path.is_empty() => {
            let labels: Vec<&str> = field.options.iter().map(|option| option.label.as_str()).collect();
            few(&labels)
        }
        fields => {
            let names: Vec<String> = fields.iter().filter_map(crate::contract::Field::name).collect();
            few(&names.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

/// Names on one line, and how many are left out.
fn few(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_SHOWN).copied().collect::<Vec<_>>().join(", ").replace('\n', "␊");
    if names.len() > MAX_SHOWN { format!("{shown} and {} more", names.len() - MAX_SHOWN) } else { shown }
}

/// What holds in a session.
#[must_use]
pub fn session(model: &str, dialogue: &Dialogue) -> String {
    let mut page = format!("model         {model}\n");
    let answers = match dialogue.form() {
        Form::Closed(contract) => format!("classified: {}", fields(contract)),
        Form::Open(open) if open.schema().is_some() => "JSON under a schema".to_owned(),
        Form::Open(_) => "text under a grammar".to_owned(),
        Form::Free => "text".to_owned(),
    };
    let _ = writeln!(page, "answers       {answers}");
    if let Some(system) = dialogue.system() {
        let _ = writeln!(page, "system        {}", system.replace('\n', "\n              "));
    }
    for (name, value) in dialogue.parameters().to_map() {
        let _ = writeln!(page, "parameter     {name} {value}");
    }
    let _ = writeln!(page, "conversation  {}", counted(dialogue.n_turns() as u64, "turn"));
    page
}

/// What can be typed.
#[must_use]
pub fn help(topic: Topic) -> &'static str {
    match topic {
        Topic::Commands => COMMANDS,
        Topic::Set => SET,
        Topic::Show => SHOW,
        Topic::Keys => KEYS,
    }
}

const COMMANDS: &str = "\
/set             change a setting (/? set)
/show            show the session, or a part of its model (/? show)
/clear           clear the conversation
/save NAME       save the session as a model
/load NAME       switch to another model and start over
/help, /?        show the commands (/? keys for the keys)
/bye             leave

Put text of several lines between \"\"\" and \"\"\".
";

const SET: &str = "\
/set system TEXT                       use these instructions instead of the model's
/set format SCHEMA|@FILE|json|none     answer in this format
/set choices A,B,C                     classify each line as one of these
/set parameter NAME VALUE              set a parameter, as in a Modelfile
/set verbose, /set noverbose           show token counts and times, or not
/set think, /set nothink               let the model think before it answers, or not
/set wordwrap, /set nowordwrap         break text between words, or not
/set history, /set nohistory           save what is typed for later sessions, or not
";

const SHOW: &str = "\
/show               the settings of this session
/show info          what the model is made of
/show system        its instructions
/show template      its chat template
/show parameters    its parameters
/show modelfile     this session as a Modelfile
/show license       its licence
";

const KEYS: &str = "\
Ctrl-A, Ctrl-E      go to the beginning or the end of the line
Alt-B, Alt-F        go one word back or forward
Ctrl-K, Ctrl-U      delete to the end or the beginning of the line
Ctrl-W              delete the word before the cursor
Up, Down            show earlier and later lines
Ctrl-R              search earlier lines
Ctrl-L              clear the screen
Tab                 complete a command
Ctrl-C              stop the answer
Ctrl-D              leave
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::look::Colour;
    use serde_json::json;

    fn field(name: Option<&str>, probabilities: &[(&str, f64)]) -> FieldAnswer {
        let probabilities: Vec<_> = probabilities.iter().map(|(label, p)| (json!(label), *p)).collect();
        let (value, _) = probabilities[0].clone();
        FieldAnswer {
            name: name.map(str::to_owned),
            value,
            probabilities,
            label_mass: Some(1.0),
            fitted: None,
            review: None,
        }
    }

    fn shown(fields: Vec<FieldAnswer>, term: &str) -> String {
        probabilities(&Answer { fields, json: json!(null) }, Look::of(Some(term), None, Colour::Allowed))
    }

    #[test]
    fn the_likeliest_answer_comes_first_with_the_longest_bar() {
        let answer = || vec![field(None, &[("no", 0.25), ("多分", 0.05), ("yes", 0.7)])];
        assert_eq!(shown(answer(), "xterm"), "yes    70.0 %  ██████████████\nno     25.0 %  █████\n多分    5.0 %  █\n");
        assert_eq!(shown(answer(), "dumb"), "yes    70.0 %\nno     25.0 %\n多分    5.0 %\n");
    }

    #[test]
    fn fields_have_their_names_and_long_lists_are_cut() {
        let many: Vec<String> = (0..11).map(|n| format!("l{n}")).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|label| (label.as_str(), 1.0 / 11.0)).collect();
        let text = shown(vec![field(Some("a"), &[("x", 1.0)]), field(Some("bb"), &many)], "dumb");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["a   x   100.0 %", "bb  l0    9.1 %", "    l1    9.1 %"]);
        assert_eq!(lines.last(), Some(&"    3 more"));
    }
}
