"""Use earlier equations in later ones: an equation read from left to right as a rewrite rule with index variables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from hopmix.derivation.indexed import rename_bound
from hopmix.derivation.rate import Rate, expand_rates
from hopmix.derivation.scope import free_symbols, names

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
        if not isinstance(left, (sp.Symbol, sp.Indexed, Rate, sp.Derivative)):
            raise ValueError(f"using: the left side of {equation} names no single quantity to replace")
        variables = frozenset(free_symbols(left) & indices)
        if loose := free_symbols(right) & indices - variables:
            raise ValueError(f"using: {', '.join(sorted(map(str, loose)))} stands free on the right side of {equation} alone")
        return cls(left, right, variables)

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


@lru_cache(maxsize=512)
def rewrite(expr: sp.Expr, rules: tuple[Rule, ...], dynamic: frozenset[sp.Basic], differentiate: bool = True) -> sp.Expr:
    """Apply all rules and time derivatives until nothing changes; then, if asked, carry out the partial derivatives, and go on.

    Raises RuntimeError when the rules do not come to an end, ValueError for a partial derivative of something that holds another
    quantity of `dynamic`: it may depend on the variable in a way that no rule has told.
    """
    expr = rename_bound(expr)
    for _ in range(_MOST_ROUNDS):
        before = expr
        for rule in rules:
            expr = rule.apply(expr)
        expr = expand_rates(expr, dynamic)
        if expr == before:
            _refuse_hidden_dependence(expr, dynamic)
        if expr == before and differentiate:
            expr = _carry_out_derivatives(expr)
        if expr == before:
            return expr
        expr = rename_bound(expr)
    raise RuntimeError(f"using: the equations rewrite each other without end, at {expr}")


def _refuse_hidden_dependence(expr: sp.Expr, dynamic: frozenset[sp.Basic]) -> None:
    for node in expr.atoms(sp.Derivative):
        if isinstance(node.expr, sp.Symbol):
            continue
        variables = {v.base if isinstance(v, sp.Indexed) else v for v in node.variables}
        if hidden := (names(node.expr) & dynamic) - variables:
            raise ValueError(f"using: whether {', '.join(sorted(map(str, hidden)))} depends on {node.variables} is left open in {node}")


def _carry_out_derivatives(expr: sp.Expr) -> sp.Expr:
    """Partial derivatives of composite expressions; the derivative of a named scalar stays, since nothing is known of it."""
    done = {node: node.expr.diff(*node.variables) for node in expr.atoms(sp.Derivative) if not isinstance(node.expr, sp.Symbol)}
    return expr.xreplace(done)
