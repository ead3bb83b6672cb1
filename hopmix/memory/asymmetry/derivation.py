"""The energy and the dynamics of a memory with asymmetric synapses, step by step (page: book/memory/asymmetry.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Rational, Sum, Symbol, atan, exp, log, sqrt, symbols

from hopmix.derivation import Derivation, Rate, function_with_derivative

N, M_h, R = symbols("N M_h R", integer=True, positive=True)
S, C, N_s, N_c = symbols("S C N_s N_c", integer=True, positive=True)
m, n, j, v, r, r_1, alpha, beta = symbols("m n j v r r_1 alpha beta", integer=True, positive=True)
i, h, I, J = symbols("i h I J", integer=True, positive=True)

x, g, F, W, Z, A, u, K, K_sym, K_anti = (IndexedBase(name) for name in ("x", "g", "F", "W", "Z", "A", "u", "K", "K^+", "K^-"))
M, P, B, c, d, y, l, b, lam, z = (IndexedBase(name) for name in ("M", "P", "B", "c", "d", "y", "ell", "b", "lambda", "z"))
l_1, l_2, b_1, b_2 = (IndexedBase(name) for name in ("ell^1", "ell^2", "b^1", "b^2"))
G, W_s, Z_s, W_c, Z_c, T, Y = (IndexedBase(name) for name in ("G", "W^s", "Z^s", "W^c", "Z^c", "M^s", "M^c"))

E, E_v, L_v, E_k, Q_k, k = symbols("E E_v L_v E_k Q_k k", real=True)
a, w, xbar, phi, p_1, p_2, Lambda = symbols("a w xbar phi p_1 p_2 Lambda", real=True)
s, rho, gamma, leak, kappa, rho_0, t, t_0, rho_t = symbols("s rho gamma chi kappa rho_0 t t_0 rho_t", positive=True)
sigma = Symbol("sigma", real=True)
epsilon = Symbol("epsilon", positive=True)
Phi, f, f_prime = function_with_derivative("Phi", "f", "f'")

HAM, MIXER, LN = "krotov2021hierarchical", "karakida2024hierarchical", "ba2016layer"

DERIVATION = Derivation(
    "memory/asymmetry",
    title="Broken symmetry: pseudo-energy, sinks and cycles",
    sources=(MIXER, HAM),
    indices={
        **dict.fromkeys((m, n, j, v), N),
        **dict.fromkeys((alpha, beta), M_h),
        **dict.fromkeys((r, r_1), R),
        **dict.fromkeys((i, h), S),
        **dict.fromkeys((I, J), C),
    },
    dynamic=(x, g, E_v, L_v, c, y, s, rho, leak, z, p_1, p_2),
)
D = DERIVATION


def total(body, *indices):
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. The visible layer.
D.define("mean", Eq(xbar, total(x[m], m) / N), "LayerNorm over all visible neurons.")
D.define("centred", Eq(c[m], x[m] - xbar), "It sees the state without its mean.")
D.define("radius", Eq(rho, sqrt(total(c[m] ** 2, m) / N + epsilon)), "And divides by this length.", source=LN)
D.define("layernorm", Eq(g[m], gamma * c[m] / rho), "A scalar gain, no shift.", source=LN)
D.exact(
    "activation-slope",
    Eq(Derivative(g[m], x[n]), gamma / rho * (KroneckerDelta(m, n) - 1 / N - c[m] * c[n] / (N * rho**2))),
    "How the activations answer the state: symmetric, so LayerNorm is a gradient.",
    using=("layernorm", "radius", "centred", "mean"),
)

# 2. The network, its energy and the family of pseudo-energies.
D.define("hidden", Eq(u[alpha], total(W[alpha, n] * g[n], n)), "Fast hidden units equal their drive.", source=HAM)
D.define("drive", Eq(F[m], total(Z[alpha, m] * f(u[alpha]), alpha)), "What comes down need not be the transpose of what goes up.", source=MIXER)
D.define("motion", Eq(Rate(x[m]), F[m] - x[m]), "The visible layer, in units of its time constant.", source=HAM)
D.define("excess", Eq(A[alpha, m], Z[alpha, m] - W[alpha, m]), "The broken part of the symmetry.", source=MIXER)
D.define(
    "energy",
    Eq(
        E,
        E_v
        + total(u[alpha] * f(u[alpha]) - Phi(u[alpha]), alpha)
        - total(g[m] * Z[alpha, m] * f(u[alpha]), alpha, m) / 2
        - total(f(u[alpha]) * W[alpha, m] * g[m], alpha, m) / 2,
    ),
    "The energy of a hierarchical memory: each direction of a synapse counts half.",
    source=HAM,
)
_pseudo = E_v - total(Phi(u[alpha]), alpha) - k * total(g[m] * A[alpha, m] * f(u[alpha]), alpha, m)
D.exact(
    "adiabatic-energy",
    Eq(E, _pseudo.subs(k, Rational(1, 2))),
    "What fast hidden units leave of it: the sign and the one half are not free.",
    using=("energy", "hidden", "excess"),
)
D.define("pseudo-energy", Eq(E_k, _pseudo), "A family that agrees with the symmetric energy where $A=0$; the adiabatic limit is $k=1/2$.")
D.define("visible-energy", Eq(E_v, total(x[m] * g[m], m) - L_v), "The visible layer's own energy.", source=HAM)
D.define("lagrangian-rate", Eq(Rate(L_v), total(g[m] * Rate(x[m]), m)), "The chain rule: $g$ is the gradient of $L_v$.", source=HAM)
D.exact(
    "rate",
    Eq(
        Rate(E_k),
        -total(Rate(g[m]) * Rate(x[m]), m)
        + (1 - k) * total(Rate(g[m]) * A[alpha, m] * f(u[alpha]), alpha, m)
        - k * total(g[m] * A[alpha, m] * f_prime(u[alpha]) * W[alpha, n] * Rate(g[n]), alpha, m, n),
    ),
    "Exact for every $k$, every activation and any synapses.",
    using=("pseudo-energy", "visible-energy", "lagrangian-rate", "motion", "drive", "excess", "hidden"),
)
D.exact(
    "drive-slope",
    Eq(Derivative(F[m], g[n]), total(Z[alpha, m] * f_prime(u[alpha]) * W[alpha, n], alpha)),
    "How the drive answers the activations.",
    using=("drive", "hidden"),
)

# 3. Linear hidden units.
D.define("operator", Eq(M[m, n], total(Z[alpha, m] * W[alpha, n], alpha)), "All that linear hidden units leave of the synapses.")
D.exact(
    "linear-drive",
    Eq(total(Z[alpha, m] * u[alpha], alpha), total(M[m, n] * g[n], n)),
    "With $f(u)=u$ the drive is linear in the activations.",
    using=("operator", "hidden"),
)
D.define("excess-operator", Eq(K[m, n], total(A[alpha, m] * W[alpha, n], alpha)), "The broken part once more, seen from the visible layer.")
D.exact(
    "split",
    Eq(M[m, n], total(W[alpha, m] * W[alpha, n], alpha) + K[m, n]),
    "The symmetric network's operator, and what was added to it.",
    using=("operator", "excess-operator", "excess"),
)
D.define("excess-symmetric", Eq(K_sym[m, n], (K[m, n] + K[n, m]) / 2), "Its symmetric part.")
D.define("excess-antisymmetric", Eq(K_anti[m, n], (K[m, n] - K[n, m]) / 2), "Its antisymmetric part.")
D.exact(
    "antisymmetric-operator",
    Eq(K_anti[m, n], (M[m, n] - M[n, m]) / 2),
    "$W^\\top W$ is symmetric, so this is the antisymmetric part of $M$ as well.",
    using=("excess-antisymmetric", "split"),
)
D.define(
    "linear-pseudo-energy",
    Eq(Q_k, E_v - total(u[alpha] ** 2, alpha) / 2 - k * total(g[m] * K[m, n] * g[n], m, n)),
    "$E_k$ with $f(u)=u$ and $\\Phi(u)=u^2/2$.",
)
D.exact(
    "quadratic-form",
    Eq(
        E_v - total(u[alpha] ** 2, alpha) / 2 - total(g[m] * K[m, n] * g[n], m, n) / 2,
        E_v - total(g[m] * M[m, n] * g[n], m, n) / 2,
    ),
    "At $k=1/2$ it is the quadratic form of $M$, of which only the symmetric part counts.",
    using=("hidden", "split"),
)
D.define("linear-motion", Eq(Rate(x[m]), total(M[m, n] * g[n], n) - x[m]), "The equation of motion with $f(u)=u$.")
D.exact(
    "linear-rate",
    Eq(
        Rate(Q_k),
        -total(Rate(g[m]) * Rate(x[m]), m)
        + (1 - 2 * k) * total(Rate(g[m]) * K_sym[m, n] * g[n], m, n)
        + total(Rate(g[m]) * K_anti[m, n] * g[n], m, n),
    ),
    "Only $k=1/2$ is rid of the symmetric part.",
    using=("linear-pseudo-energy", "visible-energy", "lagrangian-rate", "linear-motion", "split", "hidden", "excess-symmetric", "excess-antisymmetric"),
)
D.define("token-operator", Eq(T[i, h], total(Z_s[alpha, i] * W_s[alpha, h], alpha)), "For a Mixer: the token memory's operator.")
D.define("channel-operator", Eq(Y[I, J], total(Z_c[beta, I] * W_c[beta, J], beta)), "And the channel memory's.")
D.exact(
    "mixer-operator",
    Eq(
        total(Z_s[alpha, i] * total(W_s[alpha, h] * G[h, I], h), alpha) + total(Z_c[beta, I] * total(W_c[beta, J] * G[i, J], J), beta),
        total((T[i, h] * KroneckerDelta(I, J) + KroneckerDelta(i, h) * Y[I, J]) * G[h, J], h, J),
    ),
    "So for $G$ with tokens and channels as indices $M=M^s\\otimes 1_C+1_S\\otimes M^c$.",
    using=("token-operator", "channel-operator"),
)

# 4. Linear hidden units: the direction of the state is that of a linear flow.
D.define("projection", Eq(P[m, n], KroneckerDelta(m, n) - 1 / N), "It takes the mean away.")
D.define("centred-operator", Eq(B[m, n], total(P[m, j] * M[j, v] * P[v, n], j, v)), "$PMP$, which maps centred states to centred ones.")
D.define("pull", Eq(d[m], total(B[m, n] * c[n], n)), "What it makes of the state.")
D.exact(
    "centred-motion",
    Eq(Rate(c[m]), gamma / rho * d[m] - c[m]),
    "The mean has dropped out, and the only nonlinearity left is $\\rho$, one number for all neurons.",
    using=("pull", "centred-operator", "centred", "mean", "projection", "linear-motion", "layernorm"),
)
D.define("clock", Eq(Rate(s), gamma / rho), "LayerNorm's own clock: it runs fast while the state is short.")
D.define("linear-flow", Eq(Rate(y[m]), Rate(s) * total(B[m, n] * y[n], n)), "A linear flow on that clock, $\\mathrm dy/\\mathrm ds=By$.")
D.define("leak", Eq(Rate(leak), -leak), "The leak, $\\chi=e^{-t}$.")
D.exact(
    "direction",
    Eq(Rate(leak * y[m]), gamma / rho * total(B[m, n] * leak * y[n], n) - leak * y[m]),
    "$\\chi y$ obeys the equation of motion of $c$.",
    using=("leak", "linear-flow", "clock"),
)
D.define("rayleigh", Eq(Lambda, total(c[m] * d[m], m) / total(c[m] ** 2, m)), "The Rayleigh quotient of $B$ at the state.")
D.exact(
    "radius-rate",
    Eq(Rate(rho), (1 - epsilon / rho**2) * (gamma * Lambda - rho)),
    "The length tends to $\\gamma\\Lambda$, or to $\\sqrt\\epsilon$, where there is no activation left.",
    using=("centred-motion", "rayleigh", "radius"),
)
D.define("collapse", Eq(rho_t, (rho_0 + gamma * kappa) * exp(-t) - gamma * kappa), "For $\\Lambda=-\\kappa<0$ and $\\epsilon=0$.")
D.exact("collapse-start", Eq(Limit(rho_t, t, 0, "+"), rho_0), "It starts where it should.", using=("collapse",))
D.exact("collapse-motion", Eq(Derivative(rho_t, t), -gamma * kappa - rho_t), "It solves the equation of the length.", using=("collapse",))
D.define("collapse-time", Eq(t_0, log(1 + rho_0 / (gamma * kappa))), "A finite time.")
D.exact(
    "collapse-end",
    Eq((rho_0 + gamma * kappa) * exp(-t_0), gamma * kappa),
    "At which the length is zero, and LayerNorm is undefined.",
    using=("collapse-time",),
)

# 5. Modes: left eigenvectors turn the flow into amplitudes.
D.define("row", Eq(b[r, n], total(l[r, m] * B[m, n], m)), "$\\ell^r$ are rows, one for each mode $r$.")
D.define("left-eigenvector", Eq(b[r, n], lam[r] * l[r, n]), "They are left eigenvectors of $B$.")
D.define("amplitude", Eq(z[r], total(l[r, m] * c[m], m)), "How much of the mode is in the state.")
D.exact(
    "row-rate",
    Eq(Rate(z[r]), gamma / rho * total(b[r, n] * c[n], n) - z[r]),
    "The equation of motion along the row.",
    using=("amplitude", "row", "centred-motion", "pull"),
)
D.exact(
    "amplitude-rate",
    Eq(Rate(z[r]), (gamma * lam[r] / rho - 1) * z[r]),
    "Each amplitude obeys an equation of its own; they share the clock.",
    using=("row-rate", "left-eigenvector", "amplitude"),
)
D.exact(
    "amplitude-ratio",
    Eq(Rate(z[r] / z[r_1]), gamma / rho * (lam[r] - lam[r_1]) * z[r] / z[r_1]),
    "So the largest real part wins.",
    using=("amplitude-rate",),
)

# 6. A complex pair turns.
D.define("row-one", Eq(b_1[n], total(l_1[m] * B[m, n], m)), "The real and the imaginary part of a complex row.")
D.define("row-two", Eq(b_2[n], total(l_2[m] * B[m, n], m)), "The other one.")
D.define("pair-one", Eq(b_1[n], a * l_1[n] - w * l_2[n]), "For the eigenvalues $a\\pm\\mathrm iw$.")
D.define("pair-two", Eq(b_2[n], w * l_1[n] + a * l_2[n]), "They span a plane that $B$ does not leave.")
D.define("coordinate-one", Eq(p_1, total(l_1[m] * c[m], m)), "Two coordinates of the state.")
D.define("coordinate-two", Eq(p_2, total(l_2[m] * c[m], m)), "Two coordinates of the state.")
for _name, _p, _l, _b in (("one", p_1, l_1, b_1), ("two", p_2, l_2, b_2)):
    D.exact(
        f"row-{_name}-rate",
        Eq(Rate(_p), gamma / rho * total(_b[n] * c[n], n) - _p),
        "The equation of motion along the row.",
        using=(f"coordinate-{_name}", f"row-{_name}", "centred-motion", "pull"),
    )
D.exact(
    "pair-one-rate",
    Eq(Rate(p_1), gamma / rho * (a * p_1 - w * p_2) - p_1),
    "A rotation and a growth, on the clock.",
    using=("row-one-rate", "pair-one", "coordinate-one", "coordinate-two"),
)
D.exact(
    "pair-two-rate",
    Eq(Rate(p_2), gamma / rho * (w * p_1 + a * p_2) - p_2),
    "A rotation and a growth, on the clock.",
    using=("row-two-rate", "pair-two", "coordinate-one", "coordinate-two"),
)
D.define("angle", Eq(phi, atan(p_2 / p_1)), "The angle in the plane.")
D.define("log-length", Eq(sigma, log(p_1**2 + p_2**2) / 2), "The logarithm of the length in the plane.")
_PAIR = ("pair-one-rate", "pair-two-rate")
D.exact("angle-rate", Eq(Rate(phi), gamma * w / rho), "It never turns back.", using=("angle", *_PAIR))
D.exact("log-length-rate", Eq(Rate(sigma), gamma * a / rho - 1), "The length grows on the clock and leaks in time.", using=("log-length", *_PAIR))
D.exact(
    "winding",
    Eq(Rate(phi), w / a * (1 + Rate(sigma))),
    "The clock drops out.",
    using=("angle-rate", "log-length-rate"),
)
