//! Why a GGUF file is refused.

/// A file that is not GGUF, or one that could not be loaded safely.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("it ends at byte {file_len}, in the middle of its header; the copy or download is probably incomplete")]
    Truncated { file_len: u64 },
    #[error("it begins with `{0}`, not with `GGUF`, so it is not a GGUF file")]
    Magic(String),
    #[error("it is a big-endian GGUF; convert it with llama.cpp's `gguf_convert_endian.py`")]
    BigEndian,
    #[error("it is GGUF version {0}, but only 2 and 3 can be read; convert the model again")]
    Version(u32),
    #[error("it claims to have {n} {what}, more than {limit}")]
    TooMany { what: &'static str, n: u64, limit: u64 },
    #[error("its {what} has {n_bytes} bytes, more than {limit}")]
    TooLong { what: String, n_bytes: u64, limit: u64 },
    #[error("its {what} is not UTF-8")]
    NotUtf8 { what: String },
    #[error("its {what} is `{value}`, which is empty or contains control characters")]
    Name { what: &'static str, value: String },
    #[error("it has the key `{0}` twice")]
    DuplicateKey(String),
    #[error("its key `{key}` is of the unknown type {kind}")]
    ValueType { key: String, kind: u32 },
    #[error("its key `{0}` is an array of arrays, which is not supported")]
    NestedArray(String),
    #[error("its key `general.alignment` is {0}, not a power of two")]
    Alignment(String),
    #[error("it has the tensor `{0}` twice")]
    DuplicateTensor(String),
    #[error("its tensor `{tensor}` {reason}")]
    Tensor { tensor: String, reason: String },
    #[error("its sizes add up to more than a file can have")]
    Overflow,
    #[error("it has no key `{0}`, which every model needs")]
    MissingKey(String),
    #[error("its key `{key}` is {value}, but must be {expected}")]
    Key { key: String, value: String, expected: String },
    #[error("its vocabulary {0}")]
    Vocabulary(String),
    #[error("its tokenizer is `{0}`; supported are `llama`, `gpt2`, `bert` and `gemma4`")]
    Tokenizer(String),
    #[error("it is one of {0} files that a model is split into, and not a model without the others")]
    Split(u64),
    #[error("it is a whole model, not one of the files of a split one")]
    Whole,
    #[error("its split is invalid: {0}")]
    Shards(String),
    #[error("it is of the kind `{0}`, not a language model")]
    NotAModel(String),
    #[error("it is not a LoRA adapter: its key `{key}` is `{value}`, not `{expected}`")]
    NotAnAdapter { key: &'static str, value: String, expected: &'static str },
    #[error("it was made for models of the architecture `{adapter}`, and this one is `{base}`")]
    AdapterArchitecture { adapter: String, base: String },
    #[error("it is an activated LoRA, which begins at certain tokens of a prompt; slm applies plain LoRA only")]
    ActivatedAdapter,
    #[error("it changes nothing: it has no tensors")]
    EmptyAdapter,
}
