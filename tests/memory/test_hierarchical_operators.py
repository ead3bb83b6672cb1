"""Dense and Kronecker operators against numpy's kron and the definition of an adjoint."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from hopmix.memory import Dense, Kronecker

SIZES = st.integers(1, 6)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(h=SIZES, s=SIZES, k=SIZES, c=SIZES, which=st.sampled_from(["token", "channel", "both"]), seed=st.integers(0, 2**31))
def test_kronecker_is_numpys_kron(h, s, k, c, which, seed):
    token = draw(seed, h, s) if which != "channel" else None
    channel = draw(seed + 1, k, c) if which != "token" else None
    operator = Kronecker(token, channel)
    g = draw(seed + 2, 3, s, c)
    matrix = np.kron(np.eye(s) if token is None else token.numpy(), np.eye(c) if channel is None else channel.numpy())
    forward = operator.apply(g)
    operator.check_shapes((s, c), tuple(forward.shape[1:]))
    np.testing.assert_allclose(forward.flatten(1).numpy(), g.flatten(1).numpy() @ matrix.T, rtol=1e-12, atol=1e-12)
    back = draw(seed + 3, *forward.shape)
    np.testing.assert_allclose(operator.adjoint(back).flatten(1).numpy(), back.flatten(1).numpy() @ matrix, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(h=SIZES, s=SIZES, k=SIZES, c=SIZES)
def test_two_sided_products_are_taken_in_the_cheaper_order(h, s, k, c):
    operator = Kronecker(draw(0, h, s), draw(1, k, c))
    cheapest = 2 * 3 * min(h * s * c + h * c * k, s * c * k + h * s * k)  # a multiplication and an addition each
    for method, g in ((operator.apply, draw(2, 3, s, c)), (operator.adjoint, draw(3, 3, h, k))):
        with FlopCounterMode(display=False) as counter:
            method(g)
        back = 2 * 3 * min(s * h * k + s * k * c, h * k * c + s * h * c)
        assert counter.get_total_flops() == (cheapest if method == operator.apply else back)


@settings(max_examples=30, deadline=None)
@given(n=SIZES, s=SIZES, c=SIZES, seed=st.integers(0, 2**31))
def test_adjoint_of_dense(n, s, c, seed):
    operator = Dense(draw(seed, n, s * c))
    g, back = draw(seed + 1, 4, s, c), draw(seed + 2, 4, n)
    left = (operator.apply(g) * back).sum(1)
    right = (operator.adjoint(back) * g.flatten(1)).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_a_parameter_is_shared_and_trained_and_a_tensor_is_fixed():
    weight = torch.nn.Parameter(draw(0, 2, 3))
    operator = Kronecker(weight, torch.ones(1, 4, dtype=torch.float64))
    assert operator.token is weight
    assert [name for name, _ in operator.named_parameters()] == ["token"]
    assert [name for name, _ in operator.named_buffers()] == ["channel"]
    assert set(operator.state_dict()) == {"token", "channel"}


def test_apply_of_a_function_is_still_torchs():
    seen = []
    Dense(draw(0, 2, 3)).apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Dense"]


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: Dense(torch.ones(2)), ValueError, r"weight must be a non-empty matrix, got shape \(2,\)"),
        (lambda: Dense(torch.ones(2, 2).long()), TypeError, "weight must be a floating-point .*, got a tensor of torch.int64"),
        (lambda: Dense([[1.0]]), TypeError, "weight must be a floating-point torch.Tensor, got list"),
        (lambda: Dense(torch.full((2, 2), math.nan)), ValueError, "weight has entries that are not finite"),
        (lambda: Kronecker(torch.full((2, 2), math.inf)), ValueError, "token has entries that are not finite"),
        (lambda: Kronecker(channel=torch.full((2, 2), -math.inf)), ValueError, "channel has entries that are not finite"),
        (lambda: Dense(draw(0, 2, 3)).apply(draw(1, 4, 2)), ValueError, r"g must be .* with 3 entries for each sample, got \(4, 2\)"),
        (lambda: Dense(draw(0, 2, 3)).apply(draw(1, 3)), ValueError, r"g must be .* with 3 entries for each sample, got \(3,\)"),
        (lambda: Dense(draw(0, 2, 3)).adjoint(draw(1, 4, 3)), ValueError, r"g must be .* with 2 entries for each sample, got \(4, 3\)"),
        (lambda: Dense(draw(0, 2, 3)).adjoint(None), TypeError, r"g must be a torch.Tensor \(batch, \*shape\) .* got NoneType"),
        (lambda: Dense(draw(0, 2, 3)).apply(draw(1, 4, 3).float()), TypeError, "g has dtype torch.float32, but the weights torch.float64"),
        (lambda: Dense(draw(0, 2, 3)).apply(draw(1, 4, 3).to("meta")), ValueError, "g is on meta, but the weights on cpu"),
        (lambda: Kronecker(draw(0, 2, 3)).apply(draw(1, 3, 5)), ValueError, r"g must have shape \(batch, 3, any\), got \(3, 5\)"),
        (lambda: Kronecker(draw(0, 2, 3)).apply(draw(1, 4, 2, 5)), ValueError, r"g must have shape \(batch, 3, any\), got \(4, 2, 5\)"),
        (lambda: Kronecker(draw(0, 2, 3)).adjoint(draw(1, 4, 3, 5)), ValueError, r"g must have shape \(batch, 2, any\), got \(4, 3, 5\)"),
        (lambda: Kronecker(None, draw(0, 2, 3)).apply(draw(1, 4, 5, 2)), ValueError, r"\(batch, any, 3\), got \(4, 5, 2\)"),
        (lambda: Kronecker(draw(0, 2, 3)).adjoint(np.ones((4, 2, 5))), TypeError, "g must be a torch.Tensor, got ndarray"),
        (lambda: Kronecker(draw(0, 2, 3)).apply(torch.ones(4, 3, 5).long()), TypeError, "g has dtype torch.int64, but the weights"),
        (lambda: Kronecker(), ValueError, "token and channel must not both be None"),
        (lambda: Dense(torch.ones(2, 3)).check_shapes((4,), (2,)), ValueError, r"\(n_target, n_source\) = \(2, 4\).*got \(2, 3\)"),
        (lambda: Kronecker(torch.ones(2, 3)).check_shapes((3,), (2,)), ValueError, "Kronecker joins layers with two axes"),
        (lambda: Kronecker(torch.ones(2, 3)).check_shapes((4, 5), (2, 5)), ValueError, r"token .* must be \(2, 4\).*got \(2, 3\)"),
        (lambda: Kronecker(torch.ones(2, 3)).check_shapes((3, 5), (2, 4)), ValueError, r"channel .* must be \(4, 5\).*None \(the id"),
    ],
)
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_operators_leave_dtypes_to_autocast():
    operator, g = Kronecker(draw(0, 2, 3).float()), draw(1, 4, 3, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert operator.apply(g.to(torch.bfloat16)).dtype == torch.bfloat16
    with pytest.raises(TypeError, match="g has dtype torch.bfloat16"):
        operator.apply(g.to(torch.bfloat16))
