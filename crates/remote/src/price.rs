//! What a remote costs by the token, and since when that is known.

use serde::Deserialize;
use serde_json::Value;

/// Prices of tokens, in a currency that whoever writes the file knows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "PriceFields")]
pub struct Price {
    /// Of a token that is sent, and of one that is written.
    input: f64,
    output: f64,
    /// The part of it that a batch costs.
    batch: f64,
    /// The day on which the price was looked up.
    date: String,
}

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFields {
    input: f64,
    output: f64,
    per: Value,
    date: String,
    batch: Option<f64>,
}

/// What batches cost of the price where a file does not say, at most houses that have them.
const BATCH: f64 = 0.5;

/// Why a price cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PriceError {
    #[error("the price `{0}` is not a number of at least 0")]
    Amount(f64),
    #[error("`batch` cannot be `{0}`: give the part of the price that a batch costs, from 0 to 1")]
    Batch(f64),
    #[error("`per` cannot be `{0}`: give a number of tokens, or `1K` or `1M`")]
    Per(String),
    #[error("`date` cannot be `{0}`: give the day as 2026-01-31")]
    Date(String),
}

impl Price {
    /// What a request and its answer cost.
    #[must_use]
    pub fn of(&self, n_input: u64, n_output: u64) -> f64 {
        n_input as f64 * self.input + n_output as f64 * self.output
    }

    /// What a request of a batch and its answer cost.
    #[must_use]
    pub fn of_batch(&self, n_input: u64, n_output: u64) -> f64 {
        self.of(n_input, n_output) * self.batch
    }

    /// The day on which the price was looked up, as 2026-01-31.
    #[must_use]
    pub fn date(&self) -> &str {
        &self.date
    }
}

impl TryFrom<PriceFields> for Price {
    type Error = PriceError;

    fn try_from(fields: PriceFields) -> Result<Price, PriceError> {
        let PriceFields { input, output, per, date, batch } = fields;
        if let Some(wrong) = [input, output].into_iter().find(|amount| !amount.is_finite() || *amount < 0.0) {
            return Err(PriceError::Amount(wrong));
        }
        let tokens = tokens(&per).ok_or_else(|| PriceError::Per(text(&per)))?;
        let batch = batch.unwrap_or(BATCH);
        if !(0.0..=1.0).contains(&batch) {
            return Err(PriceError::Batch(batch));
        }
        if !is_day(&date) {
            return Err(PriceError::Date(date));
        }
        Ok(Price { input: input / tokens, output: output / tokens, batch, date })
    }
}

/// A number of tokens: `1000000`, `1M`.
fn tokens(per: &Value) -> Option<f64> {
    let n = match per {
        Value::Number(n) => n.as_f64()?,
        Value::String(text) => {
            let (digits, factor) = match text.strip_suffix(['k', 'K']) {
                Some(digits) => (digits, 1e3),
                None => text.strip_suffix(['m', 'M']).map_or((text.as_str(), 1.0), |digits| (digits, 1e6)),
            };
            digits.trim().parse::<f64>().ok()? * factor
        }
        _ => return None,
    };
    (n.is_finite() && n >= 1.0).then_some(n)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number = |part: &str, n_digits: usize| {
        let is_whole = part.len() == n_digits && part.bytes().all(|byte| byte.is_ascii_digit());
        is_whole.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (Some(_), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else { return false };
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(yaml: &str) -> Result<Price, String> {
        serde_yaml::from_str(yaml).map_err(|error: serde_yaml::Error| error.to_string())
    }

    #[test]
    fn a_price_is_of_so_many_tokens() {
        let of = |per: &str| {
            let price = price(&format!("{{input: 0.5, output: 2, per: {per}, date: 2026-11-30}}")).unwrap();
            assert_eq!(price.date(), "2026-11-30");
            price.of(1000, 500)
        };
        assert!((of("1M") - 0.0015).abs() < 1e-12);
        let batch = |more: &str| {
            let price = price(&format!("{{input: 0.5, output: 2, per: 1K, date: 2026-11-30{more}}}")).unwrap();
            price.of_batch(1000, 500)
        };
        assert!((batch("") - 0.75).abs() < 1e-12 && (batch(", batch: 0.2") - 0.3).abs() < 1e-12);
        assert!((of("1K") - 1.5).abs() < 1e-12 && (of("1000") - 1.5).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_with_a_price_is_said() {
        for (yaml, said) in [
            ("{input: -1, output: 2, per: 1M, date: 2026-11-30}", "the price `-1` is not a number of at least 0"),
            ("{input: 1, output: 2, per: 1M, date: 2026-11-30, batch: 2}", "`batch` cannot be `2`"),
            ("{input: 1, output: 2, per: many, date: 2026-11-30}", "`per` cannot be `many`"),
            ("{input: 1, output: 2, per: 0, date: 2026-11-30}", "`per` cannot be `0`"),
            ("{input: 1, output: 2, per: 1M, date: today}", "`date` cannot be `today`"),
            ("{input: 1, output: 2, per: 1M, date: 2026-13-30}", "`date` cannot be `2026-13-30`"),
            ("{input: 1, output: 2, per: 1M}", "missing field"),
            ("{input: 1, output: 2, per: 1M, date: 2026-11-30, currency: EUR}", "currency"),
        ] {
            let error = price(yaml).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
