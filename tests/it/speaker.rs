//! A model that says the same few pieces whatever it is asked: real inference with a known answer. It writes the file and knows
//! no engine.
//!
//! The next token depends on the last one alone: an embedding is one-hot at its token, attention and the
//! feed-forward part add nothing, and the output matrix leads from each token to the next. Every prompt ends with the same
//! control token, from which the first piece follows; after the last piece the turn ends.

use std::path::{Path, PathBuf};

use crate::slm::Home;
use crate::tiny::{Gguf, string};

/// The template: a turn is `<|start|>role`, a line break, its text and `<|end|>`; tools are in a turn of the system, and calls of
/// them between `<tool_call>` and `</tool_call>`, as Qwen 2.5 has it.
const TEMPLATE: &str = r#"
{%- if tools %}<|start|>system
You may call these functions:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
Put a call, {"name": <name>, "arguments": <arguments>}, between <tool_call> and </tool_call>.<|end|>
{%- endif %}
{%- for message in messages %}<|start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|end|>
{%- endfor %}
{%- if add_generation_prompt %}<|answer|>{% endif %}"#;
/// What a model that thinks has after it: an empty thought where no thought is wanted, as Qwen 3 has it.
const NO_THOUGHT: &str =
    "{%- if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}";

/// A turn's text, and what is before it in the template of a model that thinks: the thought.
const TEXT: &str = "{{ message.content or '' }}";
const THOUGHT: &str =
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{% endif %}";

/// Where the tokens of texts begin: after `<unk>`, `<s>`, `</s>` and the three of the template.
const N_CONTROL: usize = 6;
const UNUSED: usize = 2;
const START: usize = 3;
const ANSWER: usize = 5;
const END: usize = 4;
const WIDTH: u64 = 320;
const HEADS: u32 = 5;

/// What follows the last piece.
#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    /// The turn ends.
    End,
    /// All pieces again, forever.
    Again,
}

/// Writes a model that says these pieces, a token each; the context that it claims is `context` positions. A model that says a
/// thought has a template that can turn thoughts off.
pub fn write(folder: &Path, name: &str, pieces: &[&str], then: Then, context: u32) -> PathBuf {
    let path = folder.join(format!("{name}.gguf"));
    std::fs::write(&path, gguf(pieces, then, context).bytes()).expect("a writable folder");
    path
}

/// As [`write`], with a vocabulary that has tokens around gaps; the answer begins after the last of them.
pub fn write_for_gaps(folder: &Path, name: &str, pieces: &[&str], context: u32) -> PathBuf {
    let mut gguf = gguf(pieces, Then::End, context);
    for (name, token) in [("pre", START), ("suf", UNUSED), ("mid", ANSWER)] {
        gguf.number(&format!("tokenizer.ggml.fim_{name}_token_id"), token as u32);
    }
    let path = folder.join(format!("{name}.gguf"));
    std::fs::write(&path, gguf.bytes()).expect("a writable folder");
    path
}

fn gguf(pieces: &[&str], then: Then, context: u32) -> Gguf {
    let mut gguf = Gguf::default();
    gguf.text("general.architecture", "llama");
    gguf.number("llama.block_count", 1);
    gguf.number("llama.context_length", context);
    gguf.number("llama.embedding_length", WIDTH as u32);
    gguf.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    gguf.number("llama.feed_forward_length", 32);
    gguf.number("llama.attention.head_count", HEADS);
    gguf.number("llama.attention.head_count_kv", 1);
    let thinks = pieces.iter().any(|piece| piece.starts_with("<think>"));
    let template = match thinks {
        true => TEMPLATE.replace(TEXT, &format!("{THOUGHT}{TEXT}")) + NO_THOUGHT,
        false => TEMPLATE.to_owned(),
    };
    gguf.text("tokenizer.chat_template", &template);
    let first = vocabulary(&mut gguf, pieces);
    let n_tokens = first + pieces.len() as u64;
    assert!(n_tokens <= WIDTH, "{} pieces are too many", pieces.len());

    gguf.tensor("token_embd.weight", &[WIDTH, n_tokens], |at| f32::from(u8::from(at % WIDTH == at / WIDTH)));
    gguf.norm("output_norm.weight", WIDTH);
    let next = |token: u64| match token {
        token if token == ANSWER as u64 => first,
        token if token >= first && token + 1 < n_tokens => token + 1,
        token if token + 1 == n_tokens && then == Then::Again => first,
        _ => END as u64,
    };
    gguf.tensor("output.weight", &[WIDTH, n_tokens], |at| f32::from(u8::from(next(at % WIDTH) == at / WIDTH)));
    gguf.norm("blk.0.attn_norm.weight", WIDTH);
    gguf.norm("blk.0.ffn_norm.weight", WIDTH);
    let key = WIDTH / u64::from(HEADS);
    for (tensor, columns, rows) in [
        ("attn_q", WIDTH, WIDTH),
        ("attn_k", WIDTH, key),
        ("attn_v", WIDTH, key),
        ("attn_output", WIDTH, WIDTH),
        ("ffn_gate", WIDTH, 32),
        ("ffn_up", WIDTH, 32),
        ("ffn_down", 32, WIDTH),
    ] {
        gguf.tensor(&format!("blk.0.{tensor}.weight"), &[columns, rows], |_| 0.0);
    }
    gguf
}

/// A token for every byte and every piece; no pair of them joins to another, so a person's text never has a piece. Returns the
/// first piece's token.
fn vocabulary(gguf: &mut Gguf, pieces: &[&str]) -> u64 {
    let control = ["<unk>", "<s>", "</s>", "<|start|>", "<|end|>", "<|answer|>"];
    let mut tokens: Vec<(String, i32)> = control.map(|token| (token.to_owned(), 3)).to_vec();
    tokens[0].1 = 2;
    assert_eq!(tokens.len(), N_CONTROL);
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 6)));
    tokens.push(("▁".to_owned(), 1));
    let first = tokens.len() as u64;
    tokens.extend(pieces.iter().map(|piece| (piece.replace(' ', "▁"), 1)));
    let texts: Vec<Vec<u8>> = tokens.iter().map(|(text, _)| string(text)).collect();
    let scores: Vec<Vec<u8>> = (0..tokens.len()).map(|at| (-(at as f32)).to_le_bytes().to_vec()).collect();
    let types: Vec<i32> = tokens.iter().map(|(_, kind)| *kind).collect();
    gguf.text("tokenizer.ggml.model", "llama");
    gguf.array("tokenizer.ggml.tokens", 8, &texts);
    gguf.array("tokenizer.ggml.scores", 6, &scores);
    gguf.numbers("tokenizer.ggml.token_type", &types);
    gguf.number("tokenizer.ggml.bos_token_id", 1);
    gguf.number("tokenizer.ggml.eos_token_id", END as u32);
    first
}

#[test]
fn says_its_pieces_whatever_it_is_asked() {
    let home = Home::new();
    write(home.path(), "fox", &["The", " quick", " fox", "\n", "jumps"], Then::End, 512);
    write(home.path(), "parrot", &["ab", "cd"], Then::Again, 512);
    for name in ["fox", "parrot"] {
        let modelfile = home.file("Modelfile", format!("FROM ./{name}.gguf\n"));
        home.slm(["create", name, "-f", modelfile.to_str().unwrap()]).succeeds();
    }
    for question in ["hello", "The quick", "<|answer|>The"] {
        assert_eq!(home.slm(["run", "fox", "--temperature", "0", question]).succeeds(), "The quick fox\njumps\n");
    }
    let said = home.slm(["run", "parrot", "--temperature", "0", "--num-predict", "5", "x"]).succeeds();
    assert_eq!(said, "abcdabcdab\n");
}
