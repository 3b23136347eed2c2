//! Tests of headers: what is read, what is refused and why, and that no bytes make the reader panic.

use super::testing::{Writer, tiny_llama};
use super::*;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(bytes, bytes.len() as u64)
}

#[test]
fn reads_a_small_model() {
    let header = read(&tiny_llama().bytes()).unwrap();
    assert_eq!(header.architecture(), "llama");
    assert_eq!(header.name(), Some("tiny"));
    assert_eq!(header.context_length(), Some(64));
    assert_eq!(header.tokenizer_model(), Some("llama"));
    assert_eq!(header.n_tokens(), 260);
    assert_eq!(header.n_parameters(), 6512);
    assert_eq!(header.size_label(), "7K");
    assert_eq!(header.quantization(), "F32");
    assert_eq!(header.sliding_window(), None);
    assert_eq!(header.chat_template(), None);
    assert_eq!(header.model_info(Arrays::Short)["llama.context_length"], 64);
    assert_eq!(header.model_info(Arrays::Short)["llama.attention.layer_norm_rms_epsilon"], 1e-5);
    let tokens = header.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap().strings().unwrap();
    assert_eq!((tokens.get(0), tokens.get(13), tokens.get(260)), (Some("<unk>"), Some("<0x0A>"), None));
}

#[test]
fn reads_a_vocabulary_alone() {
    let header = read(&tiny_llama().without_tensors().bytes()).unwrap();
    assert!(header.tensors.is_empty());
}

#[test]
fn reads_the_shared_files() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let files: Vec<_> = ["models", "vocabs"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(format!("{root}/{folder}")).ok())
        .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "gguf"))
        .collect();
    if files.is_empty() {
        slm_testing::skipped!("no GGUF files in ../shared");
    }
    for path in files {
        let file = std::fs::File::open(&path).unwrap();
        let file_len = file.metadata().unwrap().len();
        let header = Header::read(std::io::BufReader::new(file), file_len);
        let header = header.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(header.n_tokens() > 0);
    }
}

#[track_caller]
fn refused(file: Writer, expected: &str) {
    assert_eq!(read(&file.bytes()).unwrap_err().to_string(), expected);
}

#[test]
fn refuses_other_files() {
    let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = tiny_llama().bytes();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let cut = "it ends at byte 3, in the middle of its header; the copy or download is probably incomplete";
    assert_eq!(error(b"GGU"), cut);
    assert_eq!(
        error(&with(0, b"PK\x03\x04")),
        "it begins with `PK\\x03\\x04`, not with `GGUF`, so it is not a GGUF file"
    );
    assert_eq!(
        error(&with(4, &[0, 0, 0, 3])),
        "it is a big-endian GGUF; convert it with llama.cpp's `gguf_convert_endian.py`"
    );
    assert_eq!(error(&with(4, &[9])), "it is GGUF version 9, but only 2 and 3 can be read; convert the model again");
    assert_eq!(error(&with(8, &[255; 8])), "it claims to have 18446744073709551615 tensors, more than 65536");
    assert_eq!(error(&with(16, &[255; 8])), "it claims to have 18446744073709551615 keys, more than 16384");
    assert_eq!(error(&with(24, &[255; 8])), "its key has 18446744073709551615 bytes, more than 65535");
    let mut short = tiny_llama().bytes();
    short.truncate(short.len() - 1);
    assert_eq!(
        error(&short),
        "its tensor `blk.0.ffn_up.weight` ends at byte 26048 of the data, but the file has only 26047; the copy or \
         download is probably incomplete"
    );
}

#[test]
fn refuses_shapes_that_abort() {
    let tiny = tiny_llama;
    let key = |name: &str, value: &str, expected: &str| format!("its key `{name}` is {value}, but must be {expected}");
    refused(tiny().number("llama.block_count", 0), &key("llama.block_count", "0", "from 1 to 512"));
    refused(tiny().without("llama.block_count"), "it has no key `llama.block_count`, which every model needs");
    refused(tiny().number("llama.block_count", 513), &key("llama.block_count", "513", "from 1 to 512"));
    refused(
        tiny().number("llama.attention.head_count", 3),
        &key("llama.attention.head_count_kv", "1", "a divisor of `llama.attention.head_count`, which is 3")
            .replace("head_count_kv` is 1", "head_count` is 3")
            .replace("llama.attention.head_count`, which is 3", "llama.embedding_length`, which is 16"),
    );
    refused(tiny().number("llama.attention.head_count_kv", 0), &key("llama.attention.head_count_kv", "0", "1 or more"));
    refused(
        tiny().number("llama.attention.value_length", 4),
        &key("llama.attention.value_length", "4", "8, the size of a head's keys"),
    );
    refused(
        tiny().number("llama.rope.dimension_count", 6),
        &key("llama.rope.dimension_count", "6", "8, the size of a head's keys"),
    );
    refused(
        tiny().text("llama.rope.scaling.type", "su"),
        &key("llama.rope.scaling.type", "`su`", "`none`, `linear`, `yarn` or `longrope`"),
    );
    refused(
        tiny().float("llama.attention.layer_norm_rms_epsilon", f32::NAN),
        &key("llama.attention.layer_norm_rms_epsilon", "NaN", "a finite number that is not negative"),
    );
    refused(tiny().float("llama.rope.freq_base", 0.0), &key("llama.rope.freq_base", "0", "a finite number above 0"));
    refused(tiny().number("llama.expert_used_count", 2), &key("llama.expert_used_count", "2", "from 0 to 0"));
    refused(tiny().number("split.count", 3), &GgufError::Split(3).to_string());
    refused(tiny().text("general.type", "adapter"), "it is of the kind `adapter`, not a language model");
    refused(tiny().without("tokenizer.ggml.model"), "it has no key `tokenizer.ggml.model`, which every model needs");
    refused(tiny().number("general.alignment", 48), "its key `general.alignment` is 48, not a power of two");
    refused(tiny().tensor("output_norm.weight", &[1]), "it has the tensor `output_norm.weight` twice");
    refused(tiny().tensor("x", &[0]), "its tensor `x` has the shape 0, which holds nothing");
}

#[test]
fn refuses_vocabularies_that_abort() {
    let tiny = tiny_llama;
    let tokens = |change: fn(&mut Vec<Vec<u8>>)| {
        let header = read(&tiny().bytes()).unwrap();
        let strings = header.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap().strings().unwrap();
        let mut tokens: Vec<Vec<u8>> = strings.iter().map(|token| token.as_bytes().to_vec()).collect();
        change(&mut tokens);
        tiny().texts("tokenizer.ggml.tokens", &tokens)
    };
    refused(
        tokens(|tokens| tokens[259] = b"<s>".to_vec()),
        "its vocabulary has the token `<s>` twice, the second time as 259",
    );
    refused(
        tokens(|tokens| tokens[259] = b"<s>\0x".to_vec()),
        "its vocabulary has the token `<s>\\0x` twice, the second time as 259",
    );
    refused(tokens(|tokens| tokens[259] = vec![0xff]), "its key `tokenizer.ggml.tokens` is not UTF-8");
    refused(
        tokens(|tokens| {
            // The two halves of one character: the whole text is UTF-8, its parts are not.
            tokens[258] = vec![0xc3];
            tokens[259] = vec![0xa9];
        }),
        "its key `tokenizer.ggml.tokens` is not UTF-8",
    );
    refused(
        tokens(|tokens| tokens[13] = b"<0x0G>".to_vec()),
        "its vocabulary has the token `<0x0G>` as a byte, which it is not",
    );
    refused(
        tokens(|tokens| {
            tokens.pop();
        }),
        "its key `tokenizer.ggml.token_type` is an array of 260, but must be a list of 259 numbers, one for each token",
    );
    refused(
        tiny()
            .numbers("tokenizer.ggml.token_type", &[1; 260])
            .texts("tokenizer.ggml.tokens", &(0..260).map(|n| n.to_string()).collect::<Vec<_>>()),
        "its vocabulary has no token for the byte `<0x00>`",
    );
    refused(
        tiny().floats("tokenizer.ggml.scores", &[f32::NAN; 260]),
        "its key `tokenizer.ggml.scores` is NaN, but must be a list of numbers",
    );
    refused(
        tiny().number("tokenizer.ggml.bos_token_id", 260),
        "its key `tokenizer.ggml.bos_token_id` is 260, but must be the number of one of its 260 tokens",
    );
    refused(
        tiny().text("tokenizer.ggml.model", "gpt2"),
        "it has no key `tokenizer.ggml.merges`, which every model needs",
    );
    refused(
        tiny().text("tokenizer.ggml.model", "t5"),
        "its tokenizer is `t5`; supported are `llama`, `gpt2`, `bert` and `gemma4`",
    );
    refused(
        tiny().text("tokenizer.ggml.model", "bert"),
        "its vocabulary has the token `<0x00>` as a byte, which it is not",
    );
}

/// One change to a file: a flipped bit, a cut, or a number written over 1, 4 or 8 bytes.
fn mutated(bytes: &[u8], at: usize, kind: usize) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 2, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, i64::MIN as u64, u64::MAX];
    let mut bytes = bytes.to_vec();
    match kind {
        0..8 => bytes[at] ^= 1 << kind,
        8 => bytes.truncate(at),
        _ => {
            let number = NUMBERS[(kind - 9) % NUMBERS.len()].to_le_bytes();
            let width = [1, 4, 8][(kind - 9) / NUMBERS.len() % 3].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
    }
    bytes
}

const N_KINDS: usize = 9 + 24;

#[test]
fn no_change_to_a_file_makes_it_panic() {
    let tiny = tiny_llama().bytes();
    let n_header = read(&tiny).unwrap().data_offset as usize;
    let mut n_refused = 0;
    let mut n_tried = 0;
    // Every kind of change at places that cover the whole header.
    for at in (0..n_header).step_by(3) {
        for kind in 0..N_KINDS {
            n_tried += 1;
            n_refused += usize::from(read(&mutated(&tiny, at, kind)).is_err());
        }
    }
    assert!(n_tried > 10_000 && n_refused > n_tried / 4, "{n_refused} of {n_tried}");
}

#[test]
fn no_change_to_a_real_file_makes_it_panic() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/models/stories260K.gguf");
    let Ok(file) = std::fs::read(path) else {
        slm_testing::skipped!("no ../shared/models/stories260K.gguf");
        return;
    };
    let n_header = read(&file).unwrap().data_offset as usize;
    for change in 0..2_000 {
        let _ = read(&mutated(&file, change * 7919 % n_header, change % N_KINDS));
    }
}

/// A file that says that it is long and gives few bytes.
#[test]
fn what_a_file_says_takes_no_memory() {
    for key in ["tokenizer.ggml.tokens", "general.name"] {
        let mut bytes = tiny_llama().bytes();
        let at = bytes.windows(key.len()).position(|part| part == key.as_bytes()).unwrap() + key.len();
        // The length after the value's type: of an array after its elements' type too.
        let at = at + if key == "general.name" { 4 } else { 8 };
        bytes[at..at + 8].copy_from_slice(&(1_u64 << 23).to_le_bytes());
        let error = Header::read(bytes.as_slice(), 1 << 40).unwrap_err();
        assert!(matches!(error, GgufError::Truncated { .. } | GgufError::TooLong { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_after_the_magic_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), n in 0u64..4) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(n.to_le_bytes());
        file.extend((n + 1).to_le_bytes());
        file.extend(bytes);
        let _ = read(&file);
        let _ = Header::read(file.as_slice(), u64::MAX);
        let _ = Shard::read(file.as_slice(), file.len() as u64).map(|shard| Header::of_shards(vec![shard]));
    }

    #[test]
    fn changes_together_are_answered(changes in proptest::collection::vec((any::<usize>(), 0..N_KINDS), 1..6)) {
        let mut file = tiny_llama().bytes();
        for (at, kind) in changes {
            if !file.is_empty() {
                let at = at % file.len().min(6_000);
                file = mutated(&file, at, kind);
            }
        }
        let _ = read(&file);
    }
}
