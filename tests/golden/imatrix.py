"""What the weights of a small Llama are multiplied with while it reads texts: sums of squares, computed with numpy in double
precision on the base of `lora.py`. Run in this folder: `python imatrix.py`. The same numbers come out every time.
"""

import json
from pathlib import Path

import numpy as np

import llama
from gguf_file import byte_tokens

TEXTS = ["my parcel never came", "I was charged twice for one order, and nobody answers"]
SEED = 7


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


def main():
    found = llama.weights(SEED)
    sums = {}

    def watched(module):
        layer, name = module.removeprefix("model.layers.").split(".", 1)
        entry = sums.setdefault(f"blk.{layer}.{llama.GGUF_NAMES[name]}.weight", {"sums": 0.0, "count": 0})

        def note(squares, count):
            entry["sums"] = entry["sums"] + squares
            entry["count"] += count

        return note

    for module, matrix in found.items():
        if module.startswith("model.layers."):
            found[module] = Weight(matrix, watched(module))
    for text in TEXTS:
        llama.hidden(found, [1] + byte_tokens(text))
    entries = {name: {"sums": list(entry["sums"]), "count": entry["count"]} for name, entry in sorted(sums.items())}
    path = Path(__file__).parent / "imatrix.json"
    path.write_text(json.dumps({"texts": TEXTS, "entries": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
