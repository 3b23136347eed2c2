//! GGUF files by their addresses: nobody tells their digests, so a file that changes meanwhile must not be mixed with its
//! own past.

use std::process::Stdio;

use axum::http::Method;
use bytes::Bytes;

use crate::registry::faulty::{Fault, Faulty, What};
use crate::registry::package::{Package, blob_path, digest};
use crate::slm::{Home, triage_gguf};

/// Two versions of a file, of one size.
fn versions() -> [Bytes; 2] {
    [1, 2].map(|seed| {
        let package = Package::random(seed, 9_000_000, &[]);
        package.blobs[&package.weights()].clone()
    })
}

/// Pulls the first version until half of it is there, and then the second to its end.
fn pull_while_it_changes(tags: [Option<&str>; 2]) {
    let (home, server) = (Home::new(), Faulty::serve(&Package::triage()));
    let [old, new] = versions();
    let url = server.file("m.gguf", old.clone(), tags[0]);
    server.faults(|_| Fault::Slow { bytes_per_second: 4_000_000 });
    let mut command = home.slm(["pull", &url]).command();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while server.n_sent() < old.len() as u64 / 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before half of the file came");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    server.file("m.gguf", new.clone(), tags[1]);
    server.faults(|_| Fault::None);
    home.slm(["pull", &url]).succeeds();
    let blob = std::fs::read(blob_path(&home.models(), &digest(&new)));
    assert!(blob.is_ok_and(|blob| blob == new), "the file is neither of its versions");
}

#[test]
fn a_new_version_with_a_new_tag_is_not_mixed_with_the_old_one() {
    pull_while_it_changes([Some("\"one\""), Some("\"two\"")]);
}

/// The file is replaced while it comes.
#[test]
fn a_version_that_ends_under_a_pull_is_a_sentence() {
    let (home, server) = (Home::new(), Faulty::serve(&Package::triage()));
    let [old, new] = versions();
    let url = server.file("m.gguf", old.clone(), Some("\"one\""));
    server.faults(|seen| if seen.what == What::File { Fault::Cut { after: 3_000_000 } } else { Fault::None });
    let child = home.slm(["pull", &url]).command();
    let mut child = { child }.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while server.n_sent() < 1_000_000 {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    server.file("m.gguf", new.clone(), Some("\"two\""));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("/files/m.gguf") && stderr.contains("has changed during the download"), "{stderr}");
    server.faults(|_| Fault::None);
    home.slm(["pull", &url]).succeeds();
    assert!(std::fs::read(blob_path(&home.models(), &digest(&new))).unwrap() == new);
}

#[test]
fn a_new_version_without_a_tag_is_not_mixed_with_the_old_one() {
    pull_while_it_changes([None, None]);
}

/// With a weak tag a server refuses every condition on it.
#[test]
fn a_weak_tag_is_no_condition() {
    let (home, server) = (Home::new(), Faulty::serve(&Package::triage()));
    let url = server.file("m.gguf", triage_gguf(), Some("W/\"one\""));
    home.slm(["pull", &url]).succeeds();
    assert!(std::fs::read(blob_path(&home.models(), &digest(&triage_gguf()))).unwrap() == triage_gguf());
}

/// Some servers answer no HEAD, or count the bytes of a file only when they send it.
#[test]
fn a_size_that_head_does_not_tell_is_asked_for_with_a_byte() {
    for fault in [Fault::Endless, Fault::Length(0), Fault::Status(404), Fault::Status(405)] {
        let (home, server) = (Home::new(), Faulty::serve(&Package::triage()));
        let url = server.file("m.gguf", triage_gguf(), None);
        let of_head = fault.clone();
        server.faults(move |seen| if seen.method == Method::HEAD { of_head.clone() } else { Fault::None });
        let said = home.slm(["pull", &url]).ends(0);
        assert_eq!(said.stderr, "", "{fault:?}");
        assert!(std::fs::read(blob_path(&home.models(), &digest(&triage_gguf()))).unwrap() == triage_gguf());
    }
}
