"""hpoviz tunes Keras classifiers in a notebook, shows what is inside them, and says whether they are healthy.

Names are loaded when they are first used, so that ``import hpoviz`` takes no time: no TensorFlow, no Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpoviz.architecture.model_visualizer import ModelVisualizer
    from hpoviz.backends.backend import Backend
    from hpoviz.backends.inline import InlineBackend
    from hpoviz.backends.local import LocalBackend
    from hpoviz.backends.runpod import RunPodBackend
    from hpoviz.cards.explain import explain
    from hpoviz.config import OptimizationConfig, OptimizationRequest
    from hpoviz.data.catalog import datasets, load_dataset
    from hpoviz.data.dataset import Dataset
    from hpoviz.data.dataset_source import DatasetSource
    from hpoviz.data.info import DataInfo
    from hpoviz.errors import (
        BackendError,
        ConfigError,
        DatasetError,
        ExportError,
        HpovizError,
        ModelBuildError,
        StoreError,
    )
    from hpoviz.health.health_analyzer import HealthAnalyzer, diagnose
    from hpoviz.health.health_callback import HealthCallback
    from hpoviz.models.cnn import CnnConfig
    from hpoviz.models.lstm import LstmConfig
    from hpoviz.models.model_config import ModelConfig
    from hpoviz.open_run import open_run
    from hpoviz.optimizer import Optimizer
    from hpoviz.widgets.dashboard import Dashboard

__version__ = "0.1.0"

_HOMES = {
    "Backend": "hpoviz.backends.backend",
    "BackendError": "hpoviz.errors",
    "CnnConfig": "hpoviz.models.cnn",
    "ConfigError": "hpoviz.errors",
    "Dashboard": "hpoviz.widgets.dashboard",
    "Dataset": "hpoviz.data.dataset",
    "DataInfo": "hpoviz.data.info",
    "DatasetError": "hpoviz.errors",
    "DatasetSource": "hpoviz.data.dataset_source",
    "ExportError": "hpoviz.errors",
    "HealthAnalyzer": "hpoviz.health.health_analyzer",
    "HealthCallback": "hpoviz.health.health_callback",
    "HpovizError": "hpoviz.errors",
    "InlineBackend": "hpoviz.backends.inline",
    "LocalBackend": "hpoviz.backends.local",
    "RunPodBackend": "hpoviz.backends.runpod",
    "LstmConfig": "hpoviz.models.lstm",
    "ModelBuildError": "hpoviz.errors",
    "ModelConfig": "hpoviz.models.model_config",
    "ModelVisualizer": "hpoviz.architecture.model_visualizer",
    "OptimizationConfig": "hpoviz.config",
    "OptimizationRequest": "hpoviz.config",
    "Optimizer": "hpoviz.optimizer",
    "StoreError": "hpoviz.errors",
    "datasets": "hpoviz.data.catalog",
    "diagnose": "hpoviz.health.health_analyzer",
    "explain": "hpoviz.cards.explain",
    "load_dataset": "hpoviz.data.catalog",
    "open_run": "hpoviz.open_run",
}

__all__ = [
    "Backend",
    "BackendError",
    "CnnConfig",
    "ConfigError",
    "Dashboard",
    "DataInfo",
    "Dataset",
    "DatasetError",
    "DatasetSource",
    "ExportError",
    "HealthAnalyzer",
    "HealthCallback",
    "HpovizError",
    "InlineBackend",
    "LocalBackend",
    "LstmConfig",
    "ModelBuildError",
    "ModelConfig",
    "ModelVisualizer",
    "OptimizationConfig",
    "OptimizationRequest",
    "Optimizer",
    "RunPodBackend",
    "StoreError",
    "datasets",
    "diagnose",
    "explain",
    "load_dataset",
    "open_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpoviz' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    kept = [name for name in globals() if name.startswith("__")]
    return sorted({*kept, *__all__})
