"""The chapter's experiment and its figures, at the smallest scale."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.memory.asymmetry import figures, predict
from hopmix.memory.asymmetry.experiment import EXPERIMENT, KS, drawn, time_flow, trial

CONFIG = replace(EXPERIMENT.scales["smoke"], seeds=1, networks=3, spectra=4, angles=2, duration=60.0, steps=60, time_steps=80)


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_symmetric_networks_do_not_oscillate(result):
    for one in result.trials:
        assert one["theory_oscillating"][0] == 0 and all(shares[0] == 0 for shares in one["spectra"])
        assert all(one[f"{name}_oscillating"][0] == 0 for name in ("quadratic", "gelu", "relu"))


def test_shares_are_shares(result):
    for one in result.trials:
        for key in ("theory_oscillating", "gelu_oscillating", "relu_undecided", "gain_oscillating"):
            assert all(0 <= share <= 1 for share in one[key])
        assert np.shape(one["rising"]) == (len(KS), len(one["rising_times"]))


def test_the_summary_counts(result):
    summary = result.summary
    assert summary["networks"] == 2 * 4 * 3 and 0 <= summary["wrong_share"] <= 1
    assert summary["frequency_error"] < 1e-3


def test_a_trial_depends_on_its_seed_alone():
    first, again, other = trial(CONFIG, 0), trial(CONFIG, 0), trial(CONFIG, 1)
    assert first["rising"] == again["rising"] and first["gain_oscillating"] == again["gain_oscillating"]
    assert first["rising"] != other["rising"]


def test_the_flow_in_time_is_the_memorys():
    ensemble = drawn(CONFIG, 0, "gelu", [1.0])
    x = ensemble.random_state(0)
    times, states = time_flow(ensemble, x, 1.0, 50)
    expected_times, expected = ensemble.memory(0).flow(x[:1], 1.0, 50)
    assert torch.allclose(times, expected_times) and torch.allclose(states[:, :1], expected, atol=1e-12)


def test_the_picture_shows_what_theory_says():
    ensemble = figures.three_tokens()
    theory = predict(ensemble)
    assert theory.oscillates.tolist() == [False, False, True, True] and theory.survives.all()
    picture = figures.sinks_to_cycle()
    colour = figures.COLOURS["asymmetric"]
    cycles = [any(line.get_color() == colour for line in ax.lines) for ax in picture.axes]
    assert cycles == [False, False, True, True]
    for place, ax in enumerate(picture.axes[:2]):
        # The marks lie where the velocity vanishes.
        marks = np.concatenate([np.column_stack(line.get_data()) for line in ax.lines if line.get_marker() == "o"])
        basis = figures.centred_basis(3, ensemble.forward)
        states = torch.tensor(marks) @ basis.T
        velocity = ensemble.memory(place).velocity(states) @ basis
        assert velocity.abs().max() < 1e-6 * states.abs().max() and len(np.unique(marks.round(4), axis=0)) == 4
    assert picture._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["phase_diagram", "spectra_by_size", "frequencies", "gelu_between", "rising"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() for ax in picture.axes) and picture.axes[-1].get_xlabel()
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_the_line_of_the_phase_diagram_is_the_eigenvalues(result):
    ax = figures.phase_diagram(result).axes[0]
    expected = np.mean([one["theory_oscillating"] for one in result.trials], axis=0)
    assert any(np.array_equal(line.get_ydata(), expected) for line in ax.lines)


def test_the_angles_end_at_a_right_angle():
    ensemble = drawn(CONFIG, 3, "quadratic", [0.0, 0.5 * math.pi])
    apart = (ensemble.forward[3:] * ensemble.feedback[3:]).sum() / (ensemble.forward[3:].norm() * ensemble.feedback[3:].norm())
    assert torch.equal(ensemble.forward[:3], ensemble.feedback[:3]) and abs(float(apart)) < 0.2
