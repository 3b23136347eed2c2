//! Layers there and back, and layers of nobody.

use proptest::prelude::*;
use serde_json::json;

use super::{Fit, FitLayerError};
use crate::card::{CARD_FORMAT, Card, Pins};
use crate::decision::Gate;
use crate::evidence::Evidence;
use crate::expert::{Block, Expert, TERMS};
use crate::fit::FieldFit;
use crate::method::{Method, MethodName, Pool};
use slm_stats::words::HashedTerms;

fn fit() -> Fit {
    let terms = HashedTerms::learn(&TERMS, 12, &["my card is lost", "a new card"]);
    let n = terms.columns().len();
    let pool = Pool {
        name: MethodName::State,
        seen: vec![true, true, false, true],
        raw_weight: 0.1 + 0.2,
        experts: vec![
            (
                0.75,
                Expert {
                    blocks: vec![Block::Words { terms, scale: 1.0 }],
                    weights: (0..n * 3).map(|nth| nth as f32 / 7.0).collect(),
                    intercepts: vec![0.1, 0.2, 0.3],
                },
            ),
            (
                0.5,
                Expert {
                    blocks: vec![
                        Block::State { mean: vec![0.5; 8], scale: vec![2.0; 8] },
                        Block::Logprobs { mean: vec![0.0; 4], scale: vec![1.0; 4] },
                    ],
                    weights: (0..12 * 3).map(|nth| 1.0 / (1 + nth) as f32).collect(),
                    intercepts: vec![0.0; 3],
                },
            ),
        ],
        biases: vec![0.1, -0.2, 1.0 / 3.0],
    };
    let field = |name: &str, options: Vec<serde_json::Value>, method| FieldFit {
        name: Some(name.to_owned()),
        options,
        method,
        gate: Gate::default(),
    };
    let mut queue = field("queue", vec![json!("a"), json!("b"), json!("c"), json!("d")], Method::Pool(Box::new(pool)));
    queue.gate = Gate { thresholds: vec![0.5, 0.1 + 0.7, 1.5, 0.9], person: vec![1] };
    Fit {
        card: Card {
            format: CARD_FORMAT,
            tool: "slm 0.1.0".to_owned(),
            date: "2026-11-30".to_owned(),
            pins: Pins { weights: "sha256:1".to_owned(), ..Pins::default() },
            fields: vec![],
            depth: None,
        },
        fields: vec![
            queue,
            field("refund", vec![json!(true), json!(false)], Method::Centring { shift: vec![-0.3, 0.1] }),
            field("urgency", vec![json!(1), json!(2), json!(3)], Method::Nothing),
        ],
        early: None,
    }
}

#[test]
fn a_fit_is_the_same_after_its_layers() {
    let fit = fit();
    let layers = fit.to_layers();
    let read = Fit::from_layers(&layers.card, &layers.numbers).expect("it is a fit");
    assert_eq!(read, fit);
    assert_eq!(read.to_layers(), layers);
    assert!(read.needs_state());
    let logprobs = [0.4_f64, 0.3, 0.2, 0.1].map(f64::ln);
    let evidence = Evidence { text: "card", logprobs: &logprobs, state: Some(&[0.25; 8]) };
    let p = read.fields[0].probabilities(&evidence);
    assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (p[2] - 0.2).abs() < 1e-12, "{p:?}");
    // Without its state, a fit that reads one says what the model says.
    let without = read.fields[0].probabilities(&Evidence { state: None, ..evidence });
    assert!((without[0] - 0.4).abs() < 1e-12);
    let field = read.field(Some("refund"), &[json!(true), json!(false)]).expect("it is there");
    assert_eq!(field.method.name(), MethodName::Centring);
    assert!(read.field(Some("refund"), &[json!(false), json!(true)]).is_none() && read.field(None, &[]).is_none());
}

#[test]
fn a_fit_of_a_later_version_is_refused_with_its_number() {
    let layers = fit().to_layers();
    let later = String::from_utf8(layers.card).expect("JSON").replace("\"format\": 1", "\"format\": 3");
    let error = Fit::from_layers(later.as_bytes(), &layers.numbers).expect_err("it is later");
    assert_eq!(
        error.to_string(),
        "the fit's card has format 3, and this version reads 1 and 2; update slm, or fit again"
    );
}

#[test]
fn numbers_that_are_missing_or_too_few_are_refused() {
    let layers = fit().to_layers();
    assert_eq!(Fit::from_layers(&layers.card, &[]), Err(FitLayerError::Missing("0.weights".to_owned())));
    let card = String::from_utf8(layers.card).expect("JSON");
    let more = card.replace("true,\n          false\n", "true,\n          false,\n          3\n");
    let error = Fit::from_layers(more.as_bytes(), &layers.numbers).map(|_| ());
    assert!(more == card || error.is_err());
    let mut broken = layers.numbers.clone();
    let n = broken.len();
    broken[n - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
    assert!(Fit::from_layers(card.as_bytes(), &broken).is_err());
    assert!(Fit::from_layers(b"{}", &[]).is_err() && Fit::from_layers(b"", &[]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_layers_never_panic_and_give_probabilities_where_they_are_read(
        card_flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        number_flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut layers = fit().to_layers();
        for (at, byte) in card_flips {
            let at = at.index(layers.card.len());
            layers.card[at] = byte;
        }
        for (at, byte) in number_flips {
            let at = at.index(layers.numbers.len());
            layers.numbers[at] = byte;
        }
        if let Some(cut) = cut {
            let at = cut.index(layers.numbers.len());
            layers.numbers.truncate(at);
        }
        if let Ok(fit) = Fit::from_layers(&layers.card, &layers.numbers) {
            for field in &fit.fields {
                let logprobs = vec![-1.0; field.options.len()];
                let p = field.probabilities(&Evidence { text: "card", logprobs: &logprobs, state: Some(&[0.1; 8]) });
                prop_assert_eq!(p.len(), field.options.len());
                let decision = field.decision(&p);
                prop_assert!(decision.best < p.len());
            }
        }
    }
}
