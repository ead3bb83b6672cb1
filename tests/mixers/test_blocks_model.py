"""Mixing, blocks and models against plain numpy; counts, seeds, drop path, compilation, autocast, errors."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from scipy.stats import truncnorm

import hopmix
from hopmix.mixers import PRESETS, Mixer, MixerBlock, Mixing, ParallelMixerBlock, preset
from hopmix.mixers.blocks import Norm, comparison, comparison_table
from hopmix.mixers.blocks.initial import lecun_normal
from hopmix.testing import assert_symmetric_jacobian

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
WEIGHTS = ("free", "symmetric", "asymmetric", "signed", "negative")
SMALL = {"image_size": 8, "patch_size": 2, "in_channels": 1, "num_classes": 10, "depth": 2, "dim": 8}


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(module, seed=0):
    """Every parameter away from its initial value, so that none is 0 or 1."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
            parameter.add_(0.2 * noise.to(parameter.device, parameter.dtype))
    return module.requires_grad_(False)


def array(parameter):
    return parameter.detach().cpu().numpy()


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def mixed(mixing, g):
    """The output for rows g, from the definition of each kind."""
    w = array(mixing.inward)
    hidden = g @ w.T + (0 if mixing.hidden_bias is None else array(mixing.hidden_bias))
    activated, half = gelu(hidden), math.ceil(len(w) / 2)
    out = {
        "free": lambda: activated @ array(mixing.outward),
        "symmetric": lambda: activated @ w,
        "asymmetric": lambda: activated @ w + activated @ array(mixing.breaking),
        "signed": lambda: activated[..., :half] @ w[:half] - activated[..., half:] @ w[half:],
        "negative": lambda: -activated @ w,
    }[mixing.weights]()
    return out + (0 if mixing.bias is None else array(mixing.bias))


def normalised(norm, x):
    axes = (1, 2) if norm.norm == "joint" else 2
    centred = x - x.mean(axes, keepdims=True)
    g = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + norm.eps)
    return g if norm.gain is None else g * array(norm.gain) + array(norm.shift)


def stepped(block, x):
    def tokens(g):
        return mixed(block.token, g.transpose(0, 2, 1)).transpose(0, 2, 1)

    for _ in range(block.n_iter):
        if block.order == "parallel":
            g = normalised(block.norm, x)
            x = x + tokens(g) + mixed(block.channel, g)
        else:
            x = x + tokens(normalised(block.token_norm, x))
            x = x + mixed(block.channel, normalised(block.channel_norm, x))
    return x


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("order", ["parallel", "serial"])
@pytest.mark.parametrize("weights", WEIGHTS)
@settings(max_examples=4)
@given(
    s=st.integers(1, 5), c=st.integers(2, 5), h=st.integers(1, 5), k=st.integers(1, 5), bias=st.booleans(), n_iter=st.integers(1, 3),
    norm=st.sampled_from(["joint", "token"]), gain=st.sampled_from(["elementwise", "scalar", "none"]), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_blocks_against_numpy(device, order, weights, s, c, h, k, bias, n_iter, norm, gain, seed):
    options = {"order": order, "weights": weights, "norm": norm, "gain": gain, "bias": bias, "n_iter": n_iter, "eps": 1e-2}
    block = shaken(MixerBlock(s, c, h, k, **options, dtype=torch.float64, device=device, seed=seed), seed)
    x = draw(seed, 3, s, c)
    np.testing.assert_allclose(block(x.to(device)).cpu().numpy(), stepped(block, x.numpy()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", ["parallel", "serial"])
@pytest.mark.parametrize("sides", [8, (8, 4)])
def test_models_against_numpy(order, sides):
    model = shaken(Mixer(**(SMALL | {"image_size": sides, "in_channels": 3}), order=order, dtype=torch.float64)).eval()
    images = draw(1, 4, 3, *((8, 8) if sides == 8 else sides)).numpy()
    patches = [images[:, :, i : i + 2, j : j + 2] for i in range(0, images.shape[2], 2) for j in range(0, images.shape[3], 2)]
    x = np.stack([np.einsum("bcyx,dcyx->bd", patch, array(model.stem.weight)) for patch in patches], 1) + array(model.stem.bias)
    np.testing.assert_allclose(model.embed(torch.from_numpy(images)), x, rtol=1e-12, atol=1e-12)
    for block in model.blocks:
        x = stepped(block, x)
    pooled = normalised(model.norm, x).mean(1)
    np.testing.assert_allclose(model.features(torch.from_numpy(images)), pooled, rtol=1e-12, atol=1e-12)
    scores = pooled @ array(model.head_weight).T + array(model.head_bias)
    np.testing.assert_allclose(model(torch.from_numpy(images)), scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weights", ["free", "symmetric"])
def test_a_scalar_gain_gives_the_block_that_memories_compile_to(weights):
    block = shaken(MixerBlock(4, 6, 8, 10, weights=weights, gain="scalar", dtype=torch.float64))
    bare = ParallelMixerBlock(4, 6, 8, 10, weights=weights, dtype=torch.float64)
    bare.token_in, bare.channel_in, bare.gain, bare.shift = block.token.inward, block.channel.inward, block.norm.gain, block.norm.shift
    if weights == "free":
        bare.token_out, bare.channel_out = block.token.outward, block.channel.outward
    x = draw(0, 3, 4, 6)
    torch.testing.assert_close(block(x), bare(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(block.token_branch(x), bare.token_mixing(bare.normalise(x)), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_gradient_structure(weights):
    """Tied branches are gradients in the activations, biases and all; free and broken ones are not."""
    block = shaken(MixerBlock(3, 4, 5, 6, weights=weights, bias=True, dtype=torch.float64))

    def branches(g):
        return block.token_mixing(g) + block.channel_mixing(g)

    if weights in ("symmetric", "signed", "negative"):
        assert_symmetric_jacobian(branches, draw(0, 2, 3, 4))
        return
    with pytest.raises(AssertionError, match="the Jacobian is not symmetric"):
        assert_symmetric_jacobian(branches, draw(0, 2, 3, 4), tolerance=0.1)


@pytest.mark.parametrize("weights", ["symmetric", "signed", "negative"])
def test_tied_branches_are_minus_the_gradient_of_their_energy(weights):
    from hopmix.memory.lagrangian import GELU  # another implementation of Phi

    mixing, g = Mixing(4, 5, weights=weights, dtype=torch.float64), draw(1, 7, 4).requires_grad_(True)
    signs = torch.tensor({"symmetric": [1.0] * 5, "signed": [1.0, 1, 1, -1, -1], "negative": [-1.0] * 5}[weights], dtype=torch.float64)
    hidden = g @ mixing.inward.mT
    energy = -(signs * GELU().value(hidden.reshape(-1, 1)).reshape(7, 5)).sum()
    (gradient,) = torch.autograd.grad(energy, g)
    torch.testing.assert_close(mixing(g), -gradient, rtol=1e-13, atol=1e-14)


def test_elementwise_gain_breaks_the_gradient_in_the_state_and_scalar_gain_does_not():
    """In the state x, up to LayerNorm's own Hessian: H F with a scalar gain is minus the gradient of U(g(x))."""
    for gain, symmetric in (("scalar", True), ("elementwise", False)):
        norm = shaken(Norm(3, 4, gain=gain, dtype=torch.float64))
        if symmetric:
            assert_symmetric_jacobian(norm, draw(0, 1, 3, 4))
        else:
            with pytest.raises(AssertionError, match="not symmetric"):
                assert_symmetric_jacobian(norm, draw(0, 1, 3, 4), tolerance=1e-2)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "name, total",
    [("paramixer", 19_585_546), ("symmixer", 10_795_530), ("vanilla", 21_191_178), ("asymmixer", 19_585_546), ("signedmixer", 10_795_530)],
)
def test_totals_of_s16(name, total):
    assert count(preset(f"{name}_s16", num_classes=10, device="meta")) == total


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_parameters_of_the_formula(name):
    kind, size, patch = name.split("_")[0], name.split("_")[1][0], int(name[-2:])
    depth, dim = {"s": (8, 512), "b": (12, 768), "l": (24, 1024)}[size]
    tokens = (224 // patch) ** 2
    weights = tokens * dim // 2 + 4 * dim**2
    weights *= 1 if kind in ("symmixer", "signedmixer") else 2
    norms = 2 * tokens * dim * (2 if kind == "vanilla" else 1)
    expected = depth * (weights + norms) + (3 * patch**2 + 1) * dim + 2 * dim + 1000 * (dim + 1)
    assert count(preset(name, device="meta")) == expected


def test_twice_as_wide_tied_weights_have_as_many_parameters_as_free_ones():
    assert count(preset("symmixer_s16", hidden_ratio=2, device="meta")) == count(preset("paramixer_s16", device="meta"))


def test_the_original_mixer_b16_has_59_9_million_parameters():
    """As published with timm's mixer_b16_224 weights for a thousand classes."""
    original = preset("vanilla_b16", norm="token", bias=True, device="meta")
    assert round(count(original) / 1e6, 1) == 59.9


@pytest.mark.parametrize("gain, expected", [("elementwise", 2 * 16 * 8), ("scalar", 16 * 8 + 1), ("none", 0)])
def test_parameters_of_norms(gain, expected):
    assert count(Norm(16, 8, gain=gain)) == expected
    assert count(Norm(16, 8, norm="token", gain=gain)) == {"elementwise": 16, "scalar": 9, "none": 0}[gain]


def test_presets_run():
    model = preset("asymmixer_s32", image_size=64, num_classes=7, depth=1, dim=16)
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert hopmix.mixers.preset is preset


def test_initial_weights():
    model = Mixer(8, 2, 3, 10, 2, 64, bias=True, seed=5)
    assert not model.head_weight.any() and not model.head_bias.any() and not model(torch.ones(1, 3, 8, 8)).any()
    block = model.blocks[0]
    bound = math.sqrt(6 / (64 + 256))
    assert 0.95 * bound < float(block.channel.outward.detach().abs().max()) <= bound
    assert (block.norm.gain == 1).all() and not block.norm.shift.any() and not block.channel.bias.any() and not block.channel.hidden_bias.any()
    assert not torch.equal(block.channel.inward, model.blocks[1].channel.inward)


def test_lecun_normal_is_the_cut_normal_with_variance_one_over_inputs():
    drawn = lecun_normal(2000, 3, 2, 2, stream=torch.Generator().manual_seed(0), device=None, dtype=torch.float64).detach().flatten().numpy()
    scale = 1 / math.sqrt(12 * truncnorm(-2, 2).var())
    assert abs(drawn).max() <= 2 * scale
    assert drawn.var() == pytest.approx(1 / 12, abs=4 / 12 * math.sqrt(2 / drawn.size))
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(drawn, quantiles), scale * truncnorm(-2, 2).ppf(quantiles), atol=5 * scale / math.sqrt(drawn.size) * 2)


def test_seeds_and_the_global_stream():
    before = torch.random.get_rng_state()
    one, same, other = (Mixer(**SMALL, drop_path=0.5, seed=seed).train() for seed in (1, 1, 2))
    streams = [torch.Generator().manual_seed(0) for _ in range(2)]
    images = draw(0, 5, 1, 8, 8).float()
    assert torch.equal(one.features(images, streams[0]), same.features(images, streams[1]))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.blocks[1].token.inward, same.blocks[1].token.inward)
    assert not torch.equal(one.blocks[1].token.inward, other.blocks[1].token.inward)


@pytest.mark.parametrize("order", ["parallel", "serial"])
def test_drop_path_leaves_out_each_branch_on_its_own(order):
    rate, batch = 0.3, 4000
    model = Mixer(8, 8, 1, 3, 1, 4, order=order, drop_path=rate, dtype=torch.float64).requires_grad_(False).train()
    images = draw(0, 1, 1, 8, 8).expand(batch, -1, -1, -1)
    paths = model._paths(images, torch.Generator().manual_seed(1))
    assert paths.shape == (1, 1, 2, batch)
    kept = paths[0, 0] > 0
    np.testing.assert_array_equal(np.unique(paths), [0, 1 / (1 - rate)])
    joint = [float((kept[0] == a).logical_and(kept[1] == b).double().mean()) for a in (0, 1) for b in (0, 1)]
    expected = np.array([rate * rate, rate * (1 - rate), (1 - rate) * rate, (1 - rate) ** 2])
    assert (abs(joint - expected) < 4 * np.sqrt(expected * (1 - expected) / batch)).all()
    # What comes out is the block with these branches left out and the others scaled up.
    x, block = model.embed(images), model.blocks[0]
    out = block(x, paths[0])
    for tokens_kept in (False, True):
        for channels_kept in (False, True):
            sample = int((kept[0] == tokens_kept).logical_and(kept[1] == channels_kept).nonzero()[0])
            z = x[sample : sample + 1]
            y = z + tokens_kept / (1 - rate) * block.token_branch(z)
            y = y + channels_kept / (1 - rate) * block.channel_branch(y if order == "serial" else z)
            torch.testing.assert_close(out[sample : sample + 1], y, rtol=1e-13, atol=1e-13)


def test_drop_path_rests_in_evaluation_and_needs_its_stream_in_training():
    model, images = Mixer(**SMALL, drop_path=0.5), torch.ones(3, 1, 8, 8)
    with pytest.raises(TypeError, match="stream must be a torch.Generator in training mode with drop_path > 0, got None"):
        model(images)
    with pytest.raises(TypeError, match="stream must be a torch.Generator .* got 3"):
        model(images, 3)
    torch.testing.assert_close(model.eval().features(images), Mixer(**SMALL).features(images))


def test_symmetry_penalty():
    model = Mixer(**SMALL, weights="asymmetric", dtype=torch.float64)
    expected = sum((array(branch.breaking) ** 2).sum() for block in model.blocks for branch in (block.token, block.channel))
    assert float(model.symmetry_penalty().detach()) == pytest.approx(expected, rel=1e-13)
    model.symmetry_penalty().backward()
    torch.testing.assert_close(model.blocks[1].channel.breaking.grad, 2 * model.blocks[1].channel.breaking.detach())
    assert model.blocks[1].channel.inward.grad is None
    free = Mixer(**SMALL, weights="free", dtype=torch.float64)
    expected = sum(((array(b.outward) - array(b.inward)) ** 2).sum() for block in free.blocks for b in (block.token, block.channel))
    assert float(free.symmetry_penalty().detach()) == pytest.approx(expected, rel=1e-13)
    for weights in ("symmetric", "signed", "negative"):
        assert float(Mixer(**SMALL, weights=weights).symmetry_penalty()) == 0


@pytest.mark.parametrize("order", ["parallel", "serial"])
def test_gradients(order):
    block = MixerBlock(2, 3, 2, 2, order=order, weights="asymmetric", bias=True, dtype=torch.float64)
    x = draw(2, 2, 2, 3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *block.parameters()))


@pytest.mark.parametrize("weights", ["asymmetric", "signed"])
def test_compiles_in_one_graph(weights):
    model = shaken(Mixer(**SMALL, weights=weights, n_iter=2)).eval()
    images = draw(0, 3, 1, 8, 8).float()
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(images), model(images))


def test_compiles_with_drop_path():
    model = shaken(Mixer(**SMALL, drop_path=0.5)).train()
    images = draw(0, 3, 1, 8, 8).float()
    found, expected = (run(images, torch.Generator().manual_seed(0)) for run in (torch.compile(model, backend="eager"), model))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_autocast(device, weights):
    model = shaken(Mixer(**SMALL, weights=weights, device=device))
    images = draw(0, 3, 1, 8, 8).float().to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        low = model(images)
    torch.testing.assert_close(low.float(), model(images), rtol=0.1, atol=0.1)
    assert images.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_moves_with_the_model(dtype):
    model = Mixer(**SMALL, weights="signed").to(dtype)
    assert model.blocks[0].token.signs.dtype == dtype and model(torch.ones(2, 1, 8, 8, dtype=dtype)).dtype == dtype


def test_signs_are_no_part_of_what_is_saved():
    names = Mixer(**SMALL, weights="signed").state_dict()
    assert names.keys() == Mixer(**SMALL, weights="symmetric").state_dict().keys()


def test_comparison_measures_what_it_says():
    rows = {row.name: row for row in comparison()}
    assert [row.energy for row in rows.values()] == [False, False, True, False, True]
    assert rows["ParaMixer"].model_parameters == 19_585_546 and rows["SymMixer"].block_parameters == 196 * 256 + 512 * 2048 + 2 * 196 * 512
    assert rows["AsymMixer"].asymmetry > 0.1 and rows["signed control"].asymmetry < 1e-14


def test_comparison_table_shows_the_counts_of_the_models():
    from hopmix.mixers.blocks import derivation as chapter

    for row in comparison():
        formula = chapter.DERIVATION[row.formula].statement.rhs
        assert formula.subs({chapter.S: 196, chapter.C: 512}) == row.block_parameters
    lines = comparison_table().splitlines()
    assert len(lines) == 7 and all(line.count("|") == 7 for line in lines)


SMALL_BLOCK = partial(MixerBlock, 4, 6, 8, 10)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: Mixer(**(SMALL | {"image_size": 9})), ValueError, r"patch_size must divide the image's sides \(9, 9\), got 2"),
        (lambda: Mixer(**(SMALL | {"image_size": (8, 8, 8)})), ValueError, "image_size must be a size or a pair of them"),
        (lambda: Mixer(**(SMALL | {"depth": 0})), ValueError, "depth must be a positive integer, got 0"),
        (lambda: Mixer(**(SMALL | {"num_classes": -1})), ValueError, "num_classes must be a positive integer, got -1"),
        (lambda: Mixer(**SMALL, mlp_ratio=4.0), ValueError, "mlp_ratio must be a pair of numbers, for tokens and channels, got 4.0"),
        (lambda: Mixer(**SMALL, mlp_ratio=(0.01, 4)), ValueError, r"must leave hidden units, got \(0.01, 4\) and 1 at dim 8"),
        (lambda: Mixer(**SMALL, hidden_ratio=-1), ValueError, "hidden_ratio must be positive and finite, got -1"),
        (lambda: Mixer(**SMALL, drop_path=1.0), ValueError, "drop_path must be at least 0 and less than 1, got 1.0"),
        (lambda: Mixer(**SMALL, drop_path=-0.1), ValueError, "drop_path must be finite and not negative, got -0.1"),
        (lambda: Mixer(**SMALL, order="both"), ValueError, "order must be one of parallel, serial; got 'both'"),
        (lambda: Mixer(**SMALL, weights="tied"), ValueError, "weights must be one of free, symmetric, asymmetric, signed, negative; got 'tied'"),
        (lambda: Mixer(**SMALL, gain=1.0), ValueError, "gain must be one of elementwise, scalar, none; got 1.0"),
        (lambda: Mixer(**SMALL, norm="batch"), ValueError, "norm must be one of joint, token; got 'batch'"),
        (lambda: Mixer(**SMALL, bias=1), TypeError, "bias must be True or False, got 1"),
        (lambda: Mixer(**SMALL, n_iter=0), ValueError, "n_iter must be a positive integer, got 0"),
        (lambda: Mixer(**SMALL, activation="swish"), ValueError, "activation must be one of gelu, relu, tanh, identity; got 'swish'"),
        (lambda: Mixer(**SMALL, seed=None), TypeError, "seed must be an integer or a torch.Generator, got None"),
        (lambda: Mixer(**SMALL, dtype=torch.int32), TypeError, "dtype must be a floating-point dtype, got torch.int32"),
        (lambda: Mixer(**SMALL)(torch.ones(2, 3, 8, 8)), ValueError, r"images must have shape \(batch, 1, 8, 8\), got \(2, 3, 8, 8\)"),
        (lambda: Mixer(**SMALL)(torch.ones(2, 1, 8, 8).double()), TypeError, "images has dtype torch.float64, but the weights torch.float32"),
        (lambda: Mixer(**SMALL)([1.0]), TypeError, "images must be a torch.Tensor, got list"),
        (lambda: preset("mixer_s16"), ValueError, "name must be one of vanilla_s16, .*; got 'mixer_s16'"),
        (lambda: SMALL_BLOCK()(torch.ones(2, 6, 4)), ValueError, r"x must have shape \(batch, 4, 6\), got \(2, 6, 4\)"),
        (lambda: SMALL_BLOCK()(torch.ones(2, 4, 6), torch.ones(1, 2, 3)), ValueError, r"paths must have shape \(1, 2, 2\), got \(1, 2, 3\)"),
        (lambda: SMALL_BLOCK().token_mixing(torch.ones(4, 6)), ValueError, r"g must have shape \(batch, 4, 6\), got \(4, 6\)"),
        (lambda: Mixing(3, 4)(torch.ones(2, 4)), ValueError, r"g must have shape \(..., 3\), got \(2, 4\)"),
        (lambda: Mixing(3, 4)(None), TypeError, "g must be a torch.Tensor, got NoneType"),
        (lambda: Mixing(3, 0), ValueError, "hidden must be a positive integer, got 0"),
        (lambda: Norm(3, 4, eps=-1), ValueError, "eps must be finite and not negative, got -1"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
