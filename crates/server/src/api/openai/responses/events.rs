//! A response as server-sent events.

use super::ResponseHead;
use super::event::{Event, NumberedEvent};
use super::output::Output;
use super::reply::ResponseReply;
use crate::api::problem::Problem;
use crate::api::stream::{self, Encoder};
use slm_infer::infer::Piece;

/// Writes what happens for each piece.
#[derive(Debug)]
pub struct Events {
    begun: ResponseReply,
    /// `None` after the last piece.
    output: Option<Output>,
    n_events: usize,
}

impl Events {
    #[must_use]
    pub fn new(head: ResponseHead) -> Events {
        let output = Some(Output::new(head.n_top, head.calls));
        Events { begun: ResponseReply::begun(head), output, n_events: 0 }
    }

    fn write(&mut self, events: Vec<Event>, out: &mut String) {
        for event in events {
            let name = event.name();
            stream::named_event(name, &NumberedEvent { event, sequence_number: self.n_events }, out);
            self.n_events += 1;
        }
    }
}

impl Encoder for Events {
    fn start(&mut self, out: &mut String) {
        let response = Box::new(self.begun.clone());
        self.write(vec![Event::Created { response: response.clone() }, Event::InProgress { response }], out);
    }

    fn piece(&mut self, piece: Piece, out: &mut String) {
        let Some(output) = &mut self.output else { return };
        let mut events = Vec::new();
        match piece {
            Piece::Text(piece) => output.say(&piece.text, &piece.tokens, &mut events),
            Piece::Thinking(text) => output.think(&text, &mut events),
            Piece::Call(call) => output.call(call, &mut events),
            Piece::End(end) => {
                let Some(output) = self.output.take() else { return };
                let items = output.end(end.finish, &mut events);
                let response = Box::new(self.begun.clone().ended(items, &end));
                events.push(match response.incomplete_details {
                    None => Event::Completed { response },
                    Some(_) => Event::Incomplete { response },
                });
            }
        }
        self.write(events, out);
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        let items = self.output.take().map(Output::broken_off).unwrap_or_default();
        let response = Box::new(self.begun.clone().failed(items, problem));
        self.write(vec![Event::Failed { response }], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::choices::Calls;
    use crate::api::openai::responses::output::whole;
    use crate::api::openai::responses::request::ResponseRequest;
    use serde_json::{Map, Value, json};
    use slm_engine::{Counts, Finish, Timings};
    use slm_infer::infer::{End, Finding, Finished};
    use slm_values::tools::ToolCall;
    use std::time::Duration;

    fn head(calls: Calls) -> ResponseHead {
        let request: ResponseRequest = serde_json::from_value(json!({"model": "m", "input": "hi"})).unwrap();
        ResponseHead { id: "resp_1".into(), created: 7, n_top: None, calls, echo: request.wanted().unwrap().echo }
    }

    fn text(text: &str) -> Piece {
        Piece::Text(slm_engine::Piece { text: text.into(), ..slm_engine::Piece::default() })
    }

    fn call() -> Piece {
        Piece::Call(ToolCall { id: Some("call_1".into()), ..ToolCall::new("f", Map::new()) })
    }

    fn end(finish: Finish) -> Box<End> {
        Box::new(End {
            finish,
            counts: Counts { prompt: 5, reused: 2, generated: 3, ..Counts::default() },
            timings: Timings::default(),
            elapsed: Duration::ZERO,
            finding: Finding::Free,
            fields: None,
            prompt_digest: "p".into(),
            evaluation_id: Some("e".into()),
            stopped_by: None,
            prompt_tokens: Vec::new(),
            state: None,
            context: Vec::new(),
            cost: None,
            path: Vec::new(),
            review: None,
        })
    }

    /// What a stream of these pieces says.
    fn events(calls: Calls, pieces: Vec<Piece>, problem: Option<&Problem>) -> Vec<Value> {
        let (mut events, mut out) = (Events::new(head(calls)), String::new());
        events.start(&mut out);
        pieces.into_iter().for_each(|piece| events.piece(piece, &mut out));
        match problem {
            Some(problem) => events.problem(problem, &mut out),
            None => events.finish(&mut out),
        }
        let event = |(number, event): (usize, &str)| {
            let (name, data) = event.split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(
                (name.strip_prefix("event: "), data["sequence_number"].as_u64()),
                (data["type"].as_str(), Some(number as u64))
            );
            data
        };
        out.trim_end().split("\n\n").enumerate().map(event).collect()
    }

    fn names(events: &[Value]) -> Vec<String> {
        let name = |event: &Value| {
            let name = event["type"].as_str().unwrap().trim_start_matches("response.");
            event["output_index"].as_u64().map_or_else(|| name.to_owned(), |index| format!("{name} {index}"))
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn items_follow_each_other_without_gaps() {
        let pieces = vec![
            Piece::Thinking("hm".into()),
            text(""),
            text("a"),
            text("b"),
            call(),
            call(),
            Piece::End(end(Finish::Stop)),
        ];
        let events = events(Calls::One, pieces, None);
        let expected = [
            "created",
            "in_progress",
            "output_item.added 0",
            "content_part.added 0",
            "reasoning_text.delta 0",
            "reasoning_text.done 0",
            "content_part.done 0",
            "output_item.done 0",
            "output_item.added 1",
            "content_part.added 1",
            "output_text.delta 1",
            "output_text.delta 1",
            "output_text.done 1",
            "content_part.done 1",
            "output_item.done 1",
            "output_item.added 2",
            "function_call_arguments.delta 2",
            "function_call_arguments.done 2",
            "output_item.done 2",
            "completed",
        ];
        assert_eq!(names(&events), expected);
        // What was done is what the answer has.
        let done =
            events.iter().filter(|event| event["type"] == "response.output_item.done").map(|event| &event["item"]);
        let response = &events.last().unwrap()["response"];
        assert_eq!(Value::from_iter(done.cloned()), response["output"]);
        assert_eq!((&response["status"], &response["usage"]["total_tokens"]), (&json!("completed"), &json!(8)));
        assert_eq!(response["slm"], json!({"evaluation_id": "e", "prompt_digest": "p"}));
    }

    #[test]
    fn a_whole_answer_is_what_its_stream_adds_up_to() {
        let pieces = vec![Piece::Thinking("hm".into()), text("a"), call(), Piece::End(end(Finish::Length))];
        let streamed = events(Calls::Any, pieces, None).pop().unwrap();
        assert_eq!(streamed["type"], "response.incomplete");
        let Piece::Call(call) = call() else { unreachable!("a call is a call") };
        let finished = Finished {
            text: "a".into(),
            tokens: Vec::new(),
            thinking: "hm".into(),
            calls: vec![call],
            end: end(Finish::Length),
        };
        let mut whole = json!(whole(head(Calls::Any), finished));
        assert_eq!(whole["incomplete_details"], json!({"reason": "max_output_tokens"}));
        for (item, id) in whole["output"].as_array_mut().unwrap().iter_mut().zip(["rs_", "msg_", "fc_"]) {
            assert!(item["id"].as_str().unwrap().starts_with(id), "{item}");
        }
        let nameless = |mut response: Value| {
            response["output"].as_array_mut().unwrap().iter_mut().for_each(|item| item["id"] = Value::Null);
            response
        };
        assert_eq!(nameless(whole), nameless(streamed["response"].clone()));
    }

    #[test]
    fn an_answer_without_words_is_an_empty_message() {
        let outputs = |pieces: Vec<Piece>| -> Vec<(Value, Value)> {
            let response = events(Calls::Any, pieces, None).pop().unwrap()["response"].take();
            response["output"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| (item["type"].clone(), item["status"].clone()))
                .collect()
        };
        let thought = || Piece::Thinking("hm".into());
        let of = |items: &[(&str, &str)]| -> Vec<(Value, Value)> {
            items.iter().map(|&(a, b)| (a.into(), b.into())).collect()
        };
        assert_eq!(outputs(vec![Piece::End(end(Finish::Stop))]), of(&[("message", "completed")]));
        assert_eq!(
            outputs(vec![thought(), Piece::End(end(Finish::Stop))]),
            of(&[("reasoning", "completed"), ("message", "completed")])
        );
        assert_eq!(outputs(vec![thought(), Piece::End(end(Finish::Length))]), of(&[("reasoning", "incomplete")]));
        assert_eq!(outputs(vec![call(), Piece::End(end(Finish::Stop))]), of(&[("function_call", "completed")]));
    }

    #[test]
    fn what_breaks_off_says_why_in_its_last_event() {
        let problem = Problem::new(crate::api::problem::Kind::Failed, "the process ended");
        let events = events(Calls::Any, vec![text("a")], Some(&problem));
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
        assert_eq!(last["response"]["error"], json!({"code": "server_error", "message": "the process ended"}));
        let item = &last["response"]["output"][0];
        assert_eq!((&item["status"], &item["content"][0]["text"]), (&json!("incomplete"), &json!("a")));
    }
}
