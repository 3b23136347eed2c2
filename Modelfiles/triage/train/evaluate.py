"""Measures a model on hand-written tickets as slm will score them; knows the contract, changes nothing."""

import argparse
from collections import namedtuple
from pathlib import Path

import gguf
import jax
import numpy as np
from tokenizers import Tokenizer

from contract import FIELDS, load_tickets, record_branch
from model import Shape, hidden_states
from rows import PADDING, RowWriter, candidate_branches, pack

Figures = namedtuple("Figures", "accuracy low high macro_f1 calibration_error")


def token_log_probabilities(weights, shape, batch):
    """Log-probability of every target token, and whether it is the likeliest one: two arrays as the targets."""
    tokens, positions, segments, targets = batch
    hidden = hidden_states(weights, shape, tokens, positions, segments)[:, -targets.shape[1] :]
    log_p = np.asarray(jax.nn.log_softmax(hidden @ weights["token_embd"].T))
    known = targets != PADDING
    picked = np.take_along_axis(log_p, np.where(known, targets, 0)[..., None], axis=-1)[..., 0]
    return np.where(known, picked, 0), (log_p.argmax(axis=-1) == targets) | ~known


def score(weights, shape, writer, tickets):
    """For each field the probabilities of its values: {field: array (tickets, values)}."""
    candidates = candidate_branches(writer)
    branches = [branch for _, _, branch in candidates]
    n_branch = sum(len(inputs) for inputs, _ in branches)
    sums = []
    for ticket in tickets:
        trunk = writer.trunk(ticket.text)
        padded = 64 * -(-len(trunk) // 64)
        log_p, _ = token_log_probabilities(weights, shape, pack([trunk], [branches], padded, n_branch))
        ends = np.cumsum([len(inputs) for inputs, _ in branches])
        sums.append([part.sum() for part in np.split(log_p[0], ends[:-1])])
    sums = np.array(sums)
    probabilities = {}
    for field in FIELDS:
        own = sums[:, [i for i, (name, _, _) in enumerate(candidates) if name == field]]
        own = np.exp(own - own.max(axis=1, keepdims=True))
        probabilities[field] = own / own.sum(axis=1, keepdims=True)
    return probabilities


def figures(probabilities, expected, values):
    """Accuracy with its 95 % Wilson interval, macro-F1 and the expected calibration error over ten equal bins."""
    predicted = probabilities.argmax(axis=1)
    right = predicted == expected
    n, accuracy, z = len(right), right.mean(), 1.96
    middle = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    f1 = []
    for value in range(len(values)):
        hits = np.sum((predicted == value) & (expected == value))
        f1.append(2 * hits / max(1, np.sum(predicted == value) + np.sum(expected == value)))
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * 10).astype(int), 9)
    error = sum(abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(10)) / n
    return Figures(accuracy, middle - reach, middle + reach, np.mean(f1), error)


def records_right(weights, shape, writer, tickets):
    """How many records come out right to the last token under greedy decoding after the brace that every record begins
    with: (order numbers copied, order numbers there are, nulls written, nulls there are, whole records).

    An order number counts after the right queue and urgency.
    """
    copied = null = whole = 0
    for ticket in tickets:
        trunk = writer.trunk(ticket.text)
        inputs, targets = writer.branch(record_branch(ticket))
        _, likeliest = token_log_probabilities(
            weights, shape, pack([trunk], [[(inputs, targets)]], 64 * -(-len(trunk) // 64), 16 * -(-len(inputs) // 16))
        )
        prefix, _ = writer.branch(record_branch(ticket).split('"order_id":')[0])
        right = likeliest[0, len(prefix) :].all()
        copied += right and ticket.order_id is not None
        null += right and ticket.order_id is None
        whole += likeliest[0, 1:].all()
    n_orders = sum(ticket.order_id is not None for ticket in tickets)
    return copied, n_orders, null, len(tickets) - n_orders, whole


def evaluate(weights, shape, writer, tickets):
    probabilities = score(weights, shape, writer, tickets)
    report = {}
    for field, values in FIELDS.items():
        expected = np.array([values.index(getattr(ticket, field)) for ticket in tickets])
        report[field] = figures(probabilities[field], expected, values)
    return report, records_right(weights, shape, writer, tickets), len(tickets)


def print_report(report):
    fields, (copied, n_orders, null, n_null, whole), n = report
    for field, f in fields.items():
        print(
            f"{field}: accuracy {f.accuracy:.3f} [{f.low:.3f}, {f.high:.3f}], macro-F1 {f.macro_f1:.3f}, "
            f"calibration error {f.calibration_error:.3f}"
        )
    print(f"record: order number copied {copied} of {n_orders}, null {null} of {n_null}, whole record right {whole} of {n}")


def read_weights(path):
    """The weights of a GGUF as llama.cpp sees them: after quantization."""
    return {
        tensor.name.removesuffix(".weight"): gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(path).tensors
    }


def main():
    parser = argparse.ArgumentParser(description="measure a quantized triage on hand-written tickets")
    parser.add_argument("model", type=Path, help="the GGUF")
    parser.add_argument("tokenizer", type=Path, help="the tokenizer.json that was trained with it")
    parser.add_argument("tickets", type=Path, nargs="+")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    weights = read_weights(args.model)
    for path in args.tickets:
        print(f"{path.name}:")
        print_report(evaluate(weights, Shape(tokenizer.get_vocab_size()), RowWriter(tokenizer), load_tickets(path)))


if __name__ == "__main__":
    main()
