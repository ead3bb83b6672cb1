"""The classical Runge-Kutta step for states of several layers (page: book/memory/hierarchical.md)."""

from collections.abc import Callable

from torch import Tensor

from hopmix.memory.hierarchical.state import combine

Values = dict[str, Tensor]


def rk4_step(velocity: Callable[[Values], Values], state: Values, step: float) -> Values:
    """One step of length ``step``, of fourth order: the error of a flow at fixed time is O(step^4)."""
    k1 = velocity(state)
    k2 = velocity(combine(lambda x, k: x.add(k, alpha=step / 2), state, k1))
    k3 = velocity(combine(lambda x, k: x.add(k, alpha=step / 2), state, k2))
    k4 = velocity(combine(lambda x, k: x.add(k, alpha=step), state, k3))
    return combine(
        lambda x, a, b, c, d: x.add((b + c).mul(2).add(a).add(d), alpha=step / 6), state, k1, k2, k3, k4
    )
