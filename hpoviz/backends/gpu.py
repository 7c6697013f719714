"""What this machine's NVIDIA driver says of its GPUs, asked without TensorFlow."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from pathlib import Path

__all__ = ["has_gpu", "memory_in_use", "warn_if_taken"]

MOST_IN_USE = 0.5  # of a card's memory when workers start
ANSWER_S = 10.0


def has_gpu() -> bool:
    """Tell whether workers will find an NVIDIA GPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and Path("/dev/nvidia0").exists()


def memory_in_use() -> float | None:
    """Return the share of the first GPU's memory that is taken, 0 to 1; None where the driver does not say."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    asked = [tool, "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=ANSWER_S, check=True).stdout
        used, total = map(float, answer.splitlines()[0].split(","))
        return used / total
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, ZeroDivisionError):
        return None


def warn_if_taken() -> None:
    """Warn that workers will find little memory on the GPU, as TensorFlow takes nearly all where it is used first."""
    taken = memory_in_use() if has_gpu() else None
    if taken is not None and taken > MOST_IN_USE:
        warnings.warn(
            f"{taken:.0%} of the GPU's memory is taken before the workers start, so trials may run out of it. If this "
            "notebook has used TensorFlow, restart its kernel and start the search first. To share the card, set "
            'os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true" before TensorFlow is imported.',
            stacklevel=2,
        )
