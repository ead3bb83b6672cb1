"""The chapter's derivation and experiment."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from hopmix.memory.examples import figures, one_step_overlap, relative_noise, unseen_mass
from hopmix.memory.examples.derivation import DERIVATION
from hopmix.memory.examples.experiment import EXPERIMENT, expected, fitted_exponent, measured_overlap, trial
from hopmix.testing import assert_matches_simulation

CONFIG = EXPERIMENT.scales["smoke"]


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


def test_nothing_rests_on_sampling_or_on_one_size():
    assert {step.kind for step in DERIVATION.steps} == {"definition", "exact"}


def test_the_closed_form_of_the_library_is_that_of_the_derivation():
    right = DERIVATION.equations()["closed"].rhs
    numbers = {"K": 300, "N": 90, "P": 3, "m_0": sp.Rational(3, 5), "rho": sp.Float(relative_noise(7, 0.4), 30)}
    value = float(right.subs({symbol: numbers[symbol.name] for symbol in right.free_symbols}))
    assert one_step_overlap(90, 300, 7, 0.4, 3, 0.6, "closed") == pytest.approx(math.erf(math.sqrt(value)), rel=1e-12)


def test_the_unseen_mass_of_the_library_is_that_of_the_derivation():
    right = DERIVATION.equations()["unseen"].rhs
    numbers = {"alpha": 2, "c": 6 / math.pi**2, "T": 700}
    value = float(right.subs({symbol: numbers[symbol.name] for symbol in right.free_symbols}))
    assert unseen_mass(700, 2.0, "asymptotic") == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("case", "new"), [((80, 8, 7, 0.5, 2), False), ((60, 90, 9, 0.6, 3), False), ((60, 90, 9, 0.6, 3), True)])
def test_simulated_overlaps_are_those_of_the_law(case, new):
    found = [measured_overlap(*case, torch.Generator().manual_seed(seed), new) for seed in range(16)]
    assert_matches_simulation(one_step_overlap(*case, case[3] if new else 1.0), found)


def test_fitted_exponents_of_powers_are_exact_and_have_their_spread():
    x = (10, 20, 40, 80)
    power = np.array(x) ** -0.7
    assert fitted_exponent(x, np.array([power])) == (pytest.approx(-0.7, abs=1e-12), 0.0)
    noisy = power * (1 + 0.01 * np.random.default_rng(0).standard_normal((4000, 4)))
    slope, error = fitted_exponent(x, noisy)
    logs = np.log(x) - np.mean(np.log(x))
    assert error == pytest.approx(0.01 / math.sqrt(logs @ logs) / math.sqrt(4000), rel=0.05) and abs(slope + 0.7) < 4 * error


def test_a_trial_depends_on_its_seed_alone():
    small = replace(CONFIG, dimensions=(32,), samples=(30,))
    assert trial(small, 0) == trial(small, 0) and trial(small, 0) != trial(small, 1)


def test_the_result_and_the_law_have_the_same_curves(result):
    law = expected(CONFIG)
    for one in result.trials:
        assert one.keys() == law.keys() and all(len(one[name]) == len(values) for name, values in law.items())
    assert "largest_deviation" not in result.summary  # two seeds have no standard error
    assert result.summary["exponent_threshold_2_limit"] == -1


@pytest.mark.parametrize("name", ["overlaps", "scaling"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert picture.axes and all(ax.get_xlabel() and ax.get_ylabel() for ax in picture.axes)


def test_simulation_points_are_the_trials(result):
    taught = figures.overlaps(result).axes[0]
    drawn = {container.get_label(): container.lines[0].get_ydata() for container in taught.containers}
    mean = np.mean([one["new_0.5"] for one in result.trials], axis=0)
    assert drawn["from a new example, r = 0.5"] == pytest.approx(mean)


def test_a_scale_without_its_device_is_refused():
    if torch.cuda.is_available():
        pytest.skip("the device is here")
    with pytest.raises(ValueError, match="device: 'cuda' is not available here; "):
        EXPERIMENT.run("gpu", progress=False)
