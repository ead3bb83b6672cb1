"""Attention as a step of a two-layer memory, its retrieval bound and its capacity (page: book/memory/attention.md)."""

from hopmix.memory.attention.bounds import energy_floor, retrieval_bound, retrieval_guarantee, separation, spread
from hopmix.memory.attention.capacity import crosstalk, critical_patterns, dominant_overlap, enumerated_error, one_step_error, sphere_capacity, sphere_patterns
from hopmix.memory.attention.dense import DenseMemory, dense_memory, random_patterns
from hopmix.memory.attention.metastable import balanced, critical_inverse_temperature, effective_number, fixed_points, softmax_weights
from hopmix.memory.attention.models import modern_hopfield, two_layer_memory

__all__ = [
    "modern_hopfield",
    "two_layer_memory",
    "dense_memory",
    "DenseMemory",
    "random_patterns",
    "separation",
    "spread",
    "retrieval_bound",
    "retrieval_guarantee",
    "energy_floor",
    "balanced",
    "fixed_points",
    "softmax_weights",
    "effective_number",
    "critical_inverse_temperature",
    "one_step_error",
    "enumerated_error",
    "critical_patterns",
    "crosstalk",
    "dominant_overlap",
    "sphere_capacity",
    "sphere_patterns",
]
