"""Figures made of pictures: what layers say of one sample, and the samples that a trial is surest of, and wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from hpoviz.data.preview import picture_of
from hpoviz.plots.look import SCALE, Colours, empty_figure, new_figure, new_grid, short, text_of
from hpoviz.plots.trial_facts import TrialFacts, TrialPlot
from hpoviz.training_record import TrainingRecord, evenly

__all__ = ["activation_maps", "activation_progression", "mistakes"]

MOST_LAYERS, MOST_EPOCHS, PROGRESSING = 6, 6, 4
MOST_MISTAKES, ACROSS = 12, 4
SIDE = 96  # pixels of a picture, at most
TEXT = 160  # characters of a text


def activation_maps(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.pictures:
        return empty_figure(plot.title, facts.no_looks("Activation maps"), paint)
    look, chosen = looks[-1], evenly(len(record.pictures), MOST_LAYERS)
    strips = [_strip(record, at, [(look, channel) for channel in range(len(record.maps[at][look]))]) for at in chosen]
    return _strips(
        facts, paint, plot, [record.pictures[at] for at in chosen], strips, f"after epoch {record.epochs[look]}"
    )


def activation_progression(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.pictures:
        return empty_figure(plot.title, facts.no_looks("The progression of activations"), paint)
    shown = [looks[at] for at in evenly(len(looks), MOST_EPOCHS)]
    chosen, strips = evenly(len(record.pictures), PROGRESSING), []
    for at in chosen:
        loudest = int(np.ptp(_values(record, at, looks[-1]).reshape(len(record.maps[at][0]), -1), axis=1).argmax())
        strips.append(_strip(record, at, [(look, loudest) for look in shown]))
    epochs = ", ".join(str(record.epochs[look]) for look in shown)
    return _strips(facts, paint, plot, [record.pictures[at] for at in chosen], strips, f"epochs {epochs}")


def mistakes(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    said, samples = facts.predictions, facts.samples
    if said is None or samples is None or not len(samples.rows):
        why = facts.no_predictions("Mistakes") if said is None else "The data of the search are not here."
        return empty_figure(plot.title, why, paint)
    wrong = np.flatnonzero(said.labels != said.predicted)
    if not len(wrong):
        return empty_figure(
            plot.title, f"None of the {len(said.labels)} validation samples is taken for another.", paint
        )
    worst = wrong[np.argsort(-said.confidence[wrong], kind="stable")][:MOST_MISTAKES]
    rows = [int(said.rows[at]) for at in worst]
    names = [(samples.name(int(said.labels[at])), samples.name(int(said.predicted[at]))) for at in worst]
    sure = [float(said.confidence[at]) for at in worst]
    if isinstance(samples.at(rows[0]), str | bytes):
        return _texts(paint, plot, [str(samples.at(row)) for row in rows], names, sure)
    titles = [
        f"{short(true, 12)} → {short(other, 12)}, {share:.0%}" for (true, other), share in zip(names, sure, strict=True)
    ]
    across = min(ACROSS, len(rows))
    figure = new_grid(plot.title, plot.how, paint, titles, across=across, each=150, horizontal_spacing=0.04)
    for place, row in enumerate(rows):
        sample = np.asarray(samples.at(row))
        step = -(-max(sample.shape[:2]) // SIDE)
        sample = sample.reshape(*sample.shape[:2], -1)[::step, ::step]
        picture = picture_of(sample, float(sample.min()), float(sample.max()))
        figure.add_image(source=picture, row=place // across + 1, col=place % across + 1, hoverinfo="skip")
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    figure.update_annotations(font={"size": 10})
    return figure.update_layout(margin_b=24)


def _texts(
    paint: Colours, plot: TrialPlot, texts: Sequence[str], names: Sequence[tuple[str, str]], sure: Sequence[float]
) -> go.Figure:
    """Draw a table of texts."""
    figure = new_figure(plot.title, plot.how, paint, height=170 + 78 * len(texts))
    cut = [text if len(text) <= TEXT else text[:TEXT] + " …" for text in texts]
    columns = [
        [text_of(text) for text in cut],
        [
            f"{text_of(true)} →<br>{text_of(other)}, {share:.0%}"
            for (true, other), share in zip(names, sure, strict=True)
        ],
    ]
    plain = {"fill": {"color": paint["paper"]}, "align": "left", "line": {"color": paint["grid"]}}
    figure.add_table(
        columnwidth=[70, 30],
        header={**plain, "values": ["<b>text</b>", "<b>true → said</b>"], "font": {"color": paint["text"]}},
        cells={**plain, "values": columns, "font": {"color": paint["text"], "size": 12}, "height": 24},
    )
    return figure.update_layout(margin={"l": 12, "r": 12, "b": 12})


def _strips(
    facts: TrialFacts, paint: Colours, plot: TrialPlot, names: Sequence[str], strips: Sequence[np.ndarray], when: str
) -> go.Figure:
    """Draw a strip of pictures for each layer, below each other."""
    record = facts.record
    assert record is not None  # who calls has looked
    sample = _sample_words(facts, record)
    how = f"{plot.how} Sample {record.sample}{sample}; {when}."
    titles = [short(name, 40) for name in names]
    figure = new_grid(plot.title, how, paint, titles, across=1, each=120, vertical_spacing=0.28 / len(strips))
    for place, strip in enumerate(strips, start=1):
        values = [[None if np.isnan(one) else float(f"{one:.3g}") for one in row] for row in strip]
        bar = {"thickness": 10, "len": 0.9 / len(strips), "y": 1 - (place - 0.5) / len(strips), "nticks": 3}
        figure.add_heatmap(
            z=values, colorscale=SCALE, colorbar=bar, hovertemplate="%{z:.3g}<extra></extra>", row=place, col=1
        )
    figure.update_xaxes(visible=False).update_yaxes(visible=False, autorange="reversed")
    return figure.update_layout(margin_b=24)


def _sample_words(facts: TrialFacts, record: TrainingRecord) -> str:
    """Say what the sample is."""
    if facts.samples is None or record.sample >= len(facts.samples.rows):
        return ""
    sample = facts.samples.at(record.sample)
    label = short(facts.samples.name(int(facts.samples.y[facts.samples.rows[record.sample]])), 30)
    if isinstance(sample, str | bytes):
        return f" of class {label}: “{textwrap.shorten(str(sample), 60, placeholder=' …')}”"
    return f" of class {label}"


def _values(record: TrainingRecord, at: int, look: int) -> np.ndarray:
    """Return the pictures of a layer as the numbers that they stand for."""
    low, high = float(record.map_low[look, at]), float(record.map_high[look, at])
    return np.asarray(low + record.maps[at][look].astype(np.float64) / 255 * (high - low))


def _strip(record: TrainingRecord, at: int, tiles: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return pictures beside each other, with a gap of NaN between; low vectors are made as high as a line."""
    pictures = [_values(record, at, look)[channel] for look, channel in tiles]
    height, width = pictures[0].shape
    if height == 1 and len(pictures) > 1:  # vectors: one below the other
        return np.concatenate(pictures)
    if record.kinds[at] == "sequence":  # time goes to the right
        pictures, height, width = [picture.T for picture in pictures], width, height
    gap = np.full((height, max(1, width // 12)), np.nan)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
