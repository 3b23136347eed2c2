//! `slm show`: what a model is made of, and where its prompt comes from.

use serde_json::json;

use super::args::ShowArgs;
use super::environment::{Environment, timestamp};
use super::list::details;
use super::load::{self, is_jinja};
use crate::failure::{Exit, Outcome};
use crate::gguf::Header;
use crate::modelfile::Format;
use crate::store::{Model, Weights};
use crate::ui::output::Output;

/// Shows one model.
///
/// # Errors
/// There is no such model, or its files cannot be read.
pub fn run(args: &ShowArgs, environment: &Environment) -> Outcome {
    let model = load::find(&args.model, environment)?;
    let mut output = Output::default();
    if args.modelfile {
        output.text(&model.modelfile().to_string())?;
        return Ok(Exit::Done);
    }
    let header = model.weights.header()?;
    if args.json {
        output.json(&as_json(&model, &header))?;
    } else {
        let page = page(&model, &header);
        output.text(&page)?;
    }
    Ok(Exit::Done)
}

/// Which template renders the prompt, and who brought it.
fn template_source(model: &Model, header: &Header) -> &'static str {
    match (&model.template, header.chat_template()) {
        (Some(template), _) if is_jinja(template) => "TEMPLATE of the Modelfile (Jinja)",
        (Some(_), Some(_)) => "the GGUF's own (Jinja); the Modelfile's TEMPLATE is in Go's language and kept",
        (None, Some(_)) => "the GGUF's own (Jinja)",
        (_, None) => "none: texts are given as they are",
    }
}

fn page(model: &Model, header: &Header) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let weights = match model.weights {
        Weights::Embedded(_) => "built into slm".to_owned(),
        Weights::Blob(_) => model.weights_digest.to_string(),
    };
    let mut lines = vec![
        ("name", model.name.to_string()),
        ("digest", model.digest.to_string()),
        ("weights", weights),
        ("architecture", header.architecture().to_owned()),
        ("parameters", header.size_label()),
        ("quantization", header.quantization().to_owned()),
        ("context length", number(header.context_length())),
        ("embedding length", number(header.embedding_length())),
        ("layers", number(header.block_count())),
        ("vocabulary", format!("{} tokens", header.n_tokens())),
        ("chat template", template_source(model, header).to_owned()),
    ];
    let parameters = model.parameters.to_json();
    for (name, value) in parameters.as_object().into_iter().flatten() {
        lines.push(("parameter", format!("{name} {value}")));
    }
    let mut page: String = lines.into_iter().map(|(name, value)| format!("{name:<17}{value}\n")).collect();
    let section = |title: &str, text: &str| format!("\n{title}\n{}\n", indented(text));
    if let Some(system) = &model.system {
        page += &section("system", system);
    }
    if let Some(format) = &model.format {
        page += &section("format", &format_json(format).to_string());
    }
    for message in &model.messages {
        page += &section(&format!("message {}", message.role.as_str()), &message.content);
    }
    for license in &model.licenses {
        // The first lines name a licence; the rest is for --json.
        let first: Vec<&str> = license.trim().lines().take(2).collect();
        page += &section("license", &first.join("\n"));
    }
    page
}

fn format_json(format: &Format) -> serde_json::Value {
    match format {
        Format::Json => "json".into(),
        Format::Schema(schema) => schema.clone(),
        Format::File(path) => format!("@{path}").into(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}

/// A model in the words of Ollama's `/api/show`, with our format.
fn as_json(model: &Model, header: &Header) -> serde_json::Value {
    json!({
        "name": model.name.to_string(),
        "digest": model.digest.hex(),
        "modelfile": model.modelfile().to_string(),
        "parameters": model.parameters.to_json(),
        "template": model.template.as_deref().or(header.chat_template()),
        "template_source": template_source(model, header),
        "system": model.system,
        "messages": model.messages,
        "format": model.format.as_ref().map(format_json),
        "license": model.licenses.join("\n\n"),
        "details": details(&model.config),
        "model_info": header.model_info(),
        "modified_at": model.modified.map(timestamp),
        "size": model.manifest.total_bytes(),
    })
}
