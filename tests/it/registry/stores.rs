//! What the disk has to say about a pull: full, read-only, or holding the blobs already in another store.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::life::SmallDisk;
use crate::registry::faulty::{Fault, Faulty};
use crate::registry::package::{Package, blob_path};
use crate::slm::{Home, files};

#[test]
fn a_disk_that_is_too_small_is_seen_before_anything_comes() {
    let (home, package) = (Home::new(), Package::random(1, 3_000_000, &[1000]));
    let server = Faulty::serve(&package);
    let store = home.path().join("small");
    let Some(_disk) = SmallDisk::mount(&store) else { return };
    let said = home.slm(["pull", &server.model()]).env("SLM_MODELS", &store).ends(1);
    assert!(said.stderr.contains("no space left") && said.stderr.contains("SLM_MODELS"), "{}", said.stderr);
    assert_eq!(server.n_sent(), 0);
    assert!(files(&store).iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 1000);
}

#[test]
fn a_disk_that_fills_up_meanwhile_is_a_sentence_and_the_rest_follows() {
    let (home, package) = (Home::new(), Package::random(1, 300_000, &[]));
    let server = Faulty::serve(&package).with(|_| Fault::Slow { bytes_per_second: 1_500_000 });
    let store = home.path().join("small");
    let Some(_disk) = SmallDisk::mount(&store) else { return };
    let mut command = home.slm(["pull", &server.model()]).env("SLM_MODELS", &store).command();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while server.n_sent() < 200_000 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // Others are faster.
    let filler = store.join("filler");
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("no space left") && stderr.lines().count() == 1, "{stderr}");
    std::fs::remove_file(filler).unwrap();
    server.faults(|_| Fault::None);
    home.slm(["pull", &server.model()]).env("SLM_MODELS", &store).succeeds();
    package.is_in(&store, &server.place());
}

#[test]
fn a_store_that_cannot_be_written_is_a_sentence() {
    let (home, package) = (Home::new(), Package::random(1, 100_000, &[]));
    let server = Faulty::serve(&package);
    let store = home.path().join("store");
    std::fs::create_dir(&store).unwrap();
    set_mode(&store, 0o555);
    // Root may write everywhere: its place is taken by nobody, who needs a binary that can be reached.
    let folder = tempfile::tempdir().unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let binary = folder.path().join("slm");
        // By another process: this one's open file would be handed on to what other tests start meanwhile.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_slm")).arg(&binary).status().unwrap().success());
        set_mode(folder.path(), 0o755);
        set_mode(home.path(), 0o755);
        let mut command = Command::new(binary);
        command.uid(65534).gid(65534);
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_slm"))
    };
    command.args(["pull", &server.model()]).env_clear().env("HOME", home.path()).env("SLM_MODELS", &store);
    let output = command.current_dir("/").stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("Permission denied") && stderr.lines().count() == 1, "{stderr}");
    assert_eq!((files(&store), server.n_sent()), (vec![], 0));
}

/// Ollama is on the machine and has some of the blobs.
#[test]
fn blobs_of_ollamas_store_are_not_downloaded_again() {
    let (home, package) = (Home::new(), Package::random(1, 2_000_000, &[300_000]));
    let server = Faulty::serve(&package);
    let ollama = home.path().join("ollama");
    std::fs::create_dir_all(ollama.join("blobs")).unwrap();
    let weights = blob_path(&ollama, &package.weights());
    std::fs::write(&weights, &package.blobs[&package.weights()]).unwrap();
    let before = files(&ollama);
    let pull = || home.slm(["pull", &server.model()]).env("OLLAMA_MODELS", &ollama).env("SLM_MODELS", home.models());
    pull().succeeds();
    package.is_in(&home.models(), &server.place());
    assert_eq!(server.n_sent(), package.n_bytes() - package.n_weights());
    assert!(files(&ollama) == before);
    // The file is our own: what happens to theirs does not happen to it.
    std::fs::write(&weights, "gone").unwrap();
    package.is_in(&home.models(), &server.place());
}

#[test]
fn a_damaged_blob_of_ollamas_store_is_not_used() {
    let (home, package) = (Home::new(), Package::random(1, 2_000_000, &[]));
    let server = Faulty::serve(&package);
    let ollama = home.path().join("ollama");
    std::fs::create_dir_all(ollama.join("blobs")).unwrap();
    let weights = blob_path(&ollama, &package.weights());
    let mut damaged = package.blobs[&package.weights()].to_vec();
    damaged[1_000_000] ^= 1;
    std::fs::write(&weights, &damaged).unwrap();
    let pull = || home.slm(["pull", &server.model()]).env("OLLAMA_MODELS", &ollama).env("SLM_MODELS", home.models());
    pull().succeeds();
    package.is_in(&home.models(), &server.place());
    assert_eq!(server.n_sent(), package.n_bytes());
    assert!(std::fs::read(&weights).unwrap() == damaged);
}

fn set_mode(place: &Path, mode: u32) {
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).unwrap();
}
