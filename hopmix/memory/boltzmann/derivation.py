"""Attention as the mean field of a Boltzmann machine, step by step (page: book/memory/boltzmann.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Rational, Sum, Symbol, erf, exp, log, oo, pi, sqrt, symbols, tanh

from hopmix.derivation import Derivation, function_with_derivative

N, M, P, N_o, N_m, n = symbols("N M P N_o N_m n", integer=True, positive=True)
i, j, mu, nu, alpha, gamma, k, ell, t = symbols("i j mu nu alpha gamma k ell t", integer=True, positive=True)
W, v, b, c, a, e, r, p, m, omega, f, h, d = (IndexedBase(name) for name in ("W", "v", "b", "c", "a", "e", "r", "p", "m", "omega", "f", "h", "d"))
x, q, s, psi, y, chi = (IndexedBase(name) for name in ("x", "q", "s", "psi", "y", "chi"))
m_next, p_next, log_f, log_r = (IndexedBase(name) for name in ("m^+", "p^+", "phi", "rho"))
W_o, W_m, v_o, v_m, b_m, g = (IndexedBase(name) for name in ("W^o", "W^m", "v^o", "v^m", "b^m", "g"))
U, u, w_bar, xi, S = (IndexedBase(name) for name in ("U", "u", "w", "xi", "S"))
beta, sigma, eps = symbols("beta sigma epsilon", positive=True)
E, E_J, Z, L, Q, A, A_o, F_R, E_D, G, z, X, H, theta = symbols("E E_J Z L Q A A_o F_R E_D G z X H theta", real=True)
T, T1 = function_with_derivative("T", "T'")
F, F1, F2, F3 = function_with_derivative("F", "F'", "F''", "F'''")

ATTNBM, LARGE, VINCENT, EM = "ota2023attention", "krotov2021large", "vincent2011connection", "dempster1977maximum"

DERIVATION = Derivation(
    "memory/boltzmann",
    title="Attention as the mean field of a Boltzmann machine",
    sources=(ATTNBM, LARGE, VINCENT),
    indices={
        **dict.fromkeys((i, j), N),
        **dict.fromkeys((mu, nu), M),
        **dict.fromkeys((alpha, gamma), P),
        **{k: N_m, ell: N_o, t: n},
    },
)
D = DERIVATION
half = Rational(1, 2)
SMALL = ({N: 1, M: 1}, {N: 2, M: 2})


def total(body, *indices):
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. Energy, attention, likelihood.
D.define("field", Eq(a[mu], total(W[mu, i] * v[i], i) + c[mu]), "What hidden unit $\\mu$ sees.")
D.define(
    "energy",
    Eq(E, half * total((v[i] - b[i]) ** 2, i) - log(total(exp(beta * a[mu]), mu)) / beta),
    "A parabola around the bias, and a soft maximum over the hidden units.",
    source=ATTNBM,
)
D.define("softmax", Eq(r[mu], exp(beta * a[mu]) / total(exp(beta * a[nu]), nu)), "Attention over the hidden units.")
_E = ("energy", "field")
D.exact(
    "force",
    Eq(-Derivative(E, v[i]), b[i] + total(r[mu] * W[mu, i], mu) - v[i]),
    "The energy rests where $v$ is its own attention: keys and values are the rows of $W$, the query is $v$.",
    using=(*_E, "softmax"),
)
D.define("exponent", Eq(e[mu], half * total(W[mu, i] ** 2, i) + total(W[mu, i] * b[i], i) + c[mu]), "What completing the square leaves over.")
D.exact(
    "square",
    Eq(
        beta * a[mu] - beta / 2 * total((v[i] - b[i]) ** 2, i),
        beta * e[mu] - beta / 2 * total((v[i] - b[i] - W[mu, i]) ** 2, i),
    ),
    "Each term of $e^{-\\beta E}$ is a Gaussian around $b+w_\\mu$.",
    using=("field", "exponent"),
)
D.define("primitive", Eq(G, erf(sqrt(beta / 2) * z) / 2), "To integrate it, one dimension at a time.")
D.exact("primitive-slope", Eq(Derivative(G, z), sqrt(beta / (2 * pi)) * exp(-beta * z**2 / 2)), "A primitive of the Gaussian.", using=("primitive",))
D.exact(
    "gaussian-integral",
    Eq(Limit(G, z, oo) - Limit(G, z, -oo), 1),
    "So the integral of $e^{-\\beta z^2/2}$ over the whole line is $\\sqrt{2\\pi/\\beta}$.",
    using=("primitive",),
)
D.define(
    "partition",
    Eq(Z, (2 * pi / beta) ** (N * half) * total(exp(beta * e[mu]), mu)),
    "The integral of $e^{-\\beta E}$: $M$ Gaussians, each a product of $N$ such integrals.",
)
D.define("weights", Eq(p[mu], exp(beta * e[mu]) / total(exp(beta * e[nu]), nu)), "The weight of unit $\\mu$.")
D.define("means", Eq(m[mu, i], b[i] + W[mu, i]), "Its mean.")
_Z = ("partition", "exponent")
D.define("log-likelihood", Eq(L, -beta * E - log(Z)), "Of one sample $v$, with every constant.")
D.numeric(
    "mixture",
    Eq(exp(L), (beta / (2 * pi)) ** (N * half) * total(p[mu] * exp(-beta / 2 * total((v[i] - m[mu, i]) ** 2, i)), mu)),
    "The machine is a mixture of $M$ Gaussians with one spherical covariance.",
    using=("log-likelihood", *_E, *_Z, "weights", "means"),
    points=2,
)
D.define(
    "mixture-bias",
    Eq(c[mu], log(omega[mu]) / beta - half * total(W[mu, i] ** 2, i) - total(W[mu, i] * b[i], i)),
    "Conversely, let a mixture have weights $\\omega$, and choose $c$ so.",
)
D.exact("any-mixture", Eq(beta * e[mu], log(omega[mu])), "Then $p=\\omega$: every such mixture is a machine.", using=("exponent", "mixture-bias"))

# 2. Learning.
_L = ("log-likelihood", *_E, *_Z, "softmax", "weights")
D.exact(
    "gradient-weight",
    Eq(Derivative(L, W[mu, i]), beta * (r[mu] * v[i] - p[mu] * m[mu, i])),
    "What is seen minus what is dreamt: the second term is the mean of $r_\\mu v_i$ in the model.",
    using=(*_L, "means"),
)
D.exact(
    "gradient-visible",
    Eq(Derivative(L, b[i]), beta * (v[i] - total(p[mu] * m[mu, i], mu))),
    "The same for the visible bias: data mean minus model mean.",
    using=(*_L, "means"),
)
D.exact("gradient-hidden", Eq(Derivative(L, c[mu]), beta * (r[mu] - p[mu])), "And for the hidden bias.", using=_L)
D.exact(
    "bias-gauge",
    Eq(Derivative(L, b[i]), total(Derivative(L, W[mu, i]), mu)),
    "Moving $b$ does what moving all $w_\\mu$ together does: with $c$ free, $b$ adds nothing.",
    using=("gradient-visible", "gradient-weight", "softmax", "weights", "means"),
)
D.define(
    "posterior",
    Eq(q[alpha, mu], exp(beta * (total(W[mu, i] * x[alpha, i], i) + c[mu])) / total(exp(beta * (total(W[nu, i] * x[alpha, i], i) + c[nu])), nu)),
    "The attention of sample $x_\\alpha$ to unit $\\mu$.",
)
D.define("em-weights", Eq(p_next[mu], total(q[alpha, mu], alpha) / P), "Expectation-maximisation: the share of unit $\\mu$,", source=EM)
D.define("em-means", Eq(m_next[mu, i], total(q[alpha, mu] * x[alpha, i], alpha) / total(q[alpha, mu], alpha)), "and the mean of what it holds.", source=EM)
D.exact(
    "em-gradient",
    Eq(
        total(q[alpha, mu] * x[alpha, i], alpha) / P - p[mu] * m[mu, i],
        p_next[mu] * (m_next[mu, i] - m[mu, i]) + (p_next[mu] - p[mu]) * m[mu, i],
    ),
    "The mean gradient for $w_\\mu$, over $\\beta$: zero at a fixed point of EM, and small for any unit that holds little.",
    using=("em-weights", "em-means"),
)
D.exact("posterior-sum", Eq(total(q[alpha, mu], mu), 1), "Every sample is shared out in full.", using=("posterior",))

# 3. Missing values.
D.define(
    "missing-exponent",
    Eq(d[mu], total(W_o[mu, ell] * v_o[ell], ell) + c[mu] + half * total(W_m[mu, k] ** 2, k) + total(W_m[mu, k] * b_m[k], k)),
    "Observed entries $v^o$, missing entries integrated out.",
)
D.exact(
    "missing-square",
    Eq(
        beta * (total(W_o[mu, ell] * v_o[ell], ell) + total(W_m[mu, k] * v_m[k], k) + c[mu]) - beta / 2 * total((v_m[k] - b_m[k]) ** 2, k),
        beta * d[mu] - beta / 2 * total((v_m[k] - b_m[k] - W_m[mu, k]) ** 2, k),
    ),
    "The square is completed in the missing entries alone.",
    using=("missing-exponent",),
)
D.define("missing-attention", Eq(g[mu], exp(beta * d[mu]) / total(exp(beta * d[nu]), nu)), "Attention of what is observed.")
D.define("missing-free-energy", Eq(A_o, log(total(exp(beta * d[mu]), mu)) / beta), "The log of the integral over $v^m$, over $\\beta$ and up to a constant.")
D.numeric("missing-share", Eq(g[mu], exp(beta * (d[mu] - A_o))), "The same attention, by the free energy.", using=("missing-attention", "missing-free-energy"), points=2)
D.exact(
    "conditional-mean",
    Eq(b_m[k] + Derivative(A_o, b_m[k]), b_m[k] + total(g[mu] * W_m[mu, k], mu)),
    "A bias is a source, so the left side is the mean of $v^m_k$ given $v^o$.",
    using=("missing-exponent", "missing-attention", "missing-free-energy"),
)

# 4. The memory behind it, and why its joint density does not exist.
D.define("hidden-activation", Eq(f[mu], exp(beta * (h[mu] + c[mu])) / total(exp(beta * (h[nu] + c[nu])), nu)), "The hidden layer of the memory: softmax units.", source=LARGE)
D.define(
    "joint-energy",
    Eq(
        E_J,
        half * total((v[i] - b[i]) ** 2, i)
        + total(h[mu] * f[mu], mu)
        - log(total(exp(beta * (h[mu] + c[mu])), mu)) / beta
        - total(f[mu] * W[mu, i] * v[i], mu, i),
    ),
    "Legendre transforms of both layers, and the interaction.",
    source=LARGE,
)
D.define("log-activation", Eq(log_f[mu], beta * (h[mu] + c[mu]) - log(total(exp(beta * (h[nu] + c[nu])), nu))), "$\\phi=\\log f$.")
D.define("log-softmax", Eq(log_r[mu], beta * a[mu] - log(total(exp(beta * a[nu]), nu))), "$\\rho=\\log r$.")
D.exact(
    "joint-divergence",
    Eq(E_J - E, total(f[mu] * (log_f[mu] - log_r[mu]), mu) / beta),
    "The joint energy exceeds the energy of $v$ by a Kullback–Leibler divergence.",
    using=("joint-energy", *_E, "hidden-activation", "log-activation", "log-softmax"),
)
D.exact(
    "joint-force",
    Eq(
        Derivative(E_J, h[mu]),
        beta * f[mu] * (h[mu] - total(W[mu, i] * v[i], i)) - beta * f[mu] * total(f[nu] * (h[nu] - total(W[nu, i] * v[i], i)), nu),
    ),
    "At rest $h$ is $Wv$ up to a common constant.",
    using=("joint-energy", "hidden-activation"),
)
D.exact("joint-flat", Eq(total(Derivative(E_J, h[mu]), mu), 0), "And that constant costs nothing.", using=("joint-force", "hidden-activation"))

# 5. A warmer softmax. U holds the n rows of W that one factor each of the power has chosen.
D.define("chosen-mean", Eq(w_bar[i], total(U[t, i], t) / n), "The mean of $n$ chosen rows.")
D.exact(
    "power-square",
    Eq(
        beta / n * total(total(U[t, i] * v[i], i) + u[t], t) - beta / 2 * total((v[i] - b[i]) ** 2, i),
        beta * (half * total(w_bar[i] ** 2, i) + total(w_bar[i] * b[i], i) + total(u[t], t) / n) - beta / 2 * total((v[i] - b[i] - w_bar[i]) ** 2, i),
    ),
    "Each of the $M^n$ terms is a Gaussian around $b$ plus the mean of its rows.",
    using=("chosen-mean",),
)

# 6. Independent hidden units.
D.define(
    "rbm-free-energy",
    Eq(F_R, half * total((v[i] - b[i]) ** 2, i) - total(log(1 + exp(beta * a[mu])), mu) / beta),
    "Hidden units in $\\{0,1\\}$, independent given $v$, summed out.",
)
D.exact(
    "rbm-force",
    Eq(-Derivative(F_R, v[i]), b[i] + total(exp(beta * a[mu]) * W[mu, i] / (1 + exp(beta * a[mu])), mu) - v[i]),
    "Sigmoid units: each answers for itself.",
    using=("rbm-free-energy", "field"),
)
D.exact_at_sizes(
    "one-hot",
    Eq(exp(-beta * E), total(exp(-beta * (half * total((v[i] - b[i]) ** 2, i) - total(KroneckerDelta(mu, nu) * a[nu], nu))), mu)),
    "With one active unit exactly, the sum over its place is the attentional machine.",
    sizes=SMALL,
    using=("energy",),
)
D.exact_at_sizes(
    "dilute",
    Eq(
        exp(total(log(1 + eps * exp(beta * a[mu])), mu)) - 1 - eps * total(exp(beta * a[mu]), mu),
        eps**2 / 2 * total((1 - KroneckerDelta(mu, nu)) * exp(beta * (a[mu] + a[nu])), mu, nu),
    ),
    "Each active unit costs a factor $\\epsilon=e^{-\\kappa}$: besides no unit and one unit there are pairs, and with more units triples and so on.",
    sizes=({M: 1}, {M: 2}),
)

# 7. Denoising.
D.define("score", Eq(psi[i], (b[i] + total(r[mu] * W[mu, i], mu) - v[i]) / sigma**2), "The score of $e^{-E/\\sigma^2}$.")
D.exact("score-gradient", Eq(psi[i], -Derivative(E, v[i]) / sigma**2), "It is what attention would change.", using=("score", *_E, "softmax"))
D.exact(
    "autoencoder",
    Eq(
        half * total((psi[i] - (x[alpha, i] - v[i]) / sigma**2) ** 2, i),
        total((b[i] + total(r[mu] * W[mu, i], mu) - x[alpha, i]) ** 2, i) / (2 * sigma**4),
    ),
    "Denoising score matching, $x_\\alpha$ clean and $v$ noisy, is the squared error of a tied autoencoder.",
    using=("score",),
    source=VINCENT,
)
D.exact(
    "divergence",
    Eq(
        sigma**2 * total(Derivative(psi[i], v[i]), i),
        beta * total(r[mu] * W[mu, i] ** 2, mu, i) - beta * total(total(r[mu] * W[mu, i], mu) ** 2, i) - N,
    ),
    "What implicit score matching needs besides: the variance of the rows under attention.",
    using=("score", "softmax", "field"),
)
D.define("kernel", Eq(chi[alpha], -total((x[alpha, i] - v[i]) ** 2, i) / (2 * sigma**2)), "Noise of standard deviation $\\sigma$ around sample $\\alpha$.")
D.define("smoothed", Eq(Q, total(exp(chi[alpha]), alpha)), "The data with noise added, up to a factor.")
D.define("origin", Eq(s[alpha], exp(chi[alpha]) / total(exp(chi[gamma]), gamma)), "How likely $v$ comes from sample $\\alpha$.")
D.exact("origin-share", Eq(Q * s[alpha], exp(chi[alpha])), "Its share of the smoothed data.", using=("smoothed", "origin"))
D.define("target", Eq(y[i], total(s[alpha] * x[alpha, i], alpha)), "The mean sample it comes from: the best denoiser there is.")
D.exact(
    "smoothed-score",
    Eq(Derivative(log(Q), v[i]), (y[i] - v[i]) / sigma**2),
    "The score of the smoothed data points there.",
    using=("smoothed", "kernel", "origin", "target"),
)
D.exact(
    "denoising",
    Eq(
        total(s[alpha] * (psi[i] - (x[alpha, i] - v[i]) / sigma**2) ** 2, alpha),
        (psi[i] - (y[i] - v[i]) / sigma**2) ** 2 + (total(s[alpha] * x[alpha, i] ** 2, alpha) - y[i] ** 2) / sigma**4,
    ),
    "Denoising score matching is explicit score matching, up to what no parameter moves.",
    using=("target", "origin"),
)
D.exact(
    "by-parts",
    Eq(Derivative(Q * T(v[i]), v[i]) / Q, T(v[i]) * (y[i] - v[i]) / sigma**2 + T1(v[i])),
    "Let $T$ be $\\psi_i$ as a function of $v_i$ alone. $Q$ times this integrates to zero: the cross term of explicit score matching is minus the divergence.",
    using=("smoothed", "kernel", "origin", "target"),
)

# 8. Dense machines.
D.define(
    "dense-energy",
    Eq(E_D, total(h[mu] * F1(h[mu]) - F(h[mu]), mu) - total(F1(h[mu]) * xi[mu, i] * S[i], mu, i)),
    "Spins $S_i=\\pm1$, hidden units with any Lagrangian $F$.",
    source=LARGE,
)
D.exact("dense-local", Eq(-Derivative(E_D, S[i]), total(F1(h[mu]) * xi[mu, i], mu)), "It is linear in each spin, so given $h$ the spins are independent,", using=("dense-energy",))
D.numeric("spin-mean", Eq((exp(X) - exp(-X)) / (exp(X) + exp(-X)), tanh(X)), "with mean $\\tanh$ of this.")
D.exact(
    "dense-hidden",
    Eq(-Derivative(E_D, h[mu]), F2(h[mu]) * (total(xi[mu, i] * S[i], i) - h[mu])),
    "Given the spins each hidden unit has its own density, at rest at $\\xi_\\mu\\cdot S$.",
    using=("dense-energy",),
)
D.define("dense-exponent", Eq(theta, F(H) - H * F1(H) + F1(H) * X), "Its exponent, with $X=\\xi_\\mu\\cdot S$.")
D.exact(
    "dense-curvature",
    Eq(Derivative(theta, (H, 2)), F3(H) * (X - H) - F2(H)),
    "Value $F(X)$ and curvature $-F''(X)$ at $H=X$: Laplace's method gives $e^{F(X)}\\sqrt{2\\pi/F''(X)}$.",
    using=("dense-exponent",),
)
D.exact(
    "dense-square",
    Eq(H**2 / 2 - H * H + H * X, X**2 / 2 - (H - X) ** 2 / 2),
    "For $F=h^2/2$ it is a square: the marginal is $e^{F(X)}$ exactly, Hopfield's network.",
)
