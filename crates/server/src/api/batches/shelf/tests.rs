//! A folder of files and batches over restarts: what is found again, what is swept, and what is left alone.

use std::time::Duration;

use super::*;
use crate::api::batches::state::{Counts, Purpose, Times};

fn file(shelf: &Shelf, id: &str, house: &str, expires_at: u64) -> StoredFile {
    let mut upload = shelf.upload().unwrap();
    upload.write(b"a line\n").unwrap();
    let file = StoredFile {
        id: id.to_owned(),
        house: house.to_owned(),
        filename: "in.jsonl".to_owned(),
        purpose: Purpose::Batch,
        n_bytes: 0,
        created_at: 0,
        expires_at,
    };
    shelf.keep(upload, file).unwrap()
}

fn batch(id: &str, input: &str, status: Status) -> StoredBatch {
    StoredBatch {
        id: id.to_owned(),
        house: "h".to_owned(),
        endpoint: "/v1/responses".to_owned(),
        input_file_id: input.to_owned(),
        completion_window: "24h".to_owned(),
        metadata: None,
        status,
        times: Times::default(),
        expires_at: 100,
        results_kept: 100,
        output_file_id: format!("{id}-out"),
        error_file_id: format!("{id}-errors"),
        has_output: false,
        has_errors: false,
        counts: Counts::default(),
        faults: Vec::new(),
    }
}

#[test]
fn what_is_kept_is_found_after_a_restart_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    assert_eq!(Shelf::open(folder.path()).unwrap_err().to_string(), "another server has it");
    let kept = file(&shelf, "file-1", "h", 50);
    assert_eq!((kept.n_bytes, shelf.files("h"), shelf.files("other")), (7, vec![kept.clone()], Vec::new()));
    shelf.add(batch("b1", "file-1", Status::InProgress)).unwrap();
    for stray in ["file-9.jsonl", "x.partial", "b1-out.jsonl"] {
        std::fs::write(folder.path().join("files").join(stray), "x").unwrap();
    }
    std::fs::write(folder.path().join("batches/damaged.json"), "{").unwrap();
    drop(shelf);

    let shelf = Shelf::open(folder.path()).unwrap();
    assert_eq!(shelf.file("h", "file-1").unwrap(), kept);
    assert_eq!(shelf.next().map(|batch| batch.id).as_deref(), Some("b1"));
    let mut there: Vec<String> = std::fs::read_dir(folder.path().join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, ["b1-out.jsonl", "file-1.json", "file-1.jsonl"]);
    assert!(folder.path().join("batches/damaged.json").exists(), "what cannot be read is left alone");
    assert_eq!(shelf.file("other", "file-1").unwrap_err().to_string(), "there is no file `file-1`");
}

#[test]
fn a_file_that_is_needed_stays_and_others_go_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    file(&shelf, "needed", "h", 50);
    file(&shelf, "old", "h", 50);
    file(&shelf, "young", "h", 5000);
    shelf.add(batch("b1", "needed", Status::InProgress)).unwrap();
    let refused = shelf.delete("h", "needed").unwrap_err().to_string();
    assert_eq!(refused, "`needed` is needed by the batch `b1`, which is in_progress; cancel it first");
    shelf.sweep(at(60)).unwrap();
    assert_eq!(shelf.files("h").iter().map(|file| file.id.as_str()).collect::<Vec<_>>(), ["needed", "young"]);
    shelf.change("b1", |batch| batch.becomes(Status::Completed, 70)).unwrap();
    shelf.delete("h", "needed").unwrap();
    assert_eq!(shelf.next(), None);
    shelf.sweep(at(99 + KEPT_SECONDS)).unwrap();
    assert_eq!((shelf.files("h").len(), shelf.batches("h").len()), (0, 1));
    shelf.sweep(at(100 + KEPT_SECONDS)).unwrap();
    assert_eq!(shelf.batches("h").len(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("batches")).unwrap().count(), 0);
}

#[test]
fn what_is_too_much_is_refused_with_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let mut upload = shelf.upload().unwrap();
    upload.n_bytes = MAX_FILE_BYTES;
    let said = upload.write(b"x").unwrap_err().to_string();
    assert_eq!(said, "the file has more than 209715200 bytes; divide it");
    let mut upload = shelf.upload().unwrap();
    upload.room = 3;
    let said = upload.write(b"four").unwrap_err().to_string();
    let expected = format!(
        "the files that are kept have {} bytes, and 4 more would be over {MAX_KEPT_BYTES}; delete some",
        MAX_KEPT_BYTES - 3
    );
    assert_eq!(said, expected);
}
