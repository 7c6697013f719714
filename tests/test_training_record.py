"""What is kept of a trial's layers: histograms, and a file that comes back as it was."""

import contextlib
import dataclasses

import numpy as np
import pytest

from hpoviz.errors import StoreError
from hpoviz.training_record import BINS, Histograms, TrainingRecord, histograms
from tests.made_up_record import made_up_record


def same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(a):
            same(a, b)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype, field.name
        elif field.name == "maps":
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        else:
            assert list(a) == list(b) if isinstance(a, list | tuple) else a == b


def test_a_record_comes_back(tmp_path):
    record = made_up_record()
    (tmp_path / "arrays.npz").write_bytes(record.to_bytes())
    same(record, TrainingRecord.load(tmp_path / "arrays.npz"))


def test_a_record_without_predictions_comes_back(tmp_path):
    record = dataclasses.replace(made_up_record(), predictions=None, problem="it is <b>odd</b>")
    (tmp_path / "arrays.npz").write_bytes(record.to_bytes())
    same(record, TrainingRecord.load(tmp_path / "arrays.npz"))


@pytest.mark.parametrize("content", [b"", b"no zip", made_up_record().to_bytes()[:200]], ids=["empty", "text", "torn"])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "arrays.npz").write_bytes(content)
    with pytest.raises(StoreError, match=r"arrays.npz' cannot be read"):
        TrainingRecord.load(tmp_path / "arrays.npz")


def test_damages_of_every_kind(tmp_path):
    whole, chance = made_up_record().to_bytes(), np.random.default_rng(0)
    path = tmp_path / "arrays.npz"
    for _ in range(200):
        spoilt = bytearray(whole)
        for at in chance.integers(0, len(whole), 20):
            spoilt[at] = chance.integers(256)
        path.write_bytes(spoilt)
        with contextlib.suppress(StoreError):  # or it is read, where nothing that matters was hit
            TrainingRecord.load(path)


def test_a_file_with_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "arrays.npz", about=np.array([{"version": 1}], dtype=object))
    with pytest.raises(StoreError, match="cannot be read"):
        TrainingRecord.load(tmp_path / "arrays.npz")


def test_no_file(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        TrainingRecord.load(tmp_path / "arrays.npz")


def test_histograms_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=1000).astype("float32")
    found = histograms([[values, values * 2], [values + 1, values]])
    counts, edges = np.histogram(values.astype(float), BINS)
    assert found.counts[1, 1].tolist() == counts.tolist()
    assert (found.low[1, 1], found.high[1, 1]) == (pytest.approx(edges[0]), pytest.approx(edges[-1]))
    middles, density = found.density(0, 1)
    assert density.sum() * (middles[1] - middles[0]) == pytest.approx(1)


@pytest.mark.parametrize("values", [[3.0] * 5, [0.0], [np.nan, 3.0, np.inf]], ids=["constant", "zero", "not finite"])
def test_constants_and_what_is_not_finite(values):
    found = histograms([[np.array(values)]])
    assert found.counts.sum() == np.isfinite(values).sum()
    assert found.low[0, 0] < found.high[0, 0]


def test_nothing_finite():
    found = histograms([[np.array([np.nan])]])
    assert found.counts.sum() == 0
    assert np.isnan(found.low[0, 0])


def test_no_looks():
    found = histograms([])
    assert isinstance(found, Histograms)
    assert found.counts.shape == (0, 0, BINS)
