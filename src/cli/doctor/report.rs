//! Findings about slm's environment, their status, and what to do about them. Values only: it checks nothing itself.

use serde_json::{Value, json};

use crate::failure::Exit;
use crate::ui::wrap::wrapped;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Ok,
    /// It works, but may not be intended.
    Warning,
    /// Something that slm is for does not work.
    Wrong,
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Wrong => "wrong",
        }
    }
}

/// The columns of the longest status.
const STATUS_WIDTH: usize = 7;
/// Columns of text below which a column of its own is too narrow for it.
const LEAST_WIDTH: usize = 20;

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: Status,
    /// What it is, and mostly what to do about it.
    pub message: String,
}

/// What was found of one part.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The part, in a word or two.
    pub name: &'static str,
    /// For people, in a line.
    pub found: String,
    /// For programs: an object.
    pub facts: Value,
    pub problems: Vec<Problem>,
}

impl Finding {
    #[must_use]
    pub fn new(name: &'static str, found: impl Into<String>, facts: Value) -> Finding {
        Finding { name, found: found.into(), facts, problems: Vec::new() }
    }

    #[must_use]
    pub fn warn(self, message: impl Into<String>) -> Finding {
        self.with(Status::Warning, message)
    }

    #[must_use]
    pub fn fail(self, message: impl Into<String>) -> Finding {
        self.with(Status::Wrong, message)
    }

    fn with(mut self, status: Status, message: impl Into<String>) -> Finding {
        self.problems.push(Problem { status, message: message.into() });
        self
    }

    /// As its worst problem is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.problems.iter().map(|problem| problem.status).max().unwrap_or(Status::Ok)
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report(pub Vec<Finding>);

impl Report {
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.iter().map(Finding::status).max().unwrap_or(Status::Ok)
    }

    /// 1 if something is wrong; warnings alone are not a failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.status() == Status::Wrong { Exit::Failed } else { Exit::Done }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let problem = |problem: &Problem| json!({ "status": problem.status.as_str(), "message": problem.message });
        let finding = |finding: &Finding| {
            json!({
                "name": finding.name,
                "status": finding.status().as_str(),
                "found": finding.found,
                "problems": finding.problems.iter().map(problem).collect::<Vec<_>>(),
                "facts": finding.facts,
            })
        };
        json!({
            "status": self.status().as_str(),
            "checks": self.0.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    /// For people: a line for each part, its problems below it, and at the end how many there are; in lines of at most so many
    /// columns, where it is for a terminal.
    #[must_use]
    pub fn text(&self, columns: Option<usize>) -> String {
        let width = self.0.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        let indent = STATUS_WIDTH + 2 + width + 2;
        let line = |status: &str, name: &str, text: &str| {
            let line = format!("{status:<STATUS_WIDTH$}  {name:<width$}  {text}");
            match columns {
                Some(columns) if columns > indent + LEAST_WIDTH => wrapped(line.trim_end(), columns, indent),
                Some(columns) => wrapped(line.trim_end(), columns, 4),
                None => line.trim_end().to_owned(),
            }
        };
        let mut text = String::new();
        for finding in &self.0 {
            text += &format!("{}\n", line(finding.status().as_str(), finding.name, &finding.found));
            for Problem { status, message } in &finding.problems {
                text += &format!("{}\n", line("", "", &format!("{}: {message}", status.as_str())));
            }
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let problems = || self.0.iter().flat_map(|finding| &finding.problems);
        let count = |status| problems().filter(|problem| problem.status == status).count();
        let counted = |n: usize, one: &str, many: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        };
        let wrong = counted(count(Status::Wrong), "thing is wrong", "things are wrong");
        let warnings = counted(count(Status::Warning), "warning", "warnings");
        match (wrong, warnings) {
            (None, None) => "nothing is wrong\n".to_owned(),
            (None, Some(warnings)) => format!("nothing is wrong; {warnings}\n"),
            (Some(wrong), None) => format!("{wrong}\n"),
            (Some(wrong), Some(warnings)) => format!("{wrong}; {warnings}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_no_failure_and_a_wrong_thing_is() {
        let fine = || Finding::new("disk", "10 GB free", json!({ "free": 10 }));
        let report = Report(vec![fine(), Finding::new("server", "", json!({})).warn("it is old; start it again")]);
        assert_eq!(
            report.text(None),
            "ok       disk    10 GB free\nwarning  server\n                 warning: it is old; start it again\n\
             nothing is wrong; 1 warning\n"
        );
        assert_eq!(
            report.text(Some(40)),
            "ok       disk    10 GB free\nwarning  server\n                 warning: it is old;\n                 start it again\n\
             nothing is wrong; 1 warning\n"
        );
        assert_eq!(
            (report.exit(), Report(vec![fine()]).text(None).lines().last()),
            (Exit::Done, Some("nothing is wrong"))
        );
        let report = Report(vec![fine().fail("full").warn("slow").fail("old")]);
        assert!(report.text(None).ends_with("\n2 things are wrong; 1 warning\n"));
        assert_eq!(report.exit(), Exit::Failed);
        assert_eq!(report.json()["checks"][0]["problems"][1], json!({ "status": "warning", "message": "slow" }));
    }
}
