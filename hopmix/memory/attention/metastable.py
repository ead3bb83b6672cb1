"""The fixed points of attention at every inverse temperature: means, clusters, single patterns (page: book/memory/attention.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_batch, check_finite, number, size
from hopmix.memory.attention.models import check_patterns
from hopmix.memory.hierarchical.errors import NotConverged


def balanced(patterns: Tensor, tolerance: float = 1e-12, most: int = 2000) -> Tensor:
    """The patterns shifted and scaled until their mean is zero and each has unit length: (patterns, neurons).

    Centring and scaling are repeated until both hold; then the mean is a fixed point at every inverse temperature, and no pattern
    is favoured for its length. Raises TypeError and ValueError for what is no patterns or has two that coincide with the mean,
    ``NotConverged`` with the length of the mean if both do not come to hold.
    """
    check_patterns("patterns", patterns, least=2)
    tolerance, most = number("tolerance", tolerance, "positive"), size("most", most)
    for _ in range(most):
        centred = patterns - patterns.mean(0)
        lengths = centred.norm(dim=1, keepdim=True)
        if bool((lengths == 0).any()):
            raise ValueError("patterns must differ from their mean: one has no direction")
        patterns = centred / lengths
        if (residual := float(patterns.mean(0).norm())) <= tolerance:
            return patterns
    raise NotConverged("centring and scaling the patterns left a mean that is not zero", residual, most)


def fixed_points(patterns: Tensor, inverse_temperature: float, start: Tensor, tolerance: float = 1e-9, most: int = 20000) -> Tensor:
    """Attention repeated until it returns its query: start (batch, neurons) to (batch, neurons).

    A step moves by less than ``tolerance`` times the largest pattern at the end. Every step lowers the energy, so the steps always
    vanish; near a bifurcation they do so slowly.

    Raises
    ------
    TypeError, ValueError : patterns, start, or a number is not as said.
    NotConverged : ``most`` steps were not enough; with the last step's length.
    """
    check_patterns("patterns", patterns)
    check_batch("start", start, (patterns.shape[1],), patterns)
    check_finite("start", start)
    beta = number("inverse_temperature", inverse_temperature, "positive")
    allowed = number("tolerance", tolerance, "positive") * float(patterns.norm(dim=1).amax())
    most = size("most", most)
    x, moving = start.clone(), torch.arange(len(start), device=start.device)
    residual = torch.inf
    for _ in range(most):
        current = x[moving]
        following = torch.softmax(beta * current @ patterns.mT, 1) @ patterns
        x[moving] = following
        moved = (following - current).norm(dim=1)
        moving = moving[moved > allowed]
        if len(moving) == 0:
            return x
        residual = float(moved.max())
    raise NotConverged(f"attention still moves, by more than {allowed:.1e}", residual, most)


def softmax_weights(patterns: Tensor, inverse_temperature: float, state: Tensor) -> Tensor:
    """p: (batch, neurons) to (batch, patterns). Raises TypeError and ValueError as ``fixed_points`` does."""
    check_patterns("patterns", patterns)
    check_batch("state", state, (patterns.shape[1],), patterns)
    check_finite("state", state)
    return torch.softmax(number("inverse_temperature", inverse_temperature, "positive") * state @ patterns.mT, 1)


def effective_number(weights: Tensor) -> Tensor:
    """How many patterns share the weight, exp of the entropy: (batch, patterns) to (batch,), between 1 and the number of patterns.

    Raises TypeError and ValueError for what is no floating-point (batch, patterns) of rows that are not negative and sum to one.
    """
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        raise TypeError(f"weights must be a floating-point torch.Tensor (batch, patterns), got {getattr(weights, 'dtype', type(weights).__name__)}")
    if weights.dim() != 2:
        raise ValueError(f"weights must be (batch, patterns), got shape {tuple(weights.shape)}")
    if not bool((weights >= 0).all() and ((weights.sum(1) - 1).abs() < 1e-4).all()):
        raise ValueError("weights must not be negative and have sum 1 in every row")
    return torch.exp(torch.special.entr(weights).sum(1))


def critical_inverse_temperature(patterns: Tensor) -> float:
    """Where the mean of centred patterns stops being stable: 1 / (largest eigenvalue of their covariance), derived on the page.

    Raises TypeError and ValueError for what is no patterns, or whose mean is not zero.
    """
    check_patterns("patterns", patterns, least=2)
    if float(patterns.mean(0).norm()) > 1e-9 * float(patterns.norm(dim=1).amax()):
        raise ValueError("patterns must have mean zero; hopmix.memory.attention.balanced makes them so")
    return float(len(patterns) / torch.linalg.matrix_norm(patterns, 2) ** 2)
