"""Writes small GGUF files (ggml's docs/gguf.md) and safetensors, with nothing but numpy. The golden scripts share it."""

import json
import struct

import numpy as np

U32, I32, F32, BOOL, TEXT, ARRAY = 4, 5, 6, 7, 8, 9


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


class Gguf:
    def __init__(self):
        self.entries, self.tensors = [], []

    def number(self, key, value):
        self.entries.append(text(key) + struct.pack("<II", U32, value))

    def float(self, key, value):
        self.entries.append(text(key) + struct.pack("<If", F32, value))

    def flag(self, key, value):
        self.entries.append(text(key) + struct.pack("<I?", BOOL, value))

    def text(self, key, value):
        self.entries.append(text(key) + struct.pack("<I", TEXT) + text(value))

    def list(self, key, kind, items):
        head = text(key) + struct.pack("<IIQ", ARRAY, kind, len(items))
        self.entries.append(head + b"".join(items))

    def texts(self, key, values):
        self.list(key, TEXT, [text(value) for value in values])

    def numbers(self, key, values):
        self.list(key, I32, [struct.pack("<i", value) for value in values])

    def floats(self, key, values):
        self.list(key, F32, [struct.pack("<f", value) for value in values])

    def tensor(self, name, values):
        """Single precision; the last axis is the length of a row."""
        self.tensors.append((name, np.ascontiguousarray(values, dtype="<f4")))

    def write(self, path):
        pad = lambda data: data + b"\0" * (-len(data) % 32)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.entries)) + b"".join(self.entries)
        infos, data = b"", b""
        for name, values in self.tensors:
            shape = values.shape[::-1]
            infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
            data = pad(data + values.tobytes())
        path.write_bytes(pad(head + infos) + data)


def write_safetensors(path, tensors):
    """tensors: name -> (dtype as safetensors names it, values of that dtype as numpy holds them)."""
    header, data = {}, b""
    for name, (dtype, values) in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def byte_vocabulary(gguf):
    """SentencePiece with a token for each byte and one for the space: every text has one tokenization."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581"]
    gguf.text("tokenizer.ggml.model", "llama")
    gguf.texts("tokenizer.ggml.tokens", tokens)
    gguf.floats("tokenizer.ggml.scores", [0.0] * len(tokens))
    gguf.numbers("tokenizer.ggml.token_type", [2, 3, 3] + [6] * 256 + [1])
    gguf.number("tokenizer.ggml.bos_token_id", 1)
    gguf.number("tokenizer.ggml.eos_token_id", 2)
    return len(tokens)


def byte_tokens(words):
    """A text's tokens, with the space that SentencePiece puts in front and without BOS."""
    return [259 if byte == 32 else 3 + byte for byte in (" " + words).encode()]
