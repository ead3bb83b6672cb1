"""Mixer blocks side by side, and the models made of them (page: book/mixers/blocks.md)."""

from hopmix.mixers.blocks.block import MixerBlock
from hopmix.mixers.blocks.comparison import comparison, comparison_table
from hopmix.mixers.blocks.mixing import Mixing
from hopmix.mixers.blocks.model import Mixer
from hopmix.mixers.blocks.norm import Norm
from hopmix.mixers.blocks.parallel import ParallelMixerBlock
from hopmix.mixers.blocks.presets import PRESETS, preset
from hopmix.mixers.blocks.splitting import parallel_step, serial_step, splitting_term
from hopmix.mixers.blocks.state_dict import from_state_dict, to_state_dict

__all__ = [
    "Mixer",
    "MixerBlock",
    "Mixing",
    "Norm",
    "ParallelMixerBlock",
    "PRESETS",
    "preset",
    "from_state_dict",
    "to_state_dict",
    "parallel_step",
    "serial_step",
    "splitting_term",
    "comparison",
    "comparison_table",
]
