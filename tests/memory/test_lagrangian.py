"""Lagrangians against autograd, quadrature, torch's own kernels and explicit formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm as normal

from hopmix.memory.lagrangian import (
    GELU,
    LAGRANGIANS,
    LayerNorm,
    Quadratic,
    ReLU,
    Softmax,
    Tanh,
    UnknownLagrangian,
    lagrangian,
)
from hopmix.testing import assert_gradient, assert_hessian, assert_symmetric_jacobian

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
SHAPE = (4, 3)

VARIANTS = {name: (lambda name=name: lagrangian(name)) for name in LAGRANGIANS} | {
    "softmax, cold, over tokens": lambda: Softmax(inverse_temperature=3.0, axis=-2),
    "layer_norm, token": lambda: LayerNorm("token"),
    "layer_norm, gain and shift": lambda: LayerNorm("joint", gain=0.7, shift=draw(3, *SHAPE)[0]),
    "layer_norm, token, gain and row shift": lambda: LayerNorm("token", gain=1.9, shift=draw(4, 3)[0], eps=1e-2),
    "layer_norm, eps=0": lambda: LayerNorm("joint", eps=0.0),
}
every_lagrangian = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)


def draw(seed, *shape, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


@every_lagrangian
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 4), scale=st.floats(0.1, 10.0))
def test_activation_is_the_gradient_and_hessian_product_its_derivative(make, seed, batch, scale):
    x = draw(seed, batch, *SHAPE, scale=scale)
    assert_gradient(make(), x, tolerance=1e-12)
    assert_hessian(make(), x, draw(seed + 1, batch, *SHAPE), tolerance=1e-12)


@every_lagrangian
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10.0))
def test_convex_ones_have_a_positive_semidefinite_hessian(make, seed, scale):
    f = make()
    x, v = draw(seed, 50, *SHAPE, scale=scale), draw(seed + 1, 50, *SHAPE)
    product = f.hessian_product(x, v)
    curvature, square = (v * product).flatten(1).sum(1), v.square().flatten(1).sum(1)
    stiffness = max(1.0, float((product.flatten(1).norm(dim=1) / square.sqrt()).max()))  # the size of H, for its rounding
    if f.convex:
        assert bool((curvature >= -1e-14 * stiffness * square).all())


@pytest.mark.parametrize("f", [GELU(), ReLU(), Tanh(), Quadratic()], ids=lambda f: type(f).__name__)
def test_elementwise_hessian_is_diagonal_with_the_curvature(f):
    x, v = draw(3, 2, 500, scale=3.0), draw(4, 2, 500)
    torch.testing.assert_close(f.hessian_product(x, v), f.curvature(x) * v, rtol=1e-13, atol=1e-15)
    step = 1e-4
    slope = (f.activation(x + step) - f.activation(x - step)) / (2 * step)
    smooth = x.abs() > step  # away from ReLU's kink
    torch.testing.assert_close(f.curvature(x)[smooth], slope[smooth], rtol=0, atol=1e-7)


@every_lagrangian
def test_hessian_is_symmetric(make):
    assert_symmetric_jacobian(make().activation, draw(5, 1, *SHAPE))


def test_the_one_that_is_not_convex_has_a_witness():
    assert [name for name in LAGRANGIANS if not lagrangian(name).convex] == ["gelu"]
    x, v = torch.full((1, 1), -1.4, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    assert float(GELU().hessian_product(x, v)) < -0.1
    assert not LayerNorm(gain=-1.0).convex


@every_lagrangian
def test_samples_of_a_batch_do_not_mix(make):
    f, x, v = make(), draw(7, 5, *SHAPE), draw(8, 5, *SHAPE)
    for function in (f.value, f.activation, f.legendre, lambda x: f.hessian_product(x, v[: len(x)])):
        whole = function(x)
        assert len(whole) == 5
        torch.testing.assert_close(function(x[:1]), whole[:1], rtol=1e-14, atol=1e-14)
    assert f.value(x).shape == (5,)
    assert f.activation(x).shape == f.hessian_product(x, v).shape == x.shape


@every_lagrangian
def test_own_energy_is_the_legendre_transform(make):
    f, x = make(), draw(9, 6, *SHAPE)
    expected = (x * f.activation(x)).flatten(1).sum(1) - f.value(x)
    torch.testing.assert_close(f.legendre(x), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(f.legendre(x, f.activation(x)), expected, rtol=1e-12, atol=1e-13)


@every_lagrangian
@pytest.mark.parametrize("device", DEVICES)
def test_float32_and_devices(make, device):
    f, x, v = make(), draw(11, 3, *SHAPE), draw(12, 3, *SHAPE)
    exact = [f.value(x), f.activation(x), f.hessian_product(x, v)]
    f = f.to(device=device, dtype=torch.float32)
    x, v = x.to(device, torch.float32), v.to(device, torch.float32)
    for found, expected in zip([f.value(x), f.activation(x), f.hessian_product(x, v)], exact):
        assert found.dtype == torch.float32 and found.device.type == device
        torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-5)


@every_lagrangian
def test_value_is_twice_differentiable(make):
    x = draw(13, 2, *SHAPE).requires_grad_(True)
    assert torch.autograd.gradgradcheck(make().value, x)


@pytest.mark.parametrize("point", [-30.0, -6.0, -1.4142, -0.7518, -1e-3, 0.0, 1e-6, 0.5, 2.0, 9.0])
def test_gelu_potential_is_the_integral_of_gelu(point):
    expected, _ = quad(lambda t: t * normal.cdf(t), 0.0, point, epsabs=1e-13, epsrel=1e-13, limit=200)
    found = float(GELU().potential(torch.tensor(point, dtype=torch.float64)))
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_gelu_constants():
    f = GELU()
    far = torch.tensor([-40.0, 40.0], dtype=torch.float64)
    limits = torch.tensor([0.25, -0.25], dtype=torch.float64)
    torch.testing.assert_close(f.potential(far) - torch.relu(far) ** 2 / 2, limits, rtol=0, atol=1e-12)
    zero = torch.tensor([-0.751791524693564], dtype=torch.float64)
    assert abs(float(f.curvature(zero))) < 1e-14
    root_two = torch.tensor([-math.sqrt(2), math.sqrt(2)], dtype=torch.float64)
    low, high = f.curvature(root_two).tolist()
    assert low + high == pytest.approx(1, abs=1e-15)
    around = f.curvature(torch.linspace(-8, 8, 100_001, dtype=torch.float64))
    assert low <= float(around.min()) <= low + 1e-8 and high - 1e-8 <= float(around.max()) <= high
    # In float32 the tail at -100 must not be lost to cancellation.
    assert float(f.potential(torch.tensor(-100.0))) == pytest.approx(0.25, abs=1e-6)


def test_tanh_overflows_nowhere_and_is_smooth_at_zero():
    far = torch.tensor([[-800.0, 800.0]], dtype=torch.float64, requires_grad=True)
    value = Tanh().value(far)
    assert float(value.detach()) == pytest.approx(2 * (800 - math.log(2)), rel=1e-15)
    (gradient,) = torch.autograd.grad(value, far)
    assert gradient.tolist() == [[-1.0, 1.0]]
    near = torch.linspace(-3, 3, 7, dtype=torch.float64)
    np.testing.assert_allclose(Tanh().potential(near).numpy(), np.log(np.cosh(near.numpy())), rtol=1e-13, atol=1e-15)
    second = torch.autograd.functional.hessian(lambda x: Tanh().value(x).sum(), torch.zeros(1, 1, dtype=torch.float64))
    assert float(second) == pytest.approx(1.0, abs=1e-15)


def test_softmax_against_numpy():
    x = draw(17, 2, 4, 3).numpy()
    weights = np.exp(2.5 * x)
    f = Softmax(inverse_temperature=2.5, axis=-2)
    np.testing.assert_allclose(f.activation(torch.from_numpy(x)).numpy(), weights / weights.sum(1, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(f.value(torch.from_numpy(x)).numpy(), np.log(weights.sum(1)).sum(1) / 2.5, rtol=1e-13)
    assert torch.isfinite(f.value(torch.full((1, 4, 3), 1e4, dtype=torch.float64))).all()


@pytest.mark.parametrize("axes, normalised", [("joint", (4, 3)), ("token", (3,))])
def test_layer_norm_is_torchs(axes, normalised):
    x, shift = draw(19, 6, 4, 3, scale=3.0), draw(20, 3)
    expected = torch.nn.functional.layer_norm(x, normalised, eps=1e-3) * 1.7 + shift
    assert torch.equal(LayerNorm(axes, gain=1.7, shift=shift, eps=1e-3).activation(x), expected)
    centred = x.numpy() - x.numpy().mean((1, 2) if axes == "joint" else 2, keepdims=True)
    scale = np.sqrt((centred**2).mean((1, 2) if axes == "joint" else 2, keepdims=True) + 1e-3)
    np.testing.assert_allclose(expected.numpy(), centred / scale * 1.7 + shift.numpy(), rtol=1e-13, atol=1e-14)


def test_layer_norm_differs_from_the_gradient_of_the_norm_by_sqrt_n():
    x = draw(21, 1, 4, 3).requires_grad_(True)
    (gradient,) = torch.autograd.grad((x - x.mean()).norm(), x)
    torch.testing.assert_close(LayerNorm(eps=0.0).activation(x), math.sqrt(12) * gradient, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("axes", ["joint", "token"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.floats(0.1, 10.0))
def test_layer_norm_without_eps_is_flat_along_the_state_and_the_constants(axes, seed, factor):
    f, x = LayerNorm(axes, gain=1.3, eps=0.0), draw(seed, 3, 5, 7)
    size = float(f.hessian_product(x, draw(seed + 1, 3, 5, 7)).norm())
    assert float(f.hessian_product(x, x).norm()) < 1e-13 * size
    assert float(f.hessian_product(x, torch.ones_like(x)).norm()) < 1e-13 * size
    assert f.legendre(x).abs().max() == 0
    torch.testing.assert_close(f.activation(factor * x), f.activation(x), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(f.value(factor * x), factor * f.value(x), rtol=1e-13, atol=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), eps=st.floats(1e-6, 1.0), gain=st.floats(0.1, 3.0))
def test_layer_norms_own_energy_with_eps(seed, eps, gain):
    x = draw(seed, 2, 4, 3)
    variance = x.flatten(1).var(1, correction=0)
    expected = -gain * 12 * eps / torch.sqrt(variance + eps)
    torch.testing.assert_close(LayerNorm(gain=gain, eps=eps).legendre(x), expected, rtol=1e-13, atol=0)


def test_an_elementwise_gain_is_refused_because_it_breaks_the_gradient_structure():
    gain = 1 + 0.3 * draw(23, 4, 3)
    with pytest.raises(ValueError, match=r"gain must be a scalar.*\(4, 3\).*Jacobian.*asymmetric"):
        LayerNorm(gain=gain)
    with pytest.raises(AssertionError, match="not symmetric"):
        assert_symmetric_jacobian(lambda x: gain * LayerNorm().activation(x), draw(24, 1, 4, 3), tolerance=0.05)
    assert_symmetric_jacobian(LayerNorm(gain=0.6, shift=gain).activation, draw(24, 1, 4, 3))


def test_parameters_of_layer_norm_are_trained_and_other_tensors_are_not():
    gain, shift = torch.nn.Parameter(torch.tensor(1.5)), torch.nn.Parameter(torch.zeros(3))
    f = LayerNorm(gain=gain, shift=shift)
    assert {name for name, _ in f.named_parameters()} == {"gain", "shift"} and f.gain is gain
    assert not list(LayerNorm(gain=1.5, shift=torch.zeros(3)).parameters())


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: LayerNorm("channels"), ValueError, "axes must be one of joint, token; got 'channels'"),
        (lambda: LayerNorm(eps=-1e-6), ValueError, "eps must be finite and not negative, got -1e-06"),
        (lambda: LayerNorm(gain=math.nan), ValueError, "gain must be finite"),
        (lambda: LayerNorm(eps="a"), TypeError, "eps must be a real number, got 'a'"),
        (lambda: LayerNorm(eps=None), TypeError, "eps must be a real number, got None"),
        (lambda: LayerNorm(gain=True), TypeError, "gain must be a real number, got True"),
        (lambda: LayerNorm(gain="1"), TypeError, "gain must be a real number, got '1'"),
        (lambda: LayerNorm(gain=torch.tensor(math.inf)), ValueError, "gain must be finite"),
        (lambda: LayerNorm(["joint"]), ValueError, r"axes must be one of joint, token; got \['joint'\]"),
        (lambda: LayerNorm(shift=torch.tensor([0.0, math.nan])), ValueError, "shift has entries that are not finite"),
        (lambda: LayerNorm(shift=torch.tensor([0, 1])), TypeError, "shift must be a floating-point torch.Tensor or None, got dtype"),
        (lambda: LayerNorm(shift=[0.0]), TypeError, "shift must be a torch.Tensor or None, got list"),
        (lambda: LayerNorm(shift=torch.zeros(2)).check_shape((4, 3)), ValueError, r"shift of shape \(2,\) does not broadcast"),
        (lambda: LayerNorm(eps=0).activation(torch.ones(2, 3)), ValueError, "constant over the normalised axes"),
        (lambda: Softmax(inverse_temperature=0), ValueError, "inverse_temperature must be positive and finite, got 0"),
        (lambda: Softmax("a"), TypeError, "inverse_temperature must be a real number, got 'a'"),
        (lambda: Softmax(True), TypeError, "inverse_temperature must be a real number, got True"),
        (lambda: Softmax(math.nan), ValueError, "inverse_temperature must be positive and finite, got nan"),
        (lambda: Softmax(axis="a"), ValueError, "axis must be a negative integer, counted from the last axis, got 'a'"),
        (lambda: Softmax(axis=1), ValueError, "axis must be a negative integer, counted from the last axis, got 1"),
        (lambda: Softmax(axis=-3).check_shape((4, 3)), ValueError, "axis -3 of Softmax is outside a layer of shape"),
        (lambda: ReLU().value(torch.ones(3)), ValueError, r"x must be \(batch, \*shape\) .* got shape \(3,\)"),
        (lambda: lagrangian("gleu"), UnknownLagrangian, "'gleu'; the names are quadratic, relu, gelu, tanh, softmax, layer_norm"),
        (lambda: lagrangian(["gelu"]), TypeError, r"name must be the name of a Lagrangian or an instance of one, got \['gelu'\]"),
        (lambda: lagrangian(None), TypeError, "name must be the name of a Lagrangian or an instance of one, got None"),
        (lambda: lagrangian(ReLU(), eps=1), TypeError, r"options \['eps'\] have no effect on an instance of ReLU"),
    ],
)
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


@every_lagrangian
def test_states_and_directions_are_checked(make):
    f, x = make(), draw(1, 2, *SHAPE)
    for function in (f.activation, f.value, f.legendre, lambda x: f.hessian_product(x, draw(2, 2, *SHAPE))):
        for wrong, found in ((None, "NoneType"), (x.numpy(), "ndarray"), (x.long(), "dtype torch.int64")):
            with pytest.raises(TypeError, match=f"x must be a floating-point torch.Tensor, got {found}"):
                function(wrong)
    for v in (x[0], x[:1], draw(2, 2, 3, 4)):
        with pytest.raises(ValueError, match=r"v must have the shape of x, \(2, 4, 3\), got \("):
            f.hessian_product(x, v)
    with pytest.raises(TypeError, match="v must be a floating-point torch.Tensor, got NoneType"):
        f.hessian_product(x, None)


def test_registry_makes_new_instances_and_passes_instances_through():
    assert isinstance(lagrangian("quadratic"), Quadratic)
    assert lagrangian("gelu") is not lagrangian("gelu")
    mine = ReLU()
    assert lagrangian(mine) is mine
