"""Noisy examples in a dense memory, random associations in a linear one (page: book/memory/examples.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Sum, erf, exp, factorial, gamma, log, pi, sqrt, symbols

from hopmix.derivation import Derivation

N, M, d, V = symbols("N M d V", integer=True, positive=True)
i, j, k, l, m, a, b, s, t, x, y = symbols("i j k l m a b s t x y", integer=True, positive=True)
z, C, e, u, g, q, W, score = (IndexedBase(name) for name in ("z", "C", "e", "u", "g", "q", "W", "S"))
f, r, R, rho, K, P, m_0 = symbols("f r R rho K P m_0", positive=True)
signal, crosstalk, variance, h = symbols("H Q v h", positive=True)
alpha, c, T, w, X, gamma_, beta = symbols("alpha c T w X gamma B", positive=True)
h_T, theta = symbols("epsilon theta", positive=True)
p, U, error, x_star, x_cut, error_cut = symbols("p U E x_* x_d E_d", positive=True)

AGLIARI, CABANNES = "agliari2023dense", "cabannes2024scaling"

DERIVATION = Derivation(
    "memory/examples",
    title="Memories that see only examples",
    sources=(AGLIARI, CABANNES),
    indices={**dict.fromkeys((i, j, k, l, m), N), **dict.fromkeys((a, b), M), **dict.fromkeys((s, t), d), x: V, y: V},
)
D = DERIVATION


def total(body, *indices):
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. Examples and their mean.
D.define("keep", Eq(f, (1 + r) / 2), "The probability that an example has the pattern's sign at a neuron.", source=AGLIARI)
D.exact("mean-sign", Eq(2 * f - 1, r), "The mean of $+1$ with this probability, $-1$ else, is the quality,", using=("keep",))
D.exact("variance-sign", Eq(f * (1 - r) ** 2 + (1 - f) * (1 + r) ** 2, 1 - r**2), "its variance is this,", using=("keep",))
D.exact("third-sign", Eq(f * (1 - r) ** 3 + (1 - f) * (1 + r) ** 3, (1 - r**2) * (1 + r**2)), "and its third absolute moment around the mean this.", using=("keep",))
D.define("second-moments", Eq(C[a, b], r**2 + (1 - r**2) * KroneckerDelta(a, b)), "The mean product of the signs of two examples, the same one or independent.", source=AGLIARI)
D.define("mean-square", Eq(R, total(C[a, b], a, b) / M**2), "The mean square of the mean of $M$ examples.")
D.exact("mean-square-value", Eq(R, r**2 + (1 - r**2) / M), "The signal's square, and what noise is left of $M$ examples.", using=("mean-square", "second-moments"))
D.define("relative-noise", Eq(rho, (1 - r**2) / (M * r**2)), "This noise in units of the signal's square.", source=AGLIARI)
D.exact("mean-square-relative", Eq(r**2 + (1 - r**2) / M, r**2 * (1 + rho)), "So $R=r^2(1+\\rho)$.", using=("relative-noise",))

# 2. The field: sums over sets of different neurons.
_other = (lambda *indices: [1 - KroneckerDelta(i, index) for index in indices])
D.exact(
    "pairs",
    Eq(total(_other(j)[0] * _other(k)[0] * (1 - KroneckerDelta(j, k)) * z[j] * z[k], j, k), (total(z[j], j) - z[i]) ** 2 - (total(z[j] ** 2, j) - z[i] ** 2)),
    "For $P=3$: ordered pairs of different neurons, none of them $i$, by power sums.",
)
D.exact("count-one", Eq(total(_other(j)[0], j), N - 1), "Ordered choices of one neuron that is not $i$,")
D.exact("count-two", Eq(total(_other(j)[0] * _other(k)[0] * (1 - KroneckerDelta(j, k)), j, k), (N - 1) ** 2 - (N - 1)), "and of two different ones: all pairs less the equal ones, $(N-1)(N-2)$.")

_delta = KroneckerDelta
D.exact(
    "crosstalk-pairs",
    Eq(
        total((1 - _delta(j, k)) * R**2 * (_delta(j, l) * _delta(k, m) + _delta(j, m) * _delta(k, l)), j, k, l, m),
        2 * R**2 * total(1 - _delta(j, k), j, k),
    ),
    "Two ordered pairs of another pattern have factors of mean zero, and a mean product only in the $(P-1)!$ orders of one set.",
)

# 3. Signal and crosstalk, to leading order in N.
D.define("signal", Eq(signal, r * (m_0 * r * N) ** (P - 1)), "The mean of the pattern's own contribution, from a state of overlap $m_0$.")
D.exact("signal-value", Eq(signal, r**P * (m_0 * N) ** (P - 1)), "One factor $r$ for each of the $P$ neurons.", using=("signal",))
D.define("crosstalk", Eq(crosstalk, K * factorial(P - 1) * N ** (P - 1) * (r**2 * (1 + rho)) ** P), "The variance of all others' contribution.")
D.exact(
    "noise-to-signal",
    Eq(crosstalk / signal**2, K * factorial(P - 1) * (1 + rho) ** P / (N ** (P - 1) * m_0 ** (2 * P - 2))),
    "In units of the signal's square the quality is gone, but for $\\rho$.",
    using=("signal", "crosstalk"),
)
D.define("field-variance", Eq(variance, rho * signal**2 + crosstalk), "The noise of the mean example at the neuron itself joins it.")
D.exact("erf", Eq(Derivative(erf(h / sqrt(2 * variance)), h), 2 * exp(-(h**2) / (2 * variance)) / sqrt(2 * pi * variance)), "The slope of the error function is twice a normal density.")
D.exact(
    "closed",
    Eq(signal**2 / (2 * variance), 1 / (2 * (rho + K * factorial(P - 1) * (1 + rho) ** P / (N ** (P - 1) * m_0 ** (2 * P - 2))))),
    "The square of the argument.",
    using=("field-variance", "crosstalk", "signal"),
)

# 4. Inputs that were never seen.
D.define("zipf", Eq(p, c * X ** (-alpha)), "Zipf's law, with $X$ for a real $x$.", source=CABANNES)
D.exact("rate", Eq(Derivative(T * c * X ** (-alpha), X), -alpha * T * p / X), "Let $w=Tp$ be the new variable: it falls from infinity to zero.", using=("zipf",))
D.exact(
    "substitution",
    Eq((w / T) * (T * c / w) ** (1 / alpha) / (alpha * w), c ** (1 / alpha) / (alpha * T ** (1 - 1 / alpha)) * w ** (-1 / alpha)),
    "So $p\\,dX$ becomes this times $dw$, since $X=(Tc/w)^{1/\\alpha}$.",
)
D.define("unseen", Eq(U, c ** (1 / alpha) * gamma(1 - 1 / alpha) / (alpha * T ** (1 - 1 / alpha))), "The integral over $w$ with $e^{-w}$ is a gamma function.")
D.exact("unseen-level", Eq(alpha * T * U / gamma(1 - 1 / alpha), (c * T) ** (1 / alpha)), "Here $(cT)^{1/\\alpha}$ is the input that is expected once among $T$ samples.", using=("unseen",))
D.exact("unseen-exponent", Eq(T * Derivative(U, T) / U, -(1 - 1 / alpha)), "Its exponent.", using=("unseen",))
_ratio = exp(w + log(1 - w * h_T) / h_T)
D.exact("first-order", Eq(Limit((_ratio - 1) / h_T, h_T, 0, "+"), -(w**2) / 2), "How $(1-p)^T$ differs from $e^{-Tp}$, with $\\epsilon=1/T$: to first order,")
D.exact("second-order", Eq(Limit((_ratio - 1 + h_T * w**2 / 2) / h_T**2, h_T, 0, "+"), w**4 / 8 - w**3 / 3), "and to second.")
D.exact("first-correction", Eq(-gamma(theta + 2) / (2 * gamma(theta)), -theta * (theta + 1) / 2), "Under the integral powers of $w$ become ratios of gamma functions, with $\\theta=1-\\frac1\\alpha$.")
D.exact(
    "second-correction",
    Eq(gamma(theta + 4) / (8 * gamma(theta)) - gamma(theta + 3) / (3 * gamma(theta)), theta * (theta + 1) * (theta + 2) * (3 * theta + 1) / 24),
    "The same for the second order.",
)

# 5. Associations in a matrix.
D.define("memory", Eq(W[s, t], total(q[y] * g[y, s] * e[y, t], y)), "Outer products of answers and inputs, weighted.", source=CABANNES)
D.exact(
    "score",
    Eq(total(u[s] * W[s, t] * e[x, t], s, t), total(q[y] * total(u[s] * g[y, s], s) * total(e[y, t] * e[x, t], t), y)),
    "The score of an answer $u$: what is stored counts as far as inputs and answers are alike.",
    using=("memory",),
)
D.define("reach", Eq(x_star, (d / beta) ** (1 / (2 * gamma_ * alpha))), "The last input that is heard.")
D.exact("reach-level", Eq((c**gamma_ * x_star ** (-gamma_ * alpha)) ** 2, c ** (2 * gamma_) * beta / d), "There the signal's square is as the noise, $B$ times $c^{2\\gamma}/d$.", using=("reach",))
D.exact("tail", Eq(Derivative(c * X ** (1 - alpha) / (alpha - 1), X), -p), "The probability beyond $X$ is $cX^{1-\\alpha}/(\\alpha-1)$.", using=("zipf",))
D.define("model-error", Eq(error, c * x_star ** (1 - alpha) / (alpha - 1)), "What lies beyond the reach is lost.")
D.exact("model-value", Eq(error, c / (alpha - 1) * (beta / d) ** ((alpha - 1) / (2 * gamma_ * alpha))), "A power of the dimension.", using=("model-error", "reach"))
D.define("cut", Eq(x_cut, d / 8), "Or store the first inputs alone, all alike.")
D.define("cut-error", Eq(error_cut, c * x_cut ** (1 - alpha) / (alpha - 1)), "The probability beyond them.")
D.exact("cut-value", Eq(error_cut, c * 8 ** (alpha - 1) / ((alpha - 1) * d ** (alpha - 1))), "A steeper power.", using=("cut-error", "cut"))
