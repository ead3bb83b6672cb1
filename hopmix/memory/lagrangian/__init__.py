"""Lagrangians: one scalar per layer, whose gradient is the activation (page: book/memory/lagrangian.md)."""

from hopmix.memory.lagrangian.base import Elementwise, Lagrangian, NoConjugate
from hopmix.memory.lagrangian.exponential import Exponential
from hopmix.memory.lagrangian.gelu import GELU
from hopmix.memory.lagrangian.layer_norm import LayerNorm
from hopmix.memory.lagrangian.power import Power
from hopmix.memory.lagrangian.quadratic import Quadratic
from hopmix.memory.lagrangian.registry import LAGRANGIANS, UnknownLagrangian, lagrangian
from hopmix.memory.lagrangian.relu import ReLU
from hopmix.memory.lagrangian.softmax import Softmax
from hopmix.memory.lagrangian.softplus import Softplus
from hopmix.memory.lagrangian.spherical import Spherical
from hopmix.memory.lagrangian.tanh import Tanh

__all__ = [
    "Lagrangian",
    "NoConjugate",
    "Elementwise",
    "Quadratic",
    "ReLU",
    "GELU",
    "Tanh",
    "Softmax",
    "LayerNorm",
    "Softplus",
    "Spherical",
    "Power",
    "Exponential",
    "LAGRANGIANS",
    "UnknownLagrangian",
    "lagrangian",
]
