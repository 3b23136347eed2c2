//! The job of `deploy/ray` on a real Ray cluster of several nodes. Ray is large and slow to start, so that this runs where `SLM_RAY`
//! is set.

use std::path::Path;
use std::time::Duration;

use crate::serve::environments;
use crate::serve::scripts::Script;
use crate::slm::Home;

/// As long as all checks may take together, and one of them.
const PATIENCE: Duration = Duration::from_secs(1800);
const PATIENCE_OF_A_CHECK: &str = "300";

#[test]
fn a_job_on_a_cluster_loses_nothing_and_writes_nothing_twice() {
    if std::env::var_os("SLM_RAY").is_none() {
        return slm_testing::skipped!("SLM_RAY is not set: Ray's cluster takes minutes");
    }
    let Some(python) = environments::ray() else { return };
    let home = Home::new();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ray");
    let script = Script::by(python, "ray_cluster.py")
        .env("SLM", env!("CARGO_BIN_EXE_slm").to_owned())
        .env("SLM_RAY_PACKAGE", package.display().to_string())
        .env("HOME", home.path().display().to_string())
        // No check leaves this machine.
        .env("SLM_REGISTRY", "127.0.0.1:1".to_owned())
        .env("SLM_PATIENCE", PATIENCE_OF_A_CHECK.to_owned());
    let judgement = script.judge_in(home.path(), PATIENCE);
    assert_eq!(judgement.complaint(), None);
    assert!(judgement.lines.len() >= 11, "{}", judgement.lines.len());
}
