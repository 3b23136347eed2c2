//! More requests at once than there is room for, by a load generator: every one is answered.

use std::process::Command;
use std::time::Duration;

use crate::serve::scripts::output_within;
use crate::serve::{Server, environments};
use crate::slm::Home;

const WRK: &str = "/usr/bin/wrk";

#[test]
fn sixty_four_clients_at_once_are_all_answered() {
    if !std::path::Path::new(WRK).exists() {
        slm_testing::skipped!("`{WRK}` does not exist (Debian's package wrk)");
        return;
    }
    let home = Home::new();
    let server = Server::of(&home);
    let mut command = Command::new(WRK);
    command.args(["--threads", "2", "--connections", "64", "--duration", "5s", "--timeout", "30s", "--latency"]);
    command.arg("--script").arg(environments::sources().join("questions.lua")).arg(server.url("/"));
    let said = output_within(command, Duration::from_secs(60));
    println!("{said}");
    // wrk has a line for each kind of failure only where there was one.
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let n_answered = said.split(" requests in ").next().and_then(|before| before.split_whitespace().last());
    let n_answered: u64 = n_answered.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(n_answered >= 64, "{said}");
}
