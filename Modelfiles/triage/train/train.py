"""Trains triage on generated tickets and saves its weights and tokenizer; the evaluation tickets are never read here."""

import argparse
import functools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon
from tokenizers import Tokenizer

from contract import FIELDS, closed_branch, load_tickets, record_branch
from evaluate import evaluate, print_report, score
from generate import Phrases, Writer
from model import Shape, hidden_states, init_weights
from rows import PADDING, RowWriter, pack
from tokenizer import train_tokenizer

SEED = 7
N_VOCAB = 3072
DROPOUT = 0.1
PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.1
EMA_DECAY = 0.995
TOKENS_PER_BATCH = 4096
SHARE_WITH_RECORD = 0.2
SHARE_WITH_SYSTEM = 0.1
SHARE_OF_SPLIT_WORDS = 0.5
TRUNK_LENGTHS = [40, 80, 160, 384]
CLOSED_LENGTH = 24
ALL_LENGTH = 88
SYSTEM_MESSAGES = [
    "You are a helpful assistant.",
    "Classify the support ticket.",
    "You sort support tickets for a company. Answer with the queue, the urgency and whether a refund is asked for.",
    "Answer in JSON.",
    "You are triage.",
    "Be brief.",
]


class Batches:
    """An endless stream of packed batches; a batch holds rows of about one length, drawn in random order."""

    def __init__(self, tokenizer, seed):
        self.plain = RowWriter(tokenizer)
        # Words split at random places teach the pieces that a misspelt or unknown word falls into.
        split = Tokenizer.from_str(tokenizer.to_str())
        split.model.dropout = 0.1
        self.split = RowWriter(split)
        self.writer = Writer(Phrases(), seed)
        self.rng = np.random.default_rng(seed)

    def __iter__(self):
        waiting = {}
        while True:
            ticket = self.writer.ticket()
            rows = self.split if self.rng.random() < SHARE_OF_SPLIT_WORDS else self.plain
            system = None
            if self.rng.random() < SHARE_WITH_SYSTEM:
                system = SYSTEM_MESSAGES[self.rng.integers(len(SYSTEM_MESSAGES))]
            trunk = rows.trunk(ticket.text, system)
            n_trunk = next((n for n in TRUNK_LENGTHS if len(trunk) <= n), None)
            if n_trunk is None:
                continue
            texts = [closed_branch(field, getattr(ticket, field)) for field in FIELDS]
            n_branch = CLOSED_LENGTH
            if self.rng.random() < SHARE_WITH_RECORD:
                texts.append(record_branch(ticket))
                n_branch = ALL_LENGTH
            batch = waiting.setdefault((n_trunk, n_branch), [])
            batch.append((trunk, [self.plain.branch(text) for text in texts]))
            if len(batch) == max(1, TOKENS_PER_BATCH // (n_trunk + n_branch)):
                del waiting[n_trunk, n_branch]
                yield pack([trunk for trunk, _ in batch], [b for _, b in batch], n_trunk, n_branch)


def loss_of(weights, shape, batch, key):
    """Mean cross-entropy of the branches' tokens."""
    tokens, positions, segments, targets = batch
    hidden = hidden_states(weights, shape, tokens, positions, segments, DROPOUT, key)
    logits = hidden[:, -targets.shape[1] :] @ weights["token_embd"].T
    log_p = jax.nn.log_softmax(logits)
    known = targets != PADDING
    picked = jnp.take_along_axis(log_p, jnp.where(known, targets, 0)[..., None], axis=-1)[..., 0]
    return -jnp.sum(jnp.where(known, picked, 0)) / jnp.sum(known)


def train(tokenizer, shape, n_steps):
    """The averaged weights after `n_steps`."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, PEAK_RATE, min(100, n_steps // 10), n_steps, PEAK_RATE * 0.02)
    weights = init_weights(shape, SEED)
    average = jax.tree.map(jnp.copy, weights)
    # Muon for the matrices inside the blocks, Adam for the embedding and the norms.
    inside = {name: MuonDimensionNumbers() if name.startswith("blk") and w.ndim == 2 else None for name, w in weights.items()}
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        muon(
            schedule,
            weight_decay=WEIGHT_DECAY,
            weight_decay_mask={name: w.ndim == 2 for name, w in weights.items()},
            consistent_rms=0.2,
            adam_b2=0.98,
            muon_weight_dimension_numbers=inside,
        ),
    )
    state = optimizer.init(weights)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(weights, average, state, batch, key):
        loss, gradient = jax.value_and_grad(loss_of)(weights, shape, batch, key)
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        average = jax.tree.map(lambda a, w: EMA_DECAY * a + (1 - EMA_DECAY) * w, average, weights)
        return weights, average, state, loss

    key = jax.random.key(SEED, impl="rbg")
    started = time.monotonic()
    losses = []
    for i, batch in zip(range(n_steps), Batches(tokenizer, SEED)):
        key, now = jax.random.split(key)
        weights, average, state, loss = step(weights, average, state, batch, now)
        losses.append(loss)
        if (i + 1) % 100 == 0:
            print(f"step {i + 1} of {n_steps}, loss {np.mean(losses[-100:]):.4f}, {time.monotonic() - started:.0f} s", flush=True)
    return average


def calibrated(weights, shape, writer, tickets):
    """The weights with one temperature folded into the last norm: that under which `tickets` are likeliest.

    Generated tickets are easier than real ones, so that raw probabilities tend to be too sure of themselves.
    """
    probabilities = score(weights, shape, writer, tickets)

    def surprise(temperature):
        total = 0
        for field, values in FIELDS.items():
            scaled = probabilities[field] ** (1 / temperature)
            expected = [values.index(getattr(ticket, field)) for ticket in tickets]
            total -= np.log(scaled[np.arange(len(tickets)), expected] / scaled.sum(axis=1)).sum()
        return total

    temperature = min(np.arange(0.5, 4.01, 0.05), key=surprise)
    print(f"temperature {temperature:.2f}")
    return weights | {"output_norm": weights["output_norm"] / temperature}


def main():
    parser = argparse.ArgumentParser(description="train triage")
    parser.add_argument("out", type=Path, help="folder for weights.npz and tokenizer.json")
    parser.add_argument("--dev", type=Path, required=True, help="hand-written tickets to calibrate with and to report on")
    parser.add_argument("--steps", type=int, default=1800)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    writer = Writer(Phrases(), SEED + 1)
    tokenizer = train_tokenizer([writer.ticket() for _ in range(40_000)], N_VOCAB)
    tokenizer.save(str(args.out / "tokenizer.json"))
    shape = Shape(n_vocab=N_VOCAB)
    weights = train(tokenizer, shape, args.steps)
    dev = load_tickets(args.dev)
    weights = calibrated(weights, shape, RowWriter(tokenizer), dev)
    np.savez(args.out / "weights.npz", **{name: np.asarray(w) for name, w in weights.items()})
    print_report(evaluate(weights, shape, RowWriter(tokenizer), dev))


if __name__ == "__main__":
    main()
