"""The scripts and styles of what runs in a browser, as text."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["asset"]


def asset(name: str) -> str:
    """Return a file of ``hpoviz/widgets``.

    Examples
    --------
    >>> asset("elements.js").startswith("//")
    True
    """
    return files("hpoviz.widgets").joinpath(name).read_text(encoding="utf-8")
