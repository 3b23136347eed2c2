//! Any two layers are a fit or an error, a fit is the same after its layers, and gives probabilities that sum to 1.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_fit::{Evidence, Fit};

fuzz_target!(|layers: (&[u8], &[u8])| {
    let Ok(fit) = Fit::from_layers(layers.0, layers.1) else { return };
    let written = fit.to_layers();
    assert_eq!(Fit::from_layers(&written.card, &written.numbers).expect("it was just written"), fit);
    for field in &fit.fields {
        let logprobs = vec![-1.0; field.options.len()];
        let state = vec![0.5; field.n_state().unwrap_or_default()];
        let p = field.probabilities(&Evidence { text: "a card", logprobs: &logprobs, state: Some(&state) });
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{p:?}");
        let _ = field.decision(&p);
    }
});
