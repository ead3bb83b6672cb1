"""Rests of the flow: against long flows by another integrator, against linear algebra, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hopmix.memory import Dense, HierarchicalMemory, Layer, Synapse, three_layer_memory
from hopmix.memory.hierarchical import NotConverged, Retrieval, fixed_point
from hopmix.memory.hierarchical.fixed_point import flat, settle, unflat
from hopmix.memory.lagrangian import Quadratic, Tanh

SIZES = {"tokens": 4, "channels": 5, "token_hidden": 8, "channel_hidden": 9}


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear_memory(seed, taus=(1.0, 0.4, 2.5), strength=0.2):
    """Three layers of linear neurons, all pairs joined, and its synapses as one symmetric matrix."""
    shapes = {"a": (3,), "b": (2, 2), "c": (5,)}
    layers = [Layer(name, shape, Quadratic(), tau) for (name, shape), tau in zip(shapes.items(), taus)]
    counts = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    starts = dict(zip(counts, np.cumsum([0, *counts.values()])))
    matrix, synapses = torch.zeros(12, 12, dtype=torch.float64), []
    for k, (source, target) in enumerate((("a", "b"), ("b", "c"), ("a", "c"))):
        weight = strength * normal(seed + k, counts[target], counts[source])
        rows, columns = (slice(starts[name], starts[name] + counts[name]) for name in (target, source))
        matrix[rows, columns], matrix[columns, rows] = weight, weight.T
        synapses.append(Synapse(source, target, Dense(weight)))
    return HierarchicalMemory(layers, synapses), matrix, starts


@pytest.mark.parametrize(
    "options",
    [{}, {"asymmetry": 0.3}, {"activation": "relu", "eps": 0.0}, {"norm": "token", "activation": "tanh"}, {"hidden_time_constant": 0.3, "activation": "relu"}],
    ids=str,
)
def test_the_rest_is_where_a_long_flow_ends(options):
    memory = three_layer_memory(**SIZES, seed=2, **options).requires_grad_(False)
    start = memory.random_state(batch=3, seed=5)
    rest = fixed_point(memory, start, step_size=0.9, max_steps=20000)
    # First along the flow by Runge-Kutta, then from its end: the same place, and the velocity vanishes there.
    _, states = memory.flow(start, 500.0, 1250)
    last = {name: x[-1] for name, x in states.items()} if isinstance(states, dict) else states[-1]
    for found, expected, speed in zip(*map(layers_of, (rest, last, memory.velocity(rest)))):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert speed.abs().max() < 1e-7
    plain = fixed_point(memory, start, step_size=0.9, max_steps=20000, acceleration=0)
    for found, expected in zip(layers_of(rest), layers_of(plain)):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def layers_of(state):
    return list(state.values()) if isinstance(state, dict) else [state]


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 8]))
def test_linear_neurons_against_linear_algebra(seed, acceleration):
    """With a drive I the rest of linear neurons is (1 - X)^-1 I, whatever the time constants; a held layer moves to the right side."""
    memory, matrix, starts = linear_memory(seed, strength=0.1)
    drive = {name: normal(seed + 9, 6, *layer.shape) for name, layer in ((layer.name, layer) for layer in memory.layers)}
    state = memory.random_state(batch=6, seed=seed)
    rest = fixed_point(memory, state, tolerance=1e-12, acceleration=acceleration, drive=drive)
    expected = torch.linalg.solve(torch.eye(12, dtype=torch.float64) - matrix, flat(drive).T).T
    torch.testing.assert_close(flat(rest), expected, rtol=1e-9, atol=1e-9)

    held = normal(seed + 3, 6, 2, 2)
    free = torch.tensor([k for k in range(12) if not 3 <= k < 7])
    pushed = flat(drive)[:, free] + held.flatten(1) @ matrix[3:7][:, free]
    expected = torch.linalg.solve(torch.eye(8, dtype=torch.float64) - matrix[free][:, free], pushed.T).T
    rest = fixed_point(memory, state, tolerance=1e-12, acceleration=acceleration, clamp={"b": held}, drive={name: drive[name] for name in "ac"})
    torch.testing.assert_close(torch.cat([rest["a"], rest["c"]], 1), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(rest["b"], held) and list(rest) == list(state)


def test_a_sample_does_not_depend_on_its_batch():
    memory = three_layer_memory(**SIZES, seed=3).requires_grad_(False)
    start = memory.random_state(batch=5, seed=1)
    together = fixed_point(memory, start)
    for k in range(5):
        torch.testing.assert_close(fixed_point(memory, start[k : k + 1])[0], together[k], rtol=1e-7, atol=1e-7)


def test_acceleration_needs_fewer_evaluations():
    """A stiff linear problem with the eigenvalues 0.01 to 1: plain steps take about log(1e-10)/log(0.99), Anderson not many more than the dimension."""
    rates = torch.logspace(-2, 0, 6, dtype=torch.float64)
    steps = [settle(lambda x: 1 - rates * x, torch.zeros(2, 6, dtype=torch.float64), lambda x: x.new_ones(2), tolerance=1e-10, max_steps=5000, step_size=1.0, acceleration=a, near=9e9, what="")[1] for a in (0, 8)]
    assert 2000 < steps[0] < 2600 and steps[1] < 40


def test_no_gradient_is_recorded_and_the_start_is_left_alone():
    memory = three_layer_memory(**SIZES)
    start = memory.random_state(batch=2)
    before = start.clone()
    assert not fixed_point(memory, start).requires_grad and torch.equal(start, before)


def test_float32_has_its_own_tolerance():
    memory = three_layer_memory(**SIZES, dtype=torch.float32).requires_grad_(False)
    rest = fixed_point(memory, memory.random_state(batch=2))
    assert rest.dtype == torch.float32 and memory.velocity(rest).abs().max() < 1e-3


def test_flat_and_back():
    values = {"a": normal(0, 4, 3, 2), "b": normal(1, 4, 5)}
    again = unflat(flat(values), {name: x.shape for name, x in values.items()})
    assert all(torch.equal(again[name], x) for name, x in values.items())


def rotor():
    """A linear memory whose state turns for ever: eigenvalues 1 + i and 1 - i of the synapses, so i and -i of the flow."""
    one = torch.tensor([[1.0]], dtype=torch.float64)
    layers = [Layer("a", (1,), Quadratic()), Layer("b", (1,), Quadratic())]
    return HierarchicalMemory(layers, [Synapse("a", "b", Dense(one), Dense(-one))])


def test_what_does_not_come_to_rest_says_how_far_it_was():
    one = torch.ones(1, 1, dtype=torch.float64)
    growing = HierarchicalMemory([Layer("a", (1,), Quadratic()), Layer("b", (1,), Quadratic())], [Synapse("a", "b", Dense(3 * one))])
    with pytest.raises(NotConverged, match="the states left the finite numbers, use a smaller step_size") as caught:
        fixed_point(growing, {"a": one, "b": one}, acceleration=0)
    assert np.isnan(caught.value.residual)
    memory = three_layer_memory(**SIZES).requires_grad_(False)
    with pytest.raises(NotConverged, match="the flow did not come to rest") as caught:
        fixed_point(memory, memory.random_state(), max_steps=3)
    assert caught.value.iterations == 3 and caught.value.residual > 1e-3


def test_a_neuron_at_zero_is_at_rest():
    """Relative to a state that vanishes nothing would ever be small; the tolerance is absolute there."""
    layers = [Layer("a", (2,), Tanh()), Layer("b", (2,), Tanh())]
    memory = HierarchicalMemory(layers, [Synapse("a", "b", Dense(torch.eye(2, dtype=torch.float64) / 2))])
    rest = fixed_point(memory, memory.random_state(batch=3, seed=0))
    assert flat(rest).abs().max() < 1e-9


STATE = {"a": torch.ones(1, 1, dtype=torch.float64), "b": torch.ones(1, 1, dtype=torch.float64)}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tolerance": 0}, ValueError, "tolerance must be positive and finite, got 0"),
        ({"max_steps": 0}, ValueError, "max_steps must be a positive integer, got 0"),
        ({"step_size": -1}, ValueError, "step_size must be positive and finite, got -1"),
        ({"acceleration": -1}, ValueError, "acceleration must be an integer from 0 on, got -1"),
        ({"clamp": STATE}, ValueError, "clamp holds all layers, a, b, so nothing is left to move"),
        ({"clamp": {"c": STATE["a"]}}, ValueError, "clamp names 'c', which is no dynamic layer of this memory; those are a, b"),
        ({"clamp": {"a": 1.0}}, TypeError, "clamp of layer 'a' must be a floating-point torch.Tensor, got float"),
        ({"clamp": STATE["a"]}, TypeError, "clamp must be a dict from layer names to tensors, got Tensor"),
        ({"clamp": {"a": torch.ones(1, 2, dtype=torch.float64)}}, ValueError, r"state of layer 'a' must have shape \(batch, 1\)"),
        ({"drive": {"a": torch.ones(2, 1, dtype=torch.float64)}}, ValueError, r"drive of layer 'a' must have its shape \(1, 1\), got \(2, 1\)"),
        ({"drive": {"a": torch.ones(1, 1)}}, TypeError, "drive of layer 'a' must have its state's dtype and device, torch.float64 on cpu, got torch.float32 on cpu"),
        ({"drive": {"a": STATE["a"] * float("nan")}}, ValueError, "drive of layer 'a' has entries that are not finite"),
        ({"drive": {"a": STATE["a"]}, "clamp": {"a": STATE["a"]}}, ValueError, "drive has the layers a, which clamp holds"),
    ],
)
def test_errors(options, error, words):
    with pytest.raises(error, match=words):
        fixed_point(rotor(), STATE, **options)


@pytest.mark.parametrize(("state", "error", "words"), [(STATE["a"], TypeError, "state must be a dict with the layers a, b"), ({"a": STATE["a"]}, ValueError, "state lacks the layers b")])
def test_states_that_are_none(state, error, words):
    with pytest.raises(error, match=words):
        fixed_point(rotor(), state)


@pytest.mark.parametrize("call", [lambda: fixed_point(3, STATE), lambda: Retrieval(None)])
def test_memories_that_are_none(call):
    with pytest.raises(TypeError, match="memory must be a HierarchicalMemory, got (int|NoneType)"):
        call()


@pytest.mark.parametrize("acceleration", [0, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_state_that_runs_away_is_no_rest(dtype, acceleration):
    """The norm of a large state overflows before its entries do, and must not count as a length that allows any residual."""
    layers = [Layer("a", (2,), Quadratic()), Layer("b", (2,), Quadratic())]
    memory = HierarchicalMemory(layers, [Synapse("a", "b", Dense(1.5 * torch.eye(2, dtype=dtype)))])
    with pytest.raises(NotConverged, match="the states left the finite numbers"):
        fixed_point(memory, memory.random_state(batch=3, seed=0), max_steps=5000, acceleration=acceleration)
