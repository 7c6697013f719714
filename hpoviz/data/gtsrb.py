"""GTSRB, the German Traffic Sign Recognition Benchmark, from its public archive: no account is needed.

Houben et al., "Detection of Traffic Signs in Real-World Images" (2013); Stallkamp et al., "Man vs. computer" (2012).
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpoviz.data.array_cache import cached_arrays, keras_home
from hpoviz.data.dataset import Dataset
from hpoviz.data.dataset_source import DatasetSource, class_names
from hpoviz.errors import DatasetError

__all__ = ["GTSRB"]

ARCHIVE = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
FILES = {  # name → MD5
    "GTSRB_Final_Training_Images.zip": "f33fd80ac59bff73c82d25ab499e03a3",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}
SIDE = 32  # pixels: most signs are between 15 and 60
CLASSES = 43


def gtsrb() -> Dataset:
    """Return 39,209 training and 12,630 test images of 43 signs, each cut out and scaled to 32×32.

    A track is 30 pictures of one sign, as a car drives by; validation data are whole tracks.
    """
    arrays = cached_arrays("gtsrb", _load)
    return Dataset.from_arrays(
        arrays["x"],
        arrays["y"],
        test=(arrays["x_test"], arrays["y_test"]),
        groups=arrays["tracks"],
        class_names=class_names("gtsrb"),
        flippable=False,
        name="gtsrb",
    )


def _load() -> Mapping[str, Any]:
    train, test, truth = map(_file, FILES)
    x, rows = _read(train, _training_rows)
    x_test, test_rows = _read(test, lambda _: _test_rows(truth))
    return {
        "x": x,
        "y": np.array([row["ClassId"] for row in rows], np.int64),
        "tracks": np.array([1000 * int(row["ClassId"]) + int(row["track"]) for row in rows], np.int64),
        "x_test": x_test,
        "y_test": np.array([row["ClassId"] for row in test_rows], np.int64),
    }


def _file(name: str) -> Path:
    """Download a file, unless it is there and has the right hash."""
    import keras

    place = keras_home() / "datasets" / "gtsrb"
    try:
        return Path(keras.utils.get_file(name, ARCHIVE + name, file_hash=FILES[name], cache_subdir=str(place)))
    except Exception as error:
        raise DatasetError(
            f"The data set 'gtsrb' cannot be loaded: {type(error).__name__}: {error}\nWithout a network, put its files "
            f"in the folder {place} by hand:\n"
            + "\n".join(f"  {ARCHIVE}{file}  (MD5 {md5})" for file, md5 in FILES.items())
        ) from error


def _read(path: Path, rows_of: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Read, cut and scale the images of one archive without unpacking it, with a progress bar."""
    import keras

    with zipfile.ZipFile(path) as archive:
        rows = list(rows_of(archive))
        images = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
        bar = keras.utils.Progbar(len(rows), unit_name="image")
        for index, row in enumerate(rows):
            with Image.open(io.BytesIO(archive.read(row["file"]))) as picture:
                left, upper, right, lower = (int(row[f"Roi.{edge}"]) for edge in ("X1", "Y1", "X2", "Y2"))
                cut = picture.convert("RGB").crop((left, upper, right, lower))
                cut = cut.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                images[index] = np.asarray(cut)
            if index % 100 == 99 or index == len(rows) - 1:
                bar.update(index + 1)
    return images, rows


def _training_rows(archive: zipfile.ZipFile) -> Iterator[dict[str, Any]]:
    for label in range(CLASSES):
        home = f"GTSRB/Final_Training/Images/{label:05}"
        for row in _table(archive, f"{home}/GT-{label:05}.csv"):
            yield {**row, "file": f"{home}/{row['Filename']}", "track": row["Filename"].partition("_")[0]}


def _test_rows(truth: Path) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(truth) as labels:
        for row in _table(labels, "GT-final_test.csv"):
            yield {**row, "file": f"GTSRB/Final_Test/Images/{row['Filename']}"}


def _table(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(name).decode("ascii")), delimiter=";"))


GTSRB = DatasetSource(
    name="gtsrb",
    kind="image",
    classes=CLASSES,
    shape="32×32 colour",
    train=39_209,
    test=12_630,
    licence="free for research, please cite",
    good_for="colour images of traffic signs: many classes, of unequal size, photographed in tracks",
    link="https://www.kaggle.com/datasets/meowmeowmeowmeowmeow/gtsrb-german-traffic-sign",
    load=gtsrb,
)
