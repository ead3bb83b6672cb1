"""Each Lagrangian on its own: quadrature, torch's own kernels, explicit formulas, edges and errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import rel_entr
from scipy.stats import norm as normal

from hopmix.memory.lagrangian import (
    GELU,
    Exponential,
    LayerNorm,
    NoConjugate,
    Power,
    Quadratic,
    ReLU,
    Softmax,
    Softplus,
    Spherical,
    Tanh,
    UnknownLagrangian,
    lagrangian,
)
from hopmix.testing import assert_symmetric_jacobian


def draw(seed, *shape, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("f", [GELU(), ReLU(), Tanh(), Quadratic()], ids=lambda f: type(f).__name__)
def test_elementwise_hessian_is_diagonal_with_the_curvature(f):
    x, v = draw(3, 2, 500, scale=3.0), draw(4, 2, 500)
    torch.testing.assert_close(f.hessian_product(x, v), f.curvature(x) * v, rtol=1e-13, atol=1e-15)
    step = 1e-4
    slope = (f.activation(x + step) - f.activation(x - step)) / (2 * step)
    smooth = x.abs() > step  # away from ReLU's kink
    torch.testing.assert_close(f.curvature(x)[smooth], slope[smooth], rtol=0, atol=1e-7)


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
        (lambda: Tanh("a"), TypeError, "inverse_temperature must be a real number, got 'a'"),
        (lambda: Tanh(0.0), ValueError, "inverse_temperature must be positive and finite, got 0.0"),
        (lambda: Softplus(-1), ValueError, "inverse_temperature must be positive and finite, got -1"),
        (lambda: Exponential(math.inf), ValueError, "inverse_temperature must be positive and finite, got inf"),
        (lambda: Exponential(2.0).value(torch.full((1, 2), 400.0, dtype=torch.float64)), ValueError, r"x has entries up to 400, where exp\(2 x\) overflows torch.float64; allowed: x up to 354.9"),
        (lambda: Power(1.0), ValueError, "exponent must be above 1, got 1.0"),
        (lambda: Power("3"), TypeError, "exponent must be a real number, got '3'"),
        (lambda: Power(3, rectified=1), TypeError, "rectified must be True or False, got 1"),
        (lambda: Power(1.5).hessian_product(torch.zeros(1, 2), torch.ones(1, 2)), ValueError, "x has entries at 0, where the power 1.5 has no second derivative"),
        (lambda: Spherical("rows"), ValueError, "axes must be one of joint, token; got 'rows'"),
        (lambda: Spherical(gain=0), ValueError, "gain must be positive and finite, got 0"),
        (lambda: Spherical(eps=-1.0), ValueError, "eps must be finite and not negative, got -1.0"),
        (lambda: Spherical(eps=0).activation(torch.zeros(2, 3)), ValueError, "x has length zero: with eps=0"),
        (lambda: LayerNorm(gain=-1.0).conjugate(torch.zeros(1, 3)), NoConjugate, "negative gain is not convex"),
        (lambda: lagrangian("gleu"), UnknownLagrangian, "'gleu'; the names are quadratic, relu, gelu, tanh, softmax, layer_norm"),
        (lambda: lagrangian(["gelu"]), TypeError, r"name must be the name of a Lagrangian or an instance of one, got \['gelu'\]"),
        (lambda: lagrangian(None), TypeError, "name must be the name of a Lagrangian or an instance of one, got None"),
        (lambda: lagrangian(ReLU(), eps=1), TypeError, r"options \['eps'\] have no effect on an instance of ReLU"),
    ],
)
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


OUTSIDE = [
    (ReLU(), [0.3, -0.1], [0.0, -1.0]),
    (Tanh(), [0.2, 1.1], [0.0, 1.0]),
    (Softplus(2.0), [0.2, 1.1], [0.0, 1.0]),
    (Softplus(), [0.2, -0.1], [0.0, -1.0]),
    (Exponential(), [0.2, -0.1], [0.0, -1.0]),
    (Power(3, rectified=True), [0.2, -0.1], [0.0, -1.0]),
    (Softmax(), [0.5, 0.6], [1.0, 1.0]),
    (Softmax(2.0), [1.1, -0.1], [0.0, -1.0]),
    (Spherical(), [0.8, 0.7], [0.8, 0.7]),
    (Spherical("token", gain=0.5, eps=0.0), [0.5, 0.1], [0.5, 0.1]),
    (LayerNorm(), [1.2, -1.2], [1.0, -1.0]),
    (LayerNorm(), [0.5, -0.4], [1.0, 1.0]),
    (LayerNorm(shift=torch.tensor([0.1, 0.2], dtype=torch.float64)), [0.5, -0.5], [-1.0, -1.0]),
]


@pytest.mark.parametrize("f, y, ray", OUTSIDE, ids=lambda value: repr(value)[:30])
def test_conjugate_is_infinite_where_the_supremum_is(f, y, ray):
    """Along the ray x . y - L(x) grows in proportion to the distance."""
    y, ray = torch.tensor([y], dtype=torch.float64), torch.tensor([ray], dtype=torch.float64)
    near, far = (float((s * ray * y).sum() - f.value(s * ray)) for s in (500.0, 5000.0))
    assert far > 5 * near > 0
    assert float(f.conjugate(y)) == math.inf


def test_conjugates_at_the_edges_of_their_domains():
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    for f, y, expected in (
        (Tanh(), one, 2 * math.log(2)),
        (Softplus(), one, 0.0),
        (Softplus(), zero, 0.0),
        (Exponential(), zero, 0.0),
        (ReLU(), zero, 0.0),
        (Softmax(), torch.tensor([[1.0, 0.0]], dtype=torch.float64), 0.0),
        (Spherical(eps=0.25), zero, -0.5),
    ):
        assert float(f.conjugate(y)) == pytest.approx(expected, abs=1e-15)


def test_powers_are_those_of_numpy_and_their_conjugates_powers_too():
    x = draw(51, 2, 500)
    for n in (1.5, 2.0, 3.0, 4.0, 7.0):
        f, dual = Power(n), Power(n / (n - 1))
        np.testing.assert_allclose(f.potential(x).numpy(), np.abs(x.numpy()) ** n / n, rtol=1e-13)
        np.testing.assert_allclose(f.activation(x).numpy(), np.sign(x.numpy()) * np.abs(x.numpy()) ** (n - 1), rtol=1e-13)
        torch.testing.assert_close(f.conjugate(x), dual.value(x), rtol=1e-13, atol=0)
        torch.testing.assert_close(dual.activation(f.activation(x)), x, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(Power(n, rectified=True).value(x), f.value(torch.relu(x)), rtol=1e-14, atol=0)
    for f, same in ((Power(2), Quadratic()), (Power(2, rectified=True), ReLU())):
        for name in ("potential", "activation", "curvature"):
            torch.testing.assert_close(getattr(f, name)(x), getattr(same, name)(x), rtol=1e-15, atol=0)
    # At the origin itself autograd must see the curvature of a square.
    at_zero = torch.autograd.functional.hessian(lambda z: Power(2).value(z).sum(), torch.zeros(1, 1, dtype=torch.float64))
    assert float(at_zero) == 1.0 and float(Power(2).curvature(torch.zeros(1, 1))) == 1.0


def test_softplus_is_exact_where_torchs_is_not():
    x = torch.tensor([-800.0, -30.0, 0.0, 19.0, 21.0, 30.0, 800.0], dtype=torch.float64)
    np.testing.assert_allclose(Softplus().potential(x).numpy(), np.logaddexp(0, x.numpy()), rtol=1e-15, atol=0)
    assert float(Softplus().potential(x[4]) - x[4]) == pytest.approx(math.exp(-21), rel=1e-5)
    assert float(torch.nn.functional.softplus(x[4]) - x[4]) == 0.0
    torch.testing.assert_close(Softplus(2.0).potential(x), Softplus().potential(2 * x) / 2, rtol=1e-15, atol=0)
    # A unit and its mirror image: log(1 + e^x) = x + log(1 + e^-x), and tanh is a sigmoid of twice the slope.
    torch.testing.assert_close(Softplus().potential(x) - Softplus().potential(-x), x, rtol=1e-15, atol=1e-13)
    torch.testing.assert_close(2 * Softplus(2.0).activation(x) - 1, Tanh().activation(x), rtol=1e-14, atol=1e-15)


def test_cold_units_approach_their_limits():
    x = draw(52, 3, 50)
    for beta in (10.0, 1000.0):
        assert float((Tanh(beta).potential(x) - x.abs()).abs().max()) <= (1 + 1e-12) * math.log(2) / beta
        assert float((Softplus(beta).potential(x) - torch.relu(x)).abs().max()) <= (1 + 1e-12) * math.log(2) / beta
        assert float((Softmax(beta).value(x) - x.amax(1)).abs().max()) <= math.log(50) / beta


@pytest.mark.parametrize("axes, normalised", [("joint", (4, 3)), ("token", (3,))])
def test_spherical_is_rms_norm(axes, normalised):
    x, count = draw(53, 6, 4, 3, scale=3.0), math.prod(normalised)
    f = Spherical(axes, gain=math.sqrt(count), eps=count * 1e-3)
    torch.testing.assert_close(f.activation(x), torch.nn.functional.rms_norm(x, normalised, eps=1e-3), rtol=1e-13, atol=1e-14)


def test_centred_spherical_is_layer_norm():
    x = draw(54, 6, 4, 3)
    centred = x - x.mean((1, 2), keepdim=True)
    f = Spherical(gain=math.sqrt(12), eps=12e-3)
    torch.testing.assert_close(f.value(centred), LayerNorm(eps=1e-3).value(x), rtol=1e-13, atol=0)
    torch.testing.assert_close(f.activation(centred), LayerNorm(eps=1e-3).activation(x), rtol=1e-13, atol=1e-14)


def test_the_divergence_of_log_sum_exp_is_kullback_and_leiblers():
    x, y = draw(55, 5, 4, 3), draw(56, 5, 4, 3)
    for beta in (0.5, 3.0):
        f = Softmax(beta)
        p, q = f.activation(x).numpy(), f.activation(y).numpy()
        np.testing.assert_allclose(f.divergence(y, x).numpy(), rel_entr(p, q).sum((1, 2)) / beta, rtol=1e-11)


def test_registry_makes_new_instances_and_passes_instances_through():
    assert isinstance(lagrangian("quadratic"), Quadratic)
    assert lagrangian("gelu") is not lagrangian("gelu")
    mine = ReLU()
    assert lagrangian(mine) is mine
