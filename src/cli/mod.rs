//! The command line: its arguments, and which command handles them.
//!
//! Environment, clock and home folder are read here and passed down.

mod adapter;
mod adapters;
mod args;
mod batch;
mod bench;
mod card;
mod complete;
mod compute;
mod confirm;
mod cp;
mod create;
mod decisions;
mod doctor;
mod engine;
mod environment;
mod eval;
mod fit;
mod generated;
mod interrupt;
mod journal;
mod label;
mod list;
mod load;
mod log;
mod network;
mod parallel;
mod planned;
mod prune;
mod ps;
mod pull;
mod push;
mod quantize;
mod reading;
mod rm;
mod run;
mod serve;
mod served;
mod show;
mod stop;
mod tensors;
mod tune;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

pub use args::{Cli, Command};
use environment::Environment;

use crate::failure::{Exit, Failure, Outcome};

/// Parses the process's arguments, runs the command, and reports errors on standard error.
#[must_use]
pub fn main() -> ExitCode {
    if complete::answered(std::env::var_os(complete::VARIABLE).as_deref(), std::env::args_os(), Cli::command) {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows whether this is help (standard output, 0) or a wrong use (standard error, 2). A reader that is
            // gone is not a failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            crate::ui::output::say(&failure.message);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let environment = Environment::read();
    let Some(command) = cli.command else {
        return version::print(cli.verbose);
    };
    if environment.sets_waiting() {
        crate::engine::leave_waiting_as_set();
    }
    // A server has a log of its own.
    if !matches!(command, Command::Serve(_)) {
        environment.log_if_wanted();
    }
    let outcome = match command {
        Command::Run(args) => run::run(&args, &environment),
        Command::Serve(args) => serve::run(&args, &environment),
        Command::Ps(args) => ps::run(&args, &environment),
        Command::Stop(args) => stop::run(&args, &environment),
        Command::Pull(args) => pull::run(&args, &environment),
        Command::Push(args) => push::run(&args, &environment),
        Command::List(args) => list::run(&args, &environment),
        Command::Show(args) => show::run(&args, &environment),
        Command::Create(args) => create::run(&args, &environment),
        Command::Adapter(args) => adapter::run(&args, &environment),
        Command::Rm(args) => rm::run(&args, &environment),
        Command::Cp(args) => cp::run(&args, &environment),
        Command::Verify(args) => verify::run(&args, &environment),
        Command::Prune(args) => prune::run(&args, &environment),
        Command::Eval(args) => eval::run(&args, &environment),
        Command::Batch(args) => batch::run(&args, &environment),
        Command::Fit(args) => fit::run(&args, &environment),
        Command::Log(args) => log::run(&args, &environment),
        Command::Tune(args) => tune::run(&args, &environment),
        Command::Label(args) => label::run(&args, &environment),
        Command::Bench(args) => bench::run(&args, &environment),
        Command::Doctor(args) => doctor::run(&args, &environment),
        Command::Completions(args) => generated::completions(&args),
        Command::Man(args) => generated::man(&args, Cli::command()),
        Command::Engine => engine::run(),
        Command::ParquetRows(args) => eval::parquet::run(&args),
        Command::Quantizer => quantize::process::serve(),
    };
    if !interrupt::happened() {
        return outcome;
    }
    let interrupted = |failure| Failure { exit: Exit::Interrupted, ..failure };
    outcome.map(|_| Exit::Interrupted).map_err(interrupted)
}
