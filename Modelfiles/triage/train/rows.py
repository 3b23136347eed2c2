"""Packs a ticket and its branches into one row of tokens with a tree mask; knows the tokenizer, not the weights.

A row is `<|user|>ticket<|end|>` as the trunk, then branches that each begin with their own `<|assistant|>` at the
trunk's end. Every branch sees the trunk and itself, so the trunk is computed once, and a branch is evaluated exactly
as if it stood alone.
"""

import numpy as np

from contract import ASSISTANT, END, FIELDS, SYSTEM, USER, closed_branch

PADDING = -1


class RowWriter:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.ids = {t: tokenizer.token_to_id(t) for t in (SYSTEM, USER, ASSISTANT, END)}

    def trunk(self, text, system=None):
        """The tokens of the prompt up to, and without, the assistant's header."""
        tokens = [self.ids[USER], *self.encode(text), self.ids[END]]
        if system is not None:
            tokens = [self.ids[SYSTEM], *self.encode(system), self.ids[END], *tokens]
        return tokens

    def branch(self, text):
        """Inputs and targets of one branch: the header predicts the first token, the last token predicts the end."""
        tokens = self.encode(text)
        return [self.ids[ASSISTANT], *tokens], [*tokens, self.ids[END]]

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def pack(trunks, branches, n_trunk, n_branch):
    """Packed arrays of shape (rows, n_trunk + n_branch), and targets of (rows, n_branch); PADDING where there is none.

    `branches` holds, for each row, a list of (inputs, targets).
    """
    n_rows = len(trunks)
    tokens = np.zeros((n_rows, n_trunk + n_branch), np.int32)
    positions = np.zeros_like(tokens)
    segments = np.full_like(tokens, PADDING)
    targets = np.full((n_rows, n_branch), PADDING, np.int32)
    for row, trunk in enumerate(trunks):
        end = len(trunk)
        tokens[row, :end] = trunk
        positions[row, :end] = np.arange(end)
        segments[row, :end] = 0
        at = 0
        for number, (inputs, expected) in enumerate(branches[row], start=1):
            span = slice(n_trunk + at, n_trunk + at + len(inputs))
            tokens[row, span] = inputs
            positions[row, span] = end + np.arange(len(inputs))
            segments[row, span] = number
            targets[row, at : at + len(inputs)] = expected
            at += len(inputs)
    return tokens, positions, segments, targets


def candidate_branches(writer):
    """Every candidate of every closed field as (field, value, (inputs, targets)), in the order of the contract."""
    return [(field, value, writer.branch(closed_branch(field, value))) for field, values in FIELDS.items() for value in values]
