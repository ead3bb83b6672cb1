"""Energy descent in finite steps, step by step (page: book/memory/descent.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, KroneckerDelta, Limit, Sum, Symbol, erf, exp, oo, pi, sqrt, symbols

from hopmix.derivation import Derivation, function_with_derivative

S, C, P, N, M, N_s, N_c = symbols("S C P N M N_s N_c", integer=True, positive=True)
i, j, I, J = symbols("i j I J", integer=True, positive=True)
p, n, m_, r, alpha, beta = symbols("p n m r alpha beta", integer=True, positive=True)

x, g, F, Xi, u, f_u, z, delta = (IndexedBase(name) for name in ("x", "g", "F", "Xi", "u", "f", "z", "delta"))
x_, g_, u_, z_ = (IndexedBase(name) for name in ("x^+", "g^+", "u^+", "z^+"))
xbar, rho, Z, e = (IndexedBase(name) for name in ("xbar", "rho", "Z", "e"))
xbar_, rho_, Z_, e_ = (IndexedBase(name) for name in ("xbar^+", "rho^+", "Z^+", "e^+"))
q, A, G, Q, y, b, c, vbar = (IndexedBase(name) for name in ("q", "A", "G", "Q", "y", "b", "c", "ybar"))
W, V, K, v, phi, psi = (IndexedBase(name) for name in ("W", "V", "K", "v", "phi", "psi"))

U, U_, L_h, L_h_, D_h = symbols("U U^+ L_h L_h^+ D_h", real=True)
E, E_, E_v, E_v_, L_v, L_v_, D_v, B_v = symbols("E E^+ E_v E_v^+ L_v L_v^+ D_v D_v^-", real=True)
Y, Y_, B, Psi_s, Psi_t = symbols("Y Y^+ B Psi_s Psi_t", real=True)
a, h, gamma, epsilon, m = Symbol("a", real=True), *symbols("h gamma epsilon m", positive=True)
s, t, f_G, sigma, k, w, d, h_0 = *symbols("s t f_G", real=True), *symbols("sigma k", positive=True), *symbols("w d h_*", real=True)
Phi, f, f_prime = function_with_derivative("Phi", "f", "f'")

HAM, GELU, LN = "krotov2021hierarchical", "hendrycks2016gelu", "ba2016layer"

DERIVATION = Derivation(
    "memory/descent",
    title="Energy descent of a deep Mixer",
    sources=("this book", HAM),
    indices={
        **dict.fromkeys((i, j), S),
        **dict.fromkeys((I, J), C),
        **dict.fromkeys((n, m_), N),
        **{p: P, r: M, alpha: N_s, beta: N_c},
    },
)
D = DERIVATION


def total(body, *indices):
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. One step of any memory whose hidden layers are fast.
D.define("step", Eq(x_[p, n], a * x[p, n] + h * F[p, n]), "One block: with skip connection $a=1$, with leak $a=1-h$.")
D.define("drive", Eq(F[p, n], total(Xi[r, p, n] * f_u[r], r)), "Symmetric synapses; $f$ is the gradient of the hidden Lagrangian $L_h$.", source=HAM)
D.define("hidden", Eq(u[r], total(Xi[r, p, n] * g[p, n], p, n)), "The hidden units before the step.", source=HAM)
D.define("hidden-next", Eq(u_[r], total(Xi[r, p, n] * g_[p, n], p, n)), "And after it.", source=HAM)
D.define("interaction", Eq(U, -L_h), "All that fast hidden layers leave of their energy.")
D.define("interaction-next", Eq(U_, -L_h_), "The same after the step.")
D.define("bregman", Eq(D_h, L_h_ - L_h - total(f_u[r] * (u_[r] - u[r]), r)), "How far $L_h$ lies above its tangent: not negative where it is convex.")
D.define("work", Eq(A[p], total(F[p, n] * (g_[p, n] - g[p, n]), n)), "The work of the drive along the way of the activations.")
D.exact(
    "interaction-change",
    Eq(U_, U - total(A[p], p) - D_h),
    "Exact for every step, whatever the Lagrangians.",
    using=("interaction", "interaction-next", "bregman", "work", "drive", "hidden", "hidden-next"),
)
D.exact(
    "work-step",
    Eq(A[p], total((x_[p, n] - a * x[p, n]) * (g_[p, n] - g[p, n]), n) / h),
    "The drive is what moved the state.",
    using=("work", "step"),
)
D.define("tangent", Eq(D_v, L_v_ - L_v - total(g[p, n] * (x_[p, n] - x[p, n]), p, n)), "The same distance for the visible Lagrangian, seen from before.")
D.define("tangent-back", Eq(B_v, L_v - L_v_ - total(g_[p, n] * (x[p, n] - x_[p, n]), p, n)), "And seen from after.")
D.exact(
    "monotone",
    Eq(total((x_[p, n] - x[p, n]) * (g_[p, n] - g[p, n]), p, n), D_v + B_v),
    "So for a convex visible Lagrangian, state and activations never move against each other.",
    using=("tangent", "tangent-back"),
)
D.define("visible-energy", Eq(E_v, total(x[p, n] * g[p, n], p, n) - L_v), "The visible layer's own energy.", source=HAM)
D.define("visible-energy-next", Eq(E_v_, total(x_[p, n] * g_[p, n], p, n) - L_v_), "And after the step.", source=HAM)
D.define("energy", Eq(E, E_v + U), "The energy of the memory.", source=HAM)
D.define("energy-next", Eq(E_, E_v_ + U_), "And after the step.", source=HAM)
D.define("leak", Eq(a, 1 - h), "The leaky step.")
D.exact(
    "leaky-change",
    Eq(E_, E - (1 / h - 1) * total((x_[p, n] - x[p, n]) * (g_[p, n] - g[p, n]), p, n) - D_v - D_h),
    "With leak it is the whole energy that falls, for $h\\le1$.",
    using=("energy", "energy-next", "visible-energy", "visible-energy-next", "tangent", "interaction-change", "work-step", "leak"),
)

# 2. LayerNorm, over groups of N entries: one group for the joint form, one for each token in the form per token.
D.define("mean", Eq(xbar[p], total(x[p, n], n) / N), "One mean for each group.")
D.define("mean-next", Eq(xbar_[p], total(x_[p, n], n) / N), "And after the step.")
D.define("radius", Eq(rho[p], sqrt(total((x[p, n] - xbar[p]) ** 2, n) / N + epsilon)), "What LayerNorm divides by.", source=LN)
D.define("radius-next", Eq(rho_[p], sqrt(total((x_[p, n] - xbar_[p]) ** 2, n) / N + epsilon)), "And after the step.", source=LN)
D.define("normalised", Eq(z[p, n], (x[p, n] - xbar[p]) / rho[p]), "The normalised state.", source=LN)
D.define("normalised-next", Eq(z_[p, n], (x_[p, n] - xbar_[p]) / rho_[p]), "And after the step.", source=LN)
D.define("layernorm", Eq(g[p, n], gamma * z[p, n] + delta[p, n]), "The activation: a gain $\\gamma>0$ and any shift.", source=LN)
D.define("layernorm-next", Eq(g_[p, n], gamma * z_[p, n] + delta[p, n]), "And after the step.", source=LN)
D.define("length", Eq(Z[p], total(z[p, n] ** 2, n)), "Its squared length,")
D.define("length-next", Eq(Z_[p], total(z_[p, n] ** 2, n)), "after the step,")
D.define("overlap", Eq(q[p], total(z_[p, n] * z[p, n], n)), "and the overlap of the two.")
_Z = ("length", "normalised", "radius", "mean")
D.exact("length-value", Eq(Z[p], N * (1 - epsilon / rho[p] ** 2)), "The activations live on a sphere, up to $\\epsilon$.", using=_Z)
D.exact(
    "length-value-next",
    Eq(Z_[p], N * (1 - epsilon / rho_[p] ** 2)),
    "After the step too.",
    using=("length-next", "normalised-next", "radius-next", "mean-next"),
)
_OVERLAP = ("layernorm", "layernorm-next", "length", "length-next", "overlap", "normalised", "normalised-next", "mean", "mean-next")
D.exact(
    "work-overlap",
    Eq(A[p], gamma / h * (rho_[p] * (Z_[p] - q[p]) - a * rho[p] * (q[p] - Z[p]))),
    "The mean drops out, since normalised states have none.",
    using=("work-step", *_OVERLAP),
)
D.define("moved", Eq(G[p], total((g_[p, n] - g[p, n]) ** 2, n)), "How far the activations of a group move, squared.")
D.exact("moved-overlap", Eq(G[p], gamma**2 * (Z_[p] - 2 * q[p] + Z[p])), "By the same overlap.", using=("moved", *_OVERLAP[:5]))
D.define("group-energy", Eq(e[p], -gamma * N * epsilon / rho[p]), "LayerNorm's own energy.")
D.define("group-energy-next", Eq(e_[p], -gamma * N * epsilon / rho_[p]), "And after the step.")
D.exact(
    "group-energy-value",
    Eq(total(x[p, n] * g[p, n], n) - gamma * N * rho[p] - total(delta[p, n] * x[p, n], n), -gamma * N * epsilon / rho[p]),
    "It is $x\\cdot g-L_v$, group by group.",
    using=("layernorm", "normalised", "radius", "mean"),
)
D.define("moved-all", Eq(Q[p], G[p] + gamma**2 * N * epsilon * (1 / rho_[p] - 1 / rho[p]) ** 2), "How far they move, with $\\epsilon$ as one more entry.")
_certain = (rho_[p] + a * rho[p]) / (2 * gamma * h) * Q[p]
D.exact(
    "layernorm-work",
    Eq(A[p], _certain + (1 - a) / h * (e_[p] - e[p])),
    "The work, in terms of how far the activations moved: exact, for every step and every $\\epsilon$.",
    using=("work-overlap", "moved-all", "moved-overlap", "length-value", "length-value-next", "group-energy", "group-energy-next"),
)
D.define("lyapunov", Eq(Y, U + (1 - a) / h * total(e[p], p)), "What falls: $U$ with skip connection, $E$ with leak.")
D.define("lyapunov-next", Eq(Y_, U_ + (1 - a) / h * total(e_[p], p)), "And after the step.")
D.exact(
    "descent",
    Eq(Y_, Y - total(_certain, p) - D_h),
    "One block, exactly.",
    using=("lyapunov", "lyapunov-next", "interaction-change", "layernorm-work"),
)

# 3. Hidden Lagrangians that are not convex.
D.define("unit-bregman", Eq(B, Phi(t) - Phi(s) - f(s) * (t - s)), "One hidden unit that goes from $s$ to $t$.")
D.define("tilt", Eq(Psi_s, Phi(s) + m * s**2 / 2), "Its Lagrangian with a parabola added,")
D.define("tilt-next", Eq(Psi_t, Phi(t) + m * t**2 / 2), "and the same at $t$.")
D.exact(
    "tilted",
    Eq(B + m * (t - s) ** 2 / 2, Psi_t - Psi_s - (f(s) + m * s) * (t - s)),
    "The parabola adds a square to the distance from the tangent.",
    using=("unit-bregman", "tilt", "tilt-next"),
)
D.define("gelu", Eq(f_G, s / 2 * (1 + erf(s / sqrt(2)))), "GELU in its exact form.", source=GELU)
D.exact("gelu-bend", Eq(Derivative(f_G, (s, 2)), (2 - s**2) * exp(-(s**2) / 2) / sqrt(2 * pi)), "Its slope falls up to $s=-\\sqrt2$, rises up to $\\sqrt2$, and falls again,", using=("gelu",))
D.exact("gelu-left", Eq(Limit(Derivative(f_G, s), s, -oo), 0), "from $0$ on the far left,", using=("gelu",))
D.exact("gelu-right", Eq(Limit(Derivative(f_G, s), s, oo), 1), "to $1$ on the far right,", using=("gelu",))
D.define("concavity", Eq(m, (erf(1) - 1) / 2 + exp(-1) / sqrt(pi)), "About $0.1289$.")
D.exact("gelu-lowest", Eq(Limit(Derivative(f_G, s), s, -sqrt(2), "+-"), -m), "so this is the lowest slope of GELU.", using=("gelu", "concavity"))
D.define(
    "gram",
    Eq(K[i, I, j, J], KroneckerDelta(I, J) * total(W[alpha, i] * W[alpha, j], alpha) + KroneckerDelta(i, j) * total(V[beta, I] * V[beta, J], beta)),
    "A Kronecker sum, $W^\\top W\\otimes1_C+1_S\\otimes V^\\top V$.",
)
D.exact(
    "stretch",
    Eq(
        total(total(W[alpha, j] * v[j, I], j) ** 2, alpha, I) + total(total(V[beta, J] * v[i, J], J) ** 2, i, beta),
        total(v[i, I] * K[i, I, j, J] * v[j, J], i, I, j, J),
    ),
    "How far the hidden units move, squared, when the activations move by $v$.",
    using=("gram",),
)
D.exact(
    "product-direction",
    Eq(
        total(K[i, I, j, J] * phi[j] * psi[J], j, J),
        psi[I] * total(W[alpha, i] * total(W[alpha, j] * phi[j], j), alpha) + phi[i] * total(V[beta, I] * total(V[beta, J] * psi[J], J), beta),
    ),
    "If $\\varphi$ and $\\psi$ are eigenvectors of $W^\\top W$ and $V^\\top V$, their product is one of $K$, and the eigenvalues add.",
    using=("gram",),
)

# 4. The largest step that is safe.
D.define("line", Eq(x_[p, n], x[p, n] + h * y[p, n]), "A step along $y$, which is $F$ or, with leak, $F-x$.")
D.define("line-mean", Eq(vbar[p], total(y[p, n], n) / N), "Its mean.")
D.define("along", Eq(b[p], total((x[p, n] - xbar[p]) * (y[p, n] - vbar[p]), n) / N), "Its covariance with the state.")
D.define("spread", Eq(c[p], total((y[p, n] - vbar[p]) ** 2, n) / N), "Its variance.")
D.exact(
    "radius-line",
    Eq(total((x_[p, n] - xbar_[p]) ** 2, n) / N, total((x[p, n] - xbar[p]) ** 2, n) / N + 2 * h * b[p] + h**2 * c[p]),
    "The variance after the step.",
    using=("mean-next", "line", "mean", "line-mean", "along", "spread"),
)
D.define("safe-step", Eq(h_0, 2 * (k * sigma + w) / (k**2 - d)), "With $\\sigma,w,d$ for $\\rho_p,b_p,c_p$ of a group.")
D.exact(
    "safe-step-value",
    Eq(sigma**2 + 2 * h_0 * w + h_0**2 * d, (k * h_0 - sigma) ** 2),
    "There the two sides of the condition meet: $\\rho^++\\rho=k\\,h_*$.",
    using=("safe-step",),
)
