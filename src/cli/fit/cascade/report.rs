//! What `slm fit` shows of a cascade: each tier alone, the best that any choice among them could do, what thresholds buy, and whether
//! routing is worth it; for people, or as JSON.

use serde_json::{Value, json};
use slm_stats::{Confidence, Proportion};

use super::super::args::FitArgs;
use crate::cascade::{
    Certificate, ChoosingError, Chosen, Figures, LEVEL, NEVER, Rival, Routed, Rule, Tier, Verdict, rivals, verdict,
};
use crate::failure::Failure;
use crate::ui::output::Output;
use crate::ui::table::table;

/// Rows by what they were for, and answers of tiers by where they came from.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub n_found: usize,
    pub n_asked: usize,
    pub n_kept: usize,
}

/// What was found.
pub struct Found<'a> {
    pub tiers: &'a [Tier],
    pub counts: Counts,
    /// The rows of which the figures are.
    pub reported: &'a Routed,
    /// Thresholds that handle more and more.
    pub frontier: Vec<Vec<f64>>,
    /// Those with the most right answers.
    pub most_right: Vec<f64>,
    /// What was asked for.
    pub chosen: Option<&'a Result<Chosen, ChoosingError>>,
}

impl Found<'_> {
    /// The thresholds that are judged: those that were asked for, or the ones with the most right answers.
    fn judged(&self) -> &[f64] {
        match self.chosen {
            Some(Ok(chosen)) => &chosen.thresholds,
            _ => &self.most_right,
        }
    }
}

/// Shows it.
///
/// # Errors
/// Standard output cannot be written.
pub fn tell(args: &FitArgs, found: &Found<'_>) -> Result<(), Failure> {
    let mut output = Output::default();
    if args.asking.json {
        return output.json(&as_json(args, found)).map(drop);
    }
    output.text(&page(args, found)).map(drop)
}

fn page(args: &FitArgs, found: &Found<'_>) -> String {
    let Counts { n_found, n_asked, n_kept } = found.counts;
    let n = found.reported.rows.len();
    let mut text = format!(
        "{}: {} rows asked of {} tiers ({n_kept} of {n_asked} answers were kept); {n_found} rows find thresholds, and all figures are \
         of the other {n}\n",
        args.model,
        n_found + n,
        found.tiers.len()
    );
    text += &tiers(found);
    text += "\n";
    let last = found.tiers.last().map_or("", |tier| tier.name.as_str());
    let thresholds = found.tiers[..found.tiers.len() - 1].iter().map(|tier| tier.name.as_str());
    let heads: Vec<&str> =
        ["", "handled", "risk", "accuracy", "ms", "cost of 1,000"].into_iter().chain(thresholds).collect();
    let line = |name: &str, rule: Rule<'_>, thresholds: Option<&[f64]>| {
        let figures = found.reported.figures(rule);
        let of = thresholds.map(|of| of.iter().map(|of| threshold(*of)).collect());
        let of = of.unwrap_or_else(|| vec![String::new(); found.tiers.len() - 1]);
        let cells = [
            name.to_owned(),
            format!("{:.2}", figures.handled),
            format!("{:.4}", figures.risk),
            format!("{:.3}", figures.accuracy),
            number(figures.ms),
            number(figures.cost * 1e3),
        ];
        cells.into_iter().chain(of).collect::<Vec<String>>()
    };
    let mut lines = vec![line("now", Rule::AsItIs, None)];
    lines.extend(found.frontier.iter().map(|of| line("", Rule::From(of), Some(of))));
    let judged = found.judged();
    lines.push(line("*", Rule::From(judged), Some(judged)));
    text += &format!("what thresholds buy (handled: answered before `{last}`; risk: wrong ones of these)\n");
    text += &table(&heads, &lines);
    let what = match found.chosen {
        Some(Ok(_)) => "* what was asked for",
        _ => "* the most right answers on the rows that find thresholds",
    };
    text += &format!("{what}\n\n");
    match found.chosen {
        Some(Ok(chosen)) => text += &promise(&chosen.certificate),
        Some(Err(error)) => text += &format!("{error}\n"),
        None => {}
    }
    text += &said(found);
    text
}

/// Each tier alone, and the best choice among them.
fn tiers(found: &Found<'_>) -> String {
    let rivals = rivals(found.reported, Rule::From(found.judged()));
    let line = |name: &str, figures: &Figures, rival: Option<&Rival>| {
        let n = found.reported.rows.len() as u64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of n
        let hits = (figures.accuracy * n as f64).round() as u64;
        let interval = Proportion { hits, n }.wilson(Confidence::USUAL);
        vec![
            name.to_owned(),
            format!("{:.3}", figures.accuracy),
            interval.map_or(String::new(), |of| format!("{:.3}..{:.3}", of.low, of.high)),
            number(figures.ms),
            number(figures.cost * 1e3),
            rival.map_or(String::new(), |rival| format!("{:.3}", rival.p_value)),
        ]
    };
    let alone = found.tiers.iter().enumerate();
    let mut lines: Vec<Vec<String>> =
        alone.map(|(nth, tier)| line(&tier.name, &found.reported.figures_alone(nth), rivals.get(nth))).collect();
    lines.push(line("the right one of them", &found.reported.oracle(), None));
    table(&["alone", "accuracy", "", "ms", "cost of 1,000", "p worse than *"], &lines)
}

fn promise(certificate: &Certificate) -> String {
    let Certificate { risk, confidence, rows, handled, errors, risk_at_most, .. } = certificate;
    let promised = risk
        .map_or(String::new(), |risk| format!("promised: at most {risk} of the answers before the last tier wrong; "));
    format!(
        "{promised}of {rows} rows that had no part in it {handled} were handled, {errors} of them wrong; risk at most \
         {risk_at_most:.4} at a confidence of {confidence}\n"
    )
}

/// The verdict, in sentences.
fn said(found: &Found<'_>) -> String {
    let rule = Rule::From(found.judged());
    let cascade = found.reported.figures(rule);
    match verdict(found.reported, rule) {
        Verdict::Alone(rival) => {
            let name = &found.tiers[rival.tier].name;
            let alone = found.reported.figures_alone(rival.tier);
            format!(
                "do not route: `{name}` alone is not found to be worse ({:.3} right against {:.3}; difference {:+.3}, {:+.3}..{:+.3}; \
                 p = {:.3}) and costs no more; more rows may show a difference\n",
                alone.accuracy,
                cascade.accuracy,
                rival.difference,
                rival.interval.low,
                rival.interval.high,
                rival.p_value
            )
        }
        Verdict::WorthIt => {
            let rivals = rivals(found.reported, rule);
            let best = rivals.iter().max_by(|one, other| one.difference.total_cmp(&other.difference));
            let Some(best) = best else { return String::new() };
            let (name, alone) = (&found.tiers[best.tier].name, found.reported.figures_alone(best.tier));
            let saved = |cascade: f64, alone: f64| if alone > 0.0 { 100.0 * (1.0 - cascade / alone) } else { 0.0 };
            format!(
                "worth it: {:.3} right, and `{name}`, the best tier alone, {:.3} (difference {:+.3}, {:+.3}..{:+.3}); against it {:.0} % \
                 of the money and {:.0} % of the time are saved; tiers that cost no more are worse (p at most {LEVEL})\n",
                cascade.accuracy,
                alone.accuracy,
                best.difference,
                best.interval.low,
                best.interval.high,
                saved(cascade.cost, alone.cost),
                saved(cascade.ms, alone.ms),
            )
        }
    }
}

fn as_json(args: &FitArgs, found: &Found<'_>) -> Value {
    let point = |of: &[f64]| json!({"thresholds": of, "figures": found.reported.figures(Rule::From(of))});
    let rule = Rule::From(found.judged());
    let rivals = rivals(found.reported, rule);
    let tier = |(nth, tier): (usize, &Tier)| {
        let rival = &rivals[nth];
        json!({
            "name": tier.name, "figures": found.reported.figures_alone(nth), "difference": rival.difference,
            "interval": [rival.interval.low, rival.interval.high], "p_value": rival.p_value,
        })
    };
    let mut value = json!({
        "model": args.model,
        "rows": {"find": found.counts.n_found, "report": found.reported.rows.len()},
        "answers": found.counts.n_asked,
        "kept": found.counts.n_kept,
        "tiers": found.tiers.iter().enumerate().map(tier).collect::<Vec<_>>(),
        "oracle": found.reported.oracle(),
        "now": found.reported.figures(Rule::AsItIs),
        "frontier": found.frontier.iter().map(|of| point(of)).collect::<Vec<_>>(),
        "judged": point(found.judged()),
        "verdict": match verdict(found.reported, rule) {
            Verdict::WorthIt => json!({"worth_it": true}),
            Verdict::Alone(rival) => json!({"worth_it": false, "alone": found.tiers[rival.tier].name}),
        },
    });
    match found.chosen {
        Some(Ok(chosen)) => value["promise"] = json!(chosen.certificate),
        Some(Err(error)) => value["refused"] = error.to_string().into(),
        None => {}
    }
    value
}

fn threshold(of: f64) -> String {
    if of >= NEVER { "never".to_owned() } else { format!("{of:.4}") }
}

/// Three digits that count.
fn number(of: f64) -> String {
    match of {
        of if of >= 100.0 => format!("{of:.0}"),
        of if of >= 1.0 => format!("{of:.2}"),
        of => format!("{of:.4}"),
    }
}
