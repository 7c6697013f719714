"""SceneFigure: a plotly figure of a model that fits itself to the screen where it can."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from hpoviz._display import in_notebook

__all__ = ["SceneFigure"]


class SceneFigure(go.Figure):  # type: ignore[misc]  # plotly is not typed
    """A plotly figure like any other, which a notebook shows as a widget that is as wide as there is room.

    Where widgets are not shown, it is plotly's own. `close` gives back the widget, of which there is one however many
    cells show it.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
    fit : dict
        What `hpoviz.architecture.scene3d.scene_fit` returns.
    """

    _ipython_display_ = None  # plotly's, which would show nothing but plotly's own

    def __init__(self, figure: go.Figure, fit: dict[str, Any]) -> None:
        super().__init__(figure)
        self._fit = fit
        self._view: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return SceneFigure, (go.Figure(self.to_dict()), self._fit)  # a copy has a view of its own

    def close(self) -> None:
        """Take the view from the screen and give back what it holds."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _repr_mimebundle_(self, *args: Any, **options: Any) -> Any:
        static: dict[str, Any] = super()._repr_mimebundle_(*args, **options)
        if not in_notebook():
            return static
        from hpoviz.widgets.scene_view import SceneView  # reads 5 MB of plotly.js

        if self._view is None or self._view.comm is None:  # somebody may have closed all widgets
            self._view = SceneView(figure=self.to_json(), fit=self._fit)
        else:
            self._view.figure = self.to_json()  # it may have been changed since
        shown = self._view._repr_mimebundle_()
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        return {**static, **data}, metadata  # which tells Colab where widgets that are not its own come from
