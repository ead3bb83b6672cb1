"""Equations as LaTeX, as labelled MyST blocks and as a document of their own."""

from __future__ import annotations

import html as markup
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.relational import Relational

from hopmix.derivation.printer import IndexedPrinter, common_factor, latex

if TYPE_CHECKING:
    from hopmix.derivation.derivation import Derivation, Step

WIDEST_LINE = 28
_SHORT_LEFT = 12
_RELATIONS = {"==": "=", "<=": r"\leq", ">=": r"\geq", "<": "<", ">": ">", "!=": r"\neq"}
_ACCENTS = {"dot", "bar", "left", "right", "begin", "end", "operatorname", "quad", ",", "!"}


def equation(statement: Relational, states: Collection[sp.Basic] = ()) -> str:
    """LaTeX of one statement; a long right side is broken between its terms, so that it fits a phone."""
    relation = _RELATIONS[statement.rel_op]
    printer = IndexedPrinter(states)
    left, right = printer.doprint(statement.lhs), printer.doprint(statement.rhs)
    if width(left) + width(right) + 2 <= WIDEST_LINE:
        return f"{left} {relation} {right}"
    beside = width(left) <= _SHORT_LEFT
    lines = _lines(printer, statement.rhs, WIDEST_LINE - (width(left) if beside else 0) - 4)
    if beside and width(left) > 2 and width(left) + width(lines[0]) + 2 > WIDEST_LINE:
        beside, lines = False, _lines(printer, statement.rhs, WIDEST_LINE - 4)
    if beside:
        body = [f"{left} &{relation} {lines[0]}", *[rf"&\quad {line}" for line in lines[1:]]]
    else:
        above = _lines(printer, statement.lhs, WIDEST_LINE)
        body = [f"&{above[0]}", *[rf"&\quad {line}" for line in above[1:]], rf"&\quad {relation} {lines[0]}", *[rf"&\qquad {line}" for line in lines[1:]]]
    return "\\begin{aligned}\n" + " \\\\\n".join(body) + "\n\\end{aligned}"


def _lines(printer: IndexedPrinter, side: sp.Expr, room: float) -> list[str]:
    """One side in lines no wider than `room` where its terms allow it; every line but the first begins with a sign."""
    whole = not side.is_Add or (common_factor(side) is not None and width(printer.doprint(side)) <= room)
    terms = [side] if whole else printer.ordered_terms(side)
    lines: list[str] = []
    for position, term in enumerate(terms):
        tex = printer.doprint(term)
        piece = tex if position == 0 or tex.startswith("-") else f"+ {tex}"
        if lines and width(lines[-1]) + width(piece) <= room:
            lines[-1] = f"{lines[-1]} {piece}"
        else:
            lines.append(piece)
    return lines


def width(tex: str) -> float:
    """Roughly the width of a line in glyphs: scripts are small, fractions as wide as their wider half, indices stand below their sum."""
    return _measure(re.findall(r"\\[A-Za-z]+|\\.|[^\s]", tex))


def _measure(tokens: list[str], display: bool = True) -> float:
    total, position = 0.0, 0
    scripts = 0.0
    big = False
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token in "_^":
            group, position = _group(tokens, position)
            script = 0.7 * _measure(group)
            total += max(0.0, script - scripts) if not big else max(0.0, script - 2)
            scripts = max(scripts, script)
            continue
        scripts, big = 0.0, display and token in (r"\sum", r"\lim")
        if token == r"\frac":
            upper, position = _group(tokens, position)
            lower, position = _group(tokens, position)
            total += max(_measure(upper, False), _measure(lower, False))
        elif token == "{":
            group, position = _group(tokens, position - 1)
            total += _measure(group, display)
        elif token in "+-=" or token in (r"\lim", r"\leq", r"\geq"):
            total += 2
        elif token == r"\sum":
            total += 3 if display else 2
        elif token not in "{}&" and token[1:] not in _ACCENTS:
            total += 1
    return total


def _group(tokens: list[str], position: int) -> tuple[list[str], int]:
    if tokens[position] != "{":
        return [tokens[position]], position + 1
    depth, end = 1, position + 1
    while depth:
        depth += {"{": 1, "}": -1}.get(tokens[end], 0)
        end += 1
    return tokens[position + 1 : end - 1], end


def badge(step: Step) -> str:
    """How the step was checked, in words a reader sees beside the equation."""
    if step.kind == "exact at sizes":
        return "exact at " + ", ".join("(" + ", ".join(f"${latex(s)}={n}$" for s, n in sizes.items()) + ")" for sizes in step.sizes)
    if step.kind == "numeric":
        return f"numeric: {step.points} random points, {step.digits} digits"
    if step.kind == "exact" and step.statement.has(sp.Sum, sp.Indexed):
        return "exact for every size"
    return step.kind


_CLASSES = {"definition": "check-definition", "exact": "check-exact", "exact at sizes": "check-sizes", "numeric": "check-numeric"}


def myst(step: Step) -> str:
    """A labelled MyST equation with its reason and its check, for ``display`` in a chapter."""
    return (
        "````{div} hopmix-step\n"
        f"```{{math}}\n:label: {step.label}\n\n{shown(step)}\n```\n\n"
        f"[{badge(step)}]{{.check .{_CLASSES[step.kind]}}} {step.because}\n"
        "````\n"
    )


def shown(step: Step) -> str:
    """LaTeX of a step's equation, what moves and the indices behind the parameters."""
    return equation(step.statement, step.derivation.dynamic | set(step.derivation.indices))


def html(step: Step) -> str:
    """The same for a plain Jupyter front end, which knows MathJax but not MyST."""
    tex, reason = markup.escape(shown(step)), markup.escape(step.because)
    return f"<div>\\[{tex}\\]</div><p><small><b>{markup.escape(badge(step))}</b> {reason}</small></p>"


def document(derivation: Derivation) -> str:
    """A standalone LaTeX article with every step of the derivation."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{amsmath,amssymb}",
        r"\setlength{\parindent}{0pt}\setlength{\parskip}{6pt}",
        rf"\title{{{_text(derivation.title)}}}",
        rf"\author{{hopmix: {_text(derivation.name)}}}",
        r"\date{}",
        r"\begin{document}",
        r"\maketitle",
    ]
    for step in derivation.steps:
        lines += [
            rf"\paragraph{{{step.id}}} ({badge(step)}) {_text(step.because)}",
            rf"\begin{{equation}}\label{{{step.label}}}",
            shown(step),
            r"\end{equation}",
        ]
    return "\n".join([*lines, r"\end{document}", ""])


def _text(words: str) -> str:
    """Words for LaTeX: what stands between dollar signs is mathematics, everything else is taken literally."""
    parts = words.split("$")
    if len(parts) % 2 == 0:
        return _literal(words)
    return "".join(_formula(part) if position % 2 else _literal(part) for position, part in enumerate(parts))


def _formula(tex: str) -> str:
    return "$" + re.sub(r"(?<!\\)([%#])", r"\\\1", tex) + "$"


def _literal(words: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "%#&_{}$" else c) for c in words)
