"""The three-layer memory against the Mixer, written independently, on real digits; its energy, gauge and refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from hopmix.memory import Dense, HierarchicalMemory, Kronecker, Layer, Synapse, skip_to_leaky, three_layer_memory, to_mixer_block
from hopmix.memory.lagrangian import GELU, LayerNorm, Quadratic, ReLU
from hopmix.testing import assert_descends, assert_symmetric_jacobian
from hopmix.training import digit_patches, patch_embed

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
SIZES = dict(tokens=16, channels=32, token_hidden=24, channel_hidden=40)
SMALL = dict(tokens=3, channels=4, token_hidden=5, channel_hidden=6)


@pytest.fixture(scope="module")
def digits():
    patches, _ = digit_patches(patch_size=2)
    return patch_embed(patches, channels=32, seed=0)


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def phi(x):
    return (x**2 + (x**2 - 1) * erf(x / math.sqrt(2)) + x * math.sqrt(2 / math.pi) * np.exp(-(x**2) / 2)) / 4


def weights(memory):
    """W, V, and the feedback's W and V, in numpy."""
    token, channel = memory.synapses
    found = token.operator.token, channel.operator.channel, token.returning.token, channel.returning.channel
    return [w.detach().numpy() for w in found]


def normalised(x, eps=1e-6):
    centred = x - x.mean((1, 2), keepdims=True)
    return centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + eps)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm", ["joint", "token"])
@pytest.mark.parametrize("asymmetry", [0.0, 0.7])
@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh", "quadratic"])
@torch.no_grad()
def test_block_is_one_step_of_the_memory_on_all_digits(digits, activation, asymmetry, norm, device):
    options = dict(activation=activation, norm=norm, asymmetry=asymmetry, gain=1.3, eps=1e-2, device=device, seed=1)
    memory = three_layer_memory(**SIZES, **options)
    block, x = to_mixer_block(memory), digits.to(device)
    assert len(x) == 1797
    expected = memory.step(x)
    assert float((block(x) - expected).abs().max() / expected.abs().max()) < 1e-14
    assert block.symmetric == memory.symmetric == (asymmetry == 0)


@torch.no_grad()
def test_step_is_the_mixer_written_in_numpy(digits):
    memory = three_layer_memory(**SIZES, asymmetry=0.5, seed=2)
    x = digits[:200].numpy()
    g, (w, v, w_back, v_back) = normalised(x), weights(memory)
    expected = x + w_back.T @ gelu(w @ g) + gelu(g @ v.T) @ v_back
    found = memory.step(digits[:200]).numpy()
    assert np.abs(found - expected).max() < 1e-14 * np.abs(expected).max()


@torch.no_grad()
def test_rank_one_synapses_see_the_sum_over_the_other_axis(digits):
    memory = three_layer_memory(**SIZES, synapses="rank_one", asymmetry=0.5, seed=3)
    x = digits[:200].numpy()
    g, (w, v, w_back, v_back) = normalised(x), weights(memory)
    from_tokens = gelu(g.sum(2) @ w.T) @ w_back  # (batch, tokens), the same for every channel
    from_channels = gelu(g.sum(1) @ v.T) @ v_back  # (batch, channels), the same for every token
    expected = from_tokens[:, :, None] + from_channels[:, None, :]
    found = memory.velocity(digits[:200], leak=False).numpy()
    assert np.abs(found - expected).max() < 1e-14 * max(np.abs(g.sum(2)).max(), np.abs(expected).max()) * 10
    mixer = three_layer_memory(**SIZES, synapses="kronecker", asymmetry=0.5, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(weights(memory), weights(mixer)))
    other = mixer.velocity(digits[:200], leak=False).numpy()
    assert np.linalg.norm(other - expected) > 0.5 * np.linalg.norm(other)


@torch.no_grad()
def test_energy_in_the_visible_layer_alone(digits):
    x = digits[:50].numpy()
    for asymmetry in (0.0, 0.6):
        memory = three_layer_memory(**SIZES, asymmetry=asymmetry, eps=1e-3, seed=4)
        g, (w, v, w_back, v_back) = normalised(x, eps=1e-3), weights(memory)
        own = -512 * 1e-3 / np.sqrt(x.var((1, 2)) + 1e-3)
        hidden = -phi(w @ g).sum((1, 2)) - phi(g @ v.T).sum((1, 2))
        pseudo = -0.5 * (g * ((w_back - w).T @ gelu(w @ g) + gelu(g @ v.T) @ (v_back - v))).sum((1, 2))
        np.testing.assert_allclose(memory.energy(digits[:50]).numpy(), own + hidden + pseudo, rtol=1e-12)


@pytest.mark.parametrize("asymmetry", [0.0, 1.5])
@pytest.mark.parametrize("synapses", ["kronecker", "rank_one"])
@pytest.mark.parametrize("hidden", [0.0, 0.2])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_energy_rate_is_the_chain_rule(asymmetry, synapses, hidden, seed):
    memory = three_layer_memory(**SMALL, synapses=synapses, asymmetry=asymmetry, hidden_time_constant=hidden, seed=seed)
    state = memory.requires_grad_(False).random_state(batch=3, seed=seed)
    leaves = [state] if isinstance(state, torch.Tensor) else list(state.values())
    for x in leaves:
        x.requires_grad_(True)
    gradients = torch.autograd.grad(memory.energy(state).sum(), leaves)
    velocity = memory.velocity(state)
    moves = [velocity] if isinstance(state, torch.Tensor) else list(velocity.values())
    expected = sum((a * b).flatten(1).sum(1) for a, b in zip(gradients, moves))
    size = sum(a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1) for a, b in zip(gradients, moves))
    assert bool(((memory.energy_rate(state) - expected).abs() <= 1e-12 * size).all())


def test_energy_falls_along_the_flow_from_digits(digits):
    assert_descends(three_layer_memory(**SIZES, seed=5), digits[:20], time=5.0, steps=100)


def test_tied_mixing_has_a_symmetric_jacobian_and_free_mixing_has_not():
    for asymmetry in (0.0, 0.3):
        block = to_mixer_block(three_layer_memory(**SMALL, asymmetry=asymmetry, seed=6)).requires_grad_(False)
        g = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

        def mixing(g, block=block):
            return block.token_mixing(g) + block.channel_mixing(g)

        if asymmetry == 0:
            assert_symmetric_jacobian(mixing, g)
        else:
            with pytest.raises(AssertionError, match="not symmetric"):
                assert_symmetric_jacobian(mixing, g, tolerance=1e-2)


@pytest.mark.parametrize("asymmetry", [0.0, 0.5])
def test_block_and_memory_share_their_weights(asymmetry):
    memory = three_layer_memory(**SMALL, asymmetry=asymmetry, seed=7)
    block = to_mixer_block(memory)
    assert {id(p) for p in block.parameters()} == {id(p) for p in memory.parameters()}
    x = memory.random_state(batch=2)
    for function in (block, memory.step):
        memory.zero_grad()
        function(x).square().sum().backward()
        gradients = [p.grad.clone() for p in block.parameters()]
        if function is block:
            first = gradients
    for a, b in zip(first, gradients):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        block.token_in.mul_(2)
        block.gain.mul_(0.5)
        torch.testing.assert_close(block(x), memory.step(x), rtol=1e-14, atol=1e-14)


def test_block_of_a_memory_made_by_hand_with_fixed_weights_and_a_shift():
    w, v = torch.ones(5, 3, dtype=torch.float64), torch.arange(24, dtype=torch.float64).reshape(6, 4) / 10
    shift = torch.linspace(-1, 1, 4, dtype=torch.float64)
    memory = HierarchicalMemory(
        [Layer("x", (3, 4), LayerNorm("token", gain=0.4, shift=shift)), Layer("c", (3, 6), ReLU(), 0.0), Layer("t", (5, 4), ReLU(), 0.0)],
        [Synapse("x", "c", Kronecker(channel=v), Kronecker(channel=-v)), Synapse("x", "t", Kronecker(w))],
    )
    block, x = to_mixer_block(memory), memory.random_state(batch=2)
    torch.testing.assert_close(block(x), memory.step(x), rtol=1e-14, atol=1e-14)
    assert not any(p.requires_grad for p in block.parameters())


def test_seed_fixes_the_memory_and_asymmetry_only_the_feedback():
    a, b = three_layer_memory(**SMALL, seed=8), three_layer_memory(**SMALL, seed=8, asymmetry=0.5)
    c = three_layer_memory(**SMALL, seed=8, asymmetry=1.0)
    (w, v, *_), (w_b, v_b, back_b, _), (_, _, back_c, _) = weights(a), weights(b), weights(c)
    assert np.array_equal(w, w_b) and np.array_equal(v, v_b)
    np.testing.assert_allclose(2 * (back_b - w), back_c - w, rtol=1e-12, atol=1e-15)
    assert not np.array_equal(w, weights(three_layer_memory(**SMALL, seed=9))[0])
    single = three_layer_memory(**SMALL, seed=8, dtype=torch.float32)
    np.testing.assert_allclose(weights(single)[0], w, rtol=1e-6)
    big = weights(three_layer_memory(tokens=100, channels=4, token_hidden=400, channel_hidden=1, asymmetry=1.0))
    assert big[0].var() == pytest.approx(1 / 100, rel=0.05) and (big[2] - big[0]).var() == pytest.approx(1 / 100, rel=0.05)
    assert abs(np.corrcoef(big[0].ravel(), (big[2] - big[0]).ravel())[0, 1]) < 0.03


def test_finite_hidden_time_constants_give_a_state_of_three_layers():
    memory = three_layer_memory(**SMALL, hidden_time_constant=0.1)
    assert {name: tuple(x.shape) for name, x in memory.random_state(batch=2).items()} == {
        "visible": (2, 3, 4),
        "token_hidden": (2, 5, 4),
        "channel_hidden": (2, 3, 6),
    }
    shapes = {layer.name: layer.shape for layer in three_layer_memory(**SMALL, synapses="rank_one").layers}
    assert shapes == {"visible": (3, 4), "token_hidden": (5, 1), "channel_hidden": (1, 6)}


@pytest.mark.parametrize("asymmetry", [0.0, 0.8])
@pytest.mark.parametrize("start", [0.5, 1.0, 7.0])
@torch.no_grad()
def test_the_skip_form_is_the_leaky_form_in_another_scale(digits, asymmetry, start):
    memory = three_layer_memory(**SIZES, asymmetry=asymmetry, eps=0.0, seed=10)
    skip = memory.iterate(digits[:20], [1.0] * 8)
    leaky, sizes = skip_to_leaky(skip, start)
    assert sizes.tolist() == pytest.approx([1 / (start + n + 1) for n in range(8)])
    expected = memory.iterate(leaky[0], sizes, leak=True)
    assert float((leaky - expected).abs().max() / expected.abs().max()) < 1e-12
    # With an eps the leak is seen.
    coarse = three_layer_memory(**SIZES, asymmetry=asymmetry, eps=1.0, seed=10)
    leaky, sizes = skip_to_leaky(coarse.iterate(digits[:20], [1.0] * 8), start)
    assert float((leaky - coarse.iterate(leaky[0], sizes, leak=True)).abs().max()) > 1e-6


@torch.no_grad()
def test_the_leakless_flow_is_the_leaky_flow_at_logarithmic_time(digits):
    memory = three_layer_memory(**SIZES, asymmetry=0.5, eps=0.0, seed=11)
    start = 10 * digits[:5]  # far from the constant states, near which the flow turns fast
    without = memory.flow(start, time=1.5, steps=300, leak=False)[1][-1]
    with_leak = memory.flow(start, time=math.log(2.5), steps=300)[1][-1]
    assert float((without / 2.5 - with_leak).abs().max()) < 1e-10 * float(with_leak.abs().max())


def by_hand(**changes):
    """The parts of a memory that is a Mixer, with changes."""
    one = torch.ones(5, 3, dtype=torch.float64)
    parts = {
        "visible": Layer("x", (3, 4), LayerNorm()),
        "token": Layer("t", (5, 4), GELU(), 0.0),
        "channel": Layer("c", (3, 6), GELU(), 0.0),
        "to_token": Synapse("x", "t", Kronecker(token=one)),
        "to_channel": Synapse("x", "c", Kronecker(channel=torch.ones(6, 4, dtype=torch.float64))),
    } | changes
    layers = [part for part in parts.values() if isinstance(part, Layer)]
    return HierarchicalMemory(layers, [part for part in parts.values() if isinstance(part, Synapse)])


def ones(*shape):
    return torch.ones(*shape, dtype=torch.float64)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: three_layer_memory(**SMALL, synapses="rank_one"), "mixes tokens and channels at once, as rank-one synapses do"),
        (lambda: three_layer_memory(**SMALL, hidden_time_constant=0.1), r"adiabatic hidden layers .*token_hidden \(time constant 0.1\)"),
        (lambda: three_layer_memory(**SMALL, time_constant=2.0), "that must be 1, got 2"),
        (lambda: three_layer_memory(**SMALL, activation="softmax"), "out of GELU, ReLU, Tanh, Quadratic, got Softmax"),
        (lambda: by_hand(token=Layer("t", (5, 4), ReLU(), 0.0)), "same elementwise Lagrangian .* got GELU, ReLU"),
        (lambda: by_hand(visible=Layer("x", (3, 4), Quadratic())), "must be \\(tokens, channels\\) with a LayerNorm"),
        (lambda: by_hand(to_token=Synapse("x", "t", Dense(ones(20, 12)))), "is Dense, but a Mixer's weights act along one axis"),
        (lambda: by_hand(to_token=Synapse("x", "t", Kronecker(token=ones(5, 3)), Dense(ones(20, 12)))), "is Dense"),
        (lambda: by_hand(to_token=Synapse("t", "x", Kronecker(token=ones(3, 5)))), "must start at the visible layer 'x'"),
        (lambda: by_hand(again=Synapse("x", "t", Kronecker(token=ones(5, 3)))), "two synapses mix along the token axis"),
        (lambda: HierarchicalMemory([Layer("x", (3, 4), LayerNorm())], []), "one visible layer with a state and two adiabatic"),
        (
            lambda: by_hand(
                token=Layer("t", (3, 4), GELU(), 0.0),
                to_token=Synapse("x", "t", Kronecker(token=ones(3, 3)), Kronecker(channel=ones(4, 4))),
            ),
            "and its feedback mix different axes",
        ),
    ],
)
def test_memories_that_are_no_mixer_are_refused_with_the_reason(make, words):
    memory = make()
    with pytest.raises(ValueError, match="this memory is not a Mixer layer: .*" + words):
        to_mixer_block(memory)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: three_layer_memory(0, 4, 5, 6), ValueError, "tokens must be a positive integer, got 0"),
        (lambda: three_layer_memory(3, 4, 5, 6.0), ValueError, "channel_hidden must be a positive integer, got 6.0"),
        (lambda: three_layer_memory(**SMALL, synapses="rank"), ValueError, "synapses must be one of kronecker, rank_one; got 'rank'"),
        (lambda: three_layer_memory(**SMALL, activation="glu"), ValueError, "no Lagrangian is called 'glu'"),
        (lambda: three_layer_memory(**SMALL, norm="layer"), ValueError, "norm must be one of joint, token; got 'layer'"),
        (lambda: three_layer_memory(**SMALL, asymmetry=math.inf), ValueError, "asymmetry must be finite, got inf"),
        (lambda: three_layer_memory(**SMALL, time_constant=0.0), ValueError, "time_constant must be positive and finite, got 0.0"),
        (lambda: three_layer_memory(**SMALL, hidden_time_constant=-1.0), ValueError, "hidden_time_constant must be finite and not negative, got -1.0"),
        (lambda: three_layer_memory(**SMALL, dtype=torch.int64), TypeError, "dtype must be a floating-point dtype, got torch.int64"),
        *(
            (
                lambda name=name, value=value: three_layer_memory(**SMALL, **{name: value}),
                TypeError,
                f"{name} must be a real number, got {value!r}",
            )
            for name in ("asymmetry", "gain", "eps", "time_constant", "hidden_time_constant")
            for value in ("1", None, True)
        ),
        (lambda: three_layer_memory(**SMALL, gain=math.nan), ValueError, "gain must be finite, got nan"),
        (lambda: three_layer_memory(**SMALL, gain=torch.ones(2)), TypeError, "gain must be a real number, got tensor"),
        (lambda: three_layer_memory(**SMALL, activation=["gelu"]), TypeError, r"activation must be the name .* got \['gelu'\]"),
        (lambda: three_layer_memory(**SMALL, synapses=["rank_one"]), ValueError, "synapses must be one of kronecker, rank_one"),
        (lambda: three_layer_memory(True, 4, 5, 6), ValueError, "tokens must be a positive integer, got True"),
        (lambda: three_layer_memory(np.True_, 4, 5, 6), ValueError, "tokens must be a positive integer, got np.True_"),
        (lambda: three_layer_memory("3", 4, 5, 6), ValueError, "tokens must be a positive integer, got '3'"),
        (lambda: three_layer_memory(**SMALL, dtype="float32"), TypeError, "dtype must be a floating-point dtype, got 'float32'; use"),
        (lambda: three_layer_memory(**SMALL, dtype=np.float32), TypeError, "dtype must be a floating-point dtype, got <class 'numpy.float32'>"),
        (lambda: three_layer_memory(**SMALL, dtype=np.dtype("f4")), TypeError, "dtype must be a floating-point dtype, got dtype"),
        (lambda: three_layer_memory(**SMALL, device="gpu"), ValueError, "device: 'gpu' is not known to torch here"),
        (lambda: three_layer_memory(**SMALL, device=1.5), TypeError, "device must be a torch.device or its name, got 1.5"),
        (lambda: three_layer_memory(**SMALL, seed=None), TypeError, "seed must be an integer or a torch.Generator, got None"),
        (lambda: three_layer_memory(**SMALL, seed="a"), TypeError, "seed must be an integer or a torch.Generator, got 'a'"),
        (lambda: three_layer_memory(**SMALL, seed=1.5), TypeError, "seed must be an integer or a torch.Generator, got 1.5"),
        (lambda: three_layer_memory(**SMALL, seed=2**64), ValueError, r"seed must lie between -2\*\*63 and 2\*\*64 - 1"),
        (lambda: skip_to_leaky(torch.ones(3), "1"), TypeError, "start must be a real number, got '1'"),
        (lambda: skip_to_leaky(torch.ones(3), None), TypeError, "start must be a real number, got None"),
        (lambda: skip_to_leaky(torch.ones(3), True), TypeError, "start must be a real number, got True"),
        (lambda: skip_to_leaky(torch.ones(3), math.nan), ValueError, "start must be positive and finite, got nan"),
        (lambda: skip_to_leaky(torch.tensor([1.0, math.nan])), ValueError, "trajectory has entries that are not finite"),
        (lambda: skip_to_leaky(torch.tensor([1, 2])), TypeError, "trajectory must be a floating-point torch.Tensor, got dtype torch.int64"),
        (lambda: skip_to_leaky(np.ones(3)), TypeError, "trajectory must be a floating-point torch.Tensor, got ndarray"),
        (lambda: to_mixer_block(torch.nn.Linear(1, 1)), TypeError, "memory must be a HierarchicalMemory, got Linear"),
        (lambda: skip_to_leaky(torch.ones(3), 0.0), ValueError, "start must be positive and finite, got 0.0"),
        (lambda: skip_to_leaky(torch.tensor(1.0)), ValueError, r"trajectory must be \(steps \+ 1, \.\.\.\), got shape \(\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_a_device_that_is_not_here_is_named():
    with pytest.raises(ValueError, match="device: 'cuda' is not available here; "):
        three_layer_memory(**SMALL, device="cuda")


def test_numbers_and_sizes_of_numpy_and_torch_are_accepted():
    sizes = {name: np.int32(size) for name, size in SMALL.items()}
    plain = three_layer_memory(**SMALL, gain=1.5, asymmetry=0.5, seed=3)
    for gain in (np.float64(1.5), np.array(1.5), torch.tensor(1.5), torch.tensor([1.5]), torch.nn.Parameter(torch.tensor([1.5]))):
        other = three_layer_memory(**sizes, gain=gain, asymmetry=torch.tensor(0.5), seed=np.int64(3))
        x = plain.random_state(2)
        assert torch.equal(plain.step(x), other.step(x))
    assert all(type(n) is int for layer in other.layers for n in layer.shape)
    assert to_mixer_block(other).gain.shape == ()
