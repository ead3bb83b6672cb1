"""Capacities against enumeration, quadrature and simulation; the chapter's derivation and experiment."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from hopmix.memory.attention import crosstalk, critical_patterns, dominant_overlap, enumerated_error, figures, one_step_error, sphere_capacity, sphere_patterns
from hopmix.memory.attention.derivation import DERIVATION
from hopmix.memory.attention.experiment import EXPERIMENT, measured_error, measured_sphere_capacity, patterns_at, read_off, straddling, trial, unit_vectors
from hopmix.testing import assert_matches_simulation

CONFIG = EXPERIMENT.scales["smoke"]


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


@pytest.mark.parametrize("case", [(2, 2, 2), (3, 4, 2), (5, 3, 3), (4, 4, 4), (6, 3, 5), (7, 2, 3)])
def test_the_error_law_is_the_enumeration(case):
    assert one_step_error(*case) == pytest.approx(enumerated_error(*case), abs=1e-13)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_the_noise_has_the_moments_of_the_derivation(degree):
    equations = DERIVATION.equations()
    for neurons in (5, 12, 60):
        values, weights = crosstalk(neurons, degree)
        variance = equations[f"variance-{degree}"].rhs
        for moment in (equations[f"moment-{k}"] for k in (2, 4, 6)):
            (signs,) = moment.rhs.free_symbols
            here = {entry: moment.rhs.subs(signs, neurons - 1) for entry in variance.atoms(type(moment.lhs)) if entry.base == moment.lhs.base}
            variance = variance.subs(here)
        assert float(weights @ values**2) == pytest.approx(float(variance), rel=1e-12)
        assert values[-1] == neurons**degree - (neurons - 2) ** degree and weights.sum() == pytest.approx(1)


def test_the_exponential_noise_has_its_variance():
    values, weights = crosstalk(14, None)
    assert float(weights @ values**2) * math.exp(28) == pytest.approx(4 * math.sinh(1) ** 2 * math.cosh(2) ** 13, rel=1e-12)


@pytest.mark.parametrize(("neurons", "patterns", "degree"), [(50, 12, 2), (30, 60, 3), (20, 90, 4), (14, 500, None)])
def test_simulated_errors_are_those_of_the_law(neurons, patterns, degree):
    found = [measured_error(neurons, patterns, degree, torch.Generator().manual_seed(seed), 2000) for seed in range(16)]
    assert_matches_simulation(one_step_error(neurons, patterns, degree), found)


def test_approximations_meet_for_many_neurons_and_not_for_the_exponential():
    exact, normal, limit = (one_step_error(800, 150, 2, method) for method in ("exact", "gaussian", "asymptotic"))
    assert normal == pytest.approx(exact, rel=2e-3) and limit == pytest.approx(exact, rel=0.05)
    assert one_step_error(20, 20000, None) > 100 * one_step_error(20, 20000, None, "gaussian")


@pytest.mark.parametrize(("neurons", "degree", "method"), [(60, 3, "exact"), (60, 4, "gaussian"), (40, None, "exact"), (60, 2, "asymptotic")])
def test_critical_patterns_have_the_error(neurons, degree, method):
    count = critical_patterns(neurons, degree, 0.02, method)
    assert one_step_error(neurons, count, degree, method) == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize("kappa", [0.05, 1.0, 20.0])
def test_the_dominant_overlap_maximises(kappa):
    best = minimize_scalar(lambda t: -(kappa * t + math.log1p(-t * t) / 2), bounds=(0, 1), method="bounded", options={"xatol": 1e-12})
    assert dominant_overlap(kappa) == pytest.approx(best.x, abs=1e-6)
    assert sphere_capacity(kappa) == pytest.approx(kappa + best.fun, abs=1e-10)


def test_the_sphere_capacity_keeps_its_digits_at_both_ends():
    assert sphere_capacity(1e12) == pytest.approx((1 + math.log(1e12)) / 2, rel=1e-11)
    assert sphere_capacity(1e200) == pytest.approx((1 + math.log(1e200)) / 2, rel=1e-13)
    assert sphere_capacity(1e-9) == pytest.approx(1e-9, rel=1e-8)


def test_sphere_patterns_by_quadrature():
    neurons, kappa = 11, 0.8

    def mean(factor):
        density, total = (quad(lambda t: (1 - t * t) ** ((neurons - 3) / 2) * math.exp(f * t), -1, 1)[0] for f in (factor * kappa * neurons, 0.0))
        return density / total

    expected = math.exp(kappa * neurons) / mean(1) + mean(2) / (2 * mean(1) ** 2)
    assert sphere_patterns(neurons, kappa) == pytest.approx(expected, rel=1e-9)
    assert sphere_patterns(400, kappa) == pytest.approx(sphere_patterns(400, kappa, "asymptotic"), rel=1e-3)


def test_simulated_sphere_capacity():
    found = [measured_sphere_capacity(9, 1.0, 8, torch.Generator().manual_seed(seed)) for seed in range(16)]
    assert_matches_simulation(sphere_patterns(9, 1.0), found)
    # By hand for one target: the patterns are those that the generator draws.
    stream = torch.Generator().manual_seed(3)
    query, weight = unit_vectors(1, 5, stream)[0], 0.0
    block = max(64, int(sphere_patterns(5, 0.3) / 2))
    others = unit_vectors(block, 5, stream) @ query
    for number, overlap in enumerate(others.tolist(), start=1):
        weight += math.exp(1.5 * (overlap - 1))
        if weight >= 1:
            break
    assert measured_sphere_capacity(5, 0.3, 1, torch.Generator().manual_seed(3)) == number


def test_reading_off_is_exact_for_normal_noise():
    counts = (800, 1300)
    found = read_off(counts, [one_step_error(60, 1 + count, 3, "gaussian") for count in counts])
    assert found == pytest.approx(critical_patterns(60, 3, method="gaussian") - 1, rel=1e-9)
    assert math.isnan(read_off(counts, [0.0, 0.01]))
    low, high = straddling(60, 3)
    assert low < critical_patterns(60, 3) < high


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: one_step_error(1, 5, 2), "neurons must be an integer from 2 on, got 1"),
        (lambda: one_step_error(10, 1, 2), "patterns must be 2 or more, got 1"),
        (lambda: one_step_error(10, 5, 2, "guess"), "method must be one of exact, gaussian, asymptotic; got 'guess'"),
        (lambda: one_step_error(10, 50, None), "patterns must be 200 or more for the exact law of the exponential energy, got 50"),
        (lambda: one_step_error(500, 1e6, None), "patterns: 1e\\+06 at 500 neurons err too rarely for the exact law"),
        (lambda: one_step_error(2000, 1e6, 200), r"degree: the square of 2000\*\*200 is more than float64 holds; allowed here: at most 44"),
        (lambda: critical_patterns(1001, None), "neurons must be at most 1000 for the exponential energy"),
        (lambda: sphere_patterns(3000, 2.0), r"neurons: 3000 of them at kappa 2 hold about exp\(2726\) patterns"),
        (lambda: critical_patterns(10, 2, 0.5), "error must be below 0.5, got 0.5"),
        (lambda: critical_patterns(4, 2, 1e-6), "neurons: with 4 of them, 2 patterns are too many already"),
        (lambda: sphere_capacity(0.0), "kappa must be positive and finite, got 0.0"),
        (lambda: sphere_patterns(1, 1.0), "neurons must be an integer from 2 on, got 1"),
        (lambda: sphere_patterns(5, 1.0, "gaussian"), "method must be one of exact, asymptotic; got 'gaussian'"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("step_id", ["attention", "drop", "value-rate", "flip"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")
    assert DERIVATION.label(step_id) == f"attention-{step_id}"


def test_a_trial_depends_on_its_seed_alone():
    small = replace(CONFIG, sizes=((25,), (15,), (12,), (14,)), sphere_sizes=((8,), (6,), (5,)), temperatures=(0.5, 4.0), neurons_read=500)
    first, again, other = trial(small, 0), trial(small, 0), trial(small, 1)
    assert first["capacity_exp"] == again["capacity_exp"] and torch.equal(first["effective"], again["effective"])
    assert first["sphere_1"] != other["sphere_1"] and first["critical"] != other["critical"]


def test_the_phases_are_there(result):
    effective = np.mean([t["effective"] for t in result.trials], axis=0)
    assert effective[0] == pytest.approx(CONFIG.digits, rel=1e-6) and effective[-1] == pytest.approx(1, abs=1e-2)
    assert (np.diff(effective) < 1e-6).all()
    for one in result.trials:
        assert (np.array(one["error"]) <= np.array(one["bound_pairs"])).all() and (np.array(one["bound_pairs"]) <= np.array(one["bound"]) + 1e-12).all()
    assert patterns_at(CONFIG, 4, 30) == [round(load * 30**3 / 15) for load in CONFIG.loads]


@pytest.mark.parametrize("name", ["phases", "one_step", "errors", "dense_capacity", "sphere"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() for ax in picture.axes) and picture.axes[-1].get_xlabel()
    assert picture._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["landscapes", "retrieval"])
def test_pictures_need_no_result(name):
    assert getattr(figures, name)()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_a_scale_without_its_device_is_refused():
    with pytest.raises(ValueError, match="device: 'cuda' is not available here; "):
        EXPERIMENT.run("gpu", progress=False)
