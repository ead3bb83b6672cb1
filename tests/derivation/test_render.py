"""Equations are shown in the order people write them, labelled, narrow enough for a phone, and never unchecked."""

import os
import re
import shutil
import subprocess

import mpmath
import pytest
import sympy as sp
from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Le, Limit, Rational, Sum, erf, exp, oo, pi, sqrt, symbols

from hopmix.derivation import Derivation, Rate, VerificationError, derivations, function_with_derivative
from hopmix.derivation import render
from hopmix.derivation.printer import latex

S, N = symbols("S N", integer=True, positive=True)
i, j, ell = symbols("i j ell", integer=True, positive=True)
x, g, W, F, h = (IndexedBase(name) for name in ("x", "g", "W", "F", "h"))
xs = IndexedBase("x^s")
E = symbols("E", real=True)
xbar, gamma, rho, u, s, s_0 = symbols("xbar gamma rho u s s_0", positive=True)
f, f_prime = function_with_derivative("f", "f'")
STATES = {x, g, F, xs, s, rho, i, j, ell}


def total(body, *indices):
    return Sum(body, *[(index, 1, S) for index in indices])


GOLDEN = [
    (x[i] - xbar, r"x_{i} - \bar{x}"),
    (total(x[i] * W[j, i], i), r"\sum_{i} W_{j i} x_{i}"),
    (-total(W[i, j] * g[j], j) + x[i], r"x_{i} - \sum_{j} W_{i j} g_{j}"),
    (total(x[i] - xbar, i), r"\sum_{i} \left(x_{i} - \bar{x}\right)"),
    (-total(x[i], i), r"- \sum_{i} x_{i}"),
    (Rational(1, 2) * total(x[i], i), r"\frac{1}{2} \sum_{i} x_{i}"),
    (total(x[i], i) / N, r"\frac{1}{N} \sum_{i} x_{i}"),
    (total(x[i], i) ** 2, r"\left(\sum_{i} x_{i}\right)^{2}"),
    (total(x[i], i) * total(g[j], j), r"\left(\sum_{i} x_{i}\right) \sum_{j} g_{j}"),
    ((W[i, j] + W[j, i]) / 2, r"\frac{1}{2} \left(W_{i j} + W_{j i}\right)"),
    (gamma * (x[i] - xbar) / rho, r"\frac{\gamma \left(x_{i} - \bar{x}\right)}{\rho}"),
    (gamma / rho * (KroneckerDelta(i, j) - 1 / N), r"\frac{\gamma}{\rho} \left(\delta_{i j} - \frac{1}{N}\right)"),
    (sqrt(2) * u / 2, r"\frac{u}{\sqrt{2}}"),
    (u * exp(-u) / sqrt(2 * pi), r"\frac{u e^{- u}}{\sqrt{2 \pi}}"),
    (u * sqrt(2 * pi), r"\sqrt{2 \pi} u"),
    (sqrt(2 * pi / N), r"\frac{\sqrt{2 \pi}}{\sqrt{N}}"),
    (u / 2 * (1 + erf(u)), r"\frac{u}{2} \left(1 + \operatorname{erf}(u)\right)"),
    ((1 - h[ell]) * x[ell] + h[ell] * F[ell], r"\left(1 - h_{\ell}\right) x_{\ell} + h_{\ell} F_{\ell}"),
    (x[ell + 1], r"x_{\ell + 1}"),
    (1 / (s_0 + ell + 1), r"\frac{1}{s_{0} + \ell + 1}"),
    (u / (1 - s) ** (ell + 1), r"\frac{u}{\left(1 - s\right)^{\ell + 1}}"),
    (f(x[i]) ** 2, r"f^{2}(x_{i})"),
    (f(total(x[i], i)), r"f\!\left(\sum_{i} x_{i}\right)"),
    (xs[i, j] ** 2, r"\left(x_{i j}^{s}\right)^{2}"),
    (Rate(x[i]) * W[i, j], r"W_{i j} \dot{x}_{i}"),
    (Rate(E), r"\frac{d E}{d t}"),
    (Rate(x[i] + u), r"\frac{d}{d t} \left(u + x_{i}\right)"),
    (Rate(x[i]) ** 2 + Rate(E) ** 2 + x[i] ** 2, r"\left(\frac{d E}{d t}\right)^{2} + x_{i}^{2} + \dot{x}_{i}^{2}"),
    (Derivative(E, x[i]), r"\frac{\partial E}{\partial x_{i}}"),
    (Derivative(u**2 + 1, u), r"\frac{d}{d u} \left(1 + u^{2}\right)"),
    (Derivative(sqrt(N) * rho, x[i]), r"\frac{\partial}{\partial x_{i}} \left(\sqrt{N} \rho\right)"),
    (Limit(exp(u) + 1, u, -oo), r"\lim_{u \to -\infty} \left(1 + e^{u}\right)"),
    (Limit(exp(u), u, 0), r"\lim_{u \downarrow 0} e^{u}"),
]


@pytest.mark.parametrize(("expr", "tex"), GOLDEN, ids=[tex for _, tex in GOLDEN])
def test_small_cases_read_as_people_write_them(expr, tex):
    assert latex(expr, STATES) == tex


def derivation(statement=None, because="Because.") -> Derivation:
    toy = Derivation("memory/toy_model", "Toys & 100% of_them", (), {i: S, j: S}, (x,))
    toy.exact("first-step", Eq(total(x[i], i) ** 2, total(x[i] * x[j], i, j)) if statement is None else statement, because)
    return toy


def test_a_block_has_label_badge_and_reason():
    block = derivation()["first-step"]._repr_mimebundle_()["text/markdown"]
    assert "```{math}\n:label: toy-model-first-step\n" in block
    assert "[exact for every size]{.check .check-exact} Because." in block
    assert block.startswith("````{div} hopmix-step\n") and block.rstrip().endswith("````")


def test_badges_say_how():
    toy = derivation()
    sizes = toy.exact_at_sizes("sizes", Eq(total(x[i], i), total(x[j], j)), "x", sizes=({S: 2}, {S: 3}))
    numbers = toy.numeric("numbers", Le(total(x[i], i), 2 * total(x[j], j)), "x", points=7, digits=12)
    plain = toy.exact("plain", Eq((u + 1) ** 2, u**2 + 2 * u + 1), "x")
    notation = toy.define("notation", Eq(E, total(x[i], i)), "x")
    assert [render.badge(step) for step in (sizes, plain, notation)] == ["exact at ($S=2$), ($S=3$)", "exact", "definition"]
    assert render.badge(numbers) == "numeric: 7 random points, 12 digits"


def test_a_wrong_step_is_not_shown():
    step = derivation(Eq(total(x[i], i) ** 2, total(x[i] ** 2, i)))["first-step"]
    with pytest.raises(VerificationError):
        step._repr_mimebundle_()


def test_html_is_escaped():
    toy = derivation(because="If $a<b$ & <so> on.")
    toy.numeric("less", sp.Lt(0, total(x[i] ** 2, i)), "x")
    html = toy["first-step"]._repr_mimebundle_()["text/html"]
    assert "$a&lt;b$ &amp; &lt;so&gt; on." in html
    assert "<script" not in html and "&lt;" in toy["less"]._repr_mimebundle_()["text/html"]


def test_long_right_sides_are_broken_at_their_signs():
    terms = [total(W[i, j] * x[j] * x[i] * f(x[j]), i, j), -2 * total(g[j] * x[j] * f(x[j]), j), u * total(F[i] * f(x[i]) * x[i], i)]
    tex = render.equation(Eq(E, sp.Add(*terms)), STATES)
    lines = tex.split("\n")
    assert lines[0] == r"\begin{aligned}" and lines[-1] == r"\end{aligned}" and len(lines) >= 4
    assert all(re.match(r"&\\quad [+-] ", line) for line in lines[2:-1])
    assert tex.count("- 2 ") == 1 and "+ -" not in tex
    long_left = render.equation(Eq(terms[0] + terms[2], terms[1] * u), STATES).split("\n")
    assert any(line.startswith(r"&\quad = ") for line in long_left)


def test_widths_count_what_is_seen():
    assert render.width("abc") == 3
    assert render.width(r"\frac{abcd}{e}") == 4
    assert render.width(r"\alpha \bar{x}") == 2
    assert render.width(r"x_{abcdefghij}") == pytest.approx(8)
    assert render.width(r"x_{ab}^{cd}") == pytest.approx(1 + 1.4)
    assert render.width(r"\sum_{i} x") == 4 < render.width(r"\frac{\sum_{i} x}{yz}") + 1


STEPS = [(name, step.id) for name, derivation_ in derivations().items() for step in derivation_.steps]


@pytest.mark.parametrize(("name", "step_id"), STEPS, ids=[step_id for _, step_id in STEPS])
def test_no_line_is_much_wider_than_a_phone(name, step_id):
    widest = max(map(render.width, render.shown(derivations()[name][step_id]).split("\n")))
    assert widest <= 1.15 * render.WIDEST_LINE


def compile_latex(text: str, folder) -> str:
    if shutil.which("pdflatex") is None:
        if os.environ.get("CI"):
            pytest.fail("pdflatex is needed here to prove that the LaTeX documents compile")
        pytest.skip("pdflatex is not installed, so the LaTeX documents are not compiled")
    (folder / "derivation.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "derivation.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0 and (folder / "derivation.pdf").stat().st_size > 0, done.stdout[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", sorted(derivations()))
def test_the_document_of_every_derivation_compiles(name, tmp_path):
    document = derivations()[name].to_latex()
    assert document.count(r"\begin{equation}") == len(derivations()[name].steps)
    compile_latex(document, tmp_path)


@pytest.mark.parametrize("because", ["50% of x_i & #1 ~ {^", "costs 5$ only", r"$a\%b$ and $x_1 % y$, 3%", r"a \backslash"])
def test_words_are_safe_in_latex(because, tmp_path):
    compile_latex(derivation(because=because).to_latex(), tmp_path)


def test_printing_two_derivatives_and_numbers_keeps_their_values():
    with mpmath.workdps(30):
        assert latex(sp.Integer(3)) == "3" and latex(Rational(-3, 2) * u) == r"- \frac{3 u}{2}"
    assert latex(Derivative(E, x[i], x[j])) == r"\frac{\partial^{2} E}{\partial x_{i} \, \partial x_{j}}"
    assert latex(sqrt(6) * u / 3) == r"\frac{\sqrt{6} u}{3}"
