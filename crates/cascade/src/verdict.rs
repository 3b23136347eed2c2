//! Whether a tier's answer is taken. Pure: it sees an answer's values and numbers, not who computed them.

use serde_json::Value;

use crate::cascade::{Accept, Cascade, Threshold, Tier};
use crate::path::{Measure, Reason};

/// What a tier answered, as far as that decides whether it is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered<'a> {
    /// A closed answer with its probabilities.
    Closed(Vec<FieldView<'a>>),
    /// Text, or a value that was checked, of which no probability is known. The labels are those of its closed fields.
    Plain(Vec<(Option<String>, Value)>),
}

/// The answer to a closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldView<'a> {
    /// `None` where the whole answer is one value.
    pub name: Option<&'a str>,
    pub label: &'a Value,
    pub probability: f64,
    pub margin: f64,
    /// Why the model's fit withholds it.
    pub withheld: Option<String>,
}

impl Answered<'_> {
    /// The labels of its closed fields.
    pub fn labels(&self) -> Vec<(Option<&str>, &Value)> {
        match self {
            Answered::Closed(fields) => fields.iter().map(|field| (field.name, field.label)).collect(),
            Answered::Plain(labels) => labels.iter().map(|(name, label)| (name.as_deref(), label)).collect(),
        }
    }
}

impl Cascade {
    /// Whether the answer of the tier of this number is the cascade's.
    ///
    /// # Errors
    /// Why it goes on.
    pub fn accepts(&self, nth: usize, answered: &Answered<'_>) -> Result<(), Reason> {
        let Some(tier) = self.tiers.get(nth) else { return Ok(()) };
        let is_last = nth + 1 == self.tiers.len();
        let labels = answered.labels();
        let listed = labels.iter().find(|(name, label)| !is_last && self.always_on.has(*name, label));
        if let Some((name, label)) = listed {
            return Err(Reason::AlwaysOn { field: name.map(str::to_owned), label: (*label).clone() });
        }
        match answered {
            Answered::Closed(fields) => {
                fields.iter().filter(|field| tier.counts(field.name)).try_for_each(|field| tier.takes(field))
            }
            Answered::Plain(_) if tier.accept == Accept::Anything => Ok(()),
            Answered::Plain(_) => Err(Reason::NoProbabilities),
        }
    }

    /// What is held against a threshold of the tier of this number: the least probability of the fields that count. `None` where the
    /// answer goes on whatever the threshold.
    #[must_use]
    pub fn confidence(&self, nth: usize, answered: &Answered<'_>) -> Option<f64> {
        let (tier, Answered::Closed(fields)) = (self.tiers.get(nth)?, answered) else { return None };
        let is_last = nth + 1 == self.tiers.len();
        let goes_on = |field: &FieldView<'_>| !is_last && self.always_on.has(field.name, field.label);
        if fields.iter().any(goes_on) {
            return None;
        }
        let counted = || fields.iter().filter(|field| tier.counts(field.name));
        let is_open = counted().all(|field| field.withheld.is_none());
        is_open.then(|| counted().map(|field| field.probability).fold(1.0, f64::min))
    }

    /// Whether this text may be sent to the tier, as far as the answers so far say: labels that stay here keep it from remotes.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_leave(&self, nth: usize, so_far: &[(Option<String>, Value)]) -> Result<(), Reason> {
        if !self.tiers.get(nth).is_some_and(Tier::is_remote) {
            return Ok(());
        }
        match so_far.iter().find(|(name, label)| self.privacy.never.has(name.as_deref(), label)) {
            None => Ok(()),
            Some((_, label)) => Err(Reason::Private(format!("texts with the label {label} stay on this machine"))),
        }
    }
}

impl Tier {
    /// Whether a field is one of those that decide.
    fn counts(&self, field: Option<&str>) -> bool {
        match &self.accept {
            Accept::Above(Threshold { fields, .. }) if !fields.is_empty() => {
                field.is_some_and(|field| fields.iter().any(|one| one == field))
            }
            _ => true,
        }
    }

    fn takes(&self, field: &FieldView<'_>) -> Result<(), Reason> {
        let name = || field.name.map(str::to_owned);
        match (&self.accept, &field.withheld) {
            (Accept::Anything, _) => Ok(()),
            // A fit that withholds an answer has the last word over a threshold of the cascade, too.
            (Accept::Fitted | Accept::Above(_), Some(why)) => Err(Reason::Withheld { field: name(), why: why.clone() }),
            (Accept::Fitted, None) => Ok(()),
            (Accept::Above(Threshold { probability, margin, .. }), None) => {
                let checks =
                    [(Measure::Probability, field.probability, probability), (Measure::Margin, field.margin, margin)];
                for (measure, found, threshold) in checks {
                    // NaN is below every threshold.
                    if let Some(threshold) =
                        threshold.filter(|threshold| found.partial_cmp(threshold).is_none_or(|order| order.is_lt()))
                    {
                        return Err(Reason::Below { field: name(), measure, found, threshold });
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn cascade(accept: &str) -> Cascade {
        let yaml = format!(
            "tiers:\n- {{model: a, accept: {accept}}}\n- {{model: b, accept: {{margin: 0.5}}}}\n- {{remote: r.yaml}}\n\
             always_on: {{queue: [legal]}}\nprivacy: {{never: {{queue: [health]}}}}\n"
        );
        Cascade::parse(&yaml).unwrap()
    }

    fn field<'a>(name: &'a str, label: &'a Value, probability: f64, margin: f64) -> FieldView<'a> {
        FieldView { name: Some(name), label, probability, margin, withheld: None }
    }

    #[test]
    fn the_least_sure_field_decides_unless_others_are_named() {
        let (billing, two) = (json!("billing"), json!(2));
        let answered = Answered::Closed(vec![field("queue", &billing, 0.95, 0.9), field("urgency", &two, 0.5, 0.1)]);
        let below = |found, threshold| Reason::Below {
            field: Some("urgency".to_owned()),
            measure: Measure::Probability,
            found,
            threshold,
        };
        assert_eq!(cascade("{probability: 0.9}").accepts(0, &answered), Err(below(0.5, 0.9)));
        assert_eq!(cascade("{probability: 0.9, fields: [queue]}").accepts(0, &answered), Ok(()));
        assert_eq!(cascade("anything").accepts(0, &answered), Ok(()));
        let said = "`urgency`: the probability is 0.500, and 0.9 is asked for";
        assert_eq!(below(0.5, 0.9).to_string(), said);
    }

    #[test]
    fn listed_labels_go_on_from_every_tier_but_the_last_and_others_never_leave() {
        let (legal, health) = (json!("legal"), json!("health"));
        let cascade = cascade("anything");
        let sure = |label| Answered::Closed(vec![field("queue", label, 1.0, 1.0)]);
        let on = Reason::AlwaysOn { field: Some("queue".to_owned()), label: legal.clone() };
        assert_eq!(cascade.accepts(0, &sure(&legal)), Err(on.clone()));
        assert_eq!(cascade.accepts(1, &sure(&legal)), Err(on.clone()));
        assert_eq!(cascade.accepts(2, &sure(&legal)), Ok(()));
        assert_eq!(cascade.accepts(0, &Answered::Plain(vec![(Some("queue".to_owned()), legal.clone())])), Err(on));
        let labels = |label: &Value| vec![(Some("queue".to_owned()), label.clone())];
        assert_eq!(cascade.may_leave(1, &labels(&health)), Ok(()));
        assert!(matches!(cascade.may_leave(2, &labels(&health)), Err(Reason::Private(_))));
        assert_eq!(cascade.may_leave(2, &labels(&legal)), Ok(()));
    }

    #[test]
    fn the_least_sure_field_is_held_against_a_threshold() {
        let (legal, two) = (json!("legal"), json!(2));
        let cascade = cascade("{probability: 0.9}");
        let answered =
            |label, p| Answered::Closed(vec![field("queue", label, p, 0.0), field("urgency", &two, 0.5, 0.1)]);
        let billing = json!("billing");
        assert_eq!(cascade.confidence(0, &answered(&billing, 0.4)), Some(0.4));
        assert_eq!(cascade.confidence(0, &answered(&billing, 0.9)), Some(0.5));
        assert_eq!(
            (cascade.confidence(0, &answered(&legal, 0.9)), cascade.confidence(2, &answered(&legal, 0.9))),
            (None, Some(0.5))
        );
        assert_eq!(cascade.confidence(0, &Answered::Plain(Vec::new())), None);
    }

    #[test]
    fn what_has_no_probability_is_taken_where_anything_is() {
        let plain = Answered::Plain(Vec::new());
        assert_eq!(cascade("anything").accepts(0, &plain), Ok(()));
        assert_eq!(cascade("fitted").accepts(0, &plain), Err(Reason::NoProbabilities));
        let x = json!("x");
        let withheld = FieldView { withheld: Some("0.5 is below 0.9".to_owned()), ..field("queue", &x, 0.5, 0.0) };
        let refused = Reason::Withheld { field: Some("queue".to_owned()), why: "0.5 is below 0.9".to_owned() };
        for accept in ["fitted", "{probability: 0.1}"] {
            assert_eq!(cascade(accept).accepts(0, &Answered::Closed(vec![withheld.clone()])), Err(refused.clone()));
        }
    }

    proptest! {
        /// An answer that is taken is taken with a lower threshold, too, and with surer fields.
        #[test]
        fn surer_answers_are_taken_where_less_sure_ones_are(
            p in prop::collection::vec(0.0f64..=1.0, 1..5), more in 0.0f64..0.5, threshold in 0.01f64..0.99, less in 0.0f64..0.5
        ) {
            let label = json!("x");
            let answered = |by: f64| {
                let of = |p: &f64| field("f", &label, (p + by).min(1.0), 0.0);
                Answered::Closed(p.iter().map(of).collect())
            };
            let at = |t: f64| cascade(&format!("{{probability: {}}}", t.max(0.001)));
            let taken = at(threshold).accepts(0, &answered(0.0)).is_ok();
            prop_assert_eq!(taken, p.iter().all(|p| *p >= threshold));
            prop_assert!(!taken || at(threshold).accepts(0, &answered(more)).is_ok());
            prop_assert!(!taken || at(threshold - less).accepts(0, &answered(0.0)).is_ok());
        }
    }
}
