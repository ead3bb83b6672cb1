"""Memories of several layers against autograd's chain rule, a dense numpy construction and exact solutions."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.special import erf

from hopmix.memory import Dense, HierarchicalMemory, Kronecker, Layer, Synapse
from hopmix.memory.lagrangian import GELU, LayerNorm, Quadratic, ReLU, Softmax, Tanh
from hopmix.testing import assert_descends

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def draw(seed, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Every kind of pair: dynamic-dynamic, dynamic-adiabatic and adiabatic-dynamic, Kronecker and dense, twice the same pair.
SHAPES = {"image": (2, 3), "token": (4, 3), "label": (5,), "memory": (2, 2), "gate": (3,)}
WEIGHTS = [
    ("image", "token", {"token": (4, 2)}),
    ("image", "label", {"weight": (5, 6)}),
    ("label", "memory", {"weight": (4, 5)}),
    ("image", "memory", {"channel": (2, 3)}),
    ("gate", "label", {"weight": (5, 3)}),
    ("gate", "image", {"weight": (6, 3)}),
    ("image", "memory", {"token": (2, 2), "channel": (2, 3)}),
]


def five_layers(seed=0, asymmetric=(), lagrangians=None, adiabatic=("token", "gate")):
    """A random memory with a loop, and the dense weights (W forward, feedback) of its synapses."""
    kinds = {"image": LayerNorm(eps=1e-3, gain=1.2), "token": GELU(), "label": Tanh(), "memory": Softmax(axis=-2), "gate": ReLU()}
    taus = {"image": 1.0, "token": 0.3, "label": 0.5, "memory": 2.0, "gate": 1.5}
    kinds |= lagrangians or {}
    layers = [Layer(name, SHAPES[name], kinds[name], 0.0 if name in adiabatic else taus[name]) for name in SHAPES]
    synapses, dense = [], []
    for n, (source, target, shapes) in enumerate(WEIGHTS):
        both = []
        for way in range(2):
            weights = {key: draw(1000 * seed + 20 * n + 5 * way + i, *shape, scale=0.6) for i, (key, shape) in enumerate(shapes.items())}
            both.append((Dense if "weight" in weights else Kronecker)(**weights))
        if n not in asymmetric:
            both[1] = None
        synapses.append(Synapse(source, target, *both))
        matrices = [as_matrix(operator, source, target) for operator in both if operator is not None]
        dense.append((source, target, matrices[0], matrices[-1]))
    return HierarchicalMemory(layers, synapses), dense


def as_matrix(operator, source, target):
    if isinstance(operator, Dense):
        return operator.weight.numpy()
    token = np.eye(SHAPES[source][0]) if operator.token is None else operator.token.numpy()
    channel = np.eye(SHAPES[source][1]) if operator.channel is None else operator.channel.numpy()
    return np.kron(token, channel)


def numpy_activation(name, x):
    """The activations of ``five_layers``, written again."""
    if name == "image":
        centred = x - x.mean(1, keepdims=True)
        return 1.2 * centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-3)
    if name == "token":
        return x * (1 + erf(x / math.sqrt(2))) / 2
    if name == "label":
        return np.tanh(x)
    if name == "memory":
        weights = np.exp(x.reshape(-1, 2, 2))
        return (weights / weights.sum(1, keepdims=True)).reshape(-1, 4)
    return np.maximum(x, 0)


def numpy_value(name, x):
    if name == "image":
        return 1.2 * 6 * np.sqrt(x.var(1) + 1e-3)
    if name == "token":
        phi = (x**2 + (x**2 - 1) * erf(x / math.sqrt(2)) + x * math.sqrt(2 / math.pi) * np.exp(-(x**2) / 2)) / 4
        return phi.sum(1)
    if name == "label":
        return np.log(np.cosh(x)).sum(1)
    if name == "memory":
        return np.log(np.exp(x.reshape(-1, 2, 2)).sum(1)).sum(1)
    return (np.maximum(x, 0) ** 2).sum(1) / 2


ASYMMETRIES = {"symmetric": (), "asymmetric": tuple(range(len(WEIGHTS))), "mixed": (0, 3, 4)}
every_asymmetry = pytest.mark.parametrize("asymmetric", ASYMMETRIES.values(), ids=ASYMMETRIES)
ADIABATIC = {"none adiabatic": (), "two adiabatic": ("token", "gate"), "one dynamic end": ("token", "gate", "memory")}
every_elimination = pytest.mark.parametrize("adiabatic", ADIABATIC.values(), ids=ADIABATIC)


@every_asymmetry
@every_elimination
def test_against_the_stacked_matrix_in_numpy(asymmetric, adiabatic):
    memory, dense = five_layers(3, asymmetric, adiabatic=adiabatic)
    state = memory.random_state(batch=4, seed=5)
    offsets, size = {}, 0
    for name, shape in SHAPES.items():
        offsets[name] = slice(size, size + math.prod(shape))
        size += math.prod(shape)
    xi = np.zeros((size, size))
    for source, target, forward, feedback in dense:
        xi[offsets[target], offsets[source]] += forward
        xi[offsets[source], offsets[target]] += feedback.T
    x = {name: value.flatten(1).numpy() for name, value in state.items()}
    g = np.zeros((4, size))
    for name in x:
        g[:, offsets[name]] = numpy_activation(name, x[name])
    inputs = g @ xi.T
    for name in adiabatic:
        x[name] = inputs[:, offsets[name]]
        g[:, offsets[name]] = numpy_activation(name, x[name])
    inputs = g @ xi.T
    energy = -0.5 * np.einsum("bi,ij,bj->b", g, xi, g)
    for name in SHAPES:
        energy += (x[name] * g[:, offsets[name]]).sum(1) - numpy_value(name, x[name])
    np.testing.assert_allclose(memory.energy(state).numpy(), energy, rtol=1e-12, atol=1e-12)
    velocity, drive = memory.velocity(state), memory.velocity(state, leak=False)
    assert set(velocity) == set(SHAPES) - set(adiabatic)
    for name in velocity:
        tau, into = memory.layer(name).time_constant, inputs[:, offsets[name]]
        np.testing.assert_allclose(velocity[name].flatten(1).numpy(), (into - x[name]) / tau, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(drive[name].flatten(1).numpy(), into / tau, rtol=1e-12, atol=1e-12)
    for name in SHAPES:
        np.testing.assert_allclose(memory.activations(state)[name].flatten(1).numpy(), g[:, offsets[name]], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(memory.complete(state)[name].flatten(1).numpy(), x[name], rtol=1e-12, atol=1e-13)


@every_asymmetry
@every_elimination
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.3, 3.0))
def test_energy_rate_is_the_chain_rule(asymmetric, adiabatic, seed, scale):
    memory, _ = five_layers(seed, asymmetric, adiabatic=adiabatic)
    state = {name: x.requires_grad_(True) for name, x in memory.random_state(batch=3, scale=scale, seed=seed).items()}
    gradients = torch.autograd.grad(memory.energy(state).sum(), list(state.values()))
    with torch.no_grad():
        pairs = [(a.flatten(1), v.flatten(1)) for a, v in zip(gradients, memory.velocity(state).values())]
        expected = sum((a * v).sum(1) for a, v in pairs)
        size = sum(a.norm(dim=1) * v.norm(dim=1) for a, v in pairs)
        assert bool(((memory.energy_rate(state) - expected).abs() <= 1e-12 * size).all())


@every_elimination
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_symmetric_convex_memory_descends(adiabatic, seed):
    memory, _ = five_layers(seed, lagrangians={"token": Tanh()}, adiabatic=adiabatic)
    state = memory.random_state(batch=4, seed=seed)
    assert bool((memory.energy_rate(state) < 0).all())
    assert_descends(memory, state, time=3.0, steps=60)


def test_an_asymmetric_memory_can_ascend():
    one = torch.ones(1, 1, dtype=torch.float64)
    layers = [Layer("a", (1,), Quadratic()), Layer("b", (1,), Quadratic())]
    memory = HierarchicalMemory(layers, [Synapse("a", "b", Dense(2 * one), Dense(-6 * one))])
    assert not memory.symmetric
    # a' = -6 b - a, b' = 2 a - b, E = (a^2 + b^2) / 2 + 2 a b: at b = 0 the rate is 3 a^2.
    state = {"a": 0.5 * one, "b": 0 * one}
    assert float(memory.energy(state)) == pytest.approx(0.125, abs=1e-15)
    assert float(memory.energy_rate(state)) == pytest.approx(0.75, abs=1e-14)
    with pytest.raises(AssertionError, match="the energy of sample 0 rises"):
        assert_descends(memory, state, time=0.1)


def linear_memory(adiabatic=False):
    """Two linear layers: dx/dt = M x with a known matrix M."""
    w, feedback = draw(1, 3, 4, scale=0.5), draw(2, 3, 4, scale=0.5)
    layers = [Layer("a", (4,), Quadratic(), 2.0), Layer("b", (3,), Quadratic(), 0.0 if adiabatic else 0.5)]
    matrix = np.block([[-np.eye(4), feedback.numpy().T], [w.numpy(), -np.eye(3)]]) / np.repeat([2.0, 0.5], [4, 3])[:, None]
    if adiabatic:
        matrix = (feedback.numpy().T @ w.numpy() - np.eye(4)) / 2
    return HierarchicalMemory(layers, [Synapse("a", "b", Dense(w), Dense(feedback))]), matrix


def test_flow_of_a_linear_memory_is_the_matrix_exponential():
    memory, matrix = linear_memory()
    state = memory.random_state(batch=2, seed=3)
    times, states = memory.flow(state, time=1.5, steps=50)
    assert times.tolist() == pytest.approx(np.linspace(0, 1.5, 51).tolist())
    start = np.concatenate([state["a"].numpy(), state["b"].numpy()], axis=1)
    for n in (0, 20, 50):
        found = np.concatenate([states["a"][n].numpy(), states["b"][n].numpy()], axis=1)
        np.testing.assert_allclose(found, start @ expm(float(times[n]) * matrix).T, rtol=1e-6, atol=1e-7)
    errors = []
    for steps in (8, 16, 32):
        end = memory.flow(state, 1.5, steps)[1]["a"][-1].numpy()
        errors.append(np.abs(end - (start @ expm(1.5 * matrix).T)[:, :4]).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all((3.7 < orders) & (orders < 4.4))


def test_bare_state_where_one_layer_is_dynamic():
    memory, matrix = linear_memory(adiabatic=True)
    x = memory.random_state(batch=3, seed=4)
    np.testing.assert_allclose(memory.velocity(x).numpy(), x.numpy() @ matrix.T, rtol=1e-12, atol=1e-13)
    as_dict = memory.velocity({"a": x})
    assert set(as_dict) == {"a"} and torch.equal(as_dict["a"], memory.velocity(x))
    assert torch.equal(memory(x), memory.velocity(x))
    _, states = memory.flow(x, 1.0, 4)
    assert states.shape == (5, 3, 4) and torch.equal(states[0], x)


def test_steps_are_euler_steps():
    memory, _ = five_layers(4, (1, 2))
    state = memory.random_state(batch=2, seed=6)
    drive = memory.velocity(state, leak=False)
    skip, leaky = memory.step(state, 0.2), memory.step(state, 0.2, leak=True)
    for name, x in state.items():
        tau = memory.layer(name).time_constant
        torch.testing.assert_close(skip[name], x + 0.2 * drive[name], rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(leaky[name], (1 - 0.2 / tau) * x + 0.2 * drive[name], rtol=1e-13, atol=1e-14)
    visited = memory.iterate(state, [0.2, 0.1], leak=True)
    twice = memory.step(leaky, 0.1, leak=True)
    for name in state:
        assert torch.equal(visited[name], torch.stack([state[name], leaky[name], twice[name]]))


def test_fast_layers_approach_the_adiabatic_limit_linearly():
    slow, _ = five_layers(6, adiabatic=("token", "gate"))
    start = slow.random_state(batch=2, seed=8)
    exact = slow.flow(start, 0.5, 160)[1]["image"][-1]
    distances = []
    for tau in (0.04, 0.02, 0.01):
        fast, _ = five_layers(6, adiabatic=())
        for name in ("token", "gate"):
            fast.layer(name).time_constant = tau
        state = {layer.name: slow.complete(start)[layer.name] for layer in fast.layers}  # hidden layers start at their limit
        distances.append(float((fast.flow(state, 0.5, 160)[1]["image"][-1] - exact).abs().max()))
    ratios = np.divide(distances[:-1], distances[1:])
    assert np.all((1.8 < ratios) & (ratios < 2.2)), distances


@every_asymmetry
@pytest.mark.parametrize("device", DEVICES)
def test_float32_and_devices(asymmetric, device):
    memory, _ = five_layers(7, asymmetric)
    state = memory.random_state(batch=3, seed=9)
    exact = [memory.energy(state), memory.energy_rate(state), memory.velocity(state)["image"]]
    memory = memory.to(device=device, dtype=torch.float32)
    moved = memory.random_state(batch=3, seed=9)
    assert all(x.dtype == torch.float32 and x.device.type == device for x in moved.values())
    for found, expected in zip([memory.energy(moved), memory.energy_rate(moved), memory.velocity(moved)["image"]], exact):
        assert found.dtype == torch.float32 and found.device.type == device
        torch.testing.assert_close(found.cpu().double(), expected, rtol=2e-5, atol=2e-5)


def test_everything_is_differentiable_in_the_weights():
    w = torch.nn.Parameter(draw(1, 3, 4))
    memory = HierarchicalMemory(
        [Layer("a", (4,), Tanh()), Layer("b", (3,), GELU(), 0.0)], [Synapse("a", "b", Dense(w), Dense(torch.nn.Parameter(draw(2, 3, 4))))]
    )
    x = draw(3, 2, 4).requires_grad_(True)
    for function in (memory.energy, memory.energy_rate, memory.velocity, memory.step, lambda x: memory.flow(x, 0.1, 2)[1]):
        assert torch.autograd.gradcheck(lambda x, *_: function(x), (x, w))


def test_one_evaluation_forms_each_product_once(monkeypatch):
    count = [0]
    for method in ("forward", "adjoint"):
        original = getattr(Kronecker, method)

        def counted(self, g, original=original):
            count[0] += 1
            return original(self, g)

        monkeypatch.setattr(Kronecker, method, counted)

    def products(function, state):
        count[0] = 0
        function(state)
        return count[0]

    def memory(asymmetric):
        layers = [Layer("a", (4, 3), LayerNorm()), Layer("b", (5, 3), GELU(), 0.0), Layer("c", (4, 6), GELU(), 0.0)]
        tied = [("b", {"token": draw(1, 5, 4)}), ("c", {"channel": draw(2, 6, 3)})]
        return HierarchicalMemory(layers, [Synapse("a", t, Kronecker(**w), Kronecker(**w) if asymmetric else None) for t, w in tied])

    x = draw(5, 2, 4, 3)
    symmetric, asymmetric = memory(False), memory(True)
    assert [products(f, x) for f in (symmetric.velocity, symmetric.energy, symmetric.energy_rate)] == [4, 2, 4]
    assert [products(f, x) for f in (asymmetric.velocity, asymmetric.energy, asymmetric.energy_rate)] == [4, 4, 8]
    torch.testing.assert_close(symmetric.energy_rate(x), asymmetric.energy_rate(x), rtol=1e-12, atol=0)


def test_no_state_is_changed_and_copies_are_independent():
    memory, _ = five_layers(8, (0,))
    state = memory.random_state(batch=2)
    before = {name: x.clone() for name, x in state.items()}
    memory.energy_rate(state), memory.step(state), memory.flow(state, 0.1, 2), memory.energy(state)
    assert all(torch.equal(before[name], state[name]) for name in state)
    other = copy.deepcopy(memory)
    other.synapses[0].operator.token.zero_()
    assert float(memory.synapses[0].operator.token.abs().sum()) > 0
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.energy(state), memory.energy(state))


def test_an_isolated_dynamic_layer_decays():
    memory = HierarchicalMemory([Layer("a", (2,), Tanh(), 0.5)], [])
    x = draw(1, 3, 2)
    assert torch.equal(memory.velocity(x), -x / 0.5)
    assert torch.equal(memory.random_state(2, seed=3), draw(3, 2, 2))


def pair(**changes):
    """A valid memory of two dynamic layers, with changes."""
    layers = changes.pop("layers", [Layer("a", (4,), Tanh()), Layer("b", (3,), Tanh())])
    return HierarchicalMemory(layers, changes.pop("synapses", [Synapse("a", "b", Dense(draw(1, 3, 4)))]))


A = Layer("a", (4,), Tanh())


def good(**changes):
    return {"a": draw(1, 2, 4), "b": draw(2, 2, 3)} | changes


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: pair().energy({"a": draw(1, 2, 4)}), ValueError, "state lacks the layers b; it must hold a, b"),
        (lambda: pair().energy(good(c=draw(1, 2, 4))), ValueError, "state has the layers c, which are not dynamic layers.*those are a, b"),
        (lambda: pair().energy(draw(1, 2, 4)), TypeError, "must be a dict with the layers a, b, got a bare tensor: 2 layers are dynamic"),
        (lambda: pair().energy([1.0]), TypeError, "state must be a torch.Tensor or a dict of them, got list"),
        (lambda: pair().velocity(good(b=draw(1, 2, 5))), ValueError, r"state of layer 'b' must have shape \(batch, 3\), got \(2, 5\)"),
        (lambda: pair().velocity(good(a=draw(1, 4))), ValueError, r"state of layer 'a' must have shape \(batch, 4\), got \(4,\)"),
        (lambda: pair().velocity(good(a=torch.tensor(0.0))), ValueError, r"must have shape \(batch, 4\), got \(\)"),
        (lambda: pair().step(good(b=draw(1, 3, 3))), ValueError, "state of layer 'b' has batch 3, but layer 'a' has 2"),
        (lambda: pair().step(good(b=draw(1, 2, 3).float())), TypeError, "'b' has dtype torch.float32, but the weights torch.float64"),
        (lambda: pair().step(good(b=draw(1, 2, 3).to("meta"))), ValueError, "'b' is on meta, but the weights on cpu: use one device"),
        (lambda: pair().step(good(b=torch.ones(2, 3).long())), TypeError, "'b' must be a floating-point .*, got dtype torch.int64"),
        (lambda: pair().step(good(b=[0.0])), TypeError, "'b' must be a floating-point torch.Tensor, got list"),
        (lambda: pair().energy_rate(good(b=torch.full((2, 3), math.nan).double())), ValueError, "'b' has entries that are not finite"),
        (lambda: pair().energy_rate(good(a=torch.full((2, 4), math.inf).double())), ValueError, "'a' has entries that are not finite"),
        (lambda: pair().step(good(), math.nan), ValueError, "step_size must be finite, got nan"),
        (lambda: pair().iterate(good(), [1.0, math.inf]), ValueError, "step_sizes must be finite, got inf"),
        (lambda: pair().flow(good(), -1.0, 10), ValueError, "time must be positive and finite, got -1.0"),
        (lambda: pair().flow(good(), 1.0, 0), ValueError, "steps must be a positive integer, got 0"),
        (lambda: pair().iterate(good(), [1e200] * 3, leak=True), FloatingPointError, "no longer finite at step 2 of 3; use smaller steps"),
        (lambda: pair().step(good(a=1e3 * draw(1, 2, 4)), 1e308, leak=True), FloatingPointError, r"no longer finite after a step of size 1e\+308; use a smaller step"),
        (lambda: pair().step(good(), "1"), TypeError, "step_size must be a real number, got '1'"),
        (lambda: pair().step(good(), None), TypeError, "step_size must be a real number, got None"),
        (lambda: pair().step(good(), True), TypeError, "step_size must be a real number, got True"),
        (lambda: pair().iterate(good(), 1.0), TypeError, "step_sizes must be a sequence of real numbers, got 1.0"),
        (lambda: pair().iterate(good(), torch.tensor(1.0)), TypeError, "step_sizes must be a sequence of real numbers"),
        (lambda: pair().iterate(good(), torch.ones(2, 1)), TypeError, "step_sizes must be a sequence of real numbers"),
        (lambda: pair().iterate(good(), "abc"), TypeError, "step_sizes must be a sequence of real numbers, got 'abc'"),
        (lambda: pair().iterate(good(), [1.0, None]), TypeError, "each of step_sizes must be a real number, got None"),
        (lambda: pair().flow(good(), "1", 10), TypeError, "time must be a real number, got '1'"),
        (lambda: pair().flow(good(), None, 10), TypeError, "time must be a real number, got None"),
        (lambda: pair().flow(good(), True, 10), TypeError, "time must be a real number, got True"),
        (lambda: pair().flow(good(), 1.0, True), ValueError, "steps must be a positive integer, got True"),
        (lambda: pair().flow(good(), 1.0, 2.5), ValueError, "steps must be a positive integer, got 2.5"),
        (lambda: pair().random_state(-1), ValueError, "batch must be an integer from 0 on, got -1"),
        (lambda: pair().random_state(2.5), ValueError, "batch must be an integer from 0 on, got 2.5"),
        (lambda: pair().random_state("a"), ValueError, "batch must be an integer from 0 on, got 'a'"),
        (lambda: pair().random_state(scale=math.nan), ValueError, "scale must be finite, got nan"),
        (lambda: pair().random_state(scale="a"), TypeError, "scale must be a real number, got 'a'"),
        (lambda: pair().random_state(seed=None), TypeError, "seed must be an integer or a torch.Generator, got None"),
        (lambda: pair().random_state(seed="a"), TypeError, "seed must be an integer or a torch.Generator, got 'a'"),
        (lambda: pair().random_state(seed=1.5), TypeError, "seed must be an integer or a torch.Generator, got 1.5"),
        (lambda: HierarchicalMemory([1], [2]), TypeError, "layers must be a sequence of Layer, got int at position 0"),
        (lambda: HierarchicalMemory(A, []), TypeError, "layers must be a sequence of Layer, got Layer"),
        (lambda: HierarchicalMemory(None, []), TypeError, "layers must be a sequence of Layer, got NoneType"),
        (lambda: HierarchicalMemory([A], [A]), TypeError, "synapses must be a sequence of Synapse, got Layer at position 0"),
        (lambda: HierarchicalMemory([A], 2), TypeError, "synapses must be a sequence of Synapse, got int"),
        (lambda: Synapse(1, 2, Dense(draw(1, 3, 3))), TypeError, "source of a synapse must be a layer's name, .* got 1"),
        (lambda: Synapse([], "b", Dense(draw(1, 3, 3))), TypeError, r"source of a synapse must be a layer's name, .* got \[\]"),
        (lambda: Synapse("a", None, Dense(draw(1, 3, 3))), TypeError, "target of a synapse must be a layer's name, .* got None"),
        (lambda: Layer("a", 3, Tanh()), TypeError, "shape of layer 'a' must be a tuple of positive integers, got 3"),
        (lambda: Layer("a", "34", Tanh()), ValueError, "shape of layer 'a' must be one or more positive integers"),
        (lambda: Layer("a", (3, True), Tanh()), ValueError, r"shape of layer 'a' must be one or more positive integers, got \(3, True\)"),
        (lambda: Layer("a", (3,), Tanh(), "1"), TypeError, "time_constant of layer 'a' must be a real number, got '1'"),
        (lambda: Layer("a", (3,), Tanh(), None), TypeError, "time_constant of layer 'a' must be a real number, got None"),
        (lambda: Layer("a", (3,), Tanh(), math.nan), ValueError, "time_constant of layer 'a' must be finite and not negative, got nan"),
        (lambda: pair().layer("c"), KeyError, "no layer is called 'c'; the layers are a, b"),
        (lambda: pair(layers=[Layer("a", (4,), Tanh())] * 2), ValueError, "layers must have different names, got a more than once"),
        (lambda: pair(layers=[Layer("a", (4,), Tanh(), 0.0), Layer("b", (3,), Tanh(), 0.0)]), ValueError, "otherwise nothing moves"),
        (
            lambda: pair(layers=[Layer("a", (4,), Tanh(), 0.0), Layer("b", (3,), Tanh(), 0.0), Layer("c", (3,), Tanh())]),
            ValueError,
            "synapse 'a' -> 'b' joins two adiabatic layers",
        ),
        (lambda: pair(synapses=[Synapse("a", "c", Dense(draw(1, 3, 4)))]), ValueError, "names the unknown layer 'c'; the layers are a, b"),
        (lambda: pair(synapses=[Synapse("a", "b", Dense(draw(1, 4, 3)))]), ValueError, r"must be \(n_target, n_source\) = \(3, 4\)"),
        (lambda: pair(synapses=[Synapse("a", "b", Dense(draw(1, 3, 4)), Dense(draw(1, 4, 3)))]), ValueError, r"\(3, 4\)"),
        (
            lambda: pair(synapses=[Synapse("a", "b", Dense(draw(1, 3, 4)), Dense(draw(1, 3, 4).float()))]),
            ValueError,
            "must share one dtype and device, got .*float32",
        ),
        (
            lambda: pair(layers=[Layer("a", (4,), Tanh()), Layer("b", (3,), Tanh(), 0.0)], synapses=[]),
            ValueError,
            "the adiabatic layers b have no synapse",
        ),
        (lambda: Synapse("a", "a", Dense(draw(1, 3, 3))), ValueError, "must join two layers, got 'a' as source and as target"),
        (lambda: Synapse("a", "b", draw(1, 3, 3)), TypeError, "operator of synapse 'a' -> 'b' must be an Operator, got Tensor"),
        (lambda: Synapse("a", "b", Dense(draw(1, 3, 3)), 1), TypeError, "feedback of synapse 'a' -> 'b' must be an Operator, got int"),
        (lambda: Layer("", (3,), Tanh()), TypeError, "name must be a non-empty string"),
        (lambda: Layer("a", (3, 0), Tanh()), ValueError, r"shape of layer 'a' must be one or more positive integers, got \(3, 0\)"),
        (lambda: Layer("a", (), Tanh()), ValueError, "shape of layer 'a' must be one or more positive integers"),
        (lambda: Layer("a", (3,), "tanh"), TypeError, "lagrangian of layer 'a' must be a Lagrangian, got 'tanh'"),
        (lambda: Layer("a", (3,), Tanh(), -1.0), ValueError, "time_constant of layer 'a' must be finite and not negative, got -1.0"),
        (lambda: Layer("a", (3,), Softmax(axis=-2)), ValueError, "axis -2 of Softmax is outside a layer"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_numbers_and_sizes_of_numpy_and_torch_are_accepted():
    layer = Layer("a", np.array([4]), Tanh(), np.float32(0.5))
    assert layer.shape == (4,) and type(layer.shape[0]) is int and layer.time_constant == 0.5
    memory = HierarchicalMemory((A,), iter([]))
    state = memory.random_state(np.int64(2), scale=torch.tensor([2.0]), seed=np.int64(3))
    assert torch.equal(state, 2 * draw(3, 2, 4))
    assert torch.equal(memory.step(state, np.float64(0.5)), memory.step(state, torch.tensor(0.5)))
    assert torch.equal(memory.flow(state, np.int64(1), np.int64(3))[1], memory.flow(state, 1.0, 3)[1])
    expected = memory.iterate(state, [0.5, 0.25])
    for sizes in (np.array([0.5, 0.25]), torch.tensor([0.5, 0.25]), (h for h in (0.5, 0.25))):
        assert torch.equal(memory.iterate(state, sizes), expected)
    assert memory.random_state(0).shape == (0, 4)


def test_large_finite_states_are_accepted():
    memory = pair().to(torch.float32)
    state = {name: torch.full_like(x, 3e38) for name, x in memory.random_state(batch=2).items()}  # their sum overflows
    assert bool(memory.velocity(state)["a"].isfinite().all())
