"""Log-probabilities of a small Llama with LoRA adapters, computed with numpy: W + scale * B * A, in double precision.

Writes the base as a GGUF, two adapters as PEFT saves them, and the expected numbers. Run in this folder:
`python lora.py`. The same numbers come out every time.
"""

import json
from pathlib import Path

import numpy as np

import llama
from gguf_file import byte_tokens, write_safetensors

FOLDER = Path(__file__).parent / "lora"
TEXTS = ["my parcel never came", "I was charged twice for one order, and nobody answers"]
SEED = 7
CANDIDATES = ["yes", "no", "not yet"]
SETS = [
    [],
    [["one", 1.0]],
    [["one", -0.5]],
    [["two", 1.0]],
    [["one", 1.0], ["two", 1.0]],
    [["one", 0.25], ["two", 2.0]],
]


def bf16(values):
    """Cut to the upper half of single precision: the bits, and what they are worth."""
    bits = (values.astype("<f4").view("<u4") >> 16).astype("<u2")
    return bits, (bits.astype("<u4") << 16).view("<f4").astype("f8")


def f32(values):
    return values.astype("<f4"), values.astype("<f4").astype("f8")


def adapter(name, seed, config, modules, dtype, keep, write):
    """Writes an adapter, if wanted, and gives what it adds at scale 1, by module."""
    random = np.random.default_rng(seed)
    tensors, added = {}, {}
    for module, (rows, columns) in modules.items():
        rank = next((r for end, r in config.get("rank_pattern", {}).items() if module.endswith(end)), config["r"])
        alpha = next((a for end, a in config.get("alpha_pattern", {}).items() if module.endswith(end)), config["lora_alpha"])
        scale = alpha / (np.sqrt(rank) if config.get("use_rslora") else rank)
        a_bits, a = keep(random.normal(0, 0.3, (rank, columns)))
        b_bits, b = keep(random.normal(0, 0.3, (rows, rank)))
        if module == "model.embed_tokens":
            # PEFT keeps an embedding's factors as [rank, tokens] and [width, rank].
            names = ["lora_embedding_A", "lora_embedding_B"]
            added[module] = scale * (b @ a).T
        else:
            names = ["lora_A.weight", "lora_B.weight"]
            added[module] = scale * (b @ a)
        for end, bits in zip(names, [a_bits, b_bits]):
            tensors[f"base_model.model.{module}.{end}"] = (dtype, bits)
    if not write:
        return added
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "bias": "none", "task_type": "CAUSAL_LM", **config}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return added


def adapters(write):
    layers = [f"model.layers.{layer}.{module}" for layer in range(llama.LAYERS) for module in llama.MODULES]
    shapes = {name: llama.MODULES[name.split(".", 3)[3]] for name in layers}
    head = {"lm_head": (llama.VOCABULARY, llama.WIDTH)}
    one = {"r": 4, "lora_alpha": 8}
    two = {
        "r": 2,
        "lora_alpha": 1.5,
        "use_rslora": True,
        "rank_pattern": {"mlp.down_proj": 3},
        "alpha_pattern": {"1.self_attn.k_proj": 2.5},
    }
    # Embeddings have rows for tokens and columns for width; their factors are made the other way round.
    embedding = {"model.embed_tokens": (llama.WIDTH, llama.VOCABULARY)}
    without_v = {name: shape for name, shape in shapes.items() if "v_proj" not in name}
    return {
        "one": adapter("one", 11, one, {**shapes, **head}, "F32", f32, write),
        "two": adapter("two", 12, two, {**without_v, **embedding}, "BF16", bf16, write),
    }


def applied(base, adapters, chosen):
    """The base's weights with the chosen adapters in them."""
    found = dict(base)
    for name, scale in chosen:
        for module, more in adapters[name].items():
            found[module] = found[module] + scale * more
    return found


def main():
    FOLDER.mkdir(exist_ok=True)
    base = llama.weights(SEED)
    llama.write_gguf(FOLDER / "base.gguf", base)
    trained = adapters(write=True)
    half = lambda values: values.astype("f2").astype("f8")
    cases = []
    for chosen in SETS:
        found = applied(base, trained, chosen)
        for text in TEXTS:
            case = {"adapters": chosen, "text": text, "logprobs": [], "logprobs_f16_cache": []}
            for candidate in CANDIDATES:
                before = [1] + byte_tokens(text)
                path = byte_tokens(text + candidate)[len(before) - 1 :] + [2]
                tokens = before + path
                for key, cache in [("logprobs", lambda values: values), ("logprobs_f16_cache", half)]:
                    rows = llama.logprobs(found, tokens[:-1], cache)
                    picked = rows[np.arange(len(before) - 1, len(tokens) - 1), path]
                    case[key].append(float(picked.sum()))
            cases.append(case)
    (FOLDER / "expected.json").write_text(json.dumps({"candidates": CANDIDATES, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
