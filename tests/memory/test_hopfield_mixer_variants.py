"""A layer for each token, a gain for each entry, serial steps: against formulas written out, and their refusals."""

import pytest
import torch

from hopmix.memory import three_layer_memory, to_mixer_block
from hopmix.memory.hopfield_mixer import gain_in_synapses, layer_per_token, serial_step, split_tokens
from hopmix.memory.hopfield_mixer.measure import gain_asymmetry, largest_rise_with_gain, rest, serial_rises, two_sided_asymmetry
from hopmix.testing import assert_descends, assert_symmetric_jacobian

SMALL = dict(tokens=3, channels=4, token_hidden=5, channel_hidden=6)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("asymmetry", [0.0, 0.7])
def test_a_layer_for_each_token_is_the_same_memory(asymmetry, device):
    memory = three_layer_memory(**SMALL, norm="token", asymmetry=asymmetry, gain=1.3, eps=1e-2, device=device, seed=1)
    memory.layers[0].lagrangian.shift = torch.linspace(-1, 1, 4, dtype=torch.float64, device=device)
    apart, x = layer_per_token(memory), memory.random_state(batch=7, seed=2)
    assert [layer.name for layer in apart.dynamic_layers] == ["token_0", "token_1", "token_2"] and apart.symmetric == memory.symmetric
    state = split_tokens(x)
    torch.testing.assert_close(apart.energy(state), memory.energy(x), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(apart.energy_rate(state), memory.energy_rate(x), rtol=1e-12, atol=1e-13)
    for leak in (False, True):
        joined = torch.cat(list(apart.step(state, 0.7, leak).values()), dim=1)
        torch.testing.assert_close(joined, memory.step(x, 0.7, leak), rtol=1e-13, atol=1e-13)
    with torch.no_grad():
        memory.synapses[0].operator.token.mul_(1.5)
        memory.layers[0].lagrangian.gain.mul_(0.5)
    torch.testing.assert_close(apart.energy(state), memory.energy(x), rtol=1e-13, atol=1e-13)


def test_the_gain_in_the_synapses_is_a_gain_on_both_sides():
    memory = three_layer_memory(**SMALL, eps=0.0, seed=3).requires_grad_(False)
    gain = 1 + 0.5 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    both, block, x = gain_in_synapses(memory, gain), to_mixer_block(memory), memory.random_state(batch=5)
    g = gain * block.normalise(x)
    drive = block.token_mixing(g) + block.channel_mixing(g)
    torch.testing.assert_close(both.velocity(x, leak=False), gain * drive, rtol=1e-13, atol=1e-13)
    assert_descends(both, x, time=5.0, steps=100)
    assert_symmetric_jacobian(lambda v: gain * (block.token_mixing(gain * v) + block.channel_mixing(gain * v)), g[:1])
    with pytest.raises(AssertionError, match="not symmetric"):
        assert_symmetric_jacobian(lambda v: block.token_mixing(gain * v) + block.channel_mixing(gain * v), g[:1], tolerance=1e-2)


def test_the_serial_step_is_two_branches_in_a_row():
    memory = three_layer_memory(**SMALL, asymmetry=0.5, seed=4).requires_grad_(False)
    x, block = memory.random_state(batch=5), to_mixer_block(memory)

    def normalise(v):
        return torch.nn.functional.layer_norm(v, (3, 4), eps=1e-6)

    f = torch.nn.functional.gelu
    middle = x + 0.5 * (block.token_out.T @ f(block.token_in @ normalise(x)))
    torch.testing.assert_close(serial_step(memory, x, 0.5), middle + 0.5 * f(normalise(middle) @ block.channel_in.T) @ block.channel_out, rtol=1e-13, atol=1e-13)
    middle = x + f(normalise(x) @ block.channel_in.T) @ block.channel_out
    torch.testing.assert_close(serial_step(memory, x, first="channel"), middle + block.token_out.T @ f(block.token_in @ normalise(middle)), rtol=1e-13, atol=1e-13)


def test_serial_less_parallel_step_is_the_answer_of_the_second_branch():
    memory = three_layer_memory(**SMALL, seed=5).requires_grad_(False)
    x, block = memory.random_state(batch=2), to_mixer_block(memory)
    g = block.normalise(x)
    moved = memory.layers[0].lagrangian.hessian_product(x, block.token_mixing(g))
    hidden = torch.nn.functional.gelu
    answer = torch.autograd.functional.jvp(lambda v: hidden(v @ block.channel_in.T) @ block.channel_in, g, moved)[1]
    errors = [((serial_step(memory, x, h) - memory.step(x, h)) / h**2 - answer).abs().max() for h in (1e-3, 5e-4)]
    assert errors[0] < 0.05 * answer.abs().max() and 1.8 < errors[0] / errors[1] < 2.2


def test_at_rest_the_serial_block_raises_the_energy_and_the_parallel_one_does_not():
    memory = three_layer_memory(**SMALL, eps=0.0, seed=6).requires_grad_(False)
    x = rest(memory, memory.random_state(batch=3))
    torch.testing.assert_close(memory.velocity(x, leak=False), x, rtol=1e-11, atol=1e-11)
    energy = memory.energy(x)
    assert bool((memory.energy(serial_step(memory, x)) > energy * (1 - 1e-9)).all())
    assert float((memory.energy(memory.step(x)) - energy).abs().max() / energy.abs().max()) < 1e-14
    found = serial_rises(0)
    assert (found["serial"] > 1e-7).all() and found["curvature"] > 0 and found["random"] == 0


def test_a_flow_that_does_not_come_to_rest_says_so():
    memory = three_layer_memory(**SMALL, seed=7).requires_grad_(False)
    with pytest.raises(ArithmeticError, match="has not come to rest: relative velocity .* after time 20"):
        rest(memory, memory.random_state(batch=1), tolerance=1e-30, most=1)


def test_measured_asymmetries():
    error, size = gain_asymmetry(0)
    assert error < 1e-13 < 1e-2 < size
    one, both = two_sided_asymmetry(0)
    assert both < 1e-14 < 1e-2 < one
    assert largest_rise_with_gain(0, False) > 1e-9 and largest_rise_with_gain(0, True) < 1e-14


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: layer_per_token(three_layer_memory(**SMALL)), ValueError, "norm='token', since a joint LayerNorm couples the tokens; got 'joint'"),
        (lambda: layer_per_token(three_layer_memory(**SMALL, norm="token", synapses="rank_one")), ValueError, "is not a Mixer layer"),
        (lambda: gain_in_synapses(three_layer_memory(**SMALL, asymmetry=1.0), torch.ones(3, 4)), ValueError, "memory must be symmetric"),
        (lambda: gain_in_synapses(three_layer_memory(**SMALL), torch.ones(4)), ValueError, r"gain must have shape \(3, 4\), got \(4,\)"),
        (lambda: gain_in_synapses(three_layer_memory(**SMALL), 2.0), TypeError, "gain must be a torch.Tensor, got float"),
        (lambda: serial_step(three_layer_memory(**SMALL), torch.ones(1, 3, 4).double(), first="both"), ValueError, "first must be one of token, channel"),
        (lambda: serial_step(three_layer_memory(**SMALL), torch.ones(1, 3, 4).double(), "1"), TypeError, "step_size must be a real number, got '1'"),
        (lambda: serial_step(three_layer_memory(**SMALL), torch.full((1, 3, 4), torch.nan).double()), ValueError, "x has entries that are not finite"),
        (lambda: split_tokens([1.0]), TypeError, "x must be a torch.Tensor, got list"),
        (lambda: split_tokens(torch.ones(3)), ValueError, r"x must have shape \(batch, tokens, channels\), got \(3,\)"),
        (lambda: serial_step(three_layer_memory(**SMALL), torch.ones(1, 3, 5).double()), ValueError, r"must have shape \(batch, 3, 4\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
