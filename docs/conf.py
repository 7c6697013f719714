"""The documentation site: ``make docs``.

Sphinx reads the repository as it is, from its root, so that every link between documents, notebooks and pictures is the
same here and where the repository is browsed. Nothing is copied, generated into the tree, executed, or fetched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import plotly  # only the folder in which its JavaScript lies

import hpoviz
from hpoviz.search.space import SearchSpace

HERE = Path(__file__).parent
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
ENTRANCE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>hpoviz</title>'
    '<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">hpoviz</a></html>\n'
)

project = "hpoviz"
author = "The hpoviz authors"
copyright = "2026 The hpoviz authors"  # Sphinx asks for this name
release = version = version_of("hpoviz")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "notebooks/*.ipynb", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "build", "dist", "*.egg-info", "hpoviz", "**/hpoviz_runs", "tests", "notebooks/app.ipynb"]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the outputs are those that are kept in the notebooks; `make test` executes them
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]

autosummary_generate = False
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
default_role = "py:obj"  # a name in single backticks is a link where there is something to link to
nitpick_ignore_regex = [("py:obj", ".*")]
autodoc_typehints = "none"  # the docstrings say it
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "hpoviz"
html_favicon = "_static/icon.svg"
html_context = {"default_mode": "auto"}  # as the reader's system is
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["notebook_figures.js"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "hpoviz", "image_light": "_static/icon.svg", "image_dark": "_static/icon.svg"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
html_sidebars = {page: [] for page in ("docs/index", "docs/installation", "docs/faq", "CHANGELOG")}


class Hyperparameters(Directive):
    """A table of the hyperparameters of an architecture, from where they are declared."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        space = SearchSpace(getattr(hpoviz, self.arguments[0]).parameters()).describe()
        names = ("name", "default", "searched", "when")
        return [_table(names, [tuple(row[name] for name in names) for row in space], (30, 15, 25, 30))]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], widths: tuple[int, ...]) -> nodes.table:
    def row(texts: tuple[str, ...]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))

    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(head))
    group += [nodes.thead("", row(head)), nodes.tbody("", *map(row, rows))]
    return nodes.table("", group)


def order_benchmarks(_app: Sphinx, document: str, source: list[str]) -> None:
    """Give the list of benchmarks, which is plain Markdown, what Sphinx needs to know of the pages below it."""
    if document == "docs/benchmarks/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def turn_anchors(_app: Sphinx, _document: str, source: list[str]) -> None:
    """Write anchors of notebooks as Sphinx does, in small letters: ``06.ipynb#Batch-size`` is Jupyter's form."""
    source[0] = re.sub(r"\.ipynb#[\w-]+", lambda found: found[0].lower(), source[0])


def draw_figures(_app: Sphinx, document: str, source: list[str]) -> None:
    """Put a place for each plotly figure of a notebook in it, with its data, which ``notebook_figures.js`` draws."""
    if not document.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            bundle = output.get("data", {})
            bundle.pop(WIDGET, None)  # a widget lives in a running notebook only
            if PLOTLY in bundle:
                bundle["text/html"] = _figure(bundle.pop(PLOTLY))
    source[0] = json.dumps(notebook)


def _figure(figure: dict[str, Any]) -> str:
    title = figure["layout"].get("title", {}).get("text", "")
    words = nodes.unescape(title.partition("<br>")[0].removeprefix("<b>").removesuffix("</b>"))
    data = json.dumps(figure).replace("<", "\\u003c")
    height = figure["layout"].get("height", 450)
    return (
        f'<div class="notebook-figure" role="img" aria-label="{words}" style="height:{height}px">'
        f'<script type="application/json">{data}</script><noscript>{words}: drawn by a script.</noscript></div>'
    )


def finish(app: Sphinx, error: Exception | None) -> None:
    """Add plotly's own JavaScript, and the entrance at the top of the site."""
    if error is None and app.builder.format == "html":
        library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        shutil.copy(library, Path(app.outdir) / "_static")
        (Path(app.outdir) / "index.html").write_text(ENTRANCE, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("hyperparameters", Hyperparameters)
    app.connect("source-read", order_benchmarks)
    app.connect("source-read", turn_anchors)
    app.connect("source-read", draw_figures)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
