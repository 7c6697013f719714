"""What ``run.json`` says of a run, and the request that can be rebuilt from it."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from hpoviz.config import OptimizationConfig, OptimizationRequest
from hpoviz.data.data_split import DataSplit
from hpoviz.data.dataset import Dataset
from hpoviz.errors import ConfigError, StoreError

__all__ = ["Missing", "data_record", "execution_record", "request_from_record", "request_record"]

VERSIONED = ("hpoviz", "tensorflow", "keras", "optuna", "numpy", "scikit-learn", "pandas")
OBJECTS = ("search_space", "build_model", "backend", "sampler", "pruner")  # may be objects, which JSON cannot hold
STAND_INS = {"callbacks": (), "backend": "local", "sampler": "tpe", "pruner": None}  # while one only looks
LATER = ("run_dir", "config")


def request_record(request: OptimizationRequest) -> dict[str, Any]:
    """Return a request as JSON values; ranges and objects are marked as such.

    Examples
    --------
    >>> record = request_record(OptimizationRequest(search_space={"filters": (8, 16)}, epochs=(2, 4)))
    >>> record["search_space"], record["epochs"]
    ({'parameters': {'filters': {'range': [8, 16]}}}, {'range': [2, 4]})
    """
    fields = [field.name for field in dataclasses.fields(request) if field.name not in LATER]
    record = {name: _encoded(name, getattr(request, name)) for name in fields}
    return {**record, "config": dataclasses.asdict(request.config)}


@dataclasses.dataclass(frozen=True)
class Missing:
    """Stands for a function or object of an earlier process that was not passed again: enough to look at a run."""

    name: str
    was: str

    def __str__(self) -> str:
        return f"{self.name} was {self.was}, which no file can hold. Pass it again: open_run(…, {self.name}=…)."

    def __call__(self, *args: Any) -> Any:
        raise ConfigError(str(self))


def request_from_record(record: Mapping[str, Any], **replaced: Any) -> tuple[OptimizationRequest, list[Missing]]:
    """Rebuild a request, and say what must be passed again before the run can go on.

    Parameters
    ----------
    record : mapping
        What `request_record` returned.
    **replaced
        Objects passed again; None where they were not.

    Raises
    ------
    StoreError
        The record was changed by hand to something that is no request.
    """
    given = {name: value for name, value in replaced.items() if value is not None}
    settings = {name: _decoded(value) for name, value in record.items() if name != "config"} | given
    missing = [
        Missing(name, value["object"])
        for name, value in record.items()
        if isinstance(value, Mapping) and "object" in value and name not in given
    ]
    if "backend" in given:
        settings["workers"] = None  # those of the backend that was used then
    for item in missing:
        settings[item.name] = STAND_INS.get(item.name, item)
    try:
        return OptimizationRequest(**settings, config=OptimizationConfig(**record["config"])), missing
    except (ConfigError, TypeError, KeyError) as error:
        raise StoreError(f"run.json holds settings that are not possible, so it was changed: {error}") from error


def data_record(data: Dataset, split: DataSplit) -> dict[str, Any]:
    """Return what is said of the data: enough to recognise them."""
    return {
        "name": data.name,
        "kind": data.kind,
        "shape": list(split.info.input_shape),
        "classes": list(data.class_names),
        "train": len(split.x_train),
        "validation": len(split.x_val),
        "test": len(data.x_test),
        "test_origin": data.test_origin,
        "sha256": data.sha256,
    }


def execution_record(request: OptimizationRequest, backend: str) -> dict[str, Any]:
    """Return how the trials are run, and with which versions."""
    config = request.config
    return {
        "execution": {
            "backend": backend,
            "sampler": str(request.sampler),
            "pruner": str(request.pruner),
            "validation_fraction": request.validation_fraction,
            "max_parameters": request.max_parameters,
            "max_trial_minutes": request.max_trial_minutes,
            **dataclasses.asdict(config),
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
    }


def _encoded(name: str, value: Any) -> Any:
    if name == "callbacks":
        return {"object": ", ".join(type(item).__name__ for item in value)} if value else []
    if name in OBJECTS and not isinstance(value, (str, Mapping, type(None))):
        return {"object": getattr(value, "__qualname__", None) or type(value).__qualname__}
    if isinstance(value, Mapping):
        return {"parameters": {key: _encoded("", item) for key, item in value.items()}}
    if isinstance(value, tuple):
        return {"range": [_encoded("", item) for item in value]}
    if isinstance(value, list):
        return [_encoded("", item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _decoded(value: Any) -> Any:
    match value:
        case {"range": ends}:
            return tuple(ends)
        case {"parameters": parameters}:
            return {key: _decoded(item) for key, item in parameters.items()}
        case _:
            return value
