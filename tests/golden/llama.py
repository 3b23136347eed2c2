"""A small Llama with random weights: as HuggingFace lays it out, as a GGUF, and computed with numpy in double precision.

The formulas are those of transformers' modeling_llama.py (rotation of a head's two halves against each other); the GGUF has
the rows of queries and keys in llama.cpp's order. So a reader that mixes up the two orders gets other numbers.
"""

import numpy as np

from gguf_file import Gguf, byte_vocabulary

WIDTH, HEADS, KV_HEADS, HEAD, FEED_FORWARD, LAYERS, VOCABULARY = 16, 2, 1, 8, 24, 2, 260
EPSILON, BASE, CONTEXT = 1e-5, 10000.0, 1024

MODULES = {
    "self_attn.q_proj": (HEADS * HEAD, WIDTH),
    "self_attn.k_proj": (KV_HEADS * HEAD, WIDTH),
    "self_attn.v_proj": (KV_HEADS * HEAD, WIDTH),
    "self_attn.o_proj": (WIDTH, HEADS * HEAD),
    "mlp.gate_proj": (FEED_FORWARD, WIDTH),
    "mlp.up_proj": (FEED_FORWARD, WIDTH),
    "mlp.down_proj": (WIDTH, FEED_FORWARD),
}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def weights(seed):
    """name -> matrix, rows are outputs; numbers that single precision holds exactly."""
    random = np.random.default_rng(seed)
    matrix = lambda rows, columns, most: random.uniform(-most, most, (rows, columns)).astype("f4").astype("f8")
    found = {"model.embed_tokens": matrix(VOCABULARY, WIDTH, 1.0), "lm_head": matrix(VOCABULARY, WIDTH, 0.8)}
    for layer in range(LAYERS):
        for module, (rows, columns) in MODULES.items():
            found[f"model.layers.{layer}.{module}"] = matrix(rows, columns, 0.5)
    return found


def by_head(matrix, heads):
    """The converter's order of a head's rows: its two halves in turn."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path, found, more=lambda gguf: None):
    """`more` adds what a kind of Llama has beside this; modules that are not found are its own matter."""
    gguf = Gguf()
    more(gguf)
    gguf.text("general.architecture", "llama")
    gguf.number("llama.block_count", LAYERS)
    gguf.number("llama.context_length", CONTEXT)
    gguf.number("llama.embedding_length", WIDTH)
    gguf.number("llama.feed_forward_length", FEED_FORWARD)
    gguf.number("llama.attention.head_count", HEADS)
    gguf.number("llama.attention.head_count_kv", KV_HEADS)
    gguf.float("llama.attention.layer_norm_rms_epsilon", EPSILON)
    gguf.float("llama.rope.freq_base", BASE)
    # As long as `llama.pooling_type`, which tests write in its place.
    gguf.number("llama.pooling_none", 0)
    assert byte_vocabulary(gguf) == VOCABULARY
    gguf.tensor("token_embd.weight", found["model.embed_tokens"])
    gguf.tensor("output_norm.weight", np.ones(WIDTH))
    gguf.tensor("output.weight", found["lm_head"])
    for layer in range(LAYERS):
        gguf.tensor(f"blk.{layer}.attn_norm.weight", np.ones(WIDTH))
        gguf.tensor(f"blk.{layer}.ffn_norm.weight", np.ones(WIDTH))
        for module, name in GGUF_NAMES.items():
            if f"model.layers.{layer}.{module}" not in found:
                continue
            matrix = found[f"model.layers.{layer}.{module}"]
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name)
            gguf.tensor(f"blk.{layer}.{name}.weight", by_head(matrix, heads) if heads else matrix)
    gguf.write(path)


def norm(rows):
    return rows / np.sqrt((rows**2).mean(-1, keepdims=True) + EPSILON)


def rotated(heads):
    """heads: tokens x heads x HEAD."""
    positions = np.arange(heads.shape[0])[:, None]
    angles = positions / BASE ** (np.arange(0, HEAD, 2) / HEAD)
    cos, sin = (np.concatenate([of(angles)] * 2, -1)[:, None] for of in (np.cos, np.sin))
    low, high = heads[..., : HEAD // 2], heads[..., HEAD // 2 :]
    return heads * cos + np.concatenate([-high, low], -1) * sin


def feed_forward(x, of):
    """`of` gives a layer's matrix by its module."""
    gate = x @ of("mlp.gate_proj").T
    return (gate / (1 + np.exp(-gate)) * (x @ of("mlp.up_proj").T)) @ of("mlp.down_proj").T


def hidden(found, tokens, cache=lambda values: values, feed_forward=feed_forward):
    """The rows behind the last norm. `cache` is what keeping keys and values does to them."""
    rows = found["model.embed_tokens"][tokens]
    n = len(tokens)
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for layer in range(LAYERS):
        of = lambda module: found[f"model.layers.{layer}.{module}"]
        x = norm(rows)
        q = rotated((x @ of("self_attn.q_proj").T).reshape(n, HEADS, HEAD))
        k = cache(rotated((x @ of("self_attn.k_proj").T).reshape(n, KV_HEADS, HEAD)))
        v = cache((x @ of("self_attn.v_proj").T).reshape(n, KV_HEADS, HEAD))
        k, v = (np.repeat(part, HEADS // KV_HEADS, 1) for part in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HEAD) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", scores, v).reshape(n, HEADS * HEAD)
        rows = rows + mixed @ of("self_attn.o_proj").T
        rows = rows + feed_forward(norm(rows), of)
    return norm(rows)


def logprobs(found, tokens, cache=lambda values: values):
    logits = hidden(found, tokens, cache) @ found["lm_head"].T
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
