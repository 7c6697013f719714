import contextlib
import json
import os
import re
import threading
from pathlib import Path

import pytest
import yaml

from hpoviz.errors import StoreError
from hpoviz.events import (
    BatchProgress,
    EpochEnded,
    PhaseChanged,
    RunFinished,
    RunStarted,
    SlotChanged,
    TrialFailed,
    TrialStarted,
)
from hpoviz.store.run_store import RunStore, check_run_dir, new_run_dir, to_yaml, write_atomically

STARTED = RunStarted(run="r", trials=2, slots=1, objective="accuracy")
PROGRESS = BatchProgress(run="r", trial=0, epoch=1, epochs=2, batch=1, batches=9, loss=1.0, accuracy=0.5)
EPOCH = EpochEnded(
    run="r",
    trial=0,
    epoch=1,
    epochs=2,
    loss=float("nan"),
    accuracy=0.5,
    val_loss=1.0,
    val_accuracy=0.5,
    learning_rate=0.1,
    seconds=1.0,
)
DONE = RunFinished(run="r", reason="completed", seconds=1.0)


def phase(text="building"):
    return PhaseChanged(run="r", trial=0, phase=text)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def store(tmp_path):
    made = RunStore.create(tmp_path / "run", {"run": "r", "seed": 3})
    made.begin_writing()
    yield made
    made.end_writing()


def test_layout_of_a_new_run(store):
    assert tree(store.folder) == ["events.jsonl", "hpoviz.log", "run.json", "run.lock", "trials"]


def test_parents_of_the_folder_are_made(tmp_path):
    RunStore.create(tmp_path / "a" / "b" / "run", {})
    assert (tmp_path / "a" / "b" / "run" / "run.json").is_file()


def test_run_json_holds_version_time_and_settings(store):
    record = json.loads((store.folder / "run.json").read_text())
    assert list(record) == ["version", "created", "run", "seed"]
    assert (record["version"], record["run"], record["seed"]) == (1, "r", 3)
    assert record["created"].endswith("+00:00")


def test_layout_of_a_run_with_results(store):
    (store.trial_folder(0) / "model.keras").write_bytes(b"model")
    store.write_best({"score": 0.5})
    (store.folder / "data").mkdir()
    assert tree(store.folder) == [
        "best_hyperparameters.yaml",
        "data",
        "events.jsonl",
        "hpoviz.log",
        "run.json",
        "run.lock",
        "trials",
        "trials/0",
        "trials/0/model.keras",
    ]


def test_trial_folder_may_be_asked_for_again(store):
    assert store.trial_folder(12) == store.trial_folder(12) == store.folder / "trials" / "12"
    assert store.trial_folder(12).is_dir()


def test_events_are_read_back_in_order(store):
    events = [STARTED, phase("building"), phase("training"), DONE]
    for event in events:
        store.append(event)
    assert list(store.events()) == events


def test_each_event_is_on_disk_at_once(store):
    for count, event in enumerate([STARTED, phase(), EPOCH, DONE], start=1):
        store.append(event)
        lines = (store.folder / "events.jsonl").read_text().splitlines()
        assert len(lines) == count
        assert lines[-1] == event.to_json()


def test_batch_progress_is_not_stored(store):
    store.append(STARTED)
    before = [(store.folder / name).read_bytes() for name in ("events.jsonl", "hpoviz.log")]
    store.append(PROGRESS)
    assert [(store.folder / name).read_bytes() for name in ("events.jsonl", "hpoviz.log")] == before
    assert list(store.events()) == [STARTED]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_torn_last_line_is_passed_over(store, cut):
    for event in (STARTED, phase()):
        store.append(event)
    path = store.folder / "events.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    assert list(store.events()) == [STARTED]


def test_run_that_was_torn_in_its_first_line_has_no_events(store):
    (store.folder / "events.jsonl").write_text('{"event": "RunSta')
    assert list(store.events()) == []


def test_new_run_has_no_events(store):
    assert list(store.events()) == []


def test_spoilt_line_in_the_middle_is_an_error(store):
    (store.folder / "events.jsonl").write_text(f"no event\n{STARTED.to_json()}\n")
    with pytest.raises(StoreError, match=r"Line 1 of .* is damaged: .*Got 'no event"):
        list(store.events())


def test_reopened_store_appends(store):
    store.append(STARTED)
    store.end_writing()
    again = RunStore(store.folder)
    assert list(again.events()) == [STARTED]
    again.append(DONE)
    assert list(store.events()) == [STARTED, DONE]


def test_one_writes_and_others_wait(store):
    other = RunStore(store.folder)
    assert store.writer() is None
    assert other.writer().startswith(f"process {os.getpid()} on ")
    with pytest.raises(StoreError, match="is being written by process"):
        other.append(STARTED)
    store.end_writing()
    assert other.writer() is None
    other.append(STARTED)
    assert list(store.events()) == [STARTED]


def test_who_has_not_read_what_others_wrote_must_open_again(store):
    other = RunStore(store.folder)
    store.append(STARTED)
    store.end_writing()
    with pytest.raises(StoreError, match="has gone on elsewhere since it was opened here"):
        other.append(DONE)
    assert list(store.events()) == [STARTED]


def test_store_reopened_after_a_kill_appends_a_line_of_its_own(store):
    for event in (STARTED, phase()):
        store.append(event)
    store.end_writing()
    path = store.folder / "events.jsonl"
    os.truncate(path, path.stat().st_size - 10)
    again = RunStore(store.folder)
    assert list(again.events()) == [STARTED]
    again.append(DONE)
    assert list(again.events()) == [STARTED, DONE]


def test_text_with_line_breaks_stays_one_event(store):
    event = TrialFailed(run="r", trial=0, seconds=1.0, kind="error", reason="a\nb\u2028c\x85d", details="e\r\nf\x0cg")
    store.append(event)
    store.append(DONE)
    assert list(store.events()) == [event, DONE]


def test_events_of_many_threads_are_whole(store):
    def write(slot):
        for number in range(20):
            store.append(SlotChanged(run="r", sequence=number, slot=slot, phase="x" * 500))
            store.note("y" * 500)

    threads = [threading.Thread(target=write, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = list(store.events())
    assert len(events) == 80
    for slot in range(4):
        assert [event.sequence for event in events if event.slot == slot] == list(range(20))


@pytest.mark.parametrize("write", [lambda store: store.append(STARTED), lambda store: store.note("text")])
def test_writers_wait_for_the_lock(store, write):
    writer = threading.Thread(target=write, args=(store,))
    with store._lock:
        writer.start()
        writer.join(0.1)
        assert (store.folder / "hpoviz.log").read_text() == ""
    writer.join()
    assert (store.folder / "hpoviz.log").read_text() != ""


def test_log_says_what_happened(store):
    store.append(SlotChanged(run="r", time="T", slot=2, phase="waiting"))
    store.append(
        TrialFailed(run="r", time="T", trial=7, seconds=1.0, kind="error", reason="boom", details="line 1\nline 2")
    )
    assert (store.folder / "hpoviz.log").read_text().splitlines() == [
        "T SlotChanged: slot=2, phase=waiting",
        "T trial id 7 TrialFailed: seconds=1.0, reason=boom, kind=error",
        "line 1",
        "line 2",
    ]


def test_log_of_a_trial_gives_its_parameters(store):
    store.append(TrialStarted(run="r", trial=0, slot=0, params={"filters": 8}, suggested={"filters": {}}, seed=1))
    assert "params={'filters': 8}" in (store.folder / "hpoviz.log").read_text()


def test_notes_carry_the_time(store):
    store.note("a worker said this\n")
    line = (store.folder / "hpoviz.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+\+00:00 a worker said this\n", line)


def test_note_after_the_end_is_passed_over(store):
    store.end_writing()
    before = (store.folder / "hpoviz.log").read_text()
    store.note("too late")
    assert (store.folder / "hpoviz.log").read_text() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    store = RunStore(tmp_path)
    with pytest.raises(StoreError, match=r"events.jsonl cannot be written: .*No space left.* Free space and go on."):
        store.append(STARTED)


def test_ending_twice_is_fine(store):
    store.append(STARTED)
    store.end_writing()
    store.end_writing()
    assert RunStore(store.folder).writer() is None


def test_best_hyperparameters_are_the_latest(store):
    store.write_best({"score": 0.5, "params": {"b": 1, "a": "ü", "c": (1, 2)}})
    store.write_best({"score": 0.75, "params": {"b": True, "a": None}})
    text = (store.folder / "best_hyperparameters.yaml").read_text(encoding="utf-8")
    assert text == "score: 0.75\nparams:\n  b: true\n  a: null\n"


def test_yaml_keeps_order_and_letters():
    assert to_yaml({"b": "ü", "a": (1, 2)}).decode() == "b: ü\na:\n- 1\n- 2\n"
    assert yaml.safe_load(to_yaml({"x": {"y": 1e-05, "z": "1e-5"}})) == {"x": {"y": 1e-05, "z": "1e-5"}}


def test_dropped_model_leaves_the_rest(store):
    folder = store.trial_folder(3)
    (folder / "model.keras").write_bytes(b"model")
    (folder / "history.csv").write_bytes(b"history")
    store.drop_model(3)
    store.drop_model(3)
    store.drop_model(4)
    assert tree(folder) == ["history.csv"]


def test_write_atomically_makes_and_replaces(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert tree(tmp_path) == ["file.txt"]


def test_failed_write_keeps_the_old_content_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text is no bytes")
    assert path.read_bytes() == b"old"
    assert tree(tmp_path) == ["file.txt"]


def test_failed_replacement_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"content")
    assert tree(tmp_path) == ["folder", "folder/inside"]


def test_write_into_a_folder_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "gone" / "file", b"content")
    assert tree(tmp_path) == []


def test_reader_sees_old_or_new_content_only(tmp_path):
    path, contents = tmp_path / "file", [letter * 100_000 for letter in (b"a", b"b")]
    write_atomically(path, contents[0])
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        write_atomically(path, contents[number % 2])
    stop.set()
    reader.join()
    assert seen
    assert seen <= set(contents)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_written_file_has_the_usual_permissions(tmp_path):
    write_atomically(tmp_path / "atomic", b"content")
    (tmp_path / "usual").write_bytes(b"content")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file"])
def test_run_dir_that_exists(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("content")
    else:
        path.mkdir()
        if kind == "folder":
            (path / "mine.txt").write_text("content")
    before = tree(tmp_path)
    for refuse in (check_run_dir, lambda path: RunStore.create(path, {})):
        with pytest.raises(
            StoreError, match=r"exists already\. Name a folder that does not exist yet, or use hpoviz\.open_run"
        ):
            refuse(path)
    assert tree(tmp_path) == before


def test_run_dir_below_a_file(tmp_path):
    (tmp_path / "file").write_text("content")
    for refuse in (check_run_dir, lambda path: RunStore.create(path, {})):
        with pytest.raises(StoreError, match=r"cannot be created: '.*file' is no writable directory. Name another."):
            refuse(tmp_path / "file" / "deep" / "run")
    assert tree(tmp_path) == ["file"]


def test_run_dir_in_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    everywhere = os.access(tmp_path, os.W_OK)  # an administrator may write everywhere
    try:
        with contextlib.nullcontext() if everywhere else pytest.raises(StoreError, match="is no writable directory"):
            check_run_dir(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)
    assert tree(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can create anything")
def test_run_dir_that_the_system_refuses():
    with pytest.raises(StoreError, match=r"cannot be created( in|:)") as caught:
        RunStore.create(Path("/proc/hpoviz/run"), {})
    assert "Name another" in str(caught.value)


def test_dangling_link_as_run_dir(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(StoreError):
        RunStore.create(tmp_path / "run", {})
    assert tree(tmp_path) == ["run"]


def test_check_creates_nothing(tmp_path):
    assert check_run_dir(tmp_path / "a" / "b") is None
    assert tree(tmp_path) == []


def test_relative_run_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_run_dir(Path("run")) is None
    RunStore.create(Path("run"), {})
    assert "run.json" in tree(tmp_path / "run")


def test_new_run_dir_is_fresh_and_creates_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = {new_run_dir("digits") for _ in range(20)}
    assert len(paths) == 20
    assert all(re.fullmatch(r"hpoviz_runs/\d{8}-\d{6}-digits-[0-9a-f]{4}", path.as_posix()) for path in paths)
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my data/../set", "my-data-..-set"),
        ("../..", "data"),
        ("", "data"),
        ("ümläut", "ml-ut"),
        ("-.x.-", "x"),
        ("a" * 100, "a" * 40),
        ("CIFAR_10.v2", "CIFAR_10.v2"),
    ],
)
def test_run_dir_holds_a_harmless_form_of_the_name(name, part):
    path = new_run_dir(name)
    assert path.parent == Path("hpoviz_runs")
    assert re.fullmatch(r"\d{8}-\d{6}-(.*)-[0-9a-f]{4}", path.name)[1] == part


def test_a_folder_of_many_runs_names_the_latest_ten(tmp_path):
    for place in range(12):
        RunStore.create(tmp_path / f"run-{place:02}", {})
        os.utime(tmp_path / f"run-{place:02}" / "run.json", (1000 + place, 1000 + place))
    with pytest.raises(StoreError, match=r"the latest first: '.*run-11', .*'.*run-02', and 2 more\.$"):
        RunStore.open(tmp_path)


def test_a_folder_without_runs_has_none_to_name(tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(StoreError, match=r"it has no run\.json\. Name the folder of a run\.$"):
        RunStore.open(tmp_path)
