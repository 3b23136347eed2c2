//! Parses what a person typed: a text for the model, or a command with its arguments.

use std::str::FromStr;

/// What stands around a text of several lines.
pub const QUOTES: &str = "\"\"\"";

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// For the model.
    Text(String),
    Command(Command),
}

/// What a line that begins with `/` asks for; Ollama's words where it has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Set(Setting),
    Show(Part),
    Clear,
    Save(String),
    Load(String),
    Help(Topic),
    Bye,
}

/// What holds for the lines that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    System(String),
    /// A schema, `@FILE`, `json` or `none`.
    Format(String),
    /// Labels, separated by commas.
    Choices(String),
    /// `stop` takes several values, every other one of them.
    Parameter {
        name: String,
        values: Vec<String>,
    },
    Verbose(Switch),
    History(Switch),
    Think(Switch),
    /// Whether text is broken between words.
    WordWrap(Switch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// What of the session or of its model is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Session,
    Info,
    System,
    Template,
    Parameters,
    Modelfile,
    License,
}

/// What is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Commands,
    Set,
    Show,
    Keys,
}

/// Why a line that begins with `/` is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("there is no command `{word}`; {} to send text that begins with `/`, put it between `\"\"\"` and `\"\"\"`", meant(*near, "`/?` lists the commands;"))]
    Unknown { word: String, near: Option<&'static str> },
    #[error("`/set` has no setting `{word}`; {}", meant(*near, "`/? set` lists the settings"))]
    UnknownSetting { word: String, near: Option<&'static str> },
    #[error("`/show` has no part `{word}`; {}", meant(*near, "`/? show` lists the parts"))]
    UnknownPart { word: String, near: Option<&'static str> },
    #[error("there is no help on `{word}`; {}", meant(*near, "`/?` lists the commands"))]
    UnknownTopic { word: String, near: Option<&'static str> },
    #[error("the command is incomplete; type `{0}`")]
    Missing(&'static str),
    #[error("`{command}` takes no arguments; remove `{rest}`")]
    Surplus { command: String, rest: String },
}

/// What to do about an unknown word.
fn meant(near: Option<&str>, otherwise: &str) -> String {
    near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
}

/// The commands, as completion and suggestions know them.
pub const COMMANDS: [&str; 8] = ["/set", "/show", "/clear", "/save", "/load", "/help", "/?", "/bye"];
/// What `/set` knows.
pub const SETTINGS: [&str; 14] = [
    "system",
    "format",
    "noformat",
    "choices",
    "parameter",
    "verbose",
    "noverbose",
    "quiet",
    "history",
    "nohistory",
    "think",
    "nothink",
    "wordwrap",
    "nowordwrap",
];
/// What `/show` knows.
pub const PARTS: [(&str, Part); 6] = [
    ("info", Part::Info),
    ("system", Part::System),
    ("template", Part::Template),
    ("parameters", Part::Parameters),
    ("modelfile", Part::Modelfile),
    ("license", Part::License),
];

impl FromStr for Entry {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Entry, CommandError> {
        let line = line.trim();
        if line.starts_with('/') {
            line.parse().map(Entry::Command)
        } else {
            Ok(Entry::Text(unquoted(line).to_owned()))
        }
    }
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Command, CommandError> {
        let (word, rest) = first_word(line);
        let alone = |command: Command| match rest {
            "" => Ok(command),
            rest => Err(CommandError::Surplus { command: word.to_owned(), rest: shown(rest) }),
        };
        let needed = |usage: &'static str| if rest.is_empty() { Err(CommandError::Missing(usage)) } else { Ok(rest) };
        match word {
            "/set" => setting(needed("/set NAME VALUE")?).map(Command::Set),
            "/show" => part(rest).map(Command::Show),
            "/clear" => alone(Command::Clear),
            "/save" => needed("/save NAME").map(|name| Command::Save(name.to_owned())),
            "/load" => needed("/load NAME").map(|name| Command::Load(name.to_owned())),
            "/help" | "/?" => topic(rest).map(Command::Help),
            "/bye" | "/exit" | "/quit" => alone(Command::Bye),
            word => Err(CommandError::Unknown { word: shown(word), near: nearest(word, COMMANDS) }),
        }
    }
}

fn setting(text: &str) -> Result<Setting, CommandError> {
    let (word, rest) = first_word(text);
    let value = |usage: &'static str| match unquoted(rest) {
        "" => Err(CommandError::Missing(usage)),
        value => Ok(value.to_owned()),
    };
    let alone = |setting: Setting| match rest {
        "" => Ok(setting),
        rest => Err(CommandError::Surplus { command: format!("/set {word}"), rest: shown(rest) }),
    };
    match word {
        "system" => value("/set system TEXT").map(Setting::System),
        "format" => value("/set format SCHEMA|@FILE|json|none").map(Setting::Format),
        "noformat" => alone(Setting::Format("none".to_owned())),
        "choices" => value("/set choices A,B,C").map(Setting::Choices),
        "parameter" => parameter(rest),
        "verbose" => alone(Setting::Verbose(Switch::On)),
        "noverbose" | "quiet" => alone(Setting::Verbose(Switch::Off)),
        "history" => alone(Setting::History(Switch::On)),
        "nohistory" => alone(Setting::History(Switch::Off)),
        "think" => alone(Setting::Think(Switch::On)),
        "nothink" => alone(Setting::Think(Switch::Off)),
        "wordwrap" => alone(Setting::WordWrap(Switch::On)),
        "nowordwrap" => alone(Setting::WordWrap(Switch::Off)),
        word => {
            let near = nearest(word, SETTINGS);
            Err(CommandError::UnknownSetting { word: shown(word), near })
        }
    }
}

fn parameter(text: &str) -> Result<Setting, CommandError> {
    let (name, rest) = first_word(text);
    let values = words(rest);
    if name.is_empty() || values.is_empty() {
        return Err(CommandError::Missing("/set parameter NAME VALUE"));
    }
    Ok(Setting::Parameter { name: name.to_owned(), values })
}

fn part(text: &str) -> Result<Part, CommandError> {
    if text.is_empty() {
        return Ok(Part::Session);
    }
    let known = PARTS.iter().find(|(name, _)| *name == text).map(|(_, part)| *part);
    known.ok_or_else(|| {
        let near = nearest(text, PARTS.map(|(name, _)| name));
        CommandError::UnknownPart { word: shown(text), near }
    })
}

fn topic(text: &str) -> Result<Topic, CommandError> {
    match text.trim_start_matches('/') {
        "" => Ok(Topic::Commands),
        "set" => Ok(Topic::Set),
        "show" => Ok(Topic::Show),
        "keys" | "shortcuts" => Ok(Topic::Keys),
        word => {
            let near = nearest(word, ["set", "show", "keys"]);
            Err(CommandError::UnknownTopic { word: shown(word), near })
        }
    }
}

/// A line's first word and the rest.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// Words separated by spaces; a word between `"` and `"` may contain spaces.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
            Some((word, behind)) => (word, behind),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}

/// A text without the quotes around it.
fn unquoted(text: &str) -> &str {
    let within = |quotes: &str| text.strip_prefix(quotes)?.strip_suffix(quotes);
    within(QUOTES).map(|text| text.trim_matches('\n')).unwrap_or(text)
}

/// Whether quotes were opened and not closed, so that more lines belong to the input.
#[must_use]
pub fn is_open(input: &str) -> bool {
    let input = input.trim_start();
    let may_be_quoted = input.starts_with(QUOTES) || input.starts_with("/set ");
    may_be_quoted && input.matches(QUOTES).count() % 2 == 1
}

/// The name that someone may have meant.
fn nearest<const N: usize>(word: &str, names: [&'static str; N]) -> Option<&'static str> {
    let word: String = word.chars().take(40).collect::<String>().to_lowercase();
    let by_distance = names.into_iter().map(|name| (strsim::damerau_levenshtein(&word, name), name));
    let (distance, near) = by_distance.min()?;
    (distance <= 2.min(near.trim_start_matches('/').len() / 2)).then_some(near)
}

/// The beginning of what someone wrote, for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, String> {
        match line.parse() {
            Ok(Entry::Command(command)) => Ok(command),
            Ok(Entry::Text(text)) => panic!("`{text}` is a text"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn text(line: &str) -> String {
        match line.parse() {
            Ok(Entry::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_begin_with_a_slash_is_for_the_model() {
        assert_eq!(text("  I was charged twice "), "I was charged twice");
        assert_eq!(text("\"\"\"\nTwo\n  lines\n\"\"\""), "Two\n  lines");
        assert_eq!(text("\"\"\"/etc/passwd is gone\"\"\""), "/etc/passwd is gone");
        assert_eq!(text("he said \"no\""), "he said \"no\"");
    }

    #[test]
    fn commands_are_read_with_what_belongs_to_them() {
        let set = |setting| Ok(Command::Set(setting));
        assert_eq!(command("/set system Answer  in French"), set(Setting::System("Answer  in French".to_owned())));
        assert_eq!(command("/set system \"\"\"a\nb\"\"\""), set(Setting::System("a\nb".to_owned())));
        assert_eq!(command("/set format none"), command("/set noformat"));
        assert_eq!(command("/set choices a, b,c"), set(Setting::Choices("a, b,c".to_owned())));
        let parameter = |name: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            set(Setting::Parameter { name: name.to_owned(), values })
        };
        assert_eq!(command("/set parameter temperature 0.2"), parameter("temperature", &["0.2"]));
        assert_eq!(command("/set parameter stop \"the end\" ###"), parameter("stop", &["the end", "###"]));
        assert_eq!(command("/set noverbose"), command("/set quiet"));
        assert_eq!(command("/show"), Ok(Command::Show(Part::Session)));
        assert_eq!(command("/show modelfile"), Ok(Command::Show(Part::Modelfile)));
        assert_eq!(command(" /save my/model:1 "), Ok(Command::Save("my/model:1".to_owned())));
        assert_eq!(command("/? set"), Ok(Command::Help(Topic::Set)));
        assert_eq!(command("/help /show"), Ok(Command::Help(Topic::Show)));
        assert_eq!(command("/bye"), Ok(Command::Bye));
    }

    #[test]
    fn a_wrong_command_says_what_is_near_and_what_to_do() {
        let refused = |line: &str| command(line).unwrap_err();
        let quotes = "to send text that begins with `/`, put it between `\"\"\"` and `\"\"\"`";
        assert_eq!(refused("/shwo"), format!("there is no command `/shwo`; did you mean `/show`? {quotes}"));
        let list = "`/?` lists the commands";
        assert_eq!(refused("/etc/passwd"), format!("there is no command `/etc/passwd`; {list}; {quotes}"));
        assert_eq!(refused("/set sytem x"), "`/set` has no setting `sytem`; did you mean `system`?");
        assert_eq!(refused("/set colour red"), "`/set` has no setting `colour`; `/? set` lists the settings");
        assert_eq!(refused("/show licence"), "`/show` has no part `licence`; did you mean `license`?");
        assert_eq!(refused("/? bye"), "there is no help on `bye`; `/?` lists the commands");
        assert_eq!(refused("/set"), "the command is incomplete; type `/set NAME VALUE`");
        assert_eq!(refused("/set system"), "the command is incomplete; type `/set system TEXT`");
        assert_eq!(refused("/set parameter seed"), "the command is incomplete; type `/set parameter NAME VALUE`");
        assert_eq!(refused("/save"), "the command is incomplete; type `/save NAME`");
        assert_eq!(refused("/clear all"), "`/clear` takes no arguments; remove `all`");
    }

    #[test]
    fn lines_go_on_while_quotes_are_open() {
        assert!(is_open("\"\"\"one") && is_open("/set system \"\"\"one\ntwo"));
        assert!(!is_open("\"\"\"one\ntwo\"\"\"") && !is_open("plain") && !is_open("a \"\"\" in a text"));
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_strange(line in "\\PC*", start in "(/(set|show|\\?)? ?)?") {
            let _ = format!("{start}{line}").parse::<Entry>();
        }
    }
}
