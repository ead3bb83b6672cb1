"""A sympy printer for indexed equations: subscripts, dots, and terms and factors in the order people write them.

sympy keeps the arguments of sums and products in an order of its own. Here products read parameters, weights, states, brackets, functions,
sums; sums read positive before negative terms and short before summed ones. Only the order changes, never what is said.
"""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE, precedence_traditional

from hopmix.derivation.rate import Rate

_GREEK = {"alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"}


def latex(expr: sp.Basic, states: Collection[sp.Basic] = ()) -> str:
    """LaTeX of one expression; `states` (symbols and indexed bases) stand behind other quantities of their kind."""
    return IndexedPrinter(states).doprint(expr)


class IndexedPrinter(LatexPrinter):
    """sympy's printer with indices as subscripts, sums by their indices alone, rates as dots, and an order for readers."""

    def __init__(self, states: Collection[sp.Basic] = ()):
        super().__init__({"order": "none", "fold_short_frac": False})
        self._states = frozenset(states)

    # Order

    def _rank(self, expr: sp.Basic) -> tuple:
        if isinstance(expr, sp.Mul):
            return max(self._rank(factor) for factor in expr.args)
        core = expr.base if expr.is_Pow else expr
        head = core.args[0] if isinstance(core, Rate) and isinstance(core.args[0], (sp.Indexed, sp.Symbol)) else core
        name = str(head.base.label if isinstance(head, sp.Indexed) else [limit[0] for limit in head.limits] if isinstance(head, sp.Sum) else head)
        family, indices = (head.base, len(head.indices)) if isinstance(head, sp.Indexed) else (head, 0)
        alphabet = 0 if name.split("^")[0] in _GREEK else 1 if name[:1].isupper() else 2
        place = (family in self._states, alphabet, -indices, name.casefold(), str(core).swapcase())
        if core.is_Rational:
            return (-1, *place)
        if core.is_Add and not any(entry.base in self._states for entry in core.atoms(sp.Indexed)):
            return (2, *place)
        kinds = ((Rate, 5), (sp.KroneckerDelta, 6), (sp.Add, 7), (sp.exp, 8), (sp.Sum, 10), (sp.Function, 9), (sp.Derivative, 5))
        for kind, rank in kinds:
            if isinstance(core, kind):
                return (rank, *place)
        if core.is_number:
            return (0, *place)
        return (1 if isinstance(core, sp.Symbol) and family not in self._states else 3 if isinstance(core, sp.Indexed) else 2, *place)

    def ordered_terms(self, expr: sp.Add) -> list[sp.Expr]:
        """The terms of a sum as they are printed."""
        symbols_only = all(isinstance(term, sp.Symbol) for term in expr.args if not term.is_number)

        def key(term: sp.Expr) -> tuple:
            rank, state, _, _, name, text = self._rank(term)
            number = term.is_number == symbols_only  # ell + 1, but 1 + erf(u)
            upper = str(term)[:1].isupper()  # y + F
            return (term.could_extract_minus_sign(), number, rank if rank > 6 else 0, term.is_Mul, state, upper, name, text)

        return sorted(expr.args, key=key)

    def _print_Add(self, expr, order=None):
        factor = common_factor(expr)
        if factor is not None:
            return rf"{self._print(factor)} \left({self._print_Add(sp.Add(*[term / factor for term in expr.args]))}\right)"
        return join_terms([self._print(term) for term in self.ordered_terms(expr)])

    def _print_Mul(self, expr):
        sign, above, below = _fraction(expr)
        last = [f for f in above if isinstance(f, sp.Sum) or _is_tall(f)]
        if any(factor.has(sp.Sum) for factor in below) and not any(isinstance(factor, sp.Sum) for factor in last):
            last = []
        if last:
            last += [f for f in above if f.is_Add and f not in last]
        above = sorted((f for f in above if f not in last), key=self._rank)
        tex = self._product(above, alone=not last) if above else "1" if below else ""
        if below:
            tex = rf"\frac{{{self._product(above) if above else '1'}}}{{{self._product(sorted(below, key=self._rank))}}}"
        parts = [tex, self._product(sorted(last, key=self._rank), alone=not tex)]
        return sign + " ".join(part for part in parts if part)

    def _product(self, factors: list[sp.Expr], alone: bool = True) -> str:
        if len(factors) == 1 and alone:
            return self._print(factors[0])
        last = len(factors) - 1
        pieces = []
        for position, factor in enumerate(factors):
            bracket = factor.is_Add or isinstance(factor, (sp.Sum, sp.Derivative)) and position < last
            pieces.append(rf"\left({self._print(factor)}\right)" if bracket else self._print(factor))
        return " ".join(pieces)

    # Pieces

    def _print_Pow(self, expr):
        if expr.exp.could_extract_minus_sign() or expr.exp.is_Rational and expr.exp.q != 1 and expr.exp != sp.S.Half:
            _, above, below = _fraction(expr)
            if below:
                return rf"\frac{{1}}{{{self._product(below)}}}"
        if isinstance(expr.base, (sp.Indexed, Rate)) and expr.exp != sp.S.Half:
            tex, power = self._print(expr.base), self._print(expr.exp)
            return rf"\left({tex}\right)^{{{power}}}" if "^" in tex or tex.startswith(r"\frac") else f"{tex}^{{{power}}}"
        return super()._print_Pow(expr)

    def _print_Indexed(self, expr, dot=False):
        stem, *above = self._print(expr.base.label).split("^", 1)
        stem = rf"\dot{{{stem}}}" if dot else stem
        return f"{stem}_{{{' '.join(self._print(index) for index in expr.indices)}}}" + (f"^{above[0]}" if above else "")

    def _print_Rate(self, expr):
        argument = expr.args[0]
        if isinstance(argument, sp.Indexed):
            return self._print_Indexed(argument, dot=True)
        if isinstance(argument, sp.Symbol):
            return rf"\frac{{d {self._print(argument)}}}{{d t}}"
        return rf"\frac{{d}}{{d t}} {self._operand(argument)}"

    def _print_Sum(self, expr):
        indices = ", ".join(self._print(limit[0]) for limit in expr.limits)
        return rf"\sum_{{{indices}}} {self._operand(expr.function)}"

    def _operand(self, expr: sp.Expr) -> str:
        """What a sum, a limit or a derivative acts on, in brackets where it would end too early without."""
        tex = self._print(expr)
        loose = expr.is_Add and common_factor(expr) is None or tex.startswith("-") or precedence_traditional(expr) < PRECEDENCE["Mul"] and not expr.is_Add
        return rf"\left({tex}\right)" if loose else tex

    def _print_Derivative(self, expr):
        order = len(expr.variables)
        sign = "d" if order == 1 and expr.expr.free_symbols == expr.variables[0].free_symbols and not isinstance(expr.expr, sp.Symbol) else r"\partial"
        power = f"^{{{order}}}" if order > 1 else ""
        below = r" \, ".join(f"{sign} {self._print(v)}" + (f"^{{{count}}}" if count > 1 else "") for v, count in expr.variable_count)
        if isinstance(expr.expr, (sp.Symbol, sp.Indexed)):
            return rf"\frac{{{sign}{power} {self._print(expr.expr)}}}{{{below}}}"
        body = self._operand(expr.expr)
        if expr.expr.is_Mul and (not _fraction(expr.expr)[2] or any(map(_is_tall, expr.expr.args))):
            body = rf"\left({body}\right)"
        return rf"\frac{{{sign}{power}}}{{{below}}} {body}"

    def _print_Limit(self, expr):
        body, variable, point, direction = expr.args
        arrow = r"\to" if point.is_infinite else {"+": r"\downarrow", "-": r"\uparrow"}.get(str(direction), r"\to")
        return rf"\lim_{{{self._print(variable)} {arrow} {self._print(point)}}} {self._operand(body)}"

    def _print_KroneckerDelta(self, expr, exp=None):
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\delta_{{{' '.join(self._print(argument) for argument in expr.args)}}}{power}"

    def _print_Function(self, expr, exp=None):
        if len(expr.args) != 1:
            return super()._print_Function(expr, exp)
        name = self._hprint_Function(expr.func.__name__)
        power, argument = "" if exp is None else f"^{{{exp}}}", self._print(expr.args[0])
        tall = r"\sum" in argument or r"\frac" in argument
        return rf"{name}{power}\!\left({argument}\right)" if tall else f"{name}{power}({argument})"

    _print_log = _print_erf = _print_Function


def common_factor(expr: sp.Add) -> sp.Rational | None:
    """A fraction that all terms of a sum share: ``(a + b) / 2`` rather than ``a/2 + b/2``."""
    factors = {abs(term.as_coeff_Mul()[0]) for term in expr.args}
    only = next(iter(factors))
    return only if len(factors) == 1 and only.is_Rational and only.q > 1 else None


def join_terms(pieces: list[str]) -> str:
    """Printed terms with the signs between them."""
    return pieces[0] + "".join(f" - {piece[1:].lstrip()}" if piece.startswith("-") else f" + {piece}" for piece in pieces[1:])


def _is_tall(factor: sp.Expr) -> bool:
    """Too tall for the top of a fraction: functions, and brackets that hold fractions, functions or sums."""
    if factor.is_Add:
        return any(_is_tall(part) or part.is_Rational and part.q > 1 for part in sp.preorder_traversal(factor) if part is not factor and not part.is_Add)
    if factor.is_Pow:
        return factor.exp.could_extract_minus_sign()
    return isinstance(factor, (sp.Sum, sp.Derivative)) or isinstance(factor, sp.Function) and not isinstance(factor, (sp.exp, Rate, sp.KroneckerDelta))


def _fraction(expr: sp.Expr) -> tuple[str, list[sp.Expr], list[sp.Expr]]:
    """Sign, factors above and factors below the line; square roots of numbers are brought together."""
    number, rest = expr.as_coeff_Mul()
    sign, number = ("- ", -number) if number.is_negative else ("", number)
    above, below = [], []
    root = sp.Integer(1)
    for factor in sp.Mul.make_args(rest):
        base, exponent = factor.as_base_exp() if factor.is_Pow else (factor, sp.Integer(1))
        if base.is_number and abs(exponent) == sp.S.Half:
            root *= base ** (2 * exponent)
        elif factor.is_Pow and exponent.could_extract_minus_sign():
            below.append(base**-exponent)
        elif factor != 1:
            above.append(factor)
    if number.is_Rational and root.is_number and root != 1:
        # sqrt(2)/2 is 1/sqrt(2): of the ways to write it, the one with the smallest numbers.
        top, bottom = root.as_numer_denom()
        shared = sp.gcd(number.q, top) if top.is_Integer else 1
        if shared == top != 1:
            number, top, bottom = number * top, sp.Integer(1), bottom * top
        if top != 1 and bottom != 1:
            above.insert(0, sp.sqrt(sp.Mul(top, 1 / bottom, evaluate=False), evaluate=False))
        elif bottom != 1:
            below.append(sp.sqrt(bottom, evaluate=False))
        elif top != 1:
            above.insert(0, sp.sqrt(top, evaluate=False))  # evaluated, sqrt(2 pi) would be a product again
    if number.is_Rational:
        above = ([sp.Integer(number.p)] if number.p != 1 else []) + above
        below = ([sp.Integer(number.q)] if number.q != 1 else []) + below
    elif number != 1:
        above.insert(0, number)
    return sign, above, below
