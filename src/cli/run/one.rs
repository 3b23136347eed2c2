//! One text and its answer.

use serde_json::{Map, Value};

use super::args::JsonShape;
use super::columns::{Columns, Own, Withholding};
use super::limited::{asked_again, refusal};
use super::{Run, answer};
use crate::contract::Form;
use crate::failure::{self, Exit, Failure, Outcome};
use crate::infer::{Ask, Cancel, End, Finding, InferError, Limited, LimitedReply, Piece, wait};
use crate::ui::output::{Output, Reader, Thoughts, say, tell};

/// Answers one text.
///
/// # Errors
/// Anything that keeps the text from its answer.
pub fn run(run: &Run<'_>, text: &str) -> Outcome {
    let (text, n_tokens_cut) = run.cut(text)?;
    let ask = run.ask_of(&text);
    let is_written = run.embeds.is_none() && !matches!(run.turn.form, Form::Closed(_));
    if is_written && run.limits.is_empty() && run.args.json.is_none() {
        stream(run, ask, &text, n_tokens_cut)
    } else {
        whole(run, ask, &text, n_tokens_cut)
    }
}

/// Shows text as it is written.
fn stream(run: &Run<'_>, ask: Ask, asked: &str, n_tokens_cut: usize) -> Outcome {
    let mut reply = run.responder.ask(ask)?;
    let (mut output, mut thoughts) = (Output::default(), Thoughts::new(run.look.styles));
    let mut written = String::new();
    while let Some(piece) = wait(reply.next(), &Cancel::default())? {
        match piece {
            Piece::Thinking(text) => thoughts.think(&text),
            Piece::Text(piece) => {
                thoughts.end();
                written += &piece.text;
                if output.text(&piece.text)? == Reader::Gone {
                    return Ok(Exit::Done);
                }
            }
            Piece::Call(_) => {}
            Piece::End(end) => {
                thoughts.end();
                if !written.ends_with('\n') {
                    output.text("\n")?;
                }
                run.say_what_was_cut(n_tokens_cut);
                run.say_what_is_not_in(asked, &written);
                figures(run, &end);
                return end.violation().map_or(Ok(Exit::Done), |violation| Err(not_met(failure::violation(violation))));
            }
        }
    }
    Err(Failure::from(InferError::from(crate::engine::EngineError::Stopped)))
}

/// Shows an answer when all of it is there. Under limits nothing is shown before it keeps them: half of it in a pipe could
/// not be taken back.
fn whole(run: &Run<'_>, ask: Ask, asked: &str, n_tokens_cut: usize) -> Outcome {
    let reply = LimitedReply::ask(&run.responder, ask, &run.limits, run.retry)?;
    let limited = wait(reply.whole(), &Cancel::default())?;
    let (finished, refusal) = (&limited.finished, refusal(&limited));
    if let Some(decisions) = &run.decisions {
        decisions.take(asked, &finished.end);
    }
    if let Some(why) = asked_again(&limited) {
        say(why);
    }
    let mut output = Output::default();
    match &finished.end.finding {
        _ if run.args.json.is_some() => output.json(&record(run, &limited, n_tokens_cut)).map(drop)?,
        Finding::Closed(answer) if output.is_terminal() => {
            output.text(&answer::for_people(answer, run.look)).map(drop)?
        }
        Finding::Free | Finding::Open(_) if refusal.is_some() => {
            if run.args.verbose {
                tell(&format!("refused        {}\n", finished.text.trim()));
            }
        }
        Finding::Closed(_) | Finding::Vectors(_) => {
            output.line(&answer::bare(finished, run.args.fit.abstained())).map(drop)?
        }
        Finding::Free | Finding::Open(_) => output.line(finished.text.trim_end_matches('\n')).map(drop)?,
    }
    run.say_what_was_cut(n_tokens_cut);
    if let (Finding::Closed(found), true) = (&finished.end.finding, run.says_doubts()) {
        match &finished.end.review {
            Some(why) => say(format_args!("left to a person: {why}")),
            None => found.fields.iter().filter_map(answer::withheld).for_each(say),
        }
        found.fields.iter().filter_map(answer::doubt).for_each(say);
    }
    if refusal.is_none() && run.args.json.is_none() {
        run.say_what_is_not_in(asked, &finished.text);
    }
    figures(run, &finished.end);
    refusal.map_or(Ok(Exit::Done), |message| Err(not_met(message)))
}

/// An answer as JSON, in the shape that is wanted.
fn record(run: &Run<'_>, limited: &Limited, n_tokens_cut: usize) -> Value {
    if run.args.json() != Some(JsonShape::Flat) {
        return answer::details(run, limited, n_tokens_cut);
    }
    let by_fit = run.responder.defaults().fit.as_deref().map_or(Withholding::None, Withholding::ByFit);
    let withholding = if run.responder.reviews() { Withholding::All } else { by_fit };
    let columns = Columns::new(run.args, &run.turn.form, run.embeds, withholding);
    match refusal(limited) {
        None => columns.row(&limited.finished, n_tokens_cut).into(),
        Some(reason) => {
            let rejected = limited.finished.text.as_str().into();
            Map::from_iter([(columns.own(Own::Error), reason.into()), (columns.own(Own::Rejected), rejected)]).into()
        }
    }
}

fn figures(run: &Run<'_>, end: &End) {
    if run.args.verbose {
        tell(&answer::figures(end));
    }
}

/// An answer that breaks its contract or its limits.
fn not_met(message: String) -> Failure {
    Failure { message, exit: Exit::NotMet }
}
