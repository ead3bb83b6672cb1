"""Lagrangians: one scalar per layer, whose gradient is the activation (page: book/memory/hopfield_mixer.md)."""

from hopmix.memory.lagrangian.base import Elementwise, Lagrangian
from hopmix.memory.lagrangian.gelu import GELU
from hopmix.memory.lagrangian.layer_norm import LayerNorm
from hopmix.memory.lagrangian.quadratic import Quadratic
from hopmix.memory.lagrangian.registry import LAGRANGIANS, UnknownLagrangian, lagrangian
from hopmix.memory.lagrangian.relu import ReLU
from hopmix.memory.lagrangian.softmax import Softmax
from hopmix.memory.lagrangian.tanh import Tanh

__all__ = [
    "Lagrangian",
    "Elementwise",
    "Quadratic",
    "ReLU",
    "GELU",
    "Tanh",
    "Softmax",
    "LayerNorm",
    "LAGRANGIANS",
    "UnknownLagrangian",
    "lagrangian",
]
