//! Handles a line of a session: answers a text, or executes a command.

use super::command::{Command, Entry, Part, Setting, Switch};
use super::dialogue::{Dialogue, Settings};
use super::display;
use super::exchange::{Detail, Exchange, Lost};
use super::input::Input;
use super::interrupts::Interrupts;
use super::saving;
use crate::cli::environment::Environment;
use crate::cli::load::{self, LoadOptions, Loaded};
use crate::cli::run::args::RunArgs;
use crate::cli::run::form::{of_choices, of_format};
use crate::cli::run::turn;
use crate::cli::show;
use crate::contract::Form;
use crate::engine::{AdapterSet, Load};
use crate::failure::Failure;
use crate::infer::{Responder, Turn};
use crate::load_spec;
use crate::sampling::Parameters;
use crate::store::Model;
use crate::ui::look::Cursor;
use crate::ui::output::{Output, Reader, say};

/// Parameters of the command line that need the model to be loaded again.
const OF_LOADING: [&str; 6] = ["num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"];

/// What a session begins with.
pub struct Start {
    pub loaded: Loaded,
    pub adapters: AdapterSet,
    /// What the flags ask for, in place of the model's own.
    pub form: Option<Form>,
    pub parameters: Parameters,
}

/// A session.
pub struct Repl<'a> {
    args: &'a RunArgs,
    environment: &'a Environment,
    model: Model,
    responder: Responder,
    adapters: AdapterSet,
    dialogue: Dialogue,
    detail: Detail,
    /// Whether text is broken between words.
    wrapping: Switch,
    output: Output,
    interrupts: Interrupts,
}

/// Whether a session continues.
pub enum Next {
    Line,
    Leave,
}

impl Repl<'_> {
    /// Begins a session with a loaded model.
    ///
    /// # Errors
    /// The model's own format is not supported.
    pub fn begin<'a>(
        args: &'a RunArgs,
        environment: &'a Environment,
        start: Start,
        interrupts: Interrupts,
    ) -> Result<Repl<'a>, Failure> {
        let Start { loaded: Loaded { model, responder }, adapters, form, parameters } = start;
        let own_form = load_spec::own_form(&model)?;
        let settings = Settings { own_form, form, system: args.system.clone(), parameters };
        Ok(Repl {
            dialogue: Dialogue::new(template(args), settings),
            detail: if args.verbose { Detail::Figures } else { Detail::Answer },
            wrapping: Switch::On,
            output: Output::default(),
            args,
            environment,
            model,
            responder,
            adapters,
            interrupts,
        })
    }

    /// Says which model answers.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn greet(&mut self) -> Result<Next, Failure> {
        let greeting = display::greeting(&self.model.name.to_string(), self.dialogue.form());
        self.show(&greeting)
    }

    /// Shows text.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn show(&mut self, text: &str) -> Result<Next, Failure> {
        Ok(match self.output.text(text)? {
            Reader::Listens => Next::Line,
            Reader::Gone => Next::Leave,
        })
    }

    /// Handles a line. Errors are shown, and the session continues.
    ///
    /// # Errors
    /// What is shown cannot be written.
    pub fn line(&mut self, line: &str, input: &mut Input) -> Result<Next, Failure> {
        if line.trim().is_empty() {
            return Ok(Next::Line);
        }
        match line.parse() {
            Ok(Entry::Text(text)) if text.trim().is_empty() => Ok(Next::Line),
            Ok(Entry::Text(text)) => Ok(self.answer(&text, input)),
            Ok(Entry::Command(Command::Bye)) => Ok(Next::Leave),
            Ok(Entry::Command(Command::Help(topic))) => self.show(display::help(topic)),
            Ok(Entry::Command(command)) => {
                if let Err(failure) = self.obey(command, input) {
                    say(failure.message);
                }
                Ok(Next::Line)
            }
            Err(error) => {
                say(error);
                Ok(Next::Line)
            }
        }
    }

    fn answer(&mut self, text: &str, input: &mut Input) -> Next {
        let look = self.environment.look();
        let width = input.width().filter(|_| self.wrapping == Switch::On && look.cursor == Cursor::Moves);
        let exchange =
            Exchange { responder: &self.responder, interrupts: &self.interrupts, look, width, detail: self.detail };
        match exchange.hold(&mut self.dialogue, text) {
            Ok(()) => Next::Line,
            Err(Lost::Reader) => Next::Leave,
            Err(Lost::Answer(failure)) => {
                say(failure.message);
                Next::Line
            }
            Err(Lost::Model(failure)) => {
                say(format_args!("{}; reloading the model", failure.message));
                match self.reload() {
                    Ok(()) => say("the model is loaded; send the text again"),
                    Err(failure) => say(failure.message),
                }
                Next::Line
            }
        }
    }

    fn obey(&mut self, command: Command, input: &mut Input) -> Result<(), Failure> {
        match command {
            Command::Set(setting) => self.set(setting, input),
            Command::Show(part) => self.show_part(part),
            Command::Clear => {
                self.dialogue.forget();
                self.show("conversation cleared\n").map(drop)
            }
            Command::Save(name) => {
                if self.adapters != load_spec::own_adapters(&self.model) {
                    say("--adapter is not saved; a Modelfile names adapters with ADAPTER");
                }
                let line = saving::save(&name, &self.dialogue, &self.model, self.environment)?;
                self.show(&line).map(drop)
            }
            Command::Load(name) => self.load(&name),
            Command::Help(_) | Command::Bye => Ok(()),
        }
    }

    fn set(&mut self, setting: Setting, input: &mut Input) -> Result<(), Failure> {
        match setting {
            Setting::System(system) => self.dialogue.set_system(system),
            Setting::Format(format) => self.dialogue.set_form(of_format(&format, "/set format")?),
            Setting::Choices(list) => self.dialogue.set_form(of_choices(&list, "/set choices")?),
            Setting::Parameter { name, values } => return self.set_parameter(&name, &values),
            Setting::Verbose(Switch::On) => self.detail = Detail::Figures,
            Setting::Verbose(Switch::Off) => self.detail = Detail::Answer,
            Setting::History(switch) => input.keep_history(switch),
            Setting::WordWrap(switch) => self.wrapping = switch,
            Setting::Think(switch) => self.dialogue.set_think(switch),
        }
        Ok(())
    }

    fn set_parameter(&mut self, name: &str, values: &[String]) -> Result<(), Failure> {
        let before = self.dialogue.parameters().clone();
        self.dialogue.set_parameter(name, values)?;
        if !OF_LOADING.contains(&name) {
            return Ok(());
        }
        say(format_args!("reloading the model with {name} {}", values.join(" ")));
        self.reload().inspect_err(|_| self.dialogue.set_parameters(before))
    }

    fn show_part(&mut self, part: Part) -> Result<(), Failure> {
        let model = &self.model;
        let (what, page) = match part {
            Part::Session => ("session", display::session(&model.name.to_string(), &self.dialogue)),
            Part::Info => ("description", show::page(model)?),
            Part::Modelfile => ("Modelfile", saving::modelfile(&self.dialogue, model)?.to_string()),
            Part::System => ("system prompt", self.dialogue.system().map_or_else(|| show::system(model), show::ended)),
            Part::Template => ("chat template", show::template(model, &model.weights.header()?)),
            Part::Parameters => ("parameters", show::parameters(model)),
            Part::License => ("license", show::license(model)),
        };
        let page = if page.is_empty() { format!("`{}` has no {what}\n", model.name) } else { page };
        self.show(&page).map(drop)
    }

    /// Switches to another model and starts over.
    fn load(&mut self, name: &str) -> Result<(), Failure> {
        let model = load::find(name, self.environment)?;
        if load::header(&model)?.is_some_and(|header| header.embeds().is_some()) {
            return Err(Failure::failed(format!(
                "`{}` is an embedding model, which gives vectors and no answers; load another",
                model.name
            )));
        }
        let own_form = load_spec::own_form(&model)?;
        let adapters = load_spec::own_adapters(&model);
        let Loaded { model, responder } = self.open(model, &adapters, &Parameters::default())?;
        let settings = Settings { own_form, ..Settings::default() };
        self.dialogue = Dialogue::new(template(self.args), settings);
        (self.model, self.responder, self.adapters) = (model, responder, adapters);
        self.greet().map(drop)
    }

    /// Reloads the model with the current parameters. If that fails, the session continues unchanged.
    fn reload(&mut self) -> Result<(), Failure> {
        let Loaded { responder, .. } = self.open(self.model.clone(), &self.adapters, self.dialogue.parameters())?;
        self.responder = responder;
        Ok(())
    }

    fn open(&self, model: Model, adapters: &AdapterSet, parameters: &Parameters) -> Result<Loaded, Failure> {
        let header = load::header(&model)?;
        let place = self.args.place();
        let (compute, keep_alive, fit) = (&self.args.compute, self.args.keepalive, self.args.fit.used());
        let wanted = LoadOptions { adapters, parameters, compute, load: Load::Everything, place, fit, keep_alive };
        load::open(model, header.as_ref(), &wanted, self.environment)
    }
}

/// What is asked in every turn, as the flags say.
fn template(args: &RunArgs) -> Turn {
    let mut turn = turn(args, Form::Free, Parameters::default());
    if let Some(chat) = turn.chat_mut() {
        chat.messages.clear();
    }
    turn
}
