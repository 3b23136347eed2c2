//! A function that a model may call, read from its wire form and kept as it was given.

use serde_json::{Map, Value as Json};

use super::error::ToolError;
use super::limits::{MAX_BYTES, MAX_DEPTH, MAX_TOOLS};
use super::located::Located;

/// One function that a model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    name: String,
    description: Option<String>,
    parameters: Option<Json>,
    raw: Json,
}

impl Tool {
    /// A tool of its parts; `parameters` is the JSON Schema of the arguments.
    ///
    /// # Errors
    /// The name is invalid, the parameters are not the schema of an object, or there is too much of it; the error's place is
    /// within `at`.
    pub fn new(name: &str, description: Option<&str>, parameters: Option<&Json>, at: &str) -> Result<Tool, ToolError> {
        let mut function = Map::from_iter([("name".to_owned(), Json::from(name))]);
        function.extend(description.map(|text| ("description".to_owned(), text.into())));
        function.extend(parameters.map(|schema| ("parameters".to_owned(), schema.clone())));
        let mut raw = Map::from_iter([("type".to_owned(), Json::from("function"))]);
        raw.insert("function".to_owned(), function.into());
        let raw = raw.into();
        let tool = Located::new(&raw, at);
        tool.bounded(MAX_BYTES, MAX_DEPTH)?;
        Tool::read(&tool)
    }

    /// The tools of a request's list; `at` is the list's place in the request, such as `tools`.
    ///
    /// # Errors
    /// [`ToolError`], with the place.
    pub fn list(json: &Json, at: &str) -> Result<Vec<Tool>, ToolError> {
        Tool::list_without(json, at, |_, _| false)
    }

    /// As [`Tool::list`], without those that the caller leaves out; it is asked of each, with its place.
    ///
    /// # Errors
    /// [`ToolError`], with the place.
    pub fn list_without(
        json: &Json,
        at: &str,
        mut is_left_out: impl FnMut(&Json, &str) -> bool,
    ) -> Result<Vec<Tool>, ToolError> {
        let list = Located::new(json, at);
        list.bounded(MAX_BYTES, MAX_DEPTH)?;
        let mut tools: Vec<Tool> = Vec::new();
        for item in list.items(MAX_TOOLS)? {
            if is_left_out(item.json, &item.at) {
                continue;
            }
            let tool = Tool::read(&item)?;
            if tools.iter().any(|earlier| earlier.name == tool.name) {
                return Err(ToolError::Twice { at: format!("{}.function.name", item.at), name: tool.name });
            }
            tools.push(tool);
        }
        Ok(tools)
    }

    fn read(tool: &Located) -> Result<Tool, ToolError> {
        tool.known(&["type", "function"])?;
        tool.function_type()?;
        let function = tool.field("function")?;
        function.known(&["name", "description", "parameters", "strict"])?;
        let name = function.field("name")?;
        let description = function.optional("description").map(|text| text.text()).transpose()?;
        if let Some(strict) = function.optional("strict") {
            strict.boolean()?;
        }
        let parameters = function.optional("parameters");
        if let Some(schema) = &parameters {
            schema.object()?;
            if let Some(kind) = schema.optional("type")
                && kind.json != "object"
            {
                let found = kind.json.to_string();
                return Err(ToolError::Value { at: kind.at, found, known: "an `object` of arguments" });
            }
        }
        Ok(Tool {
            name: name.tool_name()?.to_owned(),
            description: description.map(str::to_owned),
            parameters: parameters.map(|schema| schema.json.clone()),
            raw: tool.json.clone(),
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The JSON Schema of the arguments, an object; a tool without one takes none.
    #[must_use]
    pub fn parameters(&self) -> Option<&Json> {
        self.parameters.as_ref()
    }

    /// The tool as it was given, with `type` and `function`: what templates are shown.
    #[must_use]
    pub fn json(&self) -> &Json {
        &self.raw
    }
}
