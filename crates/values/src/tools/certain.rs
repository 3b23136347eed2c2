//! A call that is certain: how the answer begins, and the contract that the rest of it is written under.
//!
//! The beginning is put behind the prompt as if the model had written it; what the model then writes is one object of JSON,
//! under a grammar, so that its name is a tool's and its arguments meet their schema. A form in which calls are no JSON
//! (tags, Python's) is not spoken then: models of all families write JSON.

use serde_json::{Map, Value as Json, json};

use super::form::Form;
use super::{Tool, ToolCall, ToolChoice, ToolError};
use crate::contract::{Open, Violation};

/// How a model is brought to make one call.
#[derive(Debug, Clone)]
pub struct Certain {
    lead: String,
    open: Open,
    /// The tool, where its name stands in the lead.
    name: Option<String>,
}

impl Certain {
    /// The call that a choice asks for; nothing where it leaves that to the model. `at` is the place of the tools.
    ///
    /// # Errors
    /// The choice is of no such tool, or a tool's parameters are a schema that cannot be kept: with its place and keyword.
    pub fn new(form: Form, tools: &[Tool], choice: &ToolChoice, at: &str) -> Result<Option<Certain>, ToolError> {
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
            && let Some(lead) = form.lead_with(tool.name())
        {
            let open = Open::from_schema(parameters(tool)).map_err(refused)?;
            return Ok(Some(Certain { lead, open, name: Some(tool.name().to_owned()) }));
        }
        let key = form.arguments_key();
        let schema = match &*chosen {
            [(_, tool)] => object(tool, key, ""),
            several => {
                let one =
                    |(number, (_, tool)): (usize, &(usize, &Tool))| object(tool, key, &format!("/anyOf/{number}"));
                json!({"anyOf": several.iter().enumerate().map(one).collect::<Vec<_>>()})
            }
        };
        let open = Open::from_schema(schema).map_err(refused)?;
        Ok(Some(Certain { lead: form.lead(), open, name: None }))
    }

    /// What the answer begins with: it goes behind the prompt, with the special tokens in it.
    #[must_use]
    pub fn lead(&self) -> &str {
        &self.lead
    }

    /// What the model writes behind that.
    #[must_use]
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// The call that was written behind the lead.
    ///
    /// # Errors
    /// [`Violation`]: the text is unfinished.
    pub fn call(&self, text: &str) -> Result<ToolCall, Violation> {
        let Json::Object(mut written) = self.open.check(text)? else {
            return Err(Violation::NotJson("it is no object".to_owned()));
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

/// The schema of a call of one tool; `place` is the pointer to it in the whole.
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

/// Lets the references within a schema point to where it stands now.
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

    fn certain(form: Form, tools: &[Tool], choice: &ToolChoice) -> Certain {
        Certain::new(form, tools, choice, "tools").unwrap().unwrap()
    }

    #[test]
    fn a_call_is_certain_in_each_form() {
        let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let tools = [tool("get_weather", Some(city)), tool("now", None)];
        let cases = [
            (Form::TAGGED, "<tool_call>\n", "arguments"),
            (Form::TAGS, "<tool_call>\n", "arguments"),
            (Form::BARE, "", "parameters"),
            (Form::MISTRAL, "[TOOL_CALLS][", "arguments"),
            (Form::MISTRAL_NAMED, "[TOOL_CALLS]", "arguments"),
            (Form::PHI, "<|tool_call|>[", "arguments"),
            (Form::LFM, "<|tool_call_start|>[", "arguments"),
            (Form::GEMMA, "<|tool_call>", "arguments"),
            (Form::MINICPM, "", "arguments"),
        ];
        for (form, lead, key) in cases {
            let certain = certain(form, &tools, &ToolChoice::Required);
            assert_eq!(certain.lead(), lead);
            let oslo =
                certain.call(&format!("{{\"name\": \"get_weather\", \"{key}\": {{\"city\": \"Oslo\"}}}}")).unwrap();
            assert_eq!(oslo.json()["function"], json!({"name": "get_weather", "arguments": {"city": "Oslo"}}));
            let now = certain.call(&format!("{{\"name\": \"now\", \"{key}\": {{}}}}")).unwrap();
            assert_eq!(now, ToolCall::new("now", Map::new()));
            let wrong = [
                format!("{{\"name\": \"now\", \"{key}\": {{\"city\": \"Oslo\"}}}}"),
                format!("{{\"name\": \"get_weather\", \"{key}\": {{}}}}"),
                format!("{{\"name\": \"later\", \"{key}\": {{}}}}"),
                "{\"name\": \"now\"}".to_owned(),
                "{\"name\": ".to_owned(),
            ];
            for text in wrong {
                assert!(certain.call(&text).is_err(), "{text}");
            }
        }
        let named = certain(Form::MISTRAL_NAMED, &tools, &ToolChoice::Named("now".to_owned()));
        assert_eq!(
            (named.lead(), named.call("{}").unwrap()),
            ("[TOOL_CALLS]now[ARGS]", ToolCall::new("now", Map::new()))
        );
        let named = certain(Form::GEMMA, &tools, &ToolChoice::Named("now".to_owned()));
        assert_eq!(named.lead(), "<|tool_call>call:now");
        let named = certain(Form::TAGGED, &tools, &ToolChoice::Named("now".to_owned()));
        assert!(named.call("{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}").is_err());
    }

    #[test]
    fn without_a_choice_nothing_is_certain() {
        let tools = [tool("now", None)];
        for choice in [ToolChoice::Auto, ToolChoice::None] {
            assert!(Certain::new(Form::TAGGED, &tools, &choice, "tools").unwrap().is_none());
        }
        assert!(Certain::new(Form::TAGGED, &[], &ToolChoice::Required, "tools").is_err());
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
        let both = certain(Form::TAGGED, &tools, &ToolChoice::Required);
        let text = |name: &str, value: &str| {
            format!(
                "{{\"name\": \"{name}\", \"arguments\": {{\"root\": {{\"v\": {value}, \"next\": {{\"v\": {value}, \"next\": null}}}}}}}}"
            )
        };
        assert!(both.call(&text("texts", "\"a\"")).is_ok() && both.call(&text("numbers", "3")).is_ok());
        assert!(both.call(&text("texts", "3")).is_err() && both.call(&text("numbers", "\"a\"")).is_err());
        let one = certain(Form::BARE, &tools, &ToolChoice::Named("numbers".to_owned()));
        assert!(one.call(&text("numbers", "3").replace("arguments", "parameters")).is_ok());
    }

    #[test]
    fn parameters_that_cannot_be_kept_are_refused_with_their_place() {
        let parameters = json!({"properties": {"tags": {"type": "array", "uniqueItems": true}}});
        let tools = [tool("now", None), tool("tag", Some(parameters))];
        let refused = |choice| Certain::new(Form::TAGGED, &tools, &choice, "tools").unwrap_err().to_string();
        let expected = "`tools[1].function.parameters`: the schema at `/properties/tags/uniqueItems` cannot be kept: \
                        `uniqueItems` cannot be held while text is written; leave it away and check the answers yourself";
        assert_eq!(refused(ToolChoice::Required), expected);
        assert_eq!(refused(ToolChoice::Named("tag".to_owned())), expected);
        // Nobody asks for that one.
        assert!(Certain::new(Form::TAGGED, &tools, &ToolChoice::Named("now".to_owned()), "tools").is_ok());
    }
}
