//! Defaults, precedence, what is refused, and that what is accepted round-trips.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn defaults_are_ollamas() {
    let open = Parameters::default().resolve(AnswerShape::Open);
    assert_eq!((open.temperature, open.top_k, open.top_p, open.min_p, open.typical_p), (0.8, 40, 0.9, 0.0, 1.0));
    assert_eq!((open.repeat_last_n, open.repeat_penalty, open.num_predict, open.seed), (64, 1.0, None, None));
    assert_eq!(Parameters::default().resolve(AnswerShape::Formatted).temperature, 0.0);
}

#[test]
fn a_request_goes_over_a_modelfile() {
    let request = Parameters::from_json(&json!({"top_k": 5, "seed": null})).unwrap();
    let mut file = Parameters::default();
    for (name, value) in [("top_k", "9"), ("temperature", "0.3"), ("stop", "a"), ("stop", " b ")] {
        file.set(name, value).unwrap();
    }
    let sampling = request.over(file).resolve(AnswerShape::Formatted);
    assert_eq!((sampling.top_k, sampling.temperature), (5, 0.3));
    assert_eq!(sampling.stop, ["a", " b "]);
}

#[test]
fn json_comes_back_as_it_was() {
    let all = json!({
        "num_keep": 4, "seed": -1, "num_predict": -2, "top_k": 40, "top_p": 0.7, "min_p": 0.05, "typical_p": 1,
        "repeat_last_n": -1, "temperature": 0.1, "repeat_penalty": 1.1, "presence_penalty": -0.5,
        "frequency_penalty": 2, "stop": ["x", "y"], "num_ctx": 4096, "num_batch": 512, "num_gpu": -1,
        "main_gpu": 0, "use_mmap": false, "num_thread": 2
    });
    assert_eq!(Parameters::from_json(&all).unwrap().to_json(), all);
    assert!(Parameters::from_json(&json!({})).unwrap().is_empty());
}

#[test]
fn a_layer_of_another_program_never_makes_a_model_unusable() {
    let layer = json!({
        "stop": ["<|end|>"], "num_ctx": 4096, "temperature": -1, "top_k": "many", "mirostat": 1, "use_mlock": true,
        "penalize_newline": false, "num_experts": 8, "seed": null, "num_thread": 9999
    });
    let parameters = Parameters::from_layer(layer.as_object().unwrap().clone());
    let expected = Parameters {
        stop: Some(vec!["<|end|>".to_owned()]),
        num_ctx: Some(4096),
        other: parameters.other.clone(),
        ..Parameters::default()
    };
    assert_eq!(parameters, expected);
    let mut sorted = layer.as_object().unwrap().clone();
    sorted.sort_keys();
    assert_eq!(Value::Object(parameters.to_map()), Value::Object(sorted));
    let refused: Vec<String> = parameters.refused().iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused.contains(&"parameter `temperature` cannot be `-1`: it must be a number from 0 to 100".to_owned()));
    // What a Modelfile says takes the place of what had no effect.
    let mut said = Parameters::default();
    said.set_in_file("temperature", "0.5").unwrap();
    said.set_in_file("mirostat", "2").unwrap();
    let both = said.over(parameters);
    assert_eq!((both.temperature, both.to_map()["mirostat"].clone()), (Some(0.5), json!(2)));
    assert_eq!(both.refused().len(), 2);
    assert!(Parameters::can_be_written("mirostat", &json!(2)) && Parameters::can_be_written("top_k", &json!(2)));
    assert!(!Parameters::can_be_written("num_experts", &json!(8)));
    assert!(!Parameters::can_be_written("temperature", &json!(-1)));
}

#[test]
fn what_is_refused_is_named() {
    let refused = |value: Value| Parameters::from_json(&value).unwrap_err().to_string();
    let expect = [
        (json!({"temprature": 1}), "there is no parameter `temprature`; did you mean `temperature`?"),
        (json!({"top-k": 1}), "there is no parameter `top-k`; did you mean `top_k`?"),
        (json!({"top_p": 1.5}), "parameter `top_p` cannot be `1.5`: it must be a number from 0 to 1"),
        (json!({"top_k": "x"}), "parameter `top_k` cannot be `\"x\"`: it must be a whole number of at least 0"),
        (json!({"use_mmap": 1}), "parameter `use_mmap` cannot be `1`: it must be `true` or `false`"),
        (
            json!({"stop": ["a", ""]}),
            "parameter `stop` cannot be `[\"a\",\"\"]`: it must be a text or a list of texts, none of them empty",
        ),
        (json!([1]), "parameters must be a JSON object, not `[1]`"),
    ];
    for (value, message) in expect {
        assert_eq!(refused(value), message);
    }
    assert!(refused(json!({"colour": 1})).starts_with("there is no parameter `colour`; the parameters are `num_keep`"));
    let text = Parameters::default().set("seed", "soon").unwrap_err().to_string();
    assert_eq!(text, "parameter `seed` cannot be `soon`: it must be a whole number of at most 64 bits; -1 is random");
    for value in ["nan", "inf", "-1", ""] {
        assert!(Parameters::default().set("temperature", value).is_err(), "{value}");
    }
}

#[test]
fn a_seed_of_64_bits_is_folded_and_one_of_32_stays() {
    for (said, seed) in [
        (json!(0), Some(0)),
        (json!(7.0), Some(7)),
        (json!(u32::MAX), Some(u32::MAX)),
        (json!(1_u64 << 32), Some(1)),
        (json!(1_764_464_820_123_456_789_i64), Some(0xde5d_7672)),
        (json!(i64::MAX), Some(0x8000_0000)),
        (json!(u64::MAX), Some(0)),
        (json!(-1), None),
        (json!(-2), Some(1)),
        (json!(i64::MIN), Some(0x8000_0000)),
    ] {
        let by_json = Parameters::from_json(&json!({"seed": said})).unwrap();
        assert_eq!(by_json.clone().resolve(AnswerShape::Open).seed, seed, "{said}");
        let mut by_text = Parameters::default();
        if by_text.set("seed", &said.to_string()).is_ok() {
            assert_eq!(by_text, by_json, "{said}");
        }
    }
    for said in [json!(0.5), json!("7"), json!(1e300), json!(true)] {
        assert!(Parameters::from_json(&json!({"seed": said})).is_err(), "{said}");
    }
    assert!(Parameters::default().set("seed", "36893488147419103232").is_err());
}

proptest! {
    #[test]
    fn every_integer_is_a_seed(seed in any::<i64>()) {
        let mut said = Parameters::default();
        said.set("seed", &seed.to_string()).unwrap();
        let used = said.seed.unwrap();
        prop_assert!((-1..=i64::from(u32::MAX)).contains(&used));
        prop_assert_eq!(used == -1, seed == -1);
        prop_assert!(!(0..=i64::from(u32::MAX)).contains(&seed) || used == seed);
    }

    #[test]
    fn whatever_is_accepted_round_trips(index in 0usize..19, value in "[-0-9.e]{1,6}|true|false|.{1,4}") {
        let name = names().nth(index).expect("the index is below the number of names");
        let mut said = Parameters::default();
        if said.set(name, &value).is_ok() {
            prop_assert_eq!(Parameters::from_json(&said.to_json()).unwrap(), said);
        }
    }

    #[test]
    fn no_text_panics(name in ".{0,70}", value in ".{0,20}") {
        let known = names().any(|known| known == name);
        prop_assert!(known || Parameters::default().set(&name, &value).is_err());
    }
}
