//! `slm show`: what a model is made of, and where its prompt comes from.

use clap::Args;
use serde_json::{Value, json};

use super::card;
use super::complete;
use super::environment::{Environment, timestamp};
use super::load;
use super::tensors;
use crate::cascade::{Certificate, Tier, Whom};
use crate::failure::{Exit, Failure, Outcome};
use crate::gguf::{Arrays, Header, LoraPair, TensorInfo};
use crate::load_spec::{self, CascadeSpec, TemplateChoice};
use crate::model_info::{ModelDescription, format_json};
use crate::remote::KeySource;
use crate::store::{Elsewhere, Model, StoredAdapter, Weights};
use crate::tune::card::TuningCard;
use crate::ui::output::Output;
use crate::ui::table::{size, table};

/// Show the details of a model
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Name of the model
    #[arg(add = complete::models())]
    pub model: String,
    /// Print only its Modelfile
    #[arg(long, group = "part")]
    pub modelfile: bool,
    /// Print only its system prompt
    #[arg(long, group = "part")]
    pub system: bool,
    /// Print only its chat template
    #[arg(long, group = "part")]
    pub template: bool,
    /// Print only its parameters
    #[arg(long, group = "part")]
    pub parameters: bool,
    /// Print only its licences
    #[arg(long, group = "part")]
    pub license: bool,
    /// Write JSON
    #[arg(long, group = "part")]
    pub json: bool,
    /// Also show every tensor with its type and shape
    #[arg(short, long)]
    pub verbose: bool,
}

/// Shows one model.
///
/// # Errors
/// There is no such model, or its files cannot be read.
pub fn run(args: &ShowArgs, environment: &Environment) -> Outcome {
    let model = load::find(&args.model, environment)?;
    let mut output = Output::default();
    let text = match args {
        ShowArgs { modelfile: true, .. } => modelfile(&model),
        ShowArgs { system: true, .. } => system(&model),
        ShowArgs { template: true, .. } => template(&model, &model.weights.header()?),
        ShowArgs { parameters: true, .. } => parameters(&model),
        ShowArgs { license: true, .. } => license(&model),
        ShowArgs { json: true, .. } => {
            let mut json = as_json(&model, args)?;
            json["tuning"] = tuning(&model, environment)?.map_or(Value::Null, |card| json!(card));
            format!("{json}\n")
        }
        _ => {
            let tuned = tuning(&model, environment)?.map(|card| format!("\ntuning\n{}\n", indented(&card.page())));
            page(&model)? + &tuned.unwrap_or_default() + &weights(&model, args)?
        }
    };
    output.text(&text)?;
    Ok(Exit::Done)
}

/// The card of the model's adapter, where `slm tune` made it.
fn tuning(model: &Model, environment: &Environment) -> Result<Option<TuningCard>, Failure> {
    let Some(json) = environment.store()?.tuning(model)? else { return Ok(None) };
    let card = serde_json::from_slice(&json);
    card.map(Some)
        .map_err(|error| Failure::failed(format!("the tuning card of `{}` cannot be read: {error}", model.name)))
}

fn modelfile(model: &Model) -> String {
    // Comments, so that the rest can be made a model again.
    let lost: String = model.unwritten().iter().map(|what| format!("# not written: {what}\n")).collect();
    lost + &model.modelfile().to_string()
}

/// The instructions of its Modelfile.
#[must_use]
pub fn system(model: &Model) -> String {
    model.system.as_deref().map(ended).unwrap_or_default()
}

/// The chat template that makes its prompts: the Modelfile's, else the GGUF's own.
#[must_use]
pub fn template(model: &Model, header: &Header) -> String {
    let text = match TemplateChoice::of(model, header) {
        TemplateChoice::Template(_) => model.template.as_deref(),
        TemplateChoice::Own | TemplateChoice::OwnForRenderer(_) | TemplateChoice::OwnInstead(_) => {
            header.chat_template()
        }
        TemplateChoice::Broken(_) | TemplateChoice::Plain => None,
    };
    text.map(ended).unwrap_or_default()
}

/// A line for each value of its parameters, in Ollama's columns.
#[must_use]
pub fn parameters(model: &Model) -> String {
    let mut lines = String::new();
    for (name, value) in model.parameters.to_map() {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        values.iter().for_each(|value| lines += &format!("{name:<30} {value}\n"));
    }
    lines
}

/// The texts of its licences.
#[must_use]
pub fn license(model: &Model) -> String {
    model.licenses.iter().map(|license| ended(license)).collect::<Vec<_>>().join("\n")
}

/// A text with the end of its last line.
#[must_use]
pub fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// The page for people.
///
/// # Errors
/// The weights or an adapter cannot be read.
pub fn page(model: &Model) -> Result<String, Failure> {
    let mut lines = vec![("name", model.name.to_string()), ("digest", model.digest.to_string())];
    match &model.weights {
        Weights::Elsewhere(who) => lines.extend(elsewhere(model, who)?),
        weights => lines.extend(of_weights(model, &weights.header()?)),
    }
    for adapter in &model.adapters {
        lines.push(("adapter", adapter_line(adapter)?));
    }
    if let Some(examples) = &model.examples {
        let (n, k) = (examples.rows.len(), examples.k);
        let by = examples.by.as_ref().map_or(String::new(), |by| {
            let (digest, size) = (by.embedder.digest, crate::ui::table::size(by.embedder.n_bytes));
            format!(", by the vectors of the embedding model {digest} ({size})")
        });
        lines.push(("examples", format!("the nearest {k} of {n} labelled texts before each text{by}")));
    }
    let parameters = model.parameters.to_json();
    for (name, value) in parameters.as_object().into_iter().flatten() {
        let effect = if model.parameters.idle().contains_key(name) { " (no effect)" } else { "" };
        lines.push(("parameter", format!("{name} {value}{effect}")));
    }
    let fit = load_spec::own_fit(model);
    lines.extend(match &fit {
        Ok(None) => None,
        Ok(Some(fit)) => Some(("fit", card::summary(fit))),
        // What it is made of otherwise can be read.
        Err(error) => Some(("fit", error.to_string())),
    });
    let mut page: String = lines.into_iter().map(|(name, value)| format!("{name:<17}{value}\n")).collect();
    let section = |title: &str, text: &str| format!("\n{title}\n{}\n", indented(text));
    if let Some(system) = &model.system {
        page += &section("system", system);
    }
    if let Some(format) = &model.format {
        page += &section("format", &format_json(format).to_string());
    }
    if let Ok(Some(fit)) = &fit {
        page += &section("fit", &card::page(fit));
    }
    for message in &model.messages {
        page += &section(&format!("message {}", message.role.as_str()), &message.content);
    }
    for license in &model.licenses {
        // The first lines name a licence; the rest is for --json.
        let first: Vec<&str> = license.trim().lines().take(2).collect();
        page += &section("license", &first.join("\n"));
    }
    Ok(page)
}

/// What weights are, and how their prompts are made.
fn of_weights(model: &Model, header: &Header) -> Vec<(&'static str, String)> {
    let number = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let weights = match &model.weights {
        Weights::Embedded(_) => "built into slm".to_owned(),
        Weights::Blobs(files) if files.len() > 1 => format!("{} (of {} files)", model.weights_digest, files.len()),
        Weights::Blobs(_) | Weights::Elsewhere(_) => model.weights_digest.to_string(),
    };
    vec![
        ("weights", weights),
        ("architecture", header.architecture().to_owned()),
        ("parameters", header.size_label()),
        ("quantization", quantization(header)),
        ("context length", number(header.context_length())),
        ("embedding length", number(header.embedding_length())),
        ("layers", number(header.block_count())),
        ("vocabulary", format!("{} tokens", header.n_tokens())),
        match header.embeds() {
            Some(pooling) => ("embeds", format!("pooling `{}`; it makes embeddings, not text", pooling.as_str())),
            None => ("chat template", TemplateChoice::of(model, header).describe()),
        },
    ]
}

/// The quantization's name with what it takes.
fn quantization(header: &Header) -> String {
    let bits = header.bits_per_weight().map(|bits| format!(" ({bits:.2} bits per weight)"));
    header.quantization().to_owned() + &bits.unwrap_or_default()
}

/// The tensors by their types, and each of them where that is wanted; nothing where there are none.
fn weights(model: &Model, args: &ShowArgs) -> Result<String, Failure> {
    let Some(header) = load::header(model)? else { return Ok(String::new()) };
    let mut text = format!("\ntensors\n{}\n", indented(&tensors::table(tensors::of(&header))));
    if args.verbose {
        let row = |one: &TensorInfo| vec![one.name.clone(), one.kind.name.to_owned(), shape(one), size(one.n_bytes)];
        let rows: Vec<_> = header.tensors.iter().map(row).collect();
        text += &format!("\n{}\n", indented(&table(&["TENSOR", "TYPE", "SHAPE", "SIZE"], &rows)));
    }
    Ok(text)
}

fn shape(tensor: &TensorInfo) -> String {
    tensor.dimensions.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

/// Who answers in the place of weights. A key is shown nowhere, only where it comes from.
fn elsewhere(model: &Model, who: &Elsewhere) -> Result<Vec<(&'static str, String)>, Failure> {
    match who {
        Elsewhere::Remote(json) => {
            let remote = load_spec::remote(model, json)?;
            let key = match &remote.key {
                KeySource::Nobody => "none".to_owned(),
                KeySource::Variable(name) => format!("the environment variable `{name}`"),
                KeySource::File(path) => format!("the file `{}`", path.display()),
            };
            Ok(vec![
                ("remote", remote.base_url().to_owned()),
                ("model there", remote.model.clone()),
                ("dialect", remote.dialect.as_str().to_owned()),
                ("key", key),
            ])
        }
        Elsewhere::Cascade(json) => {
            let CascadeSpec { cascade, .. } = load_spec::cascade(model, json)?;
            let whom = |tier: &Tier| match &tier.whom {
                Whom::Model { name, .. } => format!("the model `{name}`"),
                Whom::Words { name, .. } => format!("the words of the fit of `{name}`, without a model"),
                Whom::Remote(_) => "a remote".to_owned(),
            };
            let line = |tier: &Tier| ("tier", format!("{}: {}, accepts {}", tier.name, whom(tier), tier.accept));
            let exhausted = ("on exhausted", cascade.on_exhausted.as_str().to_owned());
            let promise = cascade.promise.as_ref().map(|of| ("promise", promise(of)));
            Ok(cascade.tiers.iter().map(line).chain([exhausted]).chain(promise).collect())
        }
    }
}

/// What was promised of a cascade's answers before its last tier, and what rows said of it.
fn promise(of: &Certificate) -> String {
    let Certificate { risk, confidence, rows, handled, errors, risk_at_most, .. } = of;
    let promised =
        risk.map_or(String::new(), |risk| format!("at most {risk} of the answers before the last tier wrong; "));
    format!(
        "{promised}{errors} of {handled} were on {rows} rows, at most {risk_at_most:.4} at a confidence of {confidence}"
    )
}

/// An adapter's digest with what it changes and how strongly.
fn adapter_line(adapter: &StoredAdapter) -> Result<String, Failure> {
    let header = adapter.header()?;
    let rank = header.pairs.iter().map(LoraPair::rank).max().unwrap_or(0);
    let (n_tensors, bytes) = (header.pairs.len(), size(adapter.n_bytes));
    Ok(format!("{} at {} (rank {rank}, {n_tensors} tensors, {bytes})", adapter.digest, adapter.scale))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}

/// All of it, for programs.
fn as_json(model: &Model, args: &ShowArgs) -> Result<serde_json::Value, Failure> {
    let mut json = json!({
        "name": model.name.to_string(),
        "digest": model.digest.hex(),
        "parameters": model.parameters.to_json(),
        "modified_at": model.modified.map(timestamp),
    });
    let header = load::header(model)?;
    let card = ModelDescription::of(model, header.as_ref(), Arrays::Short)?;
    let card = serde_json::to_value(card).expect("text keys, numbers and text");
    if let (serde_json::Value::Object(json), serde_json::Value::Object(card)) = (&mut json, card) {
        json.extend(card);
    }
    if let Some(header) = &header {
        json["bits_per_weight"] = header.bits_per_weight().into();
        json["tensor_types"] = tensors::as_json(tensors::of(header));
        if args.verbose {
            let one = |one: &TensorInfo| json!({ "name": one.name, "type": one.kind.name, "shape": one.dimensions });
            json["tensors"] = header.tensors.iter().map(one).collect();
        }
    }
    Ok(json)
}
