import sys

import pytest

from hpoviz.backends.backend import Backend
from hpoviz.errors import BackendUnavailable, ConfigError, DatasetError
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.model_config import family_for, load_family
from hpoviz.plugins import load_plugin, plugin_names

GROUPS = {
    "hpoviz.architectures": ("architecture", ConfigError, "cnn"),
    "hpoviz.backends": ("backend", BackendUnavailable, "local"),
    "hpoviz.datasets": ("data set", DatasetError, "digits"),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that brings plug-ins, some of them broken."""
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[hpoviz.datasets]\n"
        "other_good = other_plugin:load\n"
        "other_gone = other_plugin_that_is_gone:load\n"
        "other_nameless = other_plugin:nothing\n"
        "other_torn = other_torn_plugin:load\n"
    )
    (tmp_path / "other_plugin.py").write_text("def load():\n    return 'loaded'\n")
    (tmp_path / "other_torn_plugin.py").write_text("def load(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("other_plugin", None)


def test_built_in_names():
    assert {"inline", "local"} <= set(plugin_names("hpoviz.backends"))
    assert "cnn" in plugin_names("hpoviz.architectures")
    assert "digits" in plugin_names("hpoviz.datasets")


@pytest.mark.parametrize("group", GROUPS)
def test_names_are_sorted(group):
    names = plugin_names(group)
    assert names == sorted(set(names))


@pytest.mark.parametrize("name", ["inline", "local"])
def test_every_built_in_backend_loads(name):
    assert issubclass(load_plugin("hpoviz.backends", name), Backend)


def test_what_is_installed_while_the_kernel_runs_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = plugin_names("hpoviz.datasets")
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hpoviz.datasets]\nlate = late:load\n")
    assert plugin_names("hpoviz.datasets") == sorted([*before, "late"])


def test_every_built_in_data_set_and_architecture_loads():
    assert load_plugin("hpoviz.architectures", "cnn") is CnnConfig
    assert load_plugin("hpoviz.datasets", "digits").name == "digits"


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", ["zebra", "", None, 3, ["cnn"], {"a": 1}])
def test_unknown_name(group, name):
    kind, error, known = GROUPS[group]
    with pytest.raises(error) as caught:
        load_plugin(group, name)
    assert str(caught.value).startswith(f"Unknown {kind} {name!r}.")
    assert known in str(caught.value).split("Known: ")[1]


@pytest.mark.parametrize(
    ("group", "name", "meant"),
    [
        ("hpoviz.architectures", "cn", "cnn"),
        ("hpoviz.backends", "locl", "local"),
        ("hpoviz.datasets", "digit", "digits"),
    ],
)
def test_nearest_name_is_offered(group, name, meant):
    with pytest.raises(GROUPS[group][1], match=f"Did you mean '{meant}'?"):
        load_plugin(group, name)


def test_plugin_of_another_package(package):
    assert "other_good" in plugin_names("hpoviz.datasets")
    assert load_plugin("hpoviz.datasets", "other_good")() == "loaded"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other_gone", "No module named 'other_plugin_that_is_gone'"),
        ("other_nameless", "has no attribute 'nothing'"),
        pytest.param(
            "other_torn",
            "invalid syntax",
        ),
    ],
)
def test_broken_plugin(package, name, why):
    with pytest.raises(DatasetError) as caught:
        load_plugin("hpoviz.datasets", name)
    assert str(caught.value).startswith(f"The data set '{name}' (other_")
    assert why in str(caught.value)
    assert str(caught.value).endswith("Reinstall its package.")


@pytest.mark.parametrize("group", GROUPS)
def test_hpoviz_that_is_not_installed(monkeypatch, group):
    monkeypatch.setattr(sys, "path", [])
    kind, error, _ = GROUPS[group]
    with pytest.raises(error, match=f"No {kind} is registered, not even a built-in one. Install hpoviz with pip"):
        load_plugin(group, "cnn")


def test_family_by_name_and_by_kind_of_data():
    assert load_family("cnn") is CnnConfig
    assert family_for("image") == "cnn"


def test_no_family_for_a_kind_of_data():
    with pytest.raises(ConfigError, match=r"No architecture is registered for smell data\. Known: .*cnn"):
        family_for("smell")
