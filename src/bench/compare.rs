//! Two reports of one model side by side: the figures that both have, and what the runs differed in.

use super::report::{FORM, Report, Setting};

/// A figure that both runs have.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub figure: String,
    pub before: f64,
    pub now: f64,
    pub unit: &'static str,
}

/// Two runs of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Speeds: more is better.
    pub changes: Vec<Change>,
    /// `threads: 2, now 4`.
    pub differences: Vec<String>,
}

/// Why two reports cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    #[error("it is not a report of `slm bench --json`: {0}")]
    NotAReport(String),
    #[error("it has form {0}, and this slm writes form {FORM}; measure again")]
    Form(u32),
    #[error("it measured another model, `{name}` ({digest}); compare runs of one model")]
    OtherModel { name: String, digest: String },
    #[error("it has none of this run's figures; measure the same lengths and sequences")]
    NothingInCommon,
}

/// Reads an earlier report.
///
/// # Errors
/// It is not such a report, or one of another version.
pub fn parse(text: &str) -> Result<Report, CompareError> {
    let not_one = |error: serde_json::Error| CompareError::NotAReport(error.to_string());
    let value: serde_json::Value = serde_json::from_str(text).map_err(not_one)?;
    match value.get("form").and_then(serde_json::Value::as_u64) {
        Some(form) if form != u64::from(FORM) => Err(CompareError::Form(u32::try_from(form).unwrap_or(u32::MAX))),
        _ => serde_json::from_value(value).map_err(not_one),
    }
}

/// Holds a run against an earlier one.
///
/// # Errors
/// The earlier one measured another model, or nothing that this one did.
pub fn compare(before: &Report, now: &Report) -> Result<Comparison, CompareError> {
    if before.model.digest != now.model.digest {
        let (name, digest) = (before.model.name.clone(), before.model.digest.clone());
        return Err(CompareError::OtherModel { name, digest });
    }
    let earlier = figures(before);
    let both = |(figure, now, unit): (String, f64, &'static str)| {
        let (_, before, _) = earlier.iter().find(|(name, ..)| *name == figure)?;
        Some(Change { figure, before: *before, now, unit })
    };
    let changes: Vec<Change> = figures(now).into_iter().filter_map(both).collect();
    if changes.is_empty() {
        return Err(CompareError::NothingInCommon);
    }
    Ok(Comparison { changes, differences: differences(&before.setting, &now.setting) })
}

/// The speeds of a report under names that say what work they are of.
fn figures(report: &Report) -> Vec<(String, f64, &'static str)> {
    let mut figures = Vec::new();
    for prefill in &report.prefill {
        figures.push((format!("prefill of {} tokens", prefill.n_tokens), prefill.tokens_per_second.mean, "tokens/s"));
    }
    for decode in &report.decode {
        let figure = format!("decode of {} tokens, {} at once", decode.n_steps, decode.n_sequences);
        figures.push((figure, decode.tokens_per_second.mean, "tokens/s"));
    }
    for (name, rows) in [("scored rows", &report.scored), ("extracted records", &report.extracted)] {
        if let Some(rows) = rows {
            let figure = format!("{name}, {} in flight", rows.n_parallel);
            figures.push((figure, rows.rows_per_second.mean, "rows/s"));
        }
    }
    figures
}

fn differences(before: &Setting, now: &Setting) -> Vec<String> {
    let pairs = [
        ("slm", before.slm.clone(), now.slm.clone()),
        ("llama.cpp", before.llama_cpp.clone(), now.llama_cpp.clone()),
        ("build", before.build_id.clone(), now.build_id.clone()),
        ("processor", before.processor.clone(), now.processor.clone()),
        ("devices", before.devices.join(", "), now.devices.join(", ")),
        ("layers on GPUs", before.n_gpu_layers.to_string(), now.n_gpu_layers.to_string()),
        ("threads", before.n_threads.to_string(), now.n_threads.to_string()),
        ("keys and values", before.kv_type.clone(), now.kv_type.clone()),
        ("flash attention", before.flash_attention.clone(), now.flash_attention.clone()),
        ("kernels", before.kernels.clone(), now.kernels.clone()),
        ("batch", before.n_batch.to_string(), now.n_batch.to_string()),
        ("batch at once", before.n_ubatch.to_string(), now.n_ubatch.to_string()),
    ];
    let differing = pairs.into_iter().filter(|(_, before, now)| before != now);
    differing.map(|(name, before, now)| format!("{name}: {before}, now {now}")).collect()
}
