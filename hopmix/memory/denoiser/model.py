"""The memory that restores images, and the retrieval that does it (page: book/memory/denoiser.md)."""

import math
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from hopmix.arguments import available_device, check_batch, floating_dtype, generator, number, size
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Retrieval, State, Synapse
from hopmix.memory.lagrangian import Lagrangian, LayerNorm, lagrangian

VISIBLE, HIDDEN = "visible", "hidden"


def denoiser_memory(
    shape: Sequence[int],
    hidden: int,
    adiabatic: bool = True,
    activation: str | Lagrangian = "relu",
    weight_mean: float = 0.0,
    weight_scale: float = 0.05,
    eps: float = 1e-6,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | torch.Generator = 0,
) -> HierarchicalMemory:
    """Layers "visible" (*shape) with LayerNorm over all pixels, and "hidden" (hidden,), joined by one dense symmetric synapse.

    Two hidden layers that both see all pixels, as in the public demonstration of karakida2024hierarchical, are one with
    the units of both. For Kronecker synapses use ``three_layer_memory``, with rows as tokens and columns as channels.

    Parameters
    ----------
    adiabatic : whether the hidden layer follows at once, so that the state is one tensor (batch, *shape); otherwise it is as slow as the visible one.
    weight_mean, weight_scale : mean and standard deviation of the normal weights. The mean is seen by no activation, as the page shows.
    dtype : None is float64.

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """
    hidden = size("hidden", hidden)
    if not isinstance(activation, str | Lagrangian):
        raise TypeError(f"activation must be the name of a Lagrangian or an instance of one, got {activation!r}")
    if not isinstance(adiabatic, bool):
        raise TypeError(f"adiabatic must be True or False, got {adiabatic!r}")
    mean, scale = number("weight_mean", weight_mean), number("weight_scale", weight_scale, "positive")
    dtype, device, stream = floating_dtype(dtype, torch.float64), available_device(device), generator(seed)
    visible = Layer(VISIBLE, shape, LayerNorm("joint", eps=eps))
    # Drawn in float64 on the CPU, so that a seed means the same memory everywhere.
    weight = mean + scale * torch.randn(hidden, math.prod(visible.shape), generator=stream, dtype=torch.float64)
    layers = [visible, Layer(HIDDEN, (hidden,), lagrangian(activation), 0.0 if adiabatic else 1.0)]
    return HierarchicalMemory(layers, [Synapse(VISIBLE, HIDDEN, Dense(torch.nn.Parameter(weight.to(device, dtype))))])


class Denoiser(torch.nn.Module):
    """Retrieval from a noisy image: in goes (batch, *shape), out come the visible activations at its end, the same shape.

    The noisy image is where the visible layer starts; layers with a state of their own start at 0. With ``drive`` it also
    stays, as a constant input: tau dx/dt = F(g) + drive * noisy - x, whose energy is E - drive * noisy . g.

    Parameters
    ----------
    memory : with a layer "visible"; what the restoration looks like is up to that layer's Lagrangian.
    steps, step_size, differentiate, tolerance : as of ``hopmix.memory.hierarchical.Retrieval``. "implicit" goes on to the rest.
    drive : the weight of the noisy image as an input, trained with the synapses; 0 leaves it out.

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        memory: HierarchicalMemory,
        steps: int = 5,
        step_size: float = 0.5,
        drive: float = 0.0,
        differentiate: str = "unrolled",
        tolerance: float | None = None,
    ):
        super().__init__()
        if not isinstance(memory, HierarchicalMemory):
            raise TypeError(f"memory must be a HierarchicalMemory, got {type(memory).__name__}")
        if VISIBLE not in (names := [layer.name for layer in memory.dynamic_layers]):
            raise ValueError(f"memory must have a dynamic layer {VISIBLE!r}, got {', '.join(names)}")
        self.retrieval = Retrieval(memory, steps, step_size, differentiate=differentiate, tolerance=tolerance)
        weight = next(chain(memory.synapses.parameters(), memory.synapses.buffers()))
        value = torch.tensor(number("drive", drive), dtype=weight.dtype, device=weight.device)
        # At 0 it is no parameter: a weight that starts there would be trained away from it.
        self.drive = torch.nn.Parameter(value) if drive else None

    @property
    def memory(self) -> HierarchicalMemory:
        return self.retrieval.memory

    def start(self, noisy: Tensor) -> State:
        """The state where retrieval begins."""
        slow = [layer for layer in self.memory.dynamic_layers if layer.name != VISIBLE]
        if not slow:
            return noisy
        return {VISIBLE: noisy, **{layer.name: noisy.new_zeros(len(noisy), *layer.shape) for layer in slow}}

    def forward(self, noisy: Tensor) -> Tensor:
        return self.seen(self.retrieval(self.start(noisy), drive=self._input(noisy)))

    def seen(self, state: State) -> Tensor:
        """The visible activations of a state, (batch, *shape): the image that the memory shows."""
        x = state if isinstance(state, Tensor) else state[VISIBLE]
        return self.memory.layer(VISIBLE).lagrangian.activation(x)

    def energy(self, state: State, noisy: Tensor) -> Tensor:
        """E - drive * noisy . g, which the flow with this input lowers: (batch,)."""
        energy = self.memory.energy(state)
        if self.drive is None:
            return energy
        check_batch("noisy", noisy, self.memory.layer(VISIBLE).shape, self.drive)
        return energy - self.drive * (noisy * self.seen(state)).flatten(1).sum(1)

    def path(self, noisy: Tensor, steps: int | None = None) -> list[State]:
        """The states visited by unrolled steps of the step size, the start first; ``steps`` may be more than the memory was trained for."""
        steps = self.retrieval.steps if steps is None else size("steps", steps)
        one = Retrieval(self.memory, 1, self.retrieval.step_size)
        visited = [self.start(noisy)]
        with torch.no_grad():
            for _ in range(steps):
                visited.append(one(visited[-1], drive=self._input(noisy)))
        return visited

    def _input(self, noisy: Tensor) -> dict[str, Tensor] | None:
        return None if self.drive is None else {VISIBLE: self.drive * noisy}
