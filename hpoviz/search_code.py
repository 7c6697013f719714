"""The Python that makes and runs the same search again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hpoviz.config import OptimizationConfig, OptimizationRequest
from hpoviz.python_text import wrapped
from hpoviz.results import BASELINE, TrialResult

__all__ = ["search_code"]


def search_code(data: str | None, record: Mapping[str, Any], trials: int, planned: Sequence[TrialResult] = ()) -> str:
    """Return Python that makes and runs the same search.

    Parameters
    ----------
    data : str or None
        The name that `hpoviz.load_dataset` knows it by; None for data of the user's own.
    record : mapping
        The content of ``run.json``.
    trials : int
    planned : sequence of TrialResult
        The baselines and warm starts.

    Examples
    --------
    >>> print(search_code("digits", {"seed": 3, "request": {"epochs": {"range": [2, 4]}, "config": {}}}, 20))
    import hpoviz
    <BLANKLINE>
    opt = hpoviz.Optimizer(
        "digits",
        trials=20,
        seed=3,
        epochs=(2, 4),
    )
    opt.run()
    """
    usual = {field.name: field.default for field in dataclasses.fields(OptimizationRequest)}
    usual |= {"callbacks": []}
    own = [] if data is not None else ["data: a Dataset of yours, see the settings below"]
    lines = [f'"{data}"' if data is not None else "data", f"trials={trials}", f"seed={record['seed']}"]
    for name, value in record["request"].items():
        if name in ("trials", "seed"):
            continue
        if name == "config":
            known = {field.name: field.default for field in dataclasses.fields(OptimizationConfig)}
            changed = [f"{key}={item!r}" for key, item in value.items() if item != known.get(key)]
            lines += [f"config=hpoviz.OptimizationConfig({', '.join(changed)})"] if changed else []
        elif isinstance(value, Mapping) and "object" in value:
            own.append(f"{name}: yours, {value['object']}")
            lines.append(f"{name}={name}")
        elif value != usual.get(name):
            lines.append(f"{name}={_python(value)}")
    notes = "".join(f"# {' '.join(note.split())}\n" for note in own)
    calls = "".join(
        wrapped(f"opt.{'compare_with' if trial.origin == BASELINE else 'warm_start'}({dict(trial.params)!r})", 0) + "\n"
        for trial in planned
    )
    inner = "".join(f"    {wrapped(line, 4)},\n" for line in lines)
    return f"import hpoviz\n\n{notes}opt = hpoviz.Optimizer(\n{inner})\n{calls}opt.run()"


def _python(value: Any) -> str:
    """Return a setting of ``run.json`` as Python."""
    match value:
        case {"range": [*ends]}:
            return f"({', '.join(map(_python, ends))})"
        case {"parameters": {**params}}:
            return f"{{{', '.join(f'{name!r}: {_python(item)}' for name, item in params.items())}}}"
        case [*items]:
            return f"[{', '.join(map(_python, items))}]"
        case _:
            return repr(value)
