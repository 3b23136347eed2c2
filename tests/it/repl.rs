//! `slm run MODEL` as a person at a terminal has it: through a pseudo-terminal, which util-linux's `script` gives.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::serve::Server;
use crate::slm::Home;
use crate::terminal::{PATIENCE, PROMPT, Terminal};

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
const HINT: &str = "type /? for help, /bye or Ctrl-D to leave\n";

/// A session on a terminal without a cursor, with its first words.
fn dumb(home: &Home, args: &str) -> Option<(Terminal, String)> {
    let mut terminal = Terminal::open(home, "dumb", &format!("exec slm {args}"))?;
    let greeting = terminal.until(PROMPT);
    Some((terminal, greeting))
}

#[test]
fn every_line_is_classified_and_shown_with_all_probabilities() {
    let home = Home::new();
    let Some((mut terminal, greeting)) = dumb(&home, "run triage") else { return };
    assert_eq!(greeting, format!("triage:latest classifies each line: queue, urgency, refund\n{HINT}"));
    let answer = terminal.say("I was charged twice for order 1182");
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 6 + 3 + 2, "{answer}");
    assert!(lines[0].starts_with("queue    billing") && lines[0].ends_with(" %"), "{answer}");
    assert!(lines[6].starts_with("urgency  ") && lines[9].starts_with("refund   "), "{answer}");
    // What was said before plays no part.
    terminal.say("My parcel never arrived");
    assert_eq!(terminal.say("I was charged twice for order 1182"), answer);
    assert_eq!(terminal.leave(CTRL_D), Some(0));
}

#[test]
fn commands_change_what_holds_and_wrong_ones_say_what_to_do() {
    let home = Home::new();
    let Some((mut terminal, _)) = dumb(&home, "run triage") else { return };
    assert_eq!(
        terminal.say("/shwo"),
        "slm: there is no command `/shwo`; did you mean `/show`? to send text that begins with `/`, put it between `\"\"\"` and `\"\"\"`\n"
    );
    let refused = "slm: `/set choices a,,b`: a choice is empty; is there a comma too many?\n";
    assert_eq!(terminal.say("/set choices a,,b"), refused);
    assert_eq!(terminal.say("/set choices praise,complaint"), "");
    let shown = terminal.say("where is my parcel?");
    assert!(shown.contains("praise") && shown.contains("complaint") && shown.lines().count() == 2, "{shown}");
    assert_eq!(
        terminal.say("/set parameter seed x"),
        "slm: parameter `seed` cannot be `x`: it must be a whole number of at most 64 bits; -1 is random\n"
    );
    assert_eq!(terminal.say("/set parameter seed 7"), "");
    assert_eq!(terminal.say("/set system Be brief."), "");
    let page = "model         triage:latest\nanswers       classified: praise, complaint\nsystem        Be brief.\n\
                parameter     seed 7\nconversation  0 turns\n";
    assert_eq!(terminal.say("/show"), page);
    assert!(terminal.say("/help").starts_with("/set             change a setting"));
    assert_eq!(terminal.leave("/bye\r"), Some(0));
}

#[test]
fn a_session_is_saved_as_a_model_and_loaded_again() {
    let home = Home::new();
    let Some((mut terminal, _)) = dumb(&home, "run triage") else { return };
    terminal.say("/set choices praise,complaint");
    terminal.say("/set system \"\"\"Two\rlines.\"\"\"");
    let saved = terminal.say("/save mine");
    assert!(saved.starts_with("saved mine:latest (") && saved.ends_with("or `/load mine:latest`\n"), "{saved}");
    let greeting = format!("mine:latest classifies each line: praise, complaint\n{HINT}");
    assert_eq!(terminal.say("/load mine"), greeting);
    assert_eq!(terminal.say("/show system"), "Two\nlines.\n");
    assert!(terminal.say("/load min").starts_with("slm: there is no model `min:latest`; did you mean `mine"));
    assert_eq!(terminal.leave("/bye\r"), Some(0));
    assert_eq!(home.slm(["show", "mine", "--system"]).succeeds(), "Two\nlines.\n");
    let labels = ["praise", "complaint"];
    assert!(labels.contains(&home.slm(["run", "mine", "It broke"]).succeeds().trim()));
}

#[test]
fn an_edited_line_is_kept_in_a_history_that_is_nobody_elses() {
    let home = Home::new();
    let Some(mut terminal) = Terminal::open(&home, "xterm", "exec slm run triage") else { return };
    terminal.until(PROMPT);
    terminal.press("/set vrbose\u{1b}[D\u{1b}[D\u{1b}[D\u{1b}[D\u{1b}[De\r");
    terminal.until("\n");
    terminal.until(PROMPT);
    terminal.press(CTRL_C);
    terminal.until("/bye or Ctrl-D to leave");
    // In a line that was begun it only drops the line.
    terminal.until(PROMPT);
    terminal.press(&format!("never sent{CTRL_C}"));
    terminal.until("never sent");
    terminal.until(PROMPT);
    terminal.press("/show license\r");
    terminal.until("\nMIT\r\n");
    assert_eq!(terminal.leave(CTRL_D), Some(0));
    let path = home.path().join(".local/share/slm/history");
    let history = std::fs::read_to_string(&path).unwrap();
    assert_eq!(history, "#V2\n/set verbose\n/show license\n");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn ctrl_c_ends_an_answer_and_not_the_session() {
    let home = Home::new();
    for term in ["dumb", "xterm"] {
        let Some(mut terminal) =
            Terminal::open(&home, term, "exec slm run triage --num-ctx 1024 --regex '[a-z]{9000}'")
        else {
            return;
        };
        terminal.until(PROMPT);
        terminal.press("go\r");
        terminal.until("go");
        terminal.until_more(40);
        terminal.press(CTRL_C);
        let answer = terminal.until(PROMPT);
        assert!(!answer.contains("the answer is unfinished"), "it came to its end before Ctrl-C: {answer}");
        terminal.press("/show\r");
        terminal.until("conversation  1 turn");
        terminal.until(PROMPT);
        if term == "dumb" {
            terminal.press(CTRL_C);
            terminal.until(&format!("Ctrl-D to leave\r\n{PROMPT}"));
        }
        assert_eq!(terminal.leave(CTRL_D), Some(0));
    }
}

#[test]
fn escapes_in_an_answer_do_not_reach_the_terminal() {
    let home = Home::new();
    let args = r#"exec slm run triage --grammar 'start: "\u001b[31mred"' x"#;
    let Some(mut terminal) = Terminal::open(&home, "xterm", args) else { return };
    assert_eq!(terminal.until("\n"), "␛[31mred\r");
}

#[test]
fn nothing_is_asked_of_a_person_who_is_not_there() {
    let home = Home::new();
    home.slm(["run", "triage"]).fails(2, "slm: there is no text; give it as an argument or on standard input\n");
}

#[test]
fn a_text_comes_from_a_file() {
    let home = Home::new();
    home.file("ticket.txt", "I was charged twice\n");
    let answer = home.slm(["run", "triage", "I was charged twice"]).succeeds();
    assert_eq!(home.slm(["run", "triage", "-f", "ticket.txt"]).succeeds(), answer);
    assert_eq!(home.slm(["run", "triage", "--file", "-"]).stdin("I was charged twice\n").succeeds(), answer);
    let both = home.slm(["run", "triage", "--dry-run", "-f", "ticket.txt", "for", "1182"]).succeeds();
    assert!(both.contains("I was charged twice\nfor 1182"), "{both}");
    let missing = "slm: cannot read the text `none.txt`: No such file or directory (os error 2)\n";
    home.slm(["run", "triage", "-f", "none.txt"]).fails(2, missing);
}

#[test]
fn a_server_keeps_a_model_as_long_as_is_said() {
    let home = Home::new();
    let alone = "slm: --keepalive has no effect: no `slm serve` with this store is running, so the model is unloaded when this command ends\n";
    assert_eq!(home.slm(["run", "triage", "--keepalive", "1h", "x"]).ends(0).stderr, alone);
    let said = home.slm(["run", "triage", "--keepalive", "soon", "x"]).ends(2);
    assert!(said.stderr.contains("`soon` is not a duration"), "{}", said.stderr);
    let server = Server::of(&home);
    let models = || server.get("/api/ps").ok()["models"].as_array().unwrap().len();
    home.slm(["run", "triage", "--keepalive", "1h", "x"]).succeeds();
    assert_eq!(models(), 1);
    home.slm(["run", "triage", "--keepalive", "0", "x"]).succeeds();
    let deadline = Instant::now() + PATIENCE;
    while models() > 0 {
        assert!(Instant::now() < deadline, "the model leaves");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The same values that have no span in `--json`, after one text and in a session.
#[test]
fn values_that_are_not_in_the_text_are_named_where_a_person_reads_them() {
    let home = Home::new();
    let schema = r#"{"type": "object", "properties": {"order": {"type": "string", "pattern": "^1182$"},
        "city": {"type": "string", "pattern": "^Berlin$"}, "kind": {"const": "ticket"}},
        "required": ["order", "city", "kind"]}"#;
    home.file("schema.json", schema);
    let text = "I was charged twice for order 1182";
    let told = home.slm(["run", "triage", "--format", "@schema.json", "--json", text]).json();
    let span = |name: &str| &told["fields"][name]["span"];
    assert!(span("order")["match"] == "exact" && span("city").is_null(), "{told}");
    let said = "not in the text: `city` (`Berlin`); the model wrote this in its own words or made it up";
    let Some(mut one) = Terminal::open(&home, "dumb", &format!("exec slm run triage --format @schema.json '{text}'"))
    else {
        return;
    };
    let answer = one.until("made it up");
    assert_eq!(
        words(&format!("{answer}made it up")),
        words(&format!("{} slm: {said}", told["response"].as_str().unwrap()))
    );
    assert_eq!(one.leave(""), Some(0));
    let Some((mut session, _)) = dumb(&home, "run triage --format @schema.json") else { return };
    assert!(words(&session.say(text)).ends_with(&words(said)));
    assert!(!session.say("Order 1182 goes to BERLIN").contains("not in the text"));
    assert_eq!(session.leave(CTRL_D), Some(0));
}

/// A text as a terminal's lines do not part it.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
