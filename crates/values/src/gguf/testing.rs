//! Writes small GGUF files for tests; it checks nothing, so that it can write wrong ones.

/// A GGUF file in the making.
#[derive(Clone, Default)]
pub struct Writer {
    entries: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>)>,
}

impl Writer {
    /// A key with its value's type and bytes; one of the same name is replaced.
    pub fn raw(mut self, key: &str, kind: u32, bytes: Vec<u8>) -> Self {
        let entry = (key.to_owned(), kind, bytes);
        match self.entries.iter_mut().find(|(known, ..)| known == key) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.entries.retain(|(known, ..)| known != key);
        self
    }

    pub fn number(self, key: &str, number: u32) -> Self {
        self.raw(key, 4, number.to_le_bytes().to_vec())
    }

    pub fn float(self, key: &str, number: f32) -> Self {
        self.raw(key, 6, number.to_le_bytes().to_vec())
    }

    pub fn text(self, key: &str, text: &str) -> Self {
        self.raw(key, 8, string(text.as_bytes()))
    }

    pub fn texts<T: AsRef<[u8]>>(self, key: &str, texts: &[T]) -> Self {
        let items = texts.iter().map(|text| string(text.as_ref())).collect();
        self.array(key, 8, items)
    }

    pub fn numbers(self, key: &str, numbers: &[i32]) -> Self {
        self.array(key, 5, numbers.iter().map(|number| number.to_le_bytes().to_vec()).collect())
    }

    pub fn floats(self, key: &str, numbers: &[f32]) -> Self {
        self.array(key, 6, numbers.iter().map(|number| number.to_le_bytes().to_vec()).collect())
    }

    /// A tensor of `F32`.
    pub fn tensor(mut self, name: &str, dimensions: &[u64]) -> Self {
        self.tensors.push((name.to_owned(), dimensions.to_vec()));
        self
    }

    pub fn without_tensors(mut self) -> Self {
        self.tensors.clear();
        self
    }

    /// The file, its tensors' numbers all small and not zero.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.entries.len() as u64).to_le_bytes());
        for (key, kind, bytes) in &self.entries {
            file.extend(string(key.as_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend(bytes);
        }
        let mut data: Vec<u8> = Vec::new();
        for (name, dimensions) in &self.tensors {
            file.extend(string(name.as_bytes()));
            file.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|n| file.extend(n.to_le_bytes()));
            file.extend(0_u32.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            for at in 0..dimensions.iter().product::<u64>() {
                data.extend((0.01 * (at % 7) as f32 - 0.02).to_le_bytes());
            }
            data.resize(data.len().next_multiple_of(32), 0);
        }
        if !self.tensors.is_empty() {
            file.resize(file.len().next_multiple_of(32), 0);
        }
        file.extend(data);
        file
    }

    fn array(self, key: &str, kind: u32, items: Vec<Vec<u8>>) -> Self {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((items.len() as u64).to_le_bytes());
        items.iter().for_each(|item| bytes.extend(item));
        self.raw(key, 9, bytes)
    }
}

/// A Llama of one block that llama.cpp loads, with a SentencePiece vocabulary of 260 tokens.
pub fn tiny_llama() -> Writer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    tokens.push("▁".to_owned());
    let mut types = vec![2, 3, 3];
    types.extend([6; 256]);
    types.push(1);
    let n_tokens = tokens.len() as u64;
    Writer::default()
        .text("general.architecture", "llama")
        .text("general.name", "tiny")
        .number("llama.block_count", 1)
        .number("llama.context_length", 64)
        .number("llama.embedding_length", 16)
        .number("llama.feed_forward_length", 32)
        .number("llama.attention.head_count", 2)
        .number("llama.attention.head_count_kv", 1)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &tokens)
        .floats("tokenizer.ggml.scores", &vec![0.0; tokens.len()])
        .numbers("tokenizer.ggml.token_type", &types)
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2)
        .tensor("token_embd.weight", &[16, n_tokens])
        .tensor("output_norm.weight", &[16])
        .tensor("blk.0.attn_norm.weight", &[16])
        .tensor("blk.0.attn_q.weight", &[16, 16])
        .tensor("blk.0.attn_k.weight", &[16, 8])
        .tensor("blk.0.attn_v.weight", &[16, 8])
        .tensor("blk.0.attn_output.weight", &[16, 16])
        .tensor("blk.0.ffn_norm.weight", &[16])
        .tensor("blk.0.ffn_gate.weight", &[16, 32])
        .tensor("blk.0.ffn_down.weight", &[32, 16])
        .tensor("blk.0.ffn_up.weight", &[16, 32])
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut field = (bytes.len() as u64).to_le_bytes().to_vec();
    field.extend(bytes);
    field
}
