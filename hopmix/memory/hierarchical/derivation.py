"""The energy of any hierarchical memory, what it guarantees, and fast layers (page: book/memory/hierarchical.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Rational, Sum, Symbol, cos, exp, oo, pi, sqrt, symbols

from hopmix.derivation import Derivation, Rate, function_with_derivative

M, N, P, R = symbols("M N P R", integer=True, positive=True)
m, n, i, j, k, alpha, beta, r = symbols("m n i j k alpha beta r", integer=True, positive=True)

x, g, tau, Xi, H, B = (IndexedBase(name) for name in ("x", "g", "tau", "Xi", "H", "B"))
Xi_sym, Xi_anti = IndexedBase("Xi^+"), IndexedBase("Xi^-")
K, K_sym, K_anti, W, Z, D_, u, v, q, c, G, F, F_theta = (IndexedBase(name) for name in ("K", "K^+", "K^-", "W", "Z", "D", "u", "v", "q", "c", "G", "F", "F^theta"))
y, e, h = IndexedBase("y"), IndexedBase("e"), IndexedBase("h")
E, E_0, E_1, L, U, L_v, L_h, E_h = symbols("E E_0 E_1 L U L_v L_h E_h", real=True)
theta, tau_v, t = symbols("theta tau_v t", positive=True)
mu_0, mu_1, a, b, w, z, p, p_0, s, d, E_2, E_3, E_r, x_1, x_2, x_3, a_0, b_0, r_1, r_2 = symbols("mu_0 mu_1 a b w z p p_0 s d E_2 E_3 E_r x_1 x_2 x_3 a_0 b_0 r_1 r_2", real=True)
f, f_prime, _ = function_with_derivative("f", "f'", "f''")

HAM, LARGE = "krotov2021hierarchical", "krotov2021large"

DERIVATION = Derivation(
    "memory/hierarchical",
    title="The energy of a hierarchical memory, and what it guarantees",
    sources=(HAM, LARGE),
    indices={**dict.fromkeys((m, n), M), **dict.fromkeys((i, j, k), N), **dict.fromkeys((alpha, beta), P), r: R},
    dynamic=(x, g, L, L_v, L_h, v, c, q),
)
D = DERIVATION


def total(body, *indices):
    """The sum over `indices`, each over its whole range."""
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


half = Rational(1, 2)

# 1. Any layers, any synapses. One index runs over all neurons of all layers.
D.define("motion", Eq(tau[m] * Rate(x[m]), total(Xi[m, n] * g[n], n) - x[m]), "A leak, and what the synapses bring. $\\tau_m$ is the same within a layer.", source=HAM)
D.define("lagrangian-rate", Eq(Rate(L), total(g[m] * Rate(x[m]), m)), "The chain rule: $g$ is the gradient of $L$.", source=LARGE)
D.define("activation-rate", Eq(Rate(g[m]), total(H[m, n] * Rate(x[n]), n)), "The chain rule again, with the Hessian $H$ of $L$.", source=LARGE)
D.define("layer-energy", Eq(E_0, total(x[m] * g[m], m) - L), "The Legendre transform of the Lagrangian: one summand for each layer.", source=HAM)
D.exact(
    "layer-rate",
    Eq(Rate(E_0), total(x[m] * Rate(g[m]), m)),
    "This is what the transform is for: $\\dot x$ has gone, only $\\dot g$ is left.",
    using=("layer-energy", "lagrangian-rate"),
)
D.define("synaptic-energy", Eq(U, -half * total(g[m] * Xi[m, n] * g[n], m, n)), "Each pair of neurons counts twice, hence the half.", source=HAM)
D.define("symmetric", Eq(Xi_sym[m, n], (Xi[m, n] + Xi[n, m]) / 2), "The symmetric part of the synapses.")
D.define("antisymmetric", Eq(Xi_anti[m, n], (Xi[m, n] - Xi[n, m]) / 2), "The antisymmetric part.")
D.exact(
    "synaptic-rate",
    Eq(Rate(U), -total(Rate(g[m]) * Xi_sym[m, n] * g[n], m, n)),
    "A quadratic form sees only the symmetric part.",
    using=("synaptic-energy", "symmetric"),
)
D.define("energy", Eq(E, E_0 + U), "The energy of the memory.", source=HAM)
D.exact(
    "energy-force",
    Eq(Rate(E), total(Rate(g[m]) * (x[m] - total(Xi_sym[m, n] * g[n], n)), m)),
    "Both together.",
    using=("energy", "layer-rate", "synaptic-rate"),
)
D.exact(
    "energy-rate",
    Eq(Rate(E), -total(tau[m] * Rate(x[m]) * H[m, n] * Rate(x[n]), m, n) + total(Rate(g[m]) * Xi_anti[m, n] * g[n], m, n)),
    "Insert the motion. Exact for any synapses, Lagrangians and time constants.",
    using=("energy-force", "activation-rate", "motion", "symmetric", "antisymmetric"),
)
D.define("factor", Eq(H[m, n], total(B[m, r] * B[n, r], r)), "What convex means: the Hessian is positive semidefinite, so it has a factor $B$.")
D.exact(
    "squares",
    Eq(total(Rate(x[m]) * H[m, n] * Rate(x[n]), m, n), total(total(B[m, r] * Rate(x[m]), m) ** 2, r)),
    "Then the first term is a sum of squares.",
    using=("factor",),
)

# 2. Linear memories, where everything is known.
D.define("linear-motion", Eq(tau[m] * Rate(x[m]), total(Xi[m, n] * x[n], n) - x[m]), "Quadratic Lagrangians: the activation is the state.")
D.define(
    "linear-terms",
    Eq(E_1, half * total(x[m] ** 2, m) - half * total(x[m] * Xi[m, n] * x[n], m, n)),
    "The Legendre transform of $x^2/2$ is $x^2/2$.",
)
D.exact(
    "linear-energy",
    Eq(E_1, half * total(x[m] * (KroneckerDelta(m, n) - Xi[m, n]) * x[n], m, n)),
    "A quadratic form with the matrix $1-\\Xi$.",
    using=("linear-terms",),
)
D.exact(
    "linear-rate",
    Eq(Rate(E_1), -total(tau[m] * Rate(x[m]) ** 2, m) + total(Rate(x[m]) * Xi_anti[m, n] * x[n], m, n)),
    "The Hessian is the identity.",
    using=("linear-terms", "linear-motion", "antisymmetric"),
)
# Two linear neurons that excite each other.
D.define("pair-energy", Eq(E_2, half * (a**2 + b**2) - w * a * b), "Two linear neurons $a$, $b$ with a symmetric synapse $w$.")
D.define("pair-first", Eq(a, (a_0 + b_0) / 2 * exp((w - 1) * t) + (a_0 - b_0) / 2 * exp(-(w + 1) * t)), "Their modes: the sum decays or grows with rate $w-1$.")
D.define("pair-second", Eq(b, (a_0 + b_0) / 2 * exp((w - 1) * t) - (a_0 - b_0) / 2 * exp(-(w + 1) * t)), "The difference goes with rate $-(w+1)$.")
_PAIR = ("pair-first", "pair-second")
D.exact("pair-motion", Eq(Derivative(a, t), w * b - a), "They solve the motion (in units of $\\tau$),", using=_PAIR)
D.exact("pair-motion-second", Eq(Derivative(b, t), w * a - b), "both of them.", using=_PAIR)
D.exact("pair-start", Eq(Limit(a, t, 0, "+"), a_0), "They start at $a_0$", using=_PAIR)
D.exact("pair-start-second", Eq(Limit(b, t, 0, "+"), b_0), "and $b_0$.", using=_PAIR)
D.exact(
    "pair-energy-value",
    Eq(E_2, (1 - w) / 4 * (a_0 + b_0) ** 2 * exp(2 * (w - 1) * t) + (1 + w) / 4 * (a_0 - b_0) ** 2 * exp(-2 * (w + 1) * t)),
    "For $w>1$ it falls without bound, and the state leaves for infinity.",
    using=("pair-energy", *_PAIR),
)

# 3. Synapses without symmetry: two examples.
D.define("ring-energy", Eq(E_3, half * (x_1**2 + x_2**2 + x_3**2) + x_1 * x_2 + x_2 * x_3 + x_3 * x_1), "Three linear neurons in a ring, each inhibits the next with weight $-2$.")
D.define("ring-first", Eq(x_1, cos(sqrt(3) * t)), "They take turns.")
D.define("ring-second", Eq(x_2, cos(sqrt(3) * t + 2 * pi / 3)), "A third of a period apart.")
D.define("ring-third", Eq(x_3, cos(sqrt(3) * t - 2 * pi / 3)), "And another third.")
_RING = ("ring-first", "ring-second", "ring-third")
D.exact("ring-motion", Eq(Derivative(x_2, t), -2 * x_1 - x_2), "Each obeys the motion: the second is driven by the first,", using=_RING)
D.exact("ring-motion-second", Eq(Derivative(x_3, t), -2 * x_2 - x_3), "the third by the second,", using=_RING)
D.exact("ring-motion-third", Eq(Derivative(x_1, t), -2 * x_3 - x_1), "the first by the third.", using=_RING)
D.exact("ring-energy-value", Eq(E_3, 0), "The energy rests while the state runs in a circle for ever.", using=("ring-energy", *_RING))
D.define("rotor-energy", Eq(E_r, half * (r_1**2 + r_2**2)), "Two linear neurons with synapses $w$ and $-w$: $\\Xi$ has no symmetric part.")
D.define("rotor-first", Eq(r_1, exp(-t) * cos(w * t)), "One excites the other,")
D.define("rotor-second", Eq(r_2, exp(-t) * cos(w * t - pi / 2)), "which inhibits the first.")
_ROTOR = ("rotor-first", "rotor-second")
D.exact("rotor-motion", Eq(Derivative(r_1, t), -w * r_2 - r_1), "They solve the motion,", using=_ROTOR)
D.exact("rotor-motion-second", Eq(Derivative(r_2, t), w * r_1 - r_2), "both.", using=_ROTOR)
D.exact("rotor-energy-value", Eq(E_r, exp(-2 * t) / 2), "The synapses are as asymmetric as can be, and the energy falls always.", using=("rotor-energy", *_ROTOR))

# 4. Fast layers: eliminate them exactly.
D.define(
    "slow-motion",
    Eq(tau[i] * Rate(v[i]), total(K[i, j] * c[j], j) + total(Z[alpha, i] * q[alpha], alpha) - v[i]),
    "Neurons with a state of their own, joined among each other by $K$, and driven by fast ones.",
    source=HAM,
)
D.define("fast-state", Eq(u[alpha], total(W[alpha, i] * c[i], i)), "The state of a fast neuron is its input. Fast neurons do not see each other.", source=HAM)
D.define(
    "whole-energy",
    Eq(
        E_h,
        total(v[i] * c[i], i) - L_v + total(u[alpha] * q[alpha], alpha) - L_h
        - half * total(c[i] * K[i, j] * c[j], i, j) - half * total(q[alpha] * W[alpha, i] * c[i], alpha, i) - half * total(c[i] * Z[alpha, i] * q[alpha], alpha, i),
    ),
    "The energy above, with its two kinds of neurons written apart.",
)  # fmt: skip
D.define("mismatch", Eq(D_[alpha, i], W[alpha, i] - Z[alpha, i]), "By how much the way back differs from the way there.")
D.exact(
    "eliminated-energy",
    Eq(E_h, total(v[i] * c[i], i) - L_v - half * total(c[i] * K[i, j] * c[j], i, j) - L_h + half * total(q[alpha] * D_[alpha, i] * c[i], alpha, i)),
    "A fast layer leaves minus its Lagrangian, and half of the mismatch.",
    using=("whole-energy", "fast-state", "mismatch"),
)
D.define("slow-lagrangian-rate", Eq(Rate(L_v), total(c[i] * Rate(v[i]), i)), "Chain rule for the slow layers' activation $c$,")
D.define("slow-activation-rate", Eq(Rate(c[i]), total(H[i, j] * Rate(v[j]), j)), "with their Hessian,")
D.define("fast-lagrangian-rate", Eq(Rate(L_h), total(q[alpha] * Rate(u[alpha]), alpha)), "and for the fast layers' activation $q$,")
D.define("fast-activation-rate", Eq(Rate(q[alpha]), total(G[alpha, beta] * W[beta, i] * Rate(c[i]), beta, i)), "whose Hessian is $G$.")
D.define("slow-symmetric", Eq(K_sym[i, j], (K[i, j] + K[j, i]) / 2), "The two parts of the synapses among slow neurons,")
D.define("slow-antisymmetric", Eq(K_anti[i, j], (K[i, j] - K[j, i]) / 2), "symmetric and antisymmetric.")
D.exact(
    "eliminated-force",
    Eq(
        Rate(E_h),
        total(Rate(c[i]) * (v[i] - total(K_sym[i, j] * c[j], j) - total(q[alpha] * W[alpha, i], alpha)), i)
        + half * total(D_[alpha, i] * (Rate(q[alpha]) * c[i] + q[alpha] * Rate(c[i])), alpha, i),
    ),
    "Only the rates of activations are left, as before.",
    using=("eliminated-energy", "fast-state", "slow-lagrangian-rate", "fast-lagrangian-rate", "slow-symmetric"),
)
D.exact(
    "eliminated-rate",
    Eq(
        Rate(E_h),
        -total(tau[i] * Rate(v[i]) * H[i, j] * Rate(v[j]), i, j)
        + total(Rate(c[i]) * K_anti[i, j] * c[j], i, j)
        + half * total(D_[alpha, i] * (Rate(q[alpha]) * c[i] - q[alpha] * Rate(c[i])), alpha, i),
    ),
    "With tied weights, $D=0$, the fast layers have dropped out of the rate.",
    using=("eliminated-force", "mismatch", "slow-activation-rate", "slow-motion", "slow-symmetric", "slow-antisymmetric"),
)
D.exact(
    "eliminated-cost",
    Eq(
        total(D_[alpha, i] * (Rate(q[alpha]) * c[i] - q[alpha] * Rate(c[i])), alpha, i),
        total(Rate(c[k]) * W[beta, k] * G[alpha, beta] * D_[alpha, i] * c[i], alpha, beta, i, k) - total(Rate(c[i]) * D_[alpha, i] * q[alpha], alpha, i),
    ),
    "Two products more for each synapse than the velocity takes: with $D\\,c$, and back with $W^\\top$.",
    using=("fast-activation-rate",),
)

# 5. Fast, but not infinitely so.
D.define("ramp", Eq(s, p_0 + d * t), "An input that grows steadily.")
D.define("lag", Eq(p, s - theta * d * (1 - exp(-t / theta))), "A linear unit with time constant $\\theta$ follows it.")
D.exact("lag-motion", Eq(theta * Derivative(p, t), s - p), "It obeys the motion,", using=("lag", "ramp"))
D.exact("lag-start", Eq(Limit(p, t, 0, "+"), p_0), "starts at its input,", using=("lag", "ramp"))
D.exact("lag-end", Eq(Limit(s - p, t, oo), theta * d), "and ends up behind by what the input gains in the time $\\theta$.", using=("lag", "ramp"))
D.define("lagging-drive", Eq(F_theta[i], total(Z[alpha, i] * f(e[alpha] - theta * h[alpha]), alpha)), "So fast neurons send back what their input $e$, with rate $h$, was a time $\\theta$ ago.")
D.exact(
    "lag-derivative",
    Eq(Derivative(F_theta[i], theta), -total(Z[alpha, i] * f_prime(e[alpha] - theta * h[alpha]) * h[alpha], alpha)),
    "Its slope in $\\theta$, which is wanted at $\\theta=0$.",
    using=("lagging-drive",),
)
D.define("input-rate", Eq(y[alpha], total(W[alpha, j] * Rate(c[j]), j)), "The rate of the input.")
D.define(
    "first-order-motion",
    Eq(F[i], tau_v * Rate(v[i]) + v[i] + theta * total(Z[alpha, i] * f_prime(u[alpha]) * y[alpha], alpha)),
    "The motion to first order, for one slow layer, solved for the drive $F$ at $\\theta=0$.",
)
D.exact(
    "effective-time-constant",
    Eq(
        total((tau_v * KroneckerDelta(i, k) + theta * total(Z[alpha, i] * f_prime(u[alpha]) * W[alpha, j] * H[j, k], alpha, j)) * Rate(v[k]), k),
        F[i] - v[i],
    ),
    "To first order fast layers only change the time constant of the slow ones, into a matrix.",
    using=("first-order-motion", "input-rate", "slow-activation-rate"),
)
# One visible and one hidden linear neuron, w to the hidden one and z back. A mode exp(mu t) has (tau mu + 1)(theta mu + 1) = w z.
D.define("adiabatic-root", Eq(mu_0, (w * z - 1) / tau_v), "A linear pair, $w$ there and $z$ back: the rate of its mode if the second is infinitely fast,")
D.define("corrected-root", Eq(mu_1, (w * z - 1) / (tau_v + theta * w * z)), "and with the effective time constant.")
D.exact(
    "adiabatic-root-residual",
    Eq((tau_v * mu_0 + 1) * (theta * mu_0 + 1) - w * z, theta * w * z * (w * z - 1) / tau_v),
    "The pair's characteristic equation is missed by a term of first order in $\\theta$",
    using=("adiabatic-root",),
)
D.exact(
    "corrected-root-residual",
    Eq((tau_v * mu_1 + 1) * (theta * mu_1 + 1) - w * z, -(theta**2) * w * z * (1 - w * z) ** 2 / (tau_v + theta * w * z) ** 2),
    "by the one, and of second order by the other.",
    using=("corrected-root",),
)
