"""Results are exact, resumable after any kill, never mixed and never silently reused."""

import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hopmix
from hopmix.experiment import Experiment, ExperimentBusy, MissingDevice, experiments
from hopmix.result import CorruptResult, NotFinite, ResultMismatch


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = 3
    size: int = 4
    rates: tuple[float, ...] = (0.1, 0.2)


def make(trial=None, version=1, scales=None, trials=None, summarise=None, name="burrow.rabbit"):
    def walk(config, key):
        steps = np.random.default_rng(key).normal(size=config.size)
        return {"path": steps.cumsum(), "end": steps.sum()}

    def mean(config, trials):
        return {"mean": float(np.mean([trial["end"] for trial in trials]))}

    return Experiment(
        name, version, scales or {"smoke": Config()}, trials or (lambda config: list(range(config.seeds))), trial or walk, summarise or mean
    )


def counting(calls):
    def trial(config, key):
        calls.append(key)
        return {"value": float(key)}

    return make(trial, summarise=lambda config, trials: {"total": sum(t["value"] for t in trials)})


def test_in_memory_and_on_disk_are_the_same_numbers(tmp_path):
    experiment = make()
    memory, disk, loaded = experiment.run("smoke"), experiment.run("smoke", tmp_path), experiment.load(tmp_path, "smoke")
    assert disk == loaded
    for field in ("name", "scale", "config", "trials", "summary", "version", "keys"):
        assert getattr(memory, field) == getattr(disk, field)
    expected = [np.random.default_rng(seed).normal(size=4) for seed in range(3)]
    assert [trial["end"] for trial in loaded.trials] == [steps.sum() for steps in expected]
    assert [trial["path"] for trial in loaded.trials] == [list(steps.cumsum()) for steps in expected]
    assert loaded.summary["mean"] == np.mean([steps.sum() for steps in expected])
    assert os.listdir(tmp_path) == ["burrow.rabbit.smoke.json"]


def test_the_file_holds_everything_sorted_with_a_last_newline(tmp_path):
    make().run("smoke", tmp_path)
    text = (tmp_path / "burrow.rabbit.smoke.json").read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert set(content) == {"name", "scale", "config", "trials", "summary", "provenance", "wall_seconds", "version", "keys", "device"}
    assert content["config"] == {"seeds": 3, "size": 4, "rates": [0.1, 0.2]}
    assert content["keys"] == [0, 1, 2]
    assert content["provenance"]["hopmix"] == hopmix.__version__
    assert content["wall_seconds"] > 0


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70))
def test_every_number_reads_back_exactly(number, whole):
    experiment = make(lambda config, key: {"a": number, "b": [whole, {"c": number}]}, summarise=lambda config, trials: trials[0])
    result = experiment.run("smoke")
    back = json.loads(result.to_json())["trials"][0]
    assert (back["a"].hex(), back["b"]) == (number.hex(), [whole, {"c": number}])


def test_arrays_tensors_and_tuples_become_lists():
    kinds = {
        "array": np.arange(4, dtype=np.float32).reshape(2, 2) / 3,
        "scalar": np.float64(0.1),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "tensor": torch.full((2,), 1 / 3, dtype=torch.float32, requires_grad=True),
        "half": torch.tensor(1.5, dtype=torch.bfloat16),
        "tuple": (1, "a", None, False),
        "config": Config(1),
    }
    found = make(lambda config, key: kinds, summarise=lambda config, trials: {}).run("smoke").trials[0]
    third = float(np.float32(1) / np.float32(3))
    assert found["array"] == [[0.0, third], [float(np.float32(2) / np.float32(3)), 1.0]]
    assert (found["scalar"], found["count"], found["flag"]) == (0.1, 3, True)
    assert (found["tensor"], found["half"], found["tuple"]) == ([third, third], 1.5, [1, "a", None, False])
    assert found["config"] == {"seeds": 1, "size": 4, "rates": [0.1, 0.2]}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("-inf"), torch.tensor([1.0, float("nan")])])
def test_a_number_that_is_none_is_named(tmp_path, bad):
    experiment = make(lambda config, key: {"good": 1.0, "losses": {"test": bad if key == 1 else 0.0}})
    with pytest.raises(NotFinite, match=r"trial 1 \(key 1\): losses: test.* is -?(nan|inf); allowed: finite numbers"):
        experiment.run("smoke", tmp_path)
    assert not (tmp_path / "burrow.rabbit.smoke.json").exists()
    with pytest.raises(NotFinite, match="summary: mean is nan"):
        make(summarise=lambda config, trials: {"mean": float("nan")}).run("smoke")


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ([1], r"trial 0 \(key 0\) is list; allowed: dict"),
        ({1: 2}, r"trial 0 \(key 0\) has the key 1 \(int\); allowed: str"),
        ({"a": {2, 3}}, r"trial 0 \(key 0\): a is set; allowed"),
        ({"a": [1j]}, r"trial 0 \(key 0\): a\[0\] is complex"),
        ({"a": np.longdouble(1)}, "a is longdouble"),
        ({"a": Config}, "a is type"),
    ],
)
def test_what_json_cannot_hold_is_named(trial, words):
    with pytest.raises(TypeError, match=words):
        make(lambda config, key: trial).run("smoke")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "Burrow/rabbit"}, "name: 'Burrow/rabbit' is no name"),
        ({"version": 0}, "version: 0 is no version"),
        ({"version": "1"}, "version: '1' is no version"),
        ({"scales": {"huge": Config()}}, "scales: found huge; allowed: smoke, laptop, gpu"),
    ],
)
def test_a_malformed_experiment_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)


def test_unknown_scale_and_repeated_keys():
    with pytest.raises(ValueError, match="scale: 'gpu' is unknown to burrow.rabbit; allowed: smoke"):
        make().run("gpu")
    with pytest.raises(ValueError, match=r"trials: the keys \[1, 1\] of burrow.rabbit repeat"):
        make(trials=lambda config: [1, 1]).run("smoke")


def test_a_summary_cannot_change_the_trials():
    def greedy(config, trials):
        trials[0].clear()
        return {"left": trials.pop()["end"]}

    assert len(make(summarise=greedy).run("smoke").trials[0]["path"]) == 4


def test_a_result_is_loaded_not_run_again_unless_fresh(tmp_path):
    calls = []
    experiment = counting(calls)
    first = experiment.run("smoke", tmp_path)
    assert experiment.run("smoke", tmp_path) == first
    assert calls == [0, 1, 2]
    again = experiment.run("smoke", tmp_path, fresh=True)
    assert calls == [0, 1, 2] * 2
    assert again.trials == first.trials


def test_the_global_random_state_and_thread_count_stay(tmp_path):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()
    make().run("smoke", tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert (np.random.get_state()[1] == numpy_state).all()


def test_a_result_of_another_config_or_version_is_refused_by_name(tmp_path):
    make().run("smoke", tmp_path)
    before = (tmp_path / "burrow.rabbit.smoke.json").read_text()
    with pytest.raises(ResultMismatch, match=r"another config.size \(4 in the file, 5 now\), version \(1 in the file, 2 now\)"):
        make(version=2, scales={"smoke": Config(size=5)}).run("smoke", tmp_path)
    other = {"smoke": {"seeds": 3, "size": 4, "depth": 2}}
    with pytest.raises(ResultMismatch, match=r"config.depth \(nothing in the file, 2 now\), config.rates \(\[0.1, 0.2\] in the file, nothing now\)"):
        make(scales=other).load(tmp_path, "smoke")
    assert (tmp_path / "burrow.rabbit.smoke.json").read_text() == before
    assert os.listdir(tmp_path) == ["burrow.rabbit.smoke.json"]
    changed = make(version=2).run("smoke", tmp_path, fresh=True)
    assert changed.version == 2
    assert make(version=2).load(tmp_path, "smoke") == changed


def test_a_renamed_result_is_refused(tmp_path):
    make().run("smoke", tmp_path)
    (tmp_path / "burrow.rabbit.smoke.json").rename(tmp_path / "burrow.hare.smoke.json")
    with pytest.raises(ResultMismatch, match='name \\("burrow.rabbit" in the file, "burrow.hare" now\\)'):
        make(name="burrow.hare").run("smoke", tmp_path)


def test_a_failing_fresh_run_keeps_the_old_result(tmp_path):
    make().run("smoke", tmp_path)
    path = tmp_path / "burrow.rabbit.smoke.json"
    before = path.read_text()
    with pytest.raises(ZeroDivisionError):
        make(lambda config, key: {"a": 1 / (1 - key)}).run("smoke", tmp_path, fresh=True)
    assert path.read_text() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "burrow.rabbit"}', "\ufffd"])
def test_a_corrupt_result_is_named_and_kept(tmp_path, text):
    path = tmp_path / "burrow.rabbit.smoke.json"
    path.write_text(text)
    with pytest.raises(CorruptResult, match="burrow.rabbit.smoke.json is no (JSON|result)"):
        make().run("smoke", tmp_path)
    assert path.read_text() == text
    assert make().run("smoke", tmp_path, fresh=True) == make().load(tmp_path, "smoke")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trials": {}}, "trials is dict; allowed: list"),
        ({"trials": [1, 2, 3]}, "trial 0 is int; allowed: dict"),
        ({"trials": [{}]}, "1 trials for 3 keys"),
        ({"keys": "012"}, "keys is str; allowed: list"),
        ({"summary": [1]}, "summary is list; allowed: dict"),
        ({"config": None}, "config is NoneType; allowed: dict"),
        ({"provenance": 3}, "provenance is int; allowed: dict"),
        ({"wall_seconds": "12"}, "wall_seconds is str; allowed: number"),
        ({"wall_seconds": True}, "wall_seconds is bool; allowed: number"),
        ({"version": "1"}, "version is str; allowed: int"),
        ({"summary": {"mean": float("nan")}}, "summary: mean is nan"),
        ({"wall_seconds": float("inf")}, "wall_seconds is inf"),
    ],
)
def test_a_result_of_another_shape_is_corrupt(tmp_path, change, words):
    make().run("smoke", tmp_path)
    path = tmp_path / "burrow.rabbit.smoke.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptResult, match=f"burrow.rabbit.smoke.json is no result: .*{words}.*--fresh"):
        make().run("smoke", tmp_path)


def test_a_failed_run_leaves_no_empty_folder_behind(tmp_path):
    with pytest.raises(ZeroDivisionError):
        make(lambda config, key: 1 / 0).run("smoke", tmp_path)
    assert os.listdir(tmp_path) == []
    with pytest.raises(ZeroDivisionError):
        make(lambda config, key: {"end": 1 / (1 - key)}).run("smoke", tmp_path)
    assert os.listdir(tmp_path) == [".partial"]  # the first trial is kept


@pytest.mark.parametrize(
    ("keys", "words"), [(None, "returned NoneType"), ([], "returned an empty list"), (3, "returned int"), ("ab", "returned str"), (range(2), "returned range")]
)
def test_keys_that_are_no_list_are_refused(keys, words):
    with pytest.raises(TypeError, match=f"trials: burrow.rabbit {words}; allowed: a list of keys, one or more"):
        make(trials=lambda config: keys).run("smoke")


def test_a_device_that_is_not_there_is_named_before_any_trial():
    calls = []
    experiment = dataclasses.replace(counting(calls), scales={"smoke": {"seeds": 1, "device": "cuda:99"}}, trials=lambda config: [0])
    with pytest.raises(MissingDevice, match="config.device: 'cuda:99' is not available here; allowed: a device of this machine, such as 'cpu'"):
        experiment.run("smoke")
    assert calls == []
    assert dataclasses.replace(experiment, scales={"smoke": {"device": "cpu"}}).run("smoke").trials == [{"value": 0.0}]


def test_a_result_knows_whether_it_was_made_otherwise():
    result = make().run("smoke")
    assert result.made_otherwise() is None
    older = dataclasses.replace(result, provenance=result.provenance | {"sources": "f" * 64})
    assert older.made_otherwise().startswith("sources ffffffffffff (now ")
    del older.provenance["sources"]
    assert older.made_otherwise().startswith("sources unknown (now ")


def test_a_result_of_other_bytes_is_named(tmp_path):
    path = tmp_path / "burrow.rabbit.smoke.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptResult, match="is no JSON"):
        make().load(tmp_path, "smoke")


def test_a_missing_result_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="no result of burrow.rabbit at scale smoke in .*; make it with: hopmix run burrow.rabbit --scale smoke"):
        make().load(tmp_path, "smoke")


def interrupted(calls, at):
    def trial(config, key):
        if key == at and at not in calls:
            calls.append(at)
            raise KeyboardInterrupt
        calls.append(key)
        return {"end": float(key)}

    return make(trial)


def _partial(tmp_path):
    (folder,) = (path for path in (tmp_path / ".partial").iterdir() if path.is_dir())
    return folder


def test_finished_trials_are_not_run_again(tmp_path):
    calls = []
    experiment = interrupted(calls, at=2)
    with pytest.raises(KeyboardInterrupt):
        experiment.run("smoke", tmp_path)
    assert sorted(path.name for path in _partial(tmp_path).iterdir()) == ["0.json", "1.json"]
    result = experiment.run("smoke", tmp_path)
    assert calls == [0, 1, 2, 2]
    assert [trial["end"] for trial in result.trials] == [0.0, 1.0, 2.0]
    assert os.listdir(tmp_path) == ["burrow.rabbit.smoke.json"]


@pytest.mark.parametrize("damage", ["", "{", '{"key": 5, "trial": {"end": 9.0}, "seconds": 1.0}', '{"key": 0, "trial": 3, "seconds": 1.0}', "[]", "7"])
def test_a_damaged_trial_is_run_again_and_strays_do_not_matter(tmp_path, damage):
    calls = []
    experiment = interrupted(calls, at=2)
    with pytest.raises(KeyboardInterrupt):
        experiment.run("smoke", tmp_path)
    folder = _partial(tmp_path)
    (folder / "0.json").write_text(damage)
    (folder / ".1.json.77-abc.tmp").write_text("{")
    (folder / "99.json").write_text("stray")
    (tmp_path / ".partial" / "stray.tmp").write_text("{")
    result = experiment.run("smoke", tmp_path)
    assert calls == [0, 1, 2, 0, 2]
    assert [trial["end"] for trial in result.trials] == [0.0, 1.0, 2.0]
    assert os.listdir(tmp_path / ".partial") == ["stray.tmp"]


@pytest.mark.parametrize("change", ["version", "config", "sources", "libraries"])
def test_trials_of_anything_else_are_not_mixed_in(tmp_path, monkeypatch, change):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(calls, at=2).run("smoke", tmp_path)
    experiment = interrupted(calls, at=None)
    if change == "version":
        experiment = dataclasses.replace(experiment, version=2)
    elif change == "config":
        experiment = dataclasses.replace(experiment, scales={"smoke": Config(size=5)})
    elif change == "sources":
        monkeypatch.setattr("hopmix.experiment.source_digest", lambda: "other")
    else:
        monkeypatch.setattr("hopmix.experiment.library_versions", lambda: {"torch": "0"})
    experiment.run("smoke", tmp_path)
    assert calls == [0, 1, 2, 0, 1, 2]
    assert os.listdir(tmp_path) == ["burrow.rabbit.smoke.json"]  # and what the other left is gone


def test_a_fresh_run_uses_no_trial_of_an_ordinary_one_but_resumes_its_own(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(calls, at=1).run("smoke", tmp_path)
    again = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(again, at=2).run("smoke", tmp_path, fresh=True)
    assert again == [0, 1, 2]
    interrupted(again, at=2).run("smoke", tmp_path, fresh=True)
    assert again == [0, 1, 2, 2]
    assert os.listdir(tmp_path) == ["burrow.rabbit.smoke.json"]


def test_a_second_run_at_the_same_time_is_refused_but_another_is_not(tmp_path):
    seen = []

    def trial(config, key):
        with pytest.raises(ExperimentBusy, match=rf"burrow.rabbit at scale smoke is already running in .* \(process {os.getpid()}\)") as error:
            make().run("smoke", tmp_path)
        seen.append(str(error.value))
        make(name="burrow.hare").run("smoke", tmp_path)
        return {"end": 0.0}

    make(trial).run("smoke", tmp_path)
    assert len(seen) == 3 and str(tmp_path) in seen[0]
    assert sorted(os.listdir(tmp_path)) == ["burrow.hare.smoke.json", "burrow.rabbit.smoke.json"]


def test_a_lock_file_left_behind_blocks_nothing(tmp_path):
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "burrow.rabbit.smoke.lock").write_text("1\n")
    make().run("smoke", tmp_path)
    assert os.listdir(tmp_path) == ["burrow.rabbit.smoke.json"]


def test_a_run_clears_only_its_own_trials(tmp_path):
    other = tmp_path / ".partial" / "burrow.rabbit.laptop.0123456789abcdef"
    longer = tmp_path / ".partial" / "burrow.rabbit.smoke.laptop.0123456789abcdef"
    other.mkdir(parents=True)
    longer.mkdir()
    make().run("smoke", tmp_path)
    assert other.is_dir() and longer.is_dir()


def test_experiments_are_discovered(house):
    text = """
        from hopmix.experiment import Experiment
        EXPERIMENT = Experiment("{}", 1, {{"smoke": {{}}}}, lambda c: [0], lambda c, k: {{}}, lambda c, t: {{}})
    """
    house.chapter("burrow/rabbit", experiment=text.format("burrow.rabbit"))
    found = experiments()
    assert list(found) == ["burrow.rabbit"] and isinstance(found["burrow.rabbit"], Experiment)
    house.chapter("burrow/hare", experiment="EXPERIMENT = 3\n")
    with pytest.raises(TypeError, match="hopmix.burrow.hare.experiment: EXPERIMENT is int; allowed: Experiment"):
        experiments()
    (house.sources / "burrow" / "hare" / "experiment.py").write_text(textwrap.dedent(text.format("burrow.fox")))
    importlib.invalidate_caches()
    sys.modules.pop("hopmix.burrow.hare.experiment", None)
    with pytest.raises(ValueError, match="the name is 'burrow.fox'; allowed: 'burrow.hare'"):
        experiments()


def test_the_books_experiments_run_at_smoke_scale(tmp_path):
    for experiment in experiments().values():
        result = experiment.run("smoke", tmp_path / "a")
        repeated = experiment.run("smoke", tmp_path / "b")
        assert (result.trials, result.summary) == (repeated.trials, repeated.summary)
        assert {"smoke", "laptop"} <= set(experiment.scales)


# What a process does that is killed: it says where it is and waits there for its end.
CHILD = """
    import os, sys, time
    import torch
    from hopmix.experiment import Experiment

    folder, moment = sys.argv[1], sys.argv[2]
    torch.set_num_threads(1)

    def reach(place):
        if place == moment:
            print("reached", flush=True)
            time.sleep(60)

    def trial(config, key):
        generator = torch.Generator().manual_seed(key)
        x = torch.randn(config["size"], dtype=torch.float64, generator=generator)
        path = []
        for step in range(config["steps"]):
            x = 3.9 * torch.sigmoid(x) * (1 - torch.sigmoid(x)) + torch.randn(config["size"], dtype=torch.float64, generator=generator)
            path.append(x.mean())
            if step == config["steps"] // 2:
                reach(f"inside trial {key}")
        return {"path": torch.stack(path), "last": x.norm()}

    def summarise(config, trials):
        reach("summary")
        return {"mean": sum(trial["last"] for trial in trials) / len(trials)}

    replace = os.replace

    def slow_replace(source, target):
        reach(f"before {os.path.basename(target)}")
        replace(source, target)
        reach(f"after {os.path.basename(target)}")

    os.replace = slow_replace
    config = {"size": 16, "steps": 50}
    experiment = Experiment("burrow.rabbit", 1, {"smoke": config}, lambda config: [3, 1, 4, 15, 9], trial, summarise)
    experiment.run("smoke", folder)
    print("finished", flush=True)
"""


def _start(script: Path, folder: Path, moment: str = "never") -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(hopmix.__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, script, folder, moment], stdout=subprocess.PIPE, text=True, env=environment)


def _numbers(folder: Path) -> dict:
    content = json.loads((folder / "burrow.rabbit.smoke.json").read_text())
    return {key: value for key, value in content.items() if key not in ("provenance", "wall_seconds", "device")}


def _kill_at(script: Path, folder: Path, moment: str) -> None:
    with _start(script, folder, moment) as process:
        assert process.stdout.readline() == "reached\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL


def _finish(script: Path, folder: Path) -> None:
    with _start(script, folder) as process:
        assert process.stdout.readline() == "finished\n"
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("child") / "child.py"
    path.write_text(textwrap.dedent(CHILD))
    return path


@pytest.fixture(scope="module")
def uninterrupted(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    _finish(script, folder)
    return _numbers(folder)


@pytest.mark.parametrize(
    ("moment", "finished", "again"),
    [
        ("inside trial 3", 0, "inside trial 4"),
        ("inside trial 4", 2, None),
        ("before 3.json", 3, "before burrow.rabbit.smoke.json"),
        ("after 3.json", 4, None),
        ("inside trial 9", 4, None),
        ("summary", 5, None),
        ("before burrow.rabbit.smoke.json", 5, None),
        ("after burrow.rabbit.smoke.json", 5, None),
    ],
)
def test_killed_and_resumed_ends_with_the_same_numbers(script, uninterrupted, tmp_path, moment, finished, again):
    _kill_at(script, tmp_path, moment)
    partial = [path for path in (tmp_path / ".partial").glob("*/*.json")]
    assert len(partial) == finished
    times = {path.name: path.stat().st_mtime_ns for path in partial}
    assert (tmp_path / "burrow.rabbit.smoke.json").exists() == (moment == "after burrow.rabbit.smoke.json")
    if again:
        _kill_at(script, tmp_path, again)
        kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".partial").glob("*/*.json")}
        assert times.items() <= kept.items()  # finished trials were not run again
    _finish(script, tmp_path)
    assert _numbers(tmp_path) == uninterrupted


def test_a_second_process_is_refused_while_the_first_runs_and_welcome_after_its_death(script, uninterrupted, tmp_path):
    with _start(script, tmp_path, "inside trial 4") as first:
        assert first.stdout.readline() == "reached\n"
        environment = os.environ | {"PYTHONPATH": str(Path(hopmix.__file__).parent.parent)}
        second = subprocess.run([sys.executable, script, tmp_path, "never"], capture_output=True, text=True, env=environment)
        assert second.returncode != 0
        assert f"ExperimentBusy: burrow.rabbit at scale smoke is already running in {tmp_path} (process {first.pid})" in second.stderr
        first.kill()
        first.wait(20)
    _finish(script, tmp_path)
    assert _numbers(tmp_path) == uninterrupted
