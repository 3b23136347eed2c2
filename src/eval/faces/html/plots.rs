//! The plots of a report as inline SVG: reliability, risk against coverage, intervals, latencies. Each says in words what it shows.

use std::fmt::Write as _;

use super::escaped;
use crate::eval::figures::probabilities::ProbabilityFigures;
use crate::eval::figures::rate::Rate;

const SIZE: f64 = 240.0;
const LEFT: f64 = 34.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;
/// Bars of a histogram.
const N_BARS: usize = 24;

/// Probability against the part that is right, a dot for each bin whose area is its number of rows.
pub fn reliability(p: &ProbabilityFigures) -> String {
    let mut marks = format!("<path class=\"ideal\" d=\"M{} {}L{} {}\"/>", x(0.0), y(0.0), x(1.0), y(1.0));
    let most = p.bins.iter().map(|bin| bin.rows).max().unwrap_or(1).max(1) as f64;
    for bin in &p.bins {
        let (Some(probability), Some(accuracy)) = (bin.probability, bin.accuracy) else { continue };
        let radius = 2.0 + 8.0 * (bin.rows as f64 / most).sqrt();
        let _ = write!(
            marks,
            "<circle class=\"bar\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{} rows of mean probability {probability:.3}: \
             {accuracy:.3} right</title></circle>",
            x(probability),
            y(accuracy),
            bin.rows
        );
    }
    let error = p.expected_calibration_error.unwrap_or_default();
    let caption = format!(
        "Reliability: how often answers of a probability are right. On the dashed line probabilities can be believed; below it the \
         model is too sure. Expected calibration error {error:.3}."
    );
    plot(&marks, Axes { along: "probability of the answer", last: "1", up: "right" }, &caption)
}

/// The error among the surest rows, for every part of rows.
pub fn risk_coverage(p: &ProbabilityFigures) -> String {
    let most = p.risk_coverage.iter().map(|point| point.risk).fold(0.0, f64::max).max(0.05);
    let points = p.risk_coverage.iter().map(|point| format!("{:.1} {:.1}", x(point.coverage), y(point.risk / most)));
    let path = points.collect::<Vec<_>>().join("L");
    let marks = format!("<path class=\"curve\" d=\"M{path}\"/><text x=\"2\" y=\"{}\">{most:.2}</text>", TOP + 10.0);
    let at = p.accuracy_at_coverage.iter().find(|at| (at.coverage - 0.8).abs() < 1e-9).and_then(|at| at.accuracy);
    let at = at.map_or_else(String::new, |accuracy| format!(" Of the surest 80 % are {accuracy:.3} right."));
    let caption = format!("Risk and coverage: the part that is wrong among the rows that the model is surest of.{at}");
    plot(&marks, Axes { along: "part of rows answered", last: "1", up: "wrong" }, &caption)
}

/// How many rows took how long.
pub fn latencies(ms: &[f64]) -> String {
    let most = ms.iter().copied().fold(0.0, f64::max).max(1e-3);
    let mut counts = [0_usize; N_BARS];
    for one in ms {
        counts[((one / most * N_BARS as f64) as usize).min(N_BARS - 1)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let mut marks = String::new();
    for (nth, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        let (left, right) = (x(nth as f64 / N_BARS as f64), x((nth + 1) as f64 / N_BARS as f64));
        let top = y(count as f64 / highest);
        let _ = write!(
            marks,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            right - left - 1.0,
            y(0.0) - top
        );
    }
    let last = format!("{most:.0} ms");
    plot(&marks, Axes { along: "latency", last: &last, up: "rows" }, "Latency: from a row's turn to its answer.")
}

/// Each subject's part of right rows with its interval.
pub fn intervals(subjects: &[(&str, Rate)]) -> String {
    const ROW: f64 = 22.0;
    const NAMES: f64 = 180.0;
    const WIDTH: f64 = 560.0;
    let at = |share: f64| NAMES + share * (WIDTH - NAMES - 10.0);
    let height = ROW * subjects.len() as f64 + 22.0;
    let mut out = format!(
        "<figure><svg role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\"><title>Rows right, \
         with 95 % intervals</title>"
    );
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let x = at(tick);
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{x:.1} 0V{:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            height - 18.0,
            height - 4.0
        );
    }
    for (nth, (name, rate)) in subjects.iter().enumerate() {
        let y = ROW * (nth as f64 + 0.5);
        let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 4.0, escaped(&shortened(name)));
        if let (Some(value), Some(low), Some(high)) = (rate.value, rate.low, rate.high) {
            let _ = write!(
                out,
                "<path class=\"range\" d=\"M{:.1} {y:.1}H{:.1}\"/><circle class=\"bar\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"/>",
                at(low),
                at(high),
                at(value)
            );
        }
    }
    out + "</svg></figure>"
}

fn shortened(name: &str) -> String {
    const MOST: usize = 26;
    match name.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

fn x(share: f64) -> f64 {
    LEFT + share.clamp(0.0, 1.0) * (SIZE - LEFT - 8.0)
}

fn y(share: f64) -> f64 {
    SIZE - BOTTOM - share.clamp(0.0, 1.0) * (SIZE - BOTTOM - TOP)
}

/// What the axes of a plot show; both begin at 0.
struct Axes<'a> {
    along: &'a str,
    /// The end of the horizontal one.
    last: &'a str,
    up: &'a str,
}

fn plot(marks: &str, Axes { along, last, up }: Axes<'_>, caption: &str) -> String {
    let middle = (LEFT + SIZE) / 2.0;
    format!(
        "<figure><svg role=\"img\" viewBox=\"0 0 {SIZE} {SIZE}\" width=\"{SIZE}\" height=\"{SIZE}\"><title>{title}</title>\
         <path class=\"axis\" d=\"M{left} {TOP}V{bottom}H{right}\"/>{marks}\
         <text x=\"{left}\" y=\"{below}\" text-anchor=\"middle\">0</text>\
         <text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{last}</text>\
         <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{along}</text>\
         <text transform=\"translate(12 {half}) rotate(-90)\" text-anchor=\"middle\">{up}</text></svg>\
         <figcaption>{title}</figcaption></figure>",
        title = escaped(caption),
        left = x(0.0),
        bottom = y(0.0),
        right = x(1.0),
        below = SIZE - 2.0,
        half = SIZE / 2.0,
    )
}
