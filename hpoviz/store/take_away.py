"""What can be taken away from a run as one file: its best model, or all of it."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from hpoviz.errors import StoreError
from hpoviz.store.run_store import to_yaml

__all__ = ["BEST_RECORD", "model_zip", "zip_run"]

BEST_RECORD = "best_hyperparameters.yaml"
LEFT_OUT = ("run.lock",)
SHARED_DATA = "data"  # arrays of a search that runs, which are not the run's own


def model_zip(model: Path, record: Mapping[str, Any]) -> bytes:
    """Return a zip file with a saved model, ``model.keras``, and its ``best_hyperparameters.yaml``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(model, "model.keras")
        archive.writestr(BEST_RECORD, to_yaml(record))
    return content.getvalue()


def zip_run(folder: Path, target: IO[bytes], but: Path | None = None) -> None:
    """Write everything of a run into a zip file, under the run's name, for `hpoviz.open_run` elsewhere.

    What `but` names is left out: an earlier file of this kind.

    Raises
    ------
    StoreError
        A file cannot be read, or `target` not written.
    """
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(folder.rglob("*")):
                inside = path.relative_to(folder)
                temporary = path.name.startswith(".") or path.name in LEFT_OUT or inside.parts[0] == SHARED_DATA
                same = but is not None and path.absolute() == but.absolute()
                if path.is_file() and not path.is_symlink() and not temporary and not same:
                    with contextlib.suppress(FileNotFoundError):  # a model that a running search drops
                        archive.write(path, Path(folder.name) / inside)
    except OSError as error:
        raise StoreError(f"The run in {str(folder)!r} cannot be packed: {error}.") from error
