"""Lagrangians by name (page: book/memory/lagrangian.md)."""

from hopmix.memory.lagrangian.base import Lagrangian
from hopmix.memory.lagrangian.exponential import Exponential
from hopmix.memory.lagrangian.gelu import GELU
from hopmix.memory.lagrangian.layer_norm import LayerNorm
from hopmix.memory.lagrangian.power import Power
from hopmix.memory.lagrangian.quadratic import Quadratic
from hopmix.memory.lagrangian.relu import ReLU
from hopmix.memory.lagrangian.softmax import Softmax
from hopmix.memory.lagrangian.softplus import Softplus
from hopmix.memory.lagrangian.spherical import Spherical
from hopmix.memory.lagrangian.tanh import Tanh

LAGRANGIANS: dict[str, type[Lagrangian]] = {
    "quadratic": Quadratic,
    "relu": ReLU,
    "gelu": GELU,
    "tanh": Tanh,
    "softmax": Softmax,
    "layer_norm": LayerNorm,
    "softplus": Softplus,
    "spherical": Spherical,
    "power": Power,
    "exponential": Exponential,
}


class UnknownLagrangian(ValueError):
    """No Lagrangian has this name; the message lists those that exist."""


def lagrangian(name: str | Lagrangian, **options) -> Lagrangian:
    """A new Lagrangian by name; an instance passes through unchanged.

    >>> lagrangian("softmax", inverse_temperature=2.0)
    Softmax(inverse_temperature=2.0, axis=-1)

    Raises
    ------
    UnknownLagrangian : a name that is not registered.
    TypeError : neither a name nor an instance, options beside an instance, or options that the Lagrangian does not take.
    """
    if isinstance(name, Lagrangian):
        if options:
            raise TypeError(f"options {sorted(options)} have no effect on an instance of {type(name).__name__}")
        return name
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of a Lagrangian or an instance of one, got {name!r}")
    if name not in LAGRANGIANS:
        raise UnknownLagrangian(f"no Lagrangian is called {name!r}; the names are {', '.join(LAGRANGIANS)}")
    return LAGRANGIANS[name](**options)
