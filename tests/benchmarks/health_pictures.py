"""Pictures for docs/health.md: each metric of healthy models beside that of models with the faults it should show::

python -m tests.benchmarks.health_pictures --kept zoo.jsonl
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from hpoviz.health.metric import METRICS
from tests.benchmarks.health_zoo import kept
from tests.benchmarks.zoo_models import FAULTS, STRENGTHS
from tests.benchmarks.zoo_report import HEALTHY, judged

FOLDER = Path(__file__).parents[2] / "docs" / "images"
COLOURS = {"healthy": "#1d7f70", "mild": "#c9a227", "medium": "#c9662b", "severe": "#b8394d"}


def main() -> None:
    """Draw a picture for each metric: a dot a model, a row a strength."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, help="a file of health_zoo")
    runs = [judged(item) for item in kept(parser.parse_args().kept)]
    plt.rcParams |= {"svg.hashsalt": "hpoviz", "font.family": "DejaVu Sans", "font.size": 9}
    for metric in METRICS:
        rows = {
            strength: [
                run.case.metrics[metric].value
                for run in runs
                if (strength == HEALTHY and run.fault == HEALTHY)
                or (run.strength == strength and run.fault != HEALTHY and FAULTS[run.fault].metric == metric)
            ]
            for strength in (HEALTHY, *STRENGTHS)
        }
        figure, axes = plt.subplots(figsize=(6.4, 1.9), layout="constrained")
        for place, (name, values) in enumerate(rows.items()):
            known = np.array([value for value in values if value is not None])
            spread = np.random.default_rng(place).uniform(-0.3, 0.3, len(known))
            axes.scatter(known, -place + spread, s=9, alpha=0.55, color=COLOURS[name], edgecolors="none")
        labels = [f"{name} ({len(values)})" for name, values in rows.items()]
        axes.set_yticks([-place for place in range(len(rows))], labels)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.set_xlabel(f"{metric.replace('_', ' ')} of a model")
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(FOLDER / f"health_{metric}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
