"""Time derivatives of indexed quantities: `Rate`, printed as a dot or as d/dt."""

from __future__ import annotations

import sympy as sp

_TIME = sp.Symbol("t", real=True)


class Rate(sp.Function):
    """``Rate(x[i])`` is the time derivative of ``x[i]``; of a composite expression it waits for `expand_rates`."""

    nargs = 1

    def _eval_is_commutative(self) -> bool:
        return True


def expand_rates(expr: sp.Expr, dynamic: frozenset[sp.Basic]) -> sp.Expr:
    """Differentiate every composite `Rate` by the rules of calculus; bases and symbols not in `dynamic` are constant in time.

    Parameters
    ----------
    expr: an expression; its bound indices must be distinct from all other names (see `hopmix.derivation.indexed.rename_bound`).
    dynamic: the IndexedBases and Symbols that depend on time.
    """
    for node in sorted(expr.atoms(Rate), key=sp.count_ops):
        argument = node.args[0]
        if not isinstance(argument, (sp.Indexed, sp.Symbol)):
            return expand_rates(expr.xreplace({node: _differentiate(argument, dynamic)}), dynamic)
    return expr


def _differentiate(expr: sp.Expr, dynamic: frozenset[sp.Basic]) -> sp.Expr:
    moving = [a for a in expr.atoms(sp.Indexed) if a.base in dynamic] + [a for a in expr.atoms(sp.Symbol) if a in dynamic]
    indexed_labels = {a.base.label for a in expr.atoms(sp.Indexed)}
    forward, back = {}, {}
    for atom in moving:
        if atom in indexed_labels:
            continue
        arguments = (*atom.indices, _TIME) if isinstance(atom, sp.Indexed) else (_TIME,)
        function = sp.Function(f"_{atom.base.label if isinstance(atom, sp.Indexed) else atom.name}")(*arguments)
        forward[atom], back[function] = function, atom
    derivative = expr.xreplace(forward).diff(_TIME)
    rates = {sp.Derivative(function, _TIME): Rate(atom) for function, atom in back.items()}
    return derivative.xreplace(rates).xreplace(back)
