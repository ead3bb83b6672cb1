"""State dicts of timm's and of ParaMixer's naming: against a second forward pass on the raw entries, round trips, errors."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from hopmix.mixers import Mixer, from_state_dict, to_state_dict

S, P, C, D_S, D_C, CLASSES, DEPTH = 6, 2, 5, 3, 7, 4, 2  # 3 x 2 patches of 2 x 2 pixels
SIZE = (6, 4)


def entries(convention, order="serial", weights="free", dtype=torch.float64, seed=0):
    """A state dict with the names and shapes of a library's model, written out by hand, and random values."""
    norm = (C,) if convention == "timm" else (S, C)
    shapes = {"stem.proj.weight": (C, 3, P, P), "stem.proj.bias": (C,)}
    for n in range(DEPTH):
        for name in ("norm1", "norm2") if order == "serial" else ("norm",):
            shapes |= {f"blocks.{n}.{name}.weight": norm, f"blocks.{n}.{name}.bias": norm}
        for name, size, hidden in (("mlp_tokens", S, D_S), ("mlp_channels", C, D_C)):
            layers = {"fc2": (hidden, size)} if weights == "symmetric" else {"fc1": (hidden, size), "fc2": (size, hidden)}
            for layer, shape in layers.items():
                shapes[f"blocks.{n}.{name}.{layer}.weight"] = shape
                if convention == "timm":
                    shapes[f"blocks.{n}.{name}.{layer}.bias"] = shape[:1]
    shapes |= {"norm.weight": (C,), "norm.bias": (C,), "head.weight": (CLASSES, C), "head.bias": (CLASSES,)}
    stream = torch.Generator().manual_seed(seed)
    return {name: (torch.randn(shape, generator=stream, dtype=torch.float64) + name.endswith("norm.weight")).to(dtype) for name, shape in shapes.items()}


def forward(raw, images, convention, order, weights, n_iter):
    """What the libraries' models compute, on the entries as they are; in numpy, one image at a time."""
    w = {name: tensor.numpy() for name, tensor in raw.items()}

    def layer_norm(x, name):
        axes = tuple(range(x.ndim - w[f"{name}.weight"].ndim, x.ndim))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def mlp(x, name):
        second = w[f"{name}.fc2.weight"]
        first = second if weights == "symmetric" else w[f"{name}.fc1.weight"]
        hidden = x @ first.T + w.get(f"{name}.fc1.bias", 0)
        hidden = hidden * (1 + erf(hidden / math.sqrt(2))) / 2
        if weights == "symmetric":
            return hidden @ second
        return (hidden @ first if weights == "asymmetric" else 0) + hidden @ second.T + w.get(f"{name}.fc2.bias", 0)

    scores = []
    for image in images.numpy():
        patches = image.reshape(3, SIZE[0] // P, P, SIZE[1] // P, P).transpose(1, 3, 0, 2, 4).reshape(S, -1)
        x = patches @ w["stem.proj.weight"].reshape(C, -1).T + w["stem.proj.bias"]
        for n in range(DEPTH):
            block = f"blocks.{n}"
            for _ in range(n_iter):
                if order == "serial":
                    x = x + mlp(layer_norm(x, f"{block}.norm1").T, f"{block}.mlp_tokens").T
                    x = x + mlp(layer_norm(x, f"{block}.norm2"), f"{block}.mlp_channels")
                else:
                    g = layer_norm(x, f"{block}.norm")
                    x = x + mlp(g.T, f"{block}.mlp_tokens").T + mlp(g, f"{block}.mlp_channels")
        scores.append(layer_norm(x, "norm").mean(0) @ w["head.weight"].T + w["head.bias"])
    return np.array(scores)


CASES = [("timm", "serial", "free")] + [("paramixer", order, weights) for order in ("serial", "parallel") for weights in ("free", "symmetric", "asymmetric")]


@pytest.mark.parametrize("convention, order, weights", CASES)
@pytest.mark.parametrize("n_iter", [1, 3])
def test_outputs_are_those_of_the_raw_entries(convention, order, weights, n_iter):
    raw = entries(convention, order, weights)
    model = from_state_dict(raw, convention, image_size=SIZE, patch_size=P, order=order, weights=weights, n_iter=n_iter)
    images = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = forward(raw, images, convention, order, weights, n_iter)
    np.testing.assert_allclose(model(images).detach(), expected, rtol=1e-11, atol=1e-11)
    # The second pass tells the kinds apart, so it would notice a wrong one.
    for other in {("parallel", "free"), ("parallel", "asymmetric")} - {(order, weights)} if order == "parallel" and weights != "symmetric" else ():
        assert abs(forward(raw, images, convention, *other, n_iter) - expected).max() > 1e-3


@pytest.mark.parametrize("convention, order, weights", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_round_trips_are_exact(convention, order, weights, dtype):
    raw = entries(convention, order, weights, dtype)
    model = from_state_dict(raw, convention, image_size=SIZE, weights=weights)
    back = to_state_dict(model, convention)
    assert list(back) == list(raw)
    for name, tensor in raw.items():
        assert torch.equal(back[name], tensor) and back[name].dtype == dtype and back[name].is_contiguous(), name
    again = from_state_dict(back, convention, image_size=SIZE, weights=weights)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_model_of_ours_survives_the_way_there_and_back():
    model = Mixer(8, 2, 1, 10, 3, 16, weights="asymmetric", seed=3)
    back = from_state_dict(to_state_dict(model, "paramixer"), "paramixer", weights="asymmetric")
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert back.symmetry_penalty() == model.symmetry_penalty() and not back.training


def test_tensors_are_copied():
    raw = entries("timm")
    model = from_state_dict(raw, "timm", image_size=SIZE)
    raw["head.bias"].zero_()
    back = to_state_dict(model, "timm")
    assert back["head.bias"].any()
    back["stem.proj.bias"].zero_()
    assert model.stem.bias.any() and all(parameter.requires_grad for parameter in model.parameters())


def test_what_the_state_dict_tells_need_not_be_said():
    square = {name: tensor[:, :4] if "mlp_tokens.fc1.weight" in name else tensor for name, tensor in entries("timm").items()}
    square = {name: tensor[:4] if "mlp_tokens.fc2" in name else tensor for name, tensor in square.items()}
    model = from_state_dict(square, "timm")
    assert model.stem.image_size == (4, 4) and model.stem.patch_size == 2 and model.blocks[0].order == "serial"
    assert from_state_dict(entries("paramixer", "parallel", "symmetric"), "paramixer", image_size=SIZE).blocks[0].token.weights == "symmetric"


def without(raw, *names):
    return {name: tensor for name, tensor in raw.items() if name not in names}


TIMM, PARA = entries("timm"), entries("paramixer", "parallel", "free")


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: from_state_dict(TIMM, "flax"), ValueError, "convention must be one of timm, paramixer; got 'flax'"),
        (lambda: from_state_dict([1], "timm"), TypeError, "state_dict must be a mapping from names to tensors, got list"),
        (lambda: from_state_dict(TIMM | {"head.bias": np.ones(4)}, "timm"), TypeError, "head.bias must be a floating-point torch.Tensor, got ndarray"),
        (lambda: from_state_dict(TIMM | {"head.bias": torch.ones(4, dtype=torch.int64)}, "timm"), TypeError, "head.bias must be .* got dtype torch.int64"),
        (lambda: from_state_dict(TIMM | {"head.bias": torch.ones(4)}, "timm"), TypeError, "must have one dtype, got torch.float64 .*, torch.float32"),
        (lambda: from_state_dict(TIMM | {"head.bias": torch.full((4,), math.nan).double()}, "timm"), ValueError, "head.bias has entries that are not finite"),
        (lambda: from_state_dict(without(TIMM, "head.weight"), "timm"), ValueError, "missing head.weight"),
        (lambda: from_state_dict({"head.weight": torch.ones(4, 5)}, "timm"), ValueError, "missing blocks.0, there is no block"),
        (lambda: from_state_dict(without(TIMM, "blocks.1.norm2.bias", "norm.bias"), "timm", SIZE), ValueError, "missing blocks.1.norm2.bias, norm.bias$"),
        (lambda: from_state_dict(TIMM | {"stem.norm.weight": torch.ones(5).double()}, "timm", SIZE), ValueError, "unknown stem.norm.weight$"),
        (lambda: from_state_dict(TIMM | {"blocks.3.norm1.bias": torch.ones(5).double()}, "timm", SIZE), ValueError, "missing blocks.2.norm1.weight, .* and 1. more"),
        (
            lambda: from_state_dict(TIMM | {"blocks.1.mlp_channels.fc1.weight": torch.ones(5, 7).double()}, "timm", SIZE),
            ValueError,
            r"of another shape blocks.1.mlp_channels.fc1.weight \(5, 7\) \(must be \(7, 5\)\)$",
        ),
        (lambda: from_state_dict(TIMM | {"head.weight": torch.ones(4).double()}, "timm", SIZE), ValueError, r"head.weight must have 2 axes, got shape \(4,\)"),
        (lambda: from_state_dict(TIMM, "timm"), ValueError, "image_size must be given: 6 tokens are no square"),
        (lambda: from_state_dict(TIMM, "timm", (4, 4)), ValueError, r"of another shape blocks.0.mlp_tokens.fc1.weight \(3, 6\) \(must be \(3, 4\)\)"),
        (lambda: from_state_dict(TIMM, "timm", SIZE, patch_size=4), ValueError, "patch_size must be 2, as in the state dict, got 4"),
        (lambda: from_state_dict(TIMM, "timm", SIZE, order="parallel"), ValueError, "order must be 'serial', as in the state dict, got 'parallel'"),
        (lambda: from_state_dict(TIMM, "timm", SIZE, weights="symmetric"), ValueError, "weights must be 'free', as in the state dict, got 'symmetric'"),
        (lambda: from_state_dict(PARA, "paramixer", SIZE), ValueError, "weights must be given: a state dict with fc1 and fc2 is a free or an asymmetric"),
        (lambda: from_state_dict(PARA, "paramixer", SIZE, weights="symmetric"), ValueError, "weights must be one of free, asymmetric for a state dict"),
        (lambda: from_state_dict(PARA, "paramixer", SIZE, weights="signed"), ValueError, "weights must be one of free, symmetric, asymmetric; got 'signed'"),
        (lambda: from_state_dict(TIMM, "timm", SIZE, device="gpu"), ValueError, "device: 'gpu' is not known to torch here"),
        (lambda: from_state_dict(PARA, "timm", SIZE), ValueError, "missing blocks.0.norm1.weight, .*; unknown blocks.0.norm.weight, "),
        (lambda: to_state_dict(torch.nn.Linear(1, 1), "timm"), TypeError, "model must be a Mixer, got Linear"),
        (lambda: to_state_dict(Mixer(8, 2, 1, 3, 1, 8), "timm"), ValueError, "model: timm has no Mixer with order 'parallel'; allowed: serial"),
        (lambda: to_state_dict(Mixer(8, 2, 1, 3, 1, 8, weights="signed"), "paramixer"), ValueError, "no Mixer with weights 'signed'; allowed: free, symmetric, asymmetric"),
        (lambda: to_state_dict(Mixer(8, 2, 1, 3, 1, 8, bias=True), "paramixer"), ValueError, "paramixer has no Mixer with bias True; allowed: False"),
        (lambda: to_state_dict(Mixer(8, 2, 1, 3, 1, 8, gain="scalar"), "paramixer"), ValueError, "paramixer has no Mixer with gain 'scalar'; allowed: elementwise"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
