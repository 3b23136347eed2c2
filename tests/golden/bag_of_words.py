"""scikit-learn's pipeline on the rows of `crates/stats/examples/bag_of_words.rs`, to compare accuracy, loss and seconds.

    cargo run --release -p slm-stats --example bag_of_words -- --rows DATA LABEL 5 10 20 | venv/bin/python tests/golden/bag_of_words.py
"""

import json
import sys
import time

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import Normalizer

C = 30


def pipeline():
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    pieces = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 4))
    return make_pipeline(make_union(words, pieces), Normalizer(), LogisticRegression(C=C, max_iter=1000))


def main():
    rows = [json.loads(line) for line in sys.stdin]
    for size in sorted({row["size"] for row in rows}):
        part = {
            split: [(row["text"], row["label"]) for row in rows if row["size"] == size and row["split"] == split]
            for split in ("learned", "reported")
        }
        (texts, labels), (others, truths) = (map(list, zip(*part[split])) for split in ("learned", "reported"))
        started = time.process_time()
        model = pipeline().fit(texts, labels)
        seconds = time.process_time() - started
        probabilities = model.predict_proba(others)
        accuracy = np.mean(model.classes_[probabilities.argmax(axis=1)] == truths)
        loss = log_loss(truths, probabilities, labels=model.classes_)
        started = time.process_time()
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        within = cross_val_predict(pipeline(), texts, labels, cv=folds, method="predict_proba")
        folded = time.process_time() - started
        own = np.mean(model.classes_[within.argmax(axis=1)] == labels)
        print(
            f"{size} a label ({len(texts)} rows): on {len(others)} others accuracy {accuracy:.4f}, log loss {loss:.4f}, "
            f"fit {seconds:.2f} s; in 5 folds accuracy {own:.4f}, {folded:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
