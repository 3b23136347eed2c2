//! What is learned: logistic regression and the features of texts; and the overlap of texts.

use serde::Deserialize;
use slm_stats::linear::{ClassWeights, Linear, Matrix, Penalty, Settings};
use slm_stats::overlap::{Overlap, Words, rouge_l, rouge_n};
use slm_stats::words::{Terms, Vectorizer};

use super::{close, room};

#[derive(Deserialize)]
#[serde(untagged)]
enum Weights {
    Named(String),
    Given(Vec<f64>),
}

#[derive(Deserialize)]
struct Regression {
    name: String,
    rows: Vec<Vec<f64>>,
    labels: Vec<usize>,
    n_classes: usize,
    c: f64,
    weights: Option<Weights>,
    shrinkage: Option<f64>,
    coefficients: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    probabilities: Vec<Vec<f64>>,
}

impl Regression {
    fn fit(&self) -> (Matrix, Linear) {
        let mut rows = Matrix::new(self.rows[0].len());
        self.rows.iter().for_each(|row| rows.push_dense(row));
        let weights = match &self.weights {
            None => ClassWeights::Equal,
            Some(Weights::Given(weights)) => ClassWeights::Given(weights.clone()),
            Some(Weights::Named(name)) => {
                assert_eq!(name, "balanced");
                ClassWeights::Balanced
            }
        };
        let penalty = self.shrinkage.map_or(Penalty::Squares, |shrinkage| Penalty::WithinClasses { shrinkage });
        let settings = Settings { c: self.c, weights, penalty, tolerance: 1e-12, max_iterations: 5000 };
        let model = Linear::fit(&rows, &self.labels, self.n_classes, &settings).expect("it fits");
        (rows, model)
    }
}

#[test]
fn logistic_regression() {
    let (mut largest_coefficient, mut largest_probability) = (0.0_f64, 0.0_f64);
    for case in room::<Regression>("linear").into_iter().chain(room("within_classes")) {
        let (rows, model) = case.fit();
        let classes = if case.n_classes == 2 { vec![1] } else { (0..case.n_classes).collect() };
        let found: Vec<(Vec<f64>, f64)> =
            classes.iter().map(|&class| model.coefficients(class).expect("every label has rows")).collect();
        let shift = if found.len() == 1 { 0.0 } else { found.iter().map(|f| f.1).sum::<f64>() / found.len() as f64 };
        for (nth, (coefficients, intercept)) in found.iter().enumerate() {
            let pairs = coefficients.iter().zip(&case.coefficients[nth]).map(|(a, b)| (a - b).abs());
            largest_coefficient = pairs.fold(largest_coefficient, f64::max);
            largest_coefficient = largest_coefficient.max((intercept - shift - case.intercepts[nth]).abs());
        }
        for (row, expected) in case.probabilities.iter().enumerate() {
            let pairs = model.probabilities(rows.row(row)).into_iter().zip(expected).map(|(a, b)| (a - b).abs());
            largest_probability = pairs.fold(largest_probability, f64::max);
        }
        let differences = (largest_coefficient, largest_probability);
        assert!(largest_coefficient < 1e-6 && largest_probability < 1e-8, "{}: {differences:?}", case.name);
    }
    println!("largest differences: coefficients {largest_coefficient:e}, probabilities {largest_probability:e}");
}

#[derive(Deserialize)]
struct Features {
    name: String,
    texts: Vec<String>,
    n_learned: usize,
    n_columns: usize,
    products: Vec<Vec<f64>>,
}

#[test]
fn features_of_texts() {
    for case in room::<Features>("words") {
        let words = |longest| Terms::Words { longest };
        let pieces = |shortest, longest| Terms::Pieces { shortest, longest };
        let kinds = match case.name.as_str() {
            "words 1" => vec![words(1)],
            "words 2" => vec![words(2)],
            "pieces 3 5" => vec![pieces(3, 5)],
            "words 1, pieces 2 4" => vec![words(1), pieces(2, 4)],
            other => panic!("`{other}` is not known here"),
        };
        let texts: Vec<&str> = case.texts.iter().map(String::as_str).collect();
        let vectorizer = Vectorizer::learn(&kinds, &texts[..case.n_learned]);
        assert_eq!(vectorizer.n_columns(), case.n_columns, "{}", case.name);
        let dense = |text| {
            let mut row = vec![0.0; case.n_columns];
            vectorizer.row(text).into_iter().for_each(|(column, value)| row[column as usize] = value);
            row
        };
        let rows: Vec<Vec<f64>> = texts.into_iter().map(dense).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                close(&case.name, &format!("product of rows {i} and {j}"), product, case.products[i][j]);
            }
        }
    }
}

#[derive(Deserialize)]
struct Rouge {
    reference: String,
    text: String,
    rouge1: [f64; 3],
    rouge2: [f64; 3],
    #[serde(rename = "rougeL")]
    rouge_l: [f64; 3],
}

#[test]
fn overlap_with_a_reference() {
    for Rouge { reference, text, rouge1, rouge2, rouge_l: of_order } in room::<Rouge>("overlap") {
        let name = format!("{reference:?} {text:?}");
        let check = |figure: &str, found: Overlap, [precision, recall, f1]: [f64; 3]| {
            close(&name, &format!("{figure} precision"), found.precision, precision);
            close(&name, &format!("{figure} recall"), found.recall, recall);
            close(&name, &format!("{figure} F1"), found.f1, f1);
        };
        check("ROUGE-1", rouge_n(&reference, &text, 1, Words::Rouge), rouge1);
        check("ROUGE-2", rouge_n(&reference, &text, 2, Words::Rouge), rouge2);
        check("ROUGE-L", rouge_l(&reference, &text, Words::Rouge), of_order);
    }
}
