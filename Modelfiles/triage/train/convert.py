"""Writes the trained weights as a GGUF of llama.cpp's architecture `llama`, matrices in Q8_0 and norms in F32."""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

from contract import ASSISTANT, END, SPECIAL_TOKENS, SYSTEM, USER
from model import LAYER, Shape

# `contract` is read so that slm does not describe the contract to a model that has learned it.
CHAT_TEMPLATE = (
    "{%- if contract is defined %}{# this model has learned its contract and needs no description of it #}{% endif %}"
    "{%- for message in messages %}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{% endif %}"
)


def write_gguf(path, weights, tokenizer, shape):
    writer = gguf.GGUFWriter(path, "llama")
    add_description(writer)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_tokenizer(writer, tokenizer, shape)
    # The output matrix is the embedding matrix: llama.cpp falls back to it where `output.weight` is missing.
    order = ["token_embd", "output_norm"] + [f"blk.{i}.{name}" for i in range(shape.n_layer) for name in LAYER]
    for name in order:
        weight = weights[name].astype(np.float32)
        if weight.ndim == 2:
            quantized = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"{name}.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_description(writer):
    writer.add_name("triage")
    writer.add_description("Reads an English support ticket: its queue, its urgency, whether a refund is asked for, its order number")
    writer.add_license("MIT")
    writer.add_languages(["en"])
    writer.add_tags(["text-classification", "customer-support"])


def add_tokenizer(writer, tokenizer, shape):
    vocabulary = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].get)
    if len(tokens) != shape.n_vocab:
        raise ValueError(f"the tokenizer has {len(tokens)} tokens, the weights {shape.n_vocab}")
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIAL_TOKENS else normal for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in vocabulary["merges"]])
    end = tokens.index(END)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def main():
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser(description="convert and quantize triage")
    parser.add_argument("trained", type=Path, help="the folder that train.py wrote")
    parser.add_argument("out", type=Path, help="the GGUF to write")
    args = parser.parse_args()
    weights = dict(np.load(args.trained / "weights.npz"))
    tokenizer = Tokenizer.from_file(str(args.trained / "tokenizer.json"))
    write_gguf(args.out, weights, tokenizer, Shape(n_vocab=tokenizer.get_vocab_size()))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
