//! What is near is found: names while they are typed, names that are misspelt, the server of the store, and what a person is
//! asked before something is lost.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::serve::Server;
use crate::slm::{Home, files};
use crate::terminal::search_path;

const SLM: &str = env!("CARGO_BIN_EXE_slm");

fn home_with(names: &[(&str, &str)]) -> Home {
    let home = Home::new();
    for (name, system) in names {
        let file = home.file("Modelfile", format!("FROM triage\nSYSTEM {system}"));
        home.slm(["create", name, "-f", file.to_str().unwrap()]).succeeds();
    }
    home
}

/// What a command shows at a terminal of 60 columns that answers so; `None` where `script` does not pretend to be one.
fn at_a_terminal(home: &Home, command: &str, answers: &str) -> Option<(Option<i32>, String)> {
    if !Path::new("/usr/bin/script").exists() {
        slm_testing::skipped!("`/usr/bin/script` does not exist");
        return None;
    }
    let line = format!("stty rows 40 cols 60; '{SLM}' {command}");
    let mut script = Command::new("/usr/bin/script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(home.path()).env_clear();
    script.env("HOME", home.path()).env("PATH", "/usr/bin:/bin").env("SLM_REGISTRY", "127.0.0.1:1");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    // The terminal shows what is typed, at whatever moment.
    let shown = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    Some((output.status.code(), shown.strip_prefix(answers).map_or_else(|| shown.clone(), str::to_owned)))
}

#[test]
fn a_misspelt_name_is_asked_about_before_anything_is_pulled() {
    let home = Home::new();
    let question = "slm: there is no model `triagee` here. Did you mean\n`triage:latest`? [y/N, p pulls `triagee`] ";
    let Some((code, said)) = at_a_terminal(&home, "run triagee --choices one,two x", "y\n") else { return };
    assert!(
        said.contains(question)
            && ["one", "two"].iter().any(|label| said.ends_with(&format!("{label}\n")) || said.contains(" %")),
        "{said}"
    );
    assert_eq!(code, Some(0));
    let (code, said) = at_a_terminal(&home, "run triagee --choices one,two x", "\n").unwrap();
    let refused = "slm: there is no model `triagee`; `slm list` shows those you\nhave\n";
    assert!(said.contains(question) && said.ends_with(refused) && !said.contains("pulling"), "{said}");
    assert_eq!(code, Some(1));
    let (code, said) = at_a_terminal(&home, "run triagee --choices one,two x", "p\n").unwrap();
    assert!(said.contains("pulling it\n"), "{said}");
    assert_eq!(code, Some(1));
    // A Modelfile is made of the one that was meant.
    home.file("Modelfile", "FROM triagee");
    let (code, said) = at_a_terminal(&home, "create mine", "y\n").unwrap();
    assert!(code == Some(0) && said.contains("created mine:latest"), "{said}");
    // What is like nothing here is pulled without a question.
    let (_, said) = at_a_terminal(&home, "run something x", "").unwrap();
    assert!(said.starts_with("slm: `something:latest` is not here yet: pulling it\n"), "{said}");
}

#[test]
fn each_of_several_models_is_asked_about() {
    let home = home_with(&[("one", "1"), ("two", "2"), ("three", "3")]);
    let Some((code, said)) = at_a_terminal(&home, "rm one two three", "y\nn\ny\n") else { return };
    assert_eq!(code, Some(0), "{said}");
    for name in ["one", "two", "three"] {
        assert!(said.contains(&format!("`{name}:latest` was not downloaded")), "{said}");
    }
    assert_eq!(home.slm(["list"]).succeeds().matches("two:latest").count(), 1);
    let (code, said) = at_a_terminal(&home, "rm two", "n\n").unwrap();
    assert_eq!((code, said.ends_with("slm: nothing was removed\n")), (Some(1), true), "{said}");
}

/// A model that stays is the other name of one that goes: with it nothing is lost.
#[test]
fn a_name_whose_twin_stays_is_not_asked_about() {
    let home = home_with(&[("one", "1")]);
    home.slm(["cp", "one", "twin"]).succeeds();
    let Some((code, said)) = at_a_terminal(&home, "rm one twin", "n\n") else { return };
    assert_eq!((code, said.matches("[y/N]").count()), (Some(0), 1), "{said}");
    assert!(said.ends_with("removed twin:latest (0 B freed)\n"), "{said}");
}

#[test]
fn create_replaces_what_may_be_lost_only_where_somebody_says_so() {
    let home = home_with(&[("mine", "one")]);
    let before = files(&home.models().join("manifests"));
    home.file("Modelfile", "FROM triage\nSYSTEM two");
    let refused = "slm: `mine:latest` was not downloaded by slm and may be lost for good; replace it with --yes\n";
    home.slm(["create", "mine"]).fails(1, refused);
    assert_eq!(files(&home.models().join("manifests")), before);
    // The same again replaces nothing.
    home.file("Same", "FROM triage\nSYSTEM one");
    home.slm(["create", "mine", "-f", "Same"]).succeeds();
    home.slm(["create", "mine", "--yes"]).succeeds();
    assert_ne!(files(&home.models().join("manifests")), before);
    // What has another name too can be obtained again.
    home.slm(["cp", "mine", "kept"]).succeeds();
    home.slm(["create", "mine", "-f", "Same"]).succeeds();
    let Some((code, said)) = at_a_terminal(&home, "create mine", "y\n") else { return };
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("slm: `mine:latest` was not downloaded by slm and may be lost\nfor good. Replace it? [y/N] "),
        "{said}"
    );
}

#[test]
fn ps_and_stop_find_the_server_of_the_store() {
    let home = home_with(&[("tickets", "1")]);
    // It wants a key of its clients, and listens where nobody has said.
    let _server = Server::with(&home, &[("SLM_API_KEY", "secret")]);
    assert_eq!(home.slm(["ps"]).succeeds(), "NAME  ID  SIZE  PROCESSOR  CONTEXT  UNTIL\n");
    for name in ["triage", "tickets"] {
        home.slm(["run", name, "--choices", "one,two", "x"]).succeeds();
    }
    let shown = home.slm(["ps"]).succeeds();
    let lines: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines.iter().all(|line| line.ends_with("  4 minutes from now")), "{shown}");
    // They share an engine, and each has half of it.
    let sizes = home.slm(["ps", "--json"]).json();
    let sizes: Vec<u64> = (0..2).map(|n| sizes["models"][n]["size"].as_u64().unwrap()).collect();
    assert!(sizes[0] > 0 && sizes[0].abs_diff(sizes[1]) < sizes[0] / 4, "{sizes:?}");
    home.slm(["stop", "triage", "tickets"]).succeeds();
    assert_eq!(home.slm(["ps", "--json"]).json(), json!({"models": []}));
    // An address that is given is asked, and no other.
    let said = home.slm(["ps"]).env("SLM_HOST", "127.0.0.1:1").ends(1);
    assert_eq!(
        said.stderr,
        "slm: no server is running at `http://127.0.0.1:1`; start one with `slm serve`, or see `slm doctor`\n"
    );
    let found = home.slm(["doctor"]).ends(0).stdout;
    assert!(found.contains(&format!("server          slm {} for this store\n", env!("CARGO_PKG_VERSION"))), "{found}");
}

/// What the binary offers a shell for the last of these words.
fn offered(home: &Home, shell: &str, words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let call = home.slm(["--"].iter().chain(words));
    let call = call.env("_SLM_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", index).env("_CLAP_IFS", "\n");
    // Zsh's help comes after a colon, and a name's own colon has a stroke before it; fish's comes after a tab.
    let name = |line: &str| match shell {
        "zsh" => line.replace("\\:", "\t").split(':').next().unwrap_or_default().replace('\t', ":"),
        _ => line.split('\t').next().unwrap_or_default().to_owned(),
    };
    call.succeeds().lines().map(name).collect()
}

#[test]
fn shells_are_offered_the_names_of_models() {
    let home = home_with(&[("tickets", "1"), ("tickets:two", "2"), ("team/other", "3")]);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let offered = |words: &[&str]| offered(&home, shell, words);
        assert_eq!(offered(&["slm", "run", "t"]), ["tickets", "tickets:two", "triage", "team/other"], "{shell}");
        assert_eq!(offered(&["slm", "rm", "tickets", "tickets:"]), ["tickets:latest", "tickets:two"], "{shell}");
        assert_eq!(offered(&["slm", "show", "nothing"]), [""; 0], "{shell}");
        for command in ["show", "cp", "push", "verify", "stop", "bench"] {
            assert_eq!(offered(&["slm", command, "tri"]), ["triage"], "{shell} {command}");
        }
        assert_eq!(offered(&["slm", "doct"]), ["doctor"], "{shell}");
        assert_eq!(offered(&["slm", "ps", "--js"]), ["--json"], "{shell}");
    }
    // Nothing is printed for an unknown shell, or where no line is passed.
    assert_eq!(offered(&home, "csh", &["slm", "run", "t"]), [""; 0]);
    assert_eq!(home.slm(["list"]).env("_SLM_COMPLETE", "bash").succeeds(), "");
}

/// What a shell prints that runs this with `slm` on its path and two models in the store; `None` where there is no such shell.
fn printed(shell: &str, arguments: &[&str]) -> Option<String> {
    let home = home_with(&[("tickets", "1"), ("tickets:two", "2")]);
    let mut command = Command::new(shell);
    command.args(arguments).env_clear().current_dir(home.path());
    let command = command.env("HOME", home.path()).env("PATH", search_path()).env("TERM", "dumb");
    let Ok(output) = command.output() else {
        slm_testing::skipped!("there is no `{shell}`");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"))
}

#[test]
fn bash_completes_names() {
    // As bash has cut a line at its colon.
    let script = "source <(slm completions bash); COMP_TYPE=9
        ask() { COMP_WORDS=(slm run \"$@\") COMP_CWORD=$(($# + 1)); _slm slm \"${!#}\" \"\"; echo \"${COMPREPLY[@]}\"; }
        ask tick; ask tickets :; ask tickets : t";
    if let Some(said) = printed("bash", &["-c", script]) {
        assert_eq!(said, "tickets tickets:two\nlatest two\ntwo\n");
    }
}

#[test]
fn fish_completes_names() {
    let script = "slm completions fish | source; complete -C 'slm run tick'; complete -C 'slm rm tickets:'";
    if let Some(said) = printed("fish", &["-c", script]) {
        assert_eq!(said, "tickets\ntickets:two\ntickets:latest\ntickets:two\n");
    }
}

/// Zsh completes only on a terminal.
#[test]
fn zsh_completes_names() {
    let script = r#"mkdir fpath && slm completions zsh > fpath/_slm && zmodload zsh/zpty && zpty z zsh -f -i
        zpty -w z 'PS1=; fpath=($PWD/fpath $fpath); autoload -Uz compinit; compinit -u; print re''ady'
        zpty -r z said '*ready*'; zpty -n -w z $'slm run tickets:t\t'; zpty -r -m z said '*tickets:two*' && print found"#;
    if let Some(said) = printed("zsh", &["-c", script]) {
        assert_eq!(said, "found\n");
    }
}

#[test]
fn powershell_completes_names() {
    let script = "slm completions powershell | Out-String | Invoke-Expression; foreach ($line in 'slm run tick', 'slm rm tickets:') {
        (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText }";
    if let Some(said) = printed("pwsh", &["-NoProfile", "-NonInteractive", "-Command", script]) {
        assert_eq!(said, "tickets\ntickets:two\ntickets:latest\ntickets:two\n");
    }
}
