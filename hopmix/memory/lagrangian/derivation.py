"""The Legendre structure of a layer, and each Lagrangian with its gradient and Hessian (page: book/memory/lagrangian.md)."""

from __future__ import annotations

import mpmath
from sympy import (
    Abs,
    Derivative,
    Eq,
    Float,
    IndexedBase,
    KroneckerDelta,
    Limit,
    Rational,
    Sum,
    Symbol,
    cosh,
    erf,
    exp,
    lambdify,
    log,
    oo,
    pi,
    sqrt,
    symbols,
    tanh,
)

from hopmix.derivation import Derivation, Rate

S, C, N = symbols("S C N", integer=True, positive=True)
i, j, k, I, J = symbols("i j k I J", integer=True, positive=True)
a, b = symbols("a b", integer=True, positive=True)

x, y, g, v, p, q, z, gain = (IndexedBase(name) for name in ("x", "y", "g", "v", "p", "q", "z", "gamma"))
s, r, m = IndexedBase("s"), IndexedBase("r"), IndexedBase("m")
H, H_star, X = IndexedBase("H"), IndexedBase("H^*"), IndexedBase("X")

L, L_y, E, D, D_x = symbols("L L_y E D D_x", real=True)
g_y = IndexedBase("g^y")
L_s, L_r, L_t, L_m, E_s, E_r, D_s, L_sy = symbols("L_s L_r L_t L_m E_s E_r D_s L_s^y", real=True)
beta, epsilon, R, R_m, rho = symbols("beta epsilon R R_m rho", positive=True)
xbar = Symbol("xbar", real=True)
u = Symbol("u", real=True)
w, n, n_star = symbols("w n n^*", positive=True)

DENSE, EXPONENTIAL, LARGE, HAM = "krotov2016dense", "demircigil2017model", "krotov2021large", "krotov2021hierarchical"
HOPFIELD, MODERN, GELU, LN, HAMUX = "hopfield1984neurons", "ramsauer2021hopfield", "hendrycks2016gelu", "ba2016layer", "hoover2022hamux"

DERIVATION = Derivation(
    "memory/lagrangian",
    title="Lagrangians: one scalar per layer",
    sources=(LARGE, HAM),
    indices={**dict.fromkeys((i, j, k), N), **{a: S, b: S}, **dict.fromkeys((I, J), C)},
    dynamic=(x, g, E, L),
)
_D = DERIVATION


def total(body, *indices):
    return Sum(body, *[(index, 1, DERIVATION.indices[index]) for index in indices])


# 1. The Legendre structure of any layer.
_D.define("lagrangian-rate", Eq(Rate(L), total(g[i] * Rate(x[i]), i)), "The activation is the gradient of the Lagrangian: the chain rule.", source=LARGE)
_D.define("activation-rate", Eq(Rate(g[i]), total(H[i, j] * Rate(x[j]), j)), "The Hessian carries the state's velocity to the activation.", source=LARGE)
_D.define("energy", Eq(E, total(x[i] * g[i], i) - L), "The layer's own energy, the Legendre transform of its Lagrangian.", source=LARGE)
_D.exact("energy-rate", Eq(Rate(E), total(x[i] * Rate(g[i]), i)), "It moves only when the activation does: as a function of $g$, its gradient is the state.", using=("energy", "lagrangian-rate"))
_D.exact(
    "energy-rate-state",
    Eq(Rate(E), total(x[i] * H[i, j] * Rate(x[j]), i, j)),
    "The same by the velocity of the state.",
    using=("energy", "lagrangian-rate", "activation-rate"),
)
_D.define("state-rate", Eq(Rate(x[i]), total(H_star[i, j] * Rate(g[j]), j)), "Where the state is a function of the activation, $H^*$ is the Jacobian of that function, and so the Hessian of $E$ in $g$.")
_D.exact(
    "inverse-hessian",
    Eq(total(H[i, j] * Rate(x[j]), j), total(H[i, j] * H_star[j, k] * Rate(g[k]), j, k)),
    "By {eq}`lagrangian-activation-rate` the left side is $\\dot g_i$, whatever $\\dot g$ is: $H^*$ is the inverse of $H$.",
    using=("state-rate",),
)
_D.define("divergence", Eq(D, L_y - L - total(g[i] * (y[i] - x[i]), i)), "The gap between $L$ at another state $y$ and the tangent at $x$.")
_D.exact("fenchel-young", Eq(D, L_y + E - total(y[i] * g[i], i)), "The same gap, by the energy of the layer.", using=("divergence", "energy"))
_D.define("divergence-other", Eq(D_x, L - L_y - total(g_y[i] * (x[i] - y[i]), i)), "The gap with the two states exchanged; $g^y$ is the activation at $y$.")
_D.exact("divergence-sum", Eq(D + D_x, total((g_y[i] - g[i]) * (y[i] - x[i]), i)), "Together they see the activations alone.", using=("divergence", "divergence-other"))

# 2. Softmax.
_partition = total(exp(beta * x[j]), j)
_D.define("softmax-lagrangian", Eq(L_s, log(_partition) / beta), "The log-sum-exp, with inverse temperature $\\beta$.", source=LARGE)
_D.define("softmax", Eq(p[i], exp(beta * x[i]) / _partition), "Softmax over $N$ units.", source=MODERN)
_SOFTMAX = ("softmax-lagrangian", "softmax")
_D.exact("softmax-gradient", Eq(p[i], Derivative(L_s, x[i])), "Softmax is its gradient.", using=_SOFTMAX)
_D.exact("softmax-total", Eq(total(p[i], i), 1), "The activations are a distribution.", using=("softmax",))
_D.exact("softmax-hessian", Eq(Derivative(p[i], x[j]), beta * (KroneckerDelta(i, j) * p[i] - p[i] * p[j])), "$\\beta$ times the covariance matrix of one draw from $p$.", using=("softmax",))
_D.exact("softmax-constant", Eq(total(Derivative(p[i], x[j]), j), 0), "A constant added to all states changes no activation.", using=("softmax",))
_D.exact(
    "softmax-convex",
    Eq(total(v[i] * Derivative(p[i], x[j]) * v[j], i, j), beta / 2 * total(p[i] * p[j] * (v[i] - v[j]) ** 2, i, j)),
    "A sum of squares, zero only for constant $v$.",
    using=("softmax",),
)
_D.define("log-probability", Eq(s[i], beta * x[i] - beta * L_s), "The logarithm of the activation, in a form without logarithms of sums.")
_D.exact("log-probability-is", Eq(p[i], exp(s[i])), "Indeed.", using=("log-probability", *_SOFTMAX))
_D.define("softmax-energy", Eq(E_s, total(x[i] * p[i], i) - L_s), "The energy of a softmax layer.", source=HAM)
_D.exact(
    "entropy",
    Eq(E_s, total(p[i] * s[i], i) / beta + (total(p[i], i) - 1) * L_s),
    "By {eq}`lagrangian-softmax-total` the last term is zero: the energy is minus the entropy of $p$, over $\\beta$.",
    using=("softmax-energy", "log-probability"),
)
_D.define("softmax-lagrangian-other", Eq(L_sy, log(total(exp(beta * y[j]), j)) / beta), "The Lagrangian at another state $y$.")
_D.define("log-probability-other", Eq(r[i], beta * y[i] - beta * L_sy), "And the logarithm of the activation $q$ there.")
_D.exact(
    "log-probability-other-is",
    Eq(exp(r[i]), exp(beta * y[i]) / total(exp(beta * y[j]), j)),
    "Again a softmax, $q_i=e^{r_i}$.",
    using=("log-probability-other", "softmax-lagrangian-other"),
)
_D.define("softmax-divergence", Eq(D_s, L_sy - L_s - total(p[i] * (y[i] - x[i]), i)), "The gap {eq}`lagrangian-divergence` of the log-sum-exp.")
_D.exact(
    "kullback-leibler",
    Eq(D_s, total(p[i] * (s[i] - r[i]), i) / beta + (1 - total(p[i], i)) * (L_sy - L_s)),
    "The last term is zero again: $D_s$ is the divergence of Kullback and Leibler from $q$ to $p$, over $\\beta$.",
    using=("softmax-divergence", "log-probability", "log-probability-other"),
)

# 3. Length: the spherical Lagrangian, and LayerNorm.
_D.define("radius", Eq(R, sqrt(total(x[j] ** 2, j) + epsilon)), "The length of the state, kept from zero by $\\epsilon\\geq0$.")
_D.define("spherical-lagrangian", Eq(L_r, R), "The length itself.", source=LARGE)
_D.define("spherical", Eq(z[i], x[i] / R), "The direction of the state.", source=LARGE)
_D.exact("spherical-gradient", Eq(z[i], Derivative(L_r, x[i])), "It is the gradient of the length.", using=("spherical-lagrangian", "spherical", "radius"))
_D.exact("spherical-hessian", Eq(Derivative(z[i], x[j]), (KroneckerDelta(i, j) - z[i] * z[j]) / R), "The projection off the state, over its length.", using=("spherical", "radius"))
_D.exact("spherical-state", Eq(total(Derivative(z[i], x[j]) * x[j], j), epsilon * x[i] / R**3), "At $\\epsilon=0$ no activation sees the length.", using=("spherical", "radius"))
_D.exact(
    "spherical-convex",
    Eq(
        total(v[i] * Derivative(z[i], x[j]) * v[j], i, j),
        epsilon / R**3 * total(v[i] ** 2, i) + total((x[i] * v[j] - x[j] * v[i]) ** 2, i, j) / (2 * R**3),
    ),
    "A sum of squares, by Lagrange's identity; at $\\epsilon=0$ zero only for $v$ along $x$.",
    using=("spherical", "radius"),
)
_D.define("spherical-energy", Eq(E_r, total(x[i] * z[i], i) - L_r), "The energy of a spherical layer.")
_D.exact("spherical-energy-value", Eq(E_r, -epsilon / R), "It vanishes at $\\epsilon=0$.", using=("spherical-energy", "spherical-lagrangian", "spherical", "radius"))
_D.exact("spherical-ball", Eq(1 - total(z[i] ** 2, i), epsilon / R**2), "The activations fill the open unit ball; at $\\epsilon=0$ they lie on its surface.", using=("spherical", "radius"))
_D.define("token-lagrangian", Eq(L_t, total(sqrt(total(X[b, J] ** 2, J) + epsilon), b)), "One length for each of $S$ tokens.")
_D.exact("token-gradient", Eq(Derivative(L_t, X[a, I]), X[a, I] / sqrt(total(X[a, J] ** 2, J) + epsilon)), "Each token becomes its own direction.", using=("token-lagrangian",))
_D.define("rms", Eq(R_m, sqrt(total(x[j] ** 2, j) / N + epsilon)), "The root mean square of the state.")
_D.define("rms-lagrangian", Eq(L_m, N * R_m), "The spherical Lagrangian in other units.")
_D.exact("rms-gradient", Eq(Derivative(L_m, x[i]), x[i] / R_m), "Its gradient is RMSNorm.", using=("rms-lagrangian", "rms"))
_D.exact("rms-length", Eq(total(x[j] ** 2, j) / R_m**2, N * (1 - epsilon / R_m**2)), "Its activations lie on a sphere of radius $\\sqrt N$, or inside.", using=("rms",))
_D.define("mean", Eq(xbar, total(x[j], j) / N), "The mean over all normalised entries.")
_D.define("deviation", Eq(rho, sqrt(total((x[j] - xbar) ** 2, j) / N + epsilon)), "Their standard deviation.", source=LN)
_D.exact("deviation-length", Eq(total((x[j] - xbar) ** 2, j) / rho**2, N * (1 - epsilon / rho**2)), "So do those of LayerNorm.", using=("deviation",))
_D.define("gained", Eq(m[i], gain[i] * (x[i] - xbar) / rho), "LayerNorm with a gain of its own for every entry.", source=LN)
_D.exact(
    "gained-jacobian",
    Eq(
        Derivative(m[i], x[j]) - Derivative(m[j], x[i]),
        (gain[j] - gain[i]) / (N * rho) + (gain[j] - gain[i]) * (x[i] - xbar) * (x[j] - xbar) / (N * rho**3),
    ),
    "What the Jacobian lacks in symmetry.",
    using=("gained", "mean", "deviation"),
)

# 4. Elementwise Lagrangians. The state of one unit is u; where powers need it, w > 0.
names = ("power", "exponential", "tanh", "softplus", "gelu")
F = {name: Symbol(f"f_{name[0].upper()}", real=True) for name in names}
Phi = {name: Symbol(f"Phi_{name[0].upper()}", real=True) for name in names}
f_P = Symbol("f_P", positive=True)
Phi_Q, f_Q, Phi_R, f_R = symbols("Phi_Q f_Q Phi_R f_R", real=True)
_D.define("quadratic-lagrangian", Eq(Phi_Q, u**2 / 2), "Linear units.", source=LARGE)
_D.define("quadratic", Eq(f_Q, u), "The activation is the state.", source=LARGE)
_D.exact("quadratic-gradient", Eq(Derivative(Phi_Q, u), f_Q), "It is the derivative.", using=("quadratic-lagrangian", "quadratic"))
_D.define("relu-lagrangian", Eq(Phi_R, (u + Abs(u)) ** 2 / 8), "Half the square of $\\max(u,0)=\\frac12(u+|u|)$.", source=HAMUX)
_D.define("relu", Eq(f_R, (u + Abs(u)) / 2), "Rectified linear units.", source=HAMUX)
_both = {"ranges": {u: (-2, 2)}}
_D.exact("relu-gradient", Eq(Derivative(Phi_R, u), f_R), "It is the derivative.", using=("relu-lagrangian", "relu"), **_both)
_D.exact("relu-energy", Eq(u * f_R - Phi_R, f_R**2 / 2), "The energy of a linear unit, for $f_R\\geq0$.", using=("relu-lagrangian", "relu"), **_both)
_D.define("power-lagrangian", Eq(Phi["power"], w**n / n), "For $w=|u|$ and $n>1$, or $w=\\max(u,0)$ where units are rectified.", source=DENSE)
_D.define("power", Eq(f_P, w ** (n - 1)), "The activation, with the sign of $u$ where units are not rectified.", source=DENSE)
_D.exact("power-gradient", Eq(Derivative(Phi["power"], w), f_P), "It is the derivative.", using=("power-lagrangian", "power"))
_D.exact("power-curvature", Eq(Derivative(f_P, w), (n - 1) * w ** (n - 2)), "Positive for $n>1$.", using=("power",))
_D.define("dual-exponent", Eq(n_star, n / (n - 1)), "The exponent of the conjugate.")
_D.exact("power-energy", Eq(w * f_P - Phi["power"], f_P**n_star / n_star), "In the activation the energy is a power again.", using=("power-lagrangian", "power", "dual-exponent"))
_D.define("exponential-lagrangian", Eq(Phi["exponential"], exp(beta * u) / beta), "The exponential.", source=EXPONENTIAL)
_D.define("exponential", Eq(F["exponential"], exp(beta * u)), "Its own derivative, up to the unit.", source=EXPONENTIAL)
_EXP = ("exponential-lagrangian", "exponential")
_D.exact("exponential-gradient", Eq(Derivative(Phi["exponential"], u), F["exponential"]), "As it should.", using=_EXP)
_D.exact("exponential-curvature", Eq(Derivative(F["exponential"], u), beta * F["exponential"]), "Positive.", using=("exponential",))
_D.exact("exponential-energy", Eq(u * F["exponential"] - Phi["exponential"], (F["exponential"] * log(F["exponential"]) - F["exponential"]) / beta), "A negative entropy.", using=_EXP)
_D.define("tanh-lagrangian", Eq(Phi["tanh"], log(cosh(beta * u)) / beta), "Close to $|u|$ for large $\\beta$.", source=HAMUX)
_D.define("tanh", Eq(F["tanh"], tanh(beta * u)), "The neuron of the continuous Hopfield network.", source=HOPFIELD)
_TANH = ("tanh-lagrangian", "tanh")
_D.exact("tanh-gradient", Eq(Derivative(Phi["tanh"], u), F["tanh"]), "It is the derivative.", using=_TANH)
_D.exact("tanh-curvature", Eq(Derivative(F["tanh"], u), beta * (1 - F["tanh"] ** 2)), "Positive.", using=("tanh",))
_spin = [(1 + way * F["tanh"]) * log(1 + way * F["tanh"]) / (2 * beta) for way in (1, -1)]
_D.numeric("tanh-energy", Eq(u * F["tanh"] - Phi["tanh"], sum(_spin)), "The negative entropy of a spin, shifted to vanish at $0$.", using=_TANH, **_both)
_D.define("softplus-lagrangian", Eq(Phi["softplus"], log(1 + exp(beta * u)) / beta), "Close to $\\max(u,0)$ for large $\\beta$.", source=HAMUX)
_D.define("softplus", Eq(F["softplus"], 1 / (1 + exp(-beta * u))), "The logistic sigmoid.", source=HAMUX)
_PLUS = ("softplus-lagrangian", "softplus")
_D.exact("softplus-gradient", Eq(Derivative(Phi["softplus"], u), F["softplus"]), "It is the derivative.", using=_PLUS)
_D.exact("softplus-curvature", Eq(Derivative(F["softplus"], u), beta * F["softplus"] * (1 - F["softplus"])), "Positive.", using=("softplus",))
_coin = [chance * log(chance) / beta for chance in (F["softplus"], 1 - F["softplus"])]
_D.numeric("softplus-energy", Eq(u * F["softplus"] - Phi["softplus"], sum(_coin)), "The negative entropy of a coin.", using=_PLUS, **_both)

# 5. GELU.
f_G, Phi_G, f_M, Phi_M = F["gelu"], Phi["gelu"], *symbols("f_M Phi_M", real=True)
u_0, f_x = symbols("u_0 f_x", real=True)
_lagrangian = u**2 / 4 + u * exp(-(u**2) / 2) / sqrt(8 * pi) + (u**2 - 1) * erf(u / sqrt(2)) / 4
_slope = (1 + u * sqrt(2 / pi) * exp(-(u**2) / 2) + erf(u / sqrt(2))) / 2
_D.define("gelu", Eq(f_G, u / 2 * (1 + erf(u / sqrt(2)))), "GELU in its exact form.", source=GELU)
_D.define("gelu-lagrangian", Eq(Phi_G, _lagrangian), "Its antiderivative that vanishes at $0$.")
_D.exact("gelu-gradient", Eq(Derivative(Phi_G, u), f_G), "GELU is its derivative.", using=("gelu-lagrangian", "gelu"))
_D.define("gelu-mirror", Eq(f_M, -u / 2 * (1 - erf(u / sqrt(2)))), "GELU at $-u$.")
_D.define("gelu-lagrangian-mirror", Eq(Phi_M, u**2 / 4 - u * exp(-(u**2) / 2) / sqrt(8 * pi) - (u**2 - 1) * erf(u / sqrt(2)) / 4), "Its Lagrangian at $-u$.")
_D.exact("gelu-mirror-gradient", Eq(Derivative(Phi_M, u), -f_M), "These two belong together as well.", using=("gelu-mirror", "gelu-lagrangian-mirror"))
_D.exact("gelu-odd-part", Eq(f_G - f_M, u), "The odd part of GELU is linear.", using=("gelu", "gelu-mirror"))
_D.exact("gelu-even-part", Eq(Phi_G + Phi_M, u**2 / 2), "The even part of its Lagrangian is quadratic.", using=("gelu-lagrangian", "gelu-lagrangian-mirror"))
_D.exact("gelu-slopes", Eq(Derivative(f_G, u) - Derivative(f_M, u), 1), "The slopes at $u$ and at $-u$ add to one.", using=("gelu", "gelu-mirror"))
_D.exact("gelu-left", Eq(Limit(Phi_G, u, -oo), Rational(1, 4)), "It does not return to zero on the left.", using=("gelu-lagrangian",))
_D.exact("gelu-right", Eq(Limit(Phi_G - u**2 / 2, u, oo), -Rational(1, 4)), "And misses the parabola on the right by as much.", using=("gelu-lagrangian",))
_D.exact("gelu-tangent", Eq(Limit((Phi_G - f_x * u) / u, u, -oo), -f_x), "Far to the left a line of slope $f_x$ leaves the Lagrangian behind.", using=("gelu-lagrangian",))
_D.exact("gelu-slope", Eq(Derivative(f_G, u), _slope), "The curvature of the Lagrangian.", using=("gelu",))
_D.exact("gelu-curvature", Eq(Derivative(f_G, (u, 2)), (2 - u**2) * exp(-(u**2) / 2) / sqrt(2 * pi)), "The slope falls up to $-\\sqrt2$, rises up to $\\sqrt2$, and falls again.", using=("gelu",))
_D.exact("gelu-lowest-slope", Eq(Limit(Derivative(f_G, u), u, -sqrt(2), "+-"), (1 - erf(1)) / 2 - exp(-1) / sqrt(pi)), "The lowest slope, about $-0.129$.", using=("gelu",))
_D.exact("gelu-highest-slope", Eq(Limit(Derivative(f_G, u), u, sqrt(2), "+-"), (1 + erf(1)) / 2 + exp(-1) / sqrt(pi)), "The highest, about $1.129$.", using=("gelu",))


def gelu_zero_slope(digits: int) -> Float:
    """The only zero of GELU's slope, by bisection between -1 and -1/2, where the slope changes its sign."""
    slope = lambdify(u, _slope, "mpmath")
    with mpmath.workdps(digits + 20):
        return Float(mpmath.findroot(slope, (mpmath.mpf(-1), mpmath.mpf("-0.5")), solver="bisect", tol=mpmath.mpf(10) ** (-2 * digits - 10), maxsteps=2000), digits)


_D.define("gelu-zero", Eq(u_0, gelu_zero_slope(16)), "Bisected between $-1$ and $-\\frac12$.")
_D.numeric("gelu-zero-slope", Eq(-erf(u_0 / sqrt(2)), 1 + u_0 * sqrt(2 / pi) * exp(-(u_0**2) / 2)), "There {eq}`lagrangian-gelu-slope` is zero.", using=("gelu-zero",), points=2, digits=14)
_D.numeric("gelu-lowest", Eq(u_0 / 2 * (1 + erf(u_0 / sqrt(2))), -(u_0**2) * exp(-(u_0**2) / 2) / sqrt(2 * pi)), "GELU's lowest value.", using=("gelu-zero",), points=2, digits=14)
