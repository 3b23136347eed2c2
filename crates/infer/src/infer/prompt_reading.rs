//! How likely the tokens of a given prompt are, each after those before it, and the one token that comes next.

use std::time::Instant;

use super::ask::{Before, PromptReading};
use super::reader::Reader;
use super::render::digest;
use super::reply::{Origin, Reply};
use super::{InferError, Scoring, Session};
use crate::decide::Wording;
use slm_engine::{NextToken, PromptLogprobsRequest, Request};
use slm_values::contract::Form;
use slm_values::sampling::AnswerShape;

impl Session {
    /// Sends a prompt whose tokens are to be read.
    pub(super) fn read_prompt(&self, reading: PromptReading) -> Result<Reply, InferError> {
        let started = Instant::now();
        let PromptReading { given, n_likely, next } = reading;
        let prompt = self.prompt(&Before::Prompt(given), &Form::Free, Wording::PINNED)?;
        let next = next.map(|next| {
            let sampling = next.parameters.over(self.defaults.parameters.clone()).resolve(AnswerShape::Open);
            NextToken { sampling, bias: next.bias }
        });
        let prompt_digest = digest(&prompt, &[], None);
        let adapters = self.defaults.adapters.clone();
        let request = PromptLogprobsRequest { prompt, n_likely, next, adapters };
        let events = self.engine.send(Request::PromptLogprobs(request));
        // It is evaluated alone, as a question is.
        let evaluation_id = Some(self.evaluation_id(Scoring::default()));
        Ok(Reply::new(events, Reader::Prompt, None, Origin { started, prompt_digest, evaluation_id }))
    }
}
