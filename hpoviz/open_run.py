"""open_run: an Optimizer over a run that is on disk, to look at it or to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpoviz.data.catalog import load_dataset
from hpoviz.data.dataset import Dataset
from hpoviz.data.recorded_data import RecordedData
from hpoviz.errors import DatasetError
from hpoviz.optimizer import Optimizer
from hpoviz.plugins import plugin_names
from hpoviz.run_record import request_from_record
from hpoviz.store.run_log import RunLog
from hpoviz.store.run_store import RunStore

__all__ = ["open_run"]


def open_run(
    path: str | Path,
    *,
    data: Dataset | None = None,
    build_model: Callable[..., Any] | None = None,
    search_space: Callable[[Any], Mapping[str, Any]] | None = None,
    callbacks: Sequence[Any] | None = None,
    backend: Any = None,
    sampler: Any = None,
    pruner: Any = None,
) -> Optimizer:
    """Open a run: look at its results, or go on with ``run()`` or ``run(more_trials=n)``.

    The study is rebuilt from the run's events. Trials that were running when the process ended run again with the same
    parameters. While another process writes the run, this one can only look.

    Parameters
    ----------
    path : str or Path
        The run's folder.
    data : Dataset, optional
        The run's data, to go on or to look at the test set; not needed where they have a name that `load_dataset`
        knows. Without them results, figures, models and the report can be looked at all the same.
    build_model, search_space, callbacks, backend, sampler, pruner : optional
        To be passed again before the run can go on, where they were functions or objects, which no file can hold; to
        look at the run they are not needed.

    Raises
    ------
    StoreError
        No run there, damaged, or written by a newer hpoviz. A folder of runs is no run: the message lists them.
    DatasetError
        Other data than those of the run.

    Examples
    --------
    >>> open_run("no/such/run")
    Traceback (most recent call last):
        ...
    hpoviz.errors.StoreError: 'no/such/run' is no run of hpoviz: it has no run.json. Name the folder of a run.
    """
    store, record = RunStore.open(Path(path))
    log = RunLog(record["run"], store, store.events())
    request, missing = request_from_record(
        record["request"],
        build_model=build_model,
        search_space=search_space,
        callbacks=callbacks,
        backend=backend,
        sampler=sampler,
        pruner=pruner,
    )
    return Optimizer._reopened(request, missing, _data(data, record["data"]), log, record)


def _data(data: Dataset | None, known: Mapping[str, Any]) -> Dataset:
    """Return the data of the run: as passed, or by their name, or else what stands for them."""
    name, given = known["name"], data is not None
    refusal = (
        f"The data {name!r} of this run must be passed again: open_run(…, data=…). Results, figures and models can be "
        "looked at without them."
    )
    if data is None:
        if name not in plugin_names("hpoviz.datasets"):
            return RecordedData.of(known, refusal)
        data = load_dataset(name)
    if data.sha256 == known["sha256"]:
        return data
    if not given:
        return RecordedData.of(known, f"{refusal} The data set of that name is another one: its hash differs.")
    raise DatasetError(
        f"The run was made with other data named {name!r}: the hash of the samples differs. Pass the same "
        "samples in the same order, with the same test set."
    )
