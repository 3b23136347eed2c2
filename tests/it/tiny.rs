//! Random models of a few kilobytes, one of each kind that engines treat differently. It writes them and knows no engine.
//!
//! The names of keys and tensors are those that llama.cpp reads (`src/llama-arch.cpp`, `src/models/`).

use std::path::{Path, PathBuf};

/// How a model remembers what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Plain attention: Llama.
    Attention,
    /// Attention over a sliding window of [`WINDOW`] tokens in five layers of six: Gemma 3.
    SlidingWindow,
    /// A recurrent state: Mamba.
    Recurrent,
    /// Short convolutions and attention in turn: LFM 2.
    Hybrid,
}

pub const KINDS: [Kind; 4] = [Kind::Attention, Kind::SlidingWindow, Kind::Recurrent, Kind::Hybrid];
/// Tokens that a sliding window holds.
pub const WINDOW: u32 = 32;
/// Positions that the models claim to be trained for.
pub const CONTEXT: u32 = 2048;

/// Tokens that are neither control nor of the vocabulary's own making, as Gemma has them.
pub const USER_DEFINED: [&str; 2] = ["\n\n", "<b>"];

const WIDTH: u64 = 64;
const HEADS: u64 = 2;
const HEAD: u64 = WIDTH / HEADS;
const FEED_FORWARD: u64 = 128;

impl Kind {
    /// Writes the model into a folder; the same bytes every time.
    pub fn write(self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{self:?}.gguf"));
        std::fs::write(&path, self.gguf().bytes()).expect("a writable folder");
        path
    }

    /// Writes the model with a header that claims a training on `context` positions.
    pub fn write_claiming(self, folder: &Path, context: u32) -> PathBuf {
        let mut bytes = self.gguf().bytes();
        let key = format!("{}.context_length", self.architecture());
        let at = bytes.windows(key.len()).position(|part| part == key.as_bytes()).expect("every model has the key");
        // Behind the key stands the value's type, then the value.
        let value = at + key.len() + 4;
        bytes[value..value + 4].copy_from_slice(&context.to_le_bytes());
        let path = folder.join(format!("{self:?}-{context}.gguf"));
        std::fs::write(&path, bytes).expect("a writable folder");
        path
    }

    /// Writes the model with tokens of its vocabulary named as those around a gap to fill.
    pub fn write_infilling(self, folder: &Path, [prefix, suffix, middle]: [u32; 3]) -> PathBuf {
        let mut gguf = self.gguf();
        gguf.number("tokenizer.ggml.fim_pre_token_id", prefix);
        gguf.number("tokenizer.ggml.fim_suf_token_id", suffix);
        gguf.number("tokenizer.ggml.fim_mid_token_id", middle);
        let path = folder.join(format!("{self:?}-infilling.gguf"));
        std::fs::write(&path, gguf.bytes()).expect("a writable folder");
        path
    }

    fn architecture(self) -> &'static str {
        match self {
            Kind::Attention => "llama",
            Kind::SlidingWindow => "gemma3",
            Kind::Recurrent => "mamba",
            Kind::Hybrid => "lfm2",
        }
    }

    fn n_layers(self) -> u32 {
        if self == Kind::SlidingWindow { 6 } else { 2 }
    }

    fn gguf(self) -> Gguf {
        let name = self.architecture();
        let mut gguf = Gguf::default();
        gguf.text("general.architecture", name);
        gguf.number(&format!("{name}.block_count"), self.n_layers());
        gguf.number(&format!("{name}.context_length"), CONTEXT);
        gguf.number(&format!("{name}.embedding_length"), WIDTH as u32);
        gguf.float(&format!("{name}.attention.layer_norm_rms_epsilon"), 1e-5);
        gguf.number(
            &format!("{name}.feed_forward_length"),
            if self == Kind::Recurrent { 0 } else { FEED_FORWARD as u32 },
        );
        gguf.number(&format!("{name}.attention.head_count"), if self == Kind::Recurrent { 0 } else { HEADS as u32 });
        match self {
            Kind::Attention => gguf.number("llama.attention.head_count_kv", 1),
            Kind::SlidingWindow => {
                gguf.number("gemma3.attention.head_count_kv", 1);
                gguf.number("gemma3.attention.key_length", HEAD as u32);
                gguf.number("gemma3.attention.value_length", HEAD as u32);
                gguf.number("gemma3.attention.sliding_window", WINDOW);
            }
            Kind::Recurrent => {
                gguf.number("mamba.ssm.conv_kernel", 4);
                gguf.number("mamba.ssm.inner_size", 2 * WIDTH as u32);
                gguf.number("mamba.ssm.state_size", 16);
                gguf.number("mamba.ssm.time_step_rank", 4);
            }
            Kind::Hybrid => {
                gguf.numbers("lfm2.attention.head_count_kv", &[0, 1]);
                gguf.number("lfm2.shortconv.l_cache", 3);
            }
        }
        let n_tokens = gguf.vocabulary();
        gguf.matrix("token_embd.weight", &[WIDTH, n_tokens], 0.5);
        gguf.norm(if self == Kind::Hybrid { "token_embd_norm.weight" } else { "output_norm.weight" }, WIDTH);
        for layer in 0..self.n_layers() {
            self.layer(&mut gguf, layer);
        }
        gguf
    }

    fn layer(self, gguf: &mut Gguf, layer: u32) {
        let named = |name: &str| format!("blk.{layer}.{name}");
        gguf.norm(&named("attn_norm.weight"), WIDTH);
        if self == Kind::Recurrent {
            return state_space(gguf, &named);
        }
        if self == Kind::Hybrid && layer == 0 {
            gguf.matrix(&named("shortconv.conv.weight"), &[3, WIDTH], 0.5);
            gguf.matrix(&named("shortconv.in_proj.weight"), &[WIDTH, 3 * WIDTH], 0.25);
            gguf.matrix(&named("shortconv.out_proj.weight"), &[WIDTH, WIDTH], 0.25);
        } else {
            gguf.matrix(&named("attn_q.weight"), &[WIDTH, WIDTH], 0.25);
            gguf.matrix(&named("attn_k.weight"), &[WIDTH, HEAD], 0.25);
            gguf.matrix(&named("attn_v.weight"), &[WIDTH, HEAD], 0.25);
            gguf.matrix(&named("attn_output.weight"), &[WIDTH, WIDTH], 0.25);
        }
        if self != Kind::Attention && !(self == Kind::Hybrid && layer == 0) {
            gguf.norm(&named("attn_q_norm.weight"), HEAD);
            gguf.norm(&named("attn_k_norm.weight"), HEAD);
        }
        if self == Kind::SlidingWindow {
            gguf.norm(&named("post_attention_norm.weight"), WIDTH);
            gguf.norm(&named("post_ffw_norm.weight"), WIDTH);
        }
        gguf.norm(&named("ffn_norm.weight"), WIDTH);
        gguf.matrix(&named("ffn_gate.weight"), &[WIDTH, FEED_FORWARD], 0.25);
        gguf.matrix(&named("ffn_up.weight"), &[WIDTH, FEED_FORWARD], 0.25);
        gguf.matrix(&named("ffn_down.weight"), &[FEED_FORWARD, WIDTH], 0.2);
    }
}

fn state_space(gguf: &mut Gguf, named: &dyn Fn(&str) -> String) {
    let (inner, state, rank) = (2 * WIDTH, 16, 4);
    gguf.matrix(&named("ssm_in.weight"), &[WIDTH, 2 * inner], 0.25);
    gguf.matrix(&named("ssm_conv1d.weight"), &[4, inner], 0.5);
    gguf.matrix(&named("ssm_conv1d.bias"), &[inner], 0.1);
    gguf.matrix(&named("ssm_x.weight"), &[inner, rank + 2 * state], 0.2);
    gguf.matrix(&named("ssm_dt.weight"), &[rank, inner], 0.5);
    gguf.matrix(&named("ssm_dt.bias"), &[inner], 0.5);
    // States decay, each at its own pace.
    gguf.tensor(&named("ssm_a"), &[state, inner], |at| -1.0 - (at % state) as f32 / 4.0);
    gguf.norm(&named("ssm_d"), inner);
    gguf.matrix(&named("ssm_out.weight"), &[inner, WIDTH], 0.2);
}

/// A GGUF file of version 3 in the making (ggml's `docs/gguf.md`).
#[derive(Default)]
pub struct Gguf {
    n_entries: u64,
    entries: Vec<u8>,
    n_tensors: u64,
    tensors: Vec<u8>,
    data: Vec<u8>,
}

impl Gguf {
    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.n_entries += 1;
        self.entries.extend(string(key));
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend(value);
    }

    pub fn number(&mut self, key: &str, number: u32) {
        self.entry(key, 4, &number.to_le_bytes());
    }

    pub fn float(&mut self, key: &str, number: f32) {
        self.entry(key, 6, &number.to_le_bytes());
    }

    pub fn text(&mut self, key: &str, text: &str) {
        self.entry(key, 8, &string(text));
    }

    pub fn array(&mut self, key: &str, kind: u32, items: &[Vec<u8>]) {
        let head = [kind.to_le_bytes().as_slice(), &(items.len() as u64).to_le_bytes()].concat();
        self.entry(key, 9, &[head, items.concat()].concat());
    }

    pub fn numbers(&mut self, key: &str, numbers: &[i32]) {
        self.array(key, 5, &numbers.iter().map(|number| number.to_le_bytes().to_vec()).collect::<Vec<_>>());
    }

    /// SentencePiece with a token for every byte, a few words and no merge that could join a word to another; returns
    /// the number of tokens.
    fn vocabulary(&mut self) -> u64 {
        let mut tokens: Vec<(String, i32)> = vec![("<unk>".into(), 2), ("<s>".into(), 3), ("</s>".into(), 3)];
        tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 6)));
        tokens.extend(["▁", "e", "t", "a", "o", "▁a", "▁t", "re"].map(|token| (token.to_owned(), 1)));
        tokens.extend(USER_DEFINED.map(|token| (token.to_owned(), 4)));
        let texts: Vec<Vec<u8>> = tokens.iter().map(|(text, _)| string(text)).collect();
        let scores: Vec<Vec<u8>> = (0..tokens.len()).map(|at| (-(at as f32)).to_le_bytes().to_vec()).collect();
        let types: Vec<i32> = tokens.iter().map(|(_, kind)| *kind).collect();
        self.text("tokenizer.ggml.model", "llama");
        self.array("tokenizer.ggml.tokens", 8, &texts);
        self.array("tokenizer.ggml.scores", 6, &scores);
        self.numbers("tokenizer.ggml.token_type", &types);
        self.number("tokenizer.ggml.bos_token_id", 1);
        self.number("tokenizer.ggml.eos_token_id", 2);
        tokens.len() as u64
    }

    pub fn tensor(&mut self, name: &str, dimensions: &[u64], value: impl Fn(u64) -> f32) {
        self.n_tensors += 1;
        self.tensors.extend(string(name));
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|n| self.tensors.extend(n.to_le_bytes()));
        self.tensors.extend(0_u32.to_le_bytes());
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        for at in 0..dimensions.iter().product::<u64>() {
            self.data.extend(value(at).to_le_bytes());
        }
        self.data.resize(self.data.len().next_multiple_of(32), 0);
    }

    pub fn norm(&mut self, name: &str, width: u64) {
        self.tensor(name, &[width], |_| 1.0);
    }

    /// Numbers between `-most` and `most` that depend on the tensor's own number and their place.
    fn matrix(&mut self, name: &str, dimensions: &[u64], most: f32) {
        let seed = self.n_tensors << 32;
        self.tensor(name, dimensions, |at| most * (mixed(seed + at) as f32 / (u32::MAX as f32 / 2.0) - 1.0));
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.n_tensors.to_le_bytes());
        file.extend(self.n_entries.to_le_bytes());
        file.extend(&self.entries);
        file.extend(&self.tensors);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// The finalizer of SplitMix64, upper half.
fn mixed(number: u64) -> u32 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}
