//! `slm run`: one text, or one for each line of standard input.

mod answer;
mod args;
mod columns;
mod decided;
mod dry;
mod embedding;
mod form;
mod identity;
mod input;
mod limited;
mod one;
mod output;
mod repl;
mod row_lines;
mod rows;
mod tally;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use super::adapters;
use super::compute;
use super::environment::{Environment, today};
use super::load::{self, LoadOptions, Loaded};
use crate::chat::{Message, Role};
use crate::contract::Form;
use crate::digest::Digest;
use crate::encoding;
use crate::engine::{Cut, Detail, Drafts, Lane, Load};
use crate::failure::{Failure, Outcome};
use crate::gguf::{Header, Pooling};
use crate::infer::{Ask, Chat, FitUse, InferError, LabelSpelling, Responder, Retry, Scoring, Turn};
use crate::limits::Limits;
use crate::load_spec;
use crate::sampling::Parameters;
use crate::ui::look::Look;
use crate::ui::output::{say, tell};
pub use args::RunArgs;
use args::{JsonShape, SamplingArgs};
use columns::{Columns, Withholding};
use decided::Decisions;
use input::Input;

/// A checked command line with its loaded model.
struct Run<'a> {
    args: &'a RunArgs,
    look: Look,
    model_name: String,
    model_digest: Digest,
    responder: Responder,
    /// What is asked about every text, which is its last message.
    turn: Turn,
    /// The limits of open text, and what happens to text that breaks them.
    limits: Limits,
    retry: Retry,
    /// How the model makes a vector of a text, where it is one for embeddings.
    embeds: Option<Pooling>,
    /// Where its decisions are written down.
    decisions: Option<Decisions>,
}

/// Runs the command.
///
/// # Errors
/// Anything that keeps the text, or any of the rows, from its answer.
pub fn run(args: &RunArgs, environment: &Environment) -> Outcome {
    let mut parameters = parameters(&args.sampling)?;
    compute::say(&args.compute, &mut parameters)?;
    let asked = form::asked(args)?;
    let model = load::find_or_pull(&args.model, environment)?;
    let header = load::header(&model)?;
    let embeds = header.as_ref().and_then(Header::embeds);
    if embeds.is_some() {
        embedding::refuse_answers(args, &model)?;
    }
    let form = asked.clone().map_or_else(|| load_spec::own_form(&model), Ok)?;
    let is_session = repl::is_wanted(args);
    if is_session {
        repl::refuse(args, &model, embeds)?;
    }
    let (limits, retry) = limited::limits(&args.limits)?;
    refuse_together(args, &form, &limits)?;
    if args.decisions.decisions.is_some() && (is_session || args.dry_run) {
        return Err(Failure::usage(
            "--decisions is for texts that are answered: give one, or --lines, --jsonl or --csv",
        ));
    }
    let adapters = adapters::chosen(&args.adapter, &model, environment)?;
    let is_rows = args.is_rows();
    let fit = if args.dry_run { FitUse::None } else { args.fit.used() };
    let own_fit = if is_rows && fit == FitUse::Own { load_spec::own_fit(&model)? } else { None };
    let by_fit = own_fit.as_ref().map_or(Withholding::None, Withholding::ByFit);
    let withholding = if load_spec::reviews(&model)? { Withholding::All } else { by_fit };
    let columns = || Columns::new(args, &form, embeds, withholding);
    let rows = if is_rows { Some(Input::open(args, &form, columns(), environment)?) } else { None };
    let text = if is_rows || is_session { String::new() } else { prompt(args)? };
    let load = if args.dry_run { Load::Vocabulary } else { Load::Everything };
    let place = args.place();
    let keep_alive = args.keepalive;
    let compute = &args.compute;
    let wanted = LoadOptions { adapters: &adapters, parameters: &parameters, compute, load, place, fit, keep_alive };
    let loaded = load::open(model, header.as_ref(), &wanted, environment)?;
    if is_session {
        let start = repl::Start { loaded, adapters, form: asked, parameters };
        return repl::run(args, start, environment);
    }
    let Loaded { model, responder } = loaded;
    let decisions = Decisions::begin(args, &form, (&model, &responder), environment)?;
    let turn = turn(args, form, parameters);
    let (model_name, model_digest) = (model.name.to_string(), model.digest);
    let look = environment.look();
    let run = Run { args, look, model_name, model_digest, responder, turn, limits, retry, embeds, decisions };
    run.say_what_is_loaded();
    match rows {
        _ if args.dry_run => dry::show(&run, &text),
        Some(rows) => rows::run(&run, rows),
        None => one::run(&run, &text),
    }
}

/// Refuses flags that cannot be combined.
fn refuse_together(args: &RunArgs, form: &Form, limits: &Limits) -> Result<(), Failure> {
    if matches!(form, Form::Closed(_)) && !limits.is_empty() {
        return Err(Failure::usage(
            "limits are for generated text, and these answers are scored from a closed list; add --format none for open text",
        ));
    }
    let is_rows = args.is_rows();
    if is_rows && args.dry_run {
        return Err(Failure::usage("--dry-run shows one prompt; remove --lines, --jsonl or --csv"));
    }
    if args.decisions.decisions.is_some() && !matches!(form, Form::Closed(_)) {
        return Err(Failure::usage("--decisions is for closed answers; give --choices or a --format that lists them"));
    }
    if !is_rows && args.output.is_some() {
        return Err(Failure::usage(
            "--output is for rows: give --lines, --jsonl or --csv, or redirect standard output",
        ));
    }
    Ok(())
}

/// What the flags say of every text.
fn turn(args: &RunArgs, form: Form, parameters: Parameters) -> Turn {
    let system = args.system.as_deref().map(|system| Message::new(Role::System, system));
    let chat = Chat { today: Some(today()), ..Chat::of(system.into_iter().collect()) };
    Turn {
        before: chat.into(),
        form,
        parameters,
        scoring: Scoring {
            lane: if args.throughput { Lane::Throughput } else { Lane::Canonical },
            ..args.reading.scoring()
        },
        detail: if args.json() == Some(JsonShape::Full) { Detail::Tokens } else { Detail::Text },
        drafts: if args.sampling.no_drafts { Drafts::Off } else { Drafts::Auto },
        fit: args.fit.used(),
        spelling: LabelSpelling::Bare,
        ..Turn::default()
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

/// Standard input or the file first, then the arguments, as Ollama does.
fn prompt(args: &RunArgs) -> Result<String, Failure> {
    let mut parts = Vec::new();
    if let Some(path) = args.file.as_deref().filter(|path| *path != Path::new("-")) {
        let text = std::fs::File::open(path).and_then(load::small_text);
        let text =
            text.map_err(|error| Failure::usage(format!("cannot read the text `{}`: {error}", path.display())))?;
        parts.push(text.trim_end_matches(['\r', '\n']).to_owned());
    } else if args.file.is_some() || !std::io::stdin().is_terminal() {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        let text = encoding::decode(&bytes).map_err(|error| Failure::failed(format!("standard input: {error}")))?;
        parts.push(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let words = args.prompt.join(" ");
    if Path::new(&words).is_file() {
        say(format_args!("the prompt `{words}` is also the name of a file; `--file {words}` reads the text in it"));
    }
    parts.push(words);
    parts.retain(|part| !part.trim().is_empty());
    if parts.is_empty() {
        return Err(Failure::usage("there is no text; give it as an argument or on standard input"));
    }
    Ok(parts.join("\n"))
}

impl Run<'_> {
    /// The beginning of a text that `--truncate` keeps, and how many tokens are cut.
    fn cut(&self, text: &str) -> Result<(String, usize), InferError> {
        let Some(n_tokens) = self.args.truncate else { return Ok((text.to_owned(), 0)) };
        let Cut { n_bytes, n_tokens_cut, .. } = self.responder.session()?.engine().cut(text, n_tokens)?;
        Ok((text[..n_bytes].to_owned(), n_tokens_cut))
    }

    /// What is asked about a text, where the model writes or chooses.
    fn turn_to(&self, text: &str) -> Turn {
        let mut turn = self.turn.clone();
        if let Some(chat) = turn.chat_mut() {
            chat.messages.push(Message::new(Role::User, text));
        }
        turn
    }

    /// What is asked about a text.
    fn ask_of(&self, text: &str) -> Ask {
        match self.embeds {
            Some(_) => Ask::Vectors { texts: vec![text.to_owned()] },
            None => self.turn_to(text).into(),
        }
    }

    fn say_what_is_loaded(&self) {
        if self.embeds.is_none() && self.responder.session().is_ok_and(|session| !session.has_template()) {
            let way = match self.turn.form {
                Form::Free => "texts are given to it as they are (a Modelfile's TEMPLATE gives it one)",
                Form::Closed(_) | Form::Open(_) => {
                    "it continues `Text: …`, `Answer:` (a Modelfile's MESSAGE gives it examples, TEMPLATE another form)"
                }
            };
            say(format_args!("`{}` has no chat template; {way}", self.model_name));
        }
        let given = self.args.sampling.of_generation();
        let is_closed = matches!(self.turn.form, Form::Closed(_));
        if !is_closed && self.args.throughput {
            say("generated answers always share their batches: --throughput has no effect");
        }
        if self.args.fit.abstain.is_some() && !self.responder.fits(&self.turn.form) && !self.responder.reviews() {
            say("nothing leaves these answers to a person: --abstain has no effect");
        }
        if is_closed && !given.is_empty() {
            say(format_args!("closed answers are scored, not sampled: {} has no effect", given.join(", ")));
        }
        if self.args.verbose {
            self.tell_what_is_loaded();
        }
    }

    fn tell_what_is_loaded(&self) {
        let Responder::Engine(session) = &self.responder else {
            return tell(&format!("model          {}\n{}\n", self.model_name, self.responder.describe()));
        };
        let info = session.engine().info();
        tell(&format!(
            "model          {}\nparameters     {:.3} million, {:.1} MB\ncontext        {} tokens (trained for {})\n\
             {}answers are    {}\n{}loaded in      {:.1} ms\n",
            self.model_name,
            info.n_params as f64 / 1e6,
            info.size_bytes as f64 / 1e6,
            info.n_ctx,
            info.n_ctx_train,
            compute::describe(info),
            match (&self.turn.form, self.embeds) {
                (Form::Closed(_), _) => "scored".to_owned(),
                (_, Some(pooling)) => format!("embeddings, pooling `{}`", pooling.as_str()),
                (Form::Open(_) | Form::Free, None) => "generated".to_owned(),
            },
            self.evaluation_id().map(|id| format!("evaluation id  {id}\n")).unwrap_or_default(),
            info.load_duration.as_secs_f64() * 1e3,
        ));
        for adapter in session.defaults().adapters.as_slice() {
            tell(&format!("adapter        {} at {}\n", adapter.id, adapter.scale));
        }
    }

    /// Under which equal texts have equal answers; `None` where nothing promises that.
    fn evaluation_id(&self) -> Option<String> {
        let is_alone = matches!(self.turn.form, Form::Closed(_)) && self.turn.scoring.lane == Lane::Canonical;
        let session = self.responder.session().ok().filter(|_| self.embeds.is_some() || is_alone);
        session.map(|session| session.evaluation_id(self.turn.scoring))
    }

    /// Whether a person reads standard error.
    fn says_doubts(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Says which values of a written answer do not stand in the text that was asked about.
    fn say_what_is_not_in(&self, text: &str, answer: &str) {
        if self.says_doubts()
            && let Some(words) = answer::not_in_text(&self.turn.form, answer, text)
        {
            say(words);
        }
    }

    fn say_what_was_cut(&self, n_tokens: usize) {
        if n_tokens > 0 && self.args.json.is_none() {
            say(format_args!("the text was cut by {n_tokens} tokens"));
        }
    }
}
