//! A model that is split into several files, as `llama-gguf-split` writes them: the keys in the first, the tensors in all.
//!
//! llama.cpp aborts where `split.no` of a further file is not a 16-bit number, and adds up what the files claim without a
//! limit; so each is checked for itself here, and all of them together as the one model that they are.

use super::error::GgufError;
use super::header::{Header, MAX_TENSORS};
use super::model::checked;
use super::value::MetadataValue;
use std::collections::HashSet;
use std::io::Read;

/// The most files of a model; real ones have a dozen.
const MAX_FILES: u16 = 512;
const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const N_TENSORS: &str = "split.tensors.count";

/// One of the files of a split model.
#[derive(Debug, Clone)]
pub struct Shard {
    /// The place among the files, from 0.
    pub number: u16,
    /// How many files there are, at least two.
    pub count: u16,
    /// How many tensors all files hold together.
    n_tensors: u64,
    header: Header,
}

impl Shard {
    /// Reads and checks one file of `file_len` bytes, as far as it can be checked alone.
    ///
    /// # Errors
    /// [`GgufError`] where the file cannot be read, is not a GGUF file, or is not one of several.
    pub fn read(reader: impl Read, file_len: u64) -> Result<Shard, GgufError> {
        let header = Header::read_parts(reader, file_len)?;
        let count = match header.get(COUNT) {
            None => return Err(GgufError::Whole),
            Some(MetadataValue::U16(0 | 1)) => return Err(GgufError::Whole),
            Some(&MetadataValue::U16(count)) if count <= MAX_FILES => count,
            Some(value) => return Err(wrong(COUNT, value, format!("a 16-bit number up to {MAX_FILES}"))),
        };
        let number = match header.get(NUMBER) {
            Some(&MetadataValue::U16(number)) if number < count => number,
            Some(value) => return Err(wrong(NUMBER, value, format!("a 16-bit number below {count}"))),
            None => return Err(GgufError::MissingKey(NUMBER.to_owned())),
        };
        let n_tensors = match header.get(N_TENSORS) {
            Some(value) => value
                .as_u64()
                .filter(|&n| n <= MAX_TENSORS)
                .ok_or_else(|| wrong(N_TENSORS, value, format!("a number up to {MAX_TENSORS}")))?,
            None => return Err(GgufError::MissingKey(N_TENSORS.to_owned())),
        };
        if header.tensors.is_empty() && number > 0 {
            return Err(GgufError::Shards(format!("the file {} of {count} is empty", number + 1)));
        }
        Ok(Shard { number, count, n_tensors, header })
    }
}

impl Header {
    /// The one model of all its files, in their order: the keys of the first, the tensors of all, each with its offset in
    /// its own file.
    ///
    /// # Errors
    /// [`GgufError`] where they are not all files of one model, or this is one that llama.cpp could not load safely.
    pub fn of_shards(shards: Vec<Shard>) -> Result<Header, GgufError> {
        let n_files = shards.len();
        let mut shards = shards.into_iter().enumerate();
        let Some((_, first)) = shards.next() else {
            return Err(GgufError::Shards("it has no file".to_owned()));
        };
        let Shard { number, count, n_tensors, header: mut whole } = first;
        if usize::from(count) != n_files {
            return Err(GgufError::Shards(format!("it is split into {count} files, and {n_files} are given")));
        }
        if number != 0 {
            return Err(GgufError::Shards(format!("its first file says that it is number {}", number + 1)));
        }
        let mut names: HashSet<String> = whole.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        for (at, shard) in shards {
            let named = |what: &str| GgufError::Shards(format!("its file {} of {count} {what}", at + 1));
            if (usize::from(shard.number), shard.count) != (at, count) {
                return Err(named(&format!("says that it is number {} of {}", shard.number + 1, shard.count)));
            }
            if shard.n_tensors != n_tensors {
                return Err(named(&format!("knows of {} tensors, the first of {n_tensors}", shard.n_tensors)));
            }
            let architecture = shard.header.architecture();
            if !architecture.is_empty() && architecture != whole.architecture() {
                let architecture: String = architecture.escape_default().take(100).collect();
                return Err(named(&format!("is of the architecture `{architecture}`, another than the first's")));
            }
            for tensor in shard.header.tensors {
                if !names.insert(tensor.name.clone()) {
                    return Err(GgufError::DuplicateTensor(tensor.name));
                }
                whole.tensors.push(tensor);
            }
        }
        if whole.tensors.len() as u64 != n_tensors {
            let found = whole.tensors.len();
            return Err(GgufError::Shards(format!("its files hold {found} tensors together, not {n_tensors}")));
        }
        checked(whole)
    }
}

fn wrong(key: &str, value: &MetadataValue, expected: String) -> GgufError {
    GgufError::Key { key: key.to_owned(), value: value.describe(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::testing::{Writer, tiny_llama};

    /// The tiny model in three files, the first without tensors.
    fn files() -> [Writer; 3] {
        let keys = |writer: Writer, number: u16| {
            let number = number.to_le_bytes().to_vec();
            writer.raw(NUMBER, 2, number).raw(COUNT, 2, vec![3, 0]).raw(N_TENSORS, 5, 11_i32.to_le_bytes().to_vec())
        };
        let rest = Writer::default()
            .tensor("blk.0.attn_v.weight", &[16, 8])
            .tensor("blk.0.attn_output.weight", &[16, 16])
            .tensor("blk.0.ffn_norm.weight", &[16])
            .tensor("blk.0.ffn_gate.weight", &[16, 32])
            .tensor("blk.0.ffn_down.weight", &[32, 16])
            .tensor("blk.0.ffn_up.weight", &[16, 32]);
        let first = Writer::default()
            .tensor("token_embd.weight", &[16, 260])
            .tensor("output_norm.weight", &[16])
            .tensor("blk.0.attn_norm.weight", &[16])
            .tensor("blk.0.attn_q.weight", &[16, 16])
            .tensor("blk.0.attn_k.weight", &[16, 8]);
        [keys(tiny_llama().without_tensors(), 0), keys(first, 1), keys(rest, 2)]
    }

    fn merged(files: &[Writer]) -> Result<Header, String> {
        let read = |writer: &Writer| {
            let bytes = writer.bytes();
            Shard::read(bytes.as_slice(), bytes.len() as u64)
        };
        let shards: Result<Vec<Shard>, GgufError> = files.iter().map(read).collect();
        shards.and_then(Header::of_shards).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(edit: impl FnOnce(&mut [Writer; 3]), expected: &str) {
        let mut files = files();
        edit(&mut files);
        assert_eq!(merged(&files).unwrap_err(), expected);
    }

    #[test]
    fn all_files_are_one_model() {
        let whole = tiny_llama().bytes();
        let whole = Header::read(whole.as_slice(), whole.len() as u64).unwrap();
        let merged = merged(&files()).unwrap();
        assert_eq!(merged.footprint(), whole.footprint());
        assert_eq!(merged.size_label(), whole.size_label());
        assert_eq!(merged.tensors.len(), whole.tensors.len());
    }

    #[test]
    fn one_file_alone_is_no_model() {
        let bytes = files()[0].bytes();
        let error = Header::read(bytes.as_slice(), bytes.len() as u64).unwrap_err();
        assert!(matches!(error, GgufError::Split(3)), "{error}");
    }

    #[test]
    fn files_that_are_not_of_one_model_are_refused() {
        let u16 = |number: u16| number.to_le_bytes().to_vec();
        refused(|files| files.swap(1, 2), "its split is invalid: its file 2 of 3 says that it is number 3 of 3");
        refused(|files| files.swap(0, 1), "its split is invalid: its first file says that it is number 2");
        refused(|files| files[1] = tiny_llama(), "it is a whole model, not one of the files of a split one");
        refused(
            |files| files[1] = files[1].clone().text("general.architecture", "gemma"),
            "its split is invalid: its file 2 of 3 is of the architecture `gemma`, another than the first's",
        );
        refused(
            |files| files[2] = files[1].clone().raw(NUMBER, 2, u16(2)),
            "it has the tensor `token_embd.weight` twice",
        );
        refused(
            |files| files[2] = files[2].clone().without_tensors().tensor("blk.0.ffn_up.weight", &[16, 32]),
            "its split is invalid: its files hold 6 tensors together, not 11",
        );
        refused(
            |files| files[2] = files[2].clone().without_tensors(),
            "its split is invalid: the file 3 of 3 is empty",
        );
        // Of another type, llama.cpp ends the process.
        refused(
            |files| files[1] = files[1].clone().number(NUMBER, 1),
            "its key `split.no` is 1, but must be a 16-bit number below 3",
        );
        refused(
            |files| files[1] = files[1].clone().raw(NUMBER, 2, u16(3)),
            "its key `split.no` is 3, but must be a 16-bit number below 3",
        );
        refused(
            |files| files[0] = files[0].clone().raw(COUNT, 2, u16(u16::MAX)),
            "its key `split.count` is 65535, but must be a 16-bit number up to 512",
        );
        refused(
            |files| files[0] = files[0].clone().raw(N_TENSORS, 5, (-1_i32).to_le_bytes().to_vec()),
            "its key `split.tensors.count` is -1, but must be a number up to 65536",
        );
        refused(
            |files| files[2] = files[2].clone().without(NUMBER),
            "it has no key `split.no`, which every model needs",
        );
        // A fault of the whole model is reported as that of one file.
        refused(
            |files| files[0] = files[0].clone().without("llama.embedding_length"),
            "it has no key `llama.embedding_length`, which every model needs",
        );
        assert_eq!(
            merged(&files()[..2]).unwrap_err(),
            "its split is invalid: it is split into 3 files, and 2 are given"
        );
    }
}
