"""`Derivation`: named steps, each a sympy statement with its reason and its check."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import sympy as sp
from sympy.core.relational import Relational

from hopmix.derivation import checks, render
from hopmix.derivation.arguments import check_sampling, check_sizes, check_statement
from hopmix.derivation.rewrite import Rule, rewrite
from hopmix.derivation.scope import check_scopes, entry_ranges, free_symbols, names

Kind = Literal["definition", "exact", "exact at sizes", "numeric"]


@dataclass(frozen=True)
class Step:
    """One equation or inequality of a derivation.

    `using` names the earlier steps that are read from left to right as rewrite rules in its check. `sizes`, `points`, `digits` and
    `ranges` belong to the check: the sizes written out, the number of random points, the digits demanded, the intervals drawn from.
    """

    id: str
    label: str
    statement: Relational
    because: str
    kind: Kind
    using: tuple[str, ...] = ()
    source: str = "this book"
    sizes: tuple[Mapping[sp.Symbol, int], ...] = ()
    points: int = 0
    digits: int = 0
    ranges: Mapping[sp.Symbol, tuple[float, float]] = field(default_factory=dict)
    derivation: Derivation | None = field(default=None, repr=False, compare=False)

    def _repr_mimebundle_(self, include=None, exclude=None):
        # A page shows only what was checked: rendering runs the check, and a failing one stops the build.
        self.derivation.check(self.id)
        return {"text/markdown": render.myst(self), "text/html": render.html(self), "text/plain": f"{self.id}: {self.statement}"}


@dataclass(frozen=True)
class CheckedStep:
    """The outcome of one check: which step, how, and in how many seconds."""

    id: str
    kind: Kind
    seconds: float
    detail: str


@dataclass(frozen=True)
class Report:
    """The outcome of `Derivation.verify`."""

    name: str
    rows: tuple[CheckedStep, ...]

    @property
    def ok(self) -> bool:
        return bool(self.rows)

    def counts(self) -> dict[str, int]:
        """How many steps were checked in which way."""
        return {kind: sum(row.kind == kind for row in self.rows) for kind in ("definition", "exact", "exact at sizes", "numeric")}


class Derivation:
    """A chain of named steps about indexed quantities of general size.

    Parameters
    ----------
    name: the chapter it belongs to, such as ``"memory/hopfield_mixer"``; the last part is the prefix of its equation labels.
    title: one line for people.
    sources: bib keys of the works it follows.
    indices: the range of each index symbol, index -> size symbol; free indices of a statement run over these ranges.
    dynamic: the IndexedBases and Symbols that depend on time (see `hopmix.derivation.rate`); what is defined by them joins them.

    Adding a step raises ValueError for a repeated id, a `using` that names no earlier step, a sum or delta that
    `hopmix.derivation.scope` refuses, a name that means two things, an index with two ranges, or a check that would check nothing;
    TypeError for what is no statement of its kind.
    """

    def __init__(
        self,
        name: str,
        title: str,
        sources: Sequence[str],
        indices: Mapping[sp.Symbol, sp.Expr],
        dynamic: Iterable[sp.Basic] = (),
    ):
        for argument, value in (("name", name), ("title", title)):
            if not isinstance(value, str) or not value:
                raise TypeError(f"{argument}: needs words, found {value!r}")
        if isinstance(sources, str) or not isinstance(indices, Mapping):
            raise TypeError(f"sources, indices: need a sequence of bib keys and a mapping, found {sources!r} and {indices!r}")
        self.name, self.title, self.sources = name, title, tuple(sources)
        self.indices = dict(indices)
        self.dynamic = frozenset(dynamic)
        self._steps: dict[str, Step] = {}
        self._checked: dict[str, CheckedStep] = {}
        self._names: dict[str, sp.Basic] = {}

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self._steps.values())

    def __getitem__(self, step_id: str) -> Step:
        if step_id not in self._steps:
            raise KeyError(f"step_id: {self.name} has no step {step_id!r}; its steps are {', '.join(self._steps)}")
        return self._steps[step_id]

    def label(self, step_id: str) -> str:
        """The equation label of a step, the same in pages, citations and LaTeX. Raises KeyError for an unknown step."""
        return self._label(self[step_id].id)

    def _label(self, step_id: str) -> str:
        return f"{self.name.rsplit('/', 1)[-1].replace('_', '-')}-{step_id}"

    def define(self, step_id: str, statement: sp.Eq, because: str, **options) -> Step:
        """Introduce notation or an assumption: nothing to check, but later checks rest on it."""
        return self._add(step_id, statement, because, "definition", **options)

    def exact(self, step_id: str, statement: sp.Eq, because: str, using: Sequence[str] = (), **options) -> Step:
        """An equation that holds for every size: its residual must vanish identically, and at random numbers too."""
        return self._add(step_id, statement, because, "exact", using=tuple(using), **options)

    def exact_at_sizes(self, step_id: str, statement: sp.Eq, because: str, sizes: Sequence[Mapping], using: Sequence[str] = (), **options) -> Step:
        """An equation checked with fully symbolic entries at each of the stated sizes."""
        return self._add(step_id, statement, because, "exact at sizes", using=tuple(using), sizes=tuple(sizes), **options)

    def numeric(self, step_id: str, statement: Relational, because: str, using: Sequence[str] = (), *, points=20, digits=30, **options) -> Step:
        """An equation or inequality checked at random points; an equation to `digits` digits."""
        return self._add(step_id, statement, because, "numeric", using=tuple(using), points=points, digits=digits, **options)

    def _add(self, step_id: str, statement: Relational, because: str, kind: Kind, **options) -> Step:
        if not isinstance(step_id, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", step_id):
            raise ValueError(f"step_id: needs lower-case words joined by -, as a label does, found {step_id!r}")
        if step_id in self._steps:
            raise ValueError(f"step_id: {self.name} already has a step {step_id!r}")
        check_statement(step_id, kind, statement)
        if not isinstance(because, str) or not because.strip():
            raise TypeError(f"because: {step_id} needs a reason in words, found {because!r}")
        using = options.get("using", ())
        for earlier in using:
            if earlier not in self._steps:
                raise ValueError(f"using: {step_id} uses {earlier!r}, which is no earlier step of {self.name}")
        check_scopes(statement, self.indices)
        if kind == "exact at sizes":
            check_sizes(step_id, options["sizes"], self.indices)
        if kind == "numeric":
            known = names(statement).union(*(names(self[earlier].statement) for earlier in using))
            check_sampling(step_id, options["points"], options["digits"], options.get("ranges", {}), known)
        self._check_names(step_id, statement, using)
        step = Step(step_id, self._label(step_id), statement, because, kind, derivation=self, **options)
        self._steps[step_id] = step
        if kind == "definition":
            self._note_dependence(statement)
        return step

    def _check_names(self, step_id: str, statement: Relational, using: Sequence[str]) -> None:
        """Within a derivation a name means one thing; within a check each place of an indexed quantity has one range."""
        for item in sorted(names(statement), key=str):
            known = self._names.setdefault(str(item), item)
            if known != item:
                raise ValueError(f"statement: {step_id} uses the name {item} for two things, {sp.srepr(known)} and {sp.srepr(item)}")
        together: dict[tuple[str, int, int], set[sp.Expr]] = {}
        for equation in (statement, *(self[earlier].statement for earlier in using)):
            for place, sizes in entry_ranges(equation, self.indices).items():
                together.setdefault(place, set()).update(sizes)
        for (name, _, position), sizes in together.items():
            if len(sizes) > 1:
                ranges = ", ".join(sorted(map(str, sizes)))
                raise ValueError(f"statement: index {position + 1} of {name} has different ranges in {step_id} and what it uses: {ranges}")

    def _note_dependence(self, definition: sp.Eq) -> None:
        """What is defined by quantities that depend on time depends on time itself."""
        left = definition.lhs.base if isinstance(definition.lhs, sp.Indexed) else definition.lhs
        if isinstance(left, (sp.Symbol, sp.IndexedBase)) and names(definition.rhs) & self.dynamic:
            self.dynamic |= {left}

    def equations(self) -> dict[str, Relational]:
        """Plain sympy statements by step id, to go on with."""
        return {step.id: step.statement for step in self.steps}

    def to_latex(self) -> str:
        """A standalone LaTeX document with every step."""
        return render.document(self)

    def verify(self, only: Iterable[str] | None = None) -> Report:
        """Check all steps, or those named. Raises VerificationError at the first step that fails."""
        if isinstance(only, str):
            raise TypeError(f"only: needs a collection of step ids, found the string {only!r}")
        ids = tuple(self._steps) if only is None else tuple(only)
        return Report(self.name, tuple(self.check(step_id) for step_id in ids))

    def check(self, step_id: str) -> CheckedStep:
        """Check one step, once per object. Raises VerificationError."""
        step = self[step_id]
        if step_id not in self._checked:
            start = time.perf_counter()
            detail = checks.run(self, step)
            self._checked[step_id] = CheckedStep(step_id, step.kind, time.perf_counter() - start, detail)
        return self._checked[step_id]

    def with_statement(self, step_id: str, statement: Relational) -> Derivation:
        """A copy in which one step states something else: what a reader changes to see what depends on it. Raises as adding a step does."""
        check_statement(step_id, self[step_id].kind, statement)
        copy = Derivation(self.name, self.title, self.sources, self.indices, self.dynamic)
        for step in self.steps:
            changed = replace(step, derivation=copy, statement=statement if step.id == step_id else step.statement)
            copy._steps[step.id] = changed
        touched = {step_id}
        for step in self.steps:
            if step.id in touched or touched & set(step.using):
                touched.add(step.id)
        copy._checked = {key: value for key, value in self._checked.items() if key not in touched}
        return copy

    @cached_property
    def spot_sizes(self) -> dict[sp.Symbol, int]:
        symbols = sorted({symbol for size in self.indices.values() for symbol in free_symbols(size)}, key=str)
        return {symbol: 2 + position % 2 for position, symbol in enumerate(symbols)}

    def rules(self, step_ids: Iterable[str]) -> tuple[Rule, ...]:
        """The equations of these steps, read from left to right."""
        if isinstance(step_ids, str):
            raise TypeError(f"step_ids: needs a collection of step ids, found the string {step_ids!r}")
        return tuple(Rule.from_equation(self[name].statement, frozenset(self.indices)) for name in step_ids)

    def residual(self, step_id: str, differentiate: bool = True) -> sp.Expr:
        """Left minus right side of a step after the rules of its `using`; `differentiate=False` leaves partial derivatives to do."""
        step = self[step_id]
        return rewrite(step.statement.lhs - step.statement.rhs, self.rules(step.using), self.dynamic, differentiate)
