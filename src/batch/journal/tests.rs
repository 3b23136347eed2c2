//! Files of answers that were interrupted, changed, or belong to other work.

use super::*;
use crate::batch::row::AddedNames;

struct Folder(tempfile::TempDir);

fn asked() -> Identity {
    Identity {
        model: "m".to_owned(),
        model_digest: Digest::of(b"m"),
        prompt: Digest::of(b"p"),
        form: Digest::of(b"f"),
        sampling: Digest::of(b"s"),
        adapters: Digest::of(b"a"),
        evaluation_id: "e".to_owned(),
        rows: Digest::of(b"r"),
    }
}

fn objects() -> Form {
    let added = AddedNames { answer: vec!["answer".to_owned()], error: "error".to_owned() };
    Form::Objects { field: "b".to_owned(), added }
}

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    fn open(&self, existing: Existing, asked: Identity, input: &str, form: &Form) -> Result<Journal, String> {
        let mut records = Records::new(input.as_bytes());
        JournalFile::open(&self.out(), existing)
            .and_then(|file| file.begin(asked, &mut records, form))
            .map_err(|error| error.to_string().replace(&format!("{}/", self.0.path().display()), ""))
    }

    /// Appends answers to the records that come next.
    fn answer(&self, existing: Existing, input: &str, n: usize) {
        let mut records = Records::new(input.as_bytes());
        let file = JournalFile::open(&self.out(), existing).unwrap();
        let mut journal = file.begin(asked(), &mut records, &Form::Lines).unwrap();
        for record in records.take(n) {
            let record = record.unwrap();
            journal.append(record.digest, &record.text.unwrap().to_uppercase()).unwrap();
        }
    }

    fn save(&self, input: &str) {
        self.open(Existing::Resume, asked(), input, &Form::Lines).unwrap();
    }

    fn read(&self) -> String {
        std::fs::read_to_string(self.out()).unwrap()
    }

    fn notes(&self) -> String {
        std::fs::read_to_string(notes::beside(&self.out())).unwrap()
    }
}

#[test]
fn work_goes_on_behind_the_last_whole_line() {
    let folder = Folder::new();
    folder.answer(Existing::Refuse, "a\nb\nc\n", 2);
    for torn in ["", "to", "torn \u{e9}"] {
        let mut file = OpenOptions::new().append(true).open(folder.out()).unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        folder.answer(Existing::Resume, "a\nb\nc\n", 0);
        assert_eq!(folder.read(), "A\nB\n");
    }
    folder.answer(Existing::Resume, "a\nb\nc\n", 9);
    assert_eq!(folder.read(), "A\nB\nC\n");
    // The input may have grown, and its last line may have had no end.
    folder.answer(Existing::Resume, "a\nb\nc\nd", 9);
    folder.answer(Existing::Resume, "a\nb\nc\nd\ne\n", 9);
    assert_eq!(folder.read(), "A\nB\nC\nD\nE\n");
    folder.answer(Existing::Overwrite, "x\n", 9);
    assert_eq!(folder.read(), "X\n");
}

#[test]
fn another_works_answers_are_left_alone() {
    let folder = Folder::new();
    let open = |existing, asked, input| folder.open(existing, asked, input, &Form::Lines).map(drop);
    let foreign = |why: &str| Err(format!("cannot continue `out`: {why}"));
    folder.answer(Existing::Resume, "a\nb\nc\n", 2);
    folder.save("a\nb\n");
    let before = (folder.read(), folder.notes());

    assert_eq!(open(Existing::Refuse, asked(), "a\nb\nc\n"), Err("`out` already exists".to_owned()));
    let resume = |asked, input| open(Existing::Resume, asked, input);
    let (other, id) = (Digest::of(b"other"), "f".to_owned());
    let others = [
        (Identity { model_digest: other, ..asked() }, "it was begun with another model (m)"),
        (
            Identity { rows: other, ..asked() },
            "it was begun with other rows: another field is read, or answers are written in another way",
        ),
        (Identity { form: other, ..asked() }, "it was begun with another format or other limits"),
        (Identity { adapters: other, ..asked() }, "it was begun with other adapters"),
        (
            Identity { prompt: other, ..asked() },
            "it was begun with another prompt: another system message, template or examples",
        ),
        (Identity { sampling: other, ..asked() }, "it was begun with other sampling parameters"),
        (
            Identity { evaluation_id: id, ..asked() },
            "it was begun under the evaluation id `e`, and here it is `f`: another build, processor or number of threads \
             gives other probabilities",
        ),
    ];
    for (other, why) in others {
        assert_eq!(resume(other, "a\nb\nc\n"), foreign(why));
    }
    assert_eq!(resume(asked(), "a\nB\nc\n"), foreign("its first 2 lines answer other records than the input has"));
    assert_eq!(resume(asked(), "ab\n\nc\n"), foreign("its first 2 lines answer other records than the input has"));
    assert_eq!(resume(asked(), "a\n"), foreign("it has more lines (2) than the input has records (1)"));
    assert_eq!((folder.read(), folder.notes()), before);
    // A name is for people: the same model may have two.
    let renamed = Identity { model: "n".to_owned(), ..asked() };
    assert_eq!(resume(renamed, "a\nb\nc\n"), Ok(()));

    std::fs::write(folder.out(), "A\n").unwrap();
    let changed = "it has 1 complete lines where 2 were written, or they were changed";
    assert_eq!(resume(asked(), "a\nb\nc\n"), foreign(changed));
    std::fs::write(folder.out(), "A\nlonger\nC\n").unwrap();
    let changed = "it has 3 complete lines where 2 were written, or they were changed";
    assert_eq!(resume(asked(), "a\nb\nc\n"), foreign(changed));
}

#[test]
fn notes_that_are_damaged_or_of_another_version_are_refused() {
    let folder = Folder::new();
    folder.answer(Existing::Resume, "a\nb\n", 2);
    let said = |notes: &str| {
        std::fs::write(notes::beside(&folder.out()), notes).unwrap();
        folder.open(Existing::Resume, asked(), "a\nb\n", &Form::Lines).map(drop).unwrap_err()
    };
    let damaged = "cannot continue `out`: `out.slm`, which says what was asked, is missing or damaged";
    for notes in ["", "{}", "\u{0}", "[1]", "{\"version\":2}", &"[".repeat(100_000)] {
        assert_eq!(said(notes), damaged, "{notes:.9}");
    }
    let other = "cannot continue `out`: `out.slm`, which says what was asked, was written by another version of slm that says \
                 it in another way";
    let digest = Digest::of(b"");
    let first = format!(
        "{{\"model\":\"m\",\"model_digest\":\"{digest}\",\"settings\":\"{digest}\",\"records\":2,\"bytes\":4,\
         \"input\":\"{digest}\"}}"
    );
    for notes in [first.as_str(), "{\"version\":3,\"asked\":[]}"] {
        assert_eq!(said(notes), other, "{notes}");
    }
}

#[test]
fn one_writes_at_a_time_and_only_files() {
    let folder = Folder::new();
    let held = folder.open(Existing::Resume, asked(), "", &Form::Lines).unwrap();
    let second = folder.open(Existing::Overwrite, asked(), "", &Form::Lines).map(drop);
    assert_eq!(second, Err("another slm is writing `out`".to_owned()));
    drop(held);
    assert!(folder.open(Existing::Refuse, asked(), "", &Form::Lines).is_ok());
    let refused = JournalFile::open(Path::new("/dev/null"), Existing::Resume);
    assert!(matches!(refused, Err(JournalError::NoFile(_))), "{refused:?}");
}

/// The line behind the notes is not in their digest.
#[test]
fn an_object_that_is_no_answer_to_the_record_in_its_place_is_refused() {
    let folder = Folder::new();
    let input = "{\"id\": 1, \"b\": \"x\"}\n{\"id\": 2, \"b\": \"y\"}\n[3]\n";
    let resume = |lines: &str| {
        folder.answer(Existing::Overwrite, "", 0);
        std::fs::write(folder.out(), lines).unwrap();
        folder.open(Existing::Resume, asked(), input, &objects()).map(|journal| journal.n_lines)
    };
    let first = "{\"id\": 1, \"b\": \"x\",\"answer\":\"one\"}\n";
    assert_eq!(resume(first), Ok(1));
    assert_eq!(resume(&format!("{first}{{\"id\": 2, \"b\": \"y\",\"error\":\"e\"}}\n{{\"to")), Ok(2));
    assert_eq!(resume(&format!("{first}{{\"line\":2,\"error\":\"e\"}}\n")), Ok(2));
    assert_eq!(resume(&format!("{first}{first}{{\"line\":3,\"error\":\"e\"}}\n")), Ok(3));
    for wrong in [format!("{first}{first}"), format!("{first}{{\"line\":1,\"error\":\"e\"}}\n"), "\n".to_owned()] {
        assert!(resume(&wrong).unwrap_err().contains(" answers another record than the input has"), "{wrong}");
    }
}
