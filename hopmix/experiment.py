"""Experiments: a frozen config per scale, pure trials, and a result that survives being killed.

    EXPERIMENT = Experiment("memory.hopfield_mixer", version=1, scales={"smoke": Config(seeds=2), …},
                            trials=lambda config: list(range(config.seeds)), trial=descend, summarise=mean_energy)
    result = EXPERIMENT.run("laptop", folder="results")

A trial depends on its config and its key alone, and draws its randomness from them. Each finished trial is stored at once, so a run
killed at any moment goes on where it was and ends with the same numbers, bit by bit on the same machine.
"""

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hopmix.chapter import modules_named
from hopmix.provenance import library_versions, provenance, source_digest, write_atomically
from hopmix.result import CorruptResult, Result, ResultMismatch, dump, plain, plain_dict, read_result

SCALES = ("smoke", "laptop", "gpu")


class MissingDevice(ValueError):
    """The device that a config names cannot be used on this machine."""


class ExperimentBusy(RuntimeError):
    """The same experiment is already running in the same folder."""


@dataclass(frozen=True)
class Experiment:
    """One study at several scales.

    name: "part.chapter"; version: raise it whenever the numbers would change for the same config; scales: "smoke", "laptop" or
    "gpu" -> a config (dataclass or dict); trials(config) -> the keys of the trials (JSON values, no two equal);
    trial(config, key) -> dict of numbers, lists, arrays or tensors; summarise(config, trials) -> dict, from the trials as stored.
    A config with a field ``device`` is run only where torch can use that device. Raises ValueError for a bad name, version or scale.
    """

    name: str
    version: int
    scales: dict[str, Any]
    trials: Callable[[Any], list]
    trial: Callable[[Any, Any], dict]
    summarise: Callable[[Any, list[dict]], dict]

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", self.name):
            raise ValueError(f"name: {self.name!r} is no name; allowed: part.chapter, small letters, digits and _")
        if not isinstance(self.version, int) or isinstance(self.version, bool) or self.version < 1:
            raise ValueError(f"version: {self.version!r} is no version; allowed: 1, 2, …")
        if not self.scales or not set(self.scales) <= set(SCALES):
            raise ValueError(f"scales: found {', '.join(self.scales) or 'none'}; allowed: {', '.join(SCALES)}")

    def run(self, scale: str, folder: str | os.PathLike | None = None, fresh: bool = False, progress: bool = True) -> Result:
        """Run at a scale, or load the result that ``folder`` already holds for this very config and version.

        folder: where ``<name>.<scale>.json`` is or goes; None keeps all in memory. fresh: run even if there is a result, and
        replace it only when the new one is complete; a fresh run that was killed goes on with its own trials alone.
        progress: show a bar when on a terminal. Raises ValueError (unknown scale), ResultMismatch, CorruptResult,
        ExperimentBusy (the same experiment and scale is running in that folder), MissingDevice and NotFinite.
        """
        config = self._config(scale)
        if folder is None:
            return self._finish(scale, config, _Trials(None), progress)
        folder = Path(folder)
        path = self._path(folder, scale)
        if not fresh and path.exists():
            return self.load(folder, scale)
        work = folder / ".partial"
        try:
            with _lock(work / f"{self.name}.{scale}.lock", f"{self.name} at scale {scale}"):
                if not fresh and path.exists():  # another run has just finished it
                    return self.load(folder, scale)
                if path.exists():
                    self._check_replaceable(path)
                trials = _Trials(work / f"{self.name}.{scale}.{self._digest(scale)}{'.fresh' if fresh else ''}")
                result = self._finish(scale, config, trials, progress)
                write_atomically(path, result.to_json())
                self._clear(work, scale)
        finally:
            _remove_if_empty(work)
        return result

    def load(self, folder: str | os.PathLike, scale: str) -> Result:
        """The stored result. Raises FileNotFoundError, CorruptResult, or ResultMismatch if another config or version made it."""
        config = plain(self._config(scale), "config")
        path = self._path(Path(folder), scale)
        if not path.exists():
            raise FileNotFoundError(
                f"no result of {self.name} at scale {scale} in {folder}; make it with: hopmix run {self.name} --scale {scale}"
            )
        result = read_result(path)
        expected = {"name": self.name, "scale": scale, "version": self.version}
        expected |= {f"config.{key}": value for key, value in config.items()}
        found = {"name": result.name, "scale": result.scale, "version": result.version}
        found |= {f"config.{key}": value for key, value in result.config.items()}
        differing = [
            f"{key} ({_shown(found, key)} in the file, {_shown(expected, key)} now)"
            for key in sorted({*expected, *found})
            if key not in found or key not in expected or dump(found[key]) != dump(expected[key])
        ]
        if differing:
            raise ResultMismatch(f"{path} was made with another {', '.join(differing)}; keep it elsewhere, or replace it with --fresh")
        return result

    def _config(self, scale: str) -> Any:
        if scale not in self.scales:
            raise ValueError(f"scale: {scale!r} is unknown to {self.name}; allowed: {', '.join(self.scales)}")
        return self.scales[scale]

    def _path(self, folder: Path, scale: str) -> Path:
        return folder / f"{self.name}.{scale}.json"

    def _check_replaceable(self, path: Path) -> None:
        """A fresh run may replace any result, but not a file that was never one."""
        if not path.is_file():
            raise CorruptResult(f"{path} is not a file; move it away")

    def _digest(self, scale: str) -> str:
        """Trials may be mixed only if nothing that makes their numbers has changed: config, version, sources, libraries."""
        identity = [plain(self.scales[scale], "config"), self.version, source_digest(), library_versions()]
        return sha256(dump(identity).encode()).hexdigest()[:16]

    def _finish(self, scale: str, config: Any, done: "_Trials", progress: bool) -> Result:
        _need_device(config)
        keys = self.trials(config)
        if not isinstance(keys, list) or not keys:
            raise TypeError(f"trials: {self.name} returned {'an empty list' if keys == [] else type(keys).__name__}; allowed: a list of keys, one or more")
        keys = [plain(key, f"key {i}") for i, key in enumerate(keys)]
        if len({dump(key) for key in keys}) < len(keys):
            raise ValueError(f"trials: the keys {keys} of {self.name} repeat; allowed: no two equal")
        results, seconds = [], 0.0
        for i, key in enumerate(_bar(keys, f"{self.name} ({scale})", progress)):
            stored = done.read(i, key)
            if stored is None:
                start = time.perf_counter()
                trial = plain_dict(self.trial(config, key), f"trial {i} (key {dump(key)})")
                stored = {"key": key, "trial": trial, "seconds": time.perf_counter() - start}
                done.write(i, stored)
            results.append(stored["trial"])
            seconds += stored["seconds"]
        start = time.perf_counter()
        # A copy, so that a summary that sorts or pops cannot change what is stored.
        summary = plain_dict(self.summarise(config, json.loads(dump(results))), "summary")
        made = provenance()
        return Result(
            name=self.name, scale=scale, config=plain(config, "config"), trials=results, summary=summary, provenance=made,
            wall_seconds=seconds + time.perf_counter() - start, version=self.version, keys=keys, device=made["device"],
        )  # fmt: skip

    def _clear(self, work: Path, scale: str) -> None:
        """Drop the trials of this experiment and scale, also those that older sources left: the result is there."""
        for folder in work.iterdir():
            if re.fullmatch(re.escape(f"{self.name}.{scale}.") + r"[0-9a-f]{16}(\.fresh)?", folder.name):
                shutil.rmtree(folder)


class _Trials:
    """The finished trials of one run in a folder, or nowhere."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def read(self, i: int, key: Any) -> dict | None:
        """The stored trial, or None if it is missing or unreadable: then it is simply run again."""
        if self.folder is None:
            return None
        try:
            stored = json.loads((self.folder / f"{i}.json").read_text(encoding="utf-8"))
            sound = dump(stored["key"]) == dump(key) and isinstance(stored["trial"], dict) and isinstance(stored["seconds"], float)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return stored if sound else None

    def write(self, i: int, stored: dict) -> None:
        if self.folder is not None:
            self.folder.mkdir(exist_ok=True)
            write_atomically(self.folder / f"{i}.json", dump(stored) + "\n")


def experiments() -> dict[str, Experiment]:
    """name -> Experiment of every chapter that has one, as EXPERIMENT in its module ``experiment``."""
    found = {}
    for chapter, module in modules_named("experiment").items():
        experiment = getattr(module, "EXPERIMENT", None)
        if not isinstance(experiment, Experiment):
            raise TypeError(f"{module.__name__}: EXPERIMENT is {type(experiment).__name__}; allowed: Experiment")
        if experiment.name != chapter.replace("/", "."):
            raise ValueError(f"{module.__name__}: the name is {experiment.name!r}; allowed: {chapter.replace('/', '.')!r}")
        found[experiment.name] = experiment
    return found


def _need_device(config: Any) -> None:
    device = config.get("device") if isinstance(config, dict) else getattr(config, "device", None)
    if not isinstance(device, str) or device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has no one error for it
        why = str(error).strip().partition("\n")[0]
        raise MissingDevice(f"config.device: {device!r} is not available here; allowed: a device of this machine, such as 'cpu' ({why})") from error


@contextmanager
def _lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file. The kernel lets go of it when the process dies, however it dies, so no stale lock ever blocks a resume."""
    import fcntl  # POSIX

    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # the former holder may have removed it
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise ExperimentBusy(f"{what} is already running in {path.parent.parent} (process {holder})") from None
        try:  # the former holder may have removed the file between our opening and locking it
            current = os.path.samestat(os.fstat(descriptor), os.stat(path))
        except FileNotFoundError:
            current = False
        if current:
            break
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # other experiments are at work in it


def _shown(values: dict, key: str) -> str:
    return dump(values[key]) if key in values else "nothing"


def _bar(keys: list, title: str, progress: bool):
    if not progress or not sys.stderr.isatty():
        return keys
    from tqdm.auto import tqdm

    return tqdm(keys, desc=title, unit="trial")
