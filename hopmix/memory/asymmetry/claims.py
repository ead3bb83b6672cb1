"""What the chapter claims of energies and of linear networks, measured (page: book/memory/asymmetry.md)."""

from __future__ import annotations

import math

import numpy as np
import torch

from hopmix.claim import Evidence, claim
from hopmix.memory.asymmetry.clock import COLLAPSED, CONVERGED, OSCILLATING, UNDECIDED, classify, clock_flow, cycle_frequency, late_motion
from hopmix.memory.asymmetry.cycles import hopf_cycles
from hopmix.memory.asymmetry.ensemble import Ensemble
from hopmix.memory.asymmetry.experiment import KS, time_flow
from hopmix.memory.asymmetry.fixed_points import FOLD, HOPF, KEPT, LOST, newton
from hopmix.memory.asymmetry.measures import (
    SEEDS, UNSEEN, convergence_errors, left_vectors, one_per_seed, relative, right_angle, rising_shares, sinks_of_symmetric_networks, turning_networks,
)  # fmt: skip
from hopmix.memory.asymmetry.spectrum import centred_basis, centred_operator, predict


@claim(
    statement=r"The energy of the general memory with fast hidden units and asymmetric synapses is the pseudo-energy with $k=1/2$.",
    source="this book",
    kind="identity",
)
def half_is_the_general_energy() -> Evidence:
    worst = 0.0
    for activation in ("gelu", "relu", "tanh"):
        ensemble = one_per_seed(activation, 1.0, gain=1.3, eps=1e-3)
        x = ensemble.random_state(100)
        general = torch.cat([ensemble.memory(i).energy(x[i : i + 1]) for i in SEEDS])
        worst = max(worst, relative(ensemble.energy(x, 0.5), general))
    return Evidence.at_most("largest difference to the energy of HierarchicalMemory, relative", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"The rate of the pseudo-energy is exact for every $k$, with GELU, ReLU, tanh and linear hidden units.",
    source="this book",
    kind="identity",
)
def rate_is_exact() -> Evidence:
    worst = 0.0
    for activation in ("gelu", "relu", "tanh", "quadratic"):
        ensemble = one_per_seed(activation, 1.0, gain=1.3, eps=1e-3)
        for k in KS:
            x = ensemble.random_state(100).requires_grad_(True)
            (gradient,) = torch.autograd.grad(ensemble.energy(x, k).sum(), x)
            worst = max(worst, relative(ensemble.energy_rate(x, k).detach(), (gradient * ensemble.velocity(x)).sum(1).detach()))
    return Evidence.at_most("largest difference to autograd's rate, relative", worst, 1e-12, seeds=SEEDS, detail=f"k = {', '.join(map(str, KS))}")


@claim(
    statement=r"With linear hidden units and a symmetric $M=Z^\top W$, of which $Z\ne W$, the pseudo-energy with $k=1/2$ never rises.",
    source="this book",
    kind="theorem",
)
def symmetric_operator_descends() -> Evidence:
    loose = one_per_seed("quadratic", 0.5 * math.pi)
    # Z^T W = S for any wanted symmetric S, since W has full column rank.
    wanted = loose.operator() + loose.operator().mT
    ensemble = Ensemble(loose.forward, torch.linalg.pinv(loose.forward).mT @ wanted, "quadratic", eps=1e-6)
    times, states = time_flow(ensemble, 4 * ensemble.random_state(100), 3.0, 1500)
    rises = {}
    for k in KS:
        energy = torch.stack([ensemble.energy(x, k) for x in states])
        allowed = 64 * torch.finfo(energy.dtype).eps * energy.abs().amax(0)
        rises[k] = float((energy.diff(dim=0) > allowed).any(0).double().mean())
    others = "the others rise in a share of " + ", ".join(f"{rises[k]:.2f} for k = {k:g}" for k in KS if k != 0.5)
    return Evidence.at_most("share of networks whose energy rises anywhere, k = 1/2", rises[0.5], 0.0, seeds=SEEDS, detail=others)


@claim(
    statement=r"With linear hidden units the direction of the centred state is that of $e^{sPMP}$ applied to its start, $s$ being LayerNorm's clock.",
    source="this book",
    kind="identity",
)
def direction_is_linear() -> Evidence:
    ensemble = one_per_seed("quadratic", 1.2, gain=1.5, eps=1e-2)
    basis, x = centred_basis(ensemble.visible, ensemble.forward), 3 * ensemble.random_state(100)
    _, states = time_flow(ensemble, x, 2.0, 1600)
    centred = states @ basis
    rho = torch.stack([ensemble.radius(state)[:, 0] for state in states])
    weights = torch.full((len(states),), 2.0, dtype=rho.dtype)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    clock = (weights[:, None] * ensemble.gain / rho).sum(0) * (2.0 / 1600) / 3  # Simpson's rule
    predicted = math.exp(-2.0) * (torch.matrix_exp(clock[:, None, None] * centred_operator(ensemble)) @ centred[0][..., None])[..., 0]
    return Evidence.at_most("largest difference of the centred state at t = 2, relative", relative(centred[-1], predicted), 1e-8, seeds=SEEDS, detail="integration error included")


@claim(
    statement=r"The angle in the plane of a complex pair $a\pm iw$ advances by $(w/a)(t+\log r(t)/r(0))$, at all times, for any $\epsilon$ and gain.",
    source="this book",
    kind="identity",
)
def winding() -> Evidence:
    worst = 0.0
    for gain, eps in ((1.0, 0.0), (2.0, 0.05)):
        ensemble = turning_networks(gain, eps)
        value, left = left_vectors(centred_operator(ensemble))
        times, states = clock_flow(ensemble, ensemble.random_state(100), 60.0, 1200)
        centred = states @ centred_basis(ensemble.visible, ensemble.forward)
        z = torch.einsum("tni,ni->tn", centred.to(left.dtype), left)
        angle = torch.cumsum((z[1:] / z[:-1]).angle(), 0)
        predicted = value.imag / value.real * (times[1:] + (z[1:].abs() / z[0].abs()).log())
        worst = max(worst, relative(angle, predicted))
    return Evidence.at_most("largest difference of the angle, relative, over many turns", worst, 1e-5, seeds=SEEDS, detail="integration error included")


@claim(
    statement=r"Linear networks oscillate with the frequency $w/a$, and a rotation that is orthogonal, $M=aI+wJ$ on a plane, settles at $\rho=\gamma a$.",
    source="this book",
    kind="theorem",
)
def frequency() -> Evidence:
    n, a, w = 4, 0.5, 0.2
    basis = centred_basis(n, torch.zeros(1, dtype=torch.float64))[:, :2]
    turn = basis @ torch.tensor([[a, -w], [w, a]], dtype=torch.float64) @ basis.T - (torch.eye(n, dtype=torch.float64) - basis @ basis.T)
    ensemble = Ensemble(torch.eye(n, dtype=torch.float64)[None], turn.mT[None].contiguous(), "quadratic", gain=1.7)
    settled = late_motion(ensemble, ensemble.random_state(0), 100.0, 400).states
    times, states = clock_flow(ensemble, settled, 40.0, 1600)
    g = ensemble.norm.activation(states[:, 0])[:, None]
    rotating = abs(float(cycle_frequency(times, g)) / (w / a) - 1)
    rho = abs(float(ensemble.radius(states[-1])) / (1.7 * a) - 1)
    generic = turning_networks()
    late = late_motion(generic, generic.random_state(100), 600.0, 600)
    times, states = clock_flow(generic, late.states, 400.0, 1600)
    found = cycle_frequency(times, generic.norm.activation(states.flatten(0, 1)).view_as(states))
    errors = (found / predict(generic).frequency - 1).abs()
    return Evidence.at_most(
        "largest error of frequency and length of the orthogonal rotation, relative",
        max(rotating, rho),
        1e-6,
        seeds=SEEDS,
        detail=f"frequencies of sixteen drawn networks over some turns: largest error {float(errors.max()):.1e}, median {float(errors.median()):.1e}",
    )


@claim(
    statement=r"Where the rightmost eigenvalue is real, the direction of the state tends to its eigenvector, at the rate $1-\mathrm{Re}\,\lambda_2/\lambda_1$ per time constant.",
    source="this book",
    kind="theorem",
)
def rate_of_convergence() -> Evidence:
    errors = convergence_errors()
    return Evidence.at_most("largest error of the rate at which the distance falls, relative", max(errors), 0.05, seeds=SEEDS, detail=f"median {np.median(errors):.1e}")


@claim(
    statement=r"A state survives iff $\gamma\,\mathrm{Re}\,\lambda_1>\sqrt\epsilon$; otherwise it collapses, and with it all activations.",
    source="this book",
    kind="theorem",
)
def survival() -> Evidence:
    drawn = one_per_seed("quadratic", 1.2)
    # The feedback's factor puts gain * growth at these multiples of sqrt(eps).
    factor = torch.tensor([0.5, 0.9, 1.1, 2.0], dtype=torch.float64)[:, None] * 0.1 / (1.5 * predict(drawn).growth)
    ensemble = Ensemble(drawn.forward.repeat(4, 1, 1), factor.view(-1, 1, 1) * drawn.feedback.repeat(4, 1, 1), "quadratic", gain=1.5, eps=0.01)
    collapsed = classify(late_motion(ensemble, drawn.random_state(100).repeat(4, 1), 2000.0, 2000)) == COLLAPSED
    wrong, total = int((collapsed == predict(ensemble).survives).sum()), len(ensemble)
    return Evidence.at_most("networks of which theory and simulation disagree", wrong, 0, seeds=SEEDS, detail=f"{int(collapsed.sum())} of {total} collapsed")


@claim(
    statement=r"At $\epsilon=0$, on an eigenvector with eigenvalue $-\kappa$, the length is $(\rho_0+\gamma\kappa)e^{-t}-\gamma\kappa$ and vanishes at the time $\log(1+\rho_0/\gamma\kappa)$.",
    source="this book",
    kind="theorem",
)
def collapse_in_finite_time() -> Evidence:
    unit, gain, worst = torch.eye(6, dtype=torch.float64), 1.4, 0.0
    for kappa in np.linspace(0.2, 3.0, 16):
        ensemble = Ensemble(unit[None], -kappa * unit[None], "quadratic", gain=gain)
        x = ensemble.random_state(0)
        start = float(ensemble.radius(x))
        end = math.log(1 + start / (gain * kappa))
        times, states = ensemble.memory(0).flow(x, 0.9 * end, 60)
        predicted = (start + gain * kappa) * torch.exp(-times) - gain * kappa
        worst = max(worst, relative(states[:, 0].std(1, correction=0), predicted))
    return Evidence.at_most("largest error of the length up to nine tenths of that time, relative to its start", worst, 1e-6, detail="sixteen values of kappa; integration error included")


@claim(
    statement="Linear networks that survive oscillate iff the rightmost eigenvalue of $PMP$ is complex: of those that the classifier decides, at most one in a hundred is decided otherwise.",
    source="this book",
    kind="simulation",
)
def eigenvalues_decide() -> Evidence:
    ensemble, outcome, _ = right_angle("quadratic")
    theory = predict(ensemble)
    expected = torch.where(theory.oscillates, OSCILLATING, CONVERGED).masked_fill(~theory.survives, COLLAPSED)
    decided = outcome != UNDECIDED
    wrong = float((outcome != expected)[decided].double().mean())
    counts = ", ".join(f"{int((outcome == place).sum())} {name}" for place, name in ((CONVERGED, "converged"), (OSCILLATING, "oscillating"), (COLLAPSED, "collapsed"), (UNDECIDED, "undecided")))
    return Evidence.at_most("share of decided networks that contradict the eigenvalues", wrong, 0.01, seeds=SEEDS, detail=f"{len(outcome)} networks at a right angle: {counts}")


@claim(
    statement="GELU and ReLU oscillate less often than linear hidden units with the same synapses.",
    source="this book",
    kind="finding",
)
def shifted_transition() -> Evidence:
    linear = right_angle("quadratic")[1].view(16, -1)[:, :12]
    outcomes = {"quadratic": linear, **{name: right_angle(name, 12)[1].view(16, -1) for name in ("gelu", "relu")}}
    shares = {name: (outcome == OSCILLATING).double().mean(1) for name, outcome in outcomes.items()}
    differences = {name: shares["quadratic"] - shares[name] for name in ("gelu", "relu")}
    scores = {name: float(d.mean() / (d.std() / 4)) for name, d in differences.items()}
    said = ", ".join(f"{name} {float(share.mean()):.3f} +- {float(share.std() / 4):.3f}" for name, share in shares.items())
    return Evidence.at_least("difference of the shares in standard errors over seeds, the smaller of GELU's and ReLU's", min(scores.values()), 4.0, seeds=SEEDS, detail=said)


@claim(
    statement=r"In every cycle of a drawn linear network the pseudo-energy with $k=1/2$ rises for part of the turn: $\dot E_{1/2}\le0$ is not guaranteed.",
    source="this book",
    kind="finding",
)
def rises_on_cycles() -> Evidence:
    ensemble = turning_networks()
    late = late_motion(ensemble, ensemble.random_state(100), 600.0, 600)
    _, states = clock_flow(ensemble, late.states, 200.0, 800)
    rising = torch.stack([ensemble.energy_rate(x, 0.5) > 1e-9 for x in states]).double().mean(0)
    return Evidence.at_least("smallest share of ticks with a rising energy", float(rising.min()), 0.01, seeds=SEEDS, detail=f"mean {float(rising.mean()):.2f}")


@claim(
    statement=r"Early on, the pseudo-energy with $k=1/2$ rises less often than that with $k=0$, and that less often than that with $k=-1/2$.",
    source="this book",
    kind="finding",
)
def early_descent() -> Evidence:
    shares = rising_shares()[:, 0]
    steps = shares[:, :2] - shares[:, 1:3]
    scores = steps.mean(0) / (steps.std(0) / 4)
    said = ", ".join(f"k = {k:g}: {m:.3f} +- {e:.3f}" for k, m, e in zip(KS, shares.mean(0).tolist(), (shares.std(0) / 4).tolist(), strict=True))
    return Evidence.at_least("the smaller of the two differences, in standard errors over seeds", float(scores.min()), 3.0, seeds=SEEDS, detail=f"share of time rising for t < 1: {said}")


@claim(
    statement=r"Late in the flow the pseudo-energy with $k=1/2$ rises as often as it falls: a sink is no minimum of it.",
    source="this book",
    kind="finding",
)
def late_descent() -> Evidence:
    shares = rising_shares()[:, 1]
    said = ", ".join(f"k = {k:g}: {m:.2f} +- {e:.2f}" for k, m, e in zip(KS, shares.mean(0).tolist(), (shares.std(0) / 4).tolist(), strict=True))
    score = float((shares.mean(0)[2] - 0.5) / (shares.std(0)[2] / 4))
    return Evidence.between("share of time rising for 8 < t < 10 less one half, in standard errors over seeds", score, -4.0, 4.0, seeds=SEEDS, detail=said)


@claim(
    statement="Small disturbances of GELU's sinks follow the eigenvalues of the linearised flow.",
    source="this book",
    kind="identity",
)
def linearisation() -> Evidence:
    ensemble, outcome, states = right_angle("gelu", 12)
    which = (outcome == CONVERGED).nonzero()[:48, 0]
    ensemble = ensemble.select(which)
    points = newton(ensemble, states[which])
    value, left = left_vectors(ensemble.jacobian(points.states))
    _, path = time_flow(ensemble, points.states + 1e-6 * ensemble.random_state(500), 4.0, 400)
    z = torch.einsum("tni,ni->tn", (path - points.states).to(left.dtype), left)
    error = (z[-1] / z[0] / torch.exp(4.0 * value) - 1).abs()
    return Evidence.at_most("largest error of the leading mode at t = 4, relative", float(error.max()), 1e-3, detail=f"{len(which)} networks, disturbed by 1e-6; median {float(error.median()):.1e}")


@claim(
    statement="Where the feedback turns, GELU's sinks end more often in folds than at Hopf points.",
    source="this book",
    kind="finding",
)
def folds_prevail() -> Evidence:
    _, loss = sinks_of_symmetric_networks()
    difference = ((loss.outcome == FOLD).double() - (loss.outcome == HOPF).double()).view(len(UNSEEN), -1).mean(1)
    counts = ", ".join(f"{int((loss.outcome == place).sum())} {word}" for place, word in ((FOLD, "folds"), (HOPF, "Hopf"), (KEPT, "kept"), (LOST, "lost")))
    score = float(difference.mean() / (difference.std() / len(UNSEEN) ** 0.5))
    return Evidence.at_least("folds less Hopf points, in standard errors over seeds", score, 4.0, seeds=UNSEEN, detail=f"{len(loss.outcome)} sinks: {counts}")


@claim(
    statement="At all Hopf points of drawn GELU networks small cycles are born, whose frequency tends to that of the crossing pair as the square of the amplitude.",
    source="this book",
    kind="simulation",
)
def hopf_frequency() -> Evidence:
    # Hopf's theorem: the error is c A^2 + O(A^4), so halving A divides it by 2^2. A tenth off means a remainder of nine per cent.
    wide, narrow = (hopf_cycles(*sinks_of_symmetric_networks(), amplitude) for amplitude in (0.008, 0.004))
    errors = [(cycles.frequency / cycles.pair - 1).abs() for cycles in (wide, narrow)]
    off = ((errors[0] / errors[1]).log2() - 2).abs()
    beyond = int((narrow.angle > narrow.crossing).sum())
    detail = f"{len(off)} Hopf points, amplitudes 0.008 and 0.004; at the latter the frequency is off by at most {float(errors[1].max()):.1e}; {beyond} cycles lie beyond the crossing, {len(off) - beyond} before it"
    return Evidence.at_most("largest distance from 2 of the power of the amplitude", float(off.max()), 0.1, seeds=UNSEEN, detail=detail)
