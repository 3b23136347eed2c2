//! A model's output as the items of a response, which grow piece by piece and emit events.

use serde_json::Value;

use super::ResponseHead;
use super::event::Event;
use super::output_item::{OutputItem, OutputPart, Status};
use super::reply::ResponseReply;
use crate::api::choices::Calls;
use crate::api::openai::logprobs::TokenLogprob;
use crate::api::openai::new_id;
use slm_engine::Finish;
use slm_infer::infer::Finished;
use slm_values::tools::ToolCall;

/// A whole answer.
#[must_use]
pub fn whole(head: ResponseHead, finished: Finished) -> ResponseReply {
    let Finished { text, tokens, thinking, calls, end } = finished;
    let mut output = Output::new(head.n_top, head.calls);
    // What happens on the way is told by streams only.
    let mut events = Vec::new();
    output.think(&thinking, &mut events);
    output.say(&text, &tokens, &mut events);
    calls.into_iter().for_each(|call| output.call(call, &mut events));
    let items = output.end(end.finish, &mut events);
    ResponseReply::begun(head).ended(items, &end)
}

/// The items of one response.
#[derive(Debug)]
pub struct Output {
    items: Vec<OutputItem>,
    growing: Option<Growing>,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    n_top: Option<u8>,
    calls: Calls,
    n_calls: usize,
}

/// The thought or the message after all finished items.
#[derive(Debug)]
struct Growing {
    id: String,
    part: OutputPart,
}

impl Output {
    #[must_use]
    pub fn new(n_top: Option<u8>, calls: Calls) -> Output {
        Output { items: Vec::new(), growing: None, n_top, calls, n_calls: 0 }
    }

    /// The model thinks.
    pub fn think(&mut self, text: &str, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        if !self.growing.as_ref().is_some_and(Growing::is_thought) {
            self.begin("rs_", OutputPart::ReasoningText { text: String::new() }, events);
        }
        self.add(text, Vec::new(), events);
    }

    /// The model says something.
    pub fn say(&mut self, text: &str, tokens: &[slm_engine::TokenLogprob], events: &mut Vec<Event>) {
        let tokens = if self.n_top.is_some() { tokens } else { &[] };
        if text.is_empty() && tokens.is_empty() {
            return;
        }
        if self.growing.as_ref().is_none_or(Growing::is_thought) {
            self.begin_message(events);
        }
        self.add(text, tokens.iter().map(TokenLogprob::from).collect(), events);
    }

    /// The model calls a tool. Calls beyond the most that are wanted are dropped.
    pub fn call(&mut self, call: ToolCall, events: &mut Vec<Event>) {
        if self.n_calls == self.calls.most() {
            return;
        }
        self.n_calls += 1;
        self.close(Status::Completed, events);
        let (output_index, item_id) = (self.items.len(), new_id("fc_"));
        let call_id = call.id.unwrap_or_else(|| new_id("call_"));
        let arguments = Value::Object(call.arguments).to_string();
        let item = |arguments: &str, status: Status| OutputItem::FunctionCall {
            id: item_id.clone(),
            call_id: call_id.clone(),
            name: call.name.clone(),
            arguments: arguments.to_owned(),
            status,
        };
        let (added, done) = (item("", Status::InProgress), item(&arguments, Status::Completed));
        self.items.push(done.clone());
        let (delta, name) = (arguments.clone(), call.name);
        events.extend([
            Event::OutputItemAdded { output_index, item: added },
            Event::FunctionCallArgumentsDelta { item_id: item_id.clone(), output_index, delta },
            Event::FunctionCallArgumentsDone { item_id, output_index, name, arguments },
            Event::OutputItemDone { output_index, item: done },
        ]);
    }

    /// The model is done: all items. An answer without words and calls is an empty message, unless the model was stopped in
    /// its thoughts.
    pub fn end(mut self, finish: Finish, events: &mut Vec<Event>) -> Vec<OutputItem> {
        let has_spoken = self.n_calls > 0 || self.items.iter().any(|item| matches!(item, OutputItem::Message { .. }));
        let was_stopped = |growing: &Growing| !growing.is_thought() || finish == Finish::Length;
        if !has_spoken && !self.growing.as_ref().is_some_and(was_stopped) {
            self.begin_message(events);
        }
        let status = Status::of(finish);
        self.close(status, events);
        self.items
    }

    /// The items as they are where the answer broke off.
    pub fn broken_off(mut self) -> Vec<OutputItem> {
        self.close(Status::Incomplete, &mut Vec::new());
        self.items
    }

    fn begin_message(&mut self, events: &mut Vec<Event>) {
        let part = OutputPart::OutputText { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() };
        self.begin("msg_", part, events);
    }

    fn begin(&mut self, prefix: &str, part: OutputPart, events: &mut Vec<Event>) {
        self.close(Status::Completed, events);
        let growing = Growing { id: new_id(prefix), part: part.clone() };
        let (output_index, item_id, content_index) = (self.items.len(), growing.id.clone(), 0);
        let item = growing.item(Vec::new(), Status::InProgress);
        events.push(Event::OutputItemAdded { output_index, item });
        events.push(Event::ContentPartAdded { item_id, output_index, content_index, part });
        self.growing = Some(growing);
    }

    /// Adds to the growing item.
    fn add(&mut self, delta: &str, logprobs: Vec<TokenLogprob>, events: &mut Vec<Event>) {
        let Some(Growing { id, part }) = &mut self.growing else { return };
        let (item_id, output_index, content_index) = (id.clone(), self.items.len(), 0);
        let delta = delta.to_owned();
        events.push(match part {
            OutputPart::OutputText { text, logprobs: all, .. } => {
                *text += &delta;
                all.extend(logprobs.iter().cloned());
                Event::OutputTextDelta { item_id, output_index, content_index, delta, logprobs }
            }
            OutputPart::ReasoningText { text } => {
                *text += &delta;
                Event::ReasoningTextDelta { item_id, output_index, content_index, delta }
            }
        });
    }

    /// Ends the growing item, where one is.
    fn close(&mut self, status: Status, events: &mut Vec<Event>) {
        let Some(growing) = self.growing.take() else { return };
        let (item_id, output_index, content_index) = (growing.id.clone(), self.items.len(), 0);
        let part = growing.part.clone();
        events.push(match part.clone() {
            OutputPart::OutputText { text, logprobs, .. } => {
                Event::OutputTextDone { item_id: item_id.clone(), output_index, content_index, text, logprobs }
            }
            OutputPart::ReasoningText { text } => {
                Event::ReasoningTextDone { item_id: item_id.clone(), output_index, content_index, text }
            }
        });
        let item = growing.item(vec![part.clone()], status);
        events.push(Event::ContentPartDone { item_id, output_index, content_index, part });
        events.push(Event::OutputItemDone { output_index, item: item.clone() });
        self.items.push(item);
    }
}

impl Growing {
    fn is_thought(&self) -> bool {
        matches!(self.part, OutputPart::ReasoningText { .. })
    }

    fn item(&self, content: Vec<OutputPart>, status: Status) -> OutputItem {
        let id = self.id.clone();
        match self.part {
            OutputPart::OutputText { .. } => OutputItem::Message { id, role: "assistant", content, status },
            OutputPart::ReasoningText { .. } => OutputItem::Reasoning { id, summary: Vec::new(), content, status },
        }
    }
}
