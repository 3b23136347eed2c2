//! Jobs of a data engineer as short stories, from the first command to the last. What a single command does is tested beside it.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::life::SmallDisk;
use crate::serve::Server;
use crate::slm::Home;
use crate::terminal::{PROMPT, Terminal};

/// What a spreadsheet writes: quotes, delimiters and line breaks in cells.
const REVIEWS: &str = "id,review,stars\n\
    1,\"Paid twice,\nand \"\"nobody\"\" gives the money back\",1\n\
    2,my parcel never came,2\n\
    3,\"the app crashes, always\",1\n";

fn cells(table: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(table.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// A table of reviews, labels from a file, and a table with labels: the same labels as a person sees who asks one by one.
#[test]
fn reviews_of_a_table_get_labels_from_a_file() {
    let home = Home::new();
    home.file(
        "labels.txt",
        "billing\tcharges and refunds\nshipping\tdelivery\ntechnical\ta product that does not work\n",
    );
    home.file("reviews.csv", REVIEWS);
    let args = ["run", "triage", "--csv", "review", "--choices", "@labels.txt"];
    let said = home.slm([&args[..], &["--output", "out.csv"]].concat()).stdin(REVIEWS).succeeds();
    assert_eq!(said, "");
    let table = std::fs::read_to_string(home.path().join("out.csv")).unwrap();
    let rows = cells(&table);
    assert_eq!(rows[0], ["id", "review", "stars", "label", "probability", "label_mass", "error"]);
    for (row, given) in rows.iter().zip(cells(REVIEWS)).skip(1) {
        assert_eq!(row[..3], given);
        let alone = home.slm(["run", "triage", "--choices", "@labels.txt", "--json", &given[1]]).json();
        assert_eq!((json!(row[3]), row[6].as_str()), (alone["value"].clone(), ""), "{alone}");
    }
    // The same table to standard output, and through a shell.
    assert_eq!(home.slm(args).stdin(REVIEWS).succeeds(), table);
}

/// A model is asked for slots, and each is a column.
#[test]
fn slots_of_an_extraction_become_columns() {
    let home = Home::new();
    let slots = json!({
        "type": "object",
        "properties": {
            "order": {"type": ["string", "null"], "pattern": "^[0-9]{4}$"},
            "paid": {"type": "integer", "minimum": 0, "maximum": 99999},
            "late": {"type": "boolean"},
        },
        "required": ["order", "paid", "late"],
    });
    let args = ["run", "triage", "--csv", "review", "--format", &slots.to_string()];
    let rows = cells(&home.slm(args).stdin(REVIEWS).succeeds());
    assert_eq!(rows[0], ["id", "review", "stars", "order", "paid", "late", "error"]);
    for row in &rows[1..] {
        let order_is_kept = row[3].is_empty() || row[3].len() == 4 && row[3].parse::<u32>().is_ok();
        assert!(
            order_is_kept && row[4].parse::<u32>().is_ok() && ["true", "false"].contains(&row[5].as_str()),
            "{row:?}"
        );
        assert_eq!(row[6], "");
    }
}

/// Whatever is wrong with an evaluation is said in one line that names it, before any row is asked.
#[test]
fn an_evaluation_that_is_broken_in_eight_ways_says_each() {
    let home = Home::new();
    let suite = "model: triage\ndata: rows.csv\ninput: body\nexpect: label\nformat: {enum: [billing, shipping]}\n";
    home.file("suite.yaml", suite);
    home.file("rows.csv", "body,label\ncharged twice,billing\nparcel lost,shipping\n");
    home.file("empty.csv", "body,label\n");
    assert!(home.slm(["eval", "suite.yaml"]).ends(0).stdout.contains("2 rows"));
    let broken: [(&str, &str, &str); 7] = [
        ("data: rows.csv", "data: none.csv", "`none.csv`"),
        ("data: rows.csv", "data: empty.csv", "`empty.csv`"),
        ("input: body", "input: text", "`text`"),
        ("expect: label", "expect: class", "`class`"),
        ("input:", "inputs:", "`inputs`"),
        ("{enum: [billing, shipping]}", "{type: widget}", "`/type`"),
        ("{enum: [billing, shipping]}", "{enum: []}", "enum"),
    ];
    let mut said = HashSet::new();
    let mut refused = |file: &str, name: &str| {
        let refusal = home.slm(["eval", file]).run();
        assert!(matches!(refusal.code, Some(1 | 2)), "{}", refusal.stderr);
        let is_one_line = refusal.stderr.starts_with("slm: ") && refusal.stderr.lines().count() == 1;
        assert!(
            is_one_line && refusal.stderr.contains(name) && refusal.stdout.is_empty(),
            "{name}: {}",
            refusal.stderr
        );
        assert!(said.insert(refusal.stderr.clone()), "said twice: {}", refusal.stderr);
    };
    for (right, wrong, name) in broken {
        assert!(suite.contains(right));
        home.file("broken.yaml", suite.replace(right, wrong));
        refused("broken.yaml", name);
    }
    // A table in place of a suite.
    refused("rows.csv", "`rows.csv`");
}

/// One server, asked at once by a client of Ollama's API, by one of OpenAI's and by `slm run`: one answer to the last bit.
#[test]
fn two_clients_and_a_command_get_one_answer() {
    let home = Home::new();
    let served = Server::of(&home);
    let text = "I was charged twice and want my money back";
    let schema = json!({"type": "object", "properties": {"refund": {"type": "boolean"}}, "required": ["refund"]});
    let messages = json!([{"role": "user", "content": text}]);
    let of_ollama = || {
        let body = json!({"model": "triage", "stream": false, "messages": messages, "format": schema});
        served.post("/api/chat", body).ok()
    };
    let of_openai = || {
        let format = json!({"type": "json_schema", "json_schema": {"name": "ticket", "schema": schema}});
        let body = json!({"model": "triage", "messages": messages, "response_format": format});
        served.post("/v1/chat/completions", body).ok()
    };
    let of_command = || home.slm(["run", "triage", "--format", &schema.to_string(), "--json", text]).json();
    let (ollama, openai, command) = std::thread::scope(|scope| {
        let ollama = scope.spawn(|| (0..20).map(|_| of_ollama()).collect::<Vec<_>>());
        let openai = scope.spawn(|| (0..20).map(|_| of_openai()).collect::<Vec<_>>());
        let command = scope.spawn(|| (0..3).map(|_| of_command()).collect::<Vec<_>>());
        (ollama.join().unwrap(), openai.join().unwrap(), command.join().unwrap())
    });
    let id = |answer: &Value| answer["slm"]["evaluation_id"].as_str().unwrap().to_owned();
    let said: HashSet<String> = ollama
        .iter()
        .map(|answer| answer["message"]["content"].as_str().unwrap())
        .chain(openai.iter().map(|answer| answer["choices"][0]["message"]["content"].as_str().unwrap()))
        .map(|content| serde_json::from_str::<Value>(content).unwrap().to_string())
        .chain(command.iter().map(|answer| answer["value"].to_string()))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    let ids: HashSet<String> = ollama.iter().map(id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let of_choice = openai.iter().map(|answer| &answer["choices"][0]["slm"]);
    let slm = ollama.iter().map(|answer| &answer["slm"]).chain(of_choice);
    let known: HashSet<String> = slm.map(|slm| slm["fields"].to_string()).collect();
    assert!(known.len() == 1 && known.iter().all(|fields| fields.contains("label_mass")), "{known:?}");
}

/// A model is made, named twice, used, looked at and removed; nothing of it stays.
#[test]
fn a_store_is_kept_in_order() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nPARAMETER num_ctx 512\nSYSTEM Tickets of a shop.\n");
    assert!(home.slm(["create", "desk"]).succeeds().starts_with("created desk:latest ("));
    let copied = home.slm(["cp", "desk", "desk:old"]).succeeds();
    assert!(copied.starts_with("copied desk:latest to desk:old ("), "{copied}");
    let names = |args: &[&str]| {
        let listed = home.slm(args).succeeds();
        listed.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect::<HashSet<_>>()
    };
    let all = ["desk:latest", "desk:old", "triage:latest"].map(str::to_owned);
    assert_eq!(names(&["list"]), all.clone().into());
    assert_eq!(names(&["list", "desk"]), all[..2].iter().cloned().collect());
    assert_eq!(home.slm(["show", "desk", "--system"]).succeeds(), "Tickets of a shop.\n");
    let server = Server::of(&home);
    home.slm(["run", "desk", "I was charged twice"]).succeeds();
    assert_eq!(names(&["ps"]), [all[0].clone()].into());
    home.slm(["stop", "desk"]).succeeds();
    assert_eq!(names(&["ps"]), HashSet::new());
    drop(server);
    assert!(home.slm(["verify"]).succeeds().contains("desk:old"));
    assert!(home.slm(["rm", "--yes", "desk", "desk:old"]).succeeds().contains("removed desk:old ("));
    assert_eq!(names(&["list"]), [all[2].clone()].into());
    // Not even the parameters of the base, which these models replaced, were left.
    assert_eq!(home.slm(["prune", "--all"]).succeeds(), "nothing to prune\n");
}

/// A table on a full disk: what is there are whole rows, and once there is room the same command ends with the table that a
/// large disk would have.
#[test]
fn a_table_on_a_full_disk_is_continued() {
    let home = Home::new();
    let disk = home.path().join("small");
    let Some(_disk) = SmallDisk::mount(&disk) else { return };
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; (1 << 20) - (60 << 10)]).unwrap();
    let row = |n| format!("{n},\"charged\ntwice, {}\"\n", "x".repeat(300));
    let table = format!("id,body\n{}", (0..600).map(row).collect::<String>());
    let args = ["run", "triage", "--csv", "body", "--choices", "billing,shipping", "--truncate", "40"];
    let to_disk = [&args[..], &["--output", "small/out.csv", "--resume"]].concat();
    let full = home.slm(&to_disk).stdin(&table).ends(1).stderr;
    assert!(
        full.contains("no space left to write `small/out.csv`") && full.contains("continue with --resume"),
        "{full}"
    );
    let partial = std::fs::read_to_string(disk.join("out.csv")).unwrap();
    assert!((1..601).contains(&cells(&partial).len()) && partial.ends_with('\n'));
    std::fs::remove_file(filler).unwrap();
    home.slm(&to_disk).stdin(&table).ends(0);
    let whole = home.slm(args).stdin(&table).ends(0).stdout;
    assert!(whole.starts_with(&partial));
    assert!(std::fs::read_to_string(disk.join("out.csv")).unwrap() == whole);
}

/// A person looks at a model's answers, changes the labels, and keeps what they like as a model.
#[test]
fn a_session_ends_as_a_model() {
    let home = Home::new();
    let Some(mut terminal) = Terminal::open(&home, "dumb", "exec slm run triage") else { return };
    terminal.until(PROMPT);
    terminal.say("/set choices praise,complaint");
    let shown = terminal.say("It broke after a day");
    assert!(shown.contains("praise") && shown.contains("complaint") && shown.contains(" %"), "{shown}");
    terminal.say("/save reviews");
    assert_eq!(terminal.leave("/bye\r"), Some(0));
    let table = home.slm(["run", "reviews", "--csv", "review"]).stdin(REVIEWS).succeeds();
    assert!(cells(&table)[1..].iter().all(|row| ["praise", "complaint"].contains(&row[3].as_str())), "{table}");
}
