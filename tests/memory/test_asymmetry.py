"""Ensembles of asymmetric networks against single memories, matrices and closed forms."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hopmix.memory import asymmetry
from hopmix.memory.asymmetry import Ensemble, LateMotion, centred_basis, centred_operator, classify, clock_flow, cycle_frequency
from hopmix.memory.asymmetry import hopf_cycles, late_motion, loss_of_stability, mixer_ensemble, newton, predict
from hopmix.memory.asymmetry.clock import COLLAPSED, CONVERGED, OSCILLATING, UNDECIDED
from hopmix.memory.asymmetry.fixed_points import FOLD, KEPT
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.memory.hopfield_mixer import three_layer_memory

SIZES = (4, 3, 5, 6)


def networks(count=3, activation="gelu", angles=(1.0,), **options) -> Ensemble:
    return mixer_ensemble(count, *SIZES, activation, angles, **options)


def plane(a: float, w: float, other: float = -1.0, gain: float = 1.0, eps: float = 0.0) -> Ensemble:
    """One linear network of four neurons whose centred operator is a rotation a + iw on a plane and ``other`` beside it."""
    basis = centred_basis(4, torch.zeros(1, dtype=torch.float64))
    block = torch.tensor([[a, -w, 0.0], [w, a, 0.0], [0.0, 0.0, other]], dtype=torch.float64)
    matrix = basis @ block @ basis.T
    return Ensemble(torch.eye(4, dtype=torch.float64)[None], matrix.T[None].contiguous(), "quadratic", gain, eps)


@given(st.integers(0, 50), st.sampled_from(["gelu", "relu", "tanh", "quadratic"]), st.floats(0.0, 1.5), st.floats(0.0, 0.1))
def test_each_network_is_a_memory(seed, activation, angle, eps):
    ensemble = networks(2, activation, (angle,), gain=1.3, eps=eps, seed=seed)
    x = ensemble.random_state(seed)
    for i in range(2):
        memory, state = ensemble.memory(i), x[i : i + 1]
        for found, expected in (
            (ensemble.velocity(x), memory.velocity(state)),
            (ensemble.energy(x), memory.energy(state)),
            (ensemble.energy_rate(x), memory.energy_rate(state)),
            (ensemble.activation(x), memory.activations(state)["visible"]),
        ):
            assert torch.allclose(found[i : i + 1], expected, rtol=1e-11, atol=1e-11)


def test_a_mixer_ensemble_is_the_mixer_memory_at_angle_zero():
    memory = three_layer_memory(*SIZES, activation="gelu", eps=0.0, seed=7).requires_grad_(False)
    ensemble = mixer_ensemble(1, *SIZES, "gelu", (0.0,), seed=7)
    x = ensemble.random_state(1)
    state = x.view(1, 4, 3)
    assert torch.allclose(ensemble.velocity(x).view(1, 4, 3), memory.velocity(state), rtol=1e-13, atol=1e-13)
    assert torch.allclose(ensemble.energy(x, 0.3), memory.energy(state), rtol=1e-13)


def test_angles_share_their_draws():
    ensemble = networks(3, angles=(0.0, 0.7, math.pi / 2))
    assert len(ensemble) == 9
    assert torch.equal(ensemble.forward[:3], ensemble.feedback[:3]) and torch.equal(ensemble.forward[:3], ensemble.forward[6:])
    expected = math.cos(0.7) * ensemble.forward[:3] + math.sin(0.7) * ensemble.feedback[6:]
    assert torch.allclose(ensemble.feedback[3:6], expected, atol=1e-15)
    again = ensemble.select(slice(6, 9)).turned(torch.full((3,), 0.7, dtype=torch.float64))
    assert torch.allclose(again.feedback, expected, atol=1e-15)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "quadratic"])
def test_the_jacobian_is_autograds(activation):
    ensemble = networks(2, activation, eps=0.01, gain=1.2)
    x = ensemble.random_state(3)
    found = torch.autograd.functional.jacobian(ensemble.velocity, x)
    expected = torch.stack([found[i, :, i] for i in range(2)])
    assert torch.allclose(ensemble.jacobian(x), expected, atol=1e-12)


def test_clock_velocity_is_the_velocity_on_another_clock():
    ensemble = networks(3, gain=1.4, eps=0.02)
    x = ensemble.random_state(4)
    tempo, pace = ensemble.clock_velocity(x)
    assert torch.allclose(tempo, (x.var(1, correction=0, keepdim=True) + 0.02).sqrt() / 1.4)
    assert torch.allclose(pace, tempo * ensemble.velocity(x), atol=1e-12)


def test_both_clocks_pass_through_the_same_states():
    ensemble = networks(1, gain=1.4, eps=0.02)
    x = ensemble.random_state(5)
    times, states = clock_flow(ensemble, x, 6.0, 600)
    _, direct = ensemble.memory(0).flow(x, float(times[-1, 0]), 600)
    assert torch.allclose(states[-1], direct[-1], atol=1e-8)


def test_the_basis_and_the_centred_operator():
    ensemble = networks(2, "quadratic")
    n, basis = ensemble.visible, centred_basis(ensemble.visible, ensemble.forward)
    assert torch.allclose(basis.T @ basis, torch.eye(n - 1, dtype=basis.dtype), atol=1e-14) and basis.sum(0).abs().max() < 1e-13
    projection = torch.eye(n, dtype=basis.dtype) - 1 / n
    full = projection @ ensemble.operator() @ projection
    assert torch.allclose(basis @ centred_operator(ensemble) @ basis.T, full, atol=1e-12)


def test_the_mixer_operator_is_a_kronecker_sum():
    ensemble = networks(1, "quadratic")
    wide = ensemble.operator().view(4, 3, 4, 3)
    between_tokens, within_tokens = wide[0, :, 1, :], wide[1, :, 1, :] - wide[2, :, 2, :]
    # Between tokens all channels mix alike, and within them only the tokens' own part differs from token to token.
    for block in (between_tokens, within_tokens):
        assert torch.allclose(block, block[0, 0] * torch.eye(3, dtype=block.dtype), atol=1e-13)
    assert wide[0, 0, 0, 1].abs() > 1e-3 and between_tokens[0, 0].abs() > 1e-3


@pytest.mark.parametrize(("a", "w"), [(0.5, 0.2), (1.0, 3.0)])
def test_prediction_of_a_known_rotation(a, w):
    theory = predict(plane(a, w, other=-0.25, gain=2.0))
    assert float(theory.growth) == pytest.approx(a) and float(theory.turning) == pytest.approx(w)
    assert float(theory.gap) == pytest.approx(a + 0.25) and float(theory.frequency) == pytest.approx(w / a)
    assert bool(theory.oscillates) and bool(theory.survives)
    assert not bool(predict(plane(a, w, eps=(1.01 * a) ** 2)).survives)
    assert not bool(predict(plane(-a, w)).oscillates)


@pytest.mark.parametrize(("a", "w", "gain", "eps"), [(0.5, 0.2, 1.0, 0.0), (0.8, 1.5, 1.7, 0.04)])
def test_a_rotation_turns_with_w_over_a_at_rho_gain_a(a, w, gain, eps):
    ensemble = plane(a, w, gain=gain, eps=eps)
    settled = late_motion(ensemble, ensemble.random_state(0), 300.0, 600)
    assert classify(settled).tolist() == [OSCILLATING]
    times, states = clock_flow(ensemble, settled.states, 40.0, 1200)
    assert float(ensemble.radius(states[-1])) == pytest.approx(gain * a, rel=1e-7)
    activations = ensemble.norm.activation(states[:, 0])[:, None]
    assert float(cycle_frequency(times, activations)) == pytest.approx(w / a, rel=1e-4)


@pytest.mark.parametrize(
    ("ensemble", "outcome"),
    [
        (plane(0.5, 0.0, other=0.1), CONVERGED),  # every direction of the plane is at rest
        (plane(-0.5, 0.3), COLLAPSED),
        (plane(0.5, 0.3, eps=0.36), COLLAPSED),
        (plane(0.2, 1e-3, other=0.1), UNDECIDED),  # a turn takes longer than the quarter
    ],
)
def test_outcomes_of_known_networks(ensemble, outcome):
    assert classify(late_motion(ensemble, ensemble.random_state(0), 300.0, 300)).tolist() == [outcome]


def motion(**changes) -> LateMotion:
    one = {"earlier": 0.1, "later": 0.1, "length": 0.5, "shrinking": 1.0, "path": 9.0, "extent": 1.0}
    values = {name: torch.tensor([value], dtype=torch.float64) for name, value in (one | changes).items()}
    return LateMotion(**values, states=torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, OSCILLATING),
        ({"later": 0.09}, UNDECIDED),  # a spiral into a fixed point
        ({"path": 1.5}, UNDECIDED),  # a slow approach that has not come back
        ({"later": 1e-7}, CONVERGED),
        ({"later": 1e-7, "shrinking": 0.5}, UNDECIDED),
        ({"shrinking": 0.5}, UNDECIDED),
        ({"length": 1e-7, "shrinking": 0.5}, COLLAPSED),
    ],
)
def test_the_classifier_asks_for_everything(changes, outcome):
    assert classify(motion(**changes)).tolist() == [outcome]


def test_symmetric_networks_never_oscillate_and_agree_with_theory():
    ensemble = networks(24, "quadratic", (0.0,))
    outcome = classify(late_motion(ensemble, ensemble.random_state(9), 1000.0, 1000))
    assert not (outcome == OSCILLATING).any() and (outcome == CONVERGED).sum() >= 20
    assert not predict(ensemble).oscillates.any()


def test_relus_direction_does_not_know_the_gain_nor_the_length():
    """ReLU is homogeneous, so in the clock its direction obeys a flow of its own, like the linear network's."""
    x = networks(3, "relu").random_state(11)
    ends = []
    for gain, scale in ((1.0, 1.0), (2.5, 0.3)):
        ensemble = networks(3, "relu", gain=gain)
        _, states = clock_flow(ensemble, scale * x, 8.0, 800)
        ends.append((torch.nn.functional.normalize(ensemble.activation(states[-1])), states))
    # The clock's ticks are uniform only once the state is short: compare where the slower one ended with the other's path.
    path = torch.nn.functional.normalize(ends[1][1] - ends[1][1].mean(2, keepdim=True), dim=2)
    distance = (path - ends[0][0]).norm(dim=2).amin(0)
    assert distance.max() < 5e-3


def test_newton_finds_fixed_points_and_says_when_it_does_not():
    ensemble = networks(4, "gelu", (0.2,))
    settled = late_motion(ensemble, ensemble.random_state(2), 600.0, 600).states
    points = newton(ensemble, settled)
    assert (ensemble.velocity(points.states).norm(dim=1) < 1e-11 * points.states.norm(dim=1)).all() and points.stable.all()
    assert (points.eigenvalues.real.diff(dim=1) <= 1e-12).all()
    with pytest.raises(NotConverged, match="residual") as caught:
        newton(ensemble, ensemble.random_state(3), most=1)
    assert caught.value.residual > 0 and caught.value.iterations == 1


def test_linear_sinks_decay_with_the_spectral_gap():
    """At a linear network's sink the Jacobian has the eigenvalues lambda_j / lambda_1 - 1 of the other modes, and two of -1."""
    ensemble = networks(6, "quadratic", (0.2,))
    ensemble = ensemble.select((predict(ensemble).turning == 0).nonzero()[:, 0])
    points = newton(ensemble, late_motion(ensemble, ensemble.random_state(2), 1000.0, 1000).states, tolerance=1e-9)
    values = torch.linalg.eigvals(centred_operator(ensemble))
    for found, lam in zip(points.eigenvalues, values, strict=True):
        lam = lam[lam.real.argsort(descending=True)]
        expected = torch.cat([lam[1:] / lam[0] - 1, -torch.ones(2, dtype=lam.dtype)])
        assert np.sort_complex(found.numpy().round(6)) == pytest.approx(np.sort_complex(expected.numpy().round(6)), abs=1e-5)


def test_sinks_of_linear_networks_end_where_the_rightmost_eigenvalue_becomes_complex():
    """It meets a real neighbour there (fold), or a complex pair overtakes it (Hopf)."""
    loose = networks(12, "quadratic", (math.pi / 2,), seed=3)
    symmetric = loose.turned(torch.zeros(12, dtype=torch.float64))
    loss = loss_of_stability(loose, late_motion(symmetric, symmetric.random_state(0), 1500.0, 1500).states, math.pi / 2)
    words = [asymmetry.LOSSES[place] for place in loss.outcome]
    assert set(words) == {"kept", "fold", "hopf"}
    ended = (loss.outcome != KEPT).nonzero()[:, 0]
    before = predict(loose.select(ended).turned(loss.angle[ended] - 1e-4))
    after = predict(loose.select(ended).turned(loss.angle[ended] + 1e-4))
    assert (before.turning == 0).all() and (after.turning > 0).all()
    fold = loss.outcome[ended] == FOLD
    assert (after.turning[fold] < 0.3).all() and after.turning[~fold].min() > after.turning[fold].max()


@cache
def hopf_points():
    """Two GELU networks whose sinks end at Hopf points, one with its cycles beyond the crossing, one with them before it."""
    loose = mixer_ensemble(256, 4, 3, 8, 6, "gelu", [math.pi / 2], seed=101).select([13, 115])
    symmetric = loose.turned(torch.zeros(2, dtype=torch.float64))
    start = torch.randn(256, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[[13, 115]]
    rest = newton(symmetric, late_motion(symmetric, start, 300.0, 300).states).states
    return loose, loss_of_stability(loose, rest, math.pi / 2)


def test_cycles_at_hopf_points_are_what_the_flow_shows():
    loose, loss = hopf_points()
    assert [asymmetry.LOSSES[place] for place in loss.outcome] == ["hopf", "hopf"]
    cycles = hopf_cycles(loose, loss, 0.02)
    assert ((cycles.angle > cycles.crossing) == torch.tensor([True, False])).all()
    turned = loose.select(cycles.networks).turned(cycles.angle)
    times, states = clock_flow(turned, cycles.states, 500.0, 1500)
    found = cycle_frequency(times, turned.norm.activation(states.flatten(0, 1)).view_as(states))
    assert found.numpy() == pytest.approx(cycles.frequency.numpy(), rel=1e-6)
    off = (cycles.frequency / cycles.pair - 1).abs()
    assert (off > 1e-5).all()  # they differ from the pair's, by far more than the flow's from theirs


def test_hopf_cycles_refuses_and_says_when_it_fails():
    loose, loss = hopf_points()
    with pytest.raises(NotConverged, match="no cycle of this amplitude"):
        hopf_cycles(loose, loss, most=1)
    with pytest.raises(ValueError, match="amplitude must be positive"):
        hopf_cycles(loose, loss, 0.0)
    with pytest.raises(ValueError, match="loss must be that of the 1 networks"):
        hopf_cycles(loose.select([0]), loss)
    with pytest.raises(TypeError, match="loss must be what loss_of_stability returns"):
        hopf_cycles(loose, loss.angle)
    with pytest.raises(ValueError, match="Hopf point, got none"):
        hopf_cycles(loose, replace(loss, outcome=torch.full_like(loss.outcome, KEPT)))


def test_the_frequency_of_a_made_up_cycle():
    times = torch.linspace(0, 10, 2001, dtype=torch.float64)[:, None]
    phase = 3.0 * times + 0.4 * torch.sin(3.0 * times)  # uneven within a turn
    path = torch.stack([3 * phase.cos(), phase.sin(), 0.2 * (2 * phase).cos()], 2)
    assert float(cycle_frequency(times, path)) == pytest.approx(3.0, rel=1e-4)
    with pytest.raises(ValueError, match="full turn"):
        cycle_frequency(times[:200], path[:200])
    with pytest.raises(ValueError, match="points, networks"):
        cycle_frequency(times[:, 0], path)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Ensemble(torch.zeros(2, 3), torch.zeros(2, 3)), ValueError, "forward must be"),
        (lambda: Ensemble([1.0], torch.zeros(2, 3, 4)), TypeError, "forward must be"),
        (lambda: Ensemble(torch.zeros(2, 3, 4), torch.zeros(1, 3, 4)), ValueError, "2 networks"),
        (lambda: Ensemble(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)), ValueError, "feedback must have shape"),
        (lambda: networks(activation="softmax"), TypeError, "activation must be elementwise"),
        (lambda: networks(gain=0.0), ValueError, "gain must be positive"),
        (lambda: networks(eps=-1.0), ValueError, "eps must be"),
        (lambda: networks(angles=()), ValueError, "angles must be one or more"),
        (lambda: networks(3).select([3]), ValueError, "which must be places from 0 to 2"),
        (lambda: networks(3).select([]), ValueError, "which must choose one network"),
        (lambda: networks(3).memory(3), ValueError, "index must be from 0 to 2"),
        (lambda: networks(3).drive(torch.zeros(1, 12, dtype=torch.float64)), ValueError, "g must hold one state"),
        (lambda: networks(3).velocity(torch.full((3, 12), math.nan, dtype=torch.float64)), ValueError, "x has entries that are not finite"),
        (lambda: networks(3).turned(torch.full((3,), math.nan, dtype=torch.float64)), ValueError, "angles has entries"),
        (lambda: networks(angles=1.0), TypeError, "angles must be a list"),
        (lambda: mixer_ensemble(3, 1, 1, 2, 2), ValueError, "two or more visible neurons"),
        (lambda: predict("networks"), TypeError, "ensemble must be an Ensemble"),
        (lambda: newton("networks", None), TypeError, "ensemble must be an Ensemble"),
        (lambda: centred_basis(1, torch.zeros(1)), ValueError, "visible must be an integer from 2 on"),
        (lambda: centred_basis(4, 1.0), TypeError, "like must be a torch.Tensor"),
        (lambda: classify("motion"), TypeError, "motion must be what late_motion returns"),
        (lambda: clock_flow(networks(3), networks(3).random_state(), 100.0, 10), ValueError, "steps must be at least the duration"),
        (lambda: cycle_frequency("times", "activations"), TypeError, "times must be a torch.Tensor"),
        (lambda: loss_of_stability(networks(3), networks(3).random_state(), 1.0, jump=-1), ValueError, "jump must be positive"),
        (lambda: networks(0), ValueError, "networks must be a positive integer"),
        (lambda: networks(3).velocity(torch.zeros(2, 12, dtype=torch.float64)), ValueError, "each of the 3 networks"),
        (lambda: networks(3).turned(torch.zeros(2, dtype=torch.float64)), ValueError, "angles must be one for each"),
        (lambda: networks(3).energy(networks(3).random_state(), k=math.nan), ValueError, "k must be finite"),
        (lambda: clock_flow(networks(3), networks(3).random_state(), -1.0, 10), ValueError, "duration must be positive"),
        (lambda: late_motion(networks(3), networks(3).random_state(), 1.0, 7), ValueError, "steps must be an integer from 8 on"),
        (lambda: classify(motion(), steady=1.5), ValueError, "steady must be at most 1"),
        (lambda: late_motion(networks(3), torch.ones(3, 12, dtype=torch.float64), 10.0, 10), ValueError, "constant"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_late_motion_does_not_change_with_the_company():
    ensemble = networks(3, angles=(1.2,))
    x = ensemble.random_state(0)
    together = late_motion(ensemble, x, 64.0, 64)
    alone = late_motion(ensemble.select([1]), x[1:2], 64.0, 64)
    for name in vars(together):
        assert torch.allclose(getattr(together, name)[1:2], getattr(alone, name), rtol=1e-9, atol=1e-12)
    assert replace(together, path=together.extent).path is together.extent
