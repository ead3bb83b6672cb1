"""How a three-layer Hopfield network becomes a Mixer layer, step by step (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Rational, Sum, Symbol, erf, exp, log, oo, pi, sqrt, symbols

from hopmix.derivation import Derivation, Rate, function_with_derivative

S, C, N, N_s, N_c, M, R, T = symbols("S C N N_s N_c M R T", integer=True, positive=True)
i, j, k, I, J, K = symbols("i j k I J K", integer=True, positive=True)
alpha, beta, m, n, p, r, ell = symbols("alpha beta m n p r ell", integer=True, positive=True)

x, y, g, tau, Xi, H, B = (IndexedBase(name) for name in ("x", "y", "g", "tau", "Xi", "H", "B"))
Xi_sym, Xi_anti = IndexedBase("Xi^+"), IndexedBase("Xi^-")
delta, mu, sigma = IndexedBase("delta"), IndexedBase("mu"), IndexedBase("sigma")
x_s, x_c, x_r, xi_s, xi_c, xi_r = (IndexedBase(name) for name in ("x^s", "x^c", "x^r", "xi^s", "xi^c", "xi^r"))
W, V, F, h, v = (IndexedBase(name) for name in ("W", "V", "F", "h", "v"))
Gamma, z, k_n, g_t, A_e, u_c = (IndexedBase(name) for name in ("Gamma", "z", "kappa", "g^t", "A", "u^c"))
y_next = IndexedBase("y^+")

E, E_v, L, L_v, L_t, U, U_e, lam = symbols("E E_v L L_v L_t U U_e lambda", real=True)
xbar, vbar, epsilon = *symbols("xbar vbar", real=True), Symbol("epsilon", positive=True)
rho, gamma, c, tau_v, eta, s, s_0 = symbols("rho gamma c tau_v eta s s_0", positive=True)
u, f_G, Phi_G, q, q_0, t, theta = *symbols("u f_G Phi_G q q_0", real=True), *symbols("t theta", positive=True)
Phi, f, f_prime = function_with_derivative("Phi", "f", "f'")

HAM, LARGE, MIXER = "krotov2021hierarchical", "krotov2021large", "karakida2024hierarchical"
GELU, LN, ENERGY_TRANSFORMER = "hendrycks2016gelu", "ba2016layer", "hoover2023energy"

DERIVATION = Derivation(
    "memory/hopfield_mixer",
    title="How a three-layer Hopfield network becomes a Mixer layer",
    sources=(MIXER, HAM, LARGE),
    indices={
        **dict.fromkeys((i, j, k), S),
        **dict.fromkeys((I, J, K), C),
        **dict.fromkeys((m, n, p), M),
        **{alpha: N_s, beta: N_c, r: R, ell: T},
    },
    dynamic=(x, y, g, E, L, L_v, E_v, xbar, rho, x_s, x_c, s),
)
D = DERIVATION


def over(*indices):
    """Limits of a sum over `indices`, each over its whole range."""
    return [(index, 1, D.indices[index]) for index in indices]


def total(body, *indices):
    return Sum(body, *over(*indices))


# 1. Any hierarchical memory. One index runs over all neurons of all layers.
D.define(
    "motion",
    Eq(tau[m] * Rate(x[m]), total(Xi[m, n] * g[n], n) - x[m]),
    "Every neuron leaks and is driven by the activations of the others; $\\tau_m$ is the same within a layer.",
    source=HAM,
)
D.define("lagrangian-rate", Eq(Rate(L), total(g[m] * Rate(x[m]), m)), "The activation is the gradient of the Lagrangian, so this is the chain rule.", source=LARGE)
D.define("activation-rate", Eq(Rate(g[m]), total(H[m, n] * Rate(x[n]), n)), "$H$ is the Hessian of the Lagrangian, one block for each layer.", source=LARGE)
D.define(
    "energy",
    Eq(E, total(x[m] * g[m], m) - L - Rational(1, 2) * total(g[m] * Xi[m, n] * g[n], m, n)),
    "The Legendre transform of the Lagrangian, and the interaction; a symmetric pair of synapses counts once.",
    source=HAM,
)
D.define("symmetric-part", Eq(Xi_sym[m, n], (Xi[m, n] + Xi[n, m]) / 2), "What the energy sees of the synapses.")
D.define("antisymmetric-part", Eq(Xi_anti[m, n], (Xi[m, n] - Xi[n, m]) / 2), "What the energy does not see.")
D.exact(
    "energy-force",
    Eq(Rate(E), total(Rate(g[m]) * (x[m] - total(Xi_sym[m, n] * g[n], n)), m)),
    "The velocities enter only through $\\dot g$.",
    using=("energy", "lagrangian-rate", "symmetric-part"),
)
D.exact(
    "energy-rate",
    Eq(
        Rate(E),
        -total(tau[m] * Rate(x[m]) * H[m, n] * Rate(x[n]), m, n) + total(Rate(g[m]) * Xi_anti[m, n] * g[n], m, n),
    ),
    "Insert the equation of motion: exact for any synapses, symmetric or not.",
    using=("energy", "lagrangian-rate", "activation-rate", "motion", "antisymmetric-part"),
)
D.define("positive-hessian", Eq(H[m, n], total(B[m, r] * B[n, r], r)), "A positive semidefinite Hessian has such a factor: convex $L$.")
D.exact(
    "squares",
    Eq(total(Rate(x[m]) * H[m, n] * Rate(x[n]), m, n), total(total(B[m, r] * Rate(x[m]), m) ** 2, r)),
    "The term of the rate with $H$ is then a sum of squares in every layer.",
    using=("positive-hessian",),
)

# 2. LayerNorm is the gradient of a Lagrangian.
D.define("count", Eq(N, S * C), "All entries of the visible layer.")
D.define("mean", Eq(xbar, total(x[j, J], j, J) / N), "One mean over tokens and channels together.")
D.define("radius", Eq(rho, sqrt(total((x[j, J] - xbar) ** 2, j, J) / N + epsilon)), "The standard deviation that LayerNorm divides by.", source=LN)
D.define("layernorm-lagrangian", Eq(L_v, gamma * N * rho + total(delta[j, J] * x[j, J], j, J)), "A scalar gain $\\gamma$ and any shift $\\delta$.", source=ENERGY_TRANSFORMER)
D.define("layernorm", Eq(g[i, I], gamma * (x[i, I] - xbar) / rho + delta[i, I]), "LayerNorm over all tokens and channels.", source=LN)
_LN = ("layernorm-lagrangian", "layernorm", "radius", "mean", "count")
D.exact("layernorm-gradient", Eq(Derivative(L_v, x[i, I]), g[i, I]), "The factor $N$ is what makes this LayerNorm.", using=_LN)
D.exact(
    "layernorm-root-n",
    Eq(Derivative(sqrt(N) * rho, x[i, I]), (x[i, I] - xbar) / (sqrt(N) * rho)),
    "The norm $|x-\\bar x|=\\sqrt N\\rho$ itself is not enough: its gradient is LayerNorm divided by $\\sqrt N$.",
    using=("radius", "mean", "count"),
)
D.exact(
    "layernorm-hessian",
    Eq(
        Derivative(g[i, I], x[j, J]),
        gamma / rho * (KroneckerDelta(i, j) * KroneckerDelta(I, J) - 1 / N)
        - gamma / (N * rho**3) * (x[i, I] - xbar) * (x[j, J] - xbar),
    ),
    "Up to $\\epsilon$, $\\gamma/\\rho$ times the projection off the mean and off the state itself.",
    using=("layernorm", "radius", "mean", "count"),
)
D.define("hessian", Eq(H[i, I, j, J], Derivative(g[i, I], x[j, J])), "The Hessian of the visible layer.")
_HESSIAN = ("hessian", "layernorm", "radius", "mean", "count")
D.exact("hessian-shift", Eq(total(H[i, I, j, J], j, J), 0), "A constant added to the state changes no activation.", using=_HESSIAN)
D.exact("hessian-scale", Eq(total(H[i, I, j, J] * x[j, J], j, J), gamma * epsilon * (x[i, I] - xbar) / rho**3), "Neither does scaling the state, up to $\\epsilon$.", using=_HESSIAN)
D.define("probe-mean", Eq(vbar, total(v[j, J], j, J) / N), "The mean of any direction $v$.")
D.exact(
    "layernorm-convex",
    Eq(
        total(v[i, I] * H[i, I, j, J] * v[j, J], i, I, j, J),
        gamma / rho * total((v[j, J] - vbar) ** 2, j, J)
        - gamma / (N * rho**3) * total((x[j, J] - xbar) * (v[j, J] - vbar), j, J) ** 2,
    ),
    "Never negative, by the inequality of Cauchy and Schwarz.",
    using=("hessian", "layernorm-hessian", "probe-mean", "mean", "count"),
)
D.define("visible-energy", Eq(E_v, total(x[i, I] * g[i, I], i, I) - L_v), "The visible layer's own energy.", source=HAM)
D.exact(
    "visible-energy-value",
    Eq(E_v, -gamma * N * epsilon / rho),
    "It vanishes at $\\epsilon=0$: LayerNorm's Lagrangian is homogeneous of degree one.",
    using=("visible-energy", *_LN),
)
D.define("token-mean", Eq(mu[i], total(x[i, J], J) / C), "One mean for each token.")
D.define("token-radius", Eq(sigma[i], sqrt(total((x[i, J] - mu[i]) ** 2, J) / C + epsilon)), "One standard deviation for each token.", source=LN)
D.define("token-lagrangian", Eq(L_t, gamma * C * total(sigma[j], j)), "The sum over tokens; now $C$ takes the place of $N$.")
D.exact(
    "token-gradient",
    Eq(Derivative(L_t, x[i, I]), gamma * (x[i, I] - mu[i]) / sigma[i]),
    "LayerNorm for each token is a gradient as well.",
    using=("token-lagrangian", "token-radius", "token-mean"),
)
D.exact(
    "token-energy",
    Eq(total(x[i, J] * gamma * (x[i, J] - mu[i]) / sigma[i], J) - gamma * C * sigma[i], -gamma * C * epsilon / sigma[i]),
    "The energy of a token vanishes at $\\epsilon=0$ too.",
    using=("token-radius", "token-mean"),
)

# 3. GELU is the derivative of a Lagrangian that is not convex.
D.define("gelu", Eq(f_G, u / 2 * (1 + erf(u / sqrt(2)))), "GELU in its exact form.", source=GELU)
D.define("gelu-lagrangian", Eq(Phi_G, u**2 / 4 + u * exp(-(u**2) / 2) / sqrt(8 * pi) + (u**2 - 1) * erf(u / sqrt(2)) / 4), "Its Lagrangian, zero at the origin.")
D.exact("gelu-gradient", Eq(Derivative(Phi_G, u), f_G), "GELU is its derivative.", using=("gelu-lagrangian", "gelu"))
D.exact("gelu-lagrangian-left", Eq(Limit(Phi_G, u, -oo), Rational(1, 4)), "It stays bounded on the left.", using=("gelu-lagrangian",))
D.exact("gelu-slope", Eq(Derivative(f_G, u), (1 + u * sqrt(2 / pi) * exp(-(u**2) / 2) + erf(u / sqrt(2))) / 2), "The curvature of the Lagrangian.", using=("gelu",))
D.exact(
    "gelu-curvature",
    Eq(Derivative(f_G, (u, 2)), (2 - u**2) * exp(-(u**2) / 2) / sqrt(2 * pi)),
    "So the slope of GELU is extreme at $u=\\pm\\sqrt2$ and nowhere else.",
    using=("gelu",),
)
D.exact(
    "gelu-lowest-slope",
    Eq(Limit(Derivative(f_G, u), u, -sqrt(2), "+-"), (1 - erf(1)) / 2 - exp(-1) / sqrt(pi)),
    "About $-0.129$: there the Lagrangian is concave.",
    using=("gelu",),
)

# 4. Three layers. Hidden units carry a token index or a channel index of the visible layer along.
D.define("token-synapse", Eq(xi_s[alpha, I, j, J], W[alpha, j] * KroneckerDelta(I, J)), "Kronecker synapse $W \\otimes 1_C$.")
D.define("channel-synapse", Eq(xi_c[i, beta, j, J], KroneckerDelta(i, j) * V[beta, J]), "Kronecker synapse $1_S \\otimes V$.")
D.exact("token-drive", Eq(total(xi_s[alpha, I, j, J] * g[j, J], j, J), total(W[alpha, j] * g[j, I], j)), "Each channel is mixed over tokens by the same $W$.", using=("token-synapse",))
D.exact(
    "channel-drive",
    Eq(total(xi_c[i, beta, j, J] * g[j, J], j, J), total(V[beta, J] * g[i, J], J)),
    "Each token is mixed over channels by the same $V$.",
    using=("channel-synapse",),
)
D.define("rank-one-synapse", Eq(xi_r[alpha, j, J], W[alpha, j]), "The alternative: hidden units without a channel index.")
D.exact(
    "rank-one",
    Eq(
        total(xi_r[alpha, i, I] * f(total(xi_r[alpha, j, J] * g[j, J], j, J)), alpha),
        total(W[alpha, i] * f(total(W[alpha, j] * total(g[j, J], J), j)), alpha),
    ),
    "It sees only the sum over channels and answers every channel alike.",
    using=("rank-one-synapse",),
)
D.define("relaxation", Eq(q, u + (q_0 - u) * exp(-t / theta)), "A hidden unit $q$ under constant drive $u$.")
D.exact("relaxation-motion", Eq(theta * Derivative(q, t), u - q), "It obeys the equation of motion with time constant $\\theta$.", using=("relaxation",))
D.exact("relaxation-start", Eq(Limit(q, t, 0, "+"), q_0), "It starts where it should.", using=("relaxation",))
D.exact("fast-limit", Eq(Limit(q, theta, 0, "+"), u), "A fast hidden unit equals its drive, at any time $t>0$.", using=("relaxation",))
D.define("fast-token", Eq(x_s[alpha, I], total(xi_s[alpha, I, j, J] * g[j, J], j, J)), "Adiabatic limit of the token memory.", source=HAM)
D.define("fast-channel", Eq(x_c[i, beta], total(xi_c[i, beta, j, J] * g[j, J], j, J)), "Adiabatic limit of the channel memory.", source=HAM)
D.define(
    "visible-drive",
    Eq(F[i, I], total(xi_s[alpha, J, i, I] * f(x_s[alpha, J]), alpha, J) + total(xi_c[j, beta, i, I] * f(x_c[j, beta]), j, beta)),
    "Symmetric synapses: what goes up comes down through the transpose.",
    source=HAM,
)
_SYNAPSES = ("fast-token", "fast-channel", "token-synapse", "channel-synapse")
_mixing = total(W[alpha, i] * f(total(W[alpha, j] * g[j, I], j)), alpha) + total(V[beta, I] * f(total(V[beta, J] * g[i, J], J)), beta)
D.exact("mixer", Eq(F[i, I], _mixing), "Token mixing and channel mixing of a Mixer, with tied weights.", using=("visible-drive", *_SYNAPSES))
D.define(
    "three-layer-energy",
    Eq(
        E,
        E_v
        + total(x_s[alpha, I] * f(x_s[alpha, I]) - Phi(x_s[alpha, I]), alpha, I)
        + total(x_c[i, beta] * f(x_c[i, beta]) - Phi(x_c[i, beta]), i, beta)
        - total(f(x_s[alpha, I]) * xi_s[alpha, I, j, J] * g[j, J], alpha, I, j, J)
        - total(f(x_c[i, beta]) * xi_c[i, beta, j, J] * g[j, J], i, beta, j, J),
    ),
    "The energy above for three layers with symmetric synapses.",
    source=HAM,
)
_interaction = -total(Phi(total(W[alpha, j] * g[j, I], j)), alpha, I) - total(Phi(total(V[beta, J] * g[i, J], J)), i, beta)
D.exact("adiabatic-energy", Eq(E, E_v + _interaction), "In the adiabatic limit the hidden layers leave only their Lagrangians.", using=("three-layer-energy", *_SYNAPSES))
D.define("interaction", Eq(U, _interaction), "The part that depends on the activations alone.")
D.exact("drive-gradient", Eq(F[i, I], -Derivative(U, g[i, I])), "The mixing is a gradient.", using=("interaction", "mixer"))
D.exact("visible-lagrangian-rate", Eq(Rate(L_v), total(g[i, I] * Rate(x[i, I]), i, I)), "The chain rule, for LayerNorm in full.", using=_LN)
D.define("visible-activation-rate", Eq(Rate(g[i, I]), total(H[i, I, j, J] * Rate(x[j, J]), j, J)), "The chain rule again.")
D.define("visible-motion", Eq(tau_v * Rate(x[i, I]), F[i, I] - x[i, I]), "Only the visible layer moves by itself.", source=HAM)
D.exact(
    "adiabatic-rate",
    Eq(Rate(E), -tau_v * total(Rate(x[i, I]) * H[i, I, j, J] * Rate(x[j, J]), i, I, j, J)),
    "The hidden Lagrangians have dropped out: it does not matter whether they are convex.",
    using=("adiabatic-energy", "visible-energy", "visible-lagrangian-rate", "visible-activation-rate", "visible-motion", "mixer"),
)

# 5. The leak is a gauge, and the skip connection is what remains.
_scaled = c * x[i, I] - total(c * x[j, J], j, J) / N
_scaled_radius = sqrt(total((c * x[k, K] - total(c * x[j, J], j, J) / N) ** 2, k, K) / N)
D.exact(
    "layernorm-scale",
    Eq(_scaled / _scaled_radius, (x[i, I] - xbar) / sqrt(total((x[k, K] - xbar) ** 2, k, K) / N)),
    "LayerNorm does not see a positive factor (at $\\epsilon=0$).",
    using=("mean", "count"),
)
D.exact(
    "leak-gauge",
    Eq(
        total(H[i, I, j, J] * (F[j, J] - x[j, J]), j, J),
        total(H[i, I, j, J] * F[j, J], j, J) - gamma * epsilon * (x[i, I] - xbar) / rho**3,
    ),
    "So the leak moves no activation, up to $\\epsilon$.",
    using=_HESSIAN,
)
D.define("leaky-step", Eq(x[ell + 1], (1 - h[ell]) * x[ell] + h[ell] * F[ell]), "An Euler step of size $h_\\ell$, for any component.")
D.define("harmonic-step", Eq(h[ell], 1 / (s_0 + ell + 1)), "Step sizes that shrink like $1/\\ell$.")
D.define("harmonic-gauge", Eq(y[ell], (s_0 + ell) * x[ell]), "The same direction, another length.")
D.exact("skip", Eq(y[ell + 1], y[ell] + F[ell]), "A residual block with its skip connection, exactly.", using=("harmonic-gauge", "leaky-step", "harmonic-step"))
_y, _x = IndexedBase("Y"), IndexedBase("X")
D.define("constant-step", Eq(_x[ell + 1], (1 - eta) * _x[ell] + eta * F[ell]), "Or a constant step size $\\eta$.")
D.define("geometric-gauge", Eq(_y[ell], _x[ell] / (1 - eta) ** ell), "With the length growing geometrically.")
D.exact(
    "skip-geometric",
    Eq(_y[ell + 1], _y[ell] + eta * F[ell] / (1 - eta) ** (ell + 1)),
    "Again a skip connection; the factor belongs in the output weights of block $\\ell$. At $\\eta=1/2$ it is $2^\\ell$.",
    using=("geometric-gauge", "constant-step"),
)
D.define("leakless-flow", Eq(Rate(y[i, I]), F[i, I]), "Or in continuous time, without leak, in units of $\\tau_v$.")
D.define("clock", Eq(Rate(s), 1), "$s$ is its time.")
D.exact(
    "flow-gauge",
    Eq(Rate(y[i, I] / (s_0 + s)) / Rate(log((s_0 + s) / s_0)), F[i, I] - y[i, I] / (s_0 + s)),
    "Divided by $s_0+s$, it is the leaky flow at time $\\log((s_0+s)/s_0)$.",
    using=("leakless-flow", "clock"),
)
D.define("residual-step", Eq(y_next[i, I], y[i, I] + F[i, I]), "One step in this gauge.")
D.exact("block", Eq(y_next[i, I], y[i, I] + _mixing), "The parallel Mixer block: one LayerNorm, both branches read the same $g$.", using=("residual-step", "visible-drive", *_SYNAPSES))

# 6. Variants: a layer for each token, a gain for each entry, the branches one after the other.
D.define("token-layernorm", Eq(g_t[i, I], gamma * (x[i, I] - mu[i]) / sigma[i]), "LayerNorm for each token, at a scalar gain.", source=LN)
D.exact(
    "token-hessian",
    Eq(
        Derivative(g_t[i, I], x[j, J]),
        gamma * KroneckerDelta(i, j) / sigma[i] * (KroneckerDelta(I, J) - 1 / C)
        - gamma * KroneckerDelta(i, j) / (C * sigma[i] ** 3) * (x[i, I] - mu[i]) * (x[i, J] - mu[i]),
    ),
    "No entries between tokens: each token may as well be a layer of its own.",
    using=("token-layernorm", "token-radius", "token-mean"),
)
D.define("normalised", Eq(z[i, I], (x[i, I] - xbar) / rho), "The state that LayerNorm makes of $x$ before gain and shift.", source=LN)
D.exact("layernorm-normalised", Eq(g[i, I], gamma * z[i, I] + delta[i, I]), "Gain and shift follow.", using=("layernorm", "normalised"))
D.define("entry-gain", Eq(A_e[i, I, j, J], Gamma[i, I] * H[i, I, j, J]), "The Jacobian of LayerNorm with a gain $\\gamma\\Gamma_{iI}$ for each entry.")
D.exact(
    "entry-gain-asymmetry",
    Eq(
        A_e[i, I, j, J] - A_e[j, J, i, I],
        -gamma * (Gamma[i, I] - Gamma[j, J]) / (N * rho) * (1 + z[i, I] * z[j, J]),
    ),
    "It is symmetric only where the gains of two entries agree or their normalised states have product $-1$.",
    using=("entry-gain", "hessian", "layernorm-hessian", "normalised"),
)
_gained = total(W[alpha, j] * Gamma[j, I] * z[j, I], j), total(V[beta, J] * Gamma[i, J] * z[i, J], J)
D.define("gained-interaction", Eq(U_e, -total(Phi(_gained[0]), alpha, I) - total(Phi(_gained[1]), i, beta)), "Synapses that carry the gain.")
D.exact(
    "gain-on-both-sides",
    Eq(-Derivative(U_e, z[i, I]), total(Gamma[i, I] * W[alpha, i] * f(_gained[0]), alpha) + total(Gamma[i, I] * V[beta, I] * f(_gained[1]), beta)),
    "The gain before the branches, and once more behind them.",
    using=("gained-interaction",),
)
D.define("moved-drive", Eq(u_c[i, beta], total(V[beta, J] * (v[i, J] + lam * k_n[i, J]), J)), "What drives the channel memory when activations $v$ move along $\\kappa$.")
D.exact(
    "moved-drive-linear",
    Eq(u_c[i, beta], total(V[beta, J] * v[i, J], J) + lam * total(V[beta, J] * k_n[i, J], J)),
    "It is the drive of $v$, and $\\lambda$ times that of $\\kappa$.",
    using=("moved-drive",),
)
D.exact(
    "serial-response",
    Eq(Derivative(total(V[beta, I] * f(u_c[i, beta]), beta), lam), total(V[beta, I] * f_prime(u_c[i, beta]) * total(V[beta, J] * k_n[i, J], J), beta)),
    "How its answer changes.",
    using=("moved-drive",),
)
