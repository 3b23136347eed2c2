"""As `lora.py`, for the shapes of other families: Qwen 2 (biases), Gemma 3 (norms around every block and of heads, a scaled embedding
that is the output too, GELU) and Phi-3 (one weight for queries, keys and values, one for gate and up).

The formulas are those of transformers' modeling_qwen2.py, modeling_gemma3.py and modeling_phi3.py. Run in this folder:
`python lora_shapes.py`. The same numbers come out every time.
"""

import json
from pathlib import Path

import numpy as np

from gguf_file import Gguf, byte_tokens, byte_vocabulary, write_safetensors

FOLDER = Path(__file__).parent / "lora"
WIDTH, HEADS, KV_HEADS, HEAD, FEED_FORWARD, LAYERS, VOCABULARY = 16, 2, 1, 8, 24, 2, 260
EPSILON, BASE, CONTEXT = 1e-5, 10000.0, 1024
TEXTS = ["my parcel never came", "I was charged twice for one order, and nobody answers"]
CANDIDATES = ["yes", "no", "not yet"]
RANK, ALPHA = 4, 8

SPLIT = {
    "self_attn.q_proj": ("attn_q", HEADS * HEAD, WIDTH),
    "self_attn.k_proj": ("attn_k", KV_HEADS * HEAD, WIDTH),
    "self_attn.v_proj": ("attn_v", KV_HEADS * HEAD, WIDTH),
    "self_attn.o_proj": ("attn_output", WIDTH, HEADS * HEAD),
    "mlp.gate_proj": ("ffn_gate", FEED_FORWARD, WIDTH),
    "mlp.up_proj": ("ffn_up", FEED_FORWARD, WIDTH),
    "mlp.down_proj": ("ffn_down", WIDTH, FEED_FORWARD),
}
FUSED = {
    "self_attn.qkv_proj": ("attn_qkv", (HEADS + 2 * KV_HEADS) * HEAD, WIDTH),
    "self_attn.o_proj": ("attn_output", WIDTH, HEADS * HEAD),
    "mlp.gate_up_proj": ("ffn_up", 2 * FEED_FORWARD, WIDTH),
    "mlp.down_proj": ("ffn_down", WIDTH, FEED_FORWARD),
}
MODULES = {"qwen2": SPLIT, "gemma3": SPLIT, "phi3": FUSED}
# Names of norms in a GGUF, each with its length.
NORMS = {
    "qwen2": {"attn_norm": WIDTH, "ffn_norm": WIDTH},
    "phi3": {"attn_norm": WIDTH, "ffn_norm": WIDTH},
    "gemma3": {
        "attn_norm": WIDTH,
        "post_attention_norm": WIDTH,
        "attn_q_norm": HEAD,
        "attn_k_norm": HEAD,
        "ffn_norm": WIDTH,
        "post_ffw_norm": WIDTH,
    },
}


def weights(family, seed):
    """Matrices by module, norms and biases by layer and name; numbers that single precision holds exactly."""
    random = np.random.default_rng(seed)
    numbers = lambda low, high, shape: random.uniform(low, high, shape).astype("f4").astype("f8")
    found = {"model.embed_tokens": numbers(-1.0, 1.0, (VOCABULARY, WIDTH)), "norm": numbers(0.5, 1.5, WIDTH)}
    if family != "gemma3":
        found["lm_head"] = numbers(-0.8, 0.8, (VOCABULARY, WIDTH))
    for layer in range(LAYERS):
        for module, (_, rows, columns) in MODULES[family].items():
            found[f"model.layers.{layer}.{module}"] = numbers(-0.5, 0.5, (rows, columns))
        for name, length in NORMS[family].items():
            found[f"{layer}.{name}"] = numbers(0.5, 1.5, length)
        if family == "qwen2":
            for name, heads in [("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)]:
                found[f"{layer}.{name}.bias"] = numbers(-0.5, 0.5, heads * HEAD)
    return found


def write_gguf(path, family, found):
    gguf = Gguf()
    gguf.text("general.architecture", family)
    gguf.number(f"{family}.block_count", LAYERS)
    gguf.number(f"{family}.context_length", CONTEXT)
    gguf.number(f"{family}.embedding_length", WIDTH)
    gguf.number(f"{family}.feed_forward_length", FEED_FORWARD)
    gguf.number(f"{family}.attention.head_count", HEADS)
    gguf.number(f"{family}.attention.head_count_kv", KV_HEADS)
    gguf.number(f"{family}.rope.dimension_count", HEAD)
    gguf.float(f"{family}.attention.layer_norm_rms_epsilon", EPSILON)
    gguf.float(f"{family}.rope.freq_base", BASE)
    if family == "gemma3":
        gguf.number("gemma3.attention.key_length", HEAD)
        gguf.number("gemma3.attention.value_length", HEAD)
    assert byte_vocabulary(gguf) == VOCABULARY
    gguf.tensor("token_embd.weight", found["model.embed_tokens"])
    gguf.tensor("output_norm.weight", found["norm"])
    if "lm_head" in found:
        gguf.tensor("output.weight", found["lm_head"])
    for layer in range(LAYERS):
        for name in NORMS[family]:
            gguf.tensor(f"blk.{layer}.{name}.weight", found[f"{layer}.{name}"])
        for module, (name, _, _) in MODULES[family].items():
            gguf.tensor(f"blk.{layer}.{name}.weight", found[f"model.layers.{layer}.{module}"])
        if family == "qwen2":
            for name in "qkv":
                gguf.tensor(f"blk.{layer}.attn_{name}.bias", found[f"{layer}.{name}.bias"])
    gguf.write(path)


def norm(rows, weight):
    return rows / np.sqrt((rows**2).mean(-1, keepdims=True) + EPSILON) * weight


def rotated(heads):
    """heads: tokens x heads x HEAD; the two halves of a head are rotated against each other."""
    angles = np.arange(heads.shape[0])[:, None] / BASE ** (np.arange(0, HEAD, 2) / HEAD)
    cos, sin = (np.concatenate([of(angles)] * 2, -1)[:, None] for of in (np.cos, np.sin))
    low, high = heads[..., : HEAD // 2], heads[..., HEAD // 2 :]
    return heads * cos + np.concatenate([-high, low], -1) * sin


def attention(q, k, v):
    n = len(q)
    k, v = (np.repeat(part, HEADS // KV_HEADS, 1) for part in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HEAD) + np.triu(np.full((n, n), -np.inf), 1)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", scores, v).reshape(n, HEADS * HEAD)


def block(family, found, layer, rows, cache):
    of = lambda module: found[f"model.layers.{layer}.{module}"].T
    own = lambda name: found[f"{layer}.{name}"]
    n = len(rows)
    x = norm(rows, own("attn_norm"))
    if family == "phi3":
        q, k, v = np.split(x @ of("self_attn.qkv_proj"), [HEADS * HEAD, (HEADS + KV_HEADS) * HEAD], -1)
    else:
        q, k, v = (x @ of(f"self_attn.{name}_proj") for name in "qkv")
    if family == "qwen2":
        q, k, v = q + own("q.bias"), k + own("k.bias"), v + own("v.bias")
    q, k, v = q.reshape(n, HEADS, HEAD), k.reshape(n, KV_HEADS, HEAD), v.reshape(n, KV_HEADS, HEAD)
    if family == "gemma3":
        q, k = norm(q, own("attn_q_norm")), norm(k, own("attn_k_norm"))
    mixed = attention(rotated(q), cache(rotated(k)), cache(v)) @ of("self_attn.o_proj")
    rows = rows + (norm(mixed, own("post_attention_norm")) if family == "gemma3" else mixed)
    x = norm(rows, own("ffn_norm"))
    if family == "phi3":
        gate, up = np.split(x @ of("mlp.gate_up_proj"), 2, -1)
    else:
        gate, up = x @ of("mlp.gate_proj"), x @ of("mlp.up_proj")
    if family == "gemma3":
        gate = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    else:
        gate = gate / (1 + np.exp(-gate))
    fed = (gate * up) @ of("mlp.down_proj")
    return rows + (norm(fed, own("post_ffw_norm")) if family == "gemma3" else fed)


def logprobs(family, found, tokens, cache):
    rows = found["model.embed_tokens"][tokens] * (np.sqrt(WIDTH) if family == "gemma3" else 1.0)
    for layer in range(LAYERS):
        rows = block(family, found, layer, rows, cache)
    logits = norm(rows, found["norm"]) @ found.get("lm_head", found["model.embed_tokens"]).T
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def adapter(family, seed, folder):
    """Writes an adapter of all modules as PEFT saves it, and gives what it adds, by module."""
    random = np.random.default_rng(seed)
    tensors, added = {}, {}
    for layer in range(LAYERS):
        for module, (_, rows, columns) in MODULES[family].items():
            name = f"model.layers.{layer}.{module}"
            a = random.normal(0, 0.3, (RANK, columns)).astype("<f4")
            b = random.normal(0, 0.3, (rows, RANK)).astype("<f4")
            added[name] = ALPHA / RANK * (b.astype("f8") @ a.astype("f8"))
            tensors[f"base_model.model.{name}.lora_A.weight"] = ("F32", a)
            tensors[f"base_model.model.{name}.lora_B.weight"] = ("F32", b)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "bias": "none", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return added


def main():
    half = lambda values: values.astype("f2").astype("f8")
    cases = []
    for number, family in enumerate(MODULES):
        folder = FOLDER / family
        added = adapter(family, 20 + number, folder)
        found = weights(family, 30 + number)
        write_gguf(folder / "base.gguf", family, found)
        for scale in [0.0, 1.0, -0.5]:
            changed = dict(found)
            for module, more in added.items():
                changed[module] = changed[module] + scale * more
            for text in TEXTS:
                case = {"family": family, "scale": scale, "text": text, "logprobs": []}
                for candidate in CANDIDATES:
                    before = [1] + byte_tokens(text)
                    path = byte_tokens(text + candidate)[len(before) - 1 :] + [2]
                    rows = logprobs(family, changed, (before + path)[:-1], half)
                    picked = rows[np.arange(len(before) - 1, len(before) + len(path) - 1), path]
                    case["logprobs"].append(float(picked.sum()))
                cases.append(case)
    (FOLDER / "shapes.json").write_text(json.dumps({"candidates": CANDIDATES, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
