"""Every Lagrangian of the registry, and variants with other options: a new entry gets all of these tests for free."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from hopmix.memory.lagrangian import LAGRANGIANS, Elementwise, Exponential, LayerNorm, NoConjugate, Power, Softmax, Softplus, Spherical, Tanh, lagrangian
from hopmix.testing import assert_gradient, assert_hessian, assert_symmetric_jacobian

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
SHAPE = (4, 3)


def draw(seed, *shape, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


VARIANTS = {name: (lambda name=name: lagrangian(name)) for name in LAGRANGIANS} | {
    "tanh, cold": lambda: Tanh(inverse_temperature=2.5),
    "softmax, cold, over tokens": lambda: Softmax(inverse_temperature=3.0, axis=-2),
    "softplus, cold": lambda: Softplus(inverse_temperature=4.0),
    "exponential, warm": lambda: Exponential(inverse_temperature=0.3),
    "power, 3/2": lambda: Power(1.5),
    "power, 2": lambda: Power(2),
    "power, 4": lambda: Power(4),
    "power, 3, rectified": lambda: Power(3, rectified=True),
    "power, 2, rectified": lambda: Power(2, rectified=True),
    "power, 5/3, rectified": lambda: Power(5 / 3, rectified=True),
    "spherical, token": lambda: Spherical("token", gain=1.7, eps=1e-2),
    "spherical, eps=0": lambda: Spherical(eps=0.0),
    "spherical, token, eps=0": lambda: Spherical("token", gain=0.6, eps=0.0),
    "layer_norm, token": lambda: LayerNorm("token"),
    "layer_norm, gain and shift": lambda: LayerNorm("joint", gain=0.7, shift=draw(3, *SHAPE)[0]),
    "layer_norm, token, gain and row shift": lambda: LayerNorm("token", gain=1.9, shift=draw(4, 3)[0], eps=1e-2),
    "layer_norm, eps=0": lambda: LayerNorm("joint", eps=0.0),
    "layer_norm, token, eps=0": lambda: LayerNorm("token", eps=0.0),
}
CONVEX = {name: make for name, make in VARIANTS.items() if make().convex}
every_lagrangian = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)
every_convex = pytest.mark.parametrize("make", CONVEX.values(), ids=CONVEX)


def size(x):
    """The length of each sample: (batch, *shape) gives (batch,)."""
    return x.flatten(1).norm(dim=1)


def dot(a, b):
    return (a * b).flatten(1).sum(1)


def hessian(f, x):
    """The matrix H at one state (1, *shape), row by row from the closed-form product."""
    basis = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    return f.hessian_product(x.expand_as(basis), basis).flatten(1)


@every_lagrangian
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 4), scale=st.floats(0.1, 10.0))
def test_activation_is_the_gradient_and_hessian_product_its_derivative(make, seed, batch, scale):
    f, x, v = make(), draw(seed, batch, *SHAPE, scale=scale), draw(seed + 1, batch, *SHAPE)
    assert_gradient(f, x, tolerance=1e-12)
    assert_hessian(f, x, v, tolerance=1e-12)


@every_lagrangian
@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 4, 3)], ids=str)
def test_any_number_of_axes(make, shape):
    f, x, v = make(), draw(31, 5, *shape), draw(32, 5, *shape)
    if getattr(f, "axis", -1) == -2 or getattr(f, "shift", None) is not None:
        f = type(f)()  # these options fix the layer's shape
    assert_gradient(f, x, tolerance=1e-12)
    assert_hessian(f, x, v, tolerance=1e-12)
    assert f.value(x).shape == f.legendre(x).shape == f.divergence(v, x).shape == (5,)
    assert f.null_projection(x, v).shape == x.shape


@every_lagrangian
def test_hessian_is_symmetric(make):
    assert_symmetric_jacobian(make().activation, draw(5, 1, *SHAPE))
    matrix = hessian(make(), draw(5, 1, *SHAPE))
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-13, atol=1e-14)


@every_convex
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10.0))
def test_convex_ones_have_a_positive_semidefinite_hessian(make, seed, scale):
    f = make()
    x, v = draw(seed, 50, *SHAPE, scale=scale), draw(seed + 1, 50, *SHAPE)
    product = f.hessian_product(x, v)
    stiffness = torch.clamp(size(product) / size(v), min=1)  # the size of H, for its rounding
    assert bool((dot(v, product) >= -1e-14 * stiffness * size(v) ** 2).all())


@every_convex
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10.0), step=st.floats(1e-3, 3.0))
def test_fenchel_and_young(make, seed, scale, step):
    """L(y) + L*(g(x)) - y . g(x) is not negative, zero where the activations are equal, positive where they differ."""
    f, x = make(), draw(seed, 20, *SHAPE, scale=scale)
    y = x + step * draw(seed + 1, 20, *SHAPE)
    gap, moved = f.divergence(y, x), size(f.activation(y) - f.activation(x))
    rounding = 1e-14 * (f.value(y).abs() + f.value(x).abs() + size(f.activation(x)) * (size(x) + size(y)) + 1)
    assert bool((gap >= -rounding).all())
    assert bool((gap[moved > 1e-2 * size(f.activation(x))] > 0).all())
    still = x + f.null_projection(x, 1e-3 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) * x)
    torch.testing.assert_close(f.activation(still), f.activation(x), rtol=1e-9, atol=1e-12)
    assert bool((f.divergence(still, x).abs() <= rounding).all())


@pytest.mark.parametrize("make", [make for make in VARIANTS.values() if not make().convex], ids=[name for name, make in VARIANTS.items() if not make().convex])
def test_what_is_not_convex_violates_fenchel_and_young(make):
    f = make()

    def gap(point):
        y, x = torch.tensor(point, dtype=torch.float64).reshape(2, 1, 1)
        return float(f.divergence(y, x))

    assert min(minimize(gap, start, method="Nelder-Mead").fun for start in ([0.0, -1.5], [0.0, 1.5], [-3.0, 3.0])) < -0.01
    with pytest.raises(NoConjugate, match="no conjugate in closed form"):
        f.conjugate(draw(1, 1, 3))


def test_gelu_alone_is_not_convex():
    assert [name for name in LAGRANGIANS if not lagrangian(name).convex] == ["gelu"]
    assert not LayerNorm(gain=-1.0).convex


@every_convex
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 3.0))
def test_own_energy_is_the_conjugate_at_the_activation(make, seed, scale):
    f, x = make(), draw(seed, 6, *SHAPE, scale=scale)
    # |g|^2 is close to its largest value, so the root in the conjugate loses half of the digits at small eps.
    accuracy = 1e-6 if isinstance(f, LayerNorm | Spherical) else 1e-11
    torch.testing.assert_close(f.conjugate(f.activation(x)), f.legendre(x), rtol=accuracy, atol=accuracy)


@every_convex
@pytest.mark.parametrize("seed", range(3))
def test_conjugate_is_the_supremum_by_brute_force(make, seed):
    """sup over x of x . y - L(x) at activations y = g(z), by scipy from a start that knows nothing of z."""
    f, y = make(), make().activation(draw(100 + seed, 1, *SHAPE, scale=0.7))

    def objective(flat):
        x = torch.tensor(flat, dtype=torch.float64).reshape(y.shape)
        return float(f.value(x) - (x * y).sum()), (f.activation(x) - y).numpy().ravel()

    start = draw(200 + seed, 12).numpy()
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 1e-15, "maxiter": 5000, "maxfun": 20000})
    assert -found.fun == pytest.approx(float(f.conjugate(y)), abs=1e-6)
    assert -found.fun <= float(f.conjugate(y)) + 1e-10


@every_convex
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_gradient_of_the_conjugate_returns_the_state_up_to_null_directions(make, seed):
    f, x = make(), draw(seed, 3, *SHAPE)
    y = f.activation(x).clone().requires_grad_(True)
    (back,) = torch.autograd.grad(f.conjugate(y).sum(), y)
    lost = x - back
    accuracy = 1e-5 if isinstance(f, LayerNorm | Spherical) else 1e-10  # a root near zero, as above
    if isinstance(f, Elementwise):
        # Where a unit saturates, rounding of its activation is multiplied by the inverse curvature.
        curvature = f.curvature(x)
        accuracy = 64 * torch.finfo(x.dtype).eps / float(curvature[curvature > 0].clamp(max=1).min())
    torch.testing.assert_close(f.null_projection(x, lost), lost, rtol=0, atol=accuracy * float(size(x).max()))


STRICT = {name: make for name, make in CONVEX.items() if make().null_directions == "none"}


@pytest.mark.parametrize("make", STRICT.values(), ids=STRICT)
def test_hessian_of_the_conjugate_is_the_inverse(make):
    f, x = make(), draw(41, 1, *SHAPE)
    y = f.activation(x)
    dual = torch.autograd.functional.hessian(lambda z: f.conjugate(z).sum(), y).reshape(12, 12)
    product = dual @ hessian(f, x)
    torch.testing.assert_close(product, torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-5 if isinstance(f, Spherical) else 1e-10)


def test_some_are_strictly_convex():
    assert {"quadratic", "tanh", "softplus", "spherical", "exponential"} <= set(STRICT)


@every_lagrangian
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_null_projection_is_the_projection_onto_the_whole_kernel(make, seed):
    f, x = make(), draw(seed, 1, *SHAPE)
    if "zero" in f.null_directions:
        x[0, 0, :2] = 0
    matrix = hessian(f, x)
    basis = torch.eye(12, dtype=torch.float64).reshape(-1, *SHAPE)
    projection = f.null_projection(x.expand_as(basis), basis).flatten(1)
    torch.testing.assert_close(projection, projection.T, rtol=0, atol=1e-13)
    torch.testing.assert_close(projection @ projection, projection, rtol=0, atol=1e-13)
    scale = float(matrix.norm()) or 1.0
    assert float((matrix @ projection).norm()) <= 1e-12 * scale
    # On the complement H is invertible: together they have full rank.
    smallest = float(torch.linalg.eigvalsh(matrix / scale + projection).abs().min())
    dimension = round(float(projection.trace()))
    assert smallest > 1e-9 if f.null_directions != "none" else dimension == 0 and smallest > 0
    if isinstance(f, LayerNorm | Softmax):
        assert dimension == {"joint": 1, "token": 4, -1: 4, -2: 3}[getattr(f, "axes", None) or f.axis] * (2 if getattr(f, "eps", 1) == 0 else 1)


@every_lagrangian
def test_samples_of_a_batch_do_not_mix(make):
    f, x, v = make(), draw(7, 5, *SHAPE), draw(8, 5, *SHAPE)
    functions = (f.value, f.activation, f.legendre, lambda x: f.hessian_product(x, v[: len(x)]), lambda x: f.divergence(v[: len(x)], x))
    for function in (*functions, lambda x: f.null_projection(x, v[: len(x)])):
        whole = function(x)
        assert len(whole) == 5
        torch.testing.assert_close(function(x[:1]), whole[:1], rtol=1e-14, atol=1e-14)
    assert f.value(x).shape == (5,)
    assert f.activation(x).shape == f.hessian_product(x, v).shape == x.shape


@every_lagrangian
def test_own_energy_is_the_legendre_transform(make):
    f, x = make(), draw(9, 6, *SHAPE)
    expected = dot(x, f.activation(x)) - f.value(x)
    torch.testing.assert_close(f.legendre(x), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(f.legendre(x, f.activation(x)), expected, rtol=1e-12, atol=1e-13)


@every_lagrangian
@pytest.mark.parametrize("device", DEVICES)
def test_float32_and_devices(make, device):
    f, x, v = make(), draw(11, 3, *SHAPE), draw(12, 3, *SHAPE)
    functions = ("value", "activation", "legendre", "hessian_product", "null_projection", "divergence")
    exact = [getattr(f, name)(*((x, v) if name in functions[3:] else (x,))) for name in functions]
    f = f.to(device=device, dtype=torch.float32)
    x, v = x.to(device, torch.float32), v.to(device, torch.float32)
    for name, expected in zip(functions, exact, strict=True):
        found = getattr(f, name)(*((x, v) if name in functions[3:] else (x,)))
        assert found.dtype == torch.float32 and found.device.type == device
        torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-5)
    if f.convex:
        assert f.conjugate(f.activation(x)).isfinite().all(), "rounding must not leave the domain"


@every_lagrangian
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_large_states_are_finite_or_refused(make, dtype):
    f = make().to(dtype)
    x = draw(13, 2, *SHAPE, scale=1e4, dtype=dtype)
    if isinstance(f, Exponential):
        with pytest.raises(ValueError, match=r"x has entries up to .* overflows torch.float"):
            f.value(x)
        x = -x.abs()
    for function in (f.value, f.activation, f.legendre, lambda x: f.hessian_product(x, torch.ones_like(x))):
        assert function(x).isfinite().all()
    if isinstance(f, Elementwise):
        assert f.curvature(x).isfinite().all()


@every_lagrangian
def test_value_is_twice_differentiable(make):
    x = draw(13, 2, *SHAPE).requires_grad_(True)
    assert torch.autograd.gradgradcheck(make().value, x)


@every_lagrangian
def test_states_and_directions_are_checked(make):
    f, x = make(), draw(1, 2, *SHAPE)
    two = (f.hessian_product, f.null_projection)
    for function in (f.activation, f.value, f.legendre, *(lambda x, g=g: g(x, draw(2, 2, *SHAPE)) for g in two)):
        for wrong, found in ((None, "NoneType"), (x.numpy(), "ndarray"), (x.long(), "dtype torch.int64")):
            with pytest.raises(TypeError, match=f"x must be a floating-point torch.Tensor, got {found}"):
                function(wrong)
    for v in (x[0], x[:1], draw(2, 2, 3, 4)):
        for function in two:
            with pytest.raises(ValueError, match=r"v must have the shape of x, \(2, 4, 3\), got \("):
                function(x, v)
        with pytest.raises(ValueError, match=r"y must have the shape of x, \(2, 4, 3\), got \("):
            f.divergence(v, x)
    with pytest.raises(TypeError, match="v must be a floating-point torch.Tensor, got NoneType"):
        f.hessian_product(x, None)
    with pytest.raises(TypeError, match="y must be a floating-point torch.Tensor, got NoneType"):
        f.conjugate(None)


def test_the_layers_of_a_memory_take_every_entry():
    from hopmix.memory.hierarchical import Layer

    for name in LAGRANGIANS:
        assert Layer(name, (4, 3), lagrangian(name)).lagrangian.value(draw(1, 2, 4, 3)).shape == (2,)


def test_registry_makes_new_instances_and_passes_instances_through():
    assert lagrangian("gelu") is not lagrangian("gelu")
    mine = lagrangian("power", exponent=4)
    assert lagrangian(mine) is mine and mine.exponent == 4
    assert np.all([isinstance(lagrangian(name), kind) for name, kind in LAGRANGIANS.items()])
