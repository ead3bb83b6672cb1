"""Use earlier equations in later ones: an equation read from left to right as a rewrite rule with index variables."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from hopmix.derivation.indexed import rename_bound
from hopmix.derivation.rate import Rate, expand_rates

_MOST_ROUNDS = 30


@dataclass(frozen=True)
class Rule:
    """``pattern -> replacement`` for every value of the index variables in `pattern`."""

    pattern: sp.Expr
    replacement: sp.Expr
    variables: frozenset[sp.Symbol]

    @classmethod
    def from_equation(cls, equation: sp.Eq, indices: frozenset[sp.Symbol]) -> Rule:
        """The rule that replaces the left side; a left side ``coefficient * quantity`` is solved for its quantity.

        Raises ValueError when the left side names no single quantity.
        """
        left, right = equation.lhs, equation.rhs
        if left.is_Mul:
            quantities = [f for f in left.args if isinstance(f, (Rate, sp.Derivative))]
            if len(quantities) != 1:
                raise ValueError(f"using: the left side of {equation} names no single quantity to replace")
            right, left = right * quantities[0] / left, quantities[0]
        return cls(left, right, frozenset(left.free_symbols & indices))

    def apply(self, expr: sp.Expr) -> sp.Expr:
        found = {}
        for node in sp.preorder_traversal(expr):
            if isinstance(node, type(self.pattern)) and (binding := _match(self.pattern, node, self.variables)) is not None:
                found[node] = rename_bound(self.replacement).xreplace(binding)
        return expr.xreplace(found)


def _match(pattern: sp.Basic, node: sp.Basic, variables: frozenset[sp.Symbol]) -> dict[sp.Basic, sp.Basic] | None:
    if pattern in variables:
        return {pattern: node}
    if not pattern.args or not node.args:
        return {} if pattern == node else None
    if pattern.func != node.func or len(pattern.args) != len(node.args):
        return None
    binding: dict[sp.Basic, sp.Basic] = {}
    for left, right in zip(pattern.args, node.args, strict=True):
        part = _match(left, right, variables)
        if part is None or any(binding.get(key, value) != value for key, value in part.items()):
            return None
        binding |= part
    return binding


def rewrite(expr: sp.Expr, rules: tuple[Rule, ...], dynamic: frozenset[sp.Basic], differentiate: bool = True) -> sp.Expr:
    """Apply all rules and time derivatives until nothing changes; then, if asked, carry out the partial derivatives, and go on.

    Raises RuntimeError when the rules do not come to an end.
    """
    expr = rename_bound(expr)
    for _ in range(_MOST_ROUNDS):
        before = expr
        for rule in rules:
            expr = rule.apply(expr)
        expr = expand_rates(expr, dynamic)
        if expr == before and differentiate:
            expr = _carry_out_derivatives(expr)
        if expr == before:
            return expr
        expr = rename_bound(expr)
    raise RuntimeError(f"using: the equations rewrite each other without end, at {expr}")


def _carry_out_derivatives(expr: sp.Expr) -> sp.Expr:
    """Partial derivatives of composite expressions; the derivative of a named scalar stays, since nothing is known of it."""
    done = {node: node.expr.diff(*node.variables) for node in expr.atoms(sp.Derivative) if not isinstance(node.expr, sp.Symbol)}
    return expr.xreplace(done)
