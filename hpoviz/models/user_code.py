"""UserCode: the user's own functions and objects on their way to worker processes of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle

from hpoviz.errors import ConfigError
from hpoviz.models.trial_model import ModelFamily
from hpoviz.models.user_model import OWN_MODEL, UserModelFamily

if TYPE_CHECKING:
    import keras

__all__ = ["UserCode", "importable", "pack_user_code"]

MOST_BYTES = 10_000_000


@dataclasses.dataclass(frozen=True)
class UserCode:
    """What a user gives beside settings: a function that builds the model, Keras callbacks.

    Attributes
    ----------
    build_model : callable or None
    packed_callbacks : bytes
        Pickled, as every trial wants fresh ones.
    custom_objects : mapping
        The user's own Keras layers and functions by the name under which they are registered.
    """

    build_model: Callable[..., Any] | None = None
    packed_callbacks: bytes = b""
    custom_objects: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def unpack(cls, packed: bytes | None) -> UserCode:
        """Return what `pack_user_code` packed, with the user's Keras objects registered."""
        if packed is None:
            return cls()
        code: UserCode = pickle.loads(packed)  # noqa: S301  # made by the parent process, in its memory
        _register(code.custom_objects)
        return code

    def family(self, architecture: str) -> ModelFamily | None:
        """Return the family of the user's own model, if it is that which is asked for."""
        return UserModelFamily(self.build_model) if self.build_model and architecture == OWN_MODEL else None

    def fresh_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return callbacks that no trial has used."""
        if not self.packed_callbacks:
            return []
        callbacks: list[keras.callbacks.Callback] = pickle.loads(self.packed_callbacks)  # noqa: S301  # see `unpack`
        return callbacks


def pack_user_code(build_model: Callable[..., Any] | None, callbacks: Sequence[Any]) -> bytes | None:
    """Pack the user's code by value (cloudpickle), so that a function of a notebook cell arrives too.

    Returns
    -------
    bytes or None
        None if there is nothing to pack.

    Raises
    ------
    ConfigError
        It holds something that cannot be sent, or more than 10 MB.
    """
    if build_model is None and not callbacks:
        return None
    packed = _packed("callbacks", list(callbacks)) if callbacks else b""
    code = _packed("build_model", UserCode(build_model, packed, _registered_objects()))
    if len(code) > MOST_BYTES:
        raise ConfigError(
            f"build_model and callbacks carry {len(code) / 1e6:.1f} MB of data to every worker, more than "
            f"{MOST_BYTES / 1e6:.0f} MB{_largest(build_model, len(code))}. "
            "Use its second argument, data, and load what is large inside the function."
        )
    return code


def _packed(what: str, value: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise ConfigError(
            f"{what} cannot be sent to worker processes: {type(error).__name__}: {error}. Make open files, locks and "
            "models inside the function, not outside of it."
        ) from error


def _registered_objects() -> dict[str, Any]:
    if "keras" not in sys.modules:
        return {}
    import keras

    return {name: thing for name, thing in keras.saving.get_custom_objects().items() if not importable(thing)}


def importable(thing: Any) -> bool:
    """Tell whether a worker finds it by importing its module: it is registered there then."""
    home = sys.modules.get(getattr(thing, "__module__", "__main__"))
    if home is None or home.__name__ == "__main__":
        return False
    found: Any = home
    for name in getattr(thing, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is thing


def _register(objects: Mapping[str, Any]) -> None:
    if objects:
        import keras

        for name, thing in objects.items():
            package, mark, short = name.rpartition(">")
            if mark:
                keras.saving.register_keras_serializable(package, short)(thing)
            else:
                keras.saving.get_custom_objects()[name] = thing


def _largest(function: Callable[..., Any] | None, total: int) -> str:
    """Name the variable that makes up most of what a function carries, if there is one."""
    try:
        used = inspect.getclosurevars(function)  # type: ignore[arg-type]  # None is a TypeError as well
    except TypeError:  # no plain function
        return ""
    for name, value in {**used.globals, **used.nonlocals}.items():
        with contextlib.suppress(ConfigError):  # a global that only shares its name with an attribute
            size = len(_packed(name, value))
            if size > total / 2:
                return f", most of it the variable {name!r} ({size / 1e6:.1f} MB)"
    return ""
