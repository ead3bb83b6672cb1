"""Integrators, elimination and products of hierarchical memories against closed forms, autograd and each other."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from hopmix.memory import Dense, HierarchicalMemory, Kronecker, Layer, Synapse, three_layer_memory
from hopmix.memory.hierarchical import NotConverged, lagging_velocity, products, solve
from hopmix.memory.hierarchical import memory as memory_module
from hopmix.memory.hierarchical.adaptive import METHODS
from hopmix.memory.lagrangian import GELU, LayerNorm, Quadratic, Softmax, Tanh


def draw(seed, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(feedback=True):
    """Two linear layers and the matrix M of dx/dt = M x."""
    w, back = draw(1, 3, 4, scale=0.5), draw(2, 3, 4, scale=0.5)
    back = back if feedback else w
    layers = [Layer("a", (2, 2), Quadratic(), 2.0), Layer("b", (3,), Quadratic(), 0.5)]
    matrix = np.block([[-np.eye(4), back.numpy().T], [w.numpy(), -np.eye(3)]]) / np.repeat([2.0, 0.5], [4, 3])[:, None]
    return HierarchicalMemory(layers, [Synapse("a", "b", Dense(w), Dense(back) if feedback else None)]), matrix


def nonlinear(hidden_time_constant=0.0, asymmetric=True, seed=0):
    """A visible layer, two hidden ones of different kinds, and a slow one that only the visible sees."""
    def dense(n, m, k):
        return Dense(draw(seed + k, n, m, scale=0.7))

    layers = [
        Layer("v", (2, 3), LayerNorm(eps=0.1), 1.0),
        Layer("s", (4,), Softmax(), hidden_time_constant),
        Layer("h", (5,), Tanh(), hidden_time_constant),
        Layer("o", (3,), GELU(), 0.7),
    ]
    ends = [("v", "s", 4, 6), ("v", "h", 5, 6), ("v", "o", 3, 6), ("h", "o", 3, 5)]
    synapses = [Synapse(a, b, dense(n, m, 10 * k), dense(n, m, 10 * k + 5) if asymmetric else None) for k, (a, b, n, m) in enumerate(ends)]
    return HierarchicalMemory(layers, synapses)


def stacked(values):
    return torch.cat([x.flatten(-1 if x.dim() == 1 else 1) for x in values.values()], dim=1).numpy()


@pytest.mark.parametrize("method", METHODS)
def test_solve_is_the_matrix_exponential(method):
    memory, matrix = linear()
    state, times = memory.random_state(batch=3, seed=3), [0.5, 1.0, 2.5]  # a flow does not see where its clock starts
    tolerance = 1e-6 if method in ("RK23", "BDF") else 1e-9
    found = solve(memory, state, times, method, rtol=tolerance, atol=tolerance)
    assert found["a"].shape == (3, 3, 2, 2) and found["b"].shape == (3, 3, 3)
    for n, t in enumerate(times):
        expected = stacked(state) @ expm((t - 0.5) * matrix).T
        np.testing.assert_allclose(stacked({name: x[n] for name, x in found.items()}), expected, atol=200 * tolerance)


def test_solve_agrees_with_runge_kutta_and_keeps_the_structure():
    memory = nonlinear()
    state = memory.random_state(batch=2, seed=1)
    times, expected = memory.flow(state, 1.0, 400)
    for method in ("RK45", "Radau"):
        found = solve(memory, state, times[::100], method, rtol=1e-9, atol=1e-10)
        assert list(found) == ["v", "o"]
        for name in found:
            torch.testing.assert_close(found[name], expected[name][::100], rtol=0, atol=2e-7)
    bare = three_layer_memory(3, 4, 5, 6)
    x = bare.random_state(2)
    for leak in (True, False):
        found = solve(bare, x, (0.0, 1.0), rtol=1e-9, leak=leak)
        assert torch.equal(found[0], x) and not found.requires_grad
        torch.testing.assert_close(found[1], bare.flow(x, 1.0, 200, leak)[1][-1].detach(), rtol=0, atol=1e-7)


def test_solve_of_single_precision_and_of_no_sample():
    memory = nonlinear().to(torch.float32)
    state = memory.random_state(batch=2, seed=1)
    found = solve(memory, state, np.array([0.0, 0.5]))
    assert all(x.dtype == torch.float32 for x in found.values())
    exact = solve(nonlinear(), nonlinear().random_state(batch=2, seed=1), [0.0, 0.5])
    torch.testing.assert_close(found["v"].double(), exact["v"], rtol=1e-4, atol=1e-4)
    assert solve(memory, memory.random_state(batch=0), [0, 1])["v"].shape == (2, 0, 2, 3)


def test_implicit_solvers_take_long_steps_through_a_stiff_flow():
    memory = nonlinear(hidden_time_constant=1e-4)
    calls = {}
    for method in ("RK45", "BDF"):
        count = [0]
        original = memory.velocity

        def counted(values, leak=True, count=count, original=original):
            count[0] += 1
            return original(values, leak)

        memory.velocity = counted
        solve(memory, memory.random_state(seed=2), [0.0, 0.2], method, rtol=1e-4, atol=1e-6)
        memory.velocity = original
        calls[method] = count[0]
    assert calls["RK45"] > 2000 and calls["BDF"] < calls["RK45"] / 4, calls


def test_a_flow_that_leaves_the_numbers_does_not_converge():
    class Steep(Quadratic):  # dx/dt = 100 x^3 - x reaches infinity in finite time
        def activation(self, x):
            return 100 * x**3

    layers = [Layer("a", (1,), Steep()), Layer("b", (1,), Quadratic(), 0.0)]
    memory = HierarchicalMemory(layers, [Synapse("a", "b", Dense(torch.ones(1, 1, dtype=torch.float64)))])
    with pytest.raises(NotConverged, match=r"RK45 stopped between t = 0.0\d+ and 1, .*: residual .* after \d+ iterations") as caught:
        solve(memory, torch.ones(1, 1, dtype=torch.float64), np.linspace(0, 1, 201))
    # x = 1 at t = 0 reaches infinity at log(100 / 99) / 2.
    assert 1 - caught.value.residual == pytest.approx(math.log(100 / 99) / 2, abs=5e-3)
    assert caught.value.iterations > 10 and isinstance(caught.value, ArithmeticError)


def test_not_converged_says_how_far_it_was():
    error = NotConverged("the fixed point of layer 'a'", 0.25, 100)
    assert str(error) == "the fixed point of layer 'a': residual 0.25 after 100 iterations"
    again = copy.copy(error)  # as it is taken apart and rebuilt on the way out of a worker process
    assert (again.residual, again.iterations, str(again)) == (0.25, 100, str(error))


def test_orders_of_euler_and_runge_kutta():
    memory, matrix = linear()
    state = memory.random_state(batch=2, seed=3)
    exact = (stacked(state) @ expm(matrix).T)[:, :4]
    errors = {"euler": [], "rk4": []}
    for steps in (16, 32, 64):
        euler = memory.advance(state, [1 / steps] * steps, leak=True)["a"].flatten(1).numpy()
        errors["euler"].append(np.abs(euler - exact).max())
        rk4 = memory.flow(state, 1.0, steps)[1]["a"][-1].flatten(1).numpy()
        errors["rk4"].append(np.abs(rk4 - exact).max())
    for name, order in (("euler", 1), ("rk4", 4)):
        slopes = np.log2(np.divide(errors[name][:-1], errors[name][1:]))
        assert 2 * slopes[-1] - slopes[-2] == pytest.approx(order, abs=0.05)


def test_advance_is_the_end_of_iterate():
    memory = nonlinear()
    state = memory.random_state(batch=5, seed=4)
    sizes = [0.3, 0.2, 0.1]
    for leak in (True, False):
        visited, last = memory.iterate(state, sizes, leak), memory.advance(state, torch.tensor(sizes, dtype=torch.float64), leak)
        assert all(torch.equal(last[name], visited[name][-1]) for name in last)
    assert all(torch.equal(x, state[name]) for name, x in memory.advance(state, []).items())


def test_a_batch_in_parts_is_the_batch(monkeypatch):
    memory = nonlinear().requires_grad_(False)
    state = memory.random_state(batch=7, seed=5)
    functions = {
        "velocity": memory.velocity,
        "step": lambda x: memory.step(x, 0.1, leak=True),
        "advance": lambda x: memory.advance(x, [0.1] * 3),
        "iterate": lambda x: memory.iterate(x, [0.1] * 3),
        "energy": memory.energy,
        "energy_rate": memory.energy_rate,
    }
    whole = {name: function(state) for name, function in functions.items()}
    monkeypatch.setattr(memory_module, "CHUNK_BYTES", 5 * 6 * 8)  # five samples of the largest layer
    seen = []
    original = memory_module.Evaluation
    monkeypatch.setattr(memory_module, "Evaluation", lambda layers, synapses, values: seen.append(len(values["v"])) or original(layers, synapses, values))
    for name, function in functions.items():
        seen.clear()
        torch.testing.assert_close(function(state), whole[name], rtol=1e-13, atol=1e-13)
        assert set(seen) == {5, 2}
    monkeypatch.setattr(memory_module, "CHUNK_BYTES", 1)
    seen.clear()
    torch.testing.assert_close(memory.energy(state), whole["energy"], rtol=1e-13, atol=1e-13)
    assert seen == [4, 3]
    # With gradients nothing is gained, and everything stays one graph.
    seen.clear()
    memory.energy({name: x.requires_grad_() for name, x in state.items()}).sum().backward()
    assert seen == [7] and state["v"].grad is not None


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("product, transposed", [(products.times_transposed, True), (products.times, False)])
def test_products_by_onednn_are_products(monkeypatch, product, transposed, shape):
    monkeypatch.setattr(products, "LEAST", 1)
    weight = draw(1, 5, 7).float().requires_grad_(True)
    x = draw(2, *shape, 4, 7 if transposed else 5).float().requires_grad_(True)
    assert products._by_onednn(x, weight) == torch.backends.mkldnn.is_available()
    found = product(x, weight)
    expected = x.double() @ (weight.double().mT if transposed else weight.double())
    assert found.dtype == torch.float32 and found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    direction = draw(3, *found.shape).float()
    gradients = torch.autograd.grad((found * direction).sum(), (x, weight))
    exact = torch.autograd.grad((expected * direction.double()).sum(), (x, weight))
    for a, b in zip(gradients, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_only_large_products_of_single_precision_go_to_onednn(monkeypatch):
    x, weight = torch.ones(128, 512), torch.ones(128, 512)
    assert products._by_onednn(x, weight) == torch.backends.mkldnn.is_available()
    assert not products._by_onednn(x[:1], weight) and not products._by_onednn(x.double(), weight.double())
    assert not products._by_onednn(x.to("meta"), weight.to("meta"))
    with torch.autocast("cpu"):
        assert not products._by_onednn(x, weight)


def test_single_precision_steps_by_both_ways_agree(monkeypatch):
    memory = three_layer_memory(16, 24, 20, 28, asymmetry=0.5, dtype=torch.float32)
    state = memory.random_state(batch=3)
    usual = memory.step(state), memory.energy_rate(state)
    monkeypatch.setattr(products, "LEAST", 1)
    for found, expected in zip((memory.step(state), memory.energy_rate(state)), usual, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_the_lag_is_the_first_order_of_slow_hidden_layers(asymmetric):
    """Hidden layers that move along with the visible ones, x = u - theta du/dt, give the same velocity up to theta^2."""
    fast = nonlinear(asymmetric=asymmetric)
    state = fast.random_state(batch=2, seed=6)
    errors = []
    for theta in (2e-3, 1e-3):
        slow = nonlinear(hidden_time_constant=theta, asymmetric=asymmetric)
        _, inputs = torch.autograd.functional.jvp(
            lambda *xs: tuple(fast.complete(dict(zip(state, xs)))[name] for name in ("s", "h")), tuple(state.values()), tuple(fast.velocity(state).values())
        )
        complete = fast.complete(state)
        following = complete | {name: complete[name] - theta * rate for name, rate in zip(("s", "h"), inputs)}
        expected = slow.velocity({layer.name: following[layer.name] for layer in slow.layers})
        found = lagging_velocity(fast, state, {"s": theta, "h": theta})
        errors.append(max(float((found[name] - expected[name]).abs().max()) for name in found))
        assert errors[-1] < 0.05 * max(float((fast.velocity(state)[name] - expected[name]).abs().max()) for name in found)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    unchanged = lagging_velocity(fast, state, {})
    assert all(torch.equal(unchanged[name], v) for name, v in fast.velocity(state).items())


def test_the_lag_of_a_linear_pair_is_its_slow_root():
    """One visible and one hidden linear neuron, w down and z up: tau -> tau + theta w z, and the state's rate to first order in theta."""
    w, z, tau, theta = 0.8, 0.6, 2.0, 1e-5
    one = torch.ones(1, 1, dtype=torch.float64)
    memory = HierarchicalMemory([Layer("v", (1,), Quadratic(), tau), Layer("h", (1,), Quadratic(), 0.0)], [Synapse("v", "h", Dense(w * one), Dense(z * one))])
    found = float(lagging_velocity(memory, one, {"h": theta}))
    slow = np.linalg.eigvals(np.array([[-1 / tau, z / tau], [w / theta, -1 / theta]])).max()
    assert (found - (w * z - 1) / tau) / theta == pytest.approx((slow - (w * z - 1) / tau) / theta, rel=1e-3)


def test_kronecker_of_both_axes_uses_the_same_products():
    token, channel = draw(1, 6, 3), draw(2, 5, 4)
    operator, g = Kronecker(token, channel), draw(3, 2, 3, 4)
    torch.testing.assert_close(operator(g), token @ g @ channel.mT, rtol=1e-13, atol=1e-13)
    back = draw(4, 2, 6, 5)
    torch.testing.assert_close(operator.adjoint(back), token.mT @ back @ channel, rtol=1e-13, atol=1e-13)


def good():
    memory, _ = linear()
    return memory, memory.random_state(2)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda m, x: solve("m", x, [0, 1]), TypeError, "memory must be a HierarchicalMemory, got str"),
        (lambda m, x: lagging_velocity(None, x, {}), TypeError, "memory must be a HierarchicalMemory, got NoneType"),
        (lambda m, x: solve(m, x, 1.0), TypeError, "times must be a sequence of real numbers, got 1.0"),
        (lambda m, x: solve(m, x, "01"), TypeError, "times must be a sequence of real numbers, got '01'"),
        (lambda m, x: solve(m, x, [0, None]), TypeError, "each of times must be a real number, got None"),
        (lambda m, x: solve(m, x, [0, math.nan]), ValueError, "each of times must be finite, got nan"),
        (lambda m, x: solve(m, x, [0.0]), ValueError, r"times must be two or more that increase, got \[0.0\]"),
        (lambda m, x: solve(m, x, [0, 1, 1]), ValueError, r"times must be two or more that increase, got \[0.0, 1.0, 1.0\]"),
        (lambda m, x: solve(m, x, [0, 1], "LSODA"), ValueError, "method must be one of RK23, RK45, DOP853, Radau, BDF; got 'LSODA'"),
        (lambda m, x: solve(m, x, [0, 1], rtol=0), ValueError, "rtol must be positive and finite, got 0"),
        (lambda m, x: solve(m, x, [0, 1], atol="a"), TypeError, "atol must be a real number, got 'a'"),
        (lambda m, x: solve(m, x["a"], [0, 1]), TypeError, "must be a dict with the layers a, b"),
        (lambda m, x: solve(m, x | {"b": x["a"]}, [0, 1]), ValueError, r"'b' must have shape \(batch, 3\)"),
        (lambda m, x: solve(m, x | {"b": x["b"] / 0}, [0, 1]), ValueError, "'b' has entries that are not finite"),
        (lambda m, x: m.advance(x, 1.0), TypeError, "step_sizes must be a sequence of real numbers, got 1.0"),
        (lambda m, x: m.advance(x, [1e200] * 3), FloatingPointError, "no longer finite after 3 steps; use smaller steps"),
        (lambda m, x: lagging_velocity(m, x, {"b": 0.1}), ValueError, "time_constants names b; the adiabatic layers are none"),
        (lambda m, x: lagging_velocity(nonlinear(), nonlinear().random_state(), {"v": 1, "s": 1}), ValueError, "names v; the adiabatic layers are s, h"),
        (lambda m, x: lagging_velocity(nonlinear(), nonlinear().random_state(), {"s": -1}), ValueError, "of 's' must be finite and not negative, got -1"),
        (lambda m, x: lagging_velocity(m, x, 0.1), TypeError, "time_constants must be a dict from layer names to numbers, got 0.1"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(*good())
