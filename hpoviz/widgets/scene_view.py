"""The 3D view of a model as a widget: plotly's own JavaScript, which here is told how wide the screen is."""

from __future__ import annotations

import anywidget
import traitlets
from plotly.offline import get_plotlyjs

from hpoviz.assets import asset

__all__ = ["SceneView"]

# plotly.js gives itself to the module system that it finds; a browser's modules have none, so here is one.
LIBRARY = f"const module = {{ exports: {{}} }}, exports = module.exports, define = undefined;\n{get_plotlyjs()}\n"


class SceneView(anywidget.AnyWidget):
    """A figure that fits itself to the width that there is.

    Attributes
    ----------
    figure : str
        The figure as JSON.
    fit : dict
        What `hpoviz.architecture.scene3d.scene_fit` returns.
    """

    _esm = LIBRARY + asset("elements.js") + asset("scene_view.js") + asset("scene_widget.js")
    figure = traitlets.Unicode("{}").tag(sync=True)
    fit = traitlets.Dict().tag(sync=True)

    def close(self) -> None:
        """Take the view from the screen."""
        if self.comm is not None:
            self.layout.close()
        super().close()
