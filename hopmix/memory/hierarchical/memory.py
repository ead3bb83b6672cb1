"""Hierarchical associative memory: dynamics and energy (page: book/memory/hierarchical.md)."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain

import torch
from torch import Tensor

from hopmix.memory.hierarchical.evaluation import Evaluation
from hopmix.memory.hierarchical.integrate import rk4_step
from hopmix.memory.hierarchical.layer import Layer
from hopmix.memory.hierarchical.state import State, all_finite, combine, first_not_finite, pack, unpack
from hopmix.memory.hierarchical.synapse import Synapse
from hopmix.arguments import generator, number, size

CHUNK_BYTES, CHUNK_SAMPLES = 2**22, 4
"""On the CPU a batch is worked on in parts of so many samples, or of as many as keep the largest layer below so many bytes."""


class HierarchicalMemory(torch.nn.Module):
    """Layers with Lagrangians L_A, joined by synapses.

        tau_A dx_A/dt = F_A(g) - x_A,    g_A = grad L_A(x_A),    F_A = sum over A's synapses
        E = sum_A (x_A . g_A - L_A) - (1/2) sum_A g_A . F_A

    Layers with time constant 0 are eliminated, x_A = F_A. The state is a dict from the names of
    the other, dynamic layers to (batch, *shape), or the bare tensor where only one is dynamic;
    every method returns the structure it was given. All methods are batched and differentiable,
    in the weights too: use ``torch.no_grad()`` or ``requires_grad_(False)`` where no gradient is wanted.
    Sources: krotov2021hierarchical, krotov2021large (equations of motion and energy).

    Raises
    ------
    TypeError, ValueError : layers that are no Layer, synapses that are no Synapse, repeated or unknown layer names, two adiabatic neighbours, an adiabatic
        layer without synapse, no dynamic layer, operators that do not fit or that mix dtypes or devices;
        in every method: a state that ``hopmix.memory.hierarchical.state.unpack`` refuses.
    """

    def __init__(self, layers: Iterable[Layer], synapses: Iterable[Synapse]):
        super().__init__()
        self.layers = torch.nn.ModuleList(_all_of(Layer, "layers", layers))
        self.synapses = torch.nn.ModuleList(_all_of(Synapse, "synapses", synapses))
        _check_structure(list(self.layers), list(self.synapses))

    @property
    def symmetric(self) -> bool:
        """Whether every synapse uses one operator both ways."""
        return all(synapse.symmetric for synapse in self.synapses)

    @property
    def dynamic_layers(self) -> tuple[Layer, ...]:
        """The layers with a state of their own."""
        return tuple(layer for layer in self.layers if not layer.adiabatic)

    def layer(self, name: str) -> Layer:
        """The layer of that name; KeyError lists the names."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer is called {name!r}; the layers are {', '.join(layer.name for layer in self.layers)}")

    def check_state(self, state: State) -> None:
        """Raise as every method does where this is no state of the memory."""
        self._unpack(state)

    def energy(self, state: State) -> Tensor:
        """E: (batch,). With asymmetric synapses it is the same expression, no longer bound to fall."""
        return self._in_chunks(lambda values: self._evaluate(values).energy(), self._unpack(state))

    def velocity(self, state: State, leak: bool = True) -> State:
        """dx/dt in the state's structure; without the leak, F(g) / tau."""
        return pack(self._in_chunks(lambda values: self._velocity(values, leak), self._unpack(state)), state)

    def energy_rate(self, state: State) -> Tensor:
        """dE/dt along the flow: (batch,), in closed form and for any synapses.

            dE/dt = - sum_A tau_A v_A . H_A v_A + dg/dt . A g,    v = dx/dt,  dg_A/dt = H_A v_A

        A is the antisymmetric part of the stacked synapse matrix, zero for a symmetric memory.
        Costs the products of one velocity, and with asymmetric synapses of two. Source: derived on the page.
        """
        return self._in_chunks(lambda values: self._evaluate(values).energy_rate(), self._unpack(state))

    def activations(self, state: State) -> dict[str, Tensor]:
        """g of every layer by name, the adiabatic ones included."""
        evaluation = self._evaluate(self._unpack(state))
        return {layer.name: evaluation.g(layer.name) for layer in self.layers}

    def complete(self, state: State) -> dict[str, Tensor]:
        """x of every layer by name: adiabatic layers hold their input."""
        evaluation = self._evaluate(self._unpack(state))
        return {layer.name: evaluation.x(layer.name) for layer in self.layers}

    def step(self, state: State, step_size: float = 1.0, leak: bool = False) -> State:
        """One explicit Euler step, all layers at once, with h = step_size / tau.

        Without the leak x + h F(g), the skip form; with it (1 - h) x + h F(g).

        Raises
        ------
        TypeError, ValueError : step_size is no finite real number.
        FloatingPointError : the step left the finite numbers.
        """
        step_size = number("step_size", step_size)
        values = self._in_chunks(lambda values: self._step(values, step_size, leak), self._unpack(state))
        if not all_finite(values):
            raise FloatingPointError(f"the state is no longer finite after a step of size {step_size:g}; use a smaller step")
        return pack(values, state)

    def iterate(self, state: State, step_sizes: Sequence[float] | Tensor, leak: bool = False) -> State:
        """The states visited by one ``step`` per step size: (steps + 1, batch, *shape), the start first.

        Raises
        ------
        TypeError, ValueError : step_sizes is no sequence of finite real numbers.
        FloatingPointError : the states left the finite numbers.
        """
        sizes = _step_sizes(step_sizes)
        visited = [self._unpack(state)]
        for h in sizes:
            visited.append(self._in_chunks(lambda values, h=h: self._step(values, h, leak), visited[-1]))
        return pack(_stacked(visited), state)

    def advance(self, state: State, step_sizes: Sequence[float] | Tensor, leak: bool = False) -> State:
        """The last of the states that ``iterate`` visits, without keeping the others: the fast way to a retrieval.

        Raises as ``iterate`` does; the states are looked at once, at the end.
        """
        sizes = _step_sizes(step_sizes)

        def last(values: dict[str, Tensor]) -> dict[str, Tensor]:
            for h in sizes:
                values = self._step(values, h, leak)
            return values

        values = self._in_chunks(last, self._unpack(state))
        if not all_finite(values):
            raise FloatingPointError(f"the state is no longer finite after {len(sizes)} steps; use smaller steps")
        return pack(values, state)

    def flow(self, state: State, time: float, steps: int, leak: bool = True) -> tuple[Tensor, State]:
        """The flow dx/dt = velocity by ``steps`` fixed steps of the classical Runge-Kutta method.

        Returns
        -------
        times : (steps + 1,) from 0 to ``time``.
        states : (steps + 1, batch, *shape) in the state's structure.

        Raises
        ------
        TypeError, ValueError : time is no positive finite number, steps not a positive integer.
        FloatingPointError : the states left the finite numbers; more steps may help.
        """
        time, steps = number("time", time, "positive"), size("steps", steps)
        visited = [self._unpack(state)]
        for _ in range(steps):
            visited.append(rk4_step(lambda values: self._velocity(values, leak), visited[-1], time / steps))
        reference = next(iter(visited[0].values()))
        times = torch.linspace(0, time, steps + 1, dtype=reference.dtype, device=reference.device)
        return times, pack(_stacked(visited), state)

    def random_state(self, batch: int = 1, scale: float = 1.0, seed: int | torch.Generator = 0) -> State:
        """Independent normal entries of standard deviation ``scale``, on the weights' dtype and device.

        The same seed gives the same numbers, up to rounding, for every dtype and device.

        Raises
        ------
        TypeError, ValueError : batch is no integer from 0 on, scale no finite real number, seed neither an
            integer nor a generator.
        """
        batch, scale, stream = size("batch", batch, least=0), number("scale", scale), generator(seed)
        like = self._weight()
        dtype, device = (torch.float64, None) if like is None else (like.dtype, like.device)
        values = {
            layer.name: torch.randn(batch, *layer.shape, generator=stream, dtype=torch.float64)
            .mul_(scale)
            .to(device, dtype)
            for layer in self.dynamic_layers
        }
        return values if len(values) > 1 else next(iter(values.values()))

    def forward(self, state: State) -> State:
        return self.velocity(state)

    def _velocity(self, values: dict[str, Tensor], leak: bool) -> dict[str, Tensor]:
        evaluation = self._evaluate(values)
        return {name: evaluation.velocity(name, leak) for name in values}

    def _step(self, values: dict[str, Tensor], step_size: float, leak: bool) -> dict[str, Tensor]:
        return combine(lambda x, v: x.add(v, alpha=step_size), values, self._velocity(values, leak))

    def _in_chunks(self, function: Callable, values: dict[str, Tensor]):
        """function(values), taken over parts of the batch whose largest layer stays in the processor's cache.

        Samples do not see each other. With gradients everything is kept anyway, and a GPU wants large batches.
        """
        _keep_freed_memory()
        x = next(iter(values.values()))
        largest = x.element_size() * max(layer.size for layer in self.layers)
        chunk = max(CHUNK_SAMPLES, CHUNK_BYTES // largest)
        if len(x) <= chunk or x.device.type != "cpu" or self._differentiated(values):
            return function(values)
        parts = zip(*(x.split(chunk) for x in values.values()))
        results = [function(dict(zip(values, part))) for part in parts]
        if isinstance(results[0], Tensor):
            return torch.cat(results)
        return combine(lambda *xs: torch.cat(xs), *results)

    def _differentiated(self, values: dict[str, Tensor]) -> bool:
        return torch.is_grad_enabled() and any(x.requires_grad for x in chain(values.values(), self.parameters()))

    def _evaluate(self, values: dict[str, Tensor]) -> Evaluation:
        return Evaluation({layer.name: layer for layer in self.layers}, list(self.synapses), values)

    def _unpack(self, state: State) -> dict[str, Tensor]:
        return unpack(state, self.dynamic_layers, self._weight())

    def _weight(self) -> Tensor | None:
        for synapse in self.synapses:
            for weight in chain(synapse.parameters(), synapse.buffers()):
                return weight
        return None


@cache
def _keep_freed_memory() -> None:
    """Take a block of the size up to which glibc learns, and give it back: from then on it keeps what is freed.

    Otherwise it hands large tensors back to the system, whose fresh pages cost as much as the products. Elsewhere this does nothing.
    """
    torch.empty(2**25 - 2**13, dtype=torch.uint8)


def check_memory(memory: object) -> None:
    """TypeError where it is no HierarchicalMemory."""
    if not isinstance(memory, HierarchicalMemory):
        raise TypeError(f"memory must be a HierarchicalMemory, got {type(memory).__name__}")


def _step_sizes(step_sizes: Sequence[float] | Tensor) -> list[float]:
    if not isinstance(step_sizes, Iterable) or isinstance(step_sizes, str) or getattr(step_sizes, "ndim", 1) != 1:
        raise TypeError(f"step_sizes must be a sequence of real numbers, got {step_sizes!r}")
    return [number("each of step_sizes", h) for h in step_sizes]


def _stacked(visited: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    states = combine(lambda *xs: torch.stack(xs), *visited)
    if (index := first_not_finite(states)) is not None:
        raise FloatingPointError(
            f"the states are no longer finite at step {index} of {len(visited) - 1}; use smaller steps"
        )
    return states


def _all_of(kind: type, name: str, values: Iterable) -> list:
    if not isinstance(values, Iterable) or isinstance(values, torch.nn.Module) and not isinstance(values, torch.nn.ModuleList):
        raise TypeError(f"{name} must be a sequence of {kind.__name__}, got {type(values).__name__}")
    values = list(values)
    for i, value in enumerate(values):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a sequence of {kind.__name__}, got {type(value).__name__} at position {i}")
    return values


def _check_structure(layers: list[Layer], synapses: list[Synapse]) -> None:
    names = [layer.name for layer in layers]
    by_name = dict(zip(names, layers))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"layers must have different names, got {', '.join(repeated)} more than once")
    if all(layer.adiabatic for layer in layers):
        raise ValueError("layers must include one with a positive time_constant: otherwise nothing moves")
    for s in synapses:
        for end in (s.source, s.target):
            if end not in by_name:
                raise ValueError(
                    f"synapse {s.source!r} -> {s.target!r} names the unknown layer {end!r}; "
                    f"the layers are {', '.join(names)}"
                )
        source, target = by_name[s.source], by_name[s.target]
        if source.adiabatic and target.adiabatic:
            raise ValueError(
                f"synapse {s.source!r} -> {s.target!r} joins two adiabatic layers: eliminating them needs the "
                "solution of an implicit equation; give one of them a positive time_constant"
            )
        for role, operator in (("operator", s.operator), ("feedback", s.returning)):
            try:
                operator.check_shapes(source.shape, target.shape)
            except ValueError as error:
                raise ValueError(f"{role} of synapse {s.source!r} -> {s.target!r}: {error}") from None
    joined = {end for s in synapses for end in (s.source, s.target)}
    if alone := [layer.name for layer in layers if layer.adiabatic and layer.name not in joined]:
        raise ValueError(f"the adiabatic layers {', '.join(alone)} have no synapse, so nothing defines their state")
    weights = [w for s in synapses for w in (*s.parameters(), *s.buffers())]
    if len(found := {(str(w.dtype), str(w.device)) for w in weights}) > 1:
        raise ValueError(f"the synapses' weights must share one dtype and device, got {sorted(found)}")
