"""ModelSender: the user's own models on their way to workers that are no processes of this machine."""

from __future__ import annotations

import time
from typing import Any

from hpoviz.backends.backend import RunContext
from hpoviz.data.info import DataInfo
from hpoviz.errors import ConfigError
from hpoviz.events import TrialFailed
from hpoviz.models.sent_model import pack_model
from hpoviz.models.user_code import UserCode
from hpoviz.models.user_model import UserModel
from hpoviz.trial_spec import TrialSpec

__all__ = ["ModelSender"]


class ModelSender:
    """Builds the model of each trial here, and puts Keras' description of it into the trial's job.

    The thread that runs the search alone uses it; it has to wait while a model is built.

    Parameters
    ----------
    context : RunContext

    Raises
    ------
    ConfigError
        There are callbacks, which Keras cannot describe.
    """

    def __init__(self, context: RunContext) -> None:
        self._context, self._code = context, UserCode.unpack(context.code)
        self._infos: dict[str, DataInfo] = {}
        if self._code.packed_callbacks:
            raise ConfigError(
                "callbacks= run on this machine only: Keras has no description of them that can be sent to another. "
                "Leave them out (early stopping is early_stopping_patience of config=, a learning rate that changes is "
                "a keras.optimizers.schedules object in the optimizer of build_model), or use backend='local'."
            )

    def add_to(self, content: dict[str, Any], spec: TrialSpec) -> TrialFailed | None:
        """Put the user's model, if the trial has one, into the input of its job.

        Parameters
        ----------
        content : dict
            Receives ``model``.
        spec : TrialSpec

        Returns
        -------
        TrialFailed or None
            How the trial ends that has no model: as it would have ended in a worker process of this machine.
        """
        family, began = self._code.family(spec.architecture), time.monotonic()
        if family is None:
            return None
        try:
            model = family.from_dict(spec.params)
            assert isinstance(model, UserModel)  # it is made of a build_model
            content["model"] = pack_model(model, self._info(spec.data), spec.seed)
        except (Exception, SystemExit) as error:  # of the user's function
            from hpoviz.training.failure import failure_of

            return TrialFailed(
                run=spec.run,
                trial=spec.trial,
                attempt=spec.attempt,
                **failure_of(error),
                seconds=time.monotonic() - began,
            )
        return None

    def _info(self, name: str) -> DataInfo:
        if name not in self._infos:
            self._infos[name] = self._context.data[name]().info
        return self._infos[name]
