"""How well attention retrieves: separation, the bound on one step, and when a pattern has a fixed point of its own (page: book/memory/attention.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.attention.models import check_patterns


def separation(patterns: Tensor) -> Tensor:
    """Delta: how far a pattern's overlap with itself exceeds that with any other: (patterns, neurons) to (patterns,).

        Delta_mu = min over nu != mu of  xi_mu . (xi_mu - xi_nu)

    Negative where a pattern is no corner of the set, so that no inverse temperature can single it out at itself. Source:
    ramsauer2021hopfield. Raises TypeError and ValueError as ``check_patterns`` does, for fewer than two patterns too.
    """
    overlaps = check_patterns("patterns", patterns, least=2) @ patterns.mT
    gaps = overlaps.diagonal()[:, None] - overlaps
    return gaps.fill_diagonal_(torch.inf).amin(1)


def spread(patterns: Tensor) -> Tensor:
    """D: the distance from each pattern to the one farthest from it: (patterns, neurons) to (patterns,). Raises as ``separation`` does."""
    return torch.cdist(check_patterns("patterns", patterns, least=2), patterns, compute_mode="donot_use_mm_for_euclid_dist").amax(1)


def retrieval_bound(patterns: Tensor, inverse_temperature: float, distance: float | Tensor = 0.0, pairs: bool = False) -> Tensor:
    """The largest distance to a pattern after one step from so close to it: (patterns,), derived on the page.

        |F(x) - xi_mu| <= D_mu (K - 1) exp(-beta (Delta_mu - D_mu |x - xi_mu|)),    K patterns

    pairs : the sum over the other patterns that this comes from, each with its own overlap and distance: sharper, for K^2 numbers.
    distance : |x - xi_mu|, a number or any tensor that broadcasts with (patterns,). Above D_mu it says nothing.
    Raises TypeError and ValueError for what is no patterns, no positive inverse_temperature or a negative distance.
    """
    gap, reach = separation(patterns), spread(patterns)
    beta = number("inverse_temperature", inverse_temperature, "positive")
    if not isinstance(pairs, bool):
        raise TypeError(f"pairs must be True or False, got {pairs!r}")
    if not isinstance(distance, Tensor):
        distance = number("distance", distance, "zero")
    elif not bool((distance >= 0).all()):
        raise ValueError("distance must be not negative, in every entry")
    elif distance.dim() and distance.shape[-1] not in (1, len(patterns)):
        raise ValueError(f"distance must broadcast with ({len(patterns)},), one for each pattern, got shape {tuple(distance.shape)}")
    if not pairs:
        return reach * (len(patterns) - 1) * torch.exp(-beta * (gap - reach * distance))
    overlaps, apart = patterns @ patterns.mT, torch.cdist(patterns, patterns, compute_mode="donot_use_mm_for_euclid_dist")
    gaps = overlaps.diagonal()[:, None] - overlaps
    # A pattern is at distance 0 from itself and drops out.
    radius = distance[..., None] if isinstance(distance, Tensor) else distance
    return (apart * torch.exp(-beta * (gaps - apart * radius))).sum(-1)


def retrieval_guarantee(patterns: Tensor, inverse_temperature: float) -> Tensor:
    """Where it is below 1, a ball around the pattern has exactly one fixed point: (patterns,), derived on the page.

        e beta D_mu^2 (K - 1) exp(-beta Delta_mu) < 1

    Then exactly one fixed point lies within 1 / (beta D_mu) of the pattern, all states in that ball converge to it, and its distance
    from the pattern is at most e D_mu (K - 1) exp(-beta Delta_mu). (At very high temperature it can hold too, with a ball that contains
    all patterns: then the fixed point is the one that they share.) Raises as ``retrieval_bound`` does.
    """
    beta = number("inverse_temperature", inverse_temperature, "positive")
    return beta * spread(patterns) * retrieval_bound(patterns, beta) * torch.e


def energy_floor(patterns: Tensor, inverse_temperature: float) -> Tensor:
    """The constant that ramsauer2021hopfield adds to the energy, log(K) / beta + max |xi|^2 / 2: a scalar.

    With it the energy lies between 0 and 2 max |xi|^2 wherever |x| is at most max |xi|. Raises as ``retrieval_bound`` does.
    """
    check_patterns("patterns", patterns)
    beta = number("inverse_temperature", inverse_temperature, "positive")
    largest = patterns.square().sum(1).amax()
    return torch.log(largest.new_tensor(len(patterns))) / beta + largest / 2
