"""Where trials run, as the dashboard's settings have it: a backend by its name, and a switch for RunPod."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from hpoviz.backends.runpod import RunPodBackend
from hpoviz.backends.runpod_client import ENDPOINT_VARIABLE
from hpoviz.errors import ConfigError
from hpoviz.plugins import plugin_names

__all__ = ["BackendChoice"]


@dataclasses.dataclass(frozen=True)
class BackendChoice:
    """What is chosen, and the RunPod endpoint that can be chosen beside it.

    Attributes
    ----------
    backend : str or Backend
    runpod : RunPodBackend, optional
        The one that was passed in code, also while trials are to run elsewhere.
    """

    backend: Any
    runpod: RunPodBackend | None = None

    @property
    def on_runpod(self) -> bool:
        """Whether trials are to run on RunPod."""
        return isinstance(self.backend, RunPodBackend)

    @property
    def known(self) -> RunPodBackend | None:
        """The endpoint that was passed in code, or chosen before."""
        return self.backend if isinstance(self.backend, RunPodBackend) else self.runpod

    @property
    def name(self) -> str | None:
        """The backend's name; None for an object of the user's own."""
        return self.backend if isinstance(self.backend, str) else "local" if self.on_runpod else None

    def switch(self) -> dict[str, Any] | None:
        """Return what the switch says; None where RunPod is not set up, or the user has brought another backend."""
        if self.known is None and (self.name is None or not RunPodBackend.is_configured()):
            return None
        title = f"RunPod endpoint {os.environ[ENDPOINT_VARIABLE]}" if self.known is None else self.known.describe()
        return {"on": self.on_runpod, "title": title}

    def taken(self, settings: Mapping[str, Any], workers: Any) -> dict[str, Any]:
        """Return ``backend`` of filled-in settings, and ``workers`` where a backend object has its own.

        Raises
        ------
        ConfigError
            There is no backend of that name, or the environment names no endpoint that could be.
        """
        if settings.get("runpod", self.on_runpod) and self.switch() is not None:
            made = self.known or RunPodBackend(**({} if workers is None else {"workers": workers}))
            return {"backend": made, "workers": None}
        if self.name is None:
            return {"backend": self.backend}
        name, names = settings.get("backend", self.name), plugin_names("hpoviz.backends")
        if not isinstance(name, str) or name not in names:
            raise ConfigError(f"backend must be one of {', '.join(map(repr, names))}. Got {name!r}.")
        return {"backend": name}
