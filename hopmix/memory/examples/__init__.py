"""Memories that see only examples: noisy copies of patterns, random draws of associations (page: book/memory/examples.md)."""

from hopmix.memory.examples.associations import STORING, association_error, measured_association_error, measured_unseen, unseen_mass
from hopmix.memory.examples.hebbian import ExampleMemory, example_memory, mean_examples, noisy_examples
from hopmix.memory.examples.law import normal_error_bound, one_step_overlap, relative_noise

__all__ = [
    "noisy_examples",
    "mean_examples",
    "example_memory",
    "ExampleMemory",
    "relative_noise",
    "one_step_overlap",
    "normal_error_bound",
    "unseen_mass",
    "measured_unseen",
    "STORING",
    "association_error",
    "measured_association_error",
]
