"""How a three-layer Hopfield network becomes a Mixer layer (page: book/memory/hopfield_mixer.md)."""

from hopmix.memory.hopfield_mixer.compile import to_mixer_block
from hopmix.memory.hopfield_mixer.gauge import skip_to_leaky
from hopmix.memory.hopfield_mixer.three_layer import three_layer_memory
from hopmix.memory.hopfield_mixer.variants import gain_in_synapses, layer_per_token, serial_step, split_tokens

__all__ = ["three_layer_memory", "to_mixer_block", "skip_to_leaky", "layer_per_token", "split_tokens", "gain_in_synapses", "serial_step"]
