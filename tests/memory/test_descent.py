"""The bound and the largest safe step against energies written out in numpy; random networks; trained Mixers; refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from hopmix.memory import Dense, HierarchicalMemory, Kronecker, Layer, Synapse, three_layer_memory, to_mixer_block
from hopmix.memory.descent import Descent, NoDescentGuarantee, TiedMixer, block_memory, concavity, descent_bound, largest_safe_step, sharp_memory
from hopmix.memory.descent.bound import GELU_CONCAVITY
from hopmix.memory.descent.ensemble import draw_networks, step_changes
from hopmix.memory.descent.tied_mixer import accuracy, fit
from hopmix.memory.lagrangian import GELU, Lagrangian, LayerNorm, Quadratic, ReLU
from hopmix.mixers import ParallelMixerBlock

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
SMALL = dict(tokens=3, channels=4, token_hidden=5, channel_hidden=6)


def interaction(memory, x, eps, gain, leak):
    """The falling function of one joint GELU memory, in numpy: (batch,)."""
    w, v = (s.operator.token if s.operator.token is not None else s.operator.channel for s in memory.synapses)
    w, v, x = w.detach().numpy(), v.detach().numpy(), x.numpy()
    rho = np.sqrt(x.var((1, 2)) + eps)
    g = gain * (x - x.mean((1, 2), keepdims=True)) / rho[:, None, None]

    def phi(u):
        return ((u**2 + (u**2 - 1) * erf(u / math.sqrt(2)) + u * math.sqrt(2 / math.pi) * np.exp(-(u**2) / 2)) / 4).sum((1, 2))

    return -phi(w @ g) - phi(g @ v.T) - (gain * 12 * eps / rho if leak else 0)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), step=st.floats(0.01, 300), leak=st.booleans(), eps=st.sampled_from([1e-6, 0.3]))
def test_terms_add_up_to_the_energy_written_in_numpy(device, seed, step, leak, eps):
    step = step / 300 if leak else step
    memory = three_layer_memory(**SMALL, gain=1.3, eps=eps, device=device, seed=seed).requires_grad_(False)
    x = memory.random_state(batch=6, seed=seed)
    one = descent_bound(memory, x, step, leak)
    following = memory.step(x, step, leak)
    before, after = (interaction(memory.cpu(), state.cpu(), eps, 1.3, leak) for state in (x, following))
    scale = np.abs(before) + np.abs(after)
    assert (np.abs(one.before.cpu().numpy() - before) < 1e-12 * scale).all()
    assert (np.abs((one.before - one.work - one.bregman).cpu().numpy() - after) < 1e-12 * scale).all()
    assert (one.change.cpu().numpy() <= one.bound.cpu().numpy() + 1e-12 * scale).all()
    assert (one.work >= 0).all()


def test_the_constant_is_gelus_lowest_slope():
    x = torch.linspace(-3, 0, 300_001, dtype=torch.float64)
    assert GELU_CONCAVITY == pytest.approx(-float(GELU().curvature(x).min()), abs=1e-10)
    assert GELU_CONCAVITY == pytest.approx(0.128904, abs=1e-6)


def test_concavity_is_that_of_the_stacked_matrix_and_of_dense_synapses():
    memory = three_layer_memory(**SMALL, seed=1).requires_grad_(False)
    w, v = memory.synapses[0].operator.token, memory.synapses[1].operator.channel
    stacked = torch.cat([torch.kron(w, torch.eye(4).double()), torch.kron(torch.eye(3).double(), v)])
    assert concavity(memory) == pytest.approx(GELU_CONCAVITY * float(torch.linalg.matrix_norm(stacked, 2)) ** 2, rel=1e-12)
    assert concavity(three_layer_memory(**SMALL, activation="relu")) == 0
    dense = HierarchicalMemory(
        [Layer("x", (3, 4), LayerNorm()), Layer("h", (7,), GELU(), 0.0), Layer("r", (2,), ReLU(), 0.0)],
        [Synapse("h", "x", Dense(torch.ones(12, 7).double())), Synapse("x", "r", Dense(torch.ones(2, 12).double()))],
    )
    assert concavity(dense) == pytest.approx(GELU_CONCAVITY * 84, rel=1e-12)


def test_layers_of_one_axis_and_time_constants():
    w = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    for axes in ("joint", "token"):
        memory = HierarchicalMemory(
            [Layer("x", (6,), LayerNorm(axes, eps=0.1), 2.0), Layer("h", (5,), GELU(), 0.0)], [Synapse("x", "h", Dense(w))]
        )
        x = memory.random_state(batch=8)
        fast = HierarchicalMemory([Layer("x", (6,), LayerNorm(axes, eps=0.1)), memory.layers[1]], list(memory.synapses))
        slow, same = descent_bound(memory, x, 3.0), descent_bound(fast, x, 1.5)
        for name in ("before", "after", "work", "bound", "safety"):
            torch.testing.assert_close(getattr(slow, name), getattr(same, name), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(largest_safe_step(memory, x), 2 * largest_safe_step(fast, x))


@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("norm", ["joint", "token"])
def test_the_largest_safe_step_is_where_the_condition_ends(norm, leak):
    memory = three_layer_memory(2, 3, 1, 1, norm=norm, gain=3.0, eps=0.01, seed=4).requires_grad_(False)
    x = memory.random_state(batch=12, seed=1)
    steps, ended = largest_safe_step(memory, x, leak), 0
    for sample, step in zip(x, steps.tolist()):
        largest = 1e4 if math.isinf(step) else step * (1 - 1e-9)
        for inside in np.geomspace(largest / 1000, largest, 8):
            assert float(descent_bound(memory, sample[None], inside, leak).safety) >= 1
        if math.isfinite(step):
            assert float(descent_bound(memory, sample[None], step * (1 + 1e-6), leak).safety) < 1
            ended += 1
    assert ended > 0
    relu = three_layer_memory(**SMALL, activation="relu")
    assert bool(largest_safe_step(relu, relu.random_state(batch=5)).isinf().all())
    leaky = largest_safe_step(relu, relu.random_state(batch=5), leak=True)
    assert bool((leaky > 1).all())  # the theorem covers h <= 1, and a little beyond


@pytest.mark.parametrize("norm", ["joint", "token"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("leak", [False, True])
def test_random_networks_do_what_memories_do(activation, norm, leak):
    drawn = draw_networks(20, 3, 4, 5, 6, scale=1.7, seed=3)
    found = step_changes(drawn, 0.7, leak, activation, norm)
    for k in range(20):
        memory = HierarchicalMemory(
            [Layer("x", (3, 4), LayerNorm(norm)), *(Layer(n, s, GELU() if activation == "gelu" else ReLU(), 0.0) for n, s in (("t", (5, 4)), ("c", (3, 6))))],
            [Synapse("x", "t", Kronecker(token=drawn.token[k])), Synapse("x", "c", Kronecker(channel=drawn.channel[k]))],
        )
        one = descent_bound(memory, drawn.x[k : k + 1], 0.7, leak)
        for name in ("change", "bound", "safety"):
            assert float(found[name][k]) == pytest.approx(float(getattr(one, name)), rel=1e-10, abs=1e-12), name


def test_random_networks_are_drawn_as_said():
    drawn = draw_networks(4000, 4, 2, 3, 5, scale=2.0, seed=0)
    assert drawn.token.shape == (4000, 3, 4) and drawn.channel.shape == (4000, 5, 2) and drawn.x.shape == (4000, 4, 2)
    assert float(drawn.token.var()) == pytest.approx(1.0, rel=0.03) and float(drawn.channel.var()) == pytest.approx(2.0, rel=0.03)
    assert bool((draw_networks(3, 4, 2, 3, 5, branches="token").channel == 0).all())
    assert torch.equal(draw_networks(2, 3, 1, 1, 1, seed=5).x, draw_networks(2, 3, 1, 1, 1, seed=5).x)


def test_beyond_the_condition_the_sharp_memory_rises_and_within_it_falls():
    memory, x = sharp_memory(0.003)
    step = float(largest_safe_step(memory, x))
    below, above = descent_bound(memory, x, step * 0.999), descent_bound(memory, x, step * 1.001)
    assert below.change < 0 < above.change
    assert float(above.safety) == pytest.approx(1 / 1.001, rel=1e-5)
    assert float(above.change) == pytest.approx(float(above.bound), rel=0.15)


def test_convex_units_are_not_called_safe_where_a_long_leaky_step_raises_the_energy():
    """Beyond h = 1 the theorem is silent; there the safety must not say infinite."""
    memory = three_layer_memory(2, 3, 2, 2, activation="relu", seed=0).requires_grad_(False)
    x = memory.random_state(batch=200, seed=0)
    one = descent_bound(memory, x, 40.0, leak=True)
    assert bool((one.change > 0).any())
    assert bool((one.safety[one.change > 0] < 1).all())
    assert bool((descent_bound(memory, x, 1.0, leak=True).safety == torch.inf).all())


def test_block_memory_is_the_inverse_of_to_mixer_block():
    for norm in ("joint", "token"):
        for activation in ("gelu", "relu", "tanh", "identity"):
            block = ParallelMixerBlock(3, 4, 5, 6, activation, norm, "symmetric", gain=0.7, eps=1e-3, dtype=torch.float64, seed=2)
            memory = block_memory(block)
            x = memory.random_state(batch=5)
            torch.testing.assert_close(memory.step(x), block(x), rtol=1e-14, atol=1e-14)
            assert {id(p) for p in memory.parameters()} == {id(p) for p in block.parameters()}
            torch.testing.assert_close(to_mixer_block(memory)(x), block(x), rtol=1e-14, atol=1e-14)


def test_tied_mixer_shares_and_trains():
    model = TiedMixer(4, 3, 8, 6, 10, depth=3, classes=2, dtype=torch.float64, seed=0)
    assert len(model.blocks) == 1 and len(TiedMixer(4, 3, 8, 6, 10, depth=3, sharing="none").blocks) == 3
    stream = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 4, 3, generator=stream, dtype=torch.float64), torch.arange(60) % 2
    x[y == 1] += 2 * torch.tensor([1.0, -1.0, 0.0]).double()
    states = model.states(x)
    assert len(states) == 4 and torch.equal(states[2], model.block(1)(states[1]))
    first = accuracy(model, x, y)
    losses = fit(model, x, y, epochs=8, batch_size=20, learning_rate=1e-2, seed=0)
    assert losses[-1] < losses[0] and accuracy(model, x, y) > max(first, 0.8)
    again = TiedMixer(4, 3, 8, 6, 10, depth=3, classes=2, dtype=torch.float64, seed=0)
    assert fit(again, x, y, epochs=8, batch_size=20, learning_rate=1e-2, seed=0) == losses
    assert float(again(x).argmax(1).eq(y).double().mean()) == accuracy(again, x, y)


class Bumpy(Lagrangian):
    """Neither convex nor GELU."""

    convex = False

    def value(self, x):
        return x.cos().flatten(1).sum(1)

    def activation(self, x):
        return -x.sin()

    def hessian_product(self, x, v):
        return -x.cos() * v


def by_hand(visible=None, hidden=None):
    layers = [Layer("x", (3, 4), visible or LayerNorm()), Layer("h", (5,), hidden or GELU(), 0.0)]
    return HierarchicalMemory(layers, [Synapse("x", "h", Dense(torch.ones(5, 12).double()))])


@pytest.mark.parametrize(
    "memory, words",
    [
        (lambda: three_layer_memory(**SMALL, asymmetry=0.5), "symmetric synapses, .* 'visible' -> 'token_hidden', 'visible' -> 'channel_hidden' has a feedback"),
        (lambda: three_layer_memory(**SMALL, hidden_time_constant=0.1), r"these have a state: visible \(time constant 1\), token_hidden \(time constant 0.1\)"),
        (lambda: by_hand(visible=Quadratic()), "a visible layer with a LayerNorm, got Quadratic"),
        (lambda: by_hand(visible=LayerNorm(gain=-0.5)), "LayerNorm of positive gain, .*; got gain -0.5"),
        (lambda: by_hand(visible=LayerNorm(gain=0.0)), "positive gain, .*; got gain 0"),
        (lambda: by_hand(hidden=Bumpy()), "convex, or GELU; the lowest curvature of Bumpy.* of layer 'h'"),
    ],
)
def test_memories_that_the_theorem_does_not_cover_are_refused(memory, words):
    memory = memory()
    for call in (lambda: concavity(memory), lambda: descent_bound(memory, memory.random_state(2)), lambda: largest_safe_step(memory, memory.random_state(2))):
        with pytest.raises(NoDescentGuarantee, match=words):
            call()


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: descent_bound(torch.nn.Linear(1, 1), torch.ones(1)), TypeError, "memory must be a HierarchicalMemory, got Linear; block_memory"),
        (lambda: descent_bound(by_hand(), torch.ones(1, 3, 4).double(), 0.0), ValueError, "step_size must be positive and finite, got 0.0"),
        (lambda: descent_bound(by_hand(), torch.ones(1, 3, 5).double()), ValueError, r"must have shape \(batch, 3, 4\)"),
        (lambda: block_memory(torch.nn.Linear(1, 1)), TypeError, "block must be a ParallelMixerBlock, got Linear"),
        (lambda: block_memory(ParallelMixerBlock(2, 3, 4, 5)), NoDescentGuarantee, "block must have symmetric weights"),
        (lambda: sharp_memory(0.0), ValueError, "balance must be positive and finite, got 0.0"),
        (lambda: sharp_memory(1.5), ValueError, "balance must be from 1e-3 to below 1, got 1.5"),
        (lambda: TiedMixer(2, 3, 4, 5, 6, depth=0), ValueError, "depth must be a positive integer, got 0"),
        (lambda: TiedMixer(2, 3, 4, 5, 6, 2, sharing="some"), ValueError, "sharing must be one of all, none; got 'some'"),
        (lambda: descent_bound(by_hand(), torch.ones(1, 3, 4).double(), leak="yes"), TypeError, "leak must be True or False, got 'yes'"),
        (lambda: largest_safe_step(by_hand(), torch.ones(1, 3, 4).double(), leak=0), TypeError, "leak must be True or False, got 0"),
        (lambda: TiedMixer(2, 3, 4, 5, 6, 2).block(2), ValueError, "depth must be from 0 to 1, got 2"),
        (lambda: TiedMixer(2, 3, 4, 5, 6, 2)(torch.ones(1, 2, 4)), ValueError, r"patches must have shape \(batch, 2, 3\)"),
        (lambda: draw_networks(0, 1, 1, 1, 1), ValueError, "networks must be a positive integer, got 0"),
        (lambda: draw_networks(1, 1, 1, 1, 1, scale=-1.0), ValueError, "scale must be positive"),
        (lambda: draw_networks(1, 1, 1, 1, 1, branches="none"), ValueError, "branches must be one of both, token"),
        (lambda: step_changes(draw_networks(1, 2, 2, 1, 1), 1.0, False, "tanh", "joint"), ValueError, "activation must be one of gelu, relu; got 'tanh'"),
        (lambda: step_changes(draw_networks(1, 2, 2, 1, 1), 1.0, False, "gelu", "both"), ValueError, "norm must be one of joint, token"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_descent_is_a_record():
    one = Descent(*(torch.full((2,), float(k)) for k in range(6)))
    assert one.change.tolist() == [1.0, 1.0]
