"""Mixer blocks compared, step by step: parallel and serial, tied and free (page: book/mixers/blocks.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Rational, Sum, Symbol, sqrt, symbols

from hopmix.derivation import Derivation, Rate, function_with_derivative

S, C, N, N_s, N_c, L = symbols("S C N N_s N_c L", integer=True, positive=True)
i, j, k, I, J, K = symbols("i j k I J K", integer=True, positive=True)
alpha, beta, m, n, p, ell = symbols("alpha beta m n p ell", integer=True, positive=True)

x, g, u, v, w, a, F, G = (IndexedBase(name) for name in ("x", "g", "u", "v", "w", "a", "F", "G"))
y_p, y_t, y_c, y_f = (IndexedBase(name) for name in ("y^p", "y^t", "y^c", "y^f"))
G_u, F_v = IndexedBase("G^u"), IndexedBase("F^v")
J_F, J_G, K_F, K_G = (IndexedBase(name) for name in ("J^F", "J^G", "K^F", "K^G"))
R_F, R_G, R_f = (IndexedBase(name) for name in ("R^F", "R^G", "R^f"))
A, B, u_l, v_l = IndexedBase("A"), IndexedBase("B"), IndexedBase("u^l"), IndexedBase("v^l")
W, V, O, Q, s, r, D_s, D_c = (IndexedBase(name) for name in ("W", "V", "O", "Q", "s", "r", "D^s", "D^c"))
d_s, d_c = IndexedBase("d^s"), IndexedBase("d^c")
h, c = Symbol("h", positive=True), Symbol("c", positive=True)
xbar, U = symbols("xbar U", real=True)
M_f, M_t, n_1, P_v, P_p, P_s, T_p = symbols("M_f M_t n_1 P_v P_p P_s T_p", positive=True)
q, kappa, Y = symbols("q kappa Y", positive=True)
Phi, f, f_prime = function_with_derivative("Phi", "f", "f'")

MIXER, PARALLEL = "tolstikhin2021mlp", "karakida2024hierarchical"

DERIVATION = Derivation(
    "mixers/blocks",
    title="Mixer blocks: parallel and serial, tied and free",
    sources=(MIXER, PARALLEL),
    indices={
        **dict.fromkeys((i, j, k), S),
        **dict.fromkeys((I, J, K), C),
        **dict.fromkeys((m, n, p), N),
        **{alpha: N_s, beta: N_c, ell: L},
    },
    dynamic=(x, F, G),
)
D = DERIVATION


def total(body, *indices):
    """A sum over `indices`, each over its whole range."""
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. Two ways to take a step along F + G; one index runs over all entries of the state.
D.define("parallel-step", Eq(y_p[n], x[n] + h * (F[n] + G[n])), "Both branches read the same state.", source=PARALLEL)
D.define("token-half", Eq(u[n], x[n] + h * F[n]), "Tokens first.", source=MIXER)
D.define("serial-step", Eq(y_t[n], u[n] + h * G_u[n]), "$G^u$ is the channel branch at $u$.", source=MIXER)
D.define(
    "taylor",
    Eq(
        G_u[n],
        G[n]
        + total(J_G[n, m] * (u[m] - x[m]), m)
        + Rational(1, 2) * total(K_G[n, m, p] * (u[m] - x[m]) * (u[p] - x[p]), m, p)
        + R_G[n],
    ),
    "Taylor's theorem with Jacobian $J^G$, second derivatives $K^G$ and remainder $R^G$.",
)
_TOKENS = ("serial-step", "taylor", "token-half")
D.exact(
    "splitting",
    Eq(
        y_t[n] - y_p[n],
        h**2 * total(J_G[n, m] * F[m], m) + h**3 / 2 * total(K_G[n, m, p] * F[m] * F[p], m, p) + h * R_G[n],
    ),
    "What the channel branch sees of the token branch, if it comes second.",
    using=("parallel-step", *_TOKENS),
)
D.define("channel-half", Eq(v[n], x[n] + h * G[n]), "Channels first.")
D.define("reversed-step", Eq(y_c[n], v[n] + h * F_v[n]), "The other order.")
D.define(
    "taylor-reversed",
    Eq(
        F_v[n],
        F[n]
        + total(J_F[n, m] * (v[m] - x[m]), m)
        + Rational(1, 2) * total(K_F[n, m, p] * (v[m] - x[m]) * (v[p] - x[p]), m, p)
        + R_F[n],
    ),
    "Taylor's theorem for the token branch.",
)
_CHANNELS = ("reversed-step", "taylor-reversed", "channel-half")
D.exact(
    "commutator",
    Eq(
        y_t[n] - y_c[n],
        h**2 * total(J_G[n, m] * F[m] - J_F[n, m] * G[m], m)
        + h**3 / 2 * total(K_G[n, m, p] * F[m] * F[p], m, p)
        - h**3 / 2 * total(K_F[n, m, p] * G[m] * G[p], m, p)
        + h * (R_G[n] - R_F[n]),
    ),
    "The two serial orders differ by the commutator of the two fields.",
    using=(*_TOKENS, *_CHANNELS),
)
D.define("flow", Eq(Rate(x[n]), F[n] + G[n]), "The flow that all of them approximate.")
D.define("token-rate", Eq(Rate(F[n]), total(J_F[n, m] * Rate(x[m]), m)), "The chain rule.")
D.define("channel-rate", Eq(Rate(G[n]), total(J_G[n, m] * Rate(x[m]), m)), "The chain rule.")
D.define("acceleration", Eq(a[n], Rate(F[n] + G[n])), "The second derivative of the state.")
D.define("flow-taylor", Eq(y_f[n], x[n] + h * (F[n] + G[n]) + h**2 / 2 * a[n] + R_f[n]), "The flow after time $h$.")
_FLOW = ("flow-taylor", "acceleration", "flow", "token-rate", "channel-rate")
D.exact(
    "parallel-error",
    Eq(y_f[n] - y_p[n], h**2 / 2 * total((J_F[n, m] + J_G[n, m]) * (F[m] + G[m]), m) + R_f[n]),
    "Euler's method for the sum: it misses all four terms.",
    using=("parallel-step", *_FLOW),
)
D.exact(
    "mean-error",
    Eq(
        y_f[n] - (y_t[n] + y_c[n]) / 2,
        h**2 / 2 * total(J_F[n, m] * F[m] + J_G[n, m] * G[m], m)
        - h**3 / 4 * total(K_G[n, m, p] * F[m] * F[p], m, p)
        - h**3 / 4 * total(K_F[n, m, p] * G[m] * G[p], m, p)
        + R_f[n]
        - h * (R_G[n] + R_F[n]) / 2,
    ),
    "The mean of both orders has the mixed terms right: what is left is the error of Euler's method within each branch.",
    using=(*_TOKENS, *_CHANNELS, *_FLOW),
)

# 2. What the step size means: at eps = 0 the branches do not see the length of the state.
D.define("mean", Eq(xbar, total(x[j, J], j, J) / (S * C)), "The mean over tokens and channels.")
_scaled = x[i, I] / h - total(x[j, J] / h, j, J) / (S * C)
_scaled_square = total((x[k, K] / h - total(x[j, J] / h, j, J) / (S * C)) ** 2, k, K)
D.exact(
    "same-activations",
    Eq(_scaled / sqrt(_scaled_square), (x[i, I] - xbar) / sqrt(total((x[k, K] - xbar) ** 2, k, K))),
    "LayerNorm gives $x/h$ and $x$ the same activations (at $\\epsilon=0$).",
    using=("mean",),
)
D.exact("length", Eq(y_p[n] / h, x[n] / h + F[n] + G[n]), "So a step $h$ is a full step of a state $1/h$ times as long.", using=("parallel-step",))

# 3. Linear branches without norm: tokens and channels are different axes.
D.define("linear-half", Eq(u_l[i, I], x[i, I] + h * total(A[i, j] * x[j, I], j)), "Linear token mixing first.")
D.exact(
    "linear-splitting",
    Eq(
        u_l[i, I] + h * total(B[I, J] * u_l[i, J], J),
        x[i, I] + h * (total(A[i, j] * x[j, I], j) + total(B[I, J] * x[i, J], J)) + h**2 * total(A[i, j] * x[j, J] * B[I, J], j, J),
    ),
    "The serial step is the parallel one and one more term, exactly.",
    using=("linear-half",),
)
D.define("linear-half-channels", Eq(v_l[i, I], x[i, I] + h * total(B[I, J] * x[i, J], J)), "Linear channel mixing first.")
D.exact(
    "linear-commute",
    Eq(u_l[i, I] + h * total(B[I, J] * u_l[i, J], J), v_l[i, I] + h * total(A[i, j] * v_l[j, I], j)),
    "It does not matter which comes first.",
    using=("linear-half", "linear-half-channels"),
)

# 4. The kinds of weights, and what of the branches is a gradient.
D.define("token-output", Eq(O[alpha, i], s[alpha] * W[alpha, i] + D_s[alpha, i]), "A tied part with signs $s_\\alpha=\\pm1$, and what departs from it.")
D.define("channel-output", Eq(Q[beta, I], r[beta] * V[beta, I] + D_c[beta, I]), "The same for channels.")
_tokens, _channels = total(W[alpha, k] * g[k, I], k), total(V[beta, K] * g[i, K], K)
D.define("token-branch", Eq(F[i, I], total(O[alpha, i] * f(_tokens), alpha)), "Token mixing.", source=MIXER)
D.define("channel-branch", Eq(G[i, I], total(Q[beta, I] * f(_channels), beta)), "Channel mixing.", source=MIXER)
D.define(
    "energy",
    Eq(U, -total(s[alpha] * Phi(_tokens), alpha, I) - total(r[beta] * Phi(_channels), i, beta)),
    "With $\\Phi'=f$; every hidden unit counts with its sign.",
)
_BRANCHES = ("token-branch", "channel-branch", "token-output", "channel-output")
D.exact(
    "gradient",
    Eq(
        F[i, I] + G[i, I],
        -Derivative(U, g[i, I]) + total(D_s[alpha, i] * f(_tokens), alpha) + total(D_c[beta, I] * f(_channels), beta),
    ),
    "Tied weights, with signs or without, make the block a gradient; the rest is what departs.",
    using=("energy", *_BRANCHES),
)
D.define("token-slope", Eq(d_s[alpha, I], f_prime(total(W[alpha, k] * g[k, I], k))), "Slope of a hidden unit of the tokens.")
D.define("channel-slope", Eq(d_c[beta, j], f_prime(total(V[beta, K] * g[j, K], K))), "And of the channels.")
D.exact(
    "antisymmetric",
    Eq(
        Derivative(F[i, I] + G[i, I], g[j, J]) - Derivative(F[j, J] + G[j, J], g[i, I]),
        KroneckerDelta(I, J) * total((D_s[alpha, i] * W[alpha, j] - W[alpha, i] * D_s[alpha, j]) * d_s[alpha, I], alpha)
        + KroneckerDelta(i, j) * total((D_c[beta, I] * V[beta, J] - V[beta, I] * D_c[beta, J]) * d_c[beta, j], beta),
    ),
    "The Jacobian is symmetric without departures, for any signs; in general it is not symmetric with them.",
    using=(*_BRANCHES, "token-slope", "channel-slope"),
)
D.exact(
    "curvature",
    Eq(
        total(w[i, I] * Derivative(F[i, I], g[j, J]) * w[j, J], i, I, j, J),
        total(s[alpha] * d_s[alpha, I] * total(W[alpha, i] * w[i, I], i) ** 2, alpha, I)
        + total(d_s[alpha, I] * total(D_s[alpha, i] * w[i, I], i) * total(W[alpha, j] * w[j, I], j), alpha, I),
    ),
    "Along any $w$: where $f'>0$, a tied unit pushes $w$ on if its sign is $+1$ and back if it is $-1$.",
    using=("token-branch", "token-output", "token-slope"),
)

# 5. Parameters.
D.define("free-weights", Eq(M_f, 2 * (S * N_s + C * N_c)), "Two matrices for each branch; also with a breaking term.")
D.define("tied-weights", Eq(M_t, S * N_s + C * N_c), "One matrix for each branch; signs are fixed.")
D.define("norm-weights", Eq(n_1, 2 * S * C), "Gain and shift of a joint LayerNorm, for each entry.", source=PARALLEL)
D.exact("twice-as-wide", Eq(S * (2 * N_s) + C * (2 * N_c), M_f), "Tied weights with twice the hidden units have as many as free ones.", using=("free-weights",))
D.define("token-width", Eq(N_s, C / 2), "The usual widths: half the channels,", source=MIXER)
D.define("channel-width", Eq(N_c, 4 * C), "and four times the channels.", source=MIXER)
_WIDTHS = ("norm-weights", "token-width", "channel-width")
D.define("vanilla-block", Eq(P_v, M_f + 2 * n_1), "The serial block has two norms,")
D.define("parallel-block", Eq(P_p, M_f + n_1), "the parallel one has one.", source=PARALLEL)
D.define("symmetric-block", Eq(P_s, M_t + n_1), "Tied.", source=PARALLEL)
D.exact("vanilla-count", Eq(P_v, 8 * C**2 + 5 * S * C), "Vanilla Mixer.", using=("vanilla-block", "free-weights", *_WIDTHS))
D.exact("parallel-count", Eq(P_p, 8 * C**2 + 3 * S * C), "ParaMixer; AsymMixer too.", using=("parallel-block", "free-weights", *_WIDTHS))
D.exact("symmetric-count", Eq(P_s, 4 * C**2 + Rational(5, 2) * S * C), "SymMixer, with signs or without.", using=("symmetric-block", "tied-weights", *_WIDTHS))
D.define(
    "model",
    Eq(T_p, total(P_p, ell) + (q**2 * kappa * C + C) + 2 * C + (C * Y + Y)),
    "$L$ blocks, patches of $q\\times q$ pixels in $\\kappa$ colours, the last norm, a head for $Y$ classes.",
)
D.exact(
    "model-count",
    Eq(T_p, 8 * L * C**2 + 3 * L * S * C + (q**2 * kappa + Y + 3) * C + Y),
    "All parameters of a ParaMixer.",
    using=("model", "parallel-block", "free-weights", *_WIDTHS),
)
