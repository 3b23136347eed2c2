//! Who reads the environment, the home folder and the clock.

use super::modules::{Module, ModulePath, Modules};
use super::{name, root};

/// What computes from what it is given, the time included.
const WITHOUT_CLOCK: [&str; 20] = [
    "ggml_x86",
    "slm_cascade",
    "slm_server::api::admission::gates",
    "slm_infer::decide",
    "slm_infer::extract",
    "slm_remote::breaker",
    "slm_remote::dialect",
    "slm_remote::pace",
    "slm_remote::patience",
    "slm_server::residents::roster",
    "slm_engine::cache",
    "slm_engine::chunks",
    "slm_engine::scheduler",
    "slm_engine::scoring",
    "slm_engine::speculation",
    "slm_fit",
    "slm_stats",
    "slm_store::store",
    "slm_values",
    "slm_yaml",
];

/// Who asks the system for what its user has set up: the commands, and what tests share.
const ASKERS: [&str; 2] = ["slm::cli", "slm_testing"];

/// What shows the time of day, and stamps what it writes with it.
const FACES: [&str; 2] = ["slm::cli", "slm_server::api"];

fn is_in(module: &ModulePath, rooms: &[&str]) -> bool {
    let module = name(module);
    rooms.iter().any(|room| module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

fn reads(modules: &Modules, module: &ModulePath, what: &[[&str; 2]]) -> bool {
    modules.foreign(module).any(|path| what.iter().any(|what| path.ends_with(&what.map(str::to_owned))))
}

/// The modules that do what they should not.
fn found(modules: &Modules, is_wrong: impl Fn(&ModulePath, &Module) -> bool) -> Vec<String> {
    modules.all.iter().filter(|(path, module)| is_wrong(path, module)).map(|(path, _)| name(path)).collect()
}

#[test]
fn the_environment_and_the_home_folder_are_read_in_cli_alone() {
    let modules = Modules::read(root());
    let is_read = |path: &ModulePath| {
        modules.foreign(path).any(|used| match used.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["std", "env", "consts", ..] => false,
            ["std", "env", _, ..] | ["directories", ..] => true,
            _ => false,
        })
    };
    assert_eq!(found(&modules, |path, _| is_read(path) && !is_in(path, &ASKERS)), Vec::<String>::new());
    assert!(is_read(&["slm", "cli", "environment"].map(str::to_owned).to_vec()), "the test sees nothing");
}

#[test]
fn the_time_of_day_is_read_by_the_faces_alone() {
    let modules = Modules::read(root());
    let is_read = |path: &ModulePath| reads(&modules, path, &[["SystemTime", "now"]]);
    assert_eq!(found(&modules, |path, _| is_read(path) && !is_in(path, &FACES)), Vec::<String>::new());
    assert!(is_read(&["slm", "cli", "environment"].map(str::to_owned).to_vec()), "the test sees nothing");
}

#[test]
fn values_planners_and_the_store_read_no_clock() {
    let modules = Modules::read(root());
    let is_read = |path: &ModulePath, module: &Module| {
        reads(&modules, path, &[["Instant", "now"], ["SystemTime", "now"]]) || module.methods.contains("elapsed")
    };
    assert_eq!(
        found(&modules, |path, module| is_in(path, &WITHOUT_CLOCK) && is_read(path, module)),
        Vec::<String>::new()
    );
    let rooms = WITHOUT_CLOCK.iter().filter(|room| !modules.all.keys().any(|path| name(path) == **room));
    assert_eq!(rooms.collect::<Vec<_>>(), Vec::<&&str>::new(), "rooms that are not there");
    assert!(modules.all.iter().any(|(path, module)| is_read(path, module)), "the test sees nothing");
}
