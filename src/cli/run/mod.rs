//! `slm run`: one text, or one for each line of standard input.

mod answer;
mod dry;
mod embedding;
mod limited;
mod output;
mod rows;
mod tally;

use std::io::{IsTerminal as _, Read as _};
use std::ops::ControlFlow;

use serde_json::json;

use self::output::Origin;
use super::adapters;
use super::args::{RunArgs, SamplingArgs};
use super::compute;
use super::environment::{Environment, today};
use super::load::{self, Loaded, Wanted};
use crate::contract::{Contract, ContractError, Form, Open};
use crate::engine::{Detail, Drafts, Finish, Lane, Load};
use crate::failure::{Exit, Failure, Outcome};
use crate::gguf::Pooling;
use crate::infer::{Generated, InferError, Session, Task};
use crate::opening;
use crate::sampling::Parameters;
use crate::ui::output::{Output, Reader, say, tell};

/// A checked command line with its loaded model.
struct Run<'a> {
    args: &'a RunArgs,
    model_name: String,
    session: Session,
    contract: Option<Contract>,
    task: Task,
    /// How the model makes a vector of a text, where it is one for embeddings.
    embeds: Option<Pooling>,
}

/// Runs the command.
///
/// # Errors
/// Anything that keeps the text, or any of the rows, from its answer.
pub fn run(args: &RunArgs, environment: &Environment) -> Outcome {
    let mut parameters = parameters(&args.sampling)?;
    compute::say(&args.compute, &mut parameters)?;
    let asked = asked_form(args)?;
    let model = load::find_or_pull(&args.model, environment)?;
    let embeds = model.weights.header()?.embeds();
    if embeds.is_some() {
        embedding::refuse_answers(args, &model)?;
    }
    let form = match asked {
        Asked::Form(form) => Some(form),
        Asked::Anything => None,
        Asked::Nothing => opening::own_form(&model)?,
    };
    let (contract, open) = match form {
        Some(Form::Closed(contract)) => (Some(contract), None),
        Some(Form::Open(open)) => (None, Some(open)),
        None => (None, None),
    };
    let (limits, retry) = limited::limits(&args.limits)?;
    if contract.is_some() && !limits.is_empty() {
        return Err(Failure::usage(
            "limits are for generated text, and these answers are scored from a closed list; add --format none for open text",
        ));
    }
    let is_rows = args.lines || args.jsonl.is_some();
    if is_rows && args.dry_run {
        return Err(Failure::usage("--dry-run shows one prompt; leave --lines and --jsonl away"));
    }
    if !is_rows && args.output.is_some() {
        return Err(Failure::usage(
            "--output takes the answers to rows: give --lines or --jsonl, or redirect standard output",
        ));
    }
    let adapters = adapters::chosen(&args.adapter, &model, environment)?;
    let origin = Origin { model: &model, contract: contract.as_ref(), open: open.as_ref(), adapters: &adapters };
    let rows = if is_rows { Some(rows::Input::open(args, origin, environment)?) } else { None };
    let text = if is_rows { String::new() } else { prompt(&args.prompt)? };
    let load = if args.dry_run { Load::Vocabulary } else { Load::Everything };
    let place = if args.local { load::Place::Here } else { load::Place::Server };
    let wanted = Wanted { adapters: &adapters, parameters: &parameters, compute: &args.compute, load, place };
    let Loaded { model, session } = load::open(model, &wanted, environment)?;
    let task = Task {
        system: args.system.clone(),
        parameters,
        truncate: args.truncate,
        lane: if args.throughput { Lane::Throughput } else { Lane::Canonical },
        limits,
        retry,
        open,
        detail: if args.json { Detail::Tokens } else { Detail::Text },
        today: Some(today()),
        drafts: if args.sampling.no_drafts { Drafts::Off } else { Drafts::Auto },
        ..Task::default()
    };
    let run = Run { args, model_name: model.name.to_string(), session, contract, task, embeds };
    run.say_what_is_loaded();
    if args.dry_run {
        return dry::show(&run, &text);
    }
    if let Some(rows) = rows {
        return rows::run(&run, rows);
    }
    if run.embeds.is_some() {
        return run.embed(&text);
    }
    match &run.contract {
        Some(contract) => run.decide(contract, &text),
        None if run.task.limits.is_empty() => run.generate(&text),
        None => run.generate_limited(&text),
    }
}

enum Asked {
    Form(Form),
    /// Open text, whatever the model's own format is.
    Anything,
    Nothing,
}

fn asked_form(args: &RunArgs) -> Result<Asked, Failure> {
    if let Some(list) = &args.choices {
        return Ok(Asked::Form(Form::Closed(Contract::choices(list)?)));
    }
    if let Some(grammar) = &args.grammar {
        return Ok(Asked::Form(Form::Open(Open::lark(&text_or_file(grammar, "grammar")?)?)));
    }
    if let Some(regex) = &args.regex {
        return Ok(Asked::Form(Form::Open(Open::regex(regex)?)));
    }
    let Some(format) = &args.format else { return Ok(Asked::Nothing) };
    let schema = match format.trim() {
        "none" => return Ok(Asked::Anything),
        "json" => return Ok(Asked::Form(Form::Open(Open::json()))),
        format => text_or_file(format, "schema")?,
    };
    Form::parse(&schema).map(Asked::Form).map_err(|error| {
        let is_name = matches!(error, ContractError::NotJson(_)) && !format.starts_with(['{', '@']);
        let hint = if is_name { "; a file with a schema is given as `@FILE`" } else { "" };
        Failure::usage(format!("--format: {error}{hint}"))
    })
}

/// A text, or with `@` in front the file that holds it.
fn text_or_file(given: &str, what: &str) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        Some(path) => std::fs::File::open(path)
            .and_then(load::small_text)
            .map_err(|error| Failure::usage(format!("cannot read the {what} `{path}`: {error}"))),
        None => Ok(given.to_owned()),
    }
}

fn parameters(args: &SamplingArgs) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::default();
    let said = [
        ("temperature", &args.temperature),
        ("seed", &args.seed),
        ("top_k", &args.top_k),
        ("top_p", &args.top_p),
        ("num_predict", &args.num_predict),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            parameters.set(name, value)?;
        }
    }
    for stop in &args.stop {
        parameters.set("stop", stop)?;
    }
    Ok(parameters)
}

/// Standard input first, then the arguments, as Ollama does.
fn prompt(words: &[String]) -> Result<String, Failure> {
    let mut parts = Vec::new();
    if !std::io::stdin().is_terminal() {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::failed(format!("standard input is not UTF-8 at byte {at}; convert it, for example with iconv"))
        })?;
        parts.push(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    parts.push(words.join(" "));
    parts.retain(|part| !part.trim().is_empty());
    if parts.is_empty() {
        return Err(Failure::usage("there is no text; give it as an argument or on standard input"));
    }
    Ok(parts.join("\n"))
}

impl Run<'_> {
    fn say_what_is_loaded(&self) {
        if self.embeds.is_none() && !self.session.has_template() {
            say(format_args!(
                "`{}` has no chat template; texts are given to it as they are (a Modelfile's TEMPLATE gives it one)",
                self.model_name
            ));
        }
        let given = self.args.sampling.of_generation();
        if self.contract.is_none() && self.args.throughput {
            say("generated answers always share their batches: --throughput has no effect");
        }
        if self.contract.is_some() && !given.is_empty() {
            say(format_args!("closed answers are scored, not sampled: {} has no effect", given.join(", ")));
        }
        if !self.args.verbose {
            return;
        }
        let info = self.session.engine().info();
        tell(&format!(
            "model          {}\nparameters     {:.3} million, {:.1} MB\ncontext        {} tokens (trained for {})\n\
             {}answers are    {}\nevaluation id  {}\nloaded in      {:.1} ms\n",
            self.model_name,
            info.n_params as f64 / 1e6,
            info.size_bytes as f64 / 1e6,
            info.n_ctx,
            info.n_ctx_train,
            compute::describe(info),
            match (&self.contract, self.embeds) {
                (Some(_), _) => "scored".to_owned(),
                (None, Some(pooling)) => format!("embeddings, pooling `{}`", pooling.as_str()),
                (None, None) => "generated".to_owned(),
            },
            self.session.evaluation_id(&self.task),
            info.load_duration.as_secs_f64() * 1e3,
        ));
        for adapter in self.session.adapters(&self.task).as_slice() {
            tell(&format!("adapter        {} at {}\n", adapter.id, adapter.scale));
        }
    }

    fn decide(&self, contract: &Contract, text: &str) -> Outcome {
        let decided = self.session.decide(&self.task, contract, text)?;
        self.say_what_was_cut(decided.n_tokens_cut);
        let mut output = Output::default();
        if self.args.json {
            output.json(&answer::json(&decided, self))?;
        } else if output.is_terminal() {
            output.text(&answer::for_people(&decided.answer))?;
        } else {
            output.line(&answer::bare(&decided.answer))?;
        }
        if self.args.verbose {
            tell(&answer::figures(&decided.counts, &decided.timings));
        }
        Ok(Exit::Done)
    }

    fn generate(&self, text: &str) -> Outcome {
        let mut output = Output::default();
        let mut whole = String::new();
        let mut broken = None;
        let generated = self.session.generate(&self.task, text, |piece| {
            whole += piece;
            if self.args.json {
                return ControlFlow::Continue(());
            }
            match output.text(piece) {
                Ok(Reader::Listens) => ControlFlow::Continue(()),
                Ok(Reader::Gone) => ControlFlow::Break(()),
                Err(failure) => {
                    broken = Some(failure);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(failure) = broken {
            return Err(failure);
        }
        let Some(generated) = generated else { return Ok(Exit::Done) };
        if self.args.json {
            output.json(&self.generated_json(Some(text), &whole, &generated)?)?;
        } else if !whole.ends_with('\n') {
            output.text("\n")?;
        }
        self.say_what_was_cut(generated.n_tokens_cut);
        if self.args.verbose {
            tell(&answer::figures(&generated.generation.counts, &generated.generation.timings));
        }
        match generated.violation() {
            Some(violation) => {
                say(violation);
                Ok(Exit::NotMet)
            }
            None => Ok(Exit::Done),
        }
    }

    /// Everything that is known of a generated answer, of its fields too where the input is at hand.
    fn generated_json(
        &self,
        input: Option<&str>,
        text: &str,
        generated: &Generated,
    ) -> Result<serde_json::Value, InferError> {
        let Generated { generation, elapsed, n_tokens_cut, answer } = generated;
        let mut object = json!({ "model": self.model_name, "response": text });
        match answer {
            Some(Ok(value)) => {
                object["value"] = value.clone();
                let fields = input.map(|input| self.session.extract(&self.task, input, text, generated)).transpose()?;
                if let Some(fields) = fields.flatten() {
                    object["fields"] = answer::extracted(&fields);
                }
            }
            Some(Err(violation)) => object["violation"] = violation.to_string().into(),
            None => {}
        }
        object["done_reason"] = match generation.finish {
            Finish::Stop => "stop".into(),
            Finish::Length => "length".into(),
        };
        object["tokens"] = answer::tokens(&generation.counts, *n_tokens_cut);
        object["timings"] = answer::timings(&generation.timings, *elapsed, self);
        Ok(object)
    }

    fn say_what_was_cut(&self, n_tokens: usize) {
        if n_tokens > 0 && !self.args.json {
            say(format_args!("the text was cut by {n_tokens} tokens"));
        }
    }
}
