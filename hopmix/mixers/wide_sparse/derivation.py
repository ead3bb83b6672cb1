"""A Mixer as a wide sparse MLP, step by step (page: book/mixers/wide_sparse.md)."""

from __future__ import annotations

from sympy import Eq, IndexedBase, KroneckerDelta, Sum, sqrt, symbols

from hopmix.derivation import Derivation, function_with_derivative

S, C, N_s, N_c, N, N_v, N_r = symbols("S C N_s N_c N N_v N_r", integer=True, positive=True)
i, j, k, l, I, J, K, E = symbols("i j k l I J K E", integer=True, positive=True)  # noqa: E741 (the book's letters)
alpha, A, B, n, p, e, r = symbols("alpha A B n p e r", integer=True, positive=True)

x, y, g, W, V, O, Q = (IndexedBase(name) for name in ("x", "y", "g", "W", "V", "O", "Q"))
M, T, T_out, H, H_out, P, D_v, B_m = (IndexedBase(name) for name in ("M", "T", "T^o", "H", "H^o", "P", "D", "M^m"))
a_s, b_s, a_c, b_c = (IndexedBase(name) for name in ("a^s", "b^s", "a^c", "b^c"))
R_m, L_m, M_1, M_2, b = (IndexedBase(name) for name in ("R", "L", "M^R", "M^L", "b"))
s = IndexedBase("s", positive=True)
u, v, w, z = (IndexedBase(name) for name in ("u", "v", "w", "z"))
p_x, p_t = IndexedBase("p^x", integer=True), IndexedBase("p^t", integer=True)
c_s, c_c, Omega, m, q, t, M_t, rho_m = symbols("c_s c_c Omega m q t nu p_m", positive=True)
w_F, v_F, zeta, z_e = symbols("|W| |V| zeta sigma_e", positive=True)
f = function_with_derivative("f")[0]

MIXER, SOURCE, MONARCH = "tolstikhin2021mlp", "hayase2024understanding", "dao2022monarch"

DERIVATION = Derivation(
    "mixers/wide_sparse",
    title="A Mixer is a wide and sparse MLP",
    sources=(SOURCE, MIXER, MONARCH),
    indices={
        **dict.fromkeys((i, j, k, l), S),
        **dict.fromkeys((I, J, K, E), C),
        **dict.fromkeys((A, B), N_c),
        **dict.fromkeys((n, p), N),
        **{alpha: N_s, e: N_v, r: N_r},
    },
)
D = DERIVATION
delta = KroneckerDelta


def total(body, *indices):
    """A sum over `indices`, each over its whole range."""
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. A matrix as one long vector.
D.define("position", Eq(p_x[i, I], i + (I - 1) * S), "Where the entry $(i,I)$ stands in $\\operatorname{vec}X$, column by column.")
D.define("transposed-position", Eq(p_t[i, I], I + (i - 1) * C), "Where it stands in $\\operatorname{vec}X^\\top$.")
D.exact(
    "shuffle",
    Eq(p_t[i, I] - 1, C * (p_x[i, I] - 1) - (S * C - 1) * (I - 1)),
    "The commutation is a perfect shuffle: the place counted from 0 is multiplied by $C$, modulo $SC-1$.",
    using=("position", "transposed-position"),
)
D.define("mixed", Eq(y[alpha, A], total(W[alpha, j] * x[j, J] * V[A, J], j, J)), "$Y=WXV^\\top$: tokens and channels mixed.", source=MIXER)
D.define("kronecker", Eq(M[alpha, A, j, J], W[alpha, j] * V[A, J]), "The entries of $V\\otimes W$, rows and columns named by pairs.")
D.exact("vec", Eq(y[alpha, A], total(M[alpha, A, j, J] * x[j, J], j, J)), "$\\operatorname{vec}(WXV^\\top)=(V\\otimes W)\\operatorname{vec}X$.", using=("mixed", "kronecker"))

# 2. The two layers, and the permutation between them.
D.define("token-weight", Eq(T[alpha, I, j, J], W[alpha, j] * delta(I, J)), "$I_C\\otimes W$: one block for each channel.", source=SOURCE)
D.define("channel-weight", Eq(H[i, A, j, J], V[A, J] * delta(i, j)), "$V\\otimes I_S$.", source=SOURCE)
D.exact("token-layer", Eq(total(T[alpha, I, j, J] * x[j, J], j, J), total(W[alpha, j] * x[j, I], j)), "It mixes tokens.", using=("token-weight",))
D.exact("channel-layer", Eq(total(H[i, A, j, J] * x[j, J], j, J), total(V[A, J] * x[i, J], J)), "It mixes channels.", using=("channel-weight",))
D.define("commutation", Eq(P[I, i, j, J], delta(i, j) * delta(I, J)), "$J=K_{S,C}$ takes place $(j,J)$ of $\\operatorname{vec}X$ to place $(I,i)$ of $\\operatorname{vec}X^\\top$.")
D.define("back", Eq(D_v[i, A, B, k], delta(i, k) * delta(A, B)), "The commutation back, for $N_c$ channels.")
D.define("blocks", Eq(B_m[B, k, J, j], V[B, J] * delta(k, j)), "$I_S\\otimes V$: one block for each token.")
D.exact(
    "block-form",
    Eq(H[i, A, j, J], total(D_v[i, A, B, k] * B_m[B, k, K, l] * P[K, l, j, J], B, k, K, l)),
    "Channel mixing is block-diagonal after the commutation: $V\\otimes I_S=K_{N_c,S}\\,(I_S\\otimes V)\\,K_{S,C}$.",
    using=("channel-weight", "commutation", "back", "blocks"),
)
D.exact("orthogonal", Eq(total(P[I, i, j, J] * P[K, k, j, J], j, J), delta(i, k) * delta(I, K)), "$JJ^\\top=1$: it is a permutation.", using=("commutation",))
D.exact(
    "activation",
    Eq(f(total(P[I, i, j, J] * x[j, J], j, J)), total(P[I, i, j, J] * f(x[j, J]), j, J)),
    "An elementwise function does not see a permutation, so the two meet between layers and can be moved.",
    using=("commutation",),
)

# 3. The whole block.
D.define("token-out", Eq(T_out[i, I, alpha, K], O[alpha, i] * delta(I, K)), "$I_C\\otimes O^\\top$.")
D.define("channel-out", Eq(H_out[i, I, k, A], Q[A, I] * delta(i, k)), "$Q^\\top\\otimes I_S$.")
D.exact(
    "token-branch",
    Eq(
        total(O[alpha, i] * f(total(W[alpha, j] * g[j, I], j) + a_s[alpha]), alpha) + b_s[i],
        total(T_out[i, I, alpha, K] * f(total(T[alpha, K, j, J] * g[j, J], j, J) + a_s[alpha]), alpha, K) + b_s[i],
    ),
    "The token branch has $CN_s$ hidden units; its biases are $1_C\\otimes a^s$ and $1_C\\otimes b^s$.",
    using=("token-weight", "token-out"),
)
D.exact(
    "channel-branch",
    Eq(
        total(Q[A, I] * f(total(V[A, J] * g[i, J], J) + a_c[A]), A) + b_c[I],
        total(H_out[i, I, k, A] * f(total(H[k, A, j, J] * g[j, J], j, J) + a_c[A]), A, k) + b_c[I],
    ),
    "The channel branch has $SN_c$; its biases are $a^c\\otimes1_S$ and $b^c\\otimes1_S$.",
    using=("channel-weight", "channel-out"),
)
D.exact(
    "norm",
    Eq(total(delta(i, j) / C * x[j, J], j, J), total(x[i, J], J) / C),
    "The mean over a token's channels, which LayerNorm takes, is $\\tfrac1C1_C1_C^\\top\\otimes I_S$ on the long vector.",
)
D.exact(
    "gram",
    Eq(total(T[alpha, K, i, I] * T[alpha, K, j, J], alpha, K), delta(I, J) * total(W[alpha, i] * W[alpha, j], alpha)),
    "The Gram matrix is $I_C\\otimes W^\\top W$: the singular values are those of $W$, each $C$ times.",
    using=("token-weight",),
)

# 4. Connections, width, parameters.
D.define("token-count", Eq(c_s, total(delta(I, J), alpha, I, j, J)), "Connections of the token layer,")
D.define("channel-count", Eq(c_c, total(delta(i, j), i, A, j, J)), "and of the channel layer.")
D.exact("token-connections", Eq(c_s, C * S * N_s), "$C$ blocks.", using=("token-count",))
D.exact("channel-connections", Eq(c_c, S * C * N_c), "$S$ blocks.", using=("channel-count",))
D.exact("token-density", Eq(c_s / (S * C * N_s * C), 1 / C), "Of a dense layer's, one in $C$;", using=("token-connections",))
D.exact("channel-density", Eq(c_c / (S * C * S * N_c), 1 / S), "one in $S$.", using=("channel-connections",))
D.define("width", Eq(m, S * C), "The effective width.", source=SOURCE)
D.define("token-hidden", Eq(N_s, q * S), "Expansion $q$,")
D.define("channel-hidden", Eq(N_c, q * C), "the same for both.")
D.define("connections", Eq(Omega, (c_s + c_c) / 2), "Mean connections of a layer.", source=SOURCE)
_COUNT = ("connections", "token-connections", "channel-connections", "token-hidden", "channel-hidden")
D.exact("omega", Eq(Omega, q * S * C * (S + C) / 2), "In sizes.", using=_COUNT)
D.exact(
    "bound",
    Eq((Omega / q) ** 2 - m**3, m**2 * (S - C) ** 2 / 4),
    "Never negative, and zero only for as many tokens as channels.",
    using=("width", "omega"),
)
D.define("aspect", Eq(S, t * C), "The aspect ratio.")
D.exact("width-at-ratio", Eq(m**3 * (1 + t) ** 2, 4 * t * (Omega / q) ** 2), "The width at a given ratio.", using=("width", "omega", "aspect"))
D.define("parameters", Eq(M_t, S * N_s + C * N_c), "Numbers that training may change.")
D.exact(
    "fewest",
    Eq(M_t, 4 * Omega**2 / (q * m**2) - 2 * q * m),
    "At fixed connections they fall as the width grows: the widest Mixer has the fewest.",
    using=("parameters", "width", "omega", "token-hidden", "channel-hidden"),
)
D.define("mask", Eq(rho_m, Omega / m**2), "The density of an unstructured sparse layer with as many connections, square and of this width,", source="golubeva2021wider")
D.exact("mask-density", Eq(rho_m, q * (1 / S + 1 / C) / 2), "is the mean of $1/S$ and $1/C$, times $q$.", using=("mask", "width", "omega"))

# 5. Monarch matrices.
D.define("right-factor", Eq(M_1[i, I, j, J], R_m[J, i, j] * delta(I, J)), "A token block $R$ for each channel.", source=MONARCH)
D.define("left-factor", Eq(M_2[i, I, j, J], L_m[i, I, J] * delta(i, j)), "A channel block $L$ for each token.", source=MONARCH)
D.exact(
    "monarch",
    Eq(total(M_2[i, I, k, K] * M_1[k, K, j, J], k, K), L_m[i, I, J] * R_m[J, i, j]),
    "Their product is dense; every entry is one product.",
    using=("right-factor", "left-factor"),
)
D.exact(
    "slices",
    Eq(
        total(M_2[i, I, k, K] * M_1[k, K, j, J], k, K) * total(M_2[i, E, k, K] * M_1[k, K, l, J], k, K),
        total(M_2[i, I, k, K] * M_1[k, K, l, J], k, K) * total(M_2[i, E, k, K] * M_1[k, K, j, J], k, K),
    ),
    "For fixed $i$ and $J$ all $2\\times2$ minors vanish: each slice has rank one.",
    using=("right-factor", "left-factor"),
)
D.define("shared-right", Eq(R_m[J, i, j], W[i, j]), "Share the token blocks,")
D.define("shared-left", Eq(L_m[i, I, J], V[I, J]), "and the channel blocks.")
D.exact(
    "shared",
    Eq(total(M_2[i, I, k, K] * M_1[k, K, j, J], k, K), W[i, j] * V[I, J]),
    "A linear Mixer layer is a Monarch matrix with shared blocks: the entries are those of $V\\otimes W$.",
    using=("right-factor", "left-factor", "shared-right", "shared-left"),
)

# 6. What weight decay on the factors does to the product.
D.exact(
    "norms",
    Eq(total(M[alpha, A, j, J] ** 2, alpha, A, j, J), total(W[alpha, j] ** 2, alpha, j) * total(V[A, J] ** 2, A, J)),
    "$|V\\otimes W|=|V|\\,|W|$.",
    using=("kronecker",),
)
D.exact("balance", Eq((v_F**2 + w_F**2) / 2, v_F * w_F + (v_F - w_F) ** 2 / 2), "Half the sum of squares is at least the product of the norms; equal norms attain it.")
D.exact(
    "one-norm",
    Eq(total(b[n] ** 2, n) - total(b[n], n) ** 2 / N, total((b[n] - b[p]) ** 2, n, p) / (2 * N)),
    "For $b_n\\ge0$, the absolute values of $N$ entries: $|b|_2\\ge|b|_1/\\sqrt N$, with equality where all are equal.",
)
D.define("terms", Eq(w[r, n], sqrt(s[r]) * u[r, n]), "Balanced factors: singular vectors of the rearranged matrix,")
D.define("other-terms", Eq(z[r, e], sqrt(s[r]) * v[r, e]), "each times the root of its singular value.")
D.exact("sum-of-terms", Eq(total(w[r, n] * z[r, e], r), total(s[r] * u[r, n] * v[r, e], r)), "They give the matrix back,", using=("terms", "other-terms"))
D.exact(
    "nuclear",
    Eq(total(w[r, n] ** 2, r, n) / 2 + total(z[r, e] ** 2, r, e) / 2, total(s[r] * (total(u[r, n] ** 2, n) + total(v[r, e] ** 2, e)) / 2, r)),
    "at the price of the sum of the singular values, since $|u_r|=|v_r|=1$.",
    using=("terms", "other-terms"),
)

# 7. A heavy unit in an unstructured mask.
D.define(
    "outlier",
    Eq(z_e, zeta / sqrt(zeta - 1)),
    "Where a unit of squared norm $\\zeta>2$ puts a singular value of a square matrix of independent entries whose other units have squared norm 1.",
    source="baik2006eigenvalues",
)
D.exact("edge", Eq(z_e - 2, (sqrt(zeta - 1) - 1) ** 2 / sqrt(zeta - 1)), "At $\\zeta=2$ it leaves the bulk, whose edge is 2.", using=("outlier",), ranges={zeta: (1.2, 4.0)})
