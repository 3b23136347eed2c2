//! Vectors as dialects return them: with as many dimensions as were asked for.

use super::fields::Whole;
use super::problem::Problem;
use slm_engine::{EmbeddingKind, Embeddings};

/// How many numbers of a vector are wanted.
///
/// # Errors
/// Less than one.
pub fn dimensions(n: Whole) -> Result<usize, Problem> {
    match usize::try_from(n.0) {
        Ok(n) if n > 0 => Ok(n),
        _ => {
            let message = format!("`dimensions` cannot be `{}`: it must be a whole number of at least 1", n.0);
            Err(Problem::invalid(message).of("dimensions"))
        }
    }
}

/// The first numbers of each vector, at length 1 again; all of them where nobody said how many.
///
/// # Errors
/// The model gives scores and no vectors, or its vectors are shorter.
pub fn shortened(model: &str, embeddings: Embeddings, dimensions: Option<usize>) -> Result<Vec<Vec<f32>>, Problem> {
    if embeddings.kind == EmbeddingKind::Scores {
        let message = format!("`{model}` is a reranker, which gives scores, not vectors: use an embedding model");
        return Err(Problem::invalid(message).of("model"));
    }
    let own = embeddings.rows.first().map_or(0, Vec::len);
    if let Some(n) = dimensions.filter(|&n| n > own && !embeddings.rows.is_empty()) {
        let message = format!("`dimensions` cannot be `{n}`: the vectors of `{model}` have {own}");
        return Err(Problem::invalid(message).of("dimensions"));
    }
    Ok(embeddings.rows.into_iter().map(|row| shorter(row, dimensions)).collect())
}

fn shorter(mut row: Vec<f32>, dimensions: Option<usize>) -> Vec<f32> {
    let Some(n) = dimensions.filter(|&n| n < row.len()) else { return row };
    row.truncate(n);
    let length = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if length > 0.0 {
        #[allow(clippy::cast_possible_truncation)] // back to what it came from
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    row
}
