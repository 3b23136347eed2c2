//! Asks a person before something is lost for ever.

use std::io::{IsTerminal as _, Write as _};

use crate::failure::Failure;
use crate::model_ref::ModelRef;
use crate::store::{Recovery, Store};
use crate::ui::output::harmless;

/// Lets go on where these models can be had again, or where a person says yes. `verb` is what would happen to them:
/// `remove`, or `replace`.
///
/// # Errors
/// The person says no, or nobody is there to ask; or no stored model has one of the names.
pub fn loss(store: &Store, models: &[ModelRef], verb: &str) -> Result<(), Failure> {
    let mut lost = Vec::new();
    for name in models {
        if store.recovery(name, models)? == Recovery::Unknown {
            lost.push(format!("`{name}`"));
        }
    }
    let Some((last, others)) = lost.split_last() else { return Ok(()) };
    let (names, them) = match others {
        [] => (last.clone(), "it"),
        others => (format!("{} and {last}", others.join(", ")), "them"),
    };
    let they = if others.is_empty() { "it" } else { "they" };
    let reason = format!("slm did not pull {names}, so {they} may be lost for ever");
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::failed(format!("{reason}; {verb} {them} with --yes")));
    }
    let _ = write!(std::io::stderr(), "{}", harmless(&format!("slm: {reason}. {} {them}? [y/N] ", capital(verb))));
    let mut answer = String::new();
    // What cannot be read is not a yes.
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed(format!("nothing was {verb}d"))),
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
