//! `/api/generate` and `/api/chat`.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::OllamaProblem;
use super::types::answers::{self, ChatRequest, GenerateRequest};
use super::types::error;
use crate::api::body::Body;
use crate::api::problem::Problem;
use crate::api::service::{Answering, Ask, Service};
use crate::api::stream::{self, Encoder};
use crate::chat::{Message, Role};
use crate::engine::Finish;
use crate::infer::{Chat, End, Piece};

/// Answers one text.
pub async fn generate(
    State(service): State<Arc<Service>>,
    Body(request): Body<GenerateRequest>,
) -> Result<Response, OllamaProblem> {
    let mut messages: Vec<Message> =
        request.system.iter().map(|system| Message::new(Role::System, system.as_str())).collect();
    messages.push(Message::new(Role::User, request.prompt));
    let ask = Ask {
        form: answers::form(request.format)?,
        parameters: answers::parameters(request.options)?,
        ..Ask::new(request.model, Chat::of(messages))
    };
    answer(&service, ask, request.stream, Shape::Generate).await
}

/// Answers a conversation.
pub async fn chat(
    State(service): State<Arc<Service>>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, OllamaProblem> {
    let messages = request.messages.into_iter().map(Message::from).collect();
    let ask = Ask {
        form: answers::form(request.format)?,
        parameters: answers::parameters(request.options)?,
        ..Ask::new(request.model, Chat::of(messages))
    };
    answer(&service, ask, request.stream, Shape::Chat).await
}

async fn answer(service: &Service, ask: Ask, streams: Option<bool>, shape: Shape) -> Result<Response, OllamaProblem> {
    let model = ask.model.clone();
    let mut answering = service.ask(ask).await?;
    let mut lines = Lines { model, shape, timestamp: service.settings().timestamp, load: answering.load_duration };
    if streams.unwrap_or(true) {
        return Ok(stream::response(answering, lines, stream::JSON_LINES).await?);
    }
    let whole = whole(&mut answering, &mut lines).await?;
    Ok(Json(whole).into_response())
}

/// Which of the two an answer is for.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Generate,
    Chat,
}

/// Writes a line for each piece.
struct Lines {
    model: String,
    shape: Shape,
    timestamp: fn(SystemTime) -> String,
    load: std::time::Duration,
}

impl Lines {
    fn text(&self, text: &str) -> Value {
        let mut line = json!({ "model": self.model, "created_at": (self.timestamp)(SystemTime::now()) });
        match self.shape {
            Shape::Generate => line["response"] = text.into(),
            Shape::Chat => line["message"] = json!({ "role": "assistant", "content": text }),
        }
        line["done"] = false.into();
        line
    }

    fn end(&self, text: &str, end: &End) -> Value {
        let mut line = self.text(text);
        line["done"] = true.into();
        line["done_reason"] = match end.finish {
            Finish::Stop => "stop".into(),
            Finish::Length => "length".into(),
        };
        let nanoseconds = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        line["total_duration"] = nanoseconds(self.load + end.elapsed).into();
        line["load_duration"] = nanoseconds(self.load).into();
        line["prompt_eval_count"] = end.counts.prompt.into();
        line["prompt_eval_duration"] = nanoseconds(end.timings.prompt).into();
        line["eval_count"] = (end.counts.generated + end.counts.branch).into();
        line["eval_duration"] = nanoseconds(end.timings.generation).into();
        line
    }
}

impl Encoder for Lines {
    fn piece(&mut self, piece: Piece, out: &mut String) {
        let line = match piece {
            Piece::Text(written) => self.text(&written.text),
            Piece::Thinking(_) | Piece::Call(_) => return,
            Piece::End(end) => self.end("", &end),
        };
        *out += &line.to_string();
        out.push('\n');
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        *out += &error(problem).to_string();
        out.push('\n');
    }
}

/// All of an answer as one object.
async fn whole(answering: &mut Answering, lines: &mut Lines) -> Result<Value, Problem> {
    let mut text = String::new();
    while let Some(piece) = answering.next().await? {
        match piece {
            Piece::Text(written) => text += &written.text,
            Piece::Thinking(_) | Piece::Call(_) => {}
            Piece::End(end) => return Ok(lines.end(&text, &end)),
        }
    }
    Ok(lines.text(&text))
}
