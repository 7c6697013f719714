import numpy as np
import pytest
import tensorflow as tf

from hpoviz.data import streams
from hpoviz.data.dataset import Dataset
from hpoviz.errors import DatasetError

IMAGES = np.random.default_rng(0).integers(0, 255, (40, 5, 4, 3)).astype("uint8")
LABELS = np.arange(40) % 2


def dataset(x=IMAGES, y=LABELS):
    return tf.data.Dataset.from_tensor_slices((x, y))


def test_images_keep_their_order_type_and_last_batch():
    data = Dataset.from_tf(dataset().batch(16), test=dataset().take(6).batch(4))
    np.testing.assert_array_equal(data.x, IMAGES)
    np.testing.assert_array_equal(data.y, LABELS)
    np.testing.assert_array_equal(data.x_test, IMAGES[:6])
    assert data.x.dtype == np.uint8


def test_a_share_is_set_apart():
    assert len(Dataset.from_tf(dataset().batch(16), test=0.25).x_test) == 10


def test_texts_and_one_hot_labels():
    texts = [f"wörd {row}" for row in range(40)]
    data = Dataset.from_tf(dataset(texts, np.eye(2)[LABELS]).batch(7))
    assert data.kind == "text"
    assert set(data.x) | set(data.x_test) == set(texts)


def test_what_keras_makes_of_a_folder(tmp_path):
    import keras

    for row, image in enumerate(IMAGES):
        folder = tmp_path / "ab"[row % 2]
        folder.mkdir(exist_ok=True)
        keras.utils.save_img(folder / f"{row:02}.png", image)
    made = keras.utils.image_dataset_from_directory(tmp_path, image_size=(5, 4), batch_size=8, verbose=False)
    data = Dataset.from_tf(made, name="folder")
    assert data.x.shape == (32, 5, 4, 3)


def endless():
    while True:
        yield IMAGES[:8], LABELS[:8]


BAD = {
    "an array": (lambda: IMAGES, "dataset must be a tf.data.Dataset. Got ndarray."),
    "no batches": (lambda: dataset(), "must be batched images or texts with labels. Got x of shape (5, 4, 3)"),
    "a table": (lambda: dataset(IMAGES.reshape(40, -1)).batch(4), "must be batched images or texts with labels."),
    "no labels": (lambda: tf.data.Dataset.from_tensor_slices(IMAGES).batch(4), "must give pairs (x, y)"),
    "a dictionary": (lambda: dataset({"a": IMAGES}).batch(4), "must give pairs (x, y) of dense tensors."),
    "infinite": (lambda: dataset().repeat().batch(4), "dataset is infinite. Leave repeat() out"),
    "empty": (lambda: dataset().filter(lambda x, y: False).batch(4), "dataset is empty."),
    "unequal sizes": (
        lambda: tf.data.Dataset.from_generator(
            lambda: iter([(IMAGES[:4], LABELS[:4]), (IMAGES[:4, 1:], LABELS[:4])]),
            output_signature=(tf.TensorSpec((None, None, 4, 3), tf.uint8), tf.TensorSpec((None,), tf.int64)),
        ),
        "must have samples of one shape",
    ),
    "two texts a sample": (
        lambda: dataset(np.array([["a", "b"]] * 40), LABELS).batch(4),
        "must have one text a sample. Got 2.",
    ),
    "bytes that are no text": (lambda: dataset([b"\xff"] * 40, LABELS).batch(4), "must hold texts in UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_datasets_are_refused(case):
    make, message = BAD[case]
    with pytest.raises(DatasetError) as caught:
        Dataset.from_tf(make())
    assert message in str(caught.value)


def test_one_that_does_not_end_and_does_not_say_so_is_given_up(monkeypatch):
    monkeypatch.setattr(streams, "MOST_BYTES", 100_000)
    signature = (tf.TensorSpec((None, 5, 4, 3), tf.uint8), tf.TensorSpec((None,), tf.int64))
    made = tf.data.Dataset.from_generator(endless, output_signature=signature)
    with pytest.raises(DatasetError, match="or does not end"):
        Dataset.from_tf(made)
