"""The wide form of a block, its counts, networks and their ensembles, and linear CKA, against numpy and loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hopmix.mixers.blocks import MixerBlock, ParallelMixerBlock
from hopmix.mixers.kronecker import TokenMixing, vec
from hopmix.mixers.wide_sparse import Ensemble, KroneckerMLP, SparseMLP, WideNetwork, counts, effective_width, linear_cka, to_wide, widest

SIZES = st.integers(1, 4)


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("order", ["serial", "parallel"])
@pytest.mark.parametrize("weights", ["free", "symmetric", "asymmetric", "signed", "negative"])
@settings(max_examples=5, deadline=None)
@given(
    s=SIZES, c=st.integers(2, 4), h=SIZES, k=SIZES, norm=st.sampled_from(["token", "joint"]), gain=st.sampled_from(["elementwise", "scalar", "none"]),
    activation=st.sampled_from(["gelu", "relu", "tanh", "identity"]), bias=st.booleans(), n_iter=st.integers(1, 2), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_a_block_is_its_wide_mlp(order, weights, s, c, h, k, norm, gain, activation, bias, n_iter, seed):
    options = {"order": order, "weights": weights, "norm": norm, "gain": gain, "activation": activation, "bias": bias, "n_iter": n_iter}
    block = MixerBlock(s, c, h, k, dtype=torch.float64, seed=seed, **options).requires_grad_(False)
    for number, parameter in enumerate(block.parameters()):
        parameter.add_(draw(seed + number, *parameter.shape), alpha=0.5)
    wide, x = to_wide(block), draw(seed, 3, s, c)
    torch.testing.assert_close(wide(x), block(x), rtol=1e-10, atol=1e-10)
    hidden = [layer.inward.shape[0] for layer in wide.layers]
    assert hidden == n_iter * ([c * h, s * k] if order == "serial" else [c * h + s * k])
    one_turn = sum(layer.connections for layer in wide.layers[: len(wide.layers) // n_iter])
    assert one_turn <= 2 * (c * s * h + s * c * k)  # a weight may be zero: a breaking term of that size, a sign


def test_the_wide_weights_are_kronecker_products():
    block = MixerBlock(3, 4, 5, 6, order="serial", bias=True, dtype=torch.float64, seed=0).requires_grad_(False)
    block.token.hidden_bias.copy_(draw(1, 5))
    block.channel.hidden_bias.copy_(draw(2, 6))
    tokens, channels = to_wide(block).layers
    np.testing.assert_array_equal(tokens.inward.toarray(), np.kron(np.eye(4), block.token.inward.numpy()))
    np.testing.assert_array_equal(channels.inward.toarray(), np.kron(block.channel.inward.numpy(), np.eye(3)))
    np.testing.assert_array_equal(tokens.hidden_bias, np.tile(block.token.hidden_bias.numpy(), 4))
    np.testing.assert_array_equal(channels.hidden_bias, np.repeat(block.channel.hidden_bias.numpy(), 3))
    assert tokens.connections == 2 * 4 * 3 * 5 and channels.connections == 2 * 3 * 4 * 6


@given(s=st.integers(1, 40), c=st.integers(1, 40), q=st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=50, deadline=None)
def test_width_at_fixed_connections(s, c, q):
    found = counts(s, c, q)
    assert effective_width(found.connections, s / c, q) == pytest.approx(found.width)
    assert found.width <= widest(found.connections, q) * (1 + 1e-12)
    if s == c:
        assert found.width == pytest.approx(widest(found.connections, q))


def test_counts_are_those_of_the_layers():
    network = KroneckerMLP(3, 7, 10, depth=2)
    expected = counts(3, 7)
    assert network.connections == 4 * expected.connections and network.trainable == 2 * expected.trainable
    sparse = SparseMLP([21, 21, 21], 100, 10)
    assert sparse.connections == sparse.trainable == 200


def test_networks_against_einsum():
    network = KroneckerMLP(3, 4, 5, depth=2, activation="tanh", dtype=torch.float64, seed=1).requires_grad_(False)
    network.head_bias.copy_(draw(3, 5))
    x = draw(0, 6, 3, 4)
    h = x.numpy()
    for token, channel in ((0, 1), (2, 3)):
        h = np.tanh(np.einsum("ij,bjc->bic", network.layers[token].weight, h))
        h = np.tanh(np.einsum("CD,biD->biC", network.layers[channel].weight, h))
    expected = h.transpose(0, 2, 1).reshape(6, -1) @ network.head.numpy().T + network.head_bias.numpy()
    np.testing.assert_allclose(network(vec(x)).numpy(), expected, atol=1e-13)
    sparse = SparseMLP([12, 9, 8], [30, 20], 5, dtype=torch.float64, seed=2).requires_grad_(False)
    h = vec(x).numpy()
    for layer in sparse.layers:
        h = np.maximum(h @ layer.matrix().toarray().T, 0)
    np.testing.assert_allclose(sparse(vec(x)).numpy(), h @ sparse.head.numpy().T, atol=1e-13)


def test_the_permuted_network_has_the_mixers_weights_and_another_function():
    mixer, permuted = (KroneckerMLP(4, 5, 3, permutation=kind, dtype=torch.float64, seed=0) for kind in ("commutation", "random"))
    assert torch.equal(mixer.layers[0].weight, permuted.layers[0].weight)
    assert mixer.trainable == permuted.trainable and mixer.connections == permuted.connections
    assert set(permuted.state_dict()) - set(mixer.state_dict()) == {f"layers.{k}.{side}" for k in (0, 1) for side in ("left", "right")}


@pytest.mark.parametrize("make", [lambda seed: KroneckerMLP(4, 4, 3, permutation="random", seed=seed), lambda seed: SparseMLP([16, 16], 40, 3, seed=seed), lambda seed: SparseMLP([16, 64], 20, 3, seed=seed)])
def test_an_ensemble_trains_its_members_as_if_each_were_alone(make):
    data = draw(0, 24, 3, 16).float()
    labels = torch.randint(3, (24, 3), generator=torch.Generator().manual_seed(1))
    together = Ensemble([make(seed) for seed in range(3)])
    losses = together.fit(data, labels, epochs=4, batch_size=8, learning_rate=1e-2, seed=5)
    assert losses[-1] < losses[0]
    scores = together(data.transpose(0, 1))
    for member in range(3):
        alone = Ensemble([make(member)])
        alone.fit(data[:, [member]], labels[:, [member]], epochs=4, batch_size=8, learning_rate=1e-2, seed=5)
        torch.testing.assert_close(alone(data[:, [member]].transpose(0, 1))[0], scores[member], rtol=1e-4, atol=1e-5)
        right = (scores[member].argmax(-1) == labels[:, member]).double().mean()
        assert together.accuracy(data, labels)[member] == right
    hidden = together(data.transpose(0, 1), "hidden")
    assert len(hidden) == len(make(0).layers) and hidden[0].shape[:2] == (3, 24)


def test_linear_cka():
    a = draw(0, 30, 5)
    rotation = torch.linalg.qr(draw(1, 5, 5)).Q
    assert float(linear_cka(a, 3 * a @ rotation + 7)) == pytest.approx(1, abs=1e-13)
    b = draw(2, 30, 8)
    centre = np.eye(30) - 1 / 30
    k, m = (centre @ (x @ x.mT).numpy() @ centre for x in (a, b))  # by kernels: HSIC over its norms
    assert float(linear_cka(a, b)) == pytest.approx((k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum()), rel=1e-12)
    assert linear_cka(torch.stack([a, a]), torch.stack([b, b])).shape == (2,)
    orthogonal = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]]).T
    assert float(linear_cka(orthogonal[:, :1], orthogonal[:, 1:])) == 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: to_wide(ParallelMixerBlock(3, 4, 5, 6)), TypeError, "block must be a MixerBlock, got ParallelMixerBlock"),
        (lambda: to_wide(MixerBlock(3, 4, 5, 6))(torch.ones(2, 3, 4)), TypeError, "x has dtype torch.float32"),
        (lambda: counts(0, 3), ValueError, "tokens must be a positive integer"),
        (lambda: effective_width(100, 0), ValueError, "ratio must be positive and finite, got 0"),
        (lambda: widest(-1), ValueError, "connections must be positive"),
        (lambda: KroneckerMLP(3, 3, 2, permutation="none"), ValueError, "permutation must be one of commutation, random"),
        (lambda: SparseMLP([4], 3, 2), ValueError, "widths must be those of the input and of each layer"),
        (lambda: SparseMLP([4, 5], [3, 3], 2), ValueError, "one more than connections; got 2 and 2"),
        (lambda: WideNetwork([], 2), TypeError, "layers must be one WideLinear or more"),
        (lambda: WideNetwork([TokenMixing(2, 3), TokenMixing(2, 4)], 2), ValueError, "got 6 outputs before 8 inputs"),
        (lambda: linear_cka(torch.ones(4, 2), draw(0, 4, 2).float()), ValueError, "first has features that do not vary"),
        (lambda: linear_cka(draw(0, 4, 2), draw(0, 5, 2)), ValueError, "second must have the 4 samples of first, got 5"),
        (lambda: linear_cka([1], draw(0, 5, 2)), TypeError, "first must be a floating-point torch.Tensor, got list"),
        (lambda: linear_cka(draw(0, 5), draw(0, 5, 2)), ValueError, r"first must have shape \(..., samples, features\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
