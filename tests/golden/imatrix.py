"""What the weights of a small Llama are multiplied with while it reads texts: sums of squares, computed with numpy in double
precision, on the base of `lora.py` and on a Llama with experts. Run in this folder: `python imatrix.py`. The same numbers come out
every time.
"""

import json
from pathlib import Path

import numpy as np

import llama
from gguf_file import byte_tokens

TEXTS = ["my parcel never came", "I was charged twice for one order, and nobody answers"]
SEED = 7
EXPERTS, CHOSEN = 3, 2
FOLDER = Path(__file__).parent


class Watched(np.ndarray):
    """A transposed matrix that notes the rows it is multiplied with."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [one.view(np.ndarray) if isinstance(one, Watched) else one for one in inputs]
        if ufunc is np.matmul and inputs[1] is self:
            rows = plain[0].reshape(-1, plain[0].shape[-1])
            self.note((rows**2).sum(0), len(rows))
        return getattr(ufunc, method)(*plain, **options)


class Weight:
    """Stands for a matrix of which only the transposed one is used."""

    def __init__(self, matrix, note):
        self.T = np.ascontiguousarray(matrix.T).view(Watched)
        self.T.note = note


class Sums:
    """Of each weight, and of each of its experts: the sums of squares of its inputs, and how many there were."""

    def __init__(self):
        self.entries = {}

    def watched(self, name, matrices):
        """The matrices of one weight, each a `Weight`."""
        width = matrices[0].shape[1]
        entry = {"sums": np.zeros((len(matrices), width)), "counts": np.zeros(len(matrices), int)}
        self.entries[name] = entry

        def note(expert):
            def add(squares, count):
                entry["sums"][expert] += squares
                entry["counts"][expert] += count

            return add

        return [Weight(matrix, note(expert)) for expert, matrix in enumerate(matrices)]

    def told(self):
        of = lambda entry: {"sums": entry["sums"].ravel().tolist(), "counts": entry["counts"].tolist()}
        return {name: of(entry) for name, entry in sorted(self.entries.items())}


def watch(found, sums):
    """Puts watched matrices in the place of those of a Llama's layers."""
    for module, matrix in found.items():
        if module.startswith("model.layers."):
            layer, name = module.removeprefix("model.layers.").split(".", 1)
            [found[module]] = sums.watched(f"blk.{layer}.{llama.GGUF_NAMES[name]}.weight", [matrix])


def of_a_llama():
    found, sums = llama.weights(SEED), Sums()
    watch(found, sums)
    for text in TEXTS:
        llama.hidden(found, [1] + byte_tokens(text))
    return sums.told()


def of_experts():
    """A Llama whose feed-forward matrices are of three experts, two of which each token goes to, as Mixtral's."""
    found, sums = llama.weights(SEED), Sums()
    random = np.random.default_rng(SEED + 1)
    experts = {}
    for layer in range(llama.LAYERS):
        for module, (rows, columns) in list(llama.MODULES.items()) + [("mlp.gate", (EXPERTS, llama.WIDTH))]:
            if module.startswith("mlp."):
                found.pop(f"model.layers.{layer}.{module}", None)
                shape = (rows, columns) if module == "mlp.gate" else (EXPERTS, rows, columns)
                experts[layer, module] = random.uniform(-0.5, 0.5, shape).astype("f4").astype("f8")
    names = {"mlp.gate": "ffn_gate_inp", **{module: f"{name}_exps" for module, name in llama.GGUF_NAMES.items()}}

    def more(gguf):
        gguf.number("llama.expert_count", EXPERTS)
        gguf.number("llama.expert_used_count", CHOSEN)
        for (layer, module), matrices in experts.items():
            gguf.tensor(f"blk.{layer}.{names[module]}.weight", matrices)

    llama.write_gguf(FOLDER / "experts.gguf", found, more)
    watch(found, sums)
    for (layer, module), matrices in experts.items():
        several = [matrices] if module == "mlp.gate" else list(matrices)
        found[f"model.layers.{layer}.{module}"] = sums.watched(f"blk.{layer}.{names[module]}.weight", several)
    def feed_forward(x, of):
        scores = x @ of("mlp.gate")[0].T
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.zeros_like(x)
        chosen = np.argsort(-shares, -1)[:, :CHOSEN]
        for expert in range(EXPERTS):
            tokens = np.flatnonzero((chosen == expert).any(-1))
            if len(tokens):
                share = shares[tokens, expert] / np.take_along_axis(shares, chosen, -1)[tokens].sum(-1)
                its = lambda module: of(module)[expert]
                mixed[tokens] += share[:, None] * llama.feed_forward(x[tokens], its)
        return mixed

    for text in TEXTS:
        llama.hidden(found, [1] + byte_tokens(text), feed_forward=feed_forward)
    return sums.told()


def main():
    told = {"texts": TEXTS, "models": {"lora/base.gguf": of_a_llama(), "experts.gguf": of_experts()}}
    (FOLDER / "imatrix.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
