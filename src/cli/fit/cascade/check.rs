//! `slm fit CASCADE DATA --check`: whether a cascade's promise still holds, and whether its tiers' answers are still spread as they
//! were. The last tier is not asked: the promise is of the answers before it.

use serde_json::{Value, json};
use slm_fit::drift::{LEVEL, p_of_kept};

use super::super::check::{Checked, changed};
use super::super::tell;
use super::routes;
use super::tiers::{Asked, TierAnswers};
use crate::cascade::{Exhausted, Routed, Rule, Tier};
use crate::eval::answer::Said;
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::Output;

/// Checks; nothing is stored.
///
/// # Errors
/// The data or a tier cannot be used, or there is nothing to check.
pub fn run(asked: &Asked<'_>) -> Outcome {
    let tiers = &asked.model.cascade.tiers;
    let n = tiers.len().saturating_sub(1);
    let answers = asked.first(n)?;
    let mut checked: Vec<Checked> =
        tiers.iter().zip(&answers).flat_map(|(tier, answers)| drift(asked, tier, answers)).collect();
    if asked.prepared.is_labelled() {
        // Labels say more than spreads: where there are some, these are told but decide nothing.
        let promise = promise(asked, &answers);
        if promise.is_some() {
            checked.iter_mut().for_each(|one| one.holds = true);
        }
        checked.extend(promise);
    }
    if checked.is_empty() {
        return Err(Failure::failed(format!(
            "there is nothing to check: `{}` has no promise (`slm fit` with --risk makes one), and its tiers have no fit",
            asked.args.model
        )));
    }
    let holds = checked.iter().all(|one| one.holds);
    let mut output = Output::default();
    if asked.args.asking.json {
        let told: Vec<&Value> = checked.iter().map(|one| &one.told).collect();
        output.json(&json!({"model": asked.args.model, "holds": holds, "checked": told}))?;
    } else {
        output.text(&checked.iter().map(|one| one.text.as_str()).collect::<String>())?;
    }
    if holds {
        return Ok(Exit::Done);
    }
    tell(
        asked.args,
        "the cascade does not hold any more; label some of these rows, and fit its tiers and then it again",
    )?;
    Ok(Exit::NotMet)
}

/// How a tier's answers have changed since its fit was made, field by field.
fn drift(asked: &Asked<'_>, tier: &Tier, answers: &TierAnswers) -> Vec<Checked> {
    let Some(fit) = &answers.fit else { return Vec::new() };
    let texts = asked.prepared.data.rows.iter().map(|row| {
        let content = row.content.as_ref().ok();
        content.map_or(0, |content| content.input.chars().count())
    });
    let lengths: Vec<usize> = texts.collect();
    let field = |(nth, field): (usize, &crate::contract::Field)| {
        let card = fit.fit().card.fields.iter().find(|card| card.name == field.name())?;
        card.reference.as_ref()?;
        let of_row = |(given, length): (&Option<crate::eval::answer::Given>, &usize)| match &given.as_ref()?.said {
            Said::Closed(scores) => Some((scores.get(nth)?.probabilities.clone(), *length)),
            Said::Text { .. } | Said::Failed(_) => None,
        };
        let (probabilities, lengths): (Vec<_>, Vec<_>) = answers.rows.iter().zip(&lengths).filter_map(of_row).unzip();
        let name = format!("{}, {}", tier.name, card.name.as_deref().unwrap_or("answer"));
        let mut one = changed(card, &name, &probabilities, &lengths);
        one.told["tier"] = tier.name.as_str().into();
        Some(one)
    };
    asked.prepared.contract.fields().iter().enumerate().filter_map(field).collect()
}

/// What labelled rows say of the promise; `None` where nothing was promised.
fn promise(asked: &Asked<'_>, answers: &[TierAnswers]) -> Option<Checked> {
    let certificate = asked.model.cascade.promise.as_ref()?;
    let routed = Routed { on_exhausted: Exhausted::Review, ..routes::routed(asked, answers).rows };
    let n = routed.rows.len();
    // The last tier was not asked, so that whatever is taken was handled before it.
    let ends: Vec<_> = routed.ends(Rule::AsItIs).filter(|end| end.tier.is_some()).collect();
    let (handled, errors) = (ends.len() as u64, ends.iter().filter(|end| !end.is_right).count() as u64);
    let share = |handled: u64, n: u64| handled as f64 / n.max(1) as f64;
    let (now, then) = (share(handled, n as u64), share(certificate.handled, certificate.rows));
    let mut text =
        format!("{n} labelled rows: {now:.2} handled before the last tier, {then:.2} when the thresholds were set\n");
    let mut told = json!({"rows": n, "handled": handled, "errors": errors});
    let mut holds = true;
    if let Some(risk) = certificate.risk {
        let p = p_of_kept(risk, handled, errors);
        holds = p >= LEVEL;
        told["p_value"] = p.into();
        let says = if holds { "may well be kept" } else { "is broken" };
        text += &format!("  the promise of {risk} {says}: {errors} of {handled} answers are wrong (p = {p:.3})\n");
    }
    told["holds"] = holds.into();
    Some(Checked { told, text, holds })
}
