//! A response, at its beginning, at its end, and where it failed.

use serde::Serialize;
use utoipa::ToSchema;

use super::ResponseHead;
use super::output_item::{OutputItem, Status};
use super::request::Echo;
use crate::api::dialect::Dialect;
use crate::api::extra::Extra;
use crate::api::problem::{Kind, Problem};
use slm_infer::infer::End;

/// An answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::Response)]
pub struct ResponseReply {
    pub id: String,
    #[schema(pattern = "^response$")]
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    pub status: Status,
    /// Always `false`: background answers are not supported.
    pub background: bool,
    /// Why the answer failed.
    #[schema(required)]
    pub error: Option<ResponseError>,
    /// Why the answer was cut short.
    #[schema(required)]
    pub incomplete_details: Option<IncompleteDetails>,
    pub output: Vec<OutputItem>,
    /// Always `null`: nothing is stored here.
    #[schema(required)]
    pub previous_response_id: Option<String>,
    #[schema(pattern = "^default$")]
    pub service_tier: &'static str,
    /// Always `false`: nothing is stored here.
    pub store: bool,
    #[schema(pattern = "^disabled$")]
    pub truncation: &'static str,
    /// `null` until the answer ends.
    #[schema(required)]
    pub usage: Option<ResponseUsage>,
    #[serde(flatten)]
    pub echo: Echo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slm: Option<Extra>,
}

/// Why an answer was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::IncompleteDetails)]
pub struct IncompleteDetails {
    #[schema(pattern = "^max_output_tokens$")]
    pub reason: &'static str,
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ResponseError)]
pub struct ResponseError {
    #[schema(pattern = "^(server_error|rate_limit_exceeded|invalid_prompt)$")]
    pub code: &'static str,
    /// What is wrong, with the value, and what to do next.
    pub message: String,
}

/// The tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ResponseUsage)]
pub struct ResponseUsage {
    pub input_tokens: usize,
    pub input_tokens_details: InputDetails,
    pub output_tokens: usize,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::InputDetails)]
pub struct InputDetails {
    /// Read from the cache.
    pub cached_tokens: usize,
    /// Always 0: caching is free.
    pub cache_write_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::OutputDetails)]
pub struct OutputDetails {
    /// Always 0: thinking is counted with the answer.
    pub reasoning_tokens: usize,
}

impl From<&End> for ResponseUsage {
    fn from(end: &End) -> ResponseUsage {
        let counts = &end.counts;
        let output_tokens = counts.generated + counts.branch;
        ResponseUsage {
            input_tokens: counts.prompt,
            input_tokens_details: InputDetails { cached_tokens: counts.reused, cache_write_tokens: 0 },
            output_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: 0 },
            total_tokens: counts.prompt + output_tokens,
        }
    }
}

impl From<&Problem> for ResponseError {
    fn from(problem: &Problem) -> ResponseError {
        let code = match problem.kind {
            Kind::Busy { .. } => "rate_limit_exceeded",
            Kind::Failed | Kind::Upstream | Kind::TimedOut => "server_error",
            _ => "invalid_prompt",
        };
        ResponseError { code, message: Dialect::Responses.message(problem) }
    }
}

impl ResponseReply {
    /// An answer of which nothing is known yet.
    #[must_use]
    pub fn begun(head: ResponseHead) -> ResponseReply {
        ResponseReply {
            id: head.id,
            object: "response",
            created_at: head.created,
            status: Status::InProgress,
            background: false,
            error: None,
            incomplete_details: None,
            output: Vec::new(),
            previous_response_id: None,
            service_tier: "default",
            store: false,
            truncation: "disabled",
            usage: None,
            echo: head.echo,
            slm: None,
        }
    }

    /// The answer with all that was said.
    #[must_use]
    pub fn ended(self, output: Vec<OutputItem>, end: &End) -> ResponseReply {
        let status = Status::of(end.finish);
        let incomplete_details =
            (status == Status::Incomplete).then_some(IncompleteDetails { reason: "max_output_tokens" });
        let (usage, slm) = (Some(ResponseUsage::from(end)), Some(Extra::from(end)));
        ResponseReply { status, incomplete_details, output, usage, slm, ..self }
    }

    /// The answer with what was said before it broke off.
    #[must_use]
    pub fn failed(self, output: Vec<OutputItem>, problem: &Problem) -> ResponseReply {
        ResponseReply { status: Status::Failed, error: Some(problem.into()), output, ..self }
    }
}
