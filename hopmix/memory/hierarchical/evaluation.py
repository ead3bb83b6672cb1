"""One evaluation of a memory: every product is formed once (page: book/memory/hierarchical.md)."""

import torch
from torch import Tensor

from hopmix.memory.hierarchical.layer import Layer
from hopmix.memory.hierarchical.synapse import Synapse
from hopmix.memory.lagrangian.base import inner


class Evaluation:
    """All layers of a memory at one state; lives for one call.

    What is asked for is formed on first use and kept, so energy, velocity and energy rate
    share their matrix products. Adiabatic layers are never neighbours, so eliminating one
    asks only for activations of dynamic layers.
    """

    def __init__(self, layers: dict[str, Layer], synapses: list[Synapse], state: dict[str, Tensor]):
        self.layers = layers
        self.synapses = synapses
        self.dynamic = state
        self._kept: dict[tuple, Tensor] = {}

    def x(self, name: str) -> Tensor:
        """The layer's state; an adiabatic layer's is its input."""
        return self.dynamic[name] if name in self.dynamic else self.input(name)

    def g(self, name: str) -> Tensor:
        return self._once(("g", name), lambda: self.layers[name].lagrangian.activation(self.x(name)))

    def forward(self, synapse: Synapse) -> Tensor:
        """What the synapse's target receives: operator applied to the source's activation."""
        return self._once(
            ("forward", synapse), lambda: self._into(synapse.target, synapse.operator(self.g(synapse.source)))
        )

    def backward(self, synapse: Synapse) -> Tensor:
        """What the synapse's source receives: the feedback's adjoint of the target's activation."""
        return self._once(
            ("backward", synapse), lambda: self._into(synapse.source, synapse.returning.adjoint(self.g(synapse.target)))
        )

    def input(self, name: str) -> Tensor:
        """Everything the layer receives: F(g), the sum over its synapses."""
        return self._once(("input", name), lambda: self._sum(name))

    def velocity(self, name: str, leak: bool = True) -> Tensor:
        """dx/dt of a dynamic layer, (input - x) / tau, or without the leak input / tau."""
        tau = self.layers[name].time_constant
        drive = self.input(name) - self.dynamic[name] if leak else self.input(name)
        return drive if tau == 1 else drive / tau

    def energy(self) -> Tensor:
        """E of the whole memory, (batch,).

        An adiabatic layer's own x . g cancels the half of its synapses' terms that enter it, so
        it contributes -L, and with asymmetric synapses half of what it receives less what it returns.
        """
        energy = 0
        for name, layer in self.layers.items():
            if layer.adiabatic:
                energy = energy - layer.lagrangian.value(self.x(name))
            else:
                energy = energy + layer.lagrangian.legendre(self.x(name), self.g(name))
        for s in self.synapses:
            eliminated = [self.layers[end].adiabatic for end in (s.source, s.target)]
            if s.symmetric:
                if not any(eliminated):
                    energy = energy - inner(self.g(s.target), self.forward(s))
                continue
            to_source = inner(self.g(s.source), self.backward(s))
            to_target = inner(self.g(s.target), self.forward(s))
            energy = energy + (to_source if eliminated[0] else -to_source) / 2
            energy = energy + (to_target if eliminated[1] else -to_target) / 2
        return energy

    def energy_rate(self) -> Tensor:
        """dE/dt along the flow, (batch,): -sum tau v . H v + dg/dt . A g, A antisymmetric.

        An adiabatic layer T moves as its neighbours do, dg_T/dt = H_T sum_B X_TB dg_B/dt. Its term of
        dg/dt . A g is therefore carried back to them, X_TB^T H_T (A g)_T, and in the end every
        dynamic layer takes one inner product with its dg/dt.
        """
        carried = {name: self._carried(name) for name, layer in self.layers.items() if layer.adiabatic}
        rate = 0
        for name in self.dynamic:
            layer, velocity = self.layers[name], self.velocity(name)
            force = -layer.time_constant * velocity
            halves = None
            for s in self._synapses_at(name):
                other = _other(s, name)
                back = carried.get(other)
                if not s.symmetric:
                    back = -self.g(other) if back is None else back - self.g(other)
                    halves = self._signal(s, name) if halves is None else halves + self._signal(s, name)
                if back is not None:
                    returned = self._transposed(s, name, back)
                    halves = returned if halves is None else halves + returned
            if halves is not None:
                force = force.add(halves, alpha=0.5)
            rate = rate + inner(layer.lagrangian.hessian_product(self.dynamic[name], velocity), force)
        return rate

    def response(self, name: str, moved: dict[str, Tensor]) -> Tensor | None:
        """The change of the layer's input by changes of its neighbours' activations; None where none of them moves."""
        total = None
        for s in self._synapses_at(name):
            if (change := moved.get(_other(s, name))) is not None:
                part = self._into(name, s.operator(change) if s.target == name else s.returning.adjoint(change))
                total = part if total is None else total + part
        return total

    def _carried(self, name: str) -> Tensor | None:
        """2 H (A g) of an adiabatic layer; None where all its synapses are symmetric."""
        total = None
        for s in self._synapses_at(name):
            if not s.symmetric:
                part = self._signal(s, name) - self._transposed(s, name, self.g(_other(s, name)))
                total = part if total is None else total + part
        return None if total is None else self.layers[name].lagrangian.hessian_product(self.x(name), total)

    def _sum(self, name: str) -> Tensor:
        signals = [self._signal(s, name) for s in self._synapses_at(name)]
        return sum(signals[1:], signals[0]) if signals else torch.zeros_like(self.dynamic[name])

    def _signal(self, s: Synapse, end: str) -> Tensor:
        """What a synapse brings to one of its ends."""
        return self.forward(s) if s.target == end else self.backward(s)

    def _transposed(self, s: Synapse, end: str, value: Tensor) -> Tensor:
        """The transposed stacked matrix from the synapse's other end to this one."""
        return self._into(end, s.returning(value) if s.target == end else s.operator.adjoint(value))

    def _synapses_at(self, name: str) -> list[Synapse]:
        return [s for s in self.synapses if name in (s.source, s.target)]

    def _into(self, name: str, signal: Tensor) -> Tensor:
        """A signal in the shape of the layer it enters: dense operators return it flat."""
        return signal.reshape(len(signal), *self.layers[name].shape)

    def _once(self, key: tuple, formed) -> Tensor:
        if key not in self._kept:
            self._kept[key] = formed()
        return self._kept[key]


def _other(s: Synapse, end: str) -> str:
    return s.source if s.target == end else s.target
