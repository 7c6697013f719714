"""Pictures in class folders: ``folder/cat/1.png``, or with a given split ``folder/train/cat/1.png``."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hpoviz.errors import DatasetError

__all__ = ["FolderImages", "read_folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp")
SPLITS = ("train", "test")
MOST_BYTES = 4e9
LONGEST_SIDE = 96  # of pictures of unequal size, unless a size is given: a first search should not take days
MOST_NAMED = 10
GREY_MODES = ("1", "L", "I", "I;16", "F")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderImages:
    """The pictures of a folder.

    Attributes
    ----------
    x : ndarray of uint8, (n, height, width, channels)
    y : list of str
        Names of the class folders.
    is_test : ndarray of bool or None
        None where the folder has no split.
    notes : tuple of str
        What was done or passed over.
    """

    x: np.ndarray
    y: list[str]
    is_test: np.ndarray | None
    notes: tuple[str, ...]


def read_folder(
    path: str | os.PathLike[str], *, size: tuple[int, int] | None = None, colour: bool | None = None
) -> FolderImages:
    """Read PNG, JPEG, PPM, PGM and BMP pictures from class folders.

    Parameters
    ----------
    path : str or path
        Holds a folder a class, or ``train`` and ``test`` with a folder a class each. Folders in a class are read too.
    size : (height, width), optional
        To which all are scaled. None: their own, if it is equal; else the median, its longer side at most 96.
    colour : bool, optional
        Three channels or one. None: three if any picture has colour.

    Raises
    ------
    DatasetError
        No such folder, no class folders, a class without pictures, pictures that cannot be read (all are named), or
        more than fit in memory.
    """
    top = Path(path)
    files = _find(top)
    pictures = [found for found in files if found.file.suffix.lower() in SUFFIXES]
    passed_over = [found.file.name for found in files if found.file.suffix.lower() not in SUFFIXES]
    _check_classes(top, pictures, files)
    _check_several(top, pictures)
    sizes, modes = _examine([found.file for found in pictures])
    height, width = _common_size(sizes) if size is None else _checked_size(size)
    in_colour = any(mode not in GREY_MODES for mode in modes) if colour is None else colour
    shape = (len(pictures), height, width, 3 if in_colour else 1)
    needed = math.prod(shape)
    if needed > MOST_BYTES:
        raise DatasetError(
            f"{len(pictures):,} pictures of {height}×{width}×{shape[3]} take {needed / 1e9:.1f} GB, more than "
            f"{MOST_BYTES / 1e9:.0f} GB. Give a smaller size=(height, width)."
        )
    x = np.empty(shape, np.uint8)
    for row, found in enumerate(pictures):
        x[row] = _pixels(found.file, *shape[1:])
    notes = []
    if any(found != (height, width) for found in sizes):
        notes.append(f"pictures of {len(sizes)} sizes were scaled to {height}×{width}")
    if passed_over:
        notes.append(
            f"{len(passed_over)} files were passed over, as they are no pictures: {', '.join(passed_over[:3])}"
        )
    is_test = np.array([found.is_test for found in pictures])
    return FolderImages(
        x=x, y=[found.label for found in pictures], is_test=is_test if is_test.any() else None, notes=tuple(notes)
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """A file in a class folder."""

    file: Path
    label: str
    is_test: bool


def _find(top: Path) -> list[_Found]:
    """Return all files of the class folders, in the order of their names."""
    if not top.is_dir():
        raise DatasetError(f"There is no folder {str(top)!r}.")
    names = _folders_in(top)
    if not names:
        raise DatasetError(
            f"{str(top)!r} has no class folders. Put the pictures of each class in a folder of its name: "
            "folder/cat/1.png, folder/dog/1.png."
        )
    homes = [top / name for name in names] if set(names) == set(SPLITS) else [top]
    return [
        _Found(file, label, home.name == "test" and home != top)
        for home in homes
        for label in _folders_in(home)
        for file in sorted((home / label).rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(home).parts)
    ]


def _folders_in(home: Path) -> list[str]:
    return sorted(child.name for child in home.iterdir() if child.is_dir() and not child.name.startswith("."))


def _check_classes(top: Path, pictures: Sequence[_Found], files: Sequence[_Found]) -> None:
    """Raise DatasetError where there are no pictures at all, or none in a class folder."""
    if not pictures:
        suffixes = ", ".join(sorted({found.file.suffix or "no suffix" for found in files})) or "none"
        raise DatasetError(
            f"{str(top)!r} has no pictures in its class folders. Allowed: {', '.join(SUFFIXES)}. Found: {suffixes}."
        )
    homes = {found.file.relative_to(top).parts[0] for found in pictures} & set(SPLITS) == set(SPLITS)
    classes = [(part, label) for part in (SPLITS if homes else ("",)) for label in _folders_in(top / part)]
    filled = {(("test" if found.is_test else "train") if homes else "", found.label) for found in pictures}
    if empty := [str(Path(part) / label) for part, label in classes if (part, label) not in filled]:
        raise DatasetError(
            f"These class folders of {str(top)!r} have no pictures: {', '.join(empty[:MOST_NAMED])}. Fill or remove "
            "them."
        )


def _check_several(top: Path, pictures: Sequence[_Found]) -> None:
    """Raise DatasetError where all pictures are of one class."""
    names = sorted({found.label for found in pictures})
    if len(names) == 1:
        raise DatasetError(
            f"A classifier needs at least two classes. Got 1: {names}, as {str(top)!r} has one class folder. Put the "
            "pictures of each class in a folder of its name, and name the folder above them."
        )


def _examine(pictures: Sequence[Path]) -> tuple[Counter[tuple[int, int]], set[str]]:
    """Return how often each (height, width) occurs, and all modes; name every picture that cannot be read."""
    sizes, modes, bad = Counter[tuple[int, int]](), set(), []
    for file in pictures:
        try:
            with _opened(file) as picture:
                picture.load()
                upright = ImageOps.exif_transpose(picture)
                sizes[upright.height, upright.width] += 1
                modes.add(picture.mode)
        except Exception as error:  # Pillow raises errors of many kinds for what is no picture
            bad.append(f"{file} ({type(error).__name__}: {str(error)[:80]})")
    if bad:
        more = f"\n… and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        named = "\n".join(bad[:MOST_NAMED])
        raise DatasetError(f"{len(bad)} pictures cannot be read. Repair or remove them:\n{named}{more}")
    return sizes, modes


def _opened(file: Path) -> Any:
    """Open a picture; one that is suspiciously large is an error, not a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file)


def _checked_size(size: Any) -> tuple[int, int]:
    fine = isinstance(size, tuple | list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if not fine:
        raise DatasetError(f"size must be (height, width) in pixels. Got {size!r}.")
    return size[0], size[1]


def _common_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    if len(sizes) == 1:
        return next(iter(sizes))
    height, width = np.median(np.array(list(sizes.elements())), axis=0)
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _pixels(file: Path, height: int, width: int, channels: int) -> np.ndarray:
    """Return a picture as uint8 (height, width, channels), upright, on white where it is transparent."""
    with _opened(file) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode in ("I", "I;16", "F"):  # 16 bits: the upper eight
            picture = Image.fromarray((np.asarray(picture, np.float64) / 256).clip(0, 255).astype(np.uint8))
        if "A" in picture.getbands() or "transparency" in picture.info:
            layer = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        picture = picture.convert("RGB" if channels == 3 else "L")
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(picture, np.uint8).reshape(height, width, channels)
