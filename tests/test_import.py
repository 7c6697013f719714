import json
import subprocess
import sys

import pytest

import hpoviz

HEAVY = ("tensorflow", "keras", "optuna", "pandas", "sklearn", "plotly", "IPython", "ipywidgets")
SCRIPT = """
import json, logging, os, sys, warnings

def picture():
    return {
        "root handlers": [repr(handler) for handler in logging.getLogger().handlers],
        "root level": logging.getLogger().level,
        "warning filters": [repr(item) for item in warnings.filters],
        "environment": dict(os.environ),
    }

before = picture()
import hpoviz
after = picture()
print(json.dumps({"before": before, "after": after, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def fresh():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return json.loads(done.stdout) | {"stderr": done.stderr}


@pytest.mark.parametrize("module", HEAVY)
def test_import_leaves_heavy_module_alone(fresh, module):
    assert "hpoviz" in fresh["modules"]
    assert module not in fresh["modules"]


@pytest.mark.parametrize("what", ["root handlers", "root level", "warning filters", "environment"])
def test_import_changes_nothing_of_the_process(fresh, what):
    assert fresh["after"][what] == fresh["before"][what]


def test_import_says_nothing(fresh):
    assert fresh["stderr"] == ""


@pytest.mark.parametrize("name", hpoviz.__all__)
def test_public_name_resolves(name):
    assert getattr(hpoviz, name).__name__ == name


def test_all_is_sorted_and_without_repeats():
    assert hpoviz.__all__ == sorted(set(hpoviz.__all__))


def test_resolved_name_is_kept():
    assert hpoviz.ConfigError is hpoviz.ConfigError
    assert "ConfigError" in vars(hpoviz)


def test_dir_lists_every_public_name_once_and_nothing_else():
    assert hpoviz.Dataset.__name__ == "Dataset"  # used, so loaded
    assert [name for name in dir(hpoviz) if not name.startswith("__")] == hpoviz.__all__


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'hpoviz' has no attribute 'Optimiser'"):
        _ = hpoviz.Optimiser


def test_errors_have_one_base():
    names = [name for name in hpoviz.__all__ if name.endswith("Error")]
    assert len(names) > 5
    assert all(issubclass(getattr(hpoviz, name), hpoviz.HpovizError) for name in names)


def test_wrong_settings_and_data_are_value_errors_too():
    assert issubclass(hpoviz.ConfigError, ValueError)
    assert issubclass(hpoviz.DatasetError, ValueError)
