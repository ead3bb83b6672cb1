"""Energy descent of a deep Mixer, step by step and for every step size (page: book/memory/descent.md)."""

from hopmix.memory.descent.block import block_memory
from hopmix.memory.descent.bound import Descent, NoDescentGuarantee, concavity, descent_bound, largest_safe_step
from hopmix.memory.descent.sharpness import sharp_memory
from hopmix.memory.descent.tied_mixer import TiedMixer

__all__ = [
    "descent_bound",
    "largest_safe_step",
    "concavity",
    "Descent",
    "NoDescentGuarantee",
    "block_memory",
    "sharp_memory",
    "TiedMixer",
]
