"""Blocks of Mixer networks (page: book/memory/hopfield_mixer.md)."""

from hopmix.mixers.blocks.parallel import ParallelMixerBlock

__all__ = ["ParallelMixerBlock"]
