//! The page at `/` in the browser that Debian has: headless Chromium, driven by its own driver.

use std::path::Path;

use crate::serve::Server;
use crate::serve::scripts::{Script, stock};
use crate::slm::Home;

const PROGRAMS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromedriver"];

/// Judges the page of a server with these variables in its environment.
fn judge(variables: &[(&str, &str)], of_the_script: &[(&'static str, &str)]) {
    if let Some(missing) = PROGRAMS.iter().find(|program| !Path::new(program).exists()) {
        slm_testing::skipped!("`{missing}` does not exist (Debian's packages chromium and chromium-driver)");
        return;
    }
    let Some(script) = Script::python("page.py") else { return };
    let home = Home::new();
    stock(&home);
    let server = Server::with(&home, variables);
    let script = of_the_script.iter().fold(script, |script, (name, value)| script.env(name, (*value).to_owned()));
    let judgement = script.judge(&server);
    if let Some(complaint) = judgement.complaint() {
        panic!("{complaint}");
    }
    // It was open all the time, and asked every few seconds. What was refused for want of a key is in the log.
    let log = std::fs::read_to_string(home.path().join("serve.log")).expect("the server's log");
    let is_of_page = |line: &str| line.contains("/page/") && !line.contains("key") && !line.contains("\"status\":401");
    assert!(log.contains("/api/chat") && !log.lines().any(is_of_page), "{log}");
}

#[test]
fn the_page_asks_by_keyboard_and_tells_screen_readers() {
    // With one place, so that a second request waits.
    judge(&[("SLM_NUM_PARALLEL", "1")], &[]);
}

#[test]
fn the_page_asks_for_the_key_where_one_is_needed() {
    judge(&[("SLM_API_KEY", "open-sesame")], &[("SLM_PAGE_KEY", "open-sesame")]);
}
