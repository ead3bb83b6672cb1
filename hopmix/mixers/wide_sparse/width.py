"""How wide a Mixer is, and how wide it can be for its connections (page: book/mixers/wide_sparse.md)."""

from typing import NamedTuple

from hopmix.arguments import number, size


class Counts(NamedTuple):
    """Of one token and one channel layer: the effective width, mean connections of the two, numbers that training may change."""

    width: int
    connections: float
    trainable: int


def counts(tokens: int, channels: int, expansion: float = 1.0) -> Counts:
    """Width S C, connections q S C (S + C) / 2 and parameters q (S^2 + C^2), for W (q S, S) and V (q C, C).

    >>> counts(16, 16), counts(4, 16)
    (Counts(width=256, connections=4096.0, trainable=512), Counts(width=64, connections=640.0, trainable=272))
    """
    s, c, q = size("tokens", tokens), size("channels", channels), number("expansion", expansion, "positive")
    return Counts(s * c, q * s * c * (s + c) / 2, round(q * (s**2 + c**2)))


def effective_width(connections: float, ratio: float, expansion: float = 1.0) -> float:
    """The width of a Mixer with S / C = ratio and this mean number of connections: (Omega/q)^(2/3) (4 t / (1 + t)^2)^(1/3).

    >>> round(effective_width(4096, 1)), round(effective_width(4096, 4))
    (256, 221)
    """
    omega, q = number("connections", connections, "positive"), number("expansion", expansion, "positive")
    t = number("ratio", ratio, "positive")
    return (omega / q) ** (2 / 3) * (4 * t / (1 + t) ** 2) ** (1 / 3)


def widest(connections: float, expansion: float = 1.0) -> float:
    """The largest width that so many connections allow, (Omega/q)^(2/3), reached at S = C only.

    >>> round(widest(4096))
    256
    """
    return effective_width(connections, 1.0, expansion)
