//! A forced call: how the answer begins, and the contract that the rest of it is written under.
//!
//! The beginning is put after the prompt as if the model had written it; what the model then writes is one JSON object,
//! under a grammar, so that its name is a tool's and its arguments meet their schema. A format in which calls are not JSON
//! (tags, Python's) is not used then: models of all families write JSON.

use serde_json::{Map, Value as Json, json};

use super::call::ToolCall;
use super::call_format::CallFormat;
use super::choice::ToolChoice;
use super::error::ToolError;
use super::tool::Tool;
use crate::contract::{Open, Violation};

/// How a model is made to write one call.
#[derive(Debug, Clone)]
pub struct ForcedCall {
    lead: String,
    open: Open,
    /// The tool, where its name is in the lead.
    name: Option<String>,
}

impl ForcedCall {
    /// The call that a choice asks for; `None` where it leaves that to the model. `at` is the place of the tools.
    ///
    /// # Errors
    /// The chosen tool is missing, or a tool's parameters are a schema that is not supported: with its place and keyword.
    pub fn new(
        format: CallFormat,
        tools: &[Tool],
        choice: &ToolChoice,
        at: &str,
    ) -> Result<Option<ForcedCall>, ToolError> {
        choice.check(tools, "tool_choice")?;
        let is_chosen = |tool: &Tool| match choice {
            ToolChoice::Auto | ToolChoice::None => false,
            ToolChoice::Required => true,
            ToolChoice::Named(name) => tool.name() == name,
        };
        let chosen: Vec<(usize, &Tool)> = tools.iter().enumerate().filter(|(_, tool)| is_chosen(tool)).collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        // Each by itself, so that an error names its place.
        for &(number, tool) in &chosen {
            let at = || format!("{at}[{number}].function.parameters");
            Open::from_schema(parameters(tool)).map_err(|error| ToolError::Parameters { at: at(), error })?;
        }
        let refused = |error| ToolError::Parameters { at: at.to_owned(), error };
        if let [(_, tool)] = *chosen
            && let Some(lead) = format.lead_with(tool.name())
        {
            let open = Open::from_schema(parameters(tool)).map_err(refused)?;
            return Ok(Some(ForcedCall { lead, open, name: Some(tool.name().to_owned()) }));
        }
        let key = format.arguments_key();
        let schema = match &*chosen {
            [(_, tool)] => object(tool, key, ""),
            several => {
                let one =
                    |(number, (_, tool)): (usize, &(usize, &Tool))| object(tool, key, &format!("/anyOf/{number}"));
                json!({"anyOf": several.iter().enumerate().map(one).collect::<Vec<_>>()})
            }
        };
        let open = Open::from_schema(schema).map_err(refused)?;
        Ok(Some(ForcedCall { lead: format.lead(), open, name: None }))
    }

    /// What the answer begins with: it goes after the prompt, with the special tokens in it.
    #[must_use]
    pub fn lead(&self) -> &str {
        &self.lead
    }

    /// The contract for what the model writes after that.
    #[must_use]
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// The call that was written after the lead.
    ///
    /// # Errors
    /// [`Violation`]: the text is unfinished.
    pub fn call(&self, text: &str) -> Result<ToolCall, Violation> {
        let Json::Object(mut written) = self.open.check(text)? else {
            return Err(Violation::NotJson("it is not an object".to_owned()));
        };
        if let Some(name) = &self.name {
            return Ok(ToolCall::new(name, written));
        }
        let mut take = |key: &str| written.shift_remove(key).unwrap_or_default();
        let (name, arguments) = (take("name"), [take("arguments"), take("parameters")]);
        let arguments = arguments.into_iter().find_map(|json| match json {
            Json::Object(fields) => Some(fields),
            _ => None,
        });
        Ok(ToolCall::new(name.as_str().unwrap_or_default(), arguments.unwrap_or_default()))
    }
}

/// The schema of a call of one tool; `place` is the pointer to it in the whole schema.
fn object(tool: &Tool, key: &str, place: &str) -> Json {
    let mut arguments = parameters(tool);
    move_references(&mut arguments, &format!("#{place}/properties/{key}"));
    json!({
        "type": "object",
        "properties": {"name": {"const": tool.name()}, key: arguments},
        "required": ["name", key],
        "additionalProperties": false,
    })
}

fn parameters(tool: &Tool) -> Json {
    match tool.parameters() {
        Some(Json::Object(fields)) => {
            let mut fields = fields.clone();
            if !fields.contains_key("type") {
                fields.insert("type".to_owned(), "object".into());
            }
            fields.into()
        }
        _ => json!({"type": "object", "properties": {}, "additionalProperties": false}),
    }
}

/// Makes the references within a schema point to where it is now.
fn move_references(schema: &mut Json, place: &str) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(|item| move_references(item, place)),
        Json::Object(fields) => move_in_fields(fields, place),
        _ => {}
    }
}

fn move_in_fields(fields: &mut Map<String, Json>, place: &str) {
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("const" | "enum" | "default" | "examples", _) => {}
            ("$ref", Json::String(pointer)) => {
                if let Some(within) = pointer.strip_prefix('#') {
                    *pointer = format!("{place}{within}");
                }
            }
            (_, value) => move_references(value, place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, parameters: Option<Json>) -> Tool {
        Tool::new(name, None, parameters.as_ref(), "tools[0]").unwrap()
    }

    fn forced(format: CallFormat, tools: &[Tool], choice: &ToolChoice) -> ForcedCall {
        ForcedCall::new(format, tools, choice, "tools").unwrap().unwrap()
    }

    #[test]
    fn a_call_is_forced_in_each_format() {
        let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let tools = [tool("get_weather", Some(city)), tool("now", None)];
        let cases = [
            (CallFormat::TAGGED, "<tool_call>\n", "arguments"),
            (CallFormat::TAGS, "<tool_call>\n", "arguments"),
            (CallFormat::BARE, "", "parameters"),
            (CallFormat::MISTRAL, "[TOOL_CALLS][", "arguments"),
            (CallFormat::MISTRAL_NAMED, "[TOOL_CALLS]", "arguments"),
            (CallFormat::PHI, "<|tool_call|>[", "arguments"),
            (CallFormat::LFM, "<|tool_call_start|>[", "arguments"),
            (CallFormat::GEMMA, "<|tool_call>", "arguments"),
            (CallFormat::MINICPM, "", "arguments"),
        ];
        for (format, lead, key) in cases {
            let call = forced(format, &tools, &ToolChoice::Required);
            assert_eq!(call.lead(), lead);
            let oslo = call.call(&format!("{{\"name\": \"get_weather\", \"{key}\": {{\"city\": \"Oslo\"}}}}")).unwrap();
            assert_eq!(oslo.json()["function"], json!({"name": "get_weather", "arguments": {"city": "Oslo"}}));
            let now = call.call(&format!("{{\"name\": \"now\", \"{key}\": {{}}}}")).unwrap();
            assert_eq!(now, ToolCall::new("now", Map::new()));
            let wrong = [
                format!("{{\"name\": \"now\", \"{key}\": {{\"city\": \"Oslo\"}}}}"),
                format!("{{\"name\": \"get_weather\", \"{key}\": {{}}}}"),
                format!("{{\"name\": \"later\", \"{key}\": {{}}}}"),
                "{\"name\": \"now\"}".to_owned(),
                "{\"name\": ".to_owned(),
            ];
            for text in wrong {
                assert!(call.call(&text).is_err(), "{text}");
            }
        }
        let named = forced(CallFormat::MISTRAL_NAMED, &tools, &ToolChoice::Named("now".to_owned()));
        assert_eq!(
            (named.lead(), named.call("{}").unwrap()),
            ("[TOOL_CALLS]now[ARGS]", ToolCall::new("now", Map::new()))
        );
        let named = forced(CallFormat::GEMMA, &tools, &ToolChoice::Named("now".to_owned()));
        assert_eq!(named.lead(), "<|tool_call>call:now");
        let named = forced(CallFormat::TAGGED, &tools, &ToolChoice::Named("now".to_owned()));
        assert!(named.call("{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}").is_err());
    }

    #[test]
    fn without_a_choice_nothing_is_certain() {
        let tools = [tool("now", None)];
        for choice in [ToolChoice::Auto, ToolChoice::None] {
            assert!(ForcedCall::new(CallFormat::TAGGED, &tools, &choice, "tools").unwrap().is_none());
        }
        assert!(ForcedCall::new(CallFormat::TAGGED, &[], &ToolChoice::Required, "tools").is_err());
    }

    #[test]
    fn references_point_into_their_own_tool() {
        let tree = |leaf: &str| {
            json!({
                "$defs": {"node": {"type": "object", "properties": {
                    "v": {"type": leaf}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                }, "required": ["v", "next"], "additionalProperties": false}},
                "properties": {"root": {"$ref": "#/$defs/node"}},
                "required": ["root"],
            })
        };
        let tools = [tool("texts", Some(tree("string"))), tool("numbers", Some(tree("integer")))];
        let both = forced(CallFormat::TAGGED, &tools, &ToolChoice::Required);
        let text = |name: &str, value: &str| {
            format!(
                "{{\"name\": \"{name}\", \"arguments\": {{\"root\": {{\"v\": {value}, \"next\": {{\"v\": {value}, \"next\": null}}}}}}}}"
            )
        };
        assert!(both.call(&text("texts", "\"a\"")).is_ok() && both.call(&text("numbers", "3")).is_ok());
        assert!(both.call(&text("texts", "3")).is_err() && both.call(&text("numbers", "\"a\"")).is_err());
        let one = forced(CallFormat::BARE, &tools, &ToolChoice::Named("numbers".to_owned()));
        assert!(one.call(&text("numbers", "3").replace("arguments", "parameters")).is_ok());
    }

    #[test]
    fn parameters_that_cannot_be_kept_are_refused_with_their_place() {
        let parameters = json!({"properties": {"tags": {"type": "array", "uniqueItems": true}}});
        let tools = [tool("now", None), tool("tag", Some(parameters))];
        let refused = |choice| ForcedCall::new(CallFormat::TAGGED, &tools, &choice, "tools").unwrap_err().to_string();
        let expected = "`tools[1].function.parameters`: the schema at `/properties/tags/uniqueItems` is not supported: \
                        `uniqueItems` cannot be enforced; give the items an `enum` and few `maxItems`, or remove it \
                        and check the answers yourself";
        assert_eq!(refused(ToolChoice::Required), expected);
        assert_eq!(refused(ToolChoice::Named("tag".to_owned())), expected);
        // Nobody asks for that one.
        assert!(ForcedCall::new(CallFormat::TAGGED, &tools, &ToolChoice::Named("now".to_owned()), "tools").is_ok());
    }
}
