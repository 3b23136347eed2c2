"""The values that crates/stats must agree with, from scikit-learn, SciPy, statsmodels and rouge-score.

It writes stats.json beside itself; crates/stats/tests/golden.rs reads that file, so CI needs no Python. Run again with

    python3 -m venv venv
    venv/bin/pip install scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6 statsmodels==0.15.0 rouge-score==0.1.2
    venv/bin/python tests/golden/stats.py

The same versions, which the file records, give the same bytes. Figures that none of these packages has (calibration error of
bins, risk and coverage, the score interval of a paired difference) are written here a second time from their definition, in
another way than in Rust: by brute force or by a numerical optimiser. A label of -1 marks a failed row; null in the file.
"""

import itertools
import json
import platform
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats
from rouge_score.rouge_scorer import RougeScorer
from scipy.optimize import brentq, minimize_scalar
from scipy.sparse import hstack
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

FAILED = -1


def plain(value):
    """NumPy's values as JSON's; not-a-number and failures as null."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return value


def failed_as_none(answers):
    return [None if a == FAILED else int(a) for a in answers]


# One label a row


def classification_case(name, truth, answer):
    truth, answer = np.asarray(truth), np.asarray(answer)
    k = int(max(truth.max(), answer.max())) + 1
    present = [c for c in range(k) if (truth == c).any() or (answer == c).any()]

    def averaged(function, average):
        return function(truth, answer, average=average, labels=present, zero_division=0)

    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, answer, labels=range(k), zero_division=0
    )
    seen = sorted(set(truth.tolist()))
    return {
        "name": name,
        "n_labels": k,
        "truth": truth,
        "answer": failed_as_none(answer),
        "accuracy": metrics.accuracy_score(truth, answer),
        "balanced_accuracy": metrics.recall_score(truth, answer, average="macro", labels=seen, zero_division=0),
        "macro_precision": averaged(metrics.precision_score, "macro"),
        "macro_recall": averaged(metrics.recall_score, "macro"),
        "macro_f1": averaged(metrics.f1_score, "macro"),
        "weighted_f1": averaged(metrics.f1_score, "weighted"),
        "micro_precision": averaged(metrics.precision_score, "micro") if (answer != FAILED).any() else None,
        "micro_recall": averaged(metrics.recall_score, "micro"),
        "micro_f1": averaged(metrics.f1_score, "micro"),
        "matthews": metrics.matthews_corrcoef(truth, answer),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "support": support.astype(int),
        "confusion": metrics.confusion_matrix(truth, answer, labels=[*range(k), FAILED])[:k, :k],
    }


def sampled(rng, n, prior, skill, failures=0.0):
    """Rows of a classifier: a Dirichlet draw leaning to the truth by `skill`."""
    prior = np.asarray(prior, dtype=float)
    truth = rng.choice(len(prior), size=n, p=prior / prior.sum())
    lean = np.full((n, len(prior)), 0.5)
    lean[np.arange(n), truth] += skill
    probabilities = np.array([rng.dirichlet(a) for a in lean])
    answer = probabilities.argmax(axis=1)
    answer[rng.random(n) < failures] = FAILED
    return truth, answer, probabilities


def classification(rng):
    for i in range(20):
        k, n = int(rng.integers(2, 12)), int(rng.integers(1, 150))
        failures = [0.0, 0.0, 0.1, 0.5][i % 4]
        truth, answer, _ = sampled(rng, n, rng.random(k) + 0.02, rng.random() * 3, failures)
        yield classification_case(f"random {i}", truth, answer)
    yield classification_case("one label only", [0, 0, 0], [0, 0, 0])
    yield classification_case("one label expected, others answered", [1, 1, 1, 1], [0, 1, 2, 1])
    yield classification_case("one label answered", [0, 1, 2, 1], [1, 1, 1, 1])
    yield classification_case("a label never answered", [0, 1, 2, 2, 0], [0, 1, 1, 0, 0])
    yield classification_case("a label between that never occurs", [0, 3, 3, 0], [0, 3, 0, 3])
    yield classification_case("every row failed", [0, 1, 1], [FAILED] * 3)
    yield classification_case("all wrong", [0, 1, 0, 1], [1, 0, 1, 0])


# Probabilities


def top_k_hits(truth, probabilities, k):
    """Of equals the first label is the higher: a stable sort of the negated probabilities."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return int(sum(t in row[:k] for t, row in zip(truth, order)))


def curve_errors(confidence, right):
    """Errors among the i surest, i = 1..n: with ties the mean over all orders of the tied rows, by brute force."""
    levels = sorted(set(confidence), reverse=True)
    groups = [[1 - int(r) for c, r in zip(confidence, right) if c == level] for level in levels]
    out, before = [], 0
    for group in groups:
        orders = [np.cumsum(order) for order in itertools.permutations(group)] if len(group) <= 6 else None
        within = np.mean(orders, axis=0) if orders else np.cumsum(group)
        assert orders or len(set(group)) == 1
        out.extend((before + within).tolist())
        before += sum(group)
    return np.array(out)


def risk_coverage(confidence, right):
    n = len(confidence)
    errors = curve_errors(confidence, right)
    risks = errors / np.arange(1, n + 1)
    best = np.cumsum(sorted(1 - np.asarray(right, dtype=int))) / np.arange(1, n + 1)
    thresholds = sorted(set(confidence))
    kept = [[c >= t for c in confidence] for t in thresholds]
    at = {}
    for risk in (0.0, 0.05, 0.1, 0.2, 0.5):
        good = [sum(k) / n for k in kept if (1 - np.asarray(right, dtype=int))[k].sum() / sum(k) <= risk]
        at[str(risk)] = max(good, default=0.0)
    accuracy = {str(c): 1 - risks[int(np.ceil(round(c * n, 9))) - 1] for c in (0.1, 0.25, 0.5, 0.7, 0.9, 1.0)}
    return {
        "aurc": risks.mean(),
        "excess_aurc": risks.mean() - best.mean(),
        "accuracy_at_coverage": accuracy,
        "coverage_at_risk": at,
    }


def equal_width_error(confidence, right, n_bins):
    edges = np.linspace(0, 1, n_bins + 1)
    inside = [(confidence > low) & (confidence <= high) for low, high in zip(edges, edges[1:])]
    inside[0] |= confidence == 0
    gaps = [abs(right[i].mean() - confidence[i].mean()) * i.mean() for i in inside if i.any()]
    return float(sum(gaps))


def equal_mass(confidence, right, n_bins):
    """scikit-learn's curve, with its number of rows a bin found again from the same edges."""
    accuracy, mean = calibration_curve(right, confidence, n_bins=n_bins, strategy="quantile")
    edges = np.percentile(confidence, np.linspace(0, 1, n_bins + 1) * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], confidence), minlength=n_bins)
    counts = counts[counts > 0]
    return {
        "accuracy": accuracy,
        "confidence": mean,
        "counts": counts,
        "ece": float((np.abs(accuracy - mean) * counts).sum() / counts.sum()),
        "mce": float(np.abs(accuracy - mean).max()),
    }


def probabilistic_case(name, truth, probabilities):
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=float)
    k = probabilities.shape[1]
    answer = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = answer == truth
    return {
        "name": name,
        "truth": truth,
        "probabilities": probabilities,
        "log_loss": metrics.log_loss(truth, probabilities, labels=range(k)),
        "brier": metrics.brier_score_loss(truth, probabilities, labels=list(range(k)), scale_by_half=False),
        "top_k": [top_k_hits(truth, probabilities, top) for top in range(k + 1)],
        "ece": {str(n): equal_width_error(confidence, right, n) for n in (5, 10, 15)},
        "equal_mass": {str(n): equal_mass(confidence, right, n) for n in (5, 10)},
        **risk_coverage(confidence.tolist(), right.tolist()),
    }


def probabilistic(rng):
    for i in range(15):
        k, n = int(rng.integers(2, 9)), int(rng.integers(1, 120))
        truth, _, probabilities = sampled(rng, n, np.ones(k), rng.random() * 3)
        case = probabilistic_case(f"random {i}", truth, probabilities)
        # Without ties scikit-learn's top k is ours.
        for top in range(1, k):
            theirs = metrics.top_k_accuracy_score(truth, probabilities if k > 2 else probabilities[:, 1], k=top, labels=range(k)) if k > 2 else None
            assert theirs is None or np.isclose(theirs * n, case["top_k"][top])
        yield case
    eye = np.eye(3)
    yield probabilistic_case("certain and right", [0, 1, 2], eye)
    yield probabilistic_case("certain and wrong", [1, 2, 0], eye)
    yield probabilistic_case("all equal", [0, 1, 1, 0], np.full((4, 2), 0.5))
    steps = [[0.6, 0.4], [0.6, 0.4], [0.4, 0.6], [0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.9, 0.1], [0.5, 0.5]]
    yield probabilistic_case("ties between right and wrong", [0, 1, 1, 0, 1, 0, 0, 1], steps)
    yield probabilistic_case("one row", [1], [[0.3, 0.7]])


# Several labels a row


def multilabel(rng):
    for i in range(12):
        k, n = int(rng.integers(2, 9)), int(rng.integers(1, 60))
        truth = rng.random((n, k)) < [0.2, 0.5, 0.05][i % 3]
        answer = np.where(rng.random((n, k)) < 0.8, truth, rng.random((n, k)) < 0.3)
        present = [c for c in range(k) if truth[:, c].any() or answer[:, c].any()]
        some = {"labels": present, "zero_division": 0}
        yield {
            "name": f"random {i}",
            "n_tags": k,
            "truth": [np.flatnonzero(row) for row in truth],
            "answer": [np.flatnonzero(row) for row in answer],
            "subset_accuracy": metrics.accuracy_score(truth, answer),
            "hamming_loss": metrics.hamming_loss(truth, answer),
            "sample_f1": metrics.f1_score(truth, answer, average="samples", zero_division=1),
            "sample_precision": metrics.precision_score(truth, answer, average="samples", zero_division=1),
            "sample_recall": metrics.recall_score(truth, answer, average="samples", zero_division=1),
            "macro_f1": metrics.f1_score(truth, answer, average="macro", **some) if present else None,
            "micro_f1": metrics.f1_score(truth, answer, average="micro", **some) if present else None,
            "weighted_f1": metrics.f1_score(truth, answer, average="weighted", **some) if truth.any() else None,
            "f1": metrics.f1_score(truth, answer, average=None, zero_division=0),
        }


# Intervals


def proportions(rng):
    cases = [(0, 1), (1, 1), (0, 50), (50, 50), (1, 149), (149, 149), (0, 100000), (99999, 100000)]
    cases += [(int(rng.integers(0, n + 1)), int(n)) for n in rng.integers(1, 5000, 25)]
    for hits, n in cases:
        for confidence in (0.5, 0.9, 0.95, 0.999):
            test = stats.binomtest(hits, n)
            wilson, exact = (test.proportion_ci(confidence, method) for method in ("wilson", "exact"))
            upper = stats.binomtest(hits, n, alternative="less").proportion_ci(confidence, "exact").high
            lower = stats.binomtest(hits, n, alternative="greater").proportion_ci(confidence, "exact").low
            yield {
                "hits": hits,
                "n": n,
                "confidence": confidence,
                "wilson": [wilson.low, wilson.high],
                "exact": [exact.low, exact.high],
                "at_most": upper,
                "at_least": lower,
            }


def quantiles(rng):
    for values in ([7.5], [1.0, 2.0], [3.0, 1.0, 2.0], [5.0, 5.0, 1.0, 5.0], rng.gamma(2.0, 10.0, 20)):
        levels = [0.0, 0.05, 0.5, 0.95, 0.99, 1.0]
        yield {"values": values, "levels": levels, "quantiles": np.quantile(values, levels)}


def bootstraps(rng):
    """Intervals of given resamples: scipy's, with its own draws and its jackknife."""
    for i, statistic in enumerate([np.mean, np.median, np.std, lambda x, axis: np.max(x, axis=axis)]):
        rows = rng.gamma(1.5, 2.0, 23)
        for confidence in (0.9, 0.95):
            options = dict(confidence_level=confidence, n_resamples=299, vectorized=True)
            draws = stats.bootstrap((rows,), statistic, method="percentile", rng=np.random.default_rng(i), **options)
            again = stats.bootstrap((rows,), statistic, method="BCa", rng=np.random.default_rng(i), **options)
            assert (draws.bootstrap_distribution == again.bootstrap_distribution).all()
            bca = again.confidence_interval
            yield {
                "confidence": confidence,
                "value": statistic(rows, axis=0),
                "resampled": draws.bootstrap_distribution,
                "jackknife": [statistic(np.delete(rows, j), axis=0) for j in range(len(rows))],
                "percentile": [draws.confidence_interval.low, draws.confidence_interval.high],
                "bca": None if np.isnan(bca.low) else [bca.low, bca.high],
            }


# Pairs


def tango(both, only_first, only_second, neither, confidence):
    """Differences that a score test does not reject; the likeliest rates under each by a numerical optimiser."""
    n = both + only_first + only_second + neither
    z = stats.norm.ppf(0.5 + confidence / 2)

    def score(difference):
        low, high = max(0.0, -difference), (1 - difference) / 2

        def loss(lost):
            gained, same = lost + difference, 1 - 2 * lost - difference
            terms = ((only_first, lost), (only_second, gained), (both + neither, same))
            return -sum(count * np.log(max(p, 1e-300)) for count, p in terms if count)

        found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-14, "maxiter": 10000})
        candidates = [low, high, found.x]
        lost = min(candidates, key=loss)
        variance = n * (2 * lost + difference * (1 - difference))
        return (only_second - only_first - n * difference) / np.sqrt(max(variance, 1e-300))

    seen = (only_second - only_first) / n
    edge = 1 - 1e-12
    low = -1.0 if seen <= -edge else brentq(lambda d: score(d) - z, -edge, seen - 1e-12, xtol=1e-13)
    high = 1.0 if seen >= edge else brentq(lambda d: score(d) + z, seen + 1e-12, edge, xtol=1e-13)
    return [low, high]


def pairs(rng):
    cases = [(50, 0, 0, 10), (40, 5, 0, 5), (40, 0, 5, 5), (10, 3, 3, 4), (1, 1, 7, 12), (0, 12, 9, 0), (0, 0, 1, 0)]
    cases += [tuple(int(x) for x in rng.multinomial(int(n), rng.dirichlet([5, 1, 1, 2]))) for n in rng.integers(5, 3000, 25)]
    for both, only_first, only_second, neither in cases:
        table = [[both, only_first], [only_second, neither]]
        m, least = only_first + only_second, min(only_first, only_second)
        lower = stats.binom.cdf([only_second, only_first], m, 0.5)
        yield {
            "pairs": [both, only_first, only_second, neither],
            "differs": float(np.atleast_1d(mcnemar(table, exact=True).pvalue)[0]) if m else 1.0,
            "second_is_worse": lower[0],
            "second_is_better": lower[1],
            "mid_p": min(1.0, 2 * stats.binom.cdf(least, m, 0.5) - stats.binom.pmf(least, m, 0.5)),
            "tango": {str(c): tango(both, only_first, only_second, neither, c) for c in (0.9, 0.95)},
        }


def holm(rng):
    for n in (1, 2, 5, 12):
        p = rng.random(n) ** 2
        yield {"p": p, "corrected": multipletests(p, method="holm")[1]}
    tied = [0.01, 0.01, 0.5, 0.04, 1.0]
    yield {"p": tied, "corrected": multipletests(tied, method="holm")[1]}


def powers(_):
    """How often the exact test rejects, over all outcomes of all rows."""
    for n, drop, disagreement, sides in [(20, 0.2, 0.4, 1), (40, 0.1, 0.3, 1), (40, 0.1, 0.3, 2), (60, 0.0, 0.2, 2), (30, 0.3, 0.3, 1)]:
        rates = [(disagreement + drop) / 2, (disagreement - drop) / 2, 1 - disagreement]
        power = 0.0
        for lost in range(n + 1):
            for gained in range(n + 1 - lost):
                alternative = "two-sided" if sides == 2 else "less"
                p = stats.binomtest(gained, lost + gained, 0.5, alternative).pvalue if lost + gained else 1.0
                if p <= 0.05:
                    power += stats.multinomial.pmf([lost, gained, n - lost - gained], n, rates)
        yield {"n": n, "drop": drop, "disagreement": disagreement, "sides": sides, "power": power}


# Logistic regression


def linear_case(name, rows, labels, weights=None, **options):
    """scikit-learn's model by Newton's method, which finds the minimum to the last digits."""
    rows, labels = np.asarray(rows, dtype=float), np.asarray(labels)
    model = LogisticRegression(solver="newton-cholesky", tol=1e-14, max_iter=1000, class_weight=weights, **options)
    model.fit(rows, labels)
    return {
        "name": name,
        "rows": rows,
        "labels": labels,
        "n_classes": int(labels.max()) + 1,
        "c": options.get("C", 1.0),
        "weights": weights if weights in (None, "balanced") else [weights[k] for k in sorted(weights)],
        "coefficients": model.coef_,
        # Only differences between the intercepts of several classes mean anything.
        "intercepts": model.intercept_ - (model.intercept_.mean() if len(model.intercept_) > 1 else 0),
        "probabilities": model.predict_proba(rows),
    }


def linear(rng):
    shapes = [(30, 3, 2), (60, 5, 3), (40, 8, 5), (12, 40, 2), (20, 60, 4), (25, 25, 3)]
    for (n, d, k), c in zip(shapes, (1.0, 10.0, 0.1, 1.0, 10.0, 100.0)):
        rows = np.round(rng.normal(size=(n, d)), 2) * (rng.random((n, d)) < 0.6)
        labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
        yield linear_case(f"{n} rows, {d} columns, {k} labels, C {c}", rows, labels, C=c)
        yield linear_case(f"{k} balanced labels", rows, labels, weights="balanced", C=c)
    given = dict(enumerate(np.round(rng.random(k) + 0.5, 2).tolist()))
    yield linear_case("given weights", rows, labels, weights=given, C=c)
    twice = np.vstack([rows[:10], rows[:10]])
    yield linear_case("every row twice, wide", twice, np.tile(labels[:10], 2), C=1.0)
    yield linear_case("rows told apart without error", [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1], C=1000.0)


def within_classes(rng):
    """The same with the penalty of linear discriminant analysis: on features whitened by the shrunk covariance within classes."""
    for (n, d, k), shrinkage, c in [((40, 5, 3), 0.6, 10.0), ((30, 60, 5), 0.3, 1.0), ((24, 12, 2), 0.9, 100.0)]:
        rows = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
        labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
        rest = rows - np.array([rows[labels == label].mean(axis=0) for label in range(k)])[labels]
        covariance = rest.T @ rest / n
        shrunk = (1 - shrinkage) * covariance / (np.trace(covariance) / d) + shrinkage * np.eye(d)
        values, vectors = np.linalg.eigh(shrunk)
        whitening = vectors / np.sqrt(values) @ vectors.T
        whitening *= np.sqrt((rows**2).sum() / ((rows @ whitening) ** 2).sum())
        case = linear_case(f"{n} rows, {d} columns, shrinkage {shrinkage}", rows @ whitening, labels, C=c)
        # On the rows as they are.
        yield {**case, "rows": rows, "coefficients": case["coefficients"] @ whitening, "shrinkage": shrinkage}


# Words

SENTENCES = """My card was stolen, what should I do?
I can't find the card that you sent me!
Why was my top-up of £20.50 declined?
Top up failed twice; why?
Is there a fee for exchanging currencies?
ÜBERWEISUNG nach Österreich dauert zu lange
Wie lange dauert eine Überweisung?
a
I
my my my card card
  spaces   and	tabs
under_score and 123 456
Ελλάδα και Ελλάδα""".split("\n")


def words(_):
    """Products of rows with each other: they do not depend on the order of the vocabulary."""
    word = {"analyzer": "word", "token_pattern": r"(?u)\b\w+\b"}
    kinds = {
        "words 1": [{**word, "ngram_range": (1, 1)}],
        "words 2": [{**word, "ngram_range": (1, 2)}],
        "pieces 3 5": [{"analyzer": "char_wb", "ngram_range": (3, 5)}],
        "words 1, pieces 2 4": [{**word, "ngram_range": (1, 1)}, {"analyzer": "char_wb", "ngram_range": (2, 4)}],
    }
    learned = SENTENCES[:9]
    for name, options in kinds.items():
        vectorizers = [TfidfVectorizer(sublinear_tf=True, **o).fit(learned) for o in options]
        rows = normalize(hstack([v.transform(SENTENCES) for v in vectorizers]).tocsr())
        columns = sum(len(v.vocabulary_) for v in vectorizers)
        yield {"name": name, "texts": SENTENCES, "n_learned": 9, "n_columns": columns, "products": (rows @ rows.T).toarray()}


def overlap(rng):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    pairs_of_texts = list(itertools.product(SENTENCES[:7], SENTENCES[:7])) + [("", "a"), ("a", ""), ("Ü", "Ü"), ("İ K", "i k")]
    few = ["the", "cat", "sat", "on", "mat", "Dog's", "1,000"]
    for _ in range(60):
        texts = [" ".join(rng.choice(few, int(rng.integers(0, 14)))) for _ in range(2)]
        pairs_of_texts.append(tuple(texts))
    for reference, text in pairs_of_texts:
        scores = scorer.score(reference, text)
        yield {"reference": reference, "text": text, **{kind: list(score) for kind, score in scores.items()}}


ROOMS = {
    "classification": classification,
    "probabilistic": probabilistic,
    "multilabel": multilabel,
    "proportions": proportions,
    "bootstraps": bootstraps,
    "pairs": pairs,
    "holm": holm,
    "linear": linear,
    "words": words,
    "overlap": overlap,
    "quantiles": quantiles,
    "powers": powers,
    "within_classes": within_classes,
}


def main():
    # scikit-learn finds cases with one label only strange; they are meant.
    warnings.simplefilter("ignore")
    packages = ("numpy", "scipy", "scikit-learn", "statsmodels", "rouge-score")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    lines = [f'"versions": {json.dumps(versions)}']
    for nth, (name, room) in enumerate(ROOMS.items()):
        # A room's cases do not depend on the other rooms'.
        cases = room(np.random.default_rng([2026, nth]))
        rows = ",\n".join(json.dumps(plain(case), allow_nan=False) for case in cases)
        lines.append(f'"{name}": [\n{rows}\n]')
    Path(__file__).with_suffix(".json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
