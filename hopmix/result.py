"""What an experiment leaves: a Result of plain JSON values, read back exactly or refused with its file's name."""

import json
import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from hopmix.provenance import provenance


class ResultMismatch(ValueError):
    """A result file that another config or version wrote."""


class CorruptResult(ValueError):
    """A result file that cannot be read as a result."""


class NotFinite(ValueError):
    """A number in a result is NaN or infinite."""


@dataclass(frozen=True)
class Result:
    """What a run gave, all of it plain JSON values. config: field -> value; trials: one dict per key, in the order of keys."""

    name: str
    scale: str
    config: dict
    trials: list[dict]
    summary: dict
    provenance: dict
    wall_seconds: float
    version: int
    keys: list
    device: str

    def to_json(self) -> str:
        """The result file's text: sorted keys, floats that read back exactly, a newline at the end."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    def made_otherwise(self) -> str | None:
        """In words, which other sources of the library made this; None if it was those of now.

        The commit alone says nothing: a result in the repository is always older than the commit that holds it.
        """
        made, now = self.provenance.get("sources"), provenance()["sources"]
        return None if made == now else f"sources {_short(made)} (now {_short(now)}), commit {_short(self.provenance.get('commit'))}"


def _short(digest: Any) -> str:
    return "unknown" if digest is None else str(digest)[:12]


def read_result(path: Path) -> Result:
    """The result in a file. Raises CorruptResult for what is no JSON, or JSON of another shape."""
    remedy = "restore it, or replace it with --fresh"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptResult(f"{path} is no JSON: {error}; {remedy}") from None
    wrong = _wrong_shape(content)
    if wrong:
        raise CorruptResult(f"{path} is no result: {wrong}; {remedy}")
    return Result(**{name: content[name] for name in _KINDS})


_KINDS = {f.name: (int, float) if f.type is float else getattr(f.type, "__origin__", f.type) for f in fields(Result)}


def _wrong_shape(content: Any) -> str | None:
    """What is wrong with what a result file holds, in words; None if nothing is."""
    if not isinstance(content, dict):
        return f"it holds {type(content).__name__}; allowed: dict"
    missing = [name for name in _KINDS if name not in content]
    if missing:
        return f"{', '.join(missing)} missing"
    for name, kind in _KINDS.items():
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            return f"{name} is {type(content[name]).__name__}; allowed: {'number' if isinstance(kind, tuple) else kind.__name__}"
    for i, trial in enumerate(content["trials"]):
        if not isinstance(trial, dict):
            return f"trial {i} is {type(trial).__name__}; allowed: dict"
    if len(content["trials"]) != len(content["keys"]):
        return f"{len(content['trials'])} trials for {len(content['keys'])} keys"
    try:
        plain(content, "the file")  # JSON has no NaN, but Python reads it
    except NotFinite as error:
        return str(error)
    return None


def plain_dict(value: Any, where: str) -> dict:
    """``plain`` for what must be a dict; raises TypeError naming ``where`` for anything else."""
    if not isinstance(value, dict):
        raise TypeError(f"{where} is {type(value).__name__}; allowed: dict")
    return plain(value, where)


def plain(value: Any, where: str) -> Any:
    """``value`` as JSON values: arrays and tensors as lists, tuples as lists, dataclasses as dicts; exact for every float."""
    if hasattr(value, "tolist"):  # numpy arrays and scalars, torch tensors on any device
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotFinite(f"{where} is {value}; allowed: finite numbers")
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), f"{where}: {f.name}") for f in fields(value)}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r} ({type(key).__name__}); allowed: str")
        return {key: plain(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where} is {type(value).__name__}; allowed: numbers, text, None, lists, dicts, arrays and tensors")


def dump(value: Any) -> str:
    """One line of JSON with sorted keys, equal for equal values."""
    return json.dumps(value, sort_keys=True, allow_nan=False)
