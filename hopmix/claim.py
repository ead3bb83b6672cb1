"""Claims: a statement, where it comes from, and a function that measures whether it holds.

    @claim(statement=r"Along the flow $\\dot E = -\\dot x \\cdot H \\dot x$.", source="karakida2024hierarchical", kind="identity")
    def energy_rate():
        ...
        return Evidence.at_most("largest relative difference to autograd", difference, 1e-12, seeds=(0, 1, 2))

A claim that does not reproduce stays in the book, with its numbers. Claims and errata are discovered: those of a chapter live in
its modules ``claims`` and ``errata``, and their names follow from where they are ("memory.hopfield_mixer.energy_rate").
"""

import inspect
import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from hopmix.chapter import chapters, modules_named
from hopmix.provenance import library_versions, source_digest, write_atomically

KINDS = ("identity", "theorem", "simulation", "reproduction", "finding")
RELATIONS = ("<=", ">=", "between")
_MODULES = ("claims", "errata")


@dataclass(frozen=True)
class Evidence:
    """One measured number and the bound it is held against.

    what: the measured thing in words; relation: "<=", ">=" or "between" (ends included); bound: a number, or (low, high) for
    "between"; spread: the standard error over the seeds, if there is one. Raises ValueError for an empty ``what``, an unknown
    relation, a bound that is not a number or does not fit the relation, or a negative spread, and TypeError for what is no
    number where one belongs.
    """

    what: str
    measured: float
    relation: str
    bound: float | tuple[float, float]
    unit: str = ""
    seeds: tuple[int, ...] = ()
    spread: float | None = None
    detail: str = ""

    def __post_init__(self):
        _need(what=self.what)
        if self.relation not in RELATIONS:
            raise ValueError(f"relation: {self.relation!r} is unknown; allowed: {', '.join(RELATIONS)}")
        pair = isinstance(self.bound, (tuple, list))
        if pair != (self.relation == "between") or (pair and len(self.bound) != 2):
            raise ValueError(f"bound: {self.bound!r} does not fit {self.relation!r}; allowed: (low, high) for between, else a number")
        bound = tuple(_number("bound", end) for end in self.bound) if pair else _number("bound", self.bound)
        if any(map(math.isnan, bound if pair else (bound,))) or (pair and bound[0] > bound[1]):
            raise ValueError(f"bound: {self.bound!r} is no bound; allowed: numbers, low <= high")
        # Tensors and numpy scalars are welcome; what is kept is plain.
        object.__setattr__(self, "bound", bound)
        object.__setattr__(self, "measured", _number("measured", self.measured))
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        object.__setattr__(self, "spread", None if self.spread is None else _number("spread", self.spread))
        if self.spread is not None and self.spread < 0:
            raise ValueError(f"spread: {self.spread} is negative; allowed: a standard error, 0 or more, or None")

    @classmethod
    def at_most(cls, what: str, measured: float, bound: float, **details) -> "Evidence":
        return cls(what, measured, "<=", bound, **details)

    @classmethod
    def at_least(cls, what: str, measured: float, bound: float, **details) -> "Evidence":
        return cls(what, measured, ">=", bound, **details)

    @classmethod
    def between(cls, what: str, measured: float, low: float, high: float, **details) -> "Evidence":
        return cls(what, measured, "between", (low, high), **details)

    @property
    def holds(self) -> bool:
        """Whether the measured number keeps the bound; NaN never does."""
        if self.relation == "<=":
            return self.measured <= self.bound
        if self.relation == ">=":
            return self.measured >= self.bound
        return self.bound[0] <= self.measured <= self.bound[1]


@dataclass(frozen=True)
class Refutation:
    """The published statement held against the same measurement as the corrected one. It stands when only the second holds.

    Raises TypeError for what is no Evidence.
    """

    published: Evidence
    corrected: Evidence

    def __post_init__(self):
        for argument, value in vars(self).items():
            if not isinstance(value, Evidence):
                raise TypeError(f"{argument}: {type(value).__name__} is no evidence; allowed: Evidence")

    @property
    def holds(self) -> bool:
        return self.corrected.holds and not self.published.holds


@dataclass(frozen=True)
class Verdict:
    """What checking a claim or an erratum gave. seconds: what the measurement cost when it was made."""

    claim: "Claim | Erratum"
    evidence: Evidence | Refutation
    seconds: float

    @property
    def name(self) -> str:
        return self.claim.name

    @property
    def holds(self) -> bool:
        return self.evidence.holds

    @property
    def word(self) -> str:
        return self.claim.words[0] if self.holds else self.claim.words[1]


def evidence_folder() -> Path | None:
    """The folder of HOPMIX_EVIDENCE, which may not exist yet; None if it is not set. Raises ValueError if it is a file."""
    text = os.environ.get("HOPMIX_EVIDENCE")
    if text and Path(text).exists() and not Path(text).is_dir():
        raise ValueError(f"HOPMIX_EVIDENCE: {text!r} is a file; allowed: a folder")
    return Path(text) if text else None


class _Checked:
    """What claims and errata share: running the function, and the store of verdicts."""

    name: str
    function: Callable
    answer: ClassVar[type]

    def __call__(self) -> Evidence | Refutation:
        evidence = self.function()
        if not isinstance(evidence, self.answer):
            raise TypeError(f"{self.name} returned {type(evidence).__name__}; allowed: {self.answer.__name__}")
        return evidence

    @property
    def part(self) -> str:
        return self.name.split(".")[0]

    def check(self) -> Verdict:
        """Measure now. With the environment variable HOPMIX_EVIDENCE naming a folder, a verdict made there by the very same
        sources and libraries is taken instead, and a new one is stored."""
        folder = evidence_folder()
        # The digest knows hopmix alone: a claim made elsewhere, in a notebook say, may have changed without it.
        if folder is None or not self.function.__module__.startswith("hopmix."):
            return self._measure()
        path = folder / f"{self.name}.json"
        key = {"name": self.name, "sources": source_digest(), "libraries": library_versions()}
        stored = _read_verdict(path, key)
        if stored is not None:
            return Verdict(self, *stored)
        verdict = self._measure()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"key": key, "seconds": verdict.seconds, **_plain(verdict.evidence)}
        write_atomically(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
        return verdict

    def _measure(self) -> Verdict:
        start = time.perf_counter()
        evidence = self()
        return Verdict(self, evidence, time.perf_counter() - start)


@dataclass(frozen=True)
class Claim(_Checked):
    """A statement with its source ("this book", or bib keys, each perhaps with a locator: "krotov2021large, eq. 3; …")."""

    name: str
    statement: str
    source: str
    kind: str
    function: Callable[[], Evidence] = field(repr=False)

    answer: ClassVar[type] = Evidence
    words: ClassVar[tuple[str, str]] = ("holds", "not reproduced")


@dataclass(frozen=True)
class Erratum(_Checked):
    """A published statement that a check refutes. where: the place in the source; says, corrected: MyST text with $…$."""

    name: str
    source: str
    where: str
    says: str
    corrected: str
    function: Callable[[], Refutation] = field(repr=False)

    answer: ClassVar[type] = Refutation
    words: ClassVar[tuple[str, str]] = ("stands", "does not stand")
    kind: ClassVar[str] = "erratum"


def claim(*, statement: str, source: str, kind: str) -> Callable[[Callable[[], Evidence]], Claim]:
    """Make a claim of a function without arguments that returns Evidence.

    Raises ValueError for an empty statement or source, an unknown kind, or a name used twice in one module, and TypeError
    for a function that needs arguments.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is unknown; allowed: {', '.join(KINDS)}")
    _need(statement=statement, source=source)
    return lambda function: Claim(_name(function), statement, source, kind, function)


def erratum(*, source: str, where: str, says: str, corrected: str) -> Callable[[Callable[[], Refutation]], Erratum]:
    """Make an erratum of a function without arguments that returns a Refutation. Raises as ``claim`` does."""
    _need(source=source, where=where, says=says, corrected=corrected)
    return lambda function: Erratum(_name(function), source, where, says, corrected, function)


def claims(part: str | None = None) -> list[Claim]:
    """All claims of the book, or of one part ("memory") or chapter ("memory/hopfield_mixer"), sorted by name."""
    return _discover(Claim, part)


def errata(part: str | None = None) -> list[Erratum]:
    """All errata of the book, or of one part or chapter, sorted by name."""
    return _discover(Erratum, part)


def _discover(kind: type, part: str | None) -> list:
    known = chapters()
    if part is not None and not any(f"{chapter}/".startswith(f"{part}/") for chapter in known):
        raise ValueError(f"part: {part!r} has no chapter; allowed: a part or chapter among {', '.join(known) or 'none yet'}")
    found = {}
    for chapter, module in (item for name in _MODULES for item in modules_named(name).items()):
        if part is None or f"{chapter}/".startswith(f"{part}/"):
            for thing in vars(module).values():
                # An imported claim belongs to the module that made it.
                if isinstance(thing, kind) and thing.function.__module__ == module.__name__:
                    if thing.name in found:
                        raise ValueError(f"function: the name {thing.name!r} is used in both {' and '.join(_MODULES)} of {chapter}")
                    found[thing.name] = thing
    return [found[name] for name in sorted(found)]


def _name(function: Callable) -> str:
    if any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in inspect.signature(function).parameters.values()):
        raise TypeError(f"function: {function.__name__}{inspect.signature(function)} needs arguments; allowed: none")
    home, _, module = function.__module__.removeprefix("hopmix.").rpartition(".")
    name = f"{home if module in _MODULES else function.__module__.removeprefix('hopmix.')}.{function.__name__}"
    earlier = function.__globals__.get(function.__name__)
    # Reloading a module runs it again over its old names, but with a new __spec__; a second use in one run has the same.
    spec = function.__globals__.get("__spec__")
    if isinstance(earlier, _Checked) and spec is not None and getattr(earlier.function, "_spec", None) is spec:
        raise ValueError(f"function: the name {name!r} is already taken; allowed: one claim or erratum of a name")
    function._spec = spec
    return name


def _need(**texts: str) -> None:
    for argument, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{argument}: {text!r} is empty; allowed: some text")


def _number(argument: str, value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{argument}: {value!r} is {type(value).__name__}; allowed: a number") from None


def _seeds(seeds) -> tuple[int, ...]:
    try:
        return tuple(map(int, seeds))
    except (TypeError, ValueError):
        raise TypeError(f"seeds: {seeds!r} is {type(seeds).__name__}; allowed: whole numbers, such as (0, 1, 2)") from None


def source_keys(source: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The bib keys in a source, without locators; none for "this book".

    >>> source_keys("krotov2021large, eq. 3; ota2023imixer"), source_keys("this book"), source_keys(("a2020b",))
    (('krotov2021large', 'ota2023imixer'), (), ('a2020b',))
    """
    entries = source.split(";") if isinstance(source, str) else source or ()
    keys = (re.match(r"[^\s,:;(]*", entry.strip()).group() for entry in entries if entry.strip() != "this book")
    return tuple(key for key in keys if key)


def _plain(evidence: Evidence | Refutation) -> dict:
    if isinstance(evidence, Refutation):
        return {"published": _plain(evidence.published), "corrected": _plain(evidence.corrected)}
    # repr keeps every float exactly, and NaN and infinities too, which JSON does not have.
    bound = [repr(end) for end in evidence.bound] if isinstance(evidence.bound, tuple) else repr(evidence.bound)
    return {**vars(evidence), "bound": bound, "measured": repr(evidence.measured)}


def _read_verdict(path: Path, key: dict) -> tuple[Evidence | Refutation, float] | None:
    """The stored evidence and its seconds, or None where there is none for this key or it cannot be read: then measure again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("key") != key:
            return None
        seconds = float(content.pop("seconds"))
        if "published" in content:
            return Refutation(_evidence(content["published"]), _evidence(content["corrected"])), seconds
        return _evidence(content), seconds
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _evidence(content: dict) -> Evidence:
    bound = content["bound"]
    return Evidence(**content | {"bound": tuple(map(float, bound)) if isinstance(bound, list) else float(bound)})
