"""A whole run as one page that works without a network: figures, trials, the best model, and how to do it again."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from hpoviz.architecture.colouring import Theme
from hpoviz.architecture.html_page import VIEW_SCRIPTS, ModelView, script_json
from hpoviz.assets import asset
from hpoviz.progress import differing_params, value_text
from hpoviz.results import PLANNED, TrialResult

__all__ = ["Report", "Tile", "report_page"]

MOST_ROWS = 1000
LONGEST_VALUE, LONGEST_REASON, WIDE = 80, 300, 40  # characters in the table of trials
GLYPHS = {"finished": "●", "pruned": "◆", "failed": "✕", "infeasible": "⊘", "cancelled": "■"}
RANKS = list(GLYPHS)
TITLE_LINE, TITLE_ROOM = 17, 58  # pixels above a figure: of a line under the title, and of what is around them
BARE, UNDER_NAMES = 18, 30  # without them; where fields have names
SECTIONS = {
    "study": "The search",
    "best": "The best trial",
    "trials": "All trials",
    "model": "Architecture of the best model",
    "health": "Health of the best model",
    "settings": "Do it again",
}
# Nothing is fetched, whatever is in the page. Plotly compiles its shaders' wrappers, so scripts may make functions.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)


@dataclasses.dataclass(frozen=True)
class Tile:
    """One of the main figures of a run: its name, its value, and what is said of it."""

    name: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page shows.

    Attributes
    ----------
    title, subtitle : str
    summary : str
        Sentences, one a line.
    tiles : sequence of Tile
    study : sequence of (name, title, figure)
    trial : sequence of (name, title, figure)
        Of the best trial; empty where there is none.
    trials : sequence of TrialResult
        The ended ones.
    best : TrialResult or None
    no_best : str
        Why there is none.
    model : ModelView or None
    no_model : str
    health : str
        Escaped HTML; empty where there is none.
    no_health : str
    facts : sequence of (name, value)
        The settings.
    space : sequence of mapping
        As `SearchSpace.describe` returns it.
    versions : mapping of str to str
    yaml : str
        Of the best trial; empty where there is none.
    code : str
        Python that repeats the search.
    theme : {"light", "dark"}
    """

    title: str
    subtitle: str
    summary: str
    tiles: Sequence[Tile]
    study: Sequence[tuple[str, str, go.Figure]]
    trial: Sequence[tuple[str, str, go.Figure]]
    trials: Sequence[TrialResult]
    best: TrialResult | None
    no_best: str
    model: ModelView | None
    no_model: str
    health: str
    no_health: str
    facts: Sequence[tuple[str, str]]
    space: Sequence[Mapping[str, str]]
    versions: Mapping[str, str]
    yaml: str
    code: str
    theme: Theme


def report_page(report: Report) -> str:
    """Return the page; every text in it is escaped, and plotly is in it once."""
    best = "" if report.best is None else f": trial {report.best.number}"
    bodies = {
        "study": _plots("study", report.study),
        "best": _plots("best", report.trial) if report.trial else _missing(report.no_best),
        "trials": _gallery(report.trials, report.best),
        "model": _missing(report.no_model) if report.model is None else _model(report.model),
        "health": report.health or _missing(report.no_health),
        "settings": _settings(report),
    }
    titles = {**SECTIONS, "best": SECTIONS["best"] + best}
    links = "".join(f'<li><a href="#{key}">{_text(title)}</a></li>' for key, title in titles.items())
    sections = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{_text(titles[key])}</h2>{body}'
        "</section>"
        for key, body in bodies.items()
    )
    sentences = "".join(f"<p>{_text(line)}</p>" for line in report.summary.splitlines())
    template: Mapping[str, Any] = next((figure.layout.template.to_plotly_json() for _, _, figure in report.study), {})
    scripts = "\n".join(asset(name) for name in (*VIEW_SCRIPTS, "report.js"))
    return f"""<!doctype html>
<html lang="en" theme="{report.theme}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="hpoviz">
<link rel="icon" href="data:,">
<title>{_text(report.title)}</title>
<style>
{asset("graph_view.css")}
{asset("report.css")}
</style>
</head>
<body>
<header>
<h1>{_text(report.title)}</h1>
<p class="rp-muted">{_text(report.subtitle)}</p>
<div class="rp-summary">{sentences}</div>
{_tiles(report.tiles)}
<nav aria-label="Contents"><ul>{links}</ul></nav>
<noscript>{_missing("Figures are drawn by a script, and scripts are off here. Texts and tables are whole.")}</noscript>
</header>
<main>
{sections}
</main>
<footer class="rp-muted">Made by hpoviz {_text(report.versions.get("hpoviz", ""))}. This page needs no network.</footer>
<script type="application/json" id="rp-template">{script_json(template)}</script>
<script>window.PlotlyConfig = {{MathJaxConfig: "local"}};</script>
<script>{get_plotlyjs()}</script>
<script type="module">
{scripts}
</script>
</body>
</html>
"""


def _tiles(tiles: Iterable[Tile]) -> str:
    inner = "".join(
        f"<div><dt>{_text(tile.name)}</dt><dd><strong>{_text(tile.value)}</strong>"
        f"{f' <span>{_text(tile.note)}</span>' if tile.note else ''}</dd></div>"
        for tile in tiles
    )
    return f'<dl class="rp-tiles">{inner}</dl>'


def _plots(prefix: str, plots: Iterable[tuple[str, str, go.Figure]]) -> str:
    return f'<div class="rp-plots">{"".join(_plot(f"{prefix}-{name}", *rest) for name, *rest in plots)}</div>'


def _plot(key: str, title: str, figure: go.Figure) -> str:
    """Return a figure as texts of the page, where it can be read and found, and a place for the drawing."""
    how = _how_to_read(figure)
    head = f'<h3 id="{key}-title">{_text(title)}</h3>'
    if not figure.data:  # it only says what is missing
        body = _missing(" ".join(_plain(note.text) for note in figure.layout.annotations))
    elif isinstance(figure.data[0], go.Table):
        body = f"<p>{_text(how)}</p>{_texts(title, figure)}"
    else:
        body = f"<p>{_text(how)}</p>{_drawing(figure, f'{title}. {how}')}"
    return f'<figure id="{key}" aria-labelledby="{key}-title">{head}{body}</figure>'


def _drawing(figure: go.Figure, label: str) -> str:
    """Return the place of a figure whose title is a text of the page."""
    drawing = json.loads(figure.to_json())
    layout = drawing["layout"]
    for name in ("title", "template"):
        layout.pop(name, None)
    lines = (figure.layout.title.text or "").count("<span")
    spare = TITLE_ROOM + TITLE_LINE * lines - (UNDER_NAMES if figure.layout.annotations else BARE)
    layout["margin"]["t"] -= spare
    layout["height"] -= spare
    return _canvas(drawing, layout["height"], label)


def _texts(title: str, figure: go.Figure) -> str:
    """Return a figure that is a table of texts as a table of the page, which a phone shows whole."""
    (table,) = figure.data
    columns = [[_plain(text) for text in column] for column in table.cells["values"]]
    return _table(title, [_plain(text) for text in table.header["values"]], zip(*columns, strict=True), kind="texts")


def _canvas(drawing: Mapping[str, Any], height: float, label: str, kind: str = "plot") -> str:
    """Return the place of a drawing, as high as it will be, with what is drawn there."""
    return (
        f'<div class="rp-plot" data-kind="{kind}" role="img" aria-label="{_text(label)}" style="height:{height:.0f}px">'
        f'</div><script type="application/json">{script_json(drawing)}</script>'
    )


def _how_to_read(figure: go.Figure) -> str:
    """Return the lines under a figure's title as one text."""
    return " ".join(_plain(line) for line in re.findall(r"<span[^>]*>(.*?)</span>", figure.layout.title.text or ""))


def _plain(text: str) -> str:
    """Return a text of a figure without its marks."""
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def _gallery(trials: Sequence[TrialResult], best: TrialResult | None) -> str:
    """Return the table of trials, the best first; column heads are buttons that sort it."""
    if not trials:
        return _missing("No trial has ended yet.")
    ranked = sorted(trials, key=lambda one: (RANKS.index(one.state), -(one.score or 0.0), one.number or 0))[:MOST_ROWS]
    names = differing_params(ranked)
    facts = ("score", "accuracy", "health", "weights", "seconds")
    known = [name for name in facts if any(_fact(one, name) is not None for one in ranked)]
    reason = any(one.reason for one in ranked)
    heads = [("trial", "up"), ("state", "up"), *((name, "down" if name in facts[:3] else "up") for name in known)]
    heads += [*((name, "up") for name in names), *([("reason", "up")] if reason else [])]
    head = "".join(
        f'<th scope="col" data-first="{first}"><button type="button">{_text(name)}</button></th>'
        for name, first in heads
    )
    rows = "".join(
        _row(one, known, names, reason, best is not None and one.trial_id == best.trial_id) for one in ranked
    )
    how = "Finished trials first, by score. A click on the head of a column sorts."
    if len(trials) > len(ranked):
        how += f" {len(ranked):,} of {len(trials):,} trials are shown, those that rank first; opt.results has all."
    return (
        f'<p class="rp-muted" id="trials-how">{how}</p>'
        '<div class="rp-scroll" role="region" aria-label="Table of all trials" tabindex="0">'
        f'<table class="rp-trials" aria-describedby="trials-how"><thead><tr>{head}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="rp-muted" role="status" id="trials-said"></p>'
    )


def _row(trial: TrialResult, facts: Sequence[str], names: Sequence[str], reason: bool, best: bool) -> str:
    """Return a row of the table; what a cell is sorted by stands in its data."""
    said = f"{trial.state} ({trial.origin})" if trial.origin in PLANNED else trial.state
    mark = f'<span aria-hidden="true">{GLYPHS[trial.state]}</span> {_text(said)}'
    cells = [f'<th scope="row" data-value="{trial.number}">{trial.number}{" ★ best" if best else ""}</th>']
    cells.append(f'<td data-value="{RANKS.index(trial.state)}" class="rp-{trial.state}">{mark}</td>')
    cells += [_cell(_fact(trial, name), _fact_text(name, _fact(trial, name))) for name in facts]
    cells += [_cell(trial.params.get(name), _cut(value_text(trial.params.get(name)), LONGEST_VALUE)) for name in names]
    cells += [_cell(trial.reason, _cut(trial.reason or "", LONGEST_REASON))] if reason else []
    return f"<tr{' class=rp-best' if best else ''}>{''.join(cells)}</tr>"


def _fact(trial: TrialResult, name: str) -> float | None:
    value: float | None = getattr(trial, "parameters" if name == "weights" else name)
    return value


def _fact_text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if name == "weights" else f"{value:.{ {'health': 2, 'seconds': 1}.get(name, 4) }f}"


def _cell(value: Any, text: str) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    by = f"{value!r}" if number else "" if value is None else text
    kind = " class=rp-number" if number else " class=rp-wide" if len(text) > WIDE else ""
    return f'<td data-value="{_text(by)}"{kind}>{_text(text)}</td>'


def _model(view: ModelView) -> str:
    solid = json.loads(view.figure.to_json())
    solid["layout"].pop("template", None)
    words = (
        "The model in three dimensions: a box for what each layer gives out. The graph above says the same in words."
    )
    return (
        "<h3>Its layers, and samples on their way through</h3>"
        "<p>Forward plays what a validation sample does in each layer, backward the gradients of its loss. A click on "
        "a layer says what it is made of.</p>"
        '<div class="hpoviz-graph" id="graph"></div>'
        f'<script type="application/json" id="model-data">{script_json(view.page)}</script>'
        "<h3>In three dimensions</h3><p>Drag to turn it; the buttons play the first of the samples.</p>"
        f"{_canvas(solid, view.figure.layout.height, words, 'scene')}"
    )


def _settings(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    rows = [*report.facts, *([("versions", versions)] if versions else [])]
    columns = ("name", "searched", "default", "when", "help")
    space = [tuple(row[column] for column in columns) for row in report.space]
    yaml = _code("best_hyperparameters.yaml", report.yaml) if report.yaml else _missing(report.no_best)
    return (
        f"<h3>The search in code</h3>{_code('the code', report.code)}"
        '<p class="rp-muted">Exactly the same trials with one worker; with several it depends on which is faster.</p>'
        f"<h3>Hyperparameters of the best trial</h3>{yaml}"
        f"<h3>Settings</h3>{_table('Settings', ('setting', 'value'), rows)}"
        f"<h3>Search space</h3><details><summary>{len(space)} parameters</summary>"
        f"{_table('Search space', columns, space)}</details>"
    )


def _code(what: str, text: str) -> str:
    """Return a text to be copied, with a button that does so."""
    return (
        f'<div class="rp-code"><button type="button" class="rp-copy" aria-label="Copy {_text(what)}">Copy</button>'
        f'<pre tabindex="0" aria-label="{_text(what)}">{_text(text)}</pre></div>'
    )


def _table(label: str, header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "facts") -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="rp-scroll" role="region" aria-label="{_text(label)}" tabindex="0"><table class="rp-{kind}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _missing(why: str) -> str:
    return f'<p class="rp-missing">{_text(why)}</p>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _text(value: object) -> str:
    return html.escape(str(value))
