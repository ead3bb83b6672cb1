"""Dense and Kronecker operators against numpy's kron and the definition of an adjoint."""

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
