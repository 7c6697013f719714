"""``python -m hpoviz.demo``: tune a CNN on real handwritten digits, and say where everything is."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hpoviz.optimizer import Optimizer

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run a search of a minute or two on the embedded digits and print its results."""
    parser = argparse.ArgumentParser(prog="python -m hpoviz.demo", description=main.__doc__)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # this program's own environment, for a readable page

    print("The two lines of a search:\n")
    print(f'    opt = hpoviz.Optimizer("digits", trials={options.trials}, seed={options.seed})')
    print("    opt.run()\n")
    opt = Optimizer("digits", trials=options.trials, seed=options.seed)
    opt.run()
    print(opt.summary())
    print("\nNow the one look at the test set, with TensorFlow in this process:", flush=True)
    print(opt.evaluate())
    _say_where(opt)


def _say_where(opt: Optimizer) -> None:
    folder = opt.run_dir
    opt.results.to_csv(folder / "results.csv", index=False)
    (folder / "best_model.py").write_text(opt.to_code(), encoding="utf-8")
    model = opt.save_model(folder / "best.keras")
    places = [
        ("the trained model", model),
        ("its hyperparameters", folder / "best_hyperparameters.yaml"),
        ("its plain Keras source", folder / "best_model.py"),
        ("all trials as a table", folder / "results.csv"),
        ("every trial's model", folder / "trials"),
        ("what happened", folder / "hpoviz.log"),
    ]
    print("\nWhere things are:")
    for what, path in places:
        print(f"  {what + ':':<24}{path}")
    print(f'\nUse the model without hpoviz:  keras.saving.load_model("{model}").predict(images)')
    notebook = Path("notebooks") / "01_quickstart.ipynb"
    if notebook.exists():
        print(f"Go on in the notebook:         make lab   (then open {notebook.name})")
    else:
        print('Go on in a notebook:           pip install "hpoviz[lab]" && jupyter lab')


if __name__ == "__main__":
    main()
