//! The gate for CI servers: JUnit's XML, and GitHub's annotations.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use crate::eval::report::Report;

/// The most changed rows that are annotated: GitHub shows ten of a step.
const ANNOTATED: usize = 5;

impl Report {
    /// The gate's checks as test cases, one suite for each model; where nothing is demanded, a case for each model that says what
    /// was found.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let mut junit = Junit::new("slm eval");
        for model in self.models() {
            let mut suite = TestSuite::new(format!("{} {}", self.suite, model.name));
            let checks = self.gate.iter().flat_map(|gate| &gate.checks).filter(|check| check.subject == model.name);
            for check in checks {
                let status = if check.passed {
                    TestCaseStatus::success()
                } else {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(check.message.as_str());
                    status
                };
                suite.add_test_case(TestCase::new(check.name.as_str(), status));
            }
            if suite.test_cases.is_empty() {
                suite.add_test_case(TestCase::new("measured", TestCaseStatus::success()));
            }
            junit.add_test_suite(suite);
        }
        junit.to_string().expect("a report without control characters is XML")
    }

    /// Workflow commands that GitHub turns into annotations, one a line, against the file of the suite.
    #[must_use]
    pub fn to_github(&self) -> String {
        let mut out = String::new();
        for model in self.models() {
            let figure = model.accuracy;
            let right = format!("{} of {} rows right", figure.hits, figure.rows);
            let _ = writeln!(out, "::notice file={},title={}::{right}", property(&self.suite), property(&model.name));
        }
        for check in self.gate.iter().flat_map(|gate| &gate.checks).filter(|check| !check.passed) {
            let title = format!("{} {}", check.subject, check.name);
            let message = data(&check.message);
            let _ = writeln!(out, "::error file={},title={}::{message}", property(&self.suite), property(&title));
        }
        for change in self.changes.iter().filter(|change| change.is_worse) {
            for row in change.changed.iter().filter(|row| !row.is_right_now).take(ANNOTATED) {
                let message = data(&format!("row {} ({}) broke", row.id, row.at));
                let (file, title) = (property(&self.suite), property(&change.subject));
                let _ = writeln!(out, "::warning file={file},title={title}::{message}");
            }
        }
        out
    }
}

/// The escapes of a workflow command's message, as `actions/toolkit` writes them.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The same for a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
