"""Pure functions from values to HTML: every value is escaped, both themes of JupyterLab are followed."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from urllib.parse import urlsplit

from hpoviz.progress import ProgressView, TrialTable

__all__ = ["HealthRow", "dataset", "health", "page", "paragraph", "progress", "settings", "table"]

MOST_CLASSES = 12
LONGEST_TEXT = 160


def progress(title: str, view: ProgressView | None, trials: TrialTable | None = None) -> str:
    """Return a run's progress, with a bar for the run and one a slot, and the trials where there is a table."""
    if view is None:
        return page(f"<p>{_text(title)}</p><p>starting …</p>")
    counts = ", ".join(f"{count} {name}" for name, count in view.counts)
    parts = (f"{view.ended}/{view.wanted} trials", counts, view.best, view.time, view.cost)
    facts = " · ".join(part for part in parts if part)
    share = view.ended / view.wanted if view.wanted else 0.0
    rows = [_bar(share, "trials done") + f"<span>{_text(facts)}</span>"]
    notice = f"<p>{_text(view.notice)}</p>" if view.notice else ""
    for slot in view.slots:
        bar = _bar(slot.fraction, slot.title) if slot.fraction else "<span></span>"
        rows.append(f"{bar}<span>{_text(slot.title)}: {_text(slot.phase)} {_text(slot.figures)}</span>")
    body = "".join(f'<div class="hpoviz-row">{row}</div>' for row in rows)
    ending = f"<p>{_text(view.ending)}</p>" if view.ending else ""
    below = table(trials.header, trials.rows, marked=trials.best_row) if trials and trials.rows else ""
    more = f"<p>… and {trials.left_out} more: see <code>opt.results</code></p>" if trials and trials.left_out else ""
    return page(f"<p><strong>{_text(title)}</strong></p>{notice}{body}{ending}{below}{more}")


def settings(title: str, facts: Iterable[tuple[str, str]], space: Sequence[dict[str, str]]) -> str:
    """Return the settings of a search: facts as a table, the search space folded below."""
    rows = table(("setting", "value"), list(facts))
    columns = ("name", "searched", "default", "when", "help")
    inner = table(columns, [tuple(row[column] for column in columns) for row in space])
    return page(
        f"<p><strong>{_text(title)}</strong></p>{rows}"
        f"<details><summary>search space: {len(space)} parameters</summary>{inner}</details>"
    )


def dataset(
    title: str,
    counts: Sequence[tuple[str, int, int]],
    samples: Sequence[tuple[str, str]],
    concerns: Sequence[str],
    notes: Sequence[str],
) -> str:
    """Return what a data set holds.

    Parameters
    ----------
    title : str
    counts : sequence of (class name, training samples, test samples)
    samples : sequence of (class name, sample)
        A sample is a picture's data URI, or a text.
    concerns, notes : sequence of str
        What should be looked at, and what was done when the data were read.
    """
    pictures = [sample for sample in samples if sample[1].startswith("data:image/png;base64,")]
    shown = "".join(
        f'<figure><img src="{_text(uri)}" alt="a sample of class {_text(name)}">'
        f'<figcaption title="{_text(name)}">{_text(name)}</figcaption></figure>'
        for name, uri in pictures
    )
    texts = [(name, text[:LONGEST_TEXT] + (" …" if len(text) > LONGEST_TEXT else "")) for name, text in samples]
    strip = f'<div class="hpoviz-strip">{shown}</div>' if pictures else table(("class", "text"), texts)
    most = max(train for _, train, _ in counts)
    bars = "".join(
        f'<div class="hpoviz-row">{_bar(train / most, f"share of class {name}")}'
        f"<span>{_text(name)}: {train:,} training, {test:,} test samples</span></div>"
        for name, train, test in counts
    )
    few = len(counts) <= MOST_CLASSES
    balance = bars if few else f"<details><summary>{len(counts)} classes</summary>{bars}</details>"
    said = "".join(f"<li>⚠ {_text(concern)}</li>" for concern in concerns)
    said += "".join(f"<li>{_text(note)}</li>" for note in notes)
    below = f'<ul class="hpoviz-said">{said}</ul>' if said else ""
    return page(f"<p><strong>{_text(title)}</strong></p>{strip}{balance}{below}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthRow:
    """A metric of a health report: `value` and `interval` in [0, 1], layers as (id, value, in words, evidence)."""

    name: str
    value: float | None
    words: str
    interval: tuple[float, float] | None
    weight: float
    reason: str
    explanation: str
    layers: Sequence[tuple[str, str, str, str]]


def health(title: str, facts: str, metrics: Sequence[HealthRow], findings: Sequence[tuple[str, ...]]) -> str:
    """Return a health report: a bar and a word for each metric, what is wrong, and layers and explanations folded.

    A finding is (fault, layer or "", evidence, consequence, prescription).
    """
    rows = "".join(_health_row(row) for row in metrics)
    said = "".join(
        f"<li><strong>{_text(fault)}</strong>{f' in {_text(layer)}' if layer else ''}: {_text(evidence)} "
        f"{_text(consequence)} <em>What to do:</em> {_text(prescription)}</li>"
        for fault, layer, evidence, consequence, prescription in findings
    )
    below = f'<ul class="hpoviz-said">{said}</ul>' if said else "<p>No finding.</p>"
    return page(f"<p><strong>{_text(title)}</strong> <small>{_text(facts)}</small></p>{rows}{below}")


def _health_row(row: HealthRow) -> str:
    bar = _bar(row.value, row.name) if row.value is not None else "<span>–</span>"
    number = "" if row.value is None else f"{row.value:.2f} "
    between = "" if row.interval is None else f" (95%: {row.interval[0]:.2f} to {row.interval[1]:.2f})"
    said = f"{row.name}: {number}{row.words}{between}"
    layers = table(("layer", "value", "", "evidence"), row.layers) if row.layers else ""
    reason = f"<p>{_text(row.reason)}</p>" if row.reason else ""
    inner = f"<p>{_text(row.explanation)} Weight in the overall health: {row.weight:g}.</p>{reason}{layers}"
    return (
        f'<details class="hpoviz-health"><summary class="hpoviz-row" title="{_text(row.explanation)}">{bar}'
        f"<span>{_text(said)}</span></summary>{inner}</details>"
    )


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, marked: int | None = None, links: bool = False
) -> str:
    """Return an HTML table that scrolls by itself where it is too wide.

    One row may be marked as the best; with `links` a cell that is a web address leads there.
    """
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = ""
    for index, row in enumerate(rows):
        best = index == marked
        shown = [_link(cell) if links and cell.startswith("https://") else _text(cell) for cell in row]
        cells = "".join(f"<td>{cell}{' ★ best' if best and at == 1 else ''}</td>" for at, cell in enumerate(shown))
        body += f"<tr{' class=hpoviz-best' if best else ''}>{cells}</tr>"
    return (
        '<div class="hpoviz-scroll" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def paragraph(text: str, *, strong: bool = False) -> str:
    """Return text as a paragraph."""
    return f"<p><strong>{_text(text)}</strong></p>" if strong else f"<p>{_text(text)}</p>"


def page(body: str) -> str:
    """Return already escaped HTML with hpoviz's style around it."""
    style = files("hpoviz").joinpath("style.css").read_text(encoding="utf-8")
    return f'<div class="hpoviz"><style>{style}</style>{body}</div>'


def _link(address: str) -> str:
    return f'<a href="{_text(address)}" target="_blank" rel="noopener">{_text(urlsplit(address).netloc)}</a>'


def _bar(share: float, label: str) -> str:
    return f'<progress max="1" value="{share:.3f}" aria-label="{_text(label)}">{share:.0%}</progress>'


def _text(value: object) -> str:
    return html.escape(str(value))
