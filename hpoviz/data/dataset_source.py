"""DatasetSource: a data set that `load_dataset` knows by name, with what people want to know before they load it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from hpoviz.data.dataset import Dataset

__all__ = ["DatasetSource", "class_names"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """What an entry point of group ``hpoviz.datasets`` names; ``hpoviz.testing`` has the contract test for it.

    Attributes
    ----------
    name : str
    kind : {"image", "text"}
    classes : int
    shape : str
        Of one sample, in words.
    train, test : int
        Numbers of samples; validation data are part of the training samples.
    licence : str
    good_for : str
        What one would take it for.
    link : str
        Where it is described.
    load : callable
        Returns the `Dataset`; its keywords are those that `load_dataset` passes on.
    """

    name: str
    kind: str
    classes: int
    shape: str
    train: int
    test: int
    licence: str
    good_for: str
    link: str
    load: Callable[..., Dataset]

    def facts(self) -> dict[str, Any]:
        """Return everything but the loader."""
        fields = [field.name for field in dataclasses.fields(self) if field.name != "load"]
        return {name: getattr(self, name) for name in fields}


def class_names(name: str) -> list[str] | None:
    """Return the names of the classes of one of hpoviz's own data sets; None where the labels are names enough."""
    known = json.loads(files("hpoviz.data").joinpath("class_names.json").read_text(encoding="utf-8"))
    names: list[str] | None = known.get(name)
    return names
