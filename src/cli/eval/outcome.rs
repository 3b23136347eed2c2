//! What becomes of a run: its report in every form that was asked for, its baseline, and the exit code.

use std::path::Path;

use slm_stats::paired::Margin;

use super::args::{EvalArgs, ReportArgs};
use crate::cli::environment::Environment;
use crate::eval::baseline::{Baseline, BaselineError, Change};
use crate::eval::record::Records;
use crate::eval::report::Wanted;
use crate::eval::suite::Gate;
use crate::eval::{Detail, Report};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::{Output, say};

/// What is held against the answers.
pub struct Demands {
    pub gate: Gate,
    pub margin: Option<Margin>,
    pub baseline: Option<Baseline>,
}

/// The baseline file, where there is to be one.
///
/// # Errors
/// It cannot be read, or is not there and is not to be written either.
pub fn read_baseline(args: &EvalArgs) -> Result<Option<Baseline>, Failure> {
    let Some(path) = &args.gate.baseline else { return Ok(None) };
    match Baseline::read(path) {
        Ok(baseline) => Ok(Some(baseline)),
        // Whatever was there is written anew.
        Err(BaselineError::Missing { .. } | BaselineError::NotABaseline { .. }) if args.gate.bless => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Tells what came of a run over `total` rows.
///
/// # Errors
/// Something cannot be written, or the baseline is of another suite.
pub fn tell(records: &Records, total: usize, demands: Demands, args: &EvalArgs, environment: &Environment) -> Outcome {
    let changes = changes(records, &demands, args)?;
    let ReportArgs { rows, csv, ref output, .. } = args.report;
    let detail = if rows || csv || output.is_some() { Detail::Rows } else { Detail::Summary };
    let wanted = Wanted { margin: demands.margin, changes, gate: demands.gate };
    let report = Report::of(records, total, wanted, detail);
    write(&report, args, environment)?;
    if let (Some(path), true) = (&args.gate.baseline, args.gate.bless) {
        if report.counts.rows < report.counts.total {
            return Err(Failure::failed("the run is not whole, so the baseline stays as it is"));
        }
        Baseline::of(records).write(path)?;
        say(format_args!("`{}` has this run's answers now", path.display()));
        return Ok(Exit::Done);
    }
    let has_passed = report.gate.as_ref().is_none_or(|gate| gate.passed);
    Ok(if has_passed { Exit::Done } else { Exit::NotMet })
}

fn changes(records: &Records, demands: &Demands, args: &EvalArgs) -> Result<Vec<Change>, Failure> {
    let (Some(path), Some(baseline)) = (&args.gate.baseline, &demands.baseline) else { return Ok(Vec::new()) };
    match baseline.changes(records, demands.gate.level, path) {
        Ok(changes) => Ok(changes),
        // It is written anew, and the old one says nothing of this run.
        Err(_) if args.gate.bless => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn write(report: &Report, args: &EvalArgs, environment: &Environment) -> Result<(), Failure> {
    let mut output = Output::default();
    if args.report.json {
        // The page's rows are not asked for here.
        let rows = if args.report.rows { report.rows.clone() } else { None };
        let told = Report { rows, ..report.clone() };
        output.json(&serde_json::to_value(told).expect("a report is plain data"))?;
    } else if args.report.csv {
        output.text(&report.to_csv())?;
    } else if args.report.markdown {
        output.text(&report.to_markdown())?;
    } else {
        output.text(&report.to_text())?;
    }
    let is_read_by_programs = args.report.json || args.report.csv;
    if args.gate.github || environment.is_on_github() && !is_read_by_programs {
        output.text(&report.to_github())?;
    }
    let written = |path: &Path, text: String| {
        let written = std::fs::write(path, text);
        written.map_err(|error| Failure::failed(format!("cannot write `{}`: {error}", path.display())))
    };
    if let Some(path) = &args.gate.junit {
        written(path, report.to_junit())?;
    }
    if let Some(path) = &args.report.output {
        written(path, report.to_html())?;
    }
    Ok(())
}
