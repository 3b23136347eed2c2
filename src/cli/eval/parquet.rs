//! `slm parquet-rows`: the process in which a command reads a Parquet file, bounded in memory and time; and how it is started.

use std::io::{BufWriter, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::eval::data::MAX_BYTES;
use crate::eval::data::parquet::{Request, write_rows};
use crate::failure::{Exit, Failure, Outcome};

/// The most memory that reading a file may take, in bytes of address space; Linux keeps to it.
const MAX_MEMORY: u64 = 6 << 30;
/// The most processor time, in seconds.
const MAX_SECONDS: u64 = 600;

/// Write the rows of a Parquet file as JSON
#[derive(Debug, Args)]
pub struct ParquetRowsArgs {
    path: PathBuf,
    /// Only this column; several are given one by one
    #[arg(long)]
    column: Vec<String>,
    /// Every column
    #[arg(long, conflicts_with = "column")]
    all: bool,
    #[arg(long)]
    limit: usize,
}

/// Reads a file within bounds, on whatever ends.
///
/// # Errors
/// It cannot be read.
pub fn run(args: &ParquetRowsArgs) -> Outcome {
    bound(Resource::As, MAX_MEMORY);
    bound(Resource::Cpu, MAX_SECONDS);
    let columns = if args.all { None } else { Some(args.column.clone()) };
    let request = Request { path: args.path.clone(), columns, limit: args.limit };
    write_rows(&request, &mut BufWriter::new(std::io::stdout().lock()))
        .map_err(|error| Failure::failed(error.to_string()))?;
    Ok(Exit::Done)
}

/// Sets a limit of this process, where it has not a lower one.
fn bound(resource: Resource, most: u64) {
    let limit = getrlimit(resource);
    let current = Some(limit.current.unwrap_or(most).min(most));
    // A system that does not let it has none; the row's bytes are bounded in any case.
    let _ = setrlimit(resource, Rlimit { current, ..limit });
}

/// What the process says of a file.
///
/// # Errors
/// It cannot be started, or ended without a whole answer: why, as far as it said.
pub fn read_apart(request: &Request) -> Result<Vec<u8>, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find slm's own binary: {error}"))?;
    let mut command = Command::new(program);
    command.arg("parquet-rows").arg("--limit").arg(request.limit.to_string());
    match &request.columns {
        None => command.arg("--all"),
        Some(columns) => command.args(columns.iter().map(|column| format!("--column={column}"))),
    };
    command.arg("--").arg(&request.path).env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start the process that reads it: {error}"))?;
    let mut bytes = Vec::new();
    let stdout = child.stdout.take().expect("it is piped");
    let read = stdout.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > MAX_BYTES {
        // What it would still say does not matter.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("its rows have more than {MAX_BYTES} bytes as JSON; take a sample"));
    }
    let output = child.wait_with_output().and_then(|output| read.map(|_| output));
    let output = output.map_err(|error| format!("the process that reads it cannot be heard: {error}"))?;
    if output.status.success() {
        return Ok(bytes);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find_map(|line| line.strip_prefix("slm: "));
    Err(match (said, output.status.signal()) {
        (Some(said), _) => said.to_owned(),
        (None, Some(signal)) => format!(
            "its reader was ended by signal {signal}; the file is damaged, or takes more than {} GB or {MAX_SECONDS} s",
            MAX_MEMORY >> 30
        ),
        (None, None) => "its reader found it damaged".to_owned(),
    })
}
