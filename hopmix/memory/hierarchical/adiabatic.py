"""What fast layers still do when they are eliminated, to first order in their time constants (page: book/memory/hierarchical.md)."""

from collections.abc import Mapping

from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.hierarchical.memory import HierarchicalMemory, check_memory
from hopmix.memory.hierarchical.state import State, pack


def lagging_velocity(memory: HierarchicalMemory, state: State, time_constants: Mapping[str, float], leak: bool = True) -> State:
    """The velocity of a memory whose adiabatic layers are not quite infinitely fast: right up to terms of second order.

    A layer with a small time constant theta lags behind its input u, x = u - theta du/dt, so that its neighbours receive
    theta X^T H du/dt less than from an eliminated layer, where du/dt = X H v is the rate that the eliminated memory gives it. This
    is the page's effective time constant, {eq}`hierarchical-effective-time-constant`, to first order. Source: derived on the page.

    Parameters
    ----------
    time_constants : theta by the name of an adiabatic layer; the others stay infinitely fast. Negative ones are refused.

    Raises
    ------
    TypeError, ValueError : no HierarchicalMemory, a state that it refuses, a name that is no adiabatic layer, a time constant that is not finite or
        is negative.
    """
    check_memory(memory)
    if not isinstance(time_constants, Mapping):
        raise TypeError(f"time_constants must be a dict from layer names to numbers, got {time_constants!r}")
    fast = [layer.name for layer in memory.layers if layer.adiabatic]
    if unknown := [str(name) for name in time_constants if name not in fast]:
        raise ValueError(f"time_constants names {', '.join(unknown)}; the adiabatic layers are {', '.join(fast) or 'none'}")
    thetas = {name: number(f"time_constants of {name!r}", value, "zero") for name, value in time_constants.items()}
    evaluation = memory._evaluate(memory._unpack(state))
    velocity = {name: evaluation.velocity(name, leak) for name in evaluation.dynamic}
    moved = {
        name: memory.layer(name).lagrangian.hessian_product(evaluation.x(name), v) for name, v in velocity.items()
    }  # dg/dt of the dynamic layers
    missing: dict[str, Tensor] = {}
    for name, theta in thetas.items():
        lag = evaluation.response(name, moved)
        missing[name] = theta * memory.layer(name).lagrangian.hessian_product(evaluation.x(name), lag)
    for name in velocity:
        lost = evaluation.response(name, missing)
        if lost is not None:
            velocity[name] = velocity[name] - lost / memory.layer(name).time_constant
    return pack(velocity, state)
