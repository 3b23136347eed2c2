//! `slm doctor`: checks this machine, and says what is wrong and how to correct it.
//!
//! Each module checks its own part and returns findings; `report` formats them. Nothing is changed, and no model is loaded.

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
/// Each line is `ok`, a `warning` or `wrong`, with what to do about it; the exit code is 1 if something is wrong. Keys and tokens
/// are never shown.
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
