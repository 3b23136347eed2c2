//! The functions of a template beside gotmpl's own: Ollama's, and those of Go's that write texts, with their costs.

use gotmpl::{FuncMap, Template, TemplateError, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::super::date::Date;
use super::super::renderer::Originals;
use super::meter::{ARGUMENT, AT, Meter, SHOWN};
use super::printed::{json, shown, text};
use super::values;

/// Go's own functions.
const BUILT_IN: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];
/// Ollama's functions.
const OLLAMAS: [&str; 4] = ["currentDate", "json", "toTypeScriptType", "yesterdayDate"];

/// The most that gotmpl pads a value of `printf` to.
const MAX_PADDING: u64 = 1 << 16;
/// The most bytes that `printf` makes of one byte, with all its escapes.
const MAX_ESCAPE: u64 = 12;

/// Whether a template may call a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    BUILT_IN.contains(&name) || OLLAMAS.contains(&name)
}

/// The functions of one rendering.
pub(super) fn all(date: Date, meter: &Arc<Meter>, twins: &Originals) -> FuncMap {
    let mut functions = FuncMap::new();
    let mut add = |name: &str, function: fn(&Meter, &[Value], &Originals) -> Result<Value, TemplateError>| {
        let (meter, twins) = (Arc::clone(meter), Arc::clone(twins));
        functions.insert(name.to_owned(), Arc::new(move |arguments: &[Value]| function(&meter, arguments, &twins)));
    };
    add(AT, |meter, arguments, _| meter.at(arguments));
    add(ARGUMENT, |meter, arguments, _| meter.argument(arguments));
    add(SHOWN, |meter, arguments, twins| {
        arguments.iter().try_for_each(|value| meter.take_bytes(size(value)))?;
        Ok(arguments.first().map_or(Value::Nil, |value| shown(value, twins)))
    });
    add("print", |meter, arguments, twins| written(meter, arguments, twins, print));
    add("println", |meter, arguments, twins| written(meter, arguments, twins, println));
    add("printf", printf);
    add("html", |meter, values, twins| {
        written(meter, values, twins, |values| gotmpl::html_escape(&in_one_text(values)))
    });
    add("js", |meter, values, twins| written(meter, values, twins, |values| gotmpl::js_escape(&in_one_text(values))));
    add("urlquery", |meter, values, twins| {
        written(meter, values, twins, |values| gotmpl::url_encode(&in_one_text(values)))
    });
    add("json", |meter, arguments, twins| match arguments {
        [value] => {
            meter.take_bytes(size(value))?;
            Ok(text(&json(value, twins)))
        }
        _ => Err(TemplateError::Exec(format!("json takes one value, not {}", arguments.len()))),
    });
    add("toTypeScriptType", |meter, arguments, _| {
        arguments.iter().try_for_each(|value| meter.take_bytes(size(value)))?;
        Ok(text(&arguments.first().map_or_else(|| "any".to_owned(), values::typescript)))
    });
    for (name, day) in [("currentDate", date), ("yesterdayDate", date.previous())] {
        let day = day.strftime("%Y-%m-%d");
        functions.insert(name.to_owned(), Arc::new(move |_: &[Value]| Ok(text(&day))));
    }
    functions
}

/// What a function writes of its arguments, after all their bytes were counted.
fn written(
    meter: &Meter,
    arguments: &[Value],
    twins: &Originals,
    write: impl Fn(&[Value]) -> String,
) -> Result<Value, TemplateError> {
    arguments.iter().try_for_each(|value| meter.take_bytes(size(value)))?;
    let arguments: Vec<Value> = arguments.iter().map(|value| shown(value, twins)).collect();
    Ok(text(&write(&arguments)))
}

/// About the bytes that a value takes when it is written.
fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::List(items) => items.iter().map(|item| size(item) + 1).sum(),
        Value::Map(fields) => fields.iter().map(|(name, field)| name.len() as u64 + size(field) + 4).sum(),
        _ => 24,
    }
}

/// Go's `Sprint`: a space only between two values that are not texts.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::String(_));
        if at > 0 && !is_text(&values[at - 1]) && !is_text(value) {
            out.push(' ');
        }
        // Writing to a text cannot fail.
        let _ = write!(out, "{value}");
    }
    out
}

fn println(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    texts.join(" ") + "\n"
}

/// The text that Go's escaping functions take: one value as it is, of several what `print` makes of them.
fn in_one_text(values: &[Value]) -> String {
    match values {
        [Value::Nil] => "<no value>".to_owned(),
        values => print(values),
    }
}

/// gotmpl's `printf`, after the most that it could write was counted: a format may use one value again and again.
fn printf(meter: &Meter, arguments: &[Value], twins: &Originals) -> Result<Value, TemplateError> {
    arguments.iter().try_for_each(|value| meter.take_bytes(size(value)))?;
    let arguments: Vec<Value> = arguments.iter().map(|value| shown(value, twins)).collect();
    let Some((Value::String(format), values)) = arguments.split_first() else {
        return Err(TemplateError::Exec("printf takes a format first".to_owned()));
    };
    let n_verbs = format.bytes().filter(|byte| *byte == b'%').count() as u64;
    let largest = values.iter().map(size).max().unwrap_or(0);
    let is_padded = format.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*');
    let padding = if is_padded { MAX_PADDING } else { 0 };
    meter.take_bytes(format.len() as u64 + n_verbs * (largest * MAX_ESCAPE + padding))?;
    let names: Vec<String> = (0..arguments.len()).map(|number| format!("A{number}")).collect();
    let source: String = names.iter().map(|name| format!(" .{name}")).collect();
    let named = names.into_iter().zip(arguments.iter().cloned()).map(|(name, value)| (Arc::from(name), value));
    let values = Value::Map(Arc::new(named.collect::<BTreeMap<Arc<str>, Value>>()));
    let written = Template::new("").parse(&format!("{{{{printf{source}}}}}"))?.execute_to_string(&values)?;
    Ok(text(&written))
}
