"""The values that src/eval must agree with, from scikit-learn, SciPy and NumPy.

It writes metrics.json beside itself; the unit tests in src/eval read that file, so CI needs no Python. Made with
Python 3.11.7, scikit-learn 1.9.1, SciPy 1.17.1 and NumPy 2.4.6. Run again with

    python3 -m venv venv
    venv/bin/pip install scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
    venv/bin/python tests/golden/metrics.py

The same versions give the same bytes. Every case has labels 0..k-1, the truth, the answer (null where the row failed:
no answer came) and the probabilities over the labels (null where it failed). Sampled ones are multiples of 1/1024, so
that their decimal form is exact. A truth may be a label that was no candidate: its probability is 0 in every row.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

FAILED = -1
BINS = 15
UNITS = 1024


def expected_calibration_error(truth, answer, probabilities):
    """Guo et al. 2017, equation 3, over right-closed bins of equal width; a confidence of 0 is in the first bin."""
    confidence = probabilities[np.arange(len(answer)), answer]
    upper = np.arange(1, BINS + 1) / BINS
    bins = np.minimum(np.searchsorted(upper, confidence, side="left"), BINS - 1)
    error = 0.0
    for b in range(BINS):
        inside = bins == b
        if inside.any():
            gap = abs((truth[inside] == answer[inside]).mean() - confidence[inside].mean())
            error += inside.mean() * gap
    return float(error), np.bincount(bins, minlength=BINS).tolist()


def case(name, truth, answer, probabilities):
    truth, answer = np.asarray(truth), np.asarray(answer)
    probabilities = np.asarray(probabilities, dtype=float)
    k = probabilities.shape[1]
    answered = answer != FAILED
    # scikit-learn's own choice of labels, without the one that marks a failure: a failed row is a miss for its class.
    present = [c for c in range(k) if (truth == c).any() or (answer == c).any()]
    options = dict(labels=present, zero_division=0)
    precision, recall, f1, support = precision_recall_fscore_support(truth, answer, average=None, **options)
    hits = int((truth == answer).sum())
    interval = binomtest(hits, len(truth)).proportion_ci(confidence_level=0.95, method="wilson")
    confusion = confusion_matrix(truth, answer, labels=[*range(k), FAILED])
    out = {
        "name": name,
        "truth": truth.tolist(),
        "answer": [int(a) if a != FAILED else None for a in answer],
        "probabilities": [p.tolist() if ok else None for p, ok in zip(probabilities, answered)],
        "accuracy": float(accuracy_score(truth, answer)),
        "interval": [float(interval.low), float(interval.high)],
        "present": present,
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": [int(s) for s in support],
        "macro_f1": float(f1_score(truth, answer, average="macro", **options)),
        "confusion": confusion[:k, :k].tolist(),
        "confusion_failed": confusion[:k, k].tolist(),
    }
    if answered.any():
        t, a, p = truth[answered], answer[answered], probabilities[answered]
        out["log_loss"] = float(log_loss(t, p, labels=range(k)))
        # The sum over the labels, in 0..2, for two labels as well.
        out["brier"] = float(brier_score_loss(t, p, labels=list(range(k)), scale_by_half=False))
        out["ece"], out["bin_counts"] = expected_calibration_error(t, a, p)
    return out


def exact(probabilities):
    """The nearest probabilities that are multiples of 1/1024 and sum to 1."""
    units = np.floor(np.asarray(probabilities) * UNITS)
    rows = np.arange(len(units))
    units[rows, units.argmax(axis=1)] += UNITS - units.sum(axis=1)
    return units / UNITS


def sample(rng, rows, prior, skill, failures=0.0):
    """Rows of a classifier: a Dirichlet draw leaning to the truth by `skill`."""
    prior = np.asarray(prior, dtype=float)
    truth = rng.choice(len(prior), size=rows, p=prior / prior.sum())
    lean = np.full((rows, len(prior)), 0.5)
    lean[np.arange(rows), truth] += skill
    probabilities = exact([rng.dirichlet(a) for a in lean])
    answer = probabilities.argmax(axis=1)
    answer[rng.random(rows) < failures] = FAILED
    return truth, answer, probabilities


def moved(probabilities, source, target):
    """All probability of one label given to another."""
    out = probabilities.copy()
    out[:, target] += out[:, source]
    out[:, source] = 0
    return out


def metrics(rng):
    yield case("six labels", *sample(rng, 120, np.ones(6), 2.0))
    yield case("six labels, no skill", *sample(rng, 60, np.ones(6), 0.0))
    yield case("three labels, imbalanced", *sample(rng, 80, [90, 8, 2], 1.0))
    yield case("two labels", *sample(rng, 70, [3, 2], 1.5))
    yield case("twelve labels, few rows", *sample(rng, 15, np.ones(12), 3.0))
    yield case("failed rows", *sample(rng, 90, [3, 2, 1], 2.0, failures=0.2))
    yield case("two labels, half failed", *sample(rng, 40, [1, 1], 1.0, failures=0.5))

    truth, _, probabilities = sample(rng, 50, np.ones(4), 2.0)
    probabilities = moved(probabilities, 3, 0)
    yield case("a truth that is no candidate", truth, probabilities.argmax(axis=1), probabilities)

    truth, answer, probabilities = sample(rng, 50, [1, 1, 0, 1], 2.0)
    yield case("a label that is never true", truth, answer, probabilities)
    probabilities = moved(moved(probabilities, 1, 3), 2, 0)
    yield case("labels that are never answered", truth, probabilities.argmax(axis=1), probabilities)

    eye = np.eye(3)
    yield case("perfect and certain", [0, 1, 2, 2], [0, 1, 2, 2], eye[[0, 1, 2, 2]])
    yield case("all wrong and certain", [0, 1, 2, 2], [1, 2, 0, 1], eye[[1, 2, 0, 1]])
    yield case("certain, one wrong", [0, 1, 2, 2], [0, 1, 2, 0], eye[[0, 1, 2, 0]])
    yield case("a tie of all", [0, 1, 1, 0], [0, 0, 0, 0], np.full((4, 2), 0.5))
    yield case("one row, right", [1], [1], [[0.25, 0.75]])
    yield case("one row, wrong", [0], [1], [[0.25, 0.75]])
    yield case("every row failed", [0, 1, 1], [FAILED] * 3, np.full((3, 2), 0.5))
    # 0.2, 0.4, 0.6 and 0.8 are borders of the 15 bins: each belongs to the bin that it ends.
    borders = np.array([[0.2] * 5, [0.4, 0.2, 0.2, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1, 0.1], [0.8, 0.2, 0, 0, 0]])
    yield case("on the borders of bins", [0, 1, 0, 0], [0, 0, 0, 0], borders)


def percentiles(rng):
    for values in ([7.5], [1.0, 2.0], [3.0, 1.0, 2.0], rng.gamma(2.0, 10.0, 20).round(3).tolist(), list(range(101))):
        yield {"values": values, "p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}


def main():
    rng = np.random.default_rng(2026)
    golden = {"bins": BINS, "metrics": list(metrics(rng)), "percentiles": list(percentiles(rng))}
    rows = ",\n".join(json.dumps(m, allow_nan=False) for m in golden["metrics"])
    tail = json.dumps(golden["percentiles"], allow_nan=False)
    text = f'{{"bins": {BINS},\n"metrics": [\n{rows}\n],\n"percentiles": {tail}}}\n'
    Path(__file__).with_suffix(".json").write_text(text)


if __name__ == "__main__":
    main()
