//! What a run asks of every row, as noted beside the file of its answers: a resumed run must ask the same.

use serde_json::{Value, json};

use super::Run;
use super::args::JsonShape;
use crate::batch::journal::Identity;
use crate::contract::Form;
use crate::digest::Digest;
use crate::engine::Drafts;
use crate::infer::Retry;
use crate::sampling::AnswerShape;

/// The digest of a value; numbers and texts are as JSON writes them.
fn digest(value: &Value) -> Digest {
    Digest::of(value.to_string().as_bytes())
}

impl Run<'_> {
    pub fn identity(&self) -> Identity {
        let adapters = self.responder.defaults().adapters.as_slice().iter().map(|one| json!([one.id, one.scale]));
        Identity {
            model: self.model_name.clone(),
            model_digest: self.model_digest,
            prompt: self.prompt_digest(),
            form: digest(&self.form_asked()),
            sampling: digest(&self.sampling_asked()),
            adapters: digest(&adapters.collect()),
            evaluation_id: self.responder.identity(self.turn.scoring),
            rows: digest(&json!({
                "field": self.args.jsonl,
                "details": match self.args.json() {
                    None => json!(false),
                    Some(JsonShape::Full) => json!(true),
                    Some(JsonShape::Flat) => json!("flat"),
                },
                "table": [self.args.csv, self.args.tsv, self.args.delimiter],
            })),
        }
    }

    fn prompt_digest(&self) -> Digest {
        if self.embeds.is_some() {
            return Digest::of(b"");
        }
        let mut turn = self.turn_to("text");
        if let Some(chat) = turn.chat_mut() {
            // Tomorrow it is still the same question.
            chat.today = None;
        }
        // A question that cannot be asked is refused in each row's place.
        let prompt = self.responder.prompt_digest(turn).unwrap_or_else(|error| error.to_string());
        Digest::of(prompt.as_bytes())
    }

    fn form_asked(&self) -> Value {
        let form = match (&self.turn.form, self.embeds) {
            (_, Some(pooling)) => json!({ "vector": pooling.as_str() }),
            (Form::Closed(contract), _) => json!({ "schema": contract.schema() }),
            (Form::Open(open), _) => json!({ "grammar": open.grammar() }),
            (Form::Free, _) => Value::Null,
        };
        let mut asked = json!({
            "form": form,
            "max_words": self.limits.max_words,
            "max_sentences": self.limits.max_sentences,
            "matches": self.args.limits.matches,
            "is_asked_again": self.retry == Retry::Once,
        });
        // The fit itself is a part of the model.
        if self.responder.fits(&self.turn.form) {
            asked["abstain"] = self.args.fit.abstained().into();
        }
        asked
    }

    fn sampling_asked(&self) -> Value {
        let info = self.responder.session().ok().map(|session| session.engine().info());
        let shape = match &self.turn.form {
            // Closed answers are scored.
            Form::Closed(_) => None,
            Form::Open(_) => Some(AnswerShape::Formatted),
            Form::Free => Some(AnswerShape::Open),
        };
        let parameters = || self.turn.parameters.clone().over(self.responder.defaults().parameters.clone());
        json!({
            "sampling": shape.map(|shape| parameters().resolve(shape)),
            "has_drafts": self.turn.drafts == Drafts::Auto,
            "scoring": format!("{:?}", self.turn.scoring),
            "truncate": self.args.truncate,
            "n_ctx": info.map(|info| info.n_ctx),
            "kv_type": info.map(|info| info.compute.kv_type),
        })
    }
}
