//! How many tokens a request took, in the words of chat and text completions.

use std::iter::Sum;

use serde::Serialize;
use utoipa::ToSchema;

use slm_infer::infer::End;

/// The tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = openai::Usage)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
    pub prompt_tokens_details: PromptDetails,
    pub completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = openai::PromptDetails)]
pub struct PromptDetails {
    /// Read from the cache.
    pub cached_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = openai::CompletionDetails)]
pub struct CompletionDetails {
    /// Tokens of the thinking before the answer.
    pub reasoning_tokens: usize,
    /// Drafted tokens that were accepted.
    pub accepted_prediction_tokens: usize,
    /// Drafted tokens that were rejected.
    pub rejected_prediction_tokens: usize,
}

impl Usage {
    /// Adds one of several answers to the same prompt, which counts once.
    pub fn add(&mut self, end: &End) {
        let counts = &end.counts;
        if counts.prompt > self.prompt_tokens || self.completion_tokens == 0 {
            self.prompt_tokens = counts.prompt;
        }
        let cached = &mut self.prompt_tokens_details.cached_tokens;
        *cached = (*cached).max(counts.reused);
        self.completion_tokens += counts.generated + counts.branch;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
        let details = &mut self.completion_tokens_details;
        details.accepted_prediction_tokens += counts.accepted;
        details.rejected_prediction_tokens += counts.drafted.saturating_sub(counts.accepted);
    }
}

/// Of several prompts, each with its answers.
impl Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(usages: I) -> Usage {
        usages.fold(Usage::default(), |mut all, one| {
            all.prompt_tokens += one.prompt_tokens;
            all.completion_tokens += one.completion_tokens;
            all.total_tokens += one.total_tokens;
            all.prompt_tokens_details.cached_tokens += one.prompt_tokens_details.cached_tokens;
            let (details, more) = (&mut all.completion_tokens_details, one.completion_tokens_details);
            details.reasoning_tokens += more.reasoning_tokens;
            details.accepted_prediction_tokens += more.accepted_prediction_tokens;
            details.rejected_prediction_tokens += more.rejected_prediction_tokens;
            all
        })
    }
}
