"""The registry as a table for the page (page: book/memory/lagrangian.md).

Names, convexity and null directions come from the classes, formulas from checked steps. Loads sympy when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from hopmix.memory.lagrangian.registry import LAGRANGIANS, lagrangian


@dataclass(frozen=True)
class Row:
    """What the table says of one entry: the steps that state L and g, chapter by chapter, and where the literature uses it."""

    lagrangian: str
    activation: str
    used: str
    chapter: str = "memory.lagrangian"

    def steps(self) -> tuple:
        """The steps of L and of g, as `hopmix.derivation.Step`."""
        derivation = import_module(f"hopmix.{self.chapter}.derivation").DERIVATION
        return derivation[self.lagrangian], derivation[self.activation]


ROWS = {
    "quadratic": Row("quadratic-lagrangian", "quadratic", "linear units {cite}`krotov2021large`"),
    "relu": Row("relu-lagrangian", "relu", "hidden layers {cite}`hoover2022hamux`"),
    "gelu": Row("gelu-lagrangian", "gelu", "Mixers {cite}`tolstikhin2021mlp`"),
    "tanh": Row("tanh-lagrangian", "tanh", "graded neurons {cite}`hopfield1984neurons`"),
    "softmax": Row("softmax-lagrangian", "softmax", "attention {cite}`ramsauer2021hopfield`"),
    "layer_norm": Row("layernorm-lagrangian", "layernorm", "Energy Transformer {cite}`hoover2023energy`", chapter="memory.hopfield_mixer"),
    "softplus": Row("softplus-lagrangian", "softplus", "sigmoid units {cite}`hoover2022hamux`"),
    "spherical": Row("spherical-lagrangian", "spherical", "spherical memory {cite}`krotov2021large`"),
    "power": Row("power-lagrangian", "power", "dense memory {cite}`krotov2016dense`"),
    "exponential": Row("exponential-lagrangian", "exponential", "dense memory {cite}`demircigil2017model`"),
}


def registry_table() -> str:
    """A MyST table of all entries with their default options. Raises KeyError for an entry without a row.

    Two columns, because a phone shows no more of them beside a formula.
    """
    lines = ["| entry | $L$ and $g$ |", "| --- | --- |"]
    for name in LAGRANGIANS:
        row, entry = ROWS[name], lagrangian(name)
        words = f"{'convex' if entry.convex else '**not convex**'}; null directions: {entry.null_directions}"
        lines.append(f"| `{name}`<br>{words}<br>{row.used} | {'<br>'.join(map(_formula, row.steps()))} |")
    return "\n".join(lines) + "\n"


def _formula(step) -> str:
    """A checked step's equation on one line, without the character that would end the table's cell."""
    from hopmix.derivation.render import shown

    step.derivation.check(step.id)
    return f"${' '.join(shown(step).split())}$".replace("|", r"\vert ")


def show_registry():
    """For a notebook: the table."""
    from IPython.display import Markdown

    return Markdown(registry_table())
