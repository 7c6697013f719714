import numpy as np
import pytest
from PIL import Image

from hpoviz.data import folders
from hpoviz.data.dataset import Dataset
from hpoviz.errors import DatasetError

RED, BLUE = (200, 30, 20), (10, 40, 220)


def save(path, colour=RED, size=(6, 4), mode="RGB", **options):
    """Save a flat picture; `size` is (width, height), as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


@pytest.fixture
def pets(tmp_path):
    """Eight red cats and eight blue dogs of one size, in formats of all kinds."""
    for index in range(8):
        suffix = (".png", ".jpg", ".PPM", ".bmp")[index % 4]
        save(tmp_path / "pets" / "cat" / f"{index}{suffix}", RED)
        save(tmp_path / "pets" / "dog" / "more" / f"{index}{suffix}", BLUE)
    return tmp_path / "pets"


def test_pictures_have_the_name_of_their_class_folder(pets):
    data = Dataset.from_folder(pets)
    assert (data.name, data.class_names, data.x.shape[1:], data.x.dtype) == ("pets", ("cat", "dog"), (4, 6, 3), "uint8")
    for images, labels in ((data.x, data.y), (data.x_test, data.y_test)):
        is_red = images[:, 0, 0, 0] > images[:, 0, 0, 2]
        assert is_red.tolist() == (labels == 0).tolist()
    assert data.notes == ()


def test_train_and_test_folders_are_the_split(pets, tmp_path):
    for part in ("train", "test"):
        for name, colour in (("cat", RED), ("dog", BLUE)):
            for index in range(5 if part == "train" else 2):
                save(tmp_path / "split" / part / name / f"{index}.png", colour)
    data = Dataset.from_folder(tmp_path / "split")
    assert (data.class_names, len(data.x), len(data.x_test)) == (("cat", "dog"), 10, 4)
    assert data.test_origin == "given with the data"


def test_unequal_sizes_are_scaled_to_the_median_and_said(pets):
    for index in range(3):
        save(pets / "cat" / f"large{index}.png", size=(600, 400))
    data = Dataset.from_folder(pets)
    assert data.x.shape[1:] == (4, 6, 3)
    assert data.notes == ("pictures of 2 sizes were scaled to 4×6",)
    assert data.concerns[0] == "Pictures of 2 sizes were scaled to 4×6."
    assert repr(data).endswith("(seed 0)); pictures of 2 sizes were scaled to 4×6>")
    assert data._repr_html_().count("ictures of 2 sizes") == 1
    assert Dataset.from_folder(pets, size=(8, 10)).x.shape[1:] == (8, 10, 3)


def test_large_pictures_of_unequal_size_are_scaled_down(tmp_path):
    for index in range(8):
        save(tmp_path / "ab"[index % 2] / f"{index}.png", size=(600 + index, 400))
    assert Dataset.from_folder(tmp_path).x.shape[1:] == (64, 96, 3)


def test_grey_pictures_have_one_channel_unless_colour_is_wanted(tmp_path):
    for index in range(8):
        save(tmp_path / "ab"[index % 2] / f"{index}.png", 30 * index, mode="L")
    data = Dataset.from_folder(tmp_path, test=0.5)
    assert data.x.shape[1:] == (4, 6, 1)
    assert set(data.x[:, 0, 0, 0].tolist()) | set(data.x_test[:, 0, 0, 0].tolist()) == {
        30 * index for index in range(8)
    }
    assert Dataset.from_folder(tmp_path, colour=True).x.shape[1:] == (4, 6, 3)


def test_transparent_turned_and_16_bit_pictures_are_read_as_people_see_them(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees: orientation, as phones write it
    for index in range(4):
        save(tmp_path / "clear" / f"{index}.png", (0, 0, 0, 0), mode="RGBA")
        save(tmp_path / "turned" / f"{index}.jpg", RED, size=(4, 6), exif=turned)
        Image.fromarray(np.full((4, 6), 256 * 77, np.uint16)).save(tmp_path / "clear" / f"deep{index}.png")
    found = folders.read_folder(tmp_path)
    assert found.x.shape[1:] == (4, 6, 3)
    values = {name: found.x[row, 0, 0].tolist() for row, name in enumerate(found.y)}
    assert values["turned"][0] > 190
    assert sorted({int(found.x[row, 0, 0, 0]) for row, name in enumerate(found.y) if name == "clear"}) == [77, 255]


def test_other_files_are_passed_over_and_said_hidden_ones_silently(pets):
    (pets / "cat" / "notes.txt").write_text("red")
    (pets / "cat" / ".DS_Store").write_text("")
    (pets / "readme.md").write_text("")
    (pets / ".git").mkdir()
    data = Dataset.from_folder(pets)
    assert data.notes == ("1 files were passed over, as they are no pictures: notes.txt",)
    assert len(data.x) + len(data.x_test) == 16


def broken(pets):
    (pets / "cat" / "torn.png").write_bytes((pets / "cat" / "0.png").read_bytes()[:40])
    (pets / "dog" / "no picture.jpg").write_text("hello")


BAD_FOLDERS = {
    "no folder": (lambda pets: pets.rename(pets.parent / "gone"), {}, "There is no folder"),
    "no classes": (
        lambda pets: [child.rename(pets.parent / child.name) for child in list(pets.iterdir())],
        {},
        "no class",
    ),
    "an empty class": (lambda pets: (pets / "bird").mkdir(), {}, "have no pictures: bird. Fill or remove them."),
    "no pictures": (
        lambda pets: [file.rename(file.with_suffix(".gz")) for file in list(pets.rglob("*.*"))],
        {},
        "has no pictures in its class folders. Allowed: .png, .jpg, .jpeg, .ppm, .pgm, .bmp. Found: .gz.",
    ),
    "one class": (lambda pets: (pets / "dog").rename(pets.parent / "dog"), {}, "Got 1: ['cat'], as "),
    "broken pictures": (broken, {}, "2 pictures cannot be read. Repair or remove them:"),
    "a wrong size": (lambda pets: None, {"size": 32}, "size must be (height, width) in pixels. Got 32."),
    "a size of 0": (lambda pets: None, {"size": (0, 32)}, "size must be (height, width) in pixels. Got (0, 32)."),
    "too much": (lambda pets: None, {"size": (9999, 9999)}, "16 pictures of 9999×9999×3 take 4.8 GB, more than 4 GB."),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders_are_refused(pets, case):
    spoil, options, message = BAD_FOLDERS[case]
    spoil(pets)
    with pytest.raises(DatasetError) as caught:
        Dataset.from_folder(pets, **options)
    assert message in str(caught.value)
    if case == "broken pictures":
        assert "torn.png" in str(caught.value)
        assert "no picture.jpg (UnidentifiedImageError" in str(caught.value)


def test_a_picture_that_would_fill_the_memory_is_refused(pets, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DatasetError, match="DecompressionBomb"):
        Dataset.from_folder(pets)
