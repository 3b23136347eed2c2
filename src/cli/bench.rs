//! `slm bench`: a model's speed on this machine, and against an earlier run.

use super::adapters;
use super::complete;
use super::compute;
use super::compute::ComputeArgs;
use super::environment::Environment;
use super::load::{self, LoadOptions, Loaded};
use crate::bench::report::Report;
use crate::bench::{self, CeilingPlan, Plan, Subject, compare, text};
use crate::contract::Form;
use crate::engine::Load;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::FitUse;
use crate::load_spec;
use crate::sampling::Parameters;
use crate::ui::output::{Output, tell};
use crate::ui::progress::Steps;
use crate::ui::table::{counted, table};
use clap::Args;
use std::path::PathBuf;

/// Measure a model's speed on this machine
///
/// Measures prefill and decode as llama-bench does, several sequences at once, rows scored and records extracted as by `slm run`,
/// memory, and the most that this machine could reach.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slm bench triage --quick
  slm bench llama3.2:1b --json > before.json
  slm bench llama3.2:1b --compare before.json")]
pub struct BenchArgs {
    /// Name of a model; `slm list` shows those you have
    #[arg(add = complete::models())]
    pub model: String,
    /// Measure for seconds instead of minutes, with wider errors
    #[arg(long)]
    pub quick: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Show the ratios to an earlier run that --json wrote to FILE
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Repetitions of each measurement [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: Option<u32>,
    /// Prompt lengths in tokens [default: 32,128,512]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub prefill: Vec<u32>,
    /// Tokens to decode [default: 128; a quarter of it for several sequences]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub decode: Option<u32>,
    /// Sequences to decode at once [default: 1,2,4,8,16]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    pub sequences: Vec<u32>,
    /// Rows to score and records to extract in each repetition; 0: none [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub rows: Option<u32>,
    /// Records in flight at once [default: all, up to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub parallel: Option<u32>,
    /// Do not measure the most that this machine could reach
    #[arg(long)]
    pub no_ceiling: bool,
    /// Report on standard error the device, kernels and threads
    #[arg(long, short)]
    pub verbose: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Measures and prints. Ctrl-C ends the process at once: nothing is half written.
///
/// # Errors
/// The model cannot be loaded or measured, or the earlier report cannot be compared.
pub fn run(args: &BenchArgs, environment: &Environment) -> Outcome {
    let mut parameters = Parameters::default();
    compute::say(&args.compute, &mut parameters)?;
    let plan = plan(args);
    // Reject a file that cannot be compared before minutes of measuring.
    let earlier = args.compare.as_deref().map(earlier).transpose()?;
    let model = load::find_or_pull(&args.model, environment)?;
    let contract = match load_spec::own_form(&model) {
        Ok(Form::Closed(contract)) => Some(contract),
        _ => None,
    };
    let digest = model.weights_digest.to_string();
    if let Some((path, report)) = &earlier
        && report.model.digest != digest
    {
        let error =
            compare::CompareError::OtherModel { name: report.model.name.clone(), digest: report.model.digest.clone() };
        return Err(Failure::usage(format!("`{path}` cannot be compared: {error}")));
    }
    let adapters = adapters::chosen(&[], &model, environment)?;
    let wanted = LoadOptions {
        adapters: &adapters,
        parameters: &parameters,
        compute: &args.compute,
        load: Load::Everything,
        place: load::EnginePlace::ThisProcess,
        fit: FitUse::None,
        keep_alive: None,
    };
    let header = model.weights.header()?;
    let Loaded { model, responder } = load::open(model, Some(&header), &wanted, environment)?;
    let session = responder.session()?;
    let name = model.name.to_string();
    if args.verbose {
        tell(&compute::describe(session.engine().info()));
    }
    let subject = Subject { session, name: &name, digest: &digest, contract };
    let steps = Steps::new(plan.n_steps_of_progress());
    let report = bench::run(&subject, &plan, |step| steps.next(step))?;
    drop(steps);
    let compared = match &earlier {
        Some((path, earlier)) => Some(
            compare::compare(earlier, &report)
                .map_err(|error| Failure::usage(format!("`{path}` cannot be compared: {error}")))?,
        ),
        None => None,
    };
    let mut output = Output::default();
    if args.json {
        let mut value = serde_json::to_value(&report).expect("a report is plain data");
        if let Some(compared) = &compared {
            value["compared"] = json(compared);
        }
        output.json(&value)?;
    } else {
        output.text(&for_people(&report))?;
        if let Some(compared) = &compared {
            output.text(&format!("\n{}", comparison(compared)))?;
        }
    }
    Ok(Exit::Done)
}

fn plan(args: &BenchArgs) -> Plan {
    let base = if args.quick { Plan::quick() } else { Plan::default() };
    let or = |said: &[u32], base: Vec<u32>| if said.is_empty() { base } else { said.to_vec() };
    let n_rows = args.rows.unwrap_or(base.n_rows);
    Plan {
        n_repetitions: args.repetitions.unwrap_or(base.n_repetitions),
        prefill: or(&args.prefill, base.prefill),
        n_steps: args.decode.unwrap_or(base.n_steps),
        sequences: or(&args.sequences, base.sequences),
        n_rows,
        n_parallel: args.parallel.unwrap_or(base.n_parallel.min(n_rows.max(1))),
        ceiling: if args.no_ceiling { CeilingPlan::LeaveOut } else { CeilingPlan::Measure },
    }
}

fn earlier(path: &std::path::Path) -> Result<(String, Report), Failure> {
    let shown = path.display().to_string();
    let text = std::fs::File::open(path)
        .and_then(load::small_text)
        .map_err(|error| Failure::usage(format!("cannot read `{shown}`: {error}")))?;
    let report =
        compare::parse(&text).map_err(|error| Failure::usage(format!("`{shown}` cannot be compared: {error}")))?;
    Ok((shown, report))
}

fn for_people(report: &Report) -> String {
    let rows: Vec<Vec<String>> = text::lines(report)
        .into_iter()
        .map(|line| vec![line.figure, line.value, line.unit.to_owned(), line.ceiling])
        .collect();
    let setting = &report.setting;
    format!(
        "{} on {}, {}, llama-cpp-sys-2 {}\n\n{}\n{}{}",
        report.model.name,
        setting.devices.join(", "),
        counted(setting.n_threads.into(), "thread"),
        setting.llama_cpp,
        table(&["FIGURE", "VALUE", "UNIT", "CEILING"], &rows),
        text::ceilings(report),
        text::memory(report),
    )
}

fn comparison(compared: &compare::Comparison) -> String {
    let table = table(&["FIGURE", "BEFORE", "NOW", "UNIT", "RATIO"], &text::changes(&compared.changes));
    let differences: Vec<String> = compared.differences.iter().map(|line| format!("differs: {line}\n")).collect();
    format!("{table}{}", differences.concat())
}

fn json(compared: &compare::Comparison) -> serde_json::Value {
    let change = |change: &compare::Change| {
        serde_json::json!({
            "figure": change.figure, "unit": change.unit, "before": change.before, "now": change.now,
            "ratio": change.now / change.before,
        })
    };
    let changes: Vec<serde_json::Value> = compared.changes.iter().map(change).collect();
    serde_json::json!({ "changes": changes, "differences": compared.differences })
}
