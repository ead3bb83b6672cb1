"""`Derivation`: named steps, each a sympy statement with its reason and its check."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, product
from typing import Literal

import mpmath
import sympy as sp
from sympy.core.relational import Relational

from hopmix.derivation import render
from hopmix.derivation.explicit import evaluate, random_point, write_out
from hopmix.derivation.indexed import is_zero
from hopmix.derivation.rewrite import Rule, rewrite

Kind = Literal["definition", "exact", "exact at sizes", "numeric"]
_SPOT_DIGITS = 20
_WORKING_DIGITS = 50


class VerificationError(AssertionError):
    """A step that its check refutes; the message names the step, both sides and the residual."""


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
    dynamic: the IndexedBases and Symbols that depend on time (see `hopmix.derivation.rate`).

    Raises ValueError for a repeated step id or a `using` that names no earlier step.
    """

    def __init__(
        self,
        name: str,
        title: str,
        sources: Sequence[str],
        indices: Mapping[sp.Symbol, sp.Expr],
        dynamic: Iterable[sp.Basic] = (),
    ):
        self.name, self.title, self.sources = name, title, tuple(sources)
        self.indices = dict(indices)
        self.dynamic = frozenset(dynamic)
        self._steps: dict[str, Step] = {}
        self._checked: dict[str, CheckedStep] = {}

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self._steps.values())

    def __getitem__(self, step_id: str) -> Step:
        if step_id not in self._steps:
            raise KeyError(f"step_id: {self.name} has no step {step_id!r}; its steps are {', '.join(self._steps)}")
        return self._steps[step_id]

    def label(self, step_id: str) -> str:
        """The equation label of a step, the same in pages, citations and LaTeX."""
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
        if step_id in self._steps:
            raise ValueError(f"step_id: {self.name} already has a step {step_id!r}")
        if not isinstance(statement, Relational):
            raise TypeError(f"statement: {step_id} needs an equation or inequality, found {statement!r}")
        for earlier in options.get("using", ()):
            if earlier not in self._steps:
                raise ValueError(f"using: {step_id} uses {earlier!r}, which is no earlier step of {self.name}")
        step = Step(step_id, self.label(step_id), statement, because, kind, derivation=self, **options)
        self._steps[step_id] = step
        return step

    def equations(self) -> dict[str, Relational]:
        """Plain sympy statements by step id, to go on with."""
        return {step.id: step.statement for step in self.steps}

    def to_latex(self) -> str:
        """A standalone LaTeX document with every step."""
        return render.document(self)

    def verify(self, only: Iterable[str] | None = None) -> Report:
        """Check all steps, or those named. Raises VerificationError at the first step that fails."""
        ids = tuple(self._steps) if only is None else tuple(only)
        return Report(self.name, tuple(self.check(step_id) for step_id in ids))

    def check(self, step_id: str) -> CheckedStep:
        """Check one step, once per object. Raises VerificationError."""
        step = self[step_id]
        if step_id not in self._checked:
            start = time.perf_counter()
            detail = _CHECKS[step.kind](self, step)
            self._checked[step_id] = CheckedStep(step_id, step.kind, time.perf_counter() - start, detail)
        return self._checked[step_id]

    def with_statement(self, step_id: str, statement: Relational) -> Derivation:
        """A copy in which one step states something else: what a reader changes to see what depends on it."""
        copy = Derivation(self.name, self.title, self.sources, self.indices, self.dynamic)
        for step in self.steps:
            changed = replace(step, derivation=copy, statement=statement if step.id == step_id else step.statement)
            copy._steps[step.id] = changed
        self[step_id]
        touched = {step_id}
        for step in self.steps:
            if step.id in touched or touched & set(step.using):
                touched.add(step.id)
        copy._checked = {key: value for key, value in self._checked.items() if key not in touched}
        return copy

    @cached_property
    def _spot_sizes(self) -> dict[sp.Symbol, int]:
        symbols = sorted({symbol for size in self.indices.values() for symbol in size.free_symbols}, key=str)
        return {symbol: 2 + position % 2 for position, symbol in enumerate(symbols)}

    def rules(self, step_ids: Iterable[str]) -> tuple[Rule, ...]:
        """The equations of these steps, read from left to right."""
        return tuple(Rule.from_equation(self[name].statement, frozenset(self.indices)) for name in step_ids)

    def residual(self, step_id: str, differentiate: bool = True) -> sp.Expr:
        """Left minus right side of a step after the rules of its `using`; `differentiate=False` leaves partial derivatives to do."""
        step = self[step_id]
        return rewrite(step.statement.lhs - step.statement.rhs, self.rules(step.using), self.dynamic, differentiate)


def _fail(step: Step, residual: object, why: str) -> VerificationError:
    return VerificationError(
        f"step {step.id!r} ({step.kind}) of {step.derivation.name} does not hold: {why}\n"
        f"  left:     {step.statement.lhs}\n  right:    {step.statement.rhs}\n  residual: {residual}"
    )


def _check_definition(derivation: Derivation, step: Step) -> str:
    return "notation"


def _check_exact(derivation: Derivation, step: Step) -> str:
    residual = derivation.residual(step.id)
    worst = None if residual.has(sp.Limit) else _spot_check(derivation, step, points=2, digits=_SPOT_DIGITS, ranges=step.ranges)
    vanishes = is_zero(residual) if residual.has(sp.Sum, sp.Indexed) else sp.simplify(residual.doit()) == 0
    if not vanishes:
        raise _fail(step, residual, "the residual does not simplify to 0")
    return "residual 0" if worst is None else f"residual 0; at random numbers {mpmath.nstr(worst, 2)}"


def _check_numeric(derivation: Derivation, step: Step) -> str:
    worst = _spot_check(derivation, step, points=step.points, digits=step.digits, ranges=step.ranges)
    return f"largest residual {mpmath.nstr(worst, 2)} at {step.points} points"


def _assignments(derivation: Derivation, expr: sp.Expr, sizes: Mapping[sp.Symbol, int]) -> list[dict[sp.Symbol, int]]:
    free = sorted(expr.free_symbols & set(derivation.indices), key=str)
    ranges = [range(1, int(write_out(derivation.indices[index], sizes)) + 1) for index in free]
    return [dict(zip(free, choice, strict=True)) for choice in product(*ranges)]


def _spot_check(derivation: Derivation, step: Step, points: int, digits: int, ranges: Mapping) -> mpmath.mpf:
    """The largest residual relative to the sides, over random points and index values; derivatives are taken entry by entry."""
    generator = random.Random(step.id)
    statement, rules, worst = step.statement, derivation.rules(step.using), mpmath.mpf(0)
    sides = [rewrite(side, rules, derivation.dynamic, differentiate=False) for side in (statement.lhs, statement.rhs)]
    sizes = derivation._spot_sizes
    assignments = _assignments(derivation, statement.lhs - statement.rhs, sizes)
    generator.shuffle(assignments)
    with mpmath.workdps(_WORKING_DIGITS):
        for assignment in islice(assignments, 3):
            left, right = (sp.sympify(write_out(side, sizes, assignment), strict=True) for side in sides)
            for _ in range(points):
                point = random_point(left.free_symbols | right.free_symbols, generator, ranges)
                a, b = evaluate(left, point), evaluate(right, point)
                if not isinstance(statement, sp.Eq):
                    if not statement.func(sp.Float(str(a), _WORKING_DIGITS), sp.Float(str(b), _WORKING_DIGITS)):
                        raise _fail(step, a - b, f"it is violated at {point}")
                    continue
                relative = abs(a - b) / max(abs(a), abs(b), mpmath.mpf(10) ** -10)
                if not relative < mpmath.mpf(10) ** -digits:
                    raise _fail(step, mpmath.nstr(a - b, 10), f"at {assignment} and random numbers the sides differ")
                worst = max(worst, relative)
    return worst


def _check_at_sizes(derivation: Derivation, step: Step) -> str:
    expr = derivation.residual(step.id, differentiate=False)
    count = 0
    for sizes in step.sizes:
        for assignment in _assignments(derivation, step.statement.lhs - step.statement.rhs, sizes):
            residual = sp.simplify(write_out(expr, sizes, assignment))
            if residual != 0:
                raise _fail(step, residual, f"at sizes {sizes} and indices {assignment}")
            count += 1
    return f"{count} entries simplify to 0"


_CHECKS = {"definition": _check_definition, "exact": _check_exact, "exact at sizes": _check_at_sizes, "numeric": _check_numeric}
