//! Counts as numbers, and the sums, means and quantiles that all rooms share.

/// A count as a number.
pub(crate) trait Count {
    fn float(self) -> f64;
}

#[allow(clippy::cast_precision_loss)] // counts of rows, far below 2^53
impl Count for u64 {
    fn float(self) -> f64 {
        self as f64
    }
}

#[allow(clippy::cast_precision_loss)] // as above
impl Count for usize {
    fn float(self) -> f64 {
        self as f64
    }
}

/// `part / whole`; `None` where the whole is nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part.float() / whole.float())
}

/// The mean, summed in order; `None` for no values.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut n, mut sum) = (0_u64, 0.0);
    for value in values {
        n += 1;
        sum += value;
    }
    (n > 0).then(|| sum / n.float())
}

/// The quantile `q` (0..=1) of values, 0.95 for the 95th percentile: linear between neighbours, type 7 of Hyndman and Fan (1996),
/// the default of `numpy.quantile`. `None` for no values.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| quantile_of_sorted(&sorted, q))
}

/// The quantile `q` (0..=1) of values in ascending order, as [`quantile`].
///
/// # Panics
///
/// If there are no values.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len() - 1;
    let rank = q.clamp(0.0, 1.0) * last.float();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 <= rank <= last
    let below = (rank.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (rank - below.float())
}
