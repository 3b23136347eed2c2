//! Tensors counted by their types, as `show` and quantizing tell them.

use serde_json::{Value, json};

use crate::gguf::{Header, TensorType};
use crate::ui::table::{self, size};

/// A tensor, as far as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Typed {
    pub kind: TensorType,
    pub n_weights: u64,
    pub n_bytes: u64,
}

/// The tensors of one type.
struct Count {
    kind: TensorType,
    n_tensors: u64,
    n_weights: u64,
    n_bytes: u64,
}

/// The tensors of a file.
pub fn of(header: &Header) -> impl Iterator<Item = Typed> {
    header.tensors.iter().map(|one| Typed { kind: one.kind, n_weights: one.n_elements, n_bytes: one.n_bytes })
}

/// A line for each type, the most bytes first.
#[must_use]
pub fn table(tensors: impl Iterator<Item = Typed>) -> String {
    let counts = counts(tensors);
    let all: u64 = counts.iter().map(|count| count.n_bytes).sum();
    let row = |count: &Count| {
        vec![
            count.kind.name.to_owned(),
            count.n_tensors.to_string(),
            format!("{:.2}", count.kind.bits()),
            size(count.n_bytes),
            format!("{:.1} %", 100.0 * count.n_bytes as f64 / all.max(1) as f64),
        ]
    };
    table::table(&["TYPE", "TENSORS", "BITS", "SIZE", "SHARE"], &counts.iter().map(row).collect::<Vec<_>>())
}

/// The same for programs.
#[must_use]
pub fn as_json(tensors: impl Iterator<Item = Typed>) -> Value {
    let one = |count: &Count| {
        json!({
            "type": count.kind.name,
            "tensors": count.n_tensors,
            "weights": count.n_weights,
            "size": count.n_bytes,
            "bits": count.kind.bits(),
        })
    };
    counts(tensors).iter().map(one).collect()
}

fn counts(tensors: impl Iterator<Item = Typed>) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for Typed { kind, n_weights, n_bytes } in tensors {
        match counts.iter_mut().find(|count| count.kind == kind) {
            Some(count) => {
                count.n_tensors += 1;
                count.n_weights += n_weights;
                count.n_bytes += n_bytes;
            }
            None => counts.push(Count { kind, n_tensors: 1, n_weights, n_bytes }),
        }
    }
    counts.sort_by_key(|count| (std::cmp::Reverse(count.n_bytes), count.kind.name));
    counts
}
