"""Equations as LaTeX, as labelled MyST blocks and as a document of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp
from sympy.printing.latex import LatexPrinter

from hopmix.derivation.rate import Rate

if TYPE_CHECKING:
    from hopmix.derivation.derivation import Derivation, Step

_WIDE = 46


class IndexedPrinter(LatexPrinter):
    """sympy's printer with indices as subscripts, sums by their indices alone, and rates as dots."""

    def _print_Indexed(self, expr, exp=None, dot=False):
        base = self._print(expr.base.label)
        stem, *super_ = base.split("^", 1)
        stem = rf"\dot{{{stem}}}" if dot else stem
        indices = " ".join(self._print(index) if index.is_Atom else rf"{{{self._print(index)}}}" for index in expr.indices)
        tex = f"{stem}_{{{indices}}}" + (f"^{super_[0]}" if super_ else "")
        return tex if exp is None else rf"\left({tex}\right)^{{{exp}}}" if super_ else f"{tex}^{{{exp}}}"

    def _print_Rate(self, expr, exp=None):
        argument = expr.args[0]
        if isinstance(argument, sp.Indexed):
            tex = self._print_Indexed(argument, dot=True)
        elif isinstance(argument, sp.Symbol):
            tex = rf"\frac{{d {self._print(argument)}}}{{d t}}"
        else:
            tex = rf"\frac{{d}}{{d t}} {self.parenthesize(argument, sp.printing.precedence.PRECEDENCE['Mul'])}"
        return tex if exp is None else rf"\left({tex}\right)^{{{exp}}}"

    def _print_Sum(self, expr):
        indices = ", ".join(self._print(limit[0]) for limit in expr.limits)
        body = expr.function
        tex = self._print(body)
        return rf"\sum_{{{indices}}} " + (rf"\left({tex}\right)" if body.is_Add else tex)

    def _print_Derivative(self, expr):
        if isinstance(expr.expr, sp.Symbol):
            order = len(expr.variables)
            power = f"^{{{order}}}" if order > 1 else ""
            below = r" \, ".join(rf"\partial {self._print(v)}" for v in expr.variables)
            return rf"\frac{{\partial{power} {self._print(expr.expr)}}}{{{below}}}"
        return super()._print_Derivative(expr)

    def _print_KroneckerDelta(self, expr, exp=None):
        indices = " ".join(self._print(argument) for argument in expr.args)
        return rf"\delta_{{{indices}}}"


def latex(expr: sp.Basic) -> str:
    """LaTeX of one expression."""
    return IndexedPrinter({"order": "none", "fold_short_frac": False}).doprint(expr)


def equation(statement: sp.Basic) -> str:
    """LaTeX of one statement; a long right side goes to lines of its own, broken at its sums, so that it fits a phone."""
    if not isinstance(statement, sp.core.relational.Relational):
        return latex(statement)
    relation = {"==": "=", "<=": r"\leq", ">=": r"\geq", "<": "<", ">": ">", "!=": r"\neq"}[statement.rel_op]
    left, right = latex(statement.lhs), latex(statement.rhs)
    terms = list(statement.rhs.args) if statement.rhs.is_Add else [statement.rhs]
    if _width(left) + _width(right) < _WIDE or len(terms) == 1 and _width(left) < _WIDE // 3:
        return f"{left} {relation} {right}"
    lines, current = [], ""
    for position, term in enumerate(terms):
        tex = latex(term)
        piece = tex if position == 0 or tex.startswith("-") else f"+ {tex}"
        if current and _width(current) + _width(piece) > _WIDE:
            lines.append(current)
            current = ""
        current = f"{current} {piece}".strip()
    lines.append(current)
    if _width(left) < _WIDE // 3:
        first, rest = f"{left} &{relation} {lines[0]}", lines[1:]
    else:
        first, rest = rf"&{left}", [rf"{relation} {lines[0]}", *lines[1:]]
    body = " \\\\\n".join([first, *[rf"&\quad {line}" for line in rest]])
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def _width(tex: str) -> int:
    """Roughly the number of glyphs on the line: commands count once, braces not at all, of a fraction the longer half is near half."""
    glyphs, position = 0, 0
    tex = tex.replace(r"\left", "").replace(r"\right", "").replace(r"\frac", "")
    while position < len(tex):
        if tex[position] == "\\":
            position += 1
            while position < len(tex) and tex[position].isalpha():
                position += 1
            glyphs += 1
            continue
        glyphs += tex[position] not in "{}_^ "
        position += 1
    return glyphs


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
        f"```{{math}}\n:label: {step.label}\n\n{equation(step.statement)}\n```\n\n"
        f"[{badge(step)}]{{.check .{_CLASSES[step.kind]}}} {step.because}\n"
        "````\n"
    )


def html(step: Step) -> str:
    """The same for a plain Jupyter front end, which knows MathJax but not MyST."""
    return f"<div>\\[{equation(step.statement)}\\]</div><p><small><b>{badge(step)}</b> {step.because}</small></p>"


def document(derivation: Derivation) -> str:
    """A standalone LaTeX article with every step of the derivation."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{amsmath,amssymb}",
        r"\setlength{\parindent}{0pt}\setlength{\parskip}{6pt}",
        rf"\title{{{derivation.title}}}",
        r"\author{hopmix: " + derivation.name.replace("_", r"\_") + "}",
        r"\date{}",
        r"\begin{document}",
        r"\maketitle",
    ]
    for step in derivation.steps:
        lines += [
            rf"\paragraph{{{step.id}}} ({badge(step)}) {step.because}",
            rf"\begin{{equation}}\label{{{step.label}}}",
            equation(step.statement),
            r"\end{equation}",
        ]
    return "\n".join([*lines, r"\end{document}", ""])
