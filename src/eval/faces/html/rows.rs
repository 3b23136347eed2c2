//! The rows of a report as a table, the confidently wrong ones first: they are often wrong labels.

use std::cmp::Reverse;
use std::fmt::Write as _;

use super::escaped;
use crate::eval::label::show;
use crate::eval::report::{Report, RowAnswerReport, RowReport};

/// The most rows that a browser shows without delay.
const MOST: usize = 5000;

/// The table with its filters, which a script brings to life.
pub fn table(report: &Report) -> String {
    let models: Vec<&str> = report.models().map(|model| model.name.as_str()).collect();
    let mut rows: Vec<&RowReport> = report.rows.iter().flatten().collect();
    rows.sort_by_key(|row| Reverse(urgency(row, &models)));
    let mut out = String::from(
        "<h2 id=\"list\">Rows</h2><p>Those that a model got wrong while it was sure come first: look at these labels before you \
         blame the model.</p><div class=\"filters\" id=\"filters\" hidden><label>Search <input id=\"search\" type=\"search\"></label>\
         <label>Show <select id=\"which\"><option value=\"all\">all rows</option><option value=\"wrong\">wrong by any model</option>\
         <option value=\"all-wrong\">wrong by every model</option><option value=\"differs\">models differ</option>\
         <option value=\"failed\">failed</option></select></label><span id=\"count\" class=\"dim\" role=\"status\"></span></div>\
         <div class=\"scroll\"><table id=\"rows\"><thead><tr><th scope=\"col\" class=\"text\">row</th>\
         <th scope=\"col\" class=\"text\">text</th><th scope=\"col\" class=\"text\">expected</th>",
    );
    for model in &models {
        let _ = write!(out, "<th scope=\"col\" class=\"text\">{}</th>", escaped(model));
    }
    out.push_str("</tr></thead><tbody>");
    rows.iter().take(MOST).for_each(|row| out.push_str(&line(row, &models)));
    out.push_str("</tbody></table></div>");
    if rows.len() > MOST {
        let _ = write!(
            out,
            "<p>{} more rows are in <code>--csv</code> and <code>--json --rows</code>.</p>",
            rows.len() - MOST
        );
    }
    out
}

fn of_models<'r>(row: &'r RowReport, models: &[&str]) -> Vec<&'r RowAnswerReport> {
    row.answers.iter().filter(|answer| models.contains(&answer.subject.as_str())).collect()
}

/// How much a row deserves a look: the highest probability of a wrong answer, in thousandths; failed rows behind these.
fn urgency(row: &RowReport, models: &[&str]) -> u64 {
    let of = |answer: &&RowAnswerReport| {
        let wrong = answer.fields.iter().filter(|field| field.verdict != "right");
        let surest = wrong.map(|field| field.probability.unwrap_or(0.5)).fold(0.0, f64::max);
        if answer.correct { 0 } else { 1 + (surest * 1000.0) as u64 }
    };
    of_models(row, models).iter().map(of).max().unwrap_or(0)
}

fn line(row: &RowReport, models: &[&str]) -> String {
    let answers = of_models(row, models);
    let n_wrong = answers.iter().filter(|answer| !answer.correct).count();
    let mut is = Vec::new();
    if n_wrong > 0 {
        is.push("wrong");
    }
    if n_wrong == answers.len() {
        is.push("all-wrong");
    }
    if n_wrong > 0 && n_wrong < answers.len() {
        is.push("differs");
    }
    if answers.iter().any(|answer| answer.error.is_some()) {
        is.push("failed");
    }
    let expected = row.expected.iter().map(show).collect::<Vec<_>>().join(", ");
    let mut out = format!(
        "<tr data-is=\"{}\"><td class=\"text\">{}<br><span class=\"dim\">{}</span></td><td class=\"text\">{}</td><td class=\"text\">{}</td>",
        is.join(" "),
        escaped(&row.at),
        escaped(&row.id),
        escaped(&row.input),
        escaped(&expected)
    );
    answers.iter().for_each(|answer| out.push_str(&cell(answer)));
    out + "</tr>"
}

/// An answer: its values, each with its probability; wrong ones marked by a word as well as by colour.
fn cell(answer: &RowAnswerReport) -> String {
    if let Some(error) = &answer.error {
        return format!("<td class=\"text bad\">failed: {}</td>", escaped(error));
    }
    let field = |field: &crate::eval::report::RowField| {
        let probability = field.probability.map_or_else(String::new, |p| format!(" <span class=\"dim\">{p:.2}</span>"));
        let value = escaped(&show(&field.answer));
        match field.verdict.as_str() {
            "right" => format!("<span class=\"good\">{value}</span>{probability}"),
            verdict => format!("<span class=\"bad\">{value} ({verdict})</span>{probability}"),
        }
    };
    format!("<td class=\"text\">{}</td>", answer.fields.iter().map(field).collect::<Vec<_>>().join("<br>"))
}
