"""Mixer networks (page: book/memory/hopfield_mixer.md)."""

from hopmix.mixers.blocks import ParallelMixerBlock

__all__ = ["ParallelMixerBlock"]
