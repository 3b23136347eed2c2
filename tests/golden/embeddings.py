"""Embeddings and a relevance score of a small BERT and a small Llama with random weights, computed with numpy.

Writes the BERT as a GGUF (the Llama is lora/base.gguf, and its adapters are those of lora.py) and the expected vectors. Run in
this folder: `python embeddings.py`. BERT's formulas are those of transformers' modeling_bert.py, with GELU's tanh form.
ggml reads that from a table of half-precision numbers; `table` below does the same, and both are written.
"""

import json
from pathlib import Path

import numpy as np

import llama
import lora
from gguf_file import Gguf, byte_tokens

FOLDER = Path(__file__).parent / "embeddings"
WIDTH, HEADS, FEED_FORWARD, LAYERS, CONTEXT, EPSILON = 16, 2, 32, 2, 64, 1e-12
WORDS = "my parcel never came i was charged twice for one order and nobody answers late refund please , . !".split()
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + ["\u2581" + word for word in WORDS] + ["r"]
UNK, CLS, SEP = 1, 2, 3
# Text, and the numbers of its tokens: words, one with an ending, one that is unknown, and special tokens that are spelled.
TEXTS = {
    "my parcel never came": "my parcel never came",
    "I was charged twice, please refund!": "i was charged twice , please refund !",
    "later": "late ##r",
    "my zebra came late": "my ? came late",
}


# Longer than one decode.
LONG = "I was charged twice for one order. " * 20


def tokens_of(spelled):
    number = lambda word: UNK if word == "?" else TOKENS.index("r" if word == "##r" else "\u2581" + word)
    return [CLS] + [number(word) for word in spelled.split()] + [SEP]


def bert_weights(seed):
    random = np.random.default_rng(seed)
    draw = lambda *shape, most=0.5: random.uniform(-most, most, shape).astype("f4").astype("f8")
    found = {
        "token_embd.weight": draw(len(TOKENS), WIDTH, most=1.0),
        "token_types.weight": draw(2, WIDTH),
        "position_embd.weight": draw(CONTEXT, WIDTH),
    }
    def linear(name, rows, columns):
        found[f"{name}.weight"], found[f"{name}.bias"] = draw(rows, columns), draw(rows, most=0.1)
    def norm(name):
        found[f"{name}.weight"], found[f"{name}.bias"] = 1 + draw(WIDTH, most=0.3).astype("f4"), draw(WIDTH, most=0.1)
        found[f"{name}.weight"] = found[f"{name}.weight"].astype("f4").astype("f8")
    norm("token_embd_norm")
    for layer in range(LAYERS):
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            linear(f"blk.{layer}.{name}", WIDTH, WIDTH)
        linear(f"blk.{layer}.ffn_up", FEED_FORWARD, WIDTH)
        linear(f"blk.{layer}.ffn_down", WIDTH, FEED_FORWARD)
        norm(f"blk.{layer}.attn_output_norm")
        norm(f"blk.{layer}.layer_output_norm")
    linear("cls", WIDTH, WIDTH)
    linear("cls.output", 1, WIDTH)
    return found


def write_bert(path, found):
    gguf = Gguf()
    gguf.text("general.architecture", "bert")
    gguf.number("bert.block_count", LAYERS)
    gguf.number("bert.context_length", CONTEXT)
    gguf.number("bert.embedding_length", WIDTH)
    gguf.number("bert.feed_forward_length", FEED_FORWARD)
    gguf.number("bert.attention.head_count", HEADS)
    gguf.float("bert.attention.layer_norm_epsilon", EPSILON)
    gguf.flag("bert.attention.causal", False)
    gguf.number("bert.pooling_type", 1)
    gguf.text("tokenizer.ggml.model", "bert")
    gguf.texts("tokenizer.ggml.tokens", TOKENS)
    gguf.floats("tokenizer.ggml.scores", [0.0] * len(TOKENS))
    gguf.numbers("tokenizer.ggml.token_type", [3] * 5 + [1] * (len(TOKENS) - 5))
    gguf.number("tokenizer.ggml.token_type_count", 2)
    for name, number in [("bos", CLS), ("seperator", SEP), ("unknown", UNK), ("padding", 0), ("mask", 4)]:
        gguf.number(f"tokenizer.ggml.{name}_token_id", number)
    for name, values in found.items():
        gguf.tensor(name, values)
    gguf.write(path)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def table(x):
    return gelu(x.astype("f2").astype("f8")).astype("f2").astype("f8")


def bert(found, tokens, gelu):
    """The rows behind the last layer."""
    linear = lambda name, rows: rows @ found[f"{name}.weight"].T + found[f"{name}.bias"]
    def norm(name, rows):
        rows = rows - rows.mean(-1, keepdims=True)
        rows = rows / np.sqrt((rows**2).mean(-1, keepdims=True) + EPSILON)
        return rows * found[f"{name}.weight"] + found[f"{name}.bias"]
    n = len(tokens)
    rows = found["token_embd.weight"][tokens] + found["token_types.weight"][0] + found["position_embd.weight"][:n]
    rows = norm("token_embd_norm", rows)
    for layer in range(LAYERS):
        of = lambda name: f"blk.{layer}.{name}"
        q, k, v = (linear(of(f"attn_{part}"), rows).reshape(n, HEADS, -1) for part in "qkv")
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", scores, v).reshape(n, WIDTH)
        rows = norm(of("attn_output_norm"), rows + linear(of("attn_output"), mixed))
        rows = norm(of("layer_output_norm"), rows + linear(of("ffn_down"), gelu(linear(of("ffn_up"), rows))))
    return rows


def unit(vector):
    return (vector / np.linalg.norm(vector)).tolist()


def main():
    FOLDER.mkdir(exist_ok=True)
    found = bert_weights(3)
    write_bert(FOLDER / "bert.gguf", found)
    cases = []
    for text, spelled in TEXTS.items():
        for pooling in ["mean", "cls", "rank"]:
            case = {"model": "bert", "pooling": pooling, "adapters": [], "text": text}
            for key, of_gelu in [("exact", gelu), ("table", table)]:
                rows = bert(found, tokens_of(spelled), of_gelu)
                if pooling == "rank":
                    hidden = np.tanh(found["cls.weight"] @ rows[0] + found["cls.bias"])
                    case[key] = (found["cls.output.weight"] @ hidden + found["cls.output.bias"]).tolist()
                else:
                    case[key] = unit(rows.mean(0) if pooling == "mean" else rows[0])
            cases.append(case)
    base, adapters = llama.weights(lora.SEED), lora.adapters(write=False)
    for chosen in [[], [["one", 1.0]], [["one", 0.25], ["two", 2.0]]]:
        changed = lora.applied(base, adapters, chosen)
        for text in lora.TEXTS + ([] if chosen else [LONG]):
            rows = llama.hidden(changed, [1] + byte_tokens(text))
            for pooling, vector in [("last", rows[-1]), ("mean", rows.mean(0))]:
                vector = unit(vector)
                cases.append({"model": "llama", "pooling": pooling, "adapters": chosen, "text": text, "exact": vector, "table": vector})
    (FOLDER / "expected.json").write_text(json.dumps({"cases": cases}, indent=0) + "\n")


main()
