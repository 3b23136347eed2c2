//! `slm fit` on a cascade: what its thresholds buy, whether routing is worth it, and thresholds with a promise.

mod check;
mod report;
mod routes;
mod tiers;

use std::path::Path;

use serde_json::{Value, json};

use super::args::{self, FitArgs};
use super::prepared::Prepared;
use super::tell;
use crate::cascade::{Accept, Chosen, Demand, Levels, Threshold, Tier, TierRow, choose};
use crate::cli::environment::{Environment, day};
use crate::cli::load;
use crate::failure::{Exit, Failure, Outcome};
use crate::load_spec::{self, CascadeSpec};
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, Modelfile};
use crate::store::{Elsewhere, Model};
use report::Found;
use tiers::Asked;

/// Asks every tier about every row, shows what thresholds would buy, and stores those that are wanted.
///
/// # Errors
/// The data or a tier cannot be used, or what is demanded cannot be promised.
pub fn run(args: &FitArgs, data: &Path, (stored, layer): (&Model, &str), environment: &Environment) -> Outcome {
    refuse(args)?;
    let CascadeSpec { cascade, remotes } = load_spec::cascade(stored, layer)?;
    let model = load::cascade_model(stored, cascade, environment)?;
    let prepared = Prepared::new(args, data, stored, environment)?;
    let asked = Asked { args, environment, stored, model: &model, remotes: &remotes, prepared: &prepared };
    if args.other.check {
        return check::run(&asked);
    }
    let tiers = &model.cascade.tiers;
    if tiers.len() < 2 {
        return Err(Failure::usage(format!(
            "`{}` has one tier, so that nothing goes on; there is nothing to set",
            args.model
        )));
    }
    if !prepared.is_labelled() {
        return Err(Failure::usage("thresholds are found with labelled rows, and the data has no labels"));
    }
    let demand = demand(args)?;
    if let Some(Demand::Risk(promise)) = demand {
        let (risk, confidence) = (promise.risk(), promise.confidence().share());
        let [none, one] = [0, 1].map(|errors| promise.rows_needed(errors));
        let said = format!(
            "a risk of {risk} at a confidence of {confidence} takes {none} answers before the last tier without an error to certify, \
             {one} with one; half of the rows certify"
        );
        tell(args, &said)?;
    }
    let answers = asked.first(tiers.len())?;
    let routed = routes::routed(&asked, &answers);
    check_probabilities(tiers, &routed.rows.rows)?;
    let [found, reported] = routes::halves(&routed);
    let levels = Levels::learn(&found.rows);
    let confidence = args.promise.confidence()?;
    let chosen = demand.map(|demand| choose(demand, &levels, (&found.rows, &reported.rows), confidence));
    let n_kept = answers.iter().map(|tier| tier.n_kept).sum();
    let n_asked = answers.iter().map(|tier| tier.rows.iter().flatten().count()).sum();
    let counts = report::Counts { n_found: found.rows.rows.len(), n_asked, n_kept };
    let found = Found {
        tiers,
        counts,
        reported: &reported.rows,
        frontier: levels.frontier(&found.rows),
        most_right: levels.most_right(&found.rows),
        chosen: chosen.as_ref(),
    };
    report::tell(args, &found)?;
    match chosen {
        None => {
            tell(args, "nothing was stored: say --risk 2% or --coverage 70% to set the thresholds")?;
            Ok(Exit::Done)
        }
        Some(Err(_)) => {
            tell(args, "nothing was stored, because what was asked for cannot be promised")?;
            Ok(Exit::NotMet)
        }
        Some(Ok(chosen)) => {
            store(&asked, layer, &chosen)?;
            Ok(Exit::Done)
        }
    }
}

/// What a fit of a model takes and one of a cascade does not.
fn refuse(args: &FitArgs) -> Result<(), Failure> {
    let promise = &args.promise;
    let refused = [
        ("--cost", !promise.cost.is_empty(), "give --risk or --coverage"),
        ("--person", !promise.person.is_empty(), "write `always_on` into its file"),
        ("--words-only", args.other.words_only, "fit a model, and make it a tier with `words: NAME`"),
        ("--unlabelled", args.other.unlabelled.is_some(), "fit its tiers"),
    ];
    match refused.into_iter().find(|(_, is_there, _)| *is_there) {
        None => Ok(()),
        Some((flag, _, instead)) => {
            Err(Failure::usage(format!("`{}` is a cascade, for which {flag} is not; {instead}", args.model)))
        }
    }
}

fn demand(args: &FitArgs) -> Result<Option<Demand>, Failure> {
    if let Some(promise) = args.promise.promised()? {
        return Ok(Some(Demand::Risk(promise)));
    }
    let Some(share) = &args.promise.coverage else { return Ok(None) };
    Ok(Some(Demand::Handled(args::share("--coverage", share)?)))
}

/// Whether every tier but the last says something that can be held against a threshold.
fn check_probabilities(tiers: &[Tier], rows: &[Vec<TierRow>]) -> Result<(), Failure> {
    for (nth, tier) in tiers.iter().enumerate().take(tiers.len().saturating_sub(1)) {
        if rows.iter().all(|tiers| tiers[nth].confidence.is_none()) {
            return Err(Failure::failed(format!(
                "no answer of the tier `{}` can be held against a threshold: it tells no probabilities, its fit withholds them all, or \
                 `always_on` lists them all",
                tier.name
            )));
        }
    }
    Ok(())
}

/// The cascade's layer with other thresholds.
fn with_thresholds(layer: &str, tiers: &[Tier], chosen: &Chosen) -> Result<String, Failure> {
    let unreadable = |error: serde_json::Error| Failure::failed(format!("the cascade cannot be written: {error}"));
    let mut value: Value = serde_json::from_str(layer).map_err(unreadable)?;
    for (nth, (tier, threshold)) in tiers.iter().zip(&chosen.thresholds).enumerate() {
        let mut accept = json!({"probability": threshold});
        if let Accept::Above(Threshold { fields, .. }) = &tier.accept
            && !fields.is_empty()
        {
            accept["fields"] = json!(fields);
        }
        value["tiers"][nth]["accept"] = accept;
    }
    value["promise"] = serde_json::to_value(&chosen.certificate).map_err(unreadable)?;
    Ok(value.to_string())
}

/// Stores the cascade with its new thresholds, under its name or another. What today has cost stays known.
fn store(asked: &Asked<'_>, layer: &str, chosen: &Chosen) -> Result<(), Failure> {
    let (args, stored) = (asked.args, asked.stored);
    let name: ModelRef = match &args.name {
        Some(name) => name.parse()?,
        None => stored.name.clone(),
    };
    if args.asking.dry_run {
        return tell(args, &format!("`{name}` would get these thresholds; nothing was stored"));
    }
    let layer = with_thresholds(layer, &asked.model.cascade.tiers, chosen)?;
    let modelfile = Modelfile {
        format: stored.format.clone(),
        system: stored.system.clone(),
        messages: stored.messages.clone(),
        parameters: stored.parameters.clone(),
        ..Modelfile::new(BaseSource::Name(name.clone().into()))
    };
    let store = asked.environment.store()?;
    let creation = store.begin_creating_elsewhere(&Elsewhere::Cascade(layer.into()), &modelfile, Path::new(""))?;
    let made = store.finish_creating(&name, creation)?;
    let (before, after) = (store.spent(&stored.weights_digest, day())?, store.spent(&made.weights_digest, day())?);
    if before > after {
        store.spend(&made.weights_digest, day(), before - after)?;
    }
    tell(args, &format!("`{name}` has these thresholds now; `slm show {name}` prints them"))
}
