"""From where on something is a finding, and what healthy models have: fitted to healthy and faulty models.

``calibration.json`` is made by ``python -m tests.benchmarks.calibrate_health``; it says of what it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CALIBRATION", "THRESHOLDS", "USUAL"]

CALIBRATION: Mapping[str, Any] = json.loads(Path(__file__).with_name("calibration.json").read_text("utf-8"))
THRESHOLDS: Mapping[str, float] = CALIBRATION["thresholds"]
USUAL: Mapping[str, float] = {metric: low for metric, (low, _) in CALIBRATION["usual"].items()}  # 5% have less
