//! Asks a person: before a model that cannot be downloaded again is lost, and which of near names is meant.

use std::io::IsTerminal as _;

use crate::digest::Digest;
use crate::failure::Failure;
use crate::model_ref::ModelRef;
use crate::store::{Recovery, Store, StoreError};
use crate::ui::output::ask;

/// What would happen to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Remove,
    Replace,
}

impl Loss {
    fn verb(self) -> &'static str {
        match self {
            Loss::Remove => "remove",
            Loss::Replace => "replace",
        }
    }

    fn question(self) -> &'static str {
        match self {
            Loss::Remove => "Remove it? [y/N] ",
            Loss::Replace => "Replace it? [y/N] ",
        }
    }
}

/// The models that may be removed: those that can be downloaded again, and those that the person agrees to lose, each with its own question.
/// A model whose content stays under another name is not asked about.
///
/// # Errors
/// The person keeps all of them, nobody is there to ask, or no stored model has one of the names.
pub fn losses(store: &Store, models: &[ModelRef], loss: Loss) -> Result<Vec<ModelRef>, Failure> {
    let verb = loss.verb();
    if !is_person_there() {
        let mut lost = Vec::new();
        for name in models {
            if store.recovery(name, models)? == Recovery::Unknown {
                lost.push(format!("`{name}`"));
            }
        }
        return refuse(&lost, verb).map_or_else(|| Ok(models.to_vec()), Err);
    }
    let mut going = models.to_vec();
    for name in models {
        if store.recovery(name, &going)? == Recovery::Unknown {
            let question = format!("`{name}` was not downloaded by slm and may be lost for good. {}", loss.question());
            if !answer(&question).is_some_and(|answer| is_yes(&answer)) {
                going.retain(|going| going != name);
            }
        }
    }
    if going.is_empty() { Err(Failure::failed(format!("nothing was {verb}d"))) } else { Ok(going) }
}

/// Continues if this model can be downloaded again, or if the person says yes.
///
/// # Errors
/// As [`losses`].
pub fn loss(store: &Store, model: &ModelRef, loss: Loss) -> Result<(), Failure> {
    losses(store, std::slice::from_ref(model), loss).map(drop)
}

/// Whether a name is that of a stored model with another manifest than the one with this digest.
///
/// # Errors
/// The store cannot be read.
pub fn replaces_another(store: &Store, name: &ModelRef, digest: Digest) -> Result<bool, StoreError> {
    Ok(is_stored(store, name)? && store.resolve(name).map_or(true, |model| model.digest != digest))
}

/// Whether a name is that of a stored model, which making another of that name would replace.
///
/// # Errors
/// The store cannot be read.
pub fn is_stored(store: &Store, name: &ModelRef) -> Result<bool, StoreError> {
    match store.recovery(name, &[]) {
        Ok(_) => Ok(true),
        // A name that nothing has, or only the binary: nothing is replaced.
        Err(StoreError::NotFound(_) | StoreError::RemoveEmbedded(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The error if nobody can be asked about models that would be lost.
fn refuse(lost: &[String], verb: &str) -> Option<Failure> {
    let (last, others) = lost.split_last()?;
    let (names, were, them) = match others {
        [] => (last.clone(), "was", "it"),
        others => (format!("{} and {last}", others.join(", ")), "were", "them"),
    };
    let reason = format!("{names} {were} not downloaded by slm and may be lost for good");
    Some(Failure::failed(format!("{reason}; {verb} {them} with --yes")))
}

/// What a person meant by a name that no model has, but that is close to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// A model of the store.
    Stored(ModelRef),
    /// What was typed, from a registry.
    Pull,
}

/// Asks which of the near names was meant, before anything is downloaded. Without a person, the typed name counts.
///
/// # Errors
/// The person wants none of it.
pub fn near(typed: &str, nearest: &[ModelRef]) -> Result<Meant, Failure> {
    let Some(first) = nearest.first().filter(|_| is_person_there()) else { return Ok(Meant::Pull) };
    let question = format!("there is no model `{typed}` here. Did you mean `{first}`? [y/N, p pulls `{typed}`] ");
    match answer(&question).as_deref() {
        Some("p" | "pull") => Ok(Meant::Pull),
        Some(answer) if is_yes(answer) => Ok(Meant::Stored(first.clone())),
        _ => Err(Failure::failed(format!("there is no model `{typed}`; `slm list` shows those you have"))),
    }
}

/// Continues if a person agrees.
///
/// # Errors
/// The person does not, or nobody is there to ask: `flag` agrees in advance.
pub fn agreed(question: &str, flag: &str) -> Result<(), Failure> {
    if !is_person_there() {
        return Err(Failure::failed(format!("nobody is there to agree; give {flag}")));
    }
    match answer(&format!("{question} [y/N] ")) {
        Some(answer) if is_yes(&answer) => Ok(()),
        _ => Err(Failure::failed("nothing was installed")),
    }
}

fn is_person_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn is_yes(answer: &str) -> bool {
    matches!(answer, "y" | "yes")
}

/// A person's answer in lower case; `None` if standard input cannot be read.
fn answer(question: &str) -> Option<String> {
    ask(question);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_lowercase())
}
