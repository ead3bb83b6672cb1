"""What the chapter claims, measured (page: book/memory/lagrangian.md)."""

from __future__ import annotations

import math
from functools import cache, partial

import mpmath
import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.spatial import ConvexHull
from scipy.special import ndtr, rel_entr
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.lagrangian import GELU, LAGRANGIANS, Lagrangian, LayerNorm, Power, Quadratic, Softmax, Softplus, Spherical, Tanh, lagrangian

SEEDS = tuple(range(16))
_SHAPE = (4, 3)
_ROUNDING = 64 * torch.finfo(torch.float64).eps


def entries() -> dict[str, Lagrangian]:
    """The registry with its default options, and others that behave differently."""
    others = {
        "softmax, over tokens": Softmax(inverse_temperature=3.0, axis=-2),
        "layer_norm, token": LayerNorm("token", gain=1.4, eps=1e-2),
        "layer_norm, eps=0": LayerNorm(eps=0.0),
        "spherical, token": Spherical("token", eps=1e-2),
        "spherical, eps=0": Spherical(eps=0.0),
        "power, 3/2": Power(1.5),
        "power, 4, rectified": Power(4, rectified=True),
        "tanh, cold": Tanh(3.0),
        "softplus, cold": Softplus(3.0),
    }
    return {name: lagrangian(name) for name in LAGRANGIANS} | others


def convex_entries() -> dict[str, Lagrangian]:
    return {name: f for name, f in entries().items() if f.convex}


@cache
def _states(seed: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, *_SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _hessian(f: Lagrangian, x: Tensor) -> Tensor:
    """The matrix of the Hessian at one state (1, *shape), by autograd from the value alone."""
    size = x.numel()
    return torch.autograd.functional.hessian(lambda z: f.value(z).sum(), x).reshape(size, size)


def _product(f: Lagrangian, x: Tensor) -> Tensor:
    """The same matrix by the closed form."""
    basis = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    return f.hessian_product(x.expand_as(basis), basis).flatten(1)


@claim(
    statement="Every entry of the registry has its activation as gradient and its Hessian product as second derivative.",
    source="krotov2021large; this book",
    kind="identity",
)
def gradient_and_hessian() -> Evidence:
    worst = 0.0
    for f in entries().values():
        for seed in SEEDS[:4]:
            x = _states(seed).clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(f.value(x).sum(), x)
            worst = max(worst, float((gradient - f.activation(x.detach())).abs().max() / gradient.abs().max()))
            exact = _hessian(f, x.detach())
            worst = max(worst, float((exact - _product(f, x.detach())).abs().max() / exact.abs().max()))
    return Evidence.at_most("largest relative difference to autograd's derivatives of L, all entries", worst, 1e-12, seeds=SEEDS[:4], detail=f"{len(entries())} Lagrangians")


@claim(
    statement="The Hessian is positive semidefinite for every entry that says it is convex.",
    source="this book",
    kind="theorem",
)
def convex_hessians() -> Evidence:
    lowest = 0.0
    for f in convex_entries().values():
        for scale in (0.3, 3.0):
            # Relative to the largest at all states: a saturated softmax is the small difference of terms of that size.
            values = torch.linalg.eigvalsh(torch.stack([_product(f, scale * _states(seed)) for seed in SEEDS]))
            lowest = min(lowest, float(values.min() / values.max()))
    return Evidence.at_least("lowest eigenvalue, relative to the largest at states of this size; zero up to 64 rounding units", lowest, -_ROUNDING, seeds=SEEDS, detail=f"{len(convex_entries())} Lagrangians")


@claim(
    statement=r"Fenchel–Young: $D=L(y)+L^*(g(x))-y\cdot g(x)\ge0$ for every entry that says it is convex.",
    source="this book",
    kind="theorem",
)
def fenchel_young() -> Evidence:
    lowest = 0.0
    for f in convex_entries().values():
        for seed in SEEDS:
            x = _states(seed, 200) * 3
            for y in (_states(seed + 100, 200) * 3, x + 0.01 * _states(seed + 100, 200)):
                size = f.value(y).abs() + f.value(x).abs() + (f.activation(x) * (y - x)).flatten(1).abs().sum(1)
                lowest = min(lowest, float((f.divergence(y, x) / size).min()))
    return Evidence.at_least("smallest gap of 6400 pairs, relative to its terms, all entries; zero up to 64 rounding units", lowest, -_ROUNDING, seeds=SEEDS)


@claim(
    statement=r"The layer's own energy is the conjugate at the activation: $x\cdot g-L=\sup_z\{z\cdot g-L(z)\}$ for convex $L$.",
    source="krotov2021large; this book",
    kind="theorem",
)
def energy_is_the_conjugate() -> Evidence:
    worst = 0.0
    for f in convex_entries().values():
        for seed in SEEDS[:4]:
            x = _states(seed) * 0.7
            g = f.activation(x)
            found = -minimize(partial(_minus_gain, f, g), _states(seed + 200).numpy().ravel(), jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 1e-15, "maxiter": 5000, "maxfun": 20000}).fun
            worst = max(worst, abs(found - float(f.legendre(x))), abs(float(f.conjugate(g) - f.legendre(x))))
    return Evidence.at_most("largest difference between x.g - L, the supremum by optimisation, and the closed form", worst, 1e-6, seeds=SEEDS[:4], detail=f"{len(convex_entries())} Lagrangians")


def _minus_gain(f: Lagrangian, g: Tensor, flat: np.ndarray) -> tuple[float, np.ndarray]:
    z = torch.tensor(flat, dtype=torch.float64).reshape(g.shape)
    return float(f.value(z) - (z * g).sum()), (f.activation(z) - g).numpy().ravel()


@claim(
    statement=r"Where the Hessian is invertible, the Hessian of $L^*$ at the activation is its inverse.",
    source="this book",
    kind="identity",
)
def inverse_hessian() -> Evidence:
    worst = 0.0
    strict = {"quadratic": Quadratic(), "tanh": Tanh(), "softplus": Softplus(2.0), "exponential": lagrangian("exponential"), "power, 3/2": Power(1.5), "spherical": Spherical(eps=1.0)}
    for f in strict.values():
        for seed in SEEDS[:4]:
            x = _states(seed)
            g = f.activation(x).clone()
            dual = torch.autograd.functional.hessian(lambda z, f=f: f.conjugate(z).sum(), g).reshape(12, 12)
            worst = max(worst, float((dual @ _product(f, x) - torch.eye(12, dtype=torch.float64)).abs().max()))
    return Evidence.at_most("largest entry of H* H - 1", worst, 1e-11, seeds=SEEDS[:4], detail=", ".join(strict))


@claim(
    statement="The null directions that an entry states are all there are: the kernel of its Hessian, found by autograd, has the same projection.",
    source="this book",
    kind="identity",
)
def null_directions() -> Evidence:
    worst = 0.0
    for f in convex_entries().values():
        for seed in SEEDS[:4]:
            x = _states(seed)
            basis = torch.eye(12, dtype=torch.float64).reshape(-1, *_SHAPE)
            stated = f.null_projection(x.expand_as(basis), basis).flatten(1)
            values, vectors = torch.linalg.eigh(_hessian(f, x))
            # The next eigenvalue is 1e-6, eps, of the largest: far above rounding, and rounding / 1e-6 is the accuracy of the vectors.
            flat = vectors[:, values.abs() < 1e-10 * values.abs().max()]
            worst = max(worst, float((flat @ flat.T - stated).abs().max()))
    return Evidence.at_most("largest difference between stated and found projection", worst, 1e-9, seeds=SEEDS[:4])


@claim(
    statement=r"For a layer of linear units $v$ and a softmax layer $h$, joined by $W$, $E(v,h)-E(v,Wv)=\mathrm{KL}(\mathrm{softmax}(h)\,\|\,\mathrm{softmax}(Wv))$, so $h=Wv$ is where the energy is lowest in $h$.",
    source="ota2023attention; this book",
    kind="identity",
)
def kullback_leibler() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        weight, v, h = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((7, 5), (20, 5), (20, 7)))
        layers = [Layer("visible", (5,), Quadratic(), 1.0), Layer("hidden", (7,), Softmax(), 1.0)]
        memory = HierarchicalMemory(layers, [Synapse("visible", "hidden", Dense(weight))])
        rest = v @ weight.T
        excess = memory.energy({"visible": v, "hidden": h}) - memory.energy({"visible": v, "hidden": rest})
        expected = rel_entr(torch.softmax(h, 1).numpy(), torch.softmax(rest, 1).numpy()).sum(1)
        worst = max(worst, float(np.abs(excess.numpy() - expected).max()))
    return Evidence.at_most("largest difference between excess energy and divergence", worst, 1e-12, seeds=SEEDS)


@claim(
    statement=r"LayerNorm with an elementwise gain is no gradient: its Jacobian lacks $(\gamma_i-\gamma_j)(1+z_iz_j)/(N\rho)$ in symmetry.",
    source="this book",
    kind="identity",
)
def elementwise_gain() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for size in (3, 48):
            _, found, expected, _ = _gained(seed, size)
            worst = max(worst, float((found - expected).abs().max() / expected.abs().max()))
    return Evidence.at_most("largest relative difference to autograd's Jacobian, 3 and 48 entries", worst, 1e-11, seeds=SEEDS)


@claim(
    statement=r"Relative to the Jacobian the asymmetry is $|J-J^\top|/|J|\approx2s/\sqrt{N(1+s^2)}$ for gains $1+s\,\mathcal N(0,1)$ and large $N$.",
    source="this book",
    kind="simulation",
)
def elementwise_gain_shrinks() -> Evidence:
    size, ratios = 256, []
    for seed in SEEDS:
        jacobian, found, _, spread = _gained(seed, size)
        ratios.append(float(found.norm() / jacobian.norm()) / (2 * spread / math.sqrt(size * (1 + spread**2))))
    error = float(np.std(ratios, ddof=1) / math.sqrt(len(ratios)))
    mean = float(np.mean(ratios))
    what = "distance of measured over estimated from 1, 256 entries, in standard errors"
    return Evidence.at_most(what, abs(mean - 1) / error, 4.0, seeds=SEEDS, detail=f"measured over estimated {mean:.3f} ± {error:.3f}")


def _gained(seed: int, size: int, spread: float = 0.3) -> tuple[Tensor, Tensor, Tensor, float]:
    """The Jacobian J by autograd, J - J^T, what the derivation gives for it, and the spread of the gains."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(2))
    gain, eps = 1 + spread * noise, 1e-3
    jacobian = torch.autograd.functional.jacobian(lambda z: gain * torch.nn.functional.layer_norm(z, (size,), eps=eps), x)
    rho = (x.var(correction=0) + eps).sqrt()
    z = (x - x.mean()) / rho
    expected = -(gain[:, None] - gain) / (size * rho) * (1 + z[:, None] * z)
    return jacobian, jacobian - jacobian.T, expected, spread


def _gelu(u: float) -> float:
    return u * float(ndtr(u))


def _gelu_lagrangian(u: np.ndarray) -> np.ndarray:
    return GELU().potential(torch.as_tensor(u, dtype=torch.float64)).numpy()


@claim(
    statement=r"GELU's Lagrangian violates Fenchel–Young at every state $u<0$, and without bound: the tangent there rises above it.",
    source="this book",
    kind="theorem",
)
def gelu_violates() -> Evidence:
    """At each state the other end of the gap is found by optimisation on [-40, 40], with Phi by quadrature at what was found."""
    gaps = []
    for state in np.linspace(-3, -0.02, 30):
        x = torch.tensor([[state]], dtype=torch.float64)
        found = minimize_scalar(lambda y, x=x: float(GELU().divergence(torch.tensor([[y]], dtype=torch.float64), x)), bounds=(-40, 40), method="bounded", options={"xatol": 1e-9})
        gaps.append(quad(_gelu, state, found.x, epsabs=1e-13, limit=200)[0] - _gelu(state) * (found.x - state))
    return Evidence.at_most("largest of the smallest gaps at 30 states on [-3, -0.02]; a violation is below 0 by more than the error of quadrature", max(gaps), -1e-9, detail=f"smallest: {min(gaps):.3g}, growing with the interval searched")


@claim(
    statement=r"At states $u\ge0$ GELU's Lagrangian obeys Fenchel–Young.",
    source="this book",
    kind="theorem",
)
def gelu_obeys() -> Evidence:
    states, others = torch.meshgrid(torch.linspace(0, 8, 161, dtype=torch.float64), torch.linspace(-40, 40, 4001, dtype=torch.float64), indexing="ij")
    gap = GELU().divergence(others.reshape(-1, 1), states.reshape(-1, 1))
    return Evidence.at_least("smallest gap on a grid, states on [0, 8] and others on [-40, 40]", float(gap.min()), -1e-12)


@claim(
    statement=r"The largest convex function below GELU's Lagrangian is $\Phi_G(\max(u,0))$: zero on the left.",
    source="this book",
    kind="theorem",
)
def gelu_envelope() -> Evidence:
    """The lower convex hull of the graph at many points, against the statement. The interval must be long: a chord from its left end is in the hull."""
    left, u = -4000.0, np.concatenate([[-4000.0], np.linspace(-8, 4, 4001)])
    hull = ConvexHull(np.stack([u, _gelu_lagrangian(u)], axis=1))
    lower = {int(k) for simplex, normal in zip(hull.simplices, hull.equations, strict=True) if normal[1] < 0 for k in simplex}
    corners = np.array(sorted(lower))
    inside = u[u >= -8]
    envelope = np.interp(inside, u[corners], _gelu_lagrangian(u[corners]))
    difference = np.abs(envelope - _gelu_lagrangian(np.maximum(inside, 0))).max()
    # The chord from (left, 1/4) to the origin lifts the hull by 8 / (4 |left|) at -8; chords between neighbours by a share of their distance squared.
    bound = 8 / (4 * abs(left)) + 1.13 * (12 / 4000) ** 2 / 8
    return Evidence.at_most("largest distance of the lower hull of the graph on [-4000, 4] to it, for u from -8 on; not zero because the interval ends", difference, bound)


@claim(
    statement="GELU's slope has one zero and GELU is lowest there, at the stated numbers.",
    source="this book",
    kind="theorem",
)
def gelu_constants() -> Evidence:
    """The zero by two methods and arithmetics: bisection with 40 digits here, the library's float64 curvature by Brent's method."""

    def slope(u: mpmath.mpf) -> mpmath.mpf:
        return mpmath.ncdf(u) + u * mpmath.npdf(u)

    with mpmath.workdps(40):
        low, high = mpmath.mpf(-1), mpmath.mpf("-0.5")
        while high - low > mpmath.mpf(10) ** -30:
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        # One zero: the slope falls up to -sqrt 2, from 0 at the left end, and rises from there to 1/2 at 0.
        grid = [mpmath.mpf(k) / 64 for k in range(-640, 1)]
        changes = sum(slope(a) * slope(b) < 0 for a, b in zip(grid, grid[1:], strict=False))
        lowest = low * mpmath.ncdf(low)
    f = GELU()
    zero = brentq(lambda u: float(f.curvature(torch.tensor(u, dtype=torch.float64))), -1, -0.5, xtol=1e-15)
    found = minimize_scalar(_gelu, bounds=(-2, 0), method="bounded", options={"xatol": 1e-10})
    worst = max(abs(zero - float(low)), abs(found.fun - float(lowest)), abs(changes - 1))
    return Evidence.at_most("largest difference between the two computations", worst, 1e-14, detail=f"zero of the slope {mpmath.nstr(low, 15)}, lowest value {mpmath.nstr(lowest, 15)}, sign changes on a grid: {changes}")
