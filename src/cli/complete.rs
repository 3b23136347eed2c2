//! Completion in shells: commands and flags, which clap knows, and the names of the store's models.
//!
//! A shell's script calls slm with a variable that names the shell. Nothing but the store's folders is read then.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;

use clap::{Command, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use super::environment::Environment;

/// A shell that can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(alias = "pwsh")]
    Powershell,
}

/// The variable that a completion script sets to the name of its shell.
pub const VARIABLE: &str = "_SLM_COMPLETE";

const NAME: &str = "slm";

/// For an argument that is the name of a stored model.
#[must_use]
pub fn models() -> ArgValueCompleter {
    ArgValueCompleter::new(names)
}

/// Names that start with the typed text; `:latest` is left out unless the typed text has a colon.
fn names(typed: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(typed), Ok(store)) = (typed.to_str(), Environment::read().store()) else { return Vec::new() };
    let shown = |name: &str| match name.strip_suffix(":latest") {
        Some(short) if !typed.contains(':') => short.to_owned(),
        _ => name.to_owned(),
    };
    let names = store.names().into_iter().map(|name| shown(&name.to_string()));
    names.filter(|name| name.starts_with(typed)).map(CompletionCandidate::new).collect()
}

/// Answers a shell's script, if one asks; `words` are the process's arguments, with the line that is typed after `--`. What
/// goes wrong is not shown: it would be in the middle of that line.
pub fn answered(shell: Option<&OsStr>, words: impl Iterator<Item = OsString>, slm: fn() -> Command) -> bool {
    let Some(shell) = shell.and_then(OsStr::to_str) else { return false };
    let line: Vec<OsString> = words.skip_while(|word| word != "--").skip(1).collect();
    let shells: [&dyn EnvCompleter; 4] = [&Bash, &Zsh, &Fish, &Powershell];
    let Some(shell) = shells.into_iter().find(|known| known.is(shell)).filter(|_| !line.is_empty()) else {
        return true;
    };
    let mut slm = slm();
    slm.build();
    let mut candidates = Vec::new();
    if shell.write_complete(&mut slm, line, std::env::current_dir().ok().as_deref(), &mut candidates).is_ok() {
        let _ = std::io::stdout().write_all(&candidates);
    }
    true
}

/// The script that lets a shell ask.
#[must_use]
pub fn script(shell: Shell) -> String {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => return BASH.to_owned(),
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script).expect("a vector takes everything");
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell.is("zsh") {
        script += ZSH_AUTOLOADED;
    }
    script
}

/// Zsh reads the file on first use, and expects an answer at once.
const ZSH_AUTOLOADED: &str = "
if [[ $funcstack[1] == _slm ]]; then
    _clap_dynamic_completer_slm \"$@\"
fi
";

/// Bash cuts words at colons, which models' names have, and puts what it is given after the last one. So the words are put
/// together again for slm, and the part before the colon is removed from its answer.
const BASH: &str = r#"_slm() {
    local IFS=$'\013' words=() index=0 i word is_joined=
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 1)) && [[ -n $is_joined || $word == :* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        is_joined=
        [[ $word != *: ]] || is_joined=yes
        ((i != COMP_CWORD)) || index=$((${#words[@]} - 1))
    done
    local current=${words[index]} space=true
    ! compopt +o nospace 2>/dev/null || space=false
    COMPREPLY=($(_CLAP_IFS=$IFS _CLAP_COMPLETE_INDEX=$index _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE \
        _CLAP_COMPLETE_SPACE=$space _SLM_COMPLETE=bash slm -- "${words[@]}"))
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
    if [[ $space == false && ${COMPREPLY-} == *[=/:] ]]; then
        compopt -o nospace
    fi
}
complete -o nospace -o bashdefault -F _slm slm
"#;
