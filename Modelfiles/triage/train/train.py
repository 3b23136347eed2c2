"""Trains triage on generated tickets and saves its weights and tokenizer; the evaluation tickets are never read here."""

import argparse
import functools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

from contract import FIELDS, closed_branch, load_tickets, record_branch
from evaluate import evaluate, print_report
from generate import Phrases, Writer
from model import Shape, hidden_states, init_weights
from rows import PADDING, RowWriter, pack
from tokenizer import train_tokenizer

SEED = 7
N_VOCAB = 3072
DROPOUT = 0.1
LABEL_SMOOTHING = 0.03
PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.1
EMA_DECAY = 0.995
TOKENS_PER_BATCH = 4096
SHARE_WITH_RECORD = 0.3
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
    """Mean cross-entropy of the branches' tokens against slightly smoothed targets."""
    tokens, positions, segments, targets = batch
    hidden = hidden_states(weights, shape, tokens, positions, segments, DROPOUT, key)
    logits = hidden[:, -targets.shape[1] :] @ weights["token_embd"].T
    log_p = jax.nn.log_softmax(logits)
    known = targets != PADDING
    picked = jnp.take_along_axis(log_p, jnp.where(known, targets, 0)[..., None], axis=-1)[..., 0]
    smoothed = (1 - LABEL_SMOOTHING) * picked + LABEL_SMOOTHING * log_p.mean(axis=-1)
    return -jnp.sum(jnp.where(known, smoothed, 0)) / jnp.sum(known)


def train(tokenizer, shape, n_steps, minutes):
    """The averaged weights after `n_steps`; stops early, with the schedule cut short, when `minutes` are over."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, PEAK_RATE, min(100, n_steps // 10), n_steps, PEAK_RATE * 0.02)
    decayed = lambda weights: {name: w.ndim == 2 for name, w in weights.items()}
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.98, weight_decay=WEIGHT_DECAY, mask=decayed)
    )
    weights = init_weights(shape, SEED)
    average = weights
    state = optimizer.init(weights)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(weights, average, state, batch, key):
        loss, gradient = jax.value_and_grad(loss_of)(weights, shape, batch, key)
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        average = jax.tree.map(lambda a, w: EMA_DECAY * a + (1 - EMA_DECAY) * w, average, weights)
        return weights, average, state, loss

    average = jax.tree.map(jnp.copy, weights)
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


def main():
    parser = argparse.ArgumentParser(description="train triage")
    parser.add_argument("out", type=Path, help="folder for weights.npz and tokenizer.json")
    parser.add_argument("--dev", type=Path, required=True, help="hand-written tickets to report on")
    parser.add_argument("--steps", type=int, default=2500)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    writer = Writer(Phrases(), SEED + 1)
    tokenizer = train_tokenizer([writer.ticket() for _ in range(40_000)], N_VOCAB)
    tokenizer.save(str(args.out / "tokenizer.json"))
    shape = Shape(n_vocab=N_VOCAB)
    weights = train(tokenizer, shape, args.steps, None)
    np.savez(args.out / "weights.npz", **{name: np.asarray(w) for name, w in weights.items()})
    print_report(evaluate(weights, shape, RowWriter(tokenizer), load_tickets(args.dev)))


if __name__ == "__main__":
    main()
