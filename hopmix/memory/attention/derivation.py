"""Attention as a step of a two-layer memory, its retrieval bound and its capacity (page: book/memory/attention.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Rational, Sum, exp, log, oo, sqrt, symbols

from hopmix.derivation import Derivation, Rate, function_with_derivative

N, K, T = symbols("N K T", integer=True, positive=True)
i, j, mu, nu, omega, m = symbols("i j mu nu omega m", integer=True, positive=True)

x, xi, zeta, p, ell, h, F, g, v, u, b, sigma = (
    IndexedBase(name) for name in ("x", "xi", "zeta", "p", "ell", "h", "F", "g", "v", "u", "b", "sigma")
)
y, ell_next, h_next, F_v = (IndexedBase(name) for name in ("y", "ell^+", "h^+", "F^v"))
M_2, M_4, M_6 = (IndexedBase(name) for name in ("A", "B", "C"))

beta, eta, tau, kappa, r, D_xi, a = *symbols("beta eta tau kappa r D", positive=True), symbols("a", real=True)
E, E_next, E_a, E_s, L_v, L_h, L_s, KL = symbols("E E^+ E_a E_s L_v L_h L_s D_KL", real=True)
Z, Z_next, rho, V_2, V_3, V_4 = symbols("Z Z^+ rho V_2 V_3 V_4", positive=True)
S_2, S_3, S_4 = symbols("S_2 S_3 S_4", positive=True)
t, t_star, varphi, alpha_c = symbols("t t_* varphi alpha_c", real=True)
Phi, f = function_with_derivative("Phi", "f")

HAM, LARGE, RAMSAUER, DENSE = "krotov2021hierarchical", "krotov2021large", "ramsauer2021hopfield", "krotov2016dense"
DEMIRCIGIL, LUCIBELLO, ATTENTION = "demircigil2017model", "lucibello2024exponential", "vaswani2017attention"

DERIVATION = Derivation(
    "memory/attention",
    title="Attention as a step of a two-layer memory",
    sources=(RAMSAUER, LARGE, DENSE),
    indices={**dict.fromkeys((i, j), N), **dict.fromkeys((mu, nu, omega), K), m: T},
    dynamic=(x, h, p, E, L_v, L_h, E_a),
)
D = DERIVATION


def total(body, *indices):
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. Two layers.
D.define("visible-lagrangian", Eq(L_v, total(x[j] ** 2, j) / 2), "Linear visible neurons: the activation is the state.", source=LARGE)
D.define("hidden-lagrangian", Eq(L_h, log(total(exp(beta * h[nu]), nu)) / beta), "One hidden neuron for each pattern, in competition.", source=LARGE)
D.exact("hidden-activation", Eq(Derivative(L_h, h[mu]), exp(beta * h[mu]) / total(exp(beta * h[nu]), nu)), "The gradient of log-sum-exp is softmax, with inverse temperature $\\beta$.", using=("hidden-lagrangian",))
D.define("weights", Eq(p[mu], exp(beta * h[mu]) / total(exp(beta * h[nu]), nu)), "A name for it: each pattern has a weight, and the weights sum to one.")
D.define("fast-hidden", Eq(h[mu], total(xi[mu, j] * x[j], j)), "Fast hidden neurons hold their drive, the overlap with their pattern.", source=HAM)
_WEIGHTS = ("weights", "fast-hidden")
D.define(
    "two-layer-energy",
    Eq(E, total(x[j] * x[j], j) - L_v + total(h[mu] * p[mu], mu) - L_h - total(p[mu] * xi[mu, j] * x[j], mu, j)),
    "The energy of a hierarchical memory.",
    source=HAM,
)
_log_partition = log(total(exp(beta * total(xi[mu, j] * x[j], j)), mu))
_ENERGY = ("two-layer-energy", "visible-lagrangian", "hidden-lagrangian", *_WEIGHTS)
D.exact("energy", Eq(E, total(x[j] ** 2, j) / 2 - _log_partition / beta), "What fast hidden neurons leave of it.", using=_ENERGY)
D.define("drive", Eq(F[i], total(p[mu] * xi[mu, i], mu)), "What comes back through the same synapses.")
_softmax = exp(beta * total(xi[mu, j] * x[j], j)) / total(exp(beta * total(xi[nu, j] * x[j], j)), nu)
D.exact("attention", Eq(F[i], total(_softmax * xi[mu, i], mu)), "Softmax attention of the query $x$; the patterns are keys and values.", using=("drive", *_WEIGHTS))
D.exact("force", Eq(Derivative(E, x[i]), x[i] - F[i]), "The energy is stationary where attention returns its query.", using=("energy", "drive", *_WEIGHTS))
D.define("motion", Eq(tau * Rate(x[i]), F[i] - x[i]), "The visible neurons leak and are driven.", source=HAM)
D.exact("rate", Eq(Rate(E), -tau * total(Rate(x[i]) ** 2, i)), "It falls until the state rests.", using=("energy", "motion", "drive", *_WEIGHTS))

# 2. Hidden neurons that do not compete.
D.define("length", Eq(L_s, sqrt(total(x[j] ** 2, j))), "The Lagrangian of visible neurons on a sphere.", source=LARGE)
D.exact("direction-gradient", Eq(Derivative(L_s, x[i]), x[i] / sqrt(total(x[j] ** 2, j))), "Its gradient does not see the length of the state.", using=("length",))
D.define("direction", Eq(g[i], x[i] / sqrt(total(x[j] ** 2, j))), "So this is their activation.")
D.define("overlap", Eq(u[mu], total(xi[mu, j] * g[j], j)), "The drive of a fast hidden neuron.")
D.define(
    "elementwise-energy",
    Eq(E_s, total(x[j] * g[j], j) - L_s + total(u[mu] * f(u[mu]) - Phi(u[mu]), mu) - total(f(u[mu]) * xi[mu, j] * g[j], mu, j)),
    "The energy of a hierarchical memory again; each hidden neuron has a Lagrangian $\\Phi$ of its own, with $f=\\Phi'$.",
    source=LARGE,
)
D.exact(
    "dense-energy",
    Eq(E_s, -total(Phi(total(xi[mu, j] * g[j], j)), mu)),
    "The visible layer's own energy vanishes, and what is left is a sum over patterns: a dense associative memory.",
    using=("elementwise-energy", "overlap", "length", "direction"),
)

# 3. A step lowers the energy, and by how much.
D.define("step", Eq(y[i], x[i] + eta * (F[i] - x[i])), "An explicit step; at $\\eta=1$ it is attention.")
D.define("partition", Eq(Z, total(exp(beta * h[nu]), nu)), "The softmax's denominator.")
D.define("next-hidden", Eq(h_next[mu], total(xi[mu, j] * y[j], j)), "The overlaps after the step.")
D.define("next-partition", Eq(Z_next, total(exp(beta * h_next[nu]), nu)), "The denominator after the step.")
D.define("next-energy", Eq(E_next, total(y[j] ** 2, j) / 2 - log(Z_next) / beta), "The energy after the step.")
D.exact("next-energy-written", Eq(E_next, total(y[j] ** 2, j) / 2 - log(total(exp(beta * total(xi[mu, j] * y[j], j)), mu)) / beta), "It is the same function of the new state.", using=("next-energy", "next-partition", "next-hidden"))
D.define("log-weight", Eq(ell[mu], beta * h[mu] - log(Z)), "The logarithm of a softmax weight.")
D.exact("log-weight-exp", Eq(exp(ell[mu]), exp(beta * h[mu]) / total(exp(beta * h[nu]), nu)), "It is.", using=("log-weight", "partition"))
D.define("next-log-weight", Eq(ell_next[mu], beta * h_next[mu] - log(Z_next)), "The same after the step.")
D.exact("next-log-weight-exp", Eq(exp(ell_next[mu]), exp(beta * h_next[mu]) / total(exp(beta * h_next[nu]), nu)), "It is the softmax there.", using=("next-log-weight", "next-partition"))
D.define("divergence", Eq(KL, total(p[mu] * (ell[mu] - ell_next[mu]), mu)), "The Kullback-Leibler divergence of the new weights from the old.")
D.exact(
    "divergence-written",
    Eq(KL, beta * total(p[mu] * (h[mu] - h_next[mu]), mu) + log(Z_next) - log(Z)),
    "The weights sum to one.",
    using=("divergence", "log-weight", "next-log-weight", "weights"),
)
D.exact("energy-partition", Eq(E, total(x[j] ** 2, j) / 2 - log(Z) / beta), "The energy in these terms.", using=("energy", "partition", "fast-hidden"))
D.exact("displacement", Eq(y[i] - x[i], eta * (F[i] - x[i])), "How far the step goes.", using=("step",))
D.exact(
    "drop",
    Eq(E - E_next, (1 / eta - Rational(1, 2)) * total((y[j] - x[j]) ** 2, j) + KL / beta),
    "Exact for every step size.",
    using=("energy-partition", "next-energy", "divergence-written", "fast-hidden", "next-hidden", "step", "drive"),
)

# 4. Keys that are not the values.
D.define("value-drive", Eq(F_v[i], total(p[mu] * zeta[mu, i], mu)), "Attention with keys $\\xi$ and values $\\zeta$.", source=ATTENTION)
D.define("value-motion", Eq(tau * Rate(x[i]), F_v[i] - x[i]), "The same motion.")
D.define("weight-rate", Eq(Rate(p[mu]), beta * p[mu] * (Rate(h[mu]) - total(p[nu] * Rate(h[nu]), nu))), "The chain rule for softmax.")
D.exact("weight-rate-written", Eq(Rate(exp(beta * h[mu]) / total(exp(beta * h[nu]), nu)), Rate(p[mu])), "The chain rule, carried out.", using=("weight-rate", "weights"))
D.define("lagrangian-rate", Eq(Rate(L_h), total(p[mu] * Rate(h[mu]), mu)), "The chain rule, as the weights are the gradient.")
D.exact("lagrangian-rate-written", Eq(Rate(log(total(exp(beta * h[nu]), nu)) / beta), Rate(L_h)), "The chain rule, carried out.", using=("lagrangian-rate", "weights"))
_overlap = total(p[mu] * (xi[mu, j] - zeta[mu, j]) * x[j], mu, j)
D.define("value-energy", Eq(E_a, total(x[j] ** 2, j) / 2 - L_h + _overlap / 2), "The hierarchical memory's energy, where each synapse counts half for each way.")
D.exact(
    "value-rate",
    Eq(
        Rate(E_a),
        -tau * total(Rate(x[j]) ** 2, j)
        + total(p[mu] * (zeta[mu, j] - xi[mu, j]) * Rate(x[j]), mu, j) / 2
        - total(Rate(p[mu]) * (zeta[mu, j] - xi[mu, j]) * x[j], mu, j) / 2,
    ),
    "What asymmetry adds can have either sign.",
    using=("value-energy", "value-motion", "value-drive", "lagrangian-rate", "fast-hidden"),
)

# 5. How well one step retrieves.
D.exact("retrieval-error", Eq(F[i] - xi[nu, i], total(p[mu] * (xi[mu, i] - xi[nu, i]), mu)), "The weights sum to one.", using=("drive", *_WEIGHTS))
D.exact("weight-ratio", Eq(p[mu] * exp(beta * h[nu]), p[nu] * exp(beta * h[mu])), "Only differences of overlaps matter.", using=("weights",))
D.exact(
    "gap",
    Eq(h[nu] - h[mu], total(xi[nu, j] * (xi[nu, j] - xi[mu, j]), j) + total((xi[nu, j] - xi[mu, j]) * (x[j] - xi[nu, j]), j)),
    "The overlap's lead at the pattern itself, and what it loses on the way to $x$.",
    using=("fast-hidden",),
)
D.exact("jacobian", Eq(Derivative(F[i], x[j]), beta * (total(p[mu] * xi[mu, i] * xi[mu, j], mu) - F[i] * F[j])), "The covariance of the patterns under the softmax.", using=("drive", *_WEIGHTS))
D.exact(
    "second-moment",
    Eq(
        total(v[i] * Derivative(F[i], x[j]) * v[j], i, j),
        beta * total(p[mu] * total(v[j] * (xi[mu, j] - b[j]), j) ** 2, mu) - beta * total(v[j] * (F[j] - b[j]), j) ** 2,
    ),
    "Around any point $b$: a covariance is at most a second moment.",
    using=("jacobian", "drive", *_WEIGHTS),
)
D.exact("best-radius", Eq(Limit(Derivative(log(r) - beta * D_xi * r, r), r, 1 / (beta * D_xi)), 0), "Where $r\\,e^{-\\beta D r}$ is largest.")
D.exact(
    "energy-at-pattern",
    Eq(E, total((x[j] - xi[nu, j]) ** 2, j) / 2 - total(xi[nu, j] ** 2, j) / 2 + ell[nu] / beta),
    "For any one pattern, in terms of its softmax weight.",
    using=("energy", "log-weight", "partition", "fast-hidden"),
)
D.exact(
    "energy-from-uniform",
    Eq(E, total(x[j] ** 2, j) / 2 - total(xi[mu, j] * x[j], mu, j) / K + total(ell[mu], mu) / (beta * K)),
    "And in terms of the mean of all of them.",
    using=("energy", "log-weight", "partition", "fast-hidden"),
)
D.define("mean-pattern", Eq(b[i], total(xi[nu, i], nu) / K), "The mean of all patterns.")
D.exact(
    "uniform-covariance",
    Eq(
        total(xi[mu, i] * xi[mu, j] / K, mu) - b[i] * b[j],
        total((xi[mu, i] - b[i]) * (xi[mu, j] - b[j]), mu) / K,
    ),
    "With equal weights the Jacobian is $\\beta$ times the covariance of the data.",
    using=("mean-pattern",),
)

# 6. Capacity of dense memories: neurons of +-1, energy -sum F(overlap).
D.exact("flip", Eq(total(xi[mu, j] * sigma[j] * (1 - 2 * KroneckerDelta(i, j)), j), total(xi[mu, j] * sigma[j], j) - 2 * xi[mu, i] * sigma[i]), "Flipping neuron $i$ moves each overlap by two.")
D.exact("noise-2", Eq((a + 1) ** 2 - (a - 1) ** 2, 4 * a), "Degree two.")
D.exact("noise-3", Eq((a + 1) ** 3 - (a - 1) ** 3, 6 * a**2 + 2), "Degree three.")
D.exact("noise-4", Eq((a + 1) ** 4 - (a - 1) ** 4, 8 * a**3 + 8 * a), "Degree four.")
D.define("moment-2", Eq(M_2[m], m), "The mean square of a sum of $m$ independent signs,")
D.define("moment-4", Eq(M_4[m], 3 * m**2 - 2 * m), "its fourth moment,")
D.define("moment-6", Eq(M_6[m], 15 * m**3 - 30 * m**2 + 16 * m), "and its sixth.")
_average = (lambda k: ((a + 1) ** k + (a - 1) ** k) / 2)
D.exact("another-sign-2", Eq(_average(2), a**2 + 1), "One more sign, averaged over its values.")
D.exact("another-sign-4", Eq(_average(4), a**4 + 6 * a**2 + 1), "The same for the fourth power,")
D.exact("another-sign-6", Eq(_average(6), a**6 + 15 * a**4 + 15 * a**2 + 1), "and the sixth.")
D.exact("moment-2-step", Eq(M_2[m + 1], M_2[m] + 1), "So the second moment grows by one with every sign, from zero,", using=("moment-2",))
D.exact("moment-4-step", Eq(M_4[m + 1], M_4[m] + 6 * M_2[m] + 1), "the fourth like this,", using=("moment-4", "moment-2"))
D.exact("moment-6-step", Eq(M_6[m + 1], M_6[m] + 15 * M_4[m] + 15 * M_2[m] + 1), "and the sixth so.", using=("moment-6", "moment-4", "moment-2"))
D.exact("square-3", Eq((6 * a**2 + 2) ** 2, 36 * a**4 + 24 * a**2 + 4), "The square that is averaged for degree three,")
D.exact("square-4", Eq((8 * a**3 + 8 * a) ** 2, 64 * (a**6 + 2 * a**4 + a**2)), "and for degree four.")
D.define("variance-2", Eq(V_2, 16 * M_2[N - 1]), "The variance of one pattern's noise, degree two,")
D.define("variance-3", Eq(V_3, 36 * M_4[N - 1] + 24 * M_2[N - 1] + 4), "degree three,")
D.define("variance-4", Eq(V_4, 64 * (M_6[N - 1] + 2 * M_4[N - 1] + M_2[N - 1])), "and degree four.")
D.exact("variance-3-value", Eq(V_3, 108 * (N - 1) ** 2 - 48 * (N - 1) + 4), "As polynomials in the number of neurons: for degree three,", using=("variance-3", "moment-2", "moment-4"))
D.exact("variance-4-value", Eq(V_4, (N - 1) * (15 * (N - 1) ** 2 - 24 * (N - 1) + 13) * 64), "and degree four.", using=("variance-4", "moment-2", "moment-4", "moment-6"))
_SIGNALS = {2: (S_2, V_2, 4 * (N - 1), 1), 3: (S_3, V_3, 6 * (N - 1) ** 2 + 2, Rational(1, 3)), 4: (S_4, V_4, 8 * (N - 1) ** 3 + 8 * (N - 1), Rational(1, 15))}
for _n, (_signal, _variance, _value, _limit) in _SIGNALS.items():
    D.define(f"signal-{_n}", Eq(_signal, N**_n - (N - 2) ** _n), f"The signal of degree {_n}: the pattern's own overlap is $N$.")
    D.exact(f"signal-{_n}-value", Eq(_signal, _value), "The same polynomial as the noise, at $a=N-1$.", using=(f"signal-{_n}",))
    D.exact(
        f"load-{_n}",
        Eq(Limit(_signal**2 / (_variance * N ** (_n - 1)), N, oo), _limit),
        f"Signal over noise of degree {_n}, in units of ${'N' if _n == 2 else f'N^{_n - 1}'}$.",
        using=(f"signal-{_n}", *(("variance-2", "moment-2") if _n == 2 else (f"variance-{_n}-value",))),
    )
D.exact("noise-exponential", Eq(exp(a + 1) - exp(a - 1), (exp(1) - exp(-1)) * exp(a)), "The exponential energy.")
D.exact(
    "another-sign-exponential",
    Eq((exp(2 * (a + 1)) + exp(2 * (a - 1))) / 2, (exp(2) + exp(-2)) / 2 * exp(2 * a)),
    "So the mean square of $e^a$ is $(\\cosh 2)^{N-1}$.",
)
D.exact(
    "signal-exponential",
    Eq(exp(N) - exp(N - 2), (exp(1) - exp(-1)) * exp(N - 1)),
    "The signal has the same factor.",
)

# 7. Capacity of attention on the sphere.
D.define("overlap-rate", Eq(varphi, kappa * t + log(1 - t**2) / 2), "The exponent with which patterns at overlap $t$ contribute.")
D.exact("overlap-slope", Eq(Derivative(varphi, t), kappa - t / (1 - t**2)), "It is stationary where $\\kappa=t/(1-t^2)$,", using=("overlap-rate",))
D.exact("curvature", Eq(Derivative(varphi, (t, 2)), -(1 + t**2) / (1 - t**2) ** 2), "and concave, so there is one such overlap.", using=("overlap-rate",))
D.define("dominant-overlap", Eq(t_star, (sqrt(1 + 4 * kappa**2) - 1) / (2 * kappa)), "The overlap that contributes most.")
D.exact("stationary", Eq(kappa * (1 - t_star**2), t_star), "It is that one.", using=("dominant-overlap",))
D.numeric("dominant-positive", t_star > 0, "An overlap between zero and one: patterns that agree with ours by chance.", using=("dominant-overlap",))
D.define("capacity", Eq(alpha_c, kappa * (1 - t_star) - log(1 - t_star**2) / 2), "The load at which the others reach the pattern's own $e^{\\kappa N}$.")
D.exact("capacity-rate", Eq(Derivative(alpha_c, kappa), 1 - t_star), "It grows with the inverse temperature.", using=("capacity", "dominant-overlap"))
D.exact(
    "capacity-overlap",
    Eq(t / (1 - t**2) * (1 - t) - log(1 - t**2) / 2, t / (1 + t) - log(1 - t**2) / 2),
    "In terms of the dominant overlap, without $\\kappa$.",
)
D.exact("capacity-small", Eq(Limit((t / (1 + t) - log(1 - t**2) / 2) / (t / (1 - t**2)), t, 0, "+"), 1), "$\\alpha_c/\\kappa$ for high temperature,")
D.exact(
    "capacity-large",
    Eq(Limit(t / (1 + t) - log(t) / 2, t, 1, "-"), Rational(1, 2)),
    "and $\\alpha_c-\\frac12\\log\\kappa$ for low temperature.",
)
D.exact(
    "prefactor",
    Eq((1 - t**2) ** (-3) * (1 - t**2) ** 2 / (1 + t**2), 1 / (1 - t**4)),
    "Laplace's method around it: the square of the number that multiplies the exponential.",
)
