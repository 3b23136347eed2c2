//! `slm doctor`: what slm finds on this machine, what of it is wrong, and how to correct it.
//!
//! Each part looks at its own and gives findings; `report` says how they look. Nothing is changed, and no model is loaded.

mod credentials;
mod processor;
mod report;
mod server;
mod settings;
mod store;

use clap::Args;

use super::environment::Environment;
use crate::failure::Outcome;
use crate::ui::output::Output;
use report::Report;

/// Check this machine: processor, accelerators, threads, store, server, credentials and settings
///
/// Every line is `ok`, a `warning` or `wrong`, with what to do about it. The exit code is 1 where something is wrong. Of keys and
/// tokens it says whether they are there and never what they are.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Looks at everything and shows it.
///
/// # Errors
/// Standard output cannot be written, or Ctrl-C was pressed.
pub fn run(args: &DoctorArgs, environment: &Environment) -> Outcome {
    let mut findings = processor::findings(environment);
    findings.extend(store::findings(environment));
    findings.push(server::finding(environment)?);
    findings.push(credentials::finding(environment));
    findings.push(settings::finding(environment));
    let report = Report(findings);
    let mut output = Output::default();
    if args.json {
        output.json(&report.json())?;
    } else {
        output.text(&report.text(output.columns()))?;
    }
    Ok(report.exit())
}
