//! A cascade as YAML, the file that a person writes and the JSON that the store keeps of it: bounded, with the line of whatever is
//! wrong.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use crate::cascade::{Accept, Budget, Cascade, Exhausted, Threshold, Tier, TierRemote, Whom};
use crate::certificate::Certificate;
use crate::error::CascadeError;
use crate::handing::{Given, HandOn, PLACEHOLDER};
use crate::labels::Labels;
use crate::privacy::Privacy;
use slm_yaml::{self as yaml, line};

/// More than any cascade has.
const MAX_BYTES: usize = 1 << 20;
const MAX_TIERS: usize = 16;
/// Fewer answers say nothing of how they are spread, and more are too late.
const DRIFT_ROWS: std::ops::RangeInclusive<usize> = 100..=100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tiers: Vec<Spanned<RawTier>>,
    always_on: Option<Spanned<Value>>,
    on_exhausted: Option<Spanned<Value>>,
    budget: Option<RawBudget>,
    privacy: Option<RawPrivacy>,
    format: Option<Spanned<Value>>,
    /// The store writes it.
    promise: Option<Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTier {
    model: Option<Spanned<String>>,
    /// Of the model's manifest; the store writes it.
    digest: Option<Spanned<String>>,
    remote: Option<Spanned<Value>>,
    words: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    accept: Option<Spanned<Value>>,
    given: Option<Spanned<Value>>,
    max_characters: Option<Spanned<Value>>,
    drift: Option<Spanned<Value>>,
    system: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudget {
    dollars_per_day: Option<Spanned<Value>>,
    share: Option<Spanned<Value>>,
    milliseconds: Option<Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrivacy {
    mask: Option<Spanned<Value>>,
    fields: Option<Spanned<Value>>,
    never: Option<Spanned<Value>>,
}

impl Cascade {
    /// Reads the YAML of a file, or the JSON that the store has of it.
    ///
    /// # Errors
    /// See [`CascadeError`].
    pub fn parse(yaml: &str) -> Result<Cascade, CascadeError> {
        if yaml.len() > MAX_BYTES {
            return Err(CascadeError::TooLarge { bytes: yaml.len(), most: MAX_BYTES });
        }
        let raw: Raw = serde_yaml::from_str_with_options(yaml, yaml::options(MAX_BYTES)).map_err(refused)?;
        if raw.tiers.is_empty() || raw.tiers.len() > MAX_TIERS {
            let problem = format!("has {} tiers; write 1 to {MAX_TIERS}", raw.tiers.len());
            return Err(CascadeError::value(1, "tiers", problem));
        }
        let n = raw.tiers.len();
        let mut tiers: Vec<Tier> = Vec::with_capacity(n);
        for (nth, raw) in raw.tiers.into_iter().enumerate() {
            let line = line(&raw);
            let tier = tier(raw.value, line, nth + 1 == n)?;
            if tiers.iter().any(|other| other.name == tier.name) {
                return Err(CascadeError::Twice { line, tier: tier.name });
            }
            tiers.push(tier);
        }
        Ok(Cascade {
            tiers,
            always_on: labels("always_on", raw.always_on)?,
            on_exhausted: raw.on_exhausted.map_or(Ok(Exhausted::default()), |value| exhausted(&value))?,
            budget: raw.budget.map_or(Ok(Budget::default()), budget)?,
            privacy: raw.privacy.map_or(Ok(Privacy::default()), privacy)?,
            format: raw.format.map(|value| format(&value)).transpose()?,
            promise: raw.promise.map(|value| promise(&value)).transpose()?,
        })
    }
}

fn tier(raw: RawTier, line: u64, is_last: bool) -> Result<Tier, CascadeError> {
    let (whom, own_name) = whom(raw.model, raw.words, raw.remote, raw.digest, line)?;
    if let Whom::Words { .. } = &whom {
        for (key, at) in [("given", raw.given.as_ref().map(self::line)), ("system", raw.system.as_ref().map(|_| line))]
        {
            if let Some(line) = at {
                return Err(CascadeError::value(
                    line,
                    key,
                    "is for models; words alone read the text and nothing else",
                ));
            }
        }
    }
    let name = match raw.name {
        Some(name) if name.value.trim().is_empty() => {
            return Err(CascadeError::value(self::line(&name), "name", "is empty"));
        }
        Some(name) => name.value,
        None => own_name,
    };
    let accept = match raw.accept {
        Some(value) => accept(&value)?,
        None if is_last => Accept::Anything,
        None => return Err(CascadeError::NoThreshold { line, tier: name }),
    };
    let drift = raw.drift.map(|value| drift(&value, is_last)).transpose()?;
    Ok(Tier {
        whom,
        accept,
        given: raw.given.map_or(Ok(HandOn::default()), |value| hand_on(&value))?,
        max_characters: raw.max_characters.map(|value| whole("max_characters", &value)).transpose()?,
        system: raw.system.filter(|system| !system.trim().is_empty()),
        drift,
        name,
        line,
    })
}

/// Who is asked, and how the tier is called unless the file says otherwise.
fn whom(
    model: Option<Spanned<String>>,
    words: Option<Spanned<String>>,
    remote: Option<Spanned<Value>>,
    digest: Option<Spanned<String>>,
    line: u64,
) -> Result<(Whom, String), CascadeError> {
    let digest = digest.map(|digest| digest.value.parse()).transpose();
    let digest = digest.map_err(|error| CascadeError::value(line, "digest", format!("is not a digest: {error}")))?;
    let named = |key: &str, model: &Spanned<String>| {
        let refused =
            |error| CascadeError::value(self::line(model), key, format!("cannot be `{}`: {error}", model.value));
        model.value.parse().map_err(refused)
    };
    match (model, words, remote) {
        (Some(model), None, None) => Ok((Whom::Model { name: named("model", &model)?, digest }, model.value)),
        (None, Some(words), None) => Ok((Whom::Words { name: named("words", &words)?, digest }, "words".to_owned())),
        (None, None, Some(remote)) => {
            let (remote, name) = tier_remote(&remote)?;
            Ok((Whom::Remote(remote), name))
        }
        (None, None, None) => {
            let problem = "has neither `model`, `remote` nor `words`; write a model's name, the file of a remote, or the model \
                           whose fit answers from words";
            Err(CascadeError::value(line, "tiers", problem))
        }
        (model, words, remote) => {
            let said = [("`model`", model.is_some()), ("`words`", words.is_some()), ("`remote`", remote.is_some())];
            let said: Vec<&str> = said.into_iter().filter_map(|(key, is_said)| is_said.then_some(key)).collect();
            Err(CascadeError::value(line, "tiers", format!("has {} in one tier; keep one of them", said.join(" and "))))
        }
    }
}

fn tier_remote(value: &Spanned<Value>) -> Result<(TierRemote, String), CascadeError> {
    match &value.value {
        Value::String(file) if !file.trim().is_empty() => {
            let file = std::path::PathBuf::from(file);
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((TierRemote::File(file), name))
        }
        Value::Object(keys) => {
            let name = keys.get("model").and_then(Value::as_str).unwrap_or("remote").to_owned();
            Ok((TierRemote::Keys(keys.clone()), name))
        }
        // Whatever it is, it may be a key, and is not shown.
        _ => Err(CascadeError::value(line(value), "remote", "is neither a file nor a map with `base_url` and `model`")),
    }
}

fn accept(value: &Spanned<Value>) -> Result<Accept, CascadeError> {
    const FORMS: &str = "write `fitted`, `anything`, or a map with `probability` or `margin`";
    let refused = |problem: String| Err(CascadeError::value(line(value), "accept", problem));
    let keys = match &value.value {
        Value::String(word) if word == "anything" => return Ok(Accept::Anything),
        Value::String(word) if word == "fitted" => return Ok(Accept::Fitted),
        Value::Object(keys) => keys,
        other => return refused(format!("is `{other}`; {FORMS}")),
    };
    let known = ["probability", "margin", "fields"];
    if let Some(unknown) = keys.keys().find(|key| !known.contains(&key.as_str())) {
        return refused(format!(
            "has the unknown key `{unknown}`; the keys here are `probability`, `margin`, `fields`"
        ));
    }
    let part = |key: &str| match keys.get(key) {
        None => Ok(None),
        Some(found) => match found.as_f64().filter(|found| *found > 0.0 && *found <= 1.0) {
            Some(found) => Ok(Some(found)),
            None => Err(CascadeError::value(
                line(value),
                &format!("accept.{key}"),
                format!("is {found}; write a number above 0, at most 1"),
            )),
        },
    };
    let (probability, margin) = (part("probability")?, part("margin")?);
    let fields = match keys.get("fields") {
        None => Vec::new(),
        Some(fields) => texts(fields).filter(|fields| !fields.is_empty()).ok_or_else(|| {
            CascadeError::value(line(value), "accept.fields", "is not a list of fields of the answer")
        })?,
    };
    if probability.is_none() && margin.is_none() {
        return refused(format!("has no threshold; {FORMS}"));
    }
    Ok(Accept::Above(Threshold { probability, margin, fields }))
}

/// After how many answers it is looked whether they are spread as they were.
fn drift(value: &Spanned<Value>, is_last: bool) -> Result<usize, CascadeError> {
    let refused = |problem: String| CascadeError::value(line(value), "drift", problem);
    if is_last {
        return Err(refused("is for tiers that hand on, and no tier comes after this one; remove it".to_owned()));
    }
    let found = value.value.as_u64().and_then(|n| usize::try_from(n).ok());
    found.filter(|n| DRIFT_ROWS.contains(n)).ok_or_else(|| {
        let (least, most) = (DRIFT_ROWS.start(), DRIFT_ROWS.end());
        refused(format!(
            "is `{}`; write after how many answers it is looked at, {least} to {most}, such as 500",
            value.value
        ))
    })
}

fn promise(value: &Spanned<Value>) -> Result<Certificate, CascadeError> {
    serde_json::from_value(value.value.clone()).map_err(|error| {
        CascadeError::value(line(value), "promise", format!("is what `slm fit` writes, and cannot be read: {error}"))
    })
}

fn hand_on(value: &Spanned<Value>) -> Result<HandOn, CascadeError> {
    const FORMS: &str =
        "write `nothing`, `label`, `probabilities` or `draft`, or a map of one of these to words with `{draft}`";
    let given = |word: &str| match word {
        "nothing" => Some(Given::Nothing),
        "label" => Some(Given::Label),
        "probabilities" => Some(Given::Probabilities),
        "draft" => Some(Given::Draft),
        _ => None,
    };
    let found = match &value.value {
        Value::String(word) => given(word).map(|given| HandOn { given, words: None }),
        Value::Object(map) => match map.iter().next() {
            Some((word, Value::String(words))) if map.len() == 1 && words.contains(PLACEHOLDER) => {
                given(word).map(|given| HandOn { given, words: Some(words.clone()) })
            }
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| CascadeError::value(line(value), "given", format!("is `{}`; {FORMS}", value.value)))
}

fn exhausted(value: &Spanned<Value>) -> Result<Exhausted, CascadeError> {
    match value.value.as_str() {
        Some("review") => Ok(Exhausted::Review),
        Some("best") => Ok(Exhausted::Best),
        Some("error") => Ok(Exhausted::Error),
        _ => {
            let problem = format!("is `{}`; write `review`, `best` or `error`", value.value);
            Err(CascadeError::value(line(value), "on_exhausted", problem))
        }
    }
}

fn budget(raw: RawBudget) -> Result<Budget, CascadeError> {
    let number = |key: &str, value: Option<Spanned<Value>>, most: f64| match value {
        None => Ok(None),
        Some(value) => match value.value.as_f64().filter(|n| (0.0..=most).contains(n)) {
            Some(n) => Ok(Some(n)),
            None => Err(CascadeError::value(
                line(&value),
                key,
                format!("is `{}`; write a number from 0 to {most}", value.value),
            )),
        },
    };
    let limit = raw.milliseconds.map(|value| whole("milliseconds", &value)).transpose()?;
    Ok(Budget {
        dollars_per_day: number("dollars_per_day", raw.dollars_per_day, 1e9)?,
        share: number("share", raw.share, 1.0)?,
        limit: limit.map(|ms| Duration::from_millis(ms as u64)),
    })
}

fn privacy(raw: RawPrivacy) -> Result<Privacy, CascadeError> {
    let list = |key: &str, value: Option<Spanned<Value>>, what: &str| match value {
        None => Ok((1, Vec::new())),
        Some(value) => {
            let listed = texts(&value.value).filter(|list| !list.is_empty());
            let problem = || CascadeError::value(line(&value), key, format!("is not a list of {what}"));
            Ok((line(&value), listed.ok_or_else(problem)?))
        }
    };
    let (at, patterns) =
        list("mask", raw.mask, "patterns, each `email`, `iban`, `card`, `ip`, `phone` or a regular expression")?;
    let mut privacy = Privacy::default();
    for pattern in patterns {
        privacy = privacy.masking(&pattern).map_err(|error| CascadeError::value(at, "mask", error.to_string()))?;
    }
    let (_, fields) = list("fields", raw.fields, "fields of a text that is a JSON object")?;
    (privacy.fields, privacy.never) = (fields, labels("never", raw.never)?);
    Ok(privacy)
}

/// A map of fields to labels, or a list of labels for an answer that is one value.
fn labels(key: &str, value: Option<Spanned<Value>>) -> Result<Labels, CascadeError> {
    let Some(value) = value else { return Ok(Labels::default()) };
    let is_label = |label: &Value| !label.is_array() && !label.is_object() && !label.is_null();
    let list = |labels: &Value| labels.as_array().filter(|list| !list.is_empty() && list.iter().all(is_label)).cloned();
    let found = match &value.value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(name, labels)| Some((Some(name.clone()), list(labels)?))).collect::<Option<Vec<_>>>()
        }
        labels => list(labels).map(|list| vec![(None, list)]),
    };
    let problem = "is neither a map of fields to lists of labels, such as `{queue: [legal]}`, nor a list of labels";
    found.map(Labels).ok_or_else(|| CascadeError::value(line(&value), key, problem))
}

fn format(value: &Spanned<Value>) -> Result<Value, CascadeError> {
    match &value.value {
        Value::Object(_) => Ok(value.value.clone()),
        Value::String(text) if text.len() > 1 && text.starts_with('@') => Ok(value.value.clone()),
        other => {
            let problem = format!("is `{other}`; write a JSON schema, or `\"@file\"` that holds one");
            Err(CascadeError::value(line(value), "format", problem))
        }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|one| one.as_str().filter(|text| !text.is_empty()).map(str::to_owned)).collect()
}

fn whole(key: &str, value: &Spanned<Value>) -> Result<usize, CascadeError> {
    let found = value.value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    found.ok_or_else(|| {
        CascadeError::value(line(value), key, format!("is `{}`; write a whole number above 0", value.value))
    })
}

fn refused(error: serde_yaml::Error) -> CascadeError {
    let (line, error) = yaml::mistake(error);
    match error {
        serde_yaml::Error::SerdeUnknownField { field, expected, .. } => {
            let known = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            CascadeError::UnknownKey { line, key: field, known }
        }
        serde_yaml::Error::SerdeMissingField { field, .. } => CascadeError::MissingKey { line, key: field },
        other => CascadeError::Yaml { line, message: yaml::message(&other) },
    }
}

/// The file with what the store keeps in the place of what it names: everything else stays as it is.
#[must_use]
pub fn as_value(yaml: &str) -> Option<Map<String, Value>> {
    serde_yaml::from_str_with_options(yaml, yaml::options(MAX_BYTES)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const DESK: &str = "\
# The desk.
tiers:
  - model: triage
    accept: {probability: 0.9, fields: [queue]}
    max_characters: 4000
  - remote: {base_url: 'https://api.example.com/v1', model: big, api_key_env: BIG_KEY}
    given: {draft: 'A first guess: {draft}'}
    system: Sort the ticket.
always_on: {queue: [legal]}
on_exhausted: best
budget: {dollars_per_day: 5, share: 0.3, milliseconds: 2000}
privacy: {mask: [email, '\\b\\d{6}\\b'], never: {queue: [health]}}
";

    #[test]
    fn everything_can_be_said_and_is_kept_as_json() {
        let desk = Cascade::parse(DESK).unwrap();
        let names: Vec<(&str, u64)> = desk.tiers.iter().map(|tier| (tier.name.as_str(), tier.line)).collect();
        assert_eq!(names, [("triage", 3), ("big", 6)]);
        let threshold = Threshold { probability: Some(0.9), margin: None, fields: vec!["queue".to_owned()] };
        assert_eq!((&desk.tiers[0].accept, &desk.tiers[1].accept), (&Accept::Above(threshold), &Accept::Anything));
        assert_eq!(desk.tiers[1].given.words.as_deref(), Some("A first guess: {draft}"));
        assert_eq!((desk.on_exhausted, desk.budget.limit), (Exhausted::Best, Some(Duration::from_secs(2))));
        assert!(desk.always_on.has(Some("queue"), &json!("legal")) && !desk.always_on.has(None, &json!("legal")));
        assert_eq!(desk.privacy.masked("a@b.example, order 123456"), "[masked], order [masked]");
        let stored = Value::Object(as_value(DESK).unwrap()).to_string();
        let mut again = Cascade::parse(&stored).unwrap();
        again.tiers.iter_mut().zip(&desk.tiers).for_each(|(tier, was)| tier.line = was.line);
        assert_eq!(again, desk);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (yaml, said) in [
            ("tiers: []", "line 1: `tiers` has 0 tiers; write 1 to 16"),
            ("always_on: {}", "line 1: `tiers` is missing"),
            (
                "tiers:\n- model: a\n- model: b\n",
                "line 2: the tier `a` does not say what it accepts, and others come after it",
            ),
            ("tiers:\n- model: a\n  accept: often\n", "line 3: `accept` is `\"often\"`; write `fitted`"),
            (
                "tiers:\n- model: a\n  accept: {probability: 2}\n",
                "line 3: `accept.probability` is 2; write a number above 0",
            ),
            ("tiers:\n- model: a\n  accept: {fields: [x]}\n", "line 3: `accept` has no threshold"),
            ("tiers:\n- model: a\n  accept: {prob: 1}\n", "line 3: `accept` has the unknown key `prob`"),
            ("tiers:\n- model: a\n  treshold: 1\n", "line 3: unknown key `treshold`; the keys here are `model`"),
            ("tiers:\n- name: a\n", "line 2: `tiers` has neither `model`, `remote` nor `words`"),
            (
                "tiers:\n- model: a\n  remote: b.yaml\n",
                "line 2: `tiers` has `model` and `remote` in one tier; keep one",
            ),
            ("tiers:\n- remote: 5\n", "line 2: `remote` is neither a file nor a map"),
            ("tiers:\n- model: a b\n", "line 2: `model` cannot be `a b`"),
            ("tiers:\n- {model: a, accept: fitted}\n- {model: a}\n", "line 3: the tier `a` is there twice"),
            ("tiers:\n- model: a\n  given: everything\n", "line 3: `given` is `\"everything\"`; write `nothing`"),
            ("tiers:\n- model: a\n  given: {draft: no place}\n", "line 3: `given` is"),
            ("tiers:\n- model: a\nalways_on: legal\n", "line 3: `always_on` is neither a map of fields"),
            ("tiers:\n- model: a\non_exhausted: panic\n", "line 3: `on_exhausted` is `\"panic\"`"),
            ("tiers:\n- model: a\nbudget:\n  share: 7\n", "line 4: `share` is `7`; write a number from 0 to 1"),
            ("tiers:\n- model: a\nprivacy:\n  mask: ['(']\n", "line 4: `mask` has `(`, which is neither"),
            ("tiers:\n- model: a\nformat: json\n", "line 3: `format` is `\"json\"`"),
            ("tiers:\n- model: a\n  max_characters: -1\n", "line 3: `max_characters` is `-1`"),
            (
                "tiers:\n- {model: a, accept: fitted}\n- {model: b, drift: 500}\n",
                "line 3: `drift` is for tiers that hand on",
            ),
            (
                "tiers:\n- model: a\n  accept: fitted\n  drift: 5\n- model: b\n",
                "line 4: `drift` is `5`; write after how many",
            ),
            ("tiers:\n- model: a\npromise: {rows: 1}\n", "line 3: `promise` is what `slm fit` writes"),
            ("tiers:\n- words: a\n  system: sort\n", "line 2: `system` is for models; words alone read"),
            ("tiers:\n- words: a\n  given: draft\n", "line 3: `given` is for models; words alone read"),
            ("tiers: {", "line 1: "),
        ] {
            let error = Cascade::parse(yaml).unwrap_err().to_string();
            assert!(error.starts_with(said), "{yaml:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_cascade_or_a_sentence(text in "\\PC{0,200}") {
            if let Err(error) = Cascade::parse(&text) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }

        /// Lines that are taken out or doubled.
        #[test]
        fn a_broken_desk_is_a_cascade_or_a_sentence(keep in prop::collection::vec(0usize..3, 12)) {
            let lines = DESK.lines().zip(&keep).flat_map(|(line, n)| std::iter::repeat_n(line, *n));
            let _ = Cascade::parse(&lines.collect::<Vec<_>>().join("\n"));
        }
    }
}
