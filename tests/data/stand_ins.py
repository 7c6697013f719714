"""Small files in the genuine formats of the data sets that are downloaded, made of real samples, for tests offline.

They stand where the downloads would, so the real loaders read them. Fashion-MNIST is the real thing, whole, from
Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from hpoviz.data.gtsrb import CLASSES
from hpoviz.data.text import build_vocabulary, words

FASHION = Path("/usr/share/datasets/fashion-mnist")
NAMES = ("mnist", "cifar10", "cifar100", "imdb", "reuters", "gtsrb")
# Loads data sets in a fresh process, as Keras reads KERAS_HOME when it is imported, and takes the stand-ins as they
# are: their hashes are of course others. It prints a JSON line a data set.
LOAD = """
import json, sys, time
from keras.src.utils import file_utils
file_utils.validate_file = lambda *arguments, **options: True
from hpoviz import load_dataset
for name in sys.argv[1:]:
    began = time.perf_counter()
    data = load_dataset(name)
    seconds = time.perf_counter() - began
    facts = {"name": name, "shape": data.x.shape, "test": data.x_test.shape, "classes": len(data.class_names)}
    print(json.dumps({**facts, "sha256": data.sha256, "seconds": seconds, "origin": data.test_origin}), flush=True)
"""


def load_in_fresh_process(home: Path, *names: str, code: str = LOAD) -> list[dict[str, Any]]:
    """Load data sets in a process of its own, and return what it prints."""
    environment = {**os.environ, "KERAS_HOME": str(home), "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code, *names], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr[-3000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def digits_of_mnist() -> tuple[np.ndarray, np.ndarray]:
    """Return real digits, 8×8, as 28×28."""
    bunch = load_digits()
    large = np.kron(bunch.images * 15.9, np.ones((1, 3, 3))).astype("uint8")
    return np.pad(large, ((0, 0), (2, 2), (2, 2))), bunch.target.astype("uint8")


def patches(count: int, seed: int) -> np.ndarray:
    """Return patches of two real photographs, (count, 3072), as CIFAR orders them: channels first."""
    photos, chance = load_sample_images().images, np.random.default_rng(seed)
    cut = []
    for index in range(count):
        photo = photos[index % 2]
        top, left = (int(chance.integers(0, side - 32)) for side in photo.shape[:2])
        cut.append(photo[top : top + 32, left : left + 32].transpose(2, 0, 1).ravel())
    return np.array(cut, "uint8")


def write_all(home: Path) -> None:
    """Write the files of all data sets but Fashion-MNIST."""
    folder = home / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    x, y = digits_of_mnist()
    np.savez(folder / "mnist.npz", x_train=x[:1500], y_train=y[:1500], x_test=x[1500:], y_test=y[1500:])
    _write_cifar10(folder)
    _write_cifar100(folder)
    _write_texts(folder)
    _write_gtsrb(folder / "gtsrb")


def link_fashion(home: Path) -> None:
    """Put Debian's Fashion-MNIST where Keras looks for it."""
    folder = home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for file in FASHION.iterdir():
        (folder / file.name).symlink_to(file)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _write_cifar10(folder: Path) -> None:
    """Five batches of exactly 10,000 rows and one of 1,000, of 400 patches over and over."""
    some = patches(400, seed=0)
    with tarfile.open(folder / "cifar-10-batches-py-target_archive", "w:gz", compresslevel=1) as archive:
        for name, rows in [(f"data_batch_{number}", 10_000) for number in range(1, 6)] + [("test_batch", 1000)]:
            batch = {b"data": np.resize(some, (rows, 3072)), b"labels": (np.arange(rows) % 10).tolist()}
            _add(archive, f"cifar-10-batches-py/{name}", pickle.dumps(batch, protocol=3))


def _write_cifar100(folder: Path) -> None:
    with tarfile.open(folder / "cifar-100-python-target_archive", "w:gz", compresslevel=1) as archive:
        for name, rows in (("train", 600), ("test", 200)):
            fine = np.arange(rows) % 100
            batch = {
                b"data": patches(rows, seed=rows),
                b"fine_labels": fine.tolist(),
                b"coarse_labels": (fine // 5).tolist(),
            }
            _add(archive, f"cifar-100-python/{name}", pickle.dumps(batch, protocol=3))


def _write_texts(folder: Path) -> None:
    """Write paragraphs as the files have reviews and news: the words' numbers, which Keras raises by 3."""
    import hpoviz

    texts = hpoviz.load_dataset("docstrings").x[:600]
    index = {word: number for number, word in enumerate(build_vocabulary(texts), start=1)}
    rows = np.empty(len(texts), dtype=object)
    rows[:] = [[index[word] for word in words(text)] for text in texts]
    half = len(rows) // 2
    moods = np.arange(len(rows)) % 2
    np.savez(folder / "imdb.npz", x_train=rows[:half], y_train=moods[:half], x_test=rows[half:], y_test=moods[half:])
    np.savez(folder / "reuters.npz", x=rows, y=np.arange(len(rows)) % 46)
    for name in ("imdb", "reuters"):
        (folder / f"{name}_word_index.json").write_text(json.dumps(index))


def _write_gtsrb(folder: Path) -> None:
    """Every sign with 6 tracks of 3 pictures and 2 test pictures, of unequal sizes, the sign inside of a margin."""
    folder.mkdir(parents=True, exist_ok=True)
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
    train, test, truth = (folder / f"GTSRB_Final_{part}.zip" for part in ("Training_Images", "Test_Images", "Test_GT"))
    with zipfile.ZipFile(train, "w") as archive:
        for label in range(CLASSES):
            home, table = f"GTSRB/Final_Training/Images/{label:05}", header
            for track in range(6):
                for frame in range(3):
                    name = f"{track:05}_{frame:05}.ppm"
                    content, row = _sign(label, size=20 + 5 * frame + track)
                    archive.writestr(f"{home}/{name}", content)
                    table += f"{name};{row};{label}\n"
            archive.writestr(f"{home}/GT-{label:05}.csv", table)
    with zipfile.ZipFile(test, "w") as archive, zipfile.ZipFile(truth, "w") as labels:
        table = header
        for index in range(2 * CLASSES):
            content, row = _sign(index % CLASSES, size=31 + index % 7)
            archive.writestr(f"GTSRB/Final_Test/Images/{index:05}.ppm", content)
            table += f"{index:05}.ppm;{row};{index % CLASSES}\n"
        labels.writestr("GT-final_test.csv", table)


def _sign(label: int, size: int) -> tuple[bytes, str]:
    """Return a PPM of a flat sign in a black margin of 4, and its row."""
    image = np.zeros((size, size + 2, 3), "uint8")
    image[4:-4, 4:-4] = (5 * label + 20, 100, 200)
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "PPM")
    return packed.getvalue(), f"{size + 2};{size};4;4;{size - 2};{size - 4}"
