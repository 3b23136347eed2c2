//! Where the clients live: a Python environment, a Node folder and a test suite below the build's own folder, made on first use and
//! kept for as long as what they are made of stays the same.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use slm::digest::Digest;

/// The scripts and the lists of what they need.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A Python interpreter that has the clients; where it cannot be made, says that tests are skipped.
pub fn python() -> Option<PathBuf> {
    let folder = kept("python", &["requirements.txt", "constraints.txt", "apart.txt"], |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
        run(pip.args(["-c", "constraints.txt"]).current_dir(sources()))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", "apart.txt"]);
        run(pip.current_dir(sources()))
    })?;
    Some(folder.join("bin/python"))
}

/// A Python interpreter that has lm-evaluation-harness; where it cannot be made, says that tests are skipped.
pub fn lm_eval() -> Option<PathBuf> {
    python_with("lm-eval", "lm_eval.txt")
}

/// A Python interpreter that has Ray; where it cannot be made, says that tests are skipped.
pub fn ray() -> Option<PathBuf> {
    python_with("ray", "ray.txt")
}

/// A Python interpreter beside which are what checks manifests and Dockerfiles; where it cannot be made, says that tests are skipped.
pub fn manifests() -> Option<PathBuf> {
    python_with("manifests", "manifests.txt")
}

/// A Python interpreter of its own with the packages of a list.
fn python_with(kind: &str, list: &str) -> Option<PathBuf> {
    let folder = kept(kind, &[list], |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", list]);
        run(pip.current_dir(sources()))
    })?;
    Some(folder.join("bin/python"))
}

/// A folder with Node's packages and copies of the scripts, as Node looks for packages beside a script; where it cannot be made,
/// says that tests are skipped.
pub fn node() -> Option<PathBuf> {
    let folder = kept("node", &["package.json", "package-lock.json"], |folder| {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(sources().join(name), folder.join(name)).map_err(|error| error.to_string())?;
        }
        run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(folder))
    })?;
    for path in entries(&sources()) {
        if path.extension().is_some_and(|extension| extension == "mjs") {
            std::fs::copy(&path, folder.join(path.file_name().expect("an entry has a name")))
                .expect("a writable folder");
        }
    }
    Some(folder)
}

/// The folder of JSON Schema's own test suite, which a package's source ships; where it cannot be obtained, says that tests are skipped.
pub fn suite() -> Option<PathBuf> {
    let folder = kept("suite", &["suite.txt"], |folder| {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-binary",
            ":all:",
        ]);
        run(pip.args(["-r", "suite.txt", "--dest"]).arg(folder).current_dir(sources()))?;
        let archive = entries(folder).into_iter().next().ok_or("pip downloaded nothing")?;
        run(Command::new("tar").arg("xzf").arg(archive).args(["--strip-components", "1"]).current_dir(folder))
    })?;
    Some(folder.join("json/tests"))
}

/// A folder that `make` makes, kept under a name of what it is made of.
fn kept(kind: &str, lists: &[&str], make: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    std::fs::create_dir_all(&all).expect("a writable folder");
    // Other test processes may want the same folder.
    let lock = File::create(all.join(format!("{kind}.lock"))).expect("a writable folder");
    lock.lock().expect("a lock");
    let texts: Vec<u8> = lists.iter().flat_map(|name| std::fs::read(sources().join(name)).expect("a list")).collect();
    let folder = all.join(format!("{kind}-{}", &Digest::of(&texts).hex()[..12]));
    let made = folder.join("made");
    if made.exists() {
        return Some(folder);
    }
    for path in entries(&all) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{kind}-"))) {
            std::fs::remove_dir_all(path).expect("a folder of ours");
        }
    }
    if let Err(why) = make(&folder) {
        slm_testing::skipped!("what the tests need of {kind} cannot be installed: {why}");
        return None;
    }
    std::fs::write(made, "").expect("a writable folder");
    Some(folder)
}

/// What is in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    entries.map(|entry| entry.expect("a readable entry").path()).collect()
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{:?} ended with {}: {}", command.get_program(), output.status, said.trim()))
}
