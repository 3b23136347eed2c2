//! `slm tune --setup`: a Python environment for training, made with uv or venv once a person has agreed.

use std::path::Path;
use std::process::Command;

use super::args::{TorchBuild, TuneArgs};
use super::python::in_folder;
use crate::cli::confirm;
use crate::cli::environment::Environment;
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::say;
use crate::ui::table::size;

/// What is installed: the versions with which the trainer was tried.
const PACKAGES: [&str; 6] =
    ["trl==1.16.0", "transformers==5.24.0", "peft==0.21.2", "accelerate==1.15.0", "gguf==0.19.0", "safetensors==0.8.0"];
const TORCH: &str = "torch==2.15.0";

impl TorchBuild {
    /// What this machine's devices need.
    fn of_this_machine() -> TorchBuild {
        if Path::new("/proc/driver/nvidia/version").exists() {
            TorchBuild::Cuda
        } else if Path::new("/dev/kfd").exists() {
            TorchBuild::Rocm
        } else {
            TorchBuild::Cpu
        }
    }

    fn describe(self) -> &'static str {
        match self {
            TorchBuild::Cpu => "PyTorch for the CPU",
            TorchBuild::Cuda => "PyTorch with CUDA",
            TorchBuild::Rocm => "PyTorch with ROCm",
            TorchBuild::Pypi => "PyPI's PyTorch",
        }
    }

    /// About what it takes on disk, all packages together: measured for CUDA, for the others what their files say.
    fn n_bytes(self) -> u64 {
        match self {
            TorchBuild::Cpu => 1_500_000_000,
            TorchBuild::Cuda | TorchBuild::Pypi => 5_800_000_000,
            TorchBuild::Rocm => 20_000_000_000,
        }
    }

    /// The arguments of uv that choose it.
    fn for_uv(self) -> &'static [&'static str] {
        match self {
            TorchBuild::Cpu => &["--torch-backend", "cpu"],
            TorchBuild::Cuda | TorchBuild::Rocm => &["--torch-backend", "auto"],
            TorchBuild::Pypi => &[],
        }
    }
}

/// Makes the environment.
///
/// # Errors
/// The person does not agree, there is no room, or a step fails.
pub fn run(args: &TuneArgs, environment: &Environment) -> Outcome {
    let folder = environment.tuning_python();
    let folder = folder.ok_or_else(|| Failure::failed("there is no home folder for an environment; set HOME"))?;
    let build = args.other.pytorch.unwrap_or_else(TorchBuild::of_this_machine);
    if in_folder(folder).exists() && works(folder) {
        say(format_args!("`{}` is ready; remove the folder to make it anew", folder.display()));
        return Ok(Exit::Done);
    }
    let tool = Tool::found()?;
    let build = match (build, tool) {
        (TorchBuild::Cpu, Tool::Venv) if cfg!(target_os = "linux") => {
            say(
                "pip installs PyTorch with CUDA, also where there is no GPU; with uv it is the one for the CPU, a quarter of the size",
            );
            TorchBuild::Pypi
        }
        (build, _) => build,
    };
    say(format_args!(
        "{} and {} would be installed with {} into `{}`, about {}",
        build.describe(),
        PACKAGES.join(", "),
        tool.name(),
        folder.display(),
        size(build.n_bytes())
    ));
    check_room(folder, build.n_bytes())?;
    if !args.yes {
        confirm::agreed("Install it?", "--yes")?;
    }
    if build == TorchBuild::Rocm && tool == Tool::Venv {
        return Err(Failure::failed(
            "PyTorch with ROCm is chosen by uv; install uv, or make an environment yourself and give it with --python",
        ));
    }
    tool.make(folder)?;
    tool.install(folder, build).map_err(|failure| match (tool, build) {
        (Tool::Venv, _) | (Tool::Uv, TorchBuild::Pypi) => failure,
        // The builds for the CPU and for GPUs come from PyTorch's own server.
        (Tool::Uv, _) => Failure::failed(format!(
            "{}; where PyTorch's own server cannot be reached, --pytorch pypi takes PyPI's build",
            failure.message
        )),
    })?;
    if !works(folder) {
        return Err(Failure::failed(format!(
            "the packages are installed, but `{}` cannot import them; run it with `-c \"import torch, transformers, trl, peft, gguf\"`",
            in_folder(folder).display()
        )));
    }
    say(format_args!("`{}` is ready; `slm tune` uses it", folder.display()));
    Ok(Exit::Done)
}

/// Who installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Uv,
    Venv,
}

impl Tool {
    fn found() -> Result<Tool, Failure> {
        let there = |program: &str, args: &[&str]| {
            Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
        };
        if there("uv", &["--version"]) {
            return Ok(Tool::Uv);
        }
        if there("python3", &["-c", "import venv, ensurepip"]) {
            return Ok(Tool::Venv);
        }
        Err(Failure::failed("neither uv nor Python 3 with venv is here; install one of them (on Debian: python3-venv)"))
    }

    fn name(self) -> &'static str {
        match self {
            Tool::Uv => "uv",
            Tool::Venv => "pip",
        }
    }

    fn make(self, folder: &Path) -> Result<(), Failure> {
        if let Some(parent) = folder.parent() {
            let made = std::fs::create_dir_all(parent);
            made.map_err(|error| Failure::failed(format!("cannot create `{}`: {error}", parent.display())))?;
        }
        match self {
            Tool::Uv => done(Command::new("uv").args(["venv", "--allow-existing"]).arg(folder)),
            Tool::Venv => done(Command::new("python3").args(["-m", "venv"]).arg(folder)),
        }
    }

    fn install(self, folder: &Path, build: TorchBuild) -> Result<(), Failure> {
        let python = in_folder(folder);
        match self {
            Tool::Uv => {
                let mut command = Command::new("uv");
                command.args(["pip", "install", "--python"]).arg(python).args(build.for_uv());
                done(command.arg(TORCH).args(PACKAGES))
            }
            Tool::Venv => {
                let pip = || {
                    let mut command = Command::new(&python);
                    command.args(["-m", "pip", "install", "--disable-pip-version-check"]);
                    command
                };
                done(pip().arg(TORCH))?;
                done(pip().args(PACKAGES))
            }
        }
    }
}

/// Whether the environment has what the trainer imports.
fn works(folder: &Path) -> bool {
    let import = ["-c", "import torch, transformers, trl, peft, gguf"];
    Command::new(in_folder(folder)).args(import).output().is_ok_and(|output| output.status.success())
}

/// Runs a step with its output on the terminal.
fn done(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}").replace('"', "");
    match command.stdout(std::process::Stdio::from(std::io::stderr())).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("`{shown}` ended with {status}; its own messages are above"))),
        Err(error) => Err(Failure::failed(format!("cannot run `{shown}`: {error}"))),
    }
}

fn check_room(folder: &Path, n_bytes: u64) -> Result<(), Failure> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let Ok(found) = rustix::fs::statvfs(there) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= n_bytes {
        return Ok(());
    }
    let (needed, free) = (size(n_bytes), size(free));
    Err(Failure::failed(format!(
        "`{}` has {free} free, and about {needed} are needed; make room first",
        there.display()
    )))
}
