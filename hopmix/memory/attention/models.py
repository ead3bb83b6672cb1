"""Two-layer memories whose hidden neurons each hold a pattern (page: book/memory/attention.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_finite, number
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.lagrangian import Lagrangian, Quadratic, Softmax


def check_patterns(name: str, patterns: object, least: int = 1) -> Tensor:
    """A finite floating-point (patterns, neurons) with at least so many patterns; TypeError, ValueError otherwise."""
    if not isinstance(patterns, Tensor) or not patterns.is_floating_point():
        found = f"dtype {patterns.dtype}" if isinstance(patterns, Tensor) else type(patterns).__name__
        raise TypeError(f"{name} must be a floating-point torch.Tensor (patterns, neurons), got {found}")
    if patterns.dim() != 2 or patterns.shape[0] < least or patterns.shape[1] < 1:
        raise ValueError(f"{name} must be (patterns, neurons) with {least} or more patterns, got shape {tuple(patterns.shape)}")
    check_finite(name, patterns)
    return patterns


def two_layer_memory(
    patterns: Tensor,
    visible: Lagrangian,
    hidden: Lagrangian,
    values: Tensor | None = None,
    time_constant: float = 1.0,
    hidden_time_constant: float = 0.0,
) -> HierarchicalMemory:
    """A visible layer joined to one hidden neuron for each pattern: krotov2021large.

    Parameters
    ----------
    patterns : (patterns, neurons), the synapses; a ``torch.nn.Parameter`` is trained.
    visible, hidden : the layers' Lagrangians. With krotov2021large's names: model A has elementwise ones in both layers, B
        ``Quadratic()`` and ``Softmax()``, C a spherical visible layer.
    values : None, or (patterns, neurons) for the way back: then the synapse is asymmetric.
    time_constant, hidden_time_constant : of the two layers; fast hidden neurons (0) have no state of their own.

    Returns a memory with the layers "visible" and "hidden"; its state is (batch, neurons) if the hidden layer is fast.

    Raises
    ------
    TypeError, ValueError : patterns or values is no finite floating-point (patterns, neurons), values has another shape, or what
        ``Layer`` refuses.
    """
    check_patterns("patterns", patterns)
    if values is not None and check_patterns("values", values).shape != patterns.shape:
        raise ValueError(f"values must have the shape of patterns, {tuple(patterns.shape)}, got {tuple(values.shape)}")
    count, neurons = patterns.shape
    layers = [Layer("visible", (neurons,), visible, time_constant), Layer("hidden", (count,), hidden, hidden_time_constant)]
    return HierarchicalMemory(layers, [Synapse("visible", "hidden", Dense(patterns), None if values is None else Dense(values))])


def modern_hopfield(
    patterns: Tensor,
    inverse_temperature: float = 1.0,
    values: Tensor | None = None,
    time_constant: float = 1.0,
    hidden_time_constant: float = 0.0,
) -> HierarchicalMemory:
    """The memory whose step is softmax attention: ramsauer2021hopfield, krotov2021large (model B).

        E = |x|^2 / 2 - logsumexp(beta patterns x) / beta
        step(x, 1.0, leak=True) = softmax(beta x patterns^T) values

    Parameters as in ``two_layer_memory``; inverse_temperature is beta > 0, in attention 1 / sqrt(neurons). Without values the
    patterns are keys and values. Raises as ``two_layer_memory`` and ``Softmax`` do.

    >>> import torch
    >>> memory = modern_hopfield(torch.eye(3, dtype=torch.float64), inverse_temperature=2.0)
    >>> x = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    >>> bool(torch.allclose(memory.step(x, leak=True), torch.softmax(2 * x, 1)))
    True
    """
    hidden = Softmax(number("inverse_temperature", inverse_temperature, "positive"))
    return two_layer_memory(patterns, Quadratic(), hidden, values, time_constant, hidden_time_constant)
