"""The parallel block against einsum in numpy, its symmetries, gradients and errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from hopmix.mixers import ParallelMixerBlock

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
FUNCTIONS = {
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "identity": lambda x: x,
}


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(*sizes, **options):
    return ParallelMixerBlock(*sizes, **({"dtype": torch.float64} | options)).requires_grad_(False)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("norm", ["joint", "token"])
@pytest.mark.parametrize("weights", ["symmetric", "free"])
@settings(max_examples=5, deadline=None)
@given(s=st.integers(1, 5), c=st.integers(2, 5), h=st.integers(1, 5), k=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_against_einsum(device, activation, norm, weights, s, c, h, k, seed):
    block = make(s, c, h, k, activation, norm, weights, gain=1.4, eps=1e-3, device=device, seed=seed)
    x = draw(seed, 3, s, c)
    array, axes, f = x.numpy(), (1, 2) if norm == "joint" else 2, FUNCTIONS[activation]
    w, v = block.token_in.cpu().numpy(), block.channel_in.cpu().numpy()
    w_out = w if block.token_out is None else block.token_out.cpu().numpy()
    v_out = v if block.channel_out is None else block.channel_out.cpu().numpy()
    centred = array - array.mean(axes, keepdims=True)
    g = 1.4 * centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-3)
    expected = (
        array
        + np.einsum("hs,bhc->bsc", w_out, f(np.einsum("hs,bsc->bhc", w, g)))
        + np.einsum("bsk,kc->bsc", f(np.einsum("bsc,kc->bsk", g, v)), v_out)
    )
    np.testing.assert_allclose(block(x.to(device)).cpu().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_parameters():
    free, tied = ParallelMixerBlock(4, 6, 8, 10), ParallelMixerBlock(4, 6, 8, 10, weights="symmetric")
    assert sum(p.numel() for p in free.parameters()) == 2 * (8 * 4 + 10 * 6) + 1
    assert sum(p.numel() for p in tied.parameters()) == 8 * 4 + 10 * 6 + 1
    assert tied.symmetric and not free.symmetric
    bound = math.sqrt(6 / 12)
    assert 0.9 * bound < float(free.token_in.detach().abs().max()) <= bound
    assert free.token_in.dtype == torch.get_default_dtype()


def test_seed_and_generator():
    a, b, c = (make(4, 6, 8, 10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(a.token_out, b.token_out) and not torch.equal(a.token_out, c.token_out)
    stream = torch.Generator().manual_seed(3)
    first, second = make(4, 6, 8, 10, seed=stream), make(4, 6, 8, 10, seed=stream)
    assert torch.equal(first.token_in, a.token_in) and not torch.equal(first.token_in, second.token_in)
    before = torch.random.get_rng_state()
    make(4, 6, 8, 10)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_branches_mix_one_axis_each():
    block, g = make(4, 6, 8, 10), draw(1, 2, 4, 6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block.token_mixing(g[:, :, order]), block.token_mixing(g)[:, :, order], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(block.channel_mixing(g.flip(1)), block.channel_mixing(g).flip(1), rtol=1e-13, atol=1e-14)
    nudged = g.clone()
    nudged[:, 0, 0] += 1
    assert not (block.token_mixing(nudged) - block.token_mixing(g))[:, :, 1:].any()
    assert not (block.channel_mixing(nudged) - block.channel_mixing(g))[:, 1:].any()


@pytest.mark.parametrize("weights", ["symmetric", "free"])
def test_gradients(weights):
    block = ParallelMixerBlock(2, 3, 2, 2, weights=weights, dtype=torch.float64)
    x = draw(2, 2, 2, 3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *block.parameters()))


@pytest.mark.parametrize("device", DEVICES)
def test_float32(device):
    block, x = make(4, 6, 8, 10, seed=5), draw(3, 2, 4, 6)
    single = make(4, 6, 8, 10, dtype=torch.float32, device=device, seed=5)
    found = single(x.to(device, torch.float32))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu().double(), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: make(0, 6, 8, 10), "tokens must be a positive integer, got 0"),
        (lambda: make(4, 6, True, 10), "token_hidden must be a positive integer, got True"),
        (lambda: make(4, 6, 8, 10, activation="swish"), "activation must be one of gelu, relu, tanh, identity; got 'swish'"),
        (lambda: make(4, 6, 8, 10, norm="batch"), "norm must be one of joint, token; got 'batch'"),
        (lambda: make(4, 6, 8, 10, weights="tied"), "weights must be one of symmetric, free; got 'tied'"),
        (lambda: make(4, 6, 8, 10, gain=math.inf), "gain must be finite, got inf"),
        (lambda: make(4, 6, 8, 10, eps=-1.0), "eps must be finite and not negative, got -1.0"),
        (lambda: make(np.True_, 6, 8, 10), "tokens must be a positive integer, got np.True_"),
        (lambda: make(4, 6, 8, 10, norm=["joint"]), "norm must be one of joint, token; got"),
        (lambda: make(4, 6, 8, 10, activation=["gelu"]), "activation must be one of gelu, relu, tanh, identity; got"),
        (lambda: make(4, 6, 8, 10, device="gpu"), "device: 'gpu' is not known to torch here"),
        (lambda: make(4, 6, 8, 10)(draw(0, 2, 4, 6).to("meta")), "x is on meta, but the weights on cpu"),
        (lambda: make(4, 6, 8, 10)(draw(0, 2, 6, 4)), r"x must have shape \(batch, 4, 6\), got \(2, 6, 4\)"),
        (lambda: make(4, 6, 8, 10)(draw(0, 4, 6)), r"x must have shape \(batch, 4, 6\), got \(4, 6\)"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"dtype": "float32"}, "dtype must be a floating-point dtype, got 'float32'"),
        ({"dtype": np.float32}, "dtype must be a floating-point dtype, got <class 'numpy.float32'>"),
        ({"dtype": torch.int32}, "dtype must be a floating-point dtype, got torch.int32"),
        ({"device": 1.5}, "device must be a torch.device or its name, got 1.5"),
        *(({"seed": seed}, f"seed must be an integer or a torch.Generator, got {seed!r}") for seed in (None, "a", 1.5, True)),
        *(({name: value}, f"{name} must be a real number, got {value!r}") for name in ("gain", "eps") for value in (None, "1", True)),
    ],
)
def test_arguments_of_another_type(options, words):
    with pytest.raises(TypeError, match=words):
        make(4, 6, 8, 10, **options)


@pytest.mark.parametrize("method", ["forward", "normalise", "token_mixing", "channel_mixing"])
def test_inputs_are_checked_by_every_method(method):
    function, x = getattr(make(4, 6, 8, 10), method), draw(0, 2, 4, 6)
    name = "x" if method in ("forward", "normalise") else "g"
    for wrong, found in ((x.float(), "torch.float32"), (x.long(), "torch.int64")):
        with pytest.raises(TypeError, match=f"{name} has dtype {found}, but the weights torch.float64: use one for both"):
            function(wrong)
    for wrong, found in ((x.numpy(), "ndarray"), (None, "NoneType"), ([1.0], "list")):
        with pytest.raises(TypeError, match=f"{name} must be a torch.Tensor, got {found}"):
            function(wrong)
    for wrong in (x[0], x.mT, x[None], torch.tensor(1.0)):
        with pytest.raises(ValueError, match=rf"{name} must have shape \(batch, 4, 6\), got \("):
            function(wrong)


def test_numpys_sizes_and_numbers_and_autocast_are_accepted():
    sizes, x = [np.int64(n) for n in (4, 6, 8, 10)], draw(0, 2, 4, 6)
    block = make(*sizes, gain=np.float32(1.5), eps=np.array(1e-3), seed=np.int64(2))
    assert torch.equal(block(x), make(4, 6, 8, 10, gain=1.5, eps=1e-3, seed=2)(x)) and type(block.tokens) is int
    assert make(4, 6, 8, 10, gain=torch.tensor([1.5])).gain.shape == ()
    single = make(4, 6, 8, 10, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = single(x.to(torch.bfloat16))
    torch.testing.assert_close(low.double(), single(x.float()).double(), rtol=0.1, atol=0.1)
