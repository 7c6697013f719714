"""A tuned LSTM beside TF-IDF and logistic regression, on the same split of the `docstrings` texts::

    python tests/benchmarks/text_accuracy.py --trials 12

The LSTM is tuned in the default space. The linear model learns from the same training samples; its two settings that
matter (how long word sequences are, how strong the penalty) are chosen on the same validation samples. Both are looked
at once on the test set, which holds texts of other modules.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import hpoviz
from hpoviz.data.splitting import split_rows

NGRAMS = ((1, 1), (1, 2))
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)


def tuned_linear(data: hpoviz.Dataset, validation_fraction: float, seed: int) -> tuple[Pipeline, float, str]:
    """Return the best linear model, its validation accuracy, and its settings in words."""
    train, val = split_rows(data.y, validation_fraction, seed, what="validation_fraction", groups=data.groups)
    found = []
    for ngrams, penalty in itertools.product(NGRAMS, PENALTIES):
        model = make_pipeline(
            TfidfVectorizer(ngram_range=ngrams, sublinear_tf=True), LogisticRegression(C=penalty, max_iter=2000)
        )
        model.fit(data.x[train], data.y[train])
        found.append((float(model.score(data.x[val], data.y[val])), f"n-grams {ngrams}, C={penalty:g}", model))
    accuracy, words, model = max(found, key=lambda item: item[0])
    return model, accuracy, words


def main() -> None:
    """Tune both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = hpoviz.load_dataset("docstrings")
    began = time.monotonic()
    opt = hpoviz.Optimizer(data, trials=options.trials, seed=options.seed)
    opt.run()
    searched_s = time.monotonic() - began
    score = opt.evaluate()
    began = time.monotonic()
    linear, validation, words = tuned_linear(data, opt.request.validation_fraction, opt.seed)
    linear_s = time.monotonic() - began
    test = float(np.mean(linear.predict(data.x_test) == data.y_test))
    print(f"\n{data!r}\n")
    print("| model | validation accuracy | test accuracy | seconds | settings |\n|---|---|---|---|---|")
    shown = {name: opt.best_params[name] for name in ("num_layers_lstm", "lstm_units", "bidirectional", "optimizer")}
    settings = ", ".join(f"{name} {value}" for name, value in shown.items())
    print(
        f"| LSTM, best of {options.trials} trials | {opt.best_trial.score:.4f} | {score.accuracy:.4f} "
        f"| {searched_s:.0f} | {settings} |"
    )
    print(f"| TF-IDF + logistic regression | {validation:.4f} | {test:.4f} | {linear_s:.0f} | {words} |")
    print(f"\nThe LSTM is {100 * (score.accuracy - test):+.1f} points from the linear model on {score.samples} texts.")


if __name__ == "__main__":
    main()
