//! Every figure against scikit-learn's, SciPy's, statsmodels' and rouge-score's, as `tests/golden/stats.py` wrote them.

mod figures;
mod learned;
mod sure;

use serde::Deserialize;

/// The cases of one room.
fn room<T: for<'d> Deserialize<'d>>(name: &str) -> Vec<T> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/stats.json");
    let text = std::fs::read_to_string(path).expect("the golden file is committed");
    let mut rooms: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let cases: Vec<T> = serde_json::from_value(rooms[name].take()).expect("the room has the script's shape");
    assert!(!cases.is_empty(), "`{name}` has cases");
    cases
}

/// The two agree to 1e-9.
#[track_caller]
fn close(case: &str, figure: &str, found: impl Into<Option<f64>>, expected: impl Into<Option<f64>>) {
    let (found, expected) = (found.into(), expected.into());
    let difference = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs(),
        (None, None) => 0.0,
        _ => f64::NAN,
    };
    assert!(difference < 1e-9, "{case}: the {figure} is {found:?}, the reference's is {expected:?}");
}
