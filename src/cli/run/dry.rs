//! `--dry-run`: the prompt as the model would see it, its tokens with their kinds, and the border of its segments.

use serde_json::json;

use super::Run;
use crate::engine::{PromptToken, Tokenized};
use crate::failure::{Exit, Outcome};
use crate::infer::Retry;
use crate::ui::output::Output;

/// Prints the prompt of one text.
pub fn show(run: &Run<'_>, text: &str) -> Outcome {
    let (text, n_tokens_cut) = run.cut(text)?;
    let ready = run.responder.session()?.ready(run.turn_to(&text))?;
    let rendered = ready.prompt().text();
    let Tokenized { tokens, border } = ready.tokenize().wait()?;
    let mut output = Output::default();
    if run.args.json.is_some() {
        let of = |token: &PromptToken| json!({"id": token.id, "text": token.text(), "kind": token.kind.as_str()});
        let mut shown = json!({
            "prompt": rendered,
            "tokens": tokens.iter().map(of).collect::<Vec<_>>(),
            "segments": segments(border, tokens.len()),
            "truncated": n_tokens_cut,
        });
        if run.retry == Retry::Once {
            shown["retry"] = run.limits.request().into();
        }
        output.json(&shown)?;
        return Ok(Exit::Done);
    }
    let mut page = format!("{}\n\n", rendered);
    for (number, token) in tokens.iter().enumerate() {
        if border > 0 && number == border {
            page += "--- end of the shared prefix, which is computed once for all rows\n";
        }
        page += &format!("{number:>6}  {:>7}  {:<12}  {}\n", token.id, token.kind.as_str(), quoted(&token.text()));
    }
    page += &format!("\n{} tokens: {border} stable, {} of the row", tokens.len(), tokens.len() - border);
    page += &if n_tokens_cut > 0 { format!("; {n_tokens_cut} were cut\n") } else { "\n".to_owned() };
    if run.retry == Retry::Once {
        page += &format!(
            "if the answer breaks a limit, the text is given once more and ends with: {}\n",
            run.limits.request()
        );
    }
    output.text(&page)?;
    Ok(Exit::Done)
}

fn segments(border: usize, n_tokens: usize) -> serde_json::Value {
    json!([{"name": "stable", "from": 0, "to": border}, {"name": "row", "from": border, "to": n_tokens}])
}

/// A token's text on one line, with its spaces visible.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
