//! How tools, calls and choices are read, and how wrong ones are refused.

use serde_json::{Value as Json, json};

use super::{Tool, ToolCall, ToolChoice};

fn weather() -> Json {
    json!({"type": "function", "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }})
}

fn refused(json: Json) -> String {
    Tool::list(&json, "tools").expect_err(&json.to_string()).to_string()
}

#[test]
fn tools_are_read_and_kept_as_given() {
    let given =
        json!([weather(), {"type": "function", "function": {"name": "now", "description": null, "strict": true}}]);
    let tools = Tool::list(&given, "tools").unwrap();
    assert_eq!((tools[0].name(), tools[0].description()), ("get_weather", Some("The weather of a place")));
    assert_eq!(tools[0].parameters(), weather().pointer("/function/parameters"));
    assert_eq!((tools[1].name(), tools[1].description(), tools[1].parameters()), ("now", None, None));
    assert_eq!(Json::from_iter(tools.iter().map(|tool| tool.json().clone())), given);
    let made = Tool::new("get_weather", tools[0].description(), tools[0].parameters(), "tools[0]").unwrap();
    assert_eq!(made, tools[0]);
}

#[test]
fn a_wrong_tool_is_refused_with_its_place() {
    let function = |function: Json| json!([weather(), {"type": "function", "function": function}]);
    let cases = [
        (json!({}), "`tools` is an object, and must be a list"),
        (json!([null]), "`tools[0]` is null, and must be an object"),
        (json!([{"type": "function"}]), "`tools[0].function` is missing"),
        (json!([{"type": 1}]), "`tools[0].type` is a number, and must be a text"),
        (json!([{"type": "web_search"}]), "`tools[0].type` is `web_search`, and only `function` can be used"),
        (
            json!([{"type": "function", "function": {"name": "a"}, "cache": true}]),
            "`tools[0].cache` is not supported; there can be `type`, `function`",
        ),
        (function(json!("f")), "`tools[1].function` is a text, and must be an object"),
        (function(json!({})), "`tools[1].function.name` is missing"),
        (function(json!({"name": ["f"]})), "`tools[1].function.name` is a list, and must be a text"),
        (
            function(json!({"name": "get weather"})),
            "`tools[1].function.name`: `get weather` cannot name a tool: it takes 1 to 128 letters, digits and the signs \
             `_`, `-`, `.`, `/` and `:`",
        ),
        (
            function(json!({"name": "f", "description": 5})),
            "`tools[1].function.description` is a number, and must be a text",
        ),
        (
            function(json!({"name": "f", "strict": "yes"})),
            "`tools[1].function.strict` is a text, and must be true or false",
        ),
        (
            function(json!({"name": "f", "parameters": []})),
            "`tools[1].function.parameters` is a list, and must be an object",
        ),
        (
            function(json!({"name": "f", "parameters": {"type": "array"}})),
            "`tools[1].function.parameters.type` is `\"array\"`, and only an `object` of arguments can be used",
        ),
        (function(json!({"name": "get_weather"})), "`tools[1].function.name`: a tool `get_weather` is given twice"),
    ];
    for (json, message) in cases {
        assert_eq!(refused(json), message);
    }
}

#[test]
fn too_much_is_refused_with_both_numbers() {
    let many: Vec<Json> =
        (0..129).map(|n| json!({"type": "function", "function": {"name": format!("f{n}")}})).collect();
    assert_eq!(refused(many.into()), "`tools` has 129 entries, and at most 128 are taken");
    let long = json!([{"type": "function", "function": {"name": "f", "description": "x".repeat(1 << 20)}}]);
    assert_eq!(refused(long), "`tools` has 1048638 bytes, and at most 1048576 are taken");
    let mut deep = json!({});
    for _ in 0..64 {
        deep = json!({"properties": deep});
    }
    let deep = json!([{"type": "function", "function": {"name": "f", "parameters": deep}}]);
    assert_eq!(refused(deep), "`tools` is nested more than 64 deep");
}

#[test]
fn calls_are_read_in_both_apis_forms() {
    let ollamas = json!({"function": {"index": 0, "name": "get_weather", "arguments": {"city": "Oslo"}}});
    let openais = json!({"id": "call_1", "type": "function", "index": 0, "function": {"name": "get_weather", "arguments": "{\"city\": \"Oslo\"}"}});
    let calls = ToolCall::list(&json!([ollamas, openais]), "tool_calls").unwrap();
    assert_eq!((calls[0].id.as_deref(), calls[1].id.as_deref()), (None, Some("call_1")));
    for call in &calls {
        assert_eq!((call.name.as_str(), &call.arguments["city"]), ("get_weather", &json!("Oslo")));
        assert_eq!(ToolCall::parse(&call.json(), "x").unwrap(), *call);
        assert_eq!(serde_json::from_value::<ToolCall>(serde_json::to_value(call).unwrap()).unwrap(), *call);
    }
    for none in
        [json!({"name": "now"}), json!({"name": "now", "arguments": ""}), json!({"name": "now", "arguments": null})]
    {
        assert!(ToolCall::parse(&json!({"function": none}), "x").unwrap().arguments.is_empty());
    }
    let say = |function: Json| {
        ToolCall::list(&json!([{"function": function}]), "messages[2].tool_calls").unwrap_err().to_string()
    };
    let at = "messages[2].tool_calls[0].function.arguments";
    assert_eq!(
        say(json!({"name": "f", "arguments": [1]})),
        format!("`{at}` is a list, and must be an object, or its JSON as a text")
    );
    assert_eq!(say(json!({"name": "f", "arguments": "[1]"})), format!("`{at}` is a list, and must be an object"));
    assert_eq!(
        say(json!({"name": "f", "arguments": "{"})),
        format!("`{at}` is not JSON: EOF while parsing an object at line 1 column 1")
    );
}

#[test]
fn a_call_of_its_parts_is_held_to_the_same() {
    let call = ToolCall::of_text(Some("call_1".to_owned()), "f", "{\"a\": 1}", "input[2]").unwrap();
    assert_eq!((call.id.as_deref(), call.name.as_str(), &call.arguments["a"]), (Some("call_1"), "f", &json!(1)));
    let say =
        |name: &str, arguments: &str| ToolCall::of_text(None, name, arguments, "input[2]").unwrap_err().to_string();
    assert_eq!(say("f", "[1]"), "`input[2].arguments` is a list, and must be an object");
    assert_eq!(
        say("f g", ""),
        "`input[2].name`: `f g` cannot name a tool: it takes 1 to 128 letters, digits and the signs `_`, `-`, `.`, `/` and `:`"
    );
}

#[test]
fn a_choice_names_an_existing_tool() {
    let parse = |json: Json| ToolChoice::parse(&json, "tool_choice");
    assert_eq!(parse(json!(null)).unwrap(), ToolChoice::Auto);
    assert_eq!(parse(json!("none")).unwrap(), ToolChoice::None);
    assert_eq!(parse(json!("required")).unwrap(), ToolChoice::Required);
    let named = parse(json!({"type": "function", "function": {"name": "now"}})).unwrap();
    assert_eq!(named, ToolChoice::Named("now".to_owned()));
    let tools = Tool::list(&json!([weather()]), "tools").unwrap();
    assert_eq!(
        named.check(&tools, "tool_choice").unwrap_err().to_string(),
        "`tool_choice`: there is no tool `now`; there are `get_weather`"
    );
    assert_eq!(
        ToolChoice::Required.check(&[], "tool_choice").unwrap_err().to_string(),
        "`tool_choice` asks for a call, and there are no tools"
    );
    assert!(ToolChoice::Auto.check(&[], "tool_choice").is_ok() && ToolChoice::Required.check(&tools, "x").is_ok());
    assert_eq!(
        parse(json!("any")).unwrap_err().to_string(),
        "`tool_choice` is `any`, and only `auto`, `none`, `required` or a function can be used"
    );
    assert_eq!(
        parse(json!({"type": "allowed_tools"})).unwrap_err().to_string(),
        "`tool_choice.type` is `allowed_tools`, and only `function` can be used"
    );
    assert_eq!(parse(json!(3)).unwrap_err().to_string(), "`tool_choice` is a number, and must be a text or an object");
}
