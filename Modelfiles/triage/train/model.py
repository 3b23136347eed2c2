"""The Llama forward pass in JAX over packed rows of a trunk and its branches; knows tensors, not tickets.

Weights carry llama.cpp's names and the layout of its GGUF files: a matrix is (rows out, columns in), and RoPE turns
neighbouring pairs, as llama.cpp does for the architecture `llama`, so that conversion permutes nothing.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

# The weights of one block, in llama.cpp's names.
LAYER = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]


@dataclass(frozen=True)
class Shape:
    n_vocab: int
    n_embd: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_ff: int = 384
    n_ctx: int = 1024
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self):
        return self.n_embd // self.n_head


def init_weights(shape, seed):
    """Normal initial weights; the residual outputs are scaled down by depth, as GPT-2 does."""
    rng = np.random.default_rng(seed)

    def matrix(n_out, n_in, scale=1.0):
        return (rng.standard_normal((n_out, n_in)) * scale / np.sqrt(n_in)).astype(np.float32)

    residual = 1 / np.sqrt(2 * shape.n_layer)
    ones = np.ones(shape.n_embd, np.float32)
    weights = {"token_embd": matrix(shape.n_vocab, shape.n_embd), "output_norm": ones}
    for i in range(shape.n_layer):
        weights |= {
            f"blk.{i}.attn_norm": ones,
            f"blk.{i}.attn_q": matrix(shape.n_embd, shape.n_embd),
            f"blk.{i}.attn_k": matrix(shape.n_embd, shape.n_embd),
            f"blk.{i}.attn_v": matrix(shape.n_embd, shape.n_embd),
            f"blk.{i}.attn_output": matrix(shape.n_embd, shape.n_embd, residual),
            f"blk.{i}.ffn_norm": ones,
            f"blk.{i}.ffn_gate": matrix(shape.n_ff, shape.n_embd),
            f"blk.{i}.ffn_up": matrix(shape.n_ff, shape.n_embd),
            f"blk.{i}.ffn_down": matrix(shape.n_embd, shape.n_ff, residual),
        }
    return {name: jnp.asarray(w) for name, w in weights.items()}


def rms_norm(x, weight, eps):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope_angles(shape, positions):
    """Cosine and sine of every pair's angle: two arrays (batch, length, 1, head_size / 2)."""
    half = np.arange(shape.head_size // 2, dtype=np.float32)
    frequency = shape.rope_base ** (-2.0 * half / shape.head_size)
    angle = positions[:, :, None, None].astype(jnp.float32) * frequency
    return jnp.cos(angle), jnp.sin(angle)


def rope(x, angles):
    cos, sin = angles
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def tree_mask(segments):
    """Who sees whom: everyone the trunk (segment 0), a branch also itself, never what comes later. Padding is -1."""
    length = segments.shape[1]
    query, key = segments[:, :, None], segments[:, None, :]
    earlier = np.tril(np.ones((length, length), bool))
    return earlier & ((key == 0) | (key == query))


def hidden_states(weights, shape, tokens, positions, segments, dropout=0.0, key=None):
    """The normed last hidden states of packed rows: (batch, length) integers to (batch, length, n_embd)."""

    keys = iter(jax.random.split(key, 2 * shape.n_layer + 1) if dropout else ())

    def drop(x):
        if not dropout:
            return x
        return jnp.where(jax.random.bernoulli(next(keys), 1 - dropout, x.shape), x / (1 - dropout), 0)

    n_batch, length = tokens.shape
    angles = rope_angles(shape, positions)
    mask = tree_mask(segments)[:, None]
    x = drop(weights["token_embd"][tokens])
    for i in range(shape.n_layer):
        w = {name: weights[f"blk.{i}.{name}"] for name in LAYER}
        h = rms_norm(x, w["attn_norm"], shape.norm_eps)
        q, k, v = ((h @ w[n].T).reshape(n_batch, length, shape.n_head, -1) for n in ("attn_q", "attn_k", "attn_v"))
        scores = jnp.einsum("bqhd,bkhd->bhqk", rope(q, angles), rope(k, angles)) / np.sqrt(shape.head_size)
        attention = jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", attention, v).reshape(n_batch, length, -1)
        x = x + drop(mixed @ w["attn_output"].T)
        h = rms_norm(x, w["ffn_norm"], shape.norm_eps)
        gated = jax.nn.silu(h @ w["ffn_gate"].T) * (h @ w["ffn_up"].T)
        x = x + drop(gated @ w["ffn_down"].T)
    return rms_norm(x, weights["output_norm"], shape.norm_eps)
