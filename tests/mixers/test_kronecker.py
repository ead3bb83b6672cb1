"""The wide operators against numpy's dense matrices, and the projections against brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds

from hopmix.mixers.kronecker import (
    ChannelMixing,
    Monarch,
    PermutedKronecker,
    SparseLinear,
    TokenMixing,
    commutation,
    inverse_permutation,
    kronecker_projection,
    monarch_projection,
    random_permutation,
    rearrangement,
    unvec,
    vec,
)

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
SIZES = st.integers(1, 5)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_monarch(layer):
    """Entry by entry, from the definition."""
    s, c = layer.tokens, layer.channels
    left, right = layer.channel_blocks.detach().numpy(), layer.token_blocks.detach().numpy()
    found = np.zeros((s * c, s * c))
    for i, j in np.ndindex(s, s):
        for big_i, big_j in np.ndindex(c, c):
            found[i + big_i * s, j + big_j * s] = left[i, big_i, big_j] * right[big_j, i, j]
    return found


def make(kind, s, c, hidden, seed):
    options = {"dtype": torch.float64, "seed": seed}
    if kind == "tokens":
        layer = TokenMixing(s, c, hidden, **options)
        return layer, np.kron(np.eye(c), layer.weight.detach().numpy())
    if kind == "channels":
        layer = ChannelMixing(s, c, hidden, **options)
        return layer, np.kron(layer.weight.detach().numpy(), np.eye(s))
    if kind == "permuted":
        layer = PermutedKronecker(c, s, hidden, **options)
        return layer, np.eye(c * hidden)[layer.left.numpy()] @ np.kron(np.eye(c), layer.weight.detach().numpy()) @ np.eye(s * c)[layer.right.numpy()]
    if kind == "monarch":
        layer = Monarch(s, c, **options)
        return layer, dense_monarch(layer)
    count = 1 + (s * c * hidden) // (50 if kind == "sparsest" else 2)
    layer = SparseLinear(s * c, hidden, count, **options)
    dense = np.zeros(s * c * hidden)
    dense[layer.places.numpy()] = layer.values.detach().numpy()
    return layer, dense.reshape(hidden, s * c)


KINDS = ["tokens", "channels", "permuted", "monarch", "sparse", "sparsest"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(s=SIZES, c=SIZES, hidden=SIZES, seed=st.integers(0, 2**31))
def test_every_layer_is_its_dense_matrix(kind, s, c, hidden, seed):
    layer, dense = make(kind, s, c, hidden, seed)
    x, y = draw(seed, 3, layer.inputs), draw(seed + 1, 2, layer.outputs)
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() @ dense.T, atol=1e-13)
    np.testing.assert_allclose(layer.transposed(y).numpy(), y.numpy() @ dense, atol=1e-13)
    np.testing.assert_allclose(layer.matrix().toarray(), dense, atol=1e-15)
    operator = layer.linear_operator()
    np.testing.assert_allclose(operator @ x[0].numpy(), dense @ x[0].numpy(), atol=1e-13)
    np.testing.assert_allclose(operator.T @ y.numpy().T, dense.T @ y.numpy().T, atol=1e-13)
    if kind != "monarch":  # whose two factors are counted
        assert layer.connections == np.count_nonzero(dense) and layer.density == layer.connections / dense.size
    assert layer.trainable == sum(p.numel() for p in layer.parameters())


def test_a_large_sparse_layer_gathers_and_scatters():
    layer = SparseLinear(200, 300, 500, dtype=torch.float64, seed=1)
    x = draw(0, 4, 200)
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() @ layer.matrix().toarray().T, atol=1e-13)
    assert torch.autograd.gradcheck(SparseLinear(20, 30, 5, dtype=torch.float64), draw(1, 2, 20).requires_grad_(True))


@pytest.mark.parametrize(("population", "count"), [(12, 3), (12, 1), (40, 5)])
def test_masks_are_uniform(population, count):
    """Each place is taken as often, on either way to draw a subset, and none twice."""
    rounds, taken = 3000, np.zeros(population)
    for seed in range(rounds):
        places = SparseLinear(population, 1, count, seed=seed).places.numpy()
        assert len(set(places)) == count
        taken[places] += 1
    expected = rounds * count / population
    assert (abs(taken - expected) < 4.5 * math.sqrt(expected)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_keeps_the_mean_square(kind):
    """Initial weights by the fan-in of connections: the output has the mean square of the input, whatever the width."""
    ratios = []
    for seed in range(40):
        if kind in ("sparse", "sparsest"):
            layer = SparseLinear(400, 300, 12_000 if kind == "sparse" else 1200, dtype=torch.float64, seed=seed)
        elif kind == "permuted":
            layer = PermutedKronecker(10, 40, dtype=torch.float64, seed=seed)
        else:
            layer = {"tokens": TokenMixing, "channels": ChannelMixing, "monarch": Monarch}[kind](20, 20, dtype=torch.float64, seed=seed)
        ratios.append(float(layer(draw(10_000 + seed, 4, 400)).detach().square().mean()))
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios, ddof=1) / math.sqrt(len(ratios))


@given(s=SIZES, c=SIZES, seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_vec_and_commutation(s, c, seed):
    x = draw(seed, 2, s, c)
    np.testing.assert_array_equal(vec(x[0]).numpy(), x[0].numpy().flatten(order="F"))
    assert torch.equal(unvec(vec(x), s, c), x)
    index = commutation(s, c)
    assert torch.equal(vec(x)[:, index], vec(x.mT))
    assert torch.equal(inverse_permutation(index), commutation(c, s))
    # The perfect shuffle: place p counted from 0 of vec X comes to place C p modulo SC - 1.
    if s * c > 1:
        places = inverse_permutation(index).numpy()
        np.testing.assert_array_equal(places[:-1], c * np.arange(s * c - 1) % (s * c - 1))


def test_row_stacking_would_exchange_the_factors():
    w, v, x = draw(0, 3, 3), draw(1, 4, 4), draw(2, 3, 4)
    y = w @ x @ v.mT
    torch.testing.assert_close(torch.kron(v, w) @ vec(x), vec(y), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(torch.kron(w, v) @ x.flatten(), y.flatten(), rtol=1e-13, atol=1e-13)
    assert (torch.kron(v, w) @ x.flatten() - y.flatten()).abs().max() > 0.1


def test_special_cases_of_the_permuted_family():
    x = draw(0, 3, 20)
    plain = PermutedKronecker(5, 4, 3, "identity", "identity", dtype=torch.float64)
    tokens = TokenMixing(4, 5, 3, dtype=torch.float64)
    assert torch.equal(plain.weight, tokens.weight) and torch.equal(plain(x), tokens(x)) and not plain.state_dict().keys() - {"weight"}
    commuting = PermutedKronecker(4, 5, 3, "commutation", "commutation", dtype=torch.float64)
    channels = ChannelMixing(4, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(commuting(x), channels(x), rtol=1e-13, atol=1e-13)
    given = PermutedKronecker(5, 4, 3, random_permutation(15, 1), random_permutation(20, 2), dtype=torch.float64)
    torch.testing.assert_close(given(x), plain(x[:, random_permutation(20, 2)])[:, random_permutation(15, 1)], rtol=1e-13, atol=1e-13)


def test_permutations_and_masks_are_frozen_seeded_and_saved():
    for make_one in (lambda seed: PermutedKronecker(5, 4, seed=seed), lambda seed: SparseLinear(9, 9, 20, seed=seed)):
        one, same, other = make_one(3), make_one(3), make_one(4)
        buffers = dict(one.named_buffers())
        assert buffers and all(torch.equal(value, dict(same.named_buffers())[name]) for name, value in buffers.items())
        assert not all(torch.equal(value, dict(other.named_buffers())[name]) for name, value in buffers.items())
        other.load_state_dict(one.state_dict())
        x = torch.randn(2, one.inputs, generator=torch.Generator().manual_seed(0))
        assert torch.equal(one(x), other(x))
    before = torch.random.get_rng_state()
    make_one(5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_singular_values_of_an_operator_too_wide_to_write_out():
    """A layer of ten thousand entries, whose dense matrix would take 800 MB."""
    layer = PermutedKronecker(100, 100, dtype=torch.float64, seed=0)
    found = svds(layer.linear_operator(), k=1, v0=np.ones(10_000), return_singular_vectors=False)
    assert found[0] == pytest.approx(float(torch.linalg.matrix_norm(layer.weight.detach(), 2)), rel=1e-10)


@given(s=st.integers(1, 4), c=st.integers(1, 4), seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_projections_recover_what_has_the_form(s, c, seed):
    v, w = draw(seed, c, c), draw(seed + 1, s, s)
    found = kronecker_projection(torch.kron(v, w), s, c)
    assert found.relative_error < 1e-14
    torch.testing.assert_close(torch.kron(found.left, found.right), torch.kron(v, w), rtol=1e-12, atol=1e-12)
    assert float(found.left.norm()) == pytest.approx(float(found.right.norm()))
    layer = Monarch(s, c, dtype=torch.float64, seed=seed)
    matrix = torch.from_numpy(layer.matrix().toarray())
    blocks = monarch_projection(matrix, s, c)
    again = Monarch(s, c, dtype=torch.float64)
    again.load_state_dict({"channel_blocks": blocks.left, "token_blocks": blocks.right})
    np.testing.assert_allclose(again.matrix().toarray(), matrix, atol=1e-12)


def test_the_rank_of_the_rearrangement_is_the_number_of_terms():
    terms = sum(torch.kron(draw(k, 3, 3), draw(k + 9, 2, 2)) for k in range(3))
    assert torch.linalg.matrix_rank(rearrangement(terms, 2, 3)) == 3
    v, w = draw(0, 3, 3), draw(1, 2, 2)
    torch.testing.assert_close(rearrangement(torch.kron(v, w), 2, 3), torch.outer(w.flatten(), v.flatten()))


@pytest.mark.parametrize("device", DEVICES)
def test_float32_and_devices(device):
    for kind in (PermutedKronecker(4, 4, device=device), Monarch(4, 4, device=device), SparseLinear(16, 16, 40, device=device), TokenMixing(4, 4, device=device)):
        x = torch.ones(2, 16, device=device)
        assert kind(x).dtype == torch.get_default_dtype() and kind(x).device.type == device
        assert "connections=" in repr(kind)
    with torch.no_grad():
        assert kind.transposed(x).shape == (2, 16)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: TokenMixing(0, 2), ValueError, "tokens must be a positive integer, got 0"),
        (lambda: TokenMixing(2, 2, 0), ValueError, "hidden must be a positive integer, got 0"),
        (lambda: ChannelMixing(2, 2, gain=-1.0), ValueError, "gain must be finite and not negative"),
        (lambda: PermutedKronecker(2, 3, left="shuffle"), ValueError, "left must be one of identity, commutation, random"),
        (lambda: PermutedKronecker(2, 3, right=torch.zeros(6, dtype=torch.int64)), ValueError, "right must hold each of 0 … 5 once"),
        (lambda: PermutedKronecker(2, 3, right=torch.arange(5)), ValueError, r"right must have shape \(6,\), got \(5,\)"),
        (lambda: PermutedKronecker(2, 3, right=torch.ones(6)), TypeError, "right must be a torch.Tensor of int64, got torch.float32"),
        (lambda: SparseLinear(2, 3, 7), ValueError, "connections must be at most inputs \\* outputs = 6, got 7"),
        (lambda: SparseLinear(2, 3, 0), ValueError, "connections must be a positive integer, got 0"),
        (lambda: SparseLinear(2, 3, 4)(torch.ones(2, 3)), ValueError, r"x must have shape \(batch, 2\), got \(2, 3\)"),
        (lambda: Monarch(2, 3).transposed(torch.ones(2, 5)), ValueError, r"y must have shape \(batch, 6\)"),
        (lambda: vec([1]), TypeError, "x must be a torch.Tensor, got list"),
        (lambda: vec(torch.ones(3)), ValueError, "x must have at least 2 axes"),
        (lambda: unvec(torch.ones(5), 2, 3), ValueError, r"x must have shape \(..., 6\), got \(5,\)"),
        (lambda: rearrangement(torch.ones(5, 5), 2, 3), ValueError, r"matrix must have shape \(6, 6\), got \(5, 5\)"),
        (lambda: rearrangement(torch.ones(6, 6, dtype=torch.int64), 2, 3), TypeError, "matrix must be floating point or complex"),
        (lambda: kronecker_projection(torch.full((6, 6), math.nan), 2, 3), ValueError, "matrix has entries that are not finite"),
        (lambda: monarch_projection(torch.zeros(6, 6), 2, 3), ValueError, "matrix is zero"),
        (lambda: inverse_permutation([0]), TypeError, "index must be a torch.Tensor of int64, got list"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
