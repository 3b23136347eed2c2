//! What the world does to a store: kills in the middle, full and read-only disks, several writers at once.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::slm::{Home, Random, end_within, files, triage_gguf};

const PATIENCE: Duration = Duration::from_secs(120);

/// The embedded model's file made larger by data that no tensor claims, so that copying it takes a while.
fn large_gguf(n_bytes: usize) -> Vec<u8> {
    let mut bytes = triage_gguf();
    bytes.resize(n_bytes, 7);
    bytes
}

/// Kills by chance fall before, into and after the copying, the hashing and the renames.
#[test]
fn a_killed_create_leaves_the_store_as_it_was() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nSYSTEM old");
    home.slm(["create", "kept"]).succeeds();
    let before = files(&home.models());
    home.file("large.gguf", large_gguf(48 << 20));
    home.file("Modelfile", "FROM ./large.gguf\nSYSTEM new");
    let quiet = || {
        let mut command = home.slm(["create", "kept", "--yes"]).command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let started = Instant::now();
    assert!(quiet().status().unwrap().success());
    let whole = started.elapsed();

    let mut random = Random::new(1);
    let (mut n_killed, mut n_done) = (0, 0);
    for _ in 0..25 {
        // The old model again, and nothing of the new one.
        home.file("Old", "FROM triage\nSYSTEM old");
        std::fs::remove_dir_all(home.models()).unwrap();
        home.slm(["create", "kept", "-f", "Old"]).succeeds();
        let mut child = quiet().spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.below(1000) as f64 / 1000.0));
        child.kill().unwrap();
        let is_done = child.wait().unwrap().success();
        let show = home.slm(["show", "kept", "--json"]).json();
        if is_done || show["system"] == "new" {
            n_done += 1;
            continue;
        }
        n_killed += 1;
        assert_eq!(show["system"], "old");
        home.slm(["run", "kept", "--choices", "a,b", "x"]).succeeds();
        // Leftovers are the next writer's to sweep; whole blobs that nobody names yet may stay.
        home.slm(["create", "other", "-f", "Old"]).succeeds();
        let after = files(&home.models());
        assert!(before.iter().all(|old| after.contains(old)), "a file of the old model changed");
        assert!(after.iter().all(|(path, _)| !is_partial(path)), "a leftover stayed");
    }
    println!("{n_killed} killed in the middle, {n_done} too late");
    assert!(n_killed > 0);
}

fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "partial")
}

#[test]
fn writers_of_one_name_at_once_leave_one_whole_model() {
    let home = Home::new();
    home.file("triage.gguf", triage_gguf());
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let file = format!("Modelfile{n}");
            home.file(&file, format!("FROM ./triage.gguf\nSYSTEM {n}\nPARAMETER seed {n}"));
            let mut command = home.slm(["create", "same", "--yes", "-f", &file]).command();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for writer in writers {
        assert_eq!(end_within(writer, PATIENCE).and_then(|status| status.code()), Some(0));
    }
    let model = home.slm(["show", "same", "--json"]).json();
    assert_eq!(model["parameters"]["seed"].to_string(), model["system"].as_str().unwrap());
    assert!(files(&home.models()).iter().all(|(path, _)| !is_partial(path)));
}

/// A disk of 1 MB, where this process may mount one.
pub struct SmallDisk<'h>(&'h Path);

impl<'h> SmallDisk<'h> {
    pub fn mount(place: &'h Path) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs"]).arg(place).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        if !mounted {
            slm_testing::skipped!("no disk can be mounted here");
        }
        mounted.then_some(SmallDisk(place))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_sentence_and_leaves_nothing_behind() {
    let home = Home::new();
    let store = home.path().join("small");
    let Some(_disk) = SmallDisk::mount(&store) else { return };
    home.file("Modelfile", "FROM triage");
    home.file("large.gguf", large_gguf(8 << 20));
    home.file("Large", "FROM ./large.gguf");
    for file in ["Modelfile", "Large"] {
        let said = home.slm(["create", "x", "-f", file]).env("SLM_MODELS", &store).ends(1);
        assert!(said.stderr.starts_with("slm: no space left to write `"), "{}", said.stderr);
        assert!(said.stderr.ends_with("; free some, or choose another disk for the store with `SLM_MODELS`\n"));
        assert_eq!(files(&store), []);
    }
    let list = home.slm(["list"]).env("SLM_MODELS", &store).succeeds();
    assert_eq!(list.lines().count(), 2);
}

/// As a full disk, for whoever may not mount one: the system refuses the process larger files.
#[test]
fn a_file_that_may_not_grow_leaves_the_store_usable() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    let mut command = home.limited("-c 0 -f 512", ["create", "x"]).command();
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(home.slm(["list"]).succeeds().lines().count(), 2);
    home.slm(["create", "x"]).succeeds();
    assert!(files(&home.models()).iter().all(|(path, _)| !is_partial(path)));
    home.slm(["run", "x", "--choices", "a,b", "y"]).succeeds();
}

#[test]
fn a_read_only_store_can_be_read_and_refuses_to_be_written() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "mine"]).succeeds();
    // Permissions do not bind root, so another user asks; it needs a copy of the binary that it can reach.
    let binary = home.path().join("slm");
    // Not copied by this process: a test beside it that starts a program would hand the open file on, and a file that is
    // open for writing cannot be run.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_slm")).arg(&binary).status().unwrap().success());
    let open = |mode| std::fs::Permissions::from_mode(mode);
    for (path, _) in files(&home.models()) {
        std::fs::set_permissions(&path, open(0o444)).unwrap();
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(home.path())) {
            std::fs::set_permissions(folder, open(0o755)).unwrap();
        }
    }
    let is_root = rustix::process::geteuid().is_root();
    let folders = [home.models(), home.models().join("blobs")];
    if !is_root {
        folders.iter().for_each(|folder| std::fs::set_permissions(folder, open(0o555)).unwrap());
    }
    let ask = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).env_clear().env("HOME", home.path()).current_dir(home.path()).stdin(Stdio::null());
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, stderr, stdout) = ask(&["list"]);
    assert_eq!((code, stderr.as_str(), stdout.lines().count()), (Some(0), "", 3));
    let (code, stderr, stdout) = ask(&["run", "mine", "--format", r#"{"const": "one"}"#, "x"]);
    assert_eq!((code, stderr.as_str(), stdout.as_str()), (Some(0), "", "one\n"));
    let (code, stderr, _) = ask(&["create", "other"]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("slm: cannot ") && stderr.ends_with(": Permission denied (os error 13)\n"), "{stderr}");
    folders.iter().for_each(|folder| std::fs::set_permissions(folder, open(0o755)).unwrap());
}
