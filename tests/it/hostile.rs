//! Damaged and hostile GGUF files: thousands of ways to be wrong, and the program always ends by itself with a sentence.
//!
//! `SLM_HOSTILE=20000 cargo test --release hostile -- --nocapture` tries more of them, `SLM_HOSTILE_SEED` others.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::slm::{Home, Random, end_within, triage_gguf};

/// Mutations of a default run.
const N_MUTATIONS: usize = 500;
/// Address space of a process that is given one: many times what a model of 3 MB needs.
const MEMORY_BYTES: u64 = 4 << 30;
/// Nothing here takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A damaged file and what was done to it.
struct Mutation {
    what: String,
    bytes: Vec<u8>,
}

/// Where things are in the file that is damaged: just enough of the format to hit it where it hurts.
struct Layout {
    /// Places of 8 bytes that hold a count or a length.
    lengths: Vec<usize>,
    /// Places of 4 bytes that hold a type.
    types: Vec<usize>,
    /// Single numbers among the values: place and width.
    numbers: Vec<(usize, usize)>,
    /// The elements of arrays of numbers: place, width, and how many.
    arrays: Vec<(usize, usize, usize)>,
    /// Texts: place and length.
    texts: Vec<(usize, usize)>,
    /// Dimensions and offsets of tensors, 8 bytes each.
    tensors: Vec<usize>,
    end_of_header: usize,
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    fn number(&mut self, width: usize) -> (usize, u64) {
        let at = self.at;
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&self.bytes[at..at + width]);
        self.at += width;
        (at, u64::from_le_bytes(wide))
    }

    fn text(&mut self, layout: &mut Layout) {
        let (at, len) = self.number(8);
        layout.lengths.push(at);
        layout.texts.push((self.at, len as usize));
        self.at += len as usize;
    }
}

impl Layout {
    fn of(bytes: &[u8]) -> Layout {
        let mut layout = Layout {
            lengths: vec![8, 16],
            types: vec![4],
            numbers: Vec::new(),
            arrays: Vec::new(),
            texts: Vec::new(),
            tensors: Vec::new(),
            end_of_header: 0,
        };
        let mut cursor = Cursor { bytes, at: 8 };
        let (n_tensors, n_keys) = (cursor.number(8).1, cursor.number(8).1);
        let width = |kind: u64| [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind as usize];
        for _ in 0..n_keys {
            cursor.text(&mut layout);
            let (at, kind) = cursor.number(4);
            layout.types.push(at);
            match kind {
                8 => cursor.text(&mut layout),
                9 => {
                    let (at, kind) = cursor.number(4);
                    layout.types.push(at);
                    let (at, n) = cursor.number(8);
                    layout.lengths.push(at);
                    if kind == 8 {
                        (0..n).for_each(|_| cursor.text(&mut layout));
                    } else {
                        layout.arrays.push((cursor.at, width(kind), n as usize));
                        cursor.at += width(kind) * n as usize;
                    }
                }
                kind => {
                    layout.numbers.push((cursor.at, width(kind)));
                    cursor.at += width(kind);
                }
            }
        }
        for _ in 0..n_tensors {
            cursor.text(&mut layout);
            let (at, n_dimensions) = cursor.number(4);
            layout.types.push(at);
            (0..n_dimensions).for_each(|_| layout.tensors.push(cursor.number(8).0));
            layout.types.push(cursor.number(4).0);
            layout.tensors.push(cursor.number(8).0);
        }
        layout.end_of_header = cursor.at;
        layout
    }

    /// One damage of the kind that `number` stands for, at a place that chance picks.
    fn mutate(&self, gguf: &[u8], number: usize, random: &mut Random) -> Mutation {
        let mut bytes = gguf.to_vec();
        let interesting = |random: &mut Random| {
            let near = random.below(70_000) as u64;
            let all = [0, 1, 2, 3, 7, 31, 255, 256, 0x7fff_ffff, 0x8000_0000, u64::MAX >> 1, 1 << 63, u64::MAX, near];
            all[random.below(all.len())]
        };
        let what = match number % 9 {
            0 => {
                let n_flips = 1 + random.below(4);
                let places: Vec<usize> = (0..n_flips).map(|_| random.below(self.end_of_header)).collect();
                places.iter().for_each(|&at| bytes[at] ^= 1 << random.below(8));
                format!("bits flipped at {places:?}")
            }
            1 => {
                let end = if random.below(3) == 0 { gguf.len() } else { self.end_of_header };
                bytes.truncate(random.below(end));
                format!("cut to {} bytes", bytes.len())
            }
            2 => {
                let (at, value) = (self.lengths[random.below(self.lengths.len())], interesting(random));
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                format!("length at {at} is {value}")
            }
            3 => {
                let (at, value) = (self.types[random.below(self.types.len())], random.below(45) as u32);
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                format!("type at {at} is {value}")
            }
            4 | 5 => {
                let ((at, width), value) = (self.numbers[random.below(self.numbers.len())], interesting(random));
                bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                format!("number at {at} is {value}")
            }
            6 => {
                let (at, value) = (self.tensors[random.below(self.tensors.len())], interesting(random));
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                format!("tensor's number at {at} is {value}")
            }
            7 => {
                let (start, width, n) = self.arrays[random.below(self.arrays.len())];
                let (at, value) = (start + width * random.below(n), interesting(random));
                bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                format!("element at {at} is {value}")
            }
            _ => {
                let (at, len) = self.texts[random.below(self.texts.len())];
                (at..at + len).for_each(|at| bytes[at] = 1 + random.below(127) as u8);
                format!("text at {at} is random")
            }
        };
        Mutation { what, bytes }
    }
}

/// The exit code, or the signal as a negative number; `None` where it did not end.
fn outcome(home: &Home, args: &[&str]) -> Option<i32> {
    let mut command = home.limited(&format!("-c 0 -v {}", MEMORY_BYTES / 1024), args).command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = end_within(command.spawn().expect("the binary starts"), PATIENCE)?;
    Some(status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)))
}

fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_mutation_of_a_model_ends_in_a_signal() {
    let gguf = triage_gguf();
    let layout = Layout::of(&gguf);
    let mut random = Random::new(number_of("SLM_HOSTILE_SEED", 1) as u64);
    let home = Home::new();
    home.file("Modelfile", "FROM ./hostile.gguf\n");
    let (mut created, mut ran) = (BTreeMap::new(), BTreeMap::new());
    let mut wrong = Vec::new();
    for number in 0..number_of("SLM_HOSTILE", N_MUTATIONS) {
        let Mutation { what, bytes } = layout.mutate(&gguf, number, &mut random);
        home.file("hostile.gguf", &bytes);
        let mut check = |seen: &mut BTreeMap<Option<i32>, usize>, args: &[&str]| {
            let code = outcome(&home, args);
            *seen.entry(code).or_default() += 1;
            if !matches!(code, Some(0..=2)) {
                wrong.push(format!("{number}: {what}: {} ended with {code:?}", args[0]));
                keep(&bytes, number);
            }
            code
        };
        if check(&mut created, &["create", "hostile"]) != Some(0) {
            continue;
        }
        // One thread, for two wait for each other where other tests keep the processor busy.
        let run = match number % 2 {
            0 => ["run", "hostile", "--num-thread=1", "--choices=billing,account access", "I was charged twice"],
            _ => ["run", "hostile", "--num-thread=1", "--num-predict=8", "I was charged twice"],
        };
        check(&mut ran, &run);
        // Hundreds of copies would fill a small disk.
        std::fs::remove_dir_all(home.models()).expect("a store that nobody uses");
    }
    println!("exit codes of create: {created:?}\nexit codes of run: {ran:?}");
    assert_eq!(wrong, Vec::<String>::new());
}

/// With `SLM_HOSTILE_KEEP=folder`, what was not survived is kept there to look at.
fn keep(bytes: &[u8], number: usize) {
    if let Some(folder) = std::env::var_os("SLM_HOSTILE_KEEP") {
        std::fs::write(Path::new(&folder).join(format!("{number}.gguf")), bytes).expect("a writable folder");
    }
}
