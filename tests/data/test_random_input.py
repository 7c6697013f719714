"""Whatever people have in folders, streams and tables: a data set, or a DatasetError, and nothing else."""

import io
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hpoviz.data.dataset import Dataset
from hpoviz.errors import DatasetError

NAMES = st.sampled_from(["cat", "dog", "train", "test", ".hidden", "a b", "ü", "<i>", "1"])
SUFFIXES = st.sampled_from([".png", ".jpg", ".PPM", ".bmp", ".txt", "", ".npy", ".gif"])


def picture(mode, size, kind):
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind)
    return content.getvalue()


CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(
        picture,
        st.sampled_from(["RGB", "L", "1"]),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.sampled_from(["PNG", "PPM", "BMP"]),
    ),
)
FILES = st.lists(st.tuples(st.lists(NAMES, max_size=3), SUFFIXES, CONTENTS), max_size=14)


def valid(make):
    """Make a data set; if there is one, it is whole."""
    try:
        data = make()
    except DatasetError:
        return
    assert len(data.x) == len(data.y) > 0
    assert len(data.x_test) == len(data.y_test) > 0
    assert 0 <= data.y.min() <= data.y.max() < len(data.class_names)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_folders(files):
    with tempfile.TemporaryDirectory() as place:
        for number, (path, suffix, content) in enumerate(files):
            folder = Path(place, *path)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}{suffix}").write_bytes(content)
        before = {path: path.stat().st_size for path in Path(place).rglob("*") if path.is_file()}
        valid(lambda: Dataset.from_folder(place))
        assert {path: path.stat().st_size for path in Path(place).rglob("*") if path.is_file()} == before


ELEMENTS = hnp.arrays(
    st.sampled_from([np.uint8, np.float32, np.int64, np.bool_]),
    hnp.array_shapes(min_dims=1, max_dims=5, max_side=6),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ELEMENTS, ELEMENTS, st.integers(0, 4))
def test_streams(x, y, batch):
    rows = min(len(x), len(y))
    stream = tf.data.Dataset.from_tensor_slices((x[:rows], y[:rows]))
    valid(lambda: Dataset.from_tf(stream.batch(batch) if batch else stream))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_csv_files(content):
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "texts.csv")
        path.write_bytes(content)
        valid(lambda: Dataset.from_csv(path, text="text", label="label"))
        valid(lambda: Dataset.from_csv(path, text=0, label=1))
