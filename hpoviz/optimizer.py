"""Optimizer: the front door of a search."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpoviz import _html
from hpoviz._display import ProgressPump
from hpoviz.backends.backend import Backend
from hpoviz.config import OptimizationRequest
from hpoviz.data.catalog import load_dataset
from hpoviz.data.dataset import Dataset
from hpoviz.errors import ConfigError, HpovizError
from hpoviz.models.model_config import family_for, load_family
from hpoviz.models.user_code import pack_user_code
from hpoviz.models.user_model import OWN_MODEL, UserModelFamily, check_user_model
from hpoviz.plugins import load_plugin
from hpoviz.progress import ProgressView, TrialTable
from hpoviz.results import RunStatus
from hpoviz.run_record import Missing, data_record, execution_record, request_record
from hpoviz.run_results import RunResults
from hpoviz.search.sampler import make_pruner, make_sampler, try_space
from hpoviz.search.space import CustomSpace, SearchSpace, own_parameters
from hpoviz.store.run_log import RunLog
from hpoviz.store.run_store import RunStore, check_run_dir, new_run_dir
from hpoviz.study_runner import StudyRunner

__all__ = ["Optimizer"]


class Optimizer(RunResults):
    """Searches the hyperparameters of a Keras classifier; creates nothing on disk before `start` or `run`.

    Not thread-safe: use it from one thread. The search itself runs in a thread of its own.

    Parameters
    ----------
    data : Dataset or str
        What to classify; a string names a data set for `hpoviz.load_dataset`.
    **settings
        The fields of `hpoviz.OptimizationRequest`, described there: trials, objective, seed, epochs,
        search_space, architecture, build_model, callbacks, backend, workers, sampler, pruner, validation_fraction,
        max_parameters, max_trial_minutes, run_dir, config.

    Raises
    ------
    ConfigError, DatasetError, StoreError
        For settings, data or a run_dir that cannot work; each says what to do.

    Examples
    --------
    >>> opt = Optimizer("digits", trials=20, search_space={"activation": "relu"}, seed=0)
    >>> opt.status()
    not started: no trials of 20; 0 s
    """

    def __init__(self, data: Dataset | str = "digits", **settings: Any) -> None:
        request = OptimizationRequest.from_keywords(settings)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        self._set_up(request, _dataset(data), seed)
        self._folder = new_run_dir(self.data.name) if request.run_dir is None else Path(request.run_dir)
        check_run_dir(self._folder)

    @classmethod
    def _reopened(
        cls,
        request: OptimizationRequest,
        missing: list[Missing],
        data: Dataset,
        log: RunLog,
        record: dict[str, Any],
    ) -> Optimizer:
        """Return an optimizer over a run on disk; see `open_run`."""
        opt = cls.__new__(cls)
        opt._set_up(request, data, record["seed"], record["architecture"])
        opt._folder, opt._log, opt._record, opt._missing = log.store.folder, log, record, missing
        with log.reading() as state:
            opt._wanted = state.wanted or request.trials
        return opt

    def _set_up(self, request: OptimizationRequest, data: Dataset, seed: int, architecture: str | None = None) -> None:
        self.request, self.data, self.seed = request, data, seed
        self._split = data.split(request.validation_fraction, seed)
        if request.build_model is None:
            self._architecture = architecture or request.architecture or family_for(data.kind)
            self._family = load_family(self._architecture)
        else:
            self._architecture, self._family = OWN_MODEL, UserModelFamily(request.build_model)
        self._space = self._make_space()
        self._code = self._pack_code()
        make_sampler(request.sampler, seed, request.config.startup_trials)
        make_pruner(request.pruner)
        self._backend = _backend(request)
        self._log = None  # from the start on, when the run is on disk
        self._record = {}
        self._missing: list[Missing] = []
        self._runner: StudyRunner | None = None
        self._pump: ProgressPump | None = None
        self._wanted = request.trials

    # --- running -----------------------------------------------------------------------------------------------

    def start(self, more_trials: int = 0) -> None:
        """Start the search in the background, show its progress, and return at once.

        Parameters
        ----------
        more_trials : int
            Trials on top of those asked for so far.

        Raises
        ------
        ConfigError
            The search is running already, or something must be passed again to `open_run`.
        StoreError
            The run's folder cannot be created.
        """
        if isinstance(more_trials, bool) or not isinstance(more_trials, int) or more_trials < 0:
            raise ConfigError(f"more_trials must be a whole number, at least 0. Got {more_trials!r}.")
        if self._runner is not None and self._runner.running:
            raise ConfigError("This search is running already. Call wait() or stop() first.")
        if self._missing:
            raise ConfigError("\n".join(map(str, self._missing)))
        if self._log is None:
            self._create()
        assert self._log is not None  # it was created or reopened
        runner = self._study_runner()
        told = len(self._ended())
        runner.start(self._wanted + more_trials)
        self._wanted += more_trials
        self._pump = ProgressPump(self._log.reading, self._is_running, self._title(), told)
        self._pump.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the search ends, and return whether it has; an error of the search itself is raised here."""
        if self._runner is None:
            return True
        if not self._runner.wait(timeout_s):
            return False
        if self._pump is not None:
            self._pump.finish()
        if self._runner.error is not None:
            error, self._runner.error = self._runner.error, None
            raise error
        return True

    def stop(self) -> None:
        """Stop the search cleanly, within about 2 seconds; trials that have ended are kept."""
        if self._runner is not None and self._runner.running:
            self._runner.stop()
            self.wait()

    def run(self, more_trials: int = 0) -> None:
        """Search and wait for the end. Ctrl-C, or interrupting the kernel, stops cleanly and keeps what is done."""
        try:
            self.start(more_trials)
            self.wait()
        except KeyboardInterrupt:
            self.stop()
            print(f"Interrupted: stopped cleanly. {self.status()}. run() goes on.", flush=True)

    def status(self) -> RunStatus:
        """Return where the search stands."""
        with self._reading() as state:
            counts, best, phase = dict(state.counts), state.best, state.finished_reason
            elapsed = state.seconds() if self._is_running() else state.elapsed_s
        phase = phase or self._open_phase()
        names = ("finished", "running", "pruned", "failed", "infeasible", "cancelled")
        return RunStatus(
            phase=phase,
            wanted=self._wanted,
            best_score=best.score if best else None,
            best_number=best.number if best else None,
            elapsed_s=elapsed,
            **{name: counts.get(name, 0) for name in names},
        )

    # --- display -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        facts = "\n".join(f"  {name}: {value}" for name, value in self._facts())
        return f"<Optimizer\n{facts}\n  status: {self.status()}>"

    def _repr_html_(self) -> str:
        if self._log is None:
            return _html.settings(self._title(), self._facts(), self._space.describe())
        with self._reading() as state:
            return _html.progress(self._title(), ProgressView.of(state), TrialTable.of(state))

    def _facts(self) -> list[tuple[str, str]]:
        request, split = self.request, self._split
        limits = {"max_parameters": request.max_parameters, "max_trial_minutes": request.max_trial_minutes}
        limits["timeout_hours"] = request.config.timeout_hours
        return [
            ("data", f"{self.data.name}: {len(split.x_train)} training, {len(split.x_val)} validation samples"),
            ("test set", f"{len(self.data.x_test)} samples, {self.data.test_origin}; for evaluate() only"),
            ("trials", str(self._wanted)),
            ("objective", f"{request.objective} on the validation samples"),
            ("architecture", self._architecture_text()),
            ("backend", self._backend.describe()),
            ("sampler", str(request.sampler)),
            ("pruner", str(request.pruner)),
            ("early stopping", f"after {request.config.early_stopping_patience} epochs without a better one"),
            ("limits", ", ".join(f"{name}={value}" for name, value in limits.items() if value) or "none"),
            ("seed", f"{self.seed}{'' if request.seed is not None else ' (drawn)'}"),
            ("run_dir", f"{self._folder}{'' if self._log else ' (created at start)'}"),
        ]

    def _architecture_text(self) -> str:
        function = self.request.build_model
        if function is None:
            return self._architecture
        name = function.was if isinstance(function, Missing) else getattr(function, "__qualname__", repr(function))
        return f"your own: {name}"

    def _title(self) -> str:
        return f"hpoviz · {self.data.name} · {self._backend.describe()} · {self._folder}"

    # --- parts -------------------------------------------------------------------------------------------------

    def _make_space(self) -> SearchSpace | CustomSpace:
        request = self.request
        wish, epochs = request.search_space, request.epochs
        declared = self._family.parameters()
        if callable(wish):
            if epochs is not None:
                raise ConfigError(
                    "epochs and a search_space function exclude each other. Return 'epochs' from the function."
                )
            space = CustomSpace(declared, wish, open_=request.build_model is not None)
            return space if isinstance(wish, Missing) else _checked_custom(space)
        if epochs is not None and isinstance(wish, Mapping) and "epochs" in wish:
            raise ConfigError("epochs is given twice: as a setting and in search_space. Leave one of them out.")
        if epochs is not None and (wish is None or isinstance(wish, Mapping)):
            wish = {**(wish or {}), "epochs": epochs}
        info = self._split.info
        if request.build_model is not None:
            own = own_parameters(wish, declared)
            fixed = {name: item.default for name, item in declared.items()}  # searched only where the user says so
            wish = fixed | {name: value for name, value in wish.items() if name in declared}
            declared = own | declared
        return SearchSpace(
            declared,
            wish,
            structure=self._family.structure,
            misfit=lambda values: self._family.misfit(values, info),
        )

    def _pack_code(self) -> bytes | None:
        """Pack the user's model and callbacks for the workers, once it is sure that the model can be used."""
        request = self.request
        if isinstance(request.build_model, Missing):
            return None
        if request.callbacks:
            import keras

            wrong = [item for item in request.callbacks if not isinstance(item, keras.callbacks.Callback)]
            if wrong:
                raise ConfigError(f"callbacks must be objects of keras.callbacks.Callback. Got {wrong[0]!r}.")
        code = pack_user_code(request.build_model, request.callbacks)
        if request.build_model is not None and not isinstance(request.search_space, Missing):
            params = try_space(self._space)
            model = UserModelFamily(request.build_model).from_dict(params)
            check_user_model(model, params, self.data.x, self.data.y, self._split.info)
        return code

    def _create(self) -> None:
        """Create the run on disk."""
        request = self.request
        self._record = {
            "run": self._folder.name,
            "data": data_record(self.data, self._split),
            "objective": request.objective,
            "weights": {"accuracy": 1.0},
            "architecture": self._architecture,
            "seed": self.seed,
            "search_space": self._space.describe(),
            "request": request_record(request),
            **execution_record(request, self._backend.describe()),
        }
        self._log = RunLog(self._folder.name, RunStore.create(self._folder, self._record))

    def _study_runner(self) -> StudyRunner:
        """Return what runs the study of a run that is on disk."""
        assert self._log is not None  # it was created or reopened
        if self._runner is None:
            self._runner = StudyRunner(
                self.request,
                seed=self.seed,
                record=self._record,
                log=self._log,
                data=self._split,
                code=self._code,
                space=self._space,
                backend=self._backend,
            )
        return self._runner

    def _importances(self) -> dict[str, float]:
        return {} if self._is_running() else self._study_runner().importances()

    def _open_phase(self) -> str:
        """Say where a run is that has not ended."""
        if self._log is None:
            return "not started"
        if self._is_running():
            return "running"
        writer = self._log.store.writer()
        return f"written by {writer}" if writer else "interrupted"

    def _is_running(self) -> bool:
        return self._runner is not None and self._runner.running


def _dataset(data: Any) -> Dataset:
    if isinstance(data, str):
        return load_dataset(data)
    if not isinstance(data, Dataset):
        raise ConfigError(
            f"data must be an hpoviz.Dataset or the name of one. Got {type(data).__name__}. "
            "Make one with hpoviz.Dataset.from_arrays(x, y)."
        )
    return data


def _backend(request: OptimizationRequest) -> Backend:
    if isinstance(request.backend, str):
        backend = load_plugin("hpoviz.backends", request.backend)(workers=request.workers)
    else:
        backend = request.backend
    if not isinstance(backend, Backend):
        raise ConfigError(f"backend must be 'local', 'inline' or a backend object. Got {request.backend!r}.")
    if request.workers is not None and backend is request.backend:
        raise ConfigError("workers belongs to the backend object that you gave. Leave workers out.")
    return backend


def _checked_custom(space: CustomSpace) -> CustomSpace:
    """Try the user's function once on a throw-away trial, so that its mistakes show before the search."""
    try:
        try_space(space)
    except HpovizError:
        raise
    except Exception as error:
        raise ConfigError(f"The search_space function failed on a trial: {type(error).__name__}: {error}.") from error
    return space


Optimizer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # so that Shift-Tab shows the settings
    [
        inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="digits"),
        *(
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(OptimizationRequest).parameters.values()
        ),
    ]
)
