"""A memory as a denoiser, step by step (page: book/memory/denoiser.md)."""

from __future__ import annotations

from sympy import Derivative, Eq, IndexedBase, Sum, sqrt, symbols

from hopmix.derivation import Derivation, Rate, function_with_derivative

N, M, P, Q, K = symbols("N M P Q K", integer=True, positive=True)
i, j, k, m, ell = symbols("i j k m ell", integer=True, positive=True)
alpha, mu, nu = symbols("alpha mu nu", integer=True, positive=True)

x, g, z, t, u, y = (IndexedBase(name) for name in ("x", "g", "z", "t", "u", "y"))
W, b, W_b, F = (IndexedBase(name) for name in ("W", "b", "W^b", "F"))
p, p_next, a, q, f_h = (IndexedBase(name) for name in ("p", "p^+", "a", "q", "f"))
v, w, e, J, H, B = (IndexedBase(name) for name in ("v", "w", "e", "J", "H", "B"))
A, S, Y, xi, evidence, length = (IndexedBase(name) for name in ("A", "S", "Z", "xi", "Lambda", "R"))

xbar, zbar, ubar = symbols("xbar zbar ubar", real=True)
rho, zeta, s, norm = symbols("rho zeta s n", positive=True)
loss, loss_u, c, c_u, E, E_y, L, L_v, risk = symbols("l_t l_u c c_u E E_y L L_v R_A", real=True)
h, lam, sigma, tau_v = symbols("h lambda sigma tau_v", positive=True)
Phi, f, f_prime = function_with_derivative("Phi", "f", "f'")

HAM, MIXER, DEQ, LARGE, LN = "krotov2021hierarchical", "karakida2024hierarchical", "bai2019deep", "krotov2021large", "ba2016layer"

DERIVATION = Derivation(
    "memory/denoiser",
    title="A memory as a denoiser",
    sources=(MIXER, HAM, DEQ),
    indices={**dict.fromkeys((i, j, k), N), alpha: M, **dict.fromkeys((mu, nu), P), m: Q, ell: K},
    dynamic=(x, g, L_v),
)
D = DERIVATION


def total(body, *indices):
    return Sum(body, *[(index, 1, D.indices[index]) for index in indices])


# 1. What the visible layer shows, and what it is compared with.
D.define("mean", Eq(xbar, total(x[j], j) / N), "The mean over all pixels.")
D.define("radius", Eq(rho, sqrt(total((x[j] - xbar) ** 2, j) / N)), "Their standard deviation, at $\\epsilon=0$.", source=LN)
D.define("layernorm", Eq(g[i], (x[i] - xbar) / rho), "The activation of the visible layer.", source=LN)
_G = ("layernorm", "radius", "mean")
D.exact("shown-mean", Eq(total(g[i], i), 0), "Whatever the state, the memory shows an image of mean zero,", using=_G)
D.exact("shown-length", Eq(total(g[i] ** 2, i), N), "and of norm $\\sqrt N$.", using=_G)
D.exact("shown-variance", Eq(rho, sqrt(total(x[j] ** 2, j) / N - xbar**2)), "The mean square less the squared mean.", using=("radius", "mean"))
D.exact("shown-overlap", Eq(total(g[i] * x[i], i), N * rho), "It is the state itself, centred and scaled by a positive number.", using=_G)
D.define("clean-mean", Eq(zbar, total(z[j], j) / N), "The mean of a clean image $z$.")
D.define("clean-radius", Eq(zeta, sqrt(total((z[j] - zbar) ** 2, j) / N)), "Its standard deviation.")
D.define("target", Eq(t[i], (z[i] - zbar) / zeta), "The target: LayerNorm of the clean image.")
_T = ("target", "clean-radius", "clean-mean")
D.exact("clean-variance", Eq(zeta, sqrt(total(z[j] ** 2, j) / N - zbar**2)), "As for the state.", using=("clean-radius", "clean-mean"))
D.exact("target-overlap", Eq(total(t[i] * z[i], i), N * zeta), "The clean image, centred and scaled.", using=_T)
D.define("loss", Eq(loss, total((g[i] - t[i]) ** 2, i) / N), "The loss of one image.")
D.define("cosine", Eq(c, total(g[i] * t[i], i) / N), "The cosine between what is shown and the target: both have norm $\\sqrt N$.")
D.exact("loss-cosine", Eq(loss, 2 * (1 - c)), "With this target the loss is the cosine.", using=("loss", "cosine", *_G, *_T))

# 2. The target of the public demonstration.
D.define("clean-norm", Eq(norm, sqrt(total(z[j] ** 2, j))), "The norm of the clean image.")
D.define("unit-target", Eq(u[i], z[i] / norm), "The demonstration's target: the clean image with norm 1.", source=MIXER)
D.exact("unit-overlap", Eq(total(u[i] * z[i], i), norm), "The clean image, scaled alone.", using=("unit-target", "clean-norm"))
D.define("unit-mean", Eq(ubar, total(u[j], j) / N), "Its mean,")
D.define("unit-deviation", Eq(s, sqrt(total((u[j] - ubar) ** 2, j))), "and the norm of what is left without it.")
_U = ("unit-target", "clean-norm")
D.exact("unit-part", Eq(s**2, 1 - N * ubar**2), "So $s\\le 1$.", using=("unit-deviation", "unit-mean", *_U))
D.define("unit-loss", Eq(loss_u, total((g[i] - u[i]) ** 2, i) / N), "The demonstration's loss.", source=MIXER)
D.define("unit-cosine", Eq(c_u, total(g[i] * (u[i] - ubar), i) / (sqrt(N) * s)), "Again the cosine, of the same two images.")
_UNIT = ("unit-loss", "unit-cosine", "unit-deviation", "unit-mean", *_U, *_G)
D.exact("unit-loss-cosine", Eq(loss_u, 1 + 1 / N - 2 * s * c_u / sqrt(N)), "The same cosine in other units.", using=_UNIT)
D.exact(
    "unit-gap",
    Eq(loss_u - (sqrt(N) - 1) ** 2 / N, 2 * (1 - s * c_u) / sqrt(N)),
    "The difference to its bound, never negative since $s\\le1$ and $c_u\\le1$.",
    using=_UNIT,
)

# 3. A constant in the weights.
D.define("weight-shift", Eq(W_b[alpha, i], W[alpha, i] + b[alpha]), "A constant added to all weights of a hidden unit.")
D.exact("shift-up", Eq(total(W_b[alpha, j] * g[j], j), total(W[alpha, j] * g[j], j)), "The hidden unit does not see it,", using=("weight-shift", *_G))
D.exact(
    "shift-down",
    Eq(
        total(W_b[alpha, i] * f_h[alpha], alpha) - total(W_b[alpha, j] * f_h[alpha], alpha, j) / N,
        total(W[alpha, i] * f_h[alpha], alpha) - total(W[alpha, j] * f_h[alpha], alpha, j) / N,
    ),
    "and what it sends down differs by a constant, which LayerNorm does not see.",
    using=("weight-shift",),
)

D.exact(
    "shift-norm",
    Eq(total(W_b[alpha, i] ** 2, i), total(W[alpha, i] ** 2, i) + 2 * b[alpha] * total(W[alpha, i], i) + N * b[alpha] ** 2),
    "The norm of the weights does see it.",
    using=("weight-shift",),
)

# 4. The demonstration's step. States p, q and activations a, f are independent letters here: the derivative holds the states fixed.
D.define(
    "energy",
    Eq(E, total(p[i] * a[i], i) + total(q[alpha] * f_h[alpha], alpha) - L - total(f_h[alpha] * W[alpha, i] * a[i], alpha, i)),
    "A visible layer with states $p$ and activations $a$, a hidden one with $q$ and $f$; $L$ is the sum of their Lagrangians.",
    source=HAM,
)
D.exact("energy-visible", Eq(Derivative(E, a[i]), p[i] - total(W[alpha, i] * f_h[alpha], alpha)), "The derivative in an activation, states held fixed.", using=("energy",))
D.exact("energy-hidden", Eq(Derivative(E, f_h[alpha]), q[alpha] - total(W[alpha, i] * a[i], i)), "The same for a hidden unit.", using=("energy",))
D.define("demo-step", Eq(p_next[i], p[i] - h * Derivative(E, a[i])), "The demonstration's step; all layers take it at once.", source=MIXER)
D.exact(
    "demo-is-leaky",
    Eq(p_next[i], (1 - h) * p[i] + h * total(W[alpha, i] * f_h[alpha], alpha)),
    "An Euler step of the equation of motion, with equal time constants.",
    using=("demo-step", "energy-visible"),
)

D.define("fast", Eq(q[alpha], total(W[alpha, j] * a[j], j)), "Hidden units that follow at once.", source=HAM)
D.exact("fast-energy", Eq(E, total(p[i] * a[i], i) - L), "Their states drop out of the energy.", using=("energy", "fast"))

# 5. The image as an input.
_phi = total(Phi(total(W[alpha, j] * g[j], j)), alpha)
D.define("drive", Eq(F[i], total(W[alpha, i] * f(total(W[alpha, j] * g[j], j)), alpha)), "What fast hidden units send back.", source=HAM)
D.define("driven-energy", Eq(E_y, total(x[i] * g[i], i) - L_v - _phi - lam * total(y[i] * g[i], i)), "The energy with the noisy image $y$ as an input.")
D.define("driven-motion", Eq(tau_v * Rate(x[i]), F[i] + lam * y[i] - x[i]), "The motion with this input.")
D.define("lagrangian-rate", Eq(Rate(L_v), total(g[i] * Rate(x[i]), i)), "The chain rule.", source=HAM)
D.define("activation-rate", Eq(Rate(g[i]), total(H[i, j] * Rate(x[j]), j)), "The chain rule again, $H$ the visible Hessian.", source=HAM)
D.define("positive-hessian", Eq(H[i, j], total(B[ell, i] * B[ell, j], ell)), "LayerNorm's Lagrangian is convex.")
D.exact(
    "driven-rate",
    Eq(Rate(E_y), -tau_v * total(total(B[ell, i] * Rate(x[i]), i) ** 2, ell)),
    "It falls, as without input.",
    using=("driven-energy", "lagrangian-rate", "activation-rate", "driven-motion", "drive", "positive-hessian"),
)
D.exact(
    "likelihood",
    Eq(-total((y[i] - g[i]) ** 2, i) / (2 * sigma**2), total(y[i] * g[i], i) / sigma**2 - (total(y[i] ** 2, i) + N) / (2 * sigma**2)),
    "The log-likelihood of the image shown, under normal noise, up to constants.",
    using=_G,
)

# 6. The rest, differentiated. A dot is here the derivative in one weight.
D.define("response", Eq(e[i], Rate(x[i]) - total(J[i, j] * Rate(x[j]), j)), "The rest $x=T(x)$ differentiated: $e$ is how $T$ itself depends on the weight.")
D.define("adjoint", Eq(v[i], w[i] - total(J[j, i] * w[j], j)), "With $v$ the gradient of the loss at the rest, this is an equation for $w$.", source=DEQ)
D.exact("implicit", Eq(total(v[i] * Rate(x[i]), i), total(w[i] * e[i], i)), "The derivative of the loss, without the way to the rest.", using=("response", "adjoint"))

# 7. What it is compared with.
D.define("covariance", Eq(S[i, j], total(Y[m, i] * Y[m, j], m) / Q), "The covariance of $Q$ images, from their deviations $Z$ from the mean image.")
D.define(
    "risk",
    Eq(
        risk,
        total((total(A[i, k] * Y[m, k], k) - Y[m, i]) ** 2, m, i) / Q + sigma**2 * total(A[i, k] ** 2, i, k),
    ),
    "The expected squared error of a linear filter $A$, noise averaged.",
)
D.exact(
    "wiener",
    Eq(Derivative(risk, A[i, j]), 2 * (total(A[i, k] * S[k, j], k) + sigma**2 * A[i, j] - S[i, j])),
    "It is smallest where this vanishes, $A=S(S+\\sigma^2)^{-1}$: the Wiener filter.",
    using=("risk", "covariance"),
)
D.define("stored-length", Eq(length[mu], total(xi[mu, i] ** 2, i)), "The squared length of a stored image.")
D.define("stored-likelihood", Eq(evidence[mu], -total((y[i] - xi[mu, i]) ** 2, i) / (2 * sigma**2)), "The log-likelihood of a stored image, up to a constant.")
D.exact(
    "posterior",
    Eq(evidence[mu] - evidence[nu], total((xi[mu, i] - xi[nu, i]) * y[i], i) / sigma**2 - (length[mu] - length[nu]) / (2 * sigma**2)),
    "For stored images of one length, only overlaps decide.",
    using=("stored-likelihood", "stored-length"),
)
