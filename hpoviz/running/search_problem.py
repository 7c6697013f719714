"""SearchProblem: what a search looks for, made of its settings and its data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hpoviz.config import OptimizationRequest
from hpoviz.data.data_recipe import search_maker
from hpoviz.data.data_split import DataSplit
from hpoviz.data.dataset import Dataset
from hpoviz.data.recorded_data import RecordedData
from hpoviz.data.validation_samples import ValidationSamples
from hpoviz.errors import ConfigError, HpovizError, nearest
from hpoviz.health.metric import LEAST_EPOCHS, LEAST_OF_CLASS, LEAST_ROWS
from hpoviz.models.model_config import ModelConfig, family_for, load_family
from hpoviz.models.sent_model import check_sent_model
from hpoviz.models.trial_model import ModelFamily
from hpoviz.models.user_code import pack_user_code
from hpoviz.models.user_model import OWN_MODEL, UserModelFamily, check_user_model
from hpoviz.results import BEST
from hpoviz.run_record import Missing
from hpoviz.search.parameter import said_once
from hpoviz.search.sampler import try_space
from hpoviz.search.space import CustomSpace, SearchSpace, own_parameters

__all__ = ["SearchProblem"]


class SearchProblem:
    """The data as they are split, the models that can be built for them, and the space that is searched.

    Parameters
    ----------
    request : OptimizationRequest
        A `Missing` in the place of a function is enough to look at a run.
    data : Dataset
        `RecordedData` is enough to look at a run.
    seed : int
        Of the split.
    architecture : str, optional
        That of a run on disk. None: the request's, or the first for the kind of data.
    takes_code : bool
        See `Backend`. If not, a model of the user's own is also tried on its way to another machine.

    Attributes
    ----------
    split : DataSplit
    architecture : str
    family : ModelFamily
    space : SearchSpace or CustomSpace
    code : bytes or None
        The user's own model and callbacks, packed for the workers.

    Raises
    ------
    ConfigError, DatasetError
        For whatever cannot work, a model of the user's own included.
    """

    def __init__(
        self,
        request: OptimizationRequest,
        data: Dataset,
        seed: int,
        architecture: str | None = None,
        *,
        takes_code: bool = True,
    ) -> None:
        self.request, self._data, self._seed, self._takes_code = request, data, seed, takes_code
        self.split = data.split(request.validation_fraction, seed)
        self.family: ModelFamily
        if request.build_model is None:
            self.architecture = architecture or request.architecture or family_for(data.kind)
            self.family = load_family(self.architecture)
        else:
            self.architecture, self.family = OWN_MODEL, UserModelFamily(request.build_model)
        self.space = self._make_space()
        self._check_objective()
        self.code = self._pack_code(data)

    @functools.cached_property
    def validation_samples(self) -> ValidationSamples:
        """The samples that trials are compared on, in the order of the split, as they came."""
        data = self._data
        _, rows = data.split_rows(self.request.validation_fraction, self._seed)
        return ValidationSamples(x=data.x, y=data.y, rows=rows, class_names=data.class_names)

    def data_maker(self) -> Callable[[], DataSplit]:
        """Return what gives the split, and of a data set by name also says how another machine makes it."""
        return search_maker(self._data, self.split, self.request.validation_fraction, self._seed)

    def describe_architecture(self) -> str:
        """Name the model family, or the user's own function."""
        function = self.request.build_model
        if function is None:
            return self.architecture
        name = function.was if isinstance(function, Missing) else getattr(function, "__qualname__", repr(function))
        return f"your own: {name}"

    def defaults(self) -> dict[str, Any] | None:
        """Return what the space has nearest to the defaults; None where nobody has declared any."""
        declared = self.request.build_model is None and isinstance(self.space, SearchSpace)
        return self.space.near({})[1] if declared else None

    def completed(self, params: Any) -> dict[str, Any]:
        """Return parameters, inside or outside of the space, with a value for every one; ConfigError if wrong."""
        if not isinstance(params, Mapping):
            raise ConfigError(f"params must be a dictionary of parameters. Got {params!r}.")
        known = self.space.near({})[1]
        params = said_once(params, known)
        together: dict[str, Any] = known | params
        if isinstance(self.family, UserModelFamily):
            unknown = [name for name in params if name not in known]
            if unknown and isinstance(self.space, SearchSpace):
                raise ConfigError(f"search_space has no parameter {unknown[0]!r}.{nearest(unknown[0], known)}")
            return together
        config = self.family.from_dict(together)
        complete = config.to_dict() if isinstance(config, ModelConfig) else together
        reason = self.family.misfit({name: complete[name] for name in self.family.structure}, self.split.info)
        if reason is not None:
            raise ConfigError(f"These parameters make no model for this data: {reason}")
        return complete

    def _make_space(self) -> SearchSpace | CustomSpace:
        request, declared = self.request, self.family.parameters()
        wish, epochs, own_model = request.search_space, request.epochs, request.build_model is not None
        if callable(wish):
            if epochs is not None:
                raise ConfigError(
                    "epochs and a search_space function exclude each other. Return 'epochs' from the function."
                )
            space = CustomSpace(declared, wish, open_=own_model)
            return space if isinstance(wish, Missing) else _tried(space)
        if epochs is not None and isinstance(wish, Mapping) and "epochs" in wish:
            raise ConfigError("epochs is given twice: as a setting and in search_space. Leave one of them out.")
        if epochs is not None and (wish is None or isinstance(wish, Mapping)):
            wish = {**(wish or {}), "epochs": epochs}
        if own_model and isinstance(wish, Mapping):
            own = own_parameters(wish, declared)
            fixed = {name: item.default for name, item in declared.items()}  # searched only where the user says so
            wish = fixed | {name: value for name, value in wish.items() if name in declared}
            declared = own | declared
        if isinstance(wish, Mapping):
            wish = said_once(wish, declared)
        info = self.split.info
        return SearchSpace(
            declared,
            wish,
            structure=self.family.structure,
            misfit=lambda values: self.family.misfit(values, info),
        )

    def _check_objective(self) -> None:
        """Raise ConfigError where the health that is asked for could not be known of any trial."""
        request, problems = self.request, []
        if (request.objective == "accuracy" and request.select == BEST) or isinstance(self._data, RecordedData):
            return
        rows, largest = len(self.split.y_val), sorted(np.bincount(self.split.y_val))[-2:]
        if rows < LEAST_ROWS:
            problems.append(
                f"Health is known from {LEAST_ROWS} validation samples on, and there are {rows}: give more data, or a "
                "larger validation_fraction."
            )
        elif len(largest) < 2 or largest[0] < LEAST_OF_CLASS:
            problems.append(
                f"Health needs two classes of at least {LEAST_OF_CLASS} validation samples each: give more data, or a "
                "larger validation_fraction."
            )
        epochs = self.space.domains["epochs"] if isinstance(self.space, SearchSpace) else None
        least = None if epochs is None else min(epochs.choices) if epochs.choices else epochs.low
        stability = request.objective != "accuracy" and request.scoring.metrics["training_stability"] > 0
        if stability and least is not None and least < LEAST_EPOCHS:
            problems.append(
                f"objective={request.objective!r} needs trials of at least {LEAST_EPOCHS} epochs, as the stability of "
                f"shorter ones cannot be known. Got epochs from {least:g} on."
            )
        if problems:
            raise ConfigError("\n".join(problems))

    def _pack_code(self, data: Dataset) -> bytes | None:
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
        can_try = not isinstance(request.search_space, Missing) and not isinstance(data, RecordedData)
        if request.build_model is not None and can_try:
            params = try_space(self.space)
            model = UserModelFamily(request.build_model).from_dict(params)
            check_user_model(model, params, data.x, data.y, self.split.info)
            if not self._takes_code:
                check_sent_model(model, data.x, self.split.info, self._seed)
        return code


def _tried(space: CustomSpace) -> CustomSpace:
    """Try the user's function once on a throw-away trial, so that its mistakes show before the search."""
    try:
        try_space(space)
    except HpovizError:
        raise
    except Exception as error:
        raise ConfigError(f"The search_space function failed on a trial: {type(error).__name__}: {error}.") from error
    return space
