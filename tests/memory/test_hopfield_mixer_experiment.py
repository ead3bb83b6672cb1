"""The chapter's experiment and its figures, at the smallest scale."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.memory.hopfield_mixer import figures
from hopmix.memory.hopfield_mixer.experiment import EXPERIMENT, autograd_rate, embedded_digits, fast_limit, memory_of, trial

CONFIG = replace(EXPERIMENT.scales["smoke"], seeds=2, images=3)


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_embedded_digits_are_scaled_real_images():
    x = embedded_digits(CONFIG, 0)
    assert x.shape == (3, 16, 32) and x.dtype == torch.float64
    assert torch.isclose(x.square().mean(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(x, embedded_digits(CONFIG, 0)) and not torch.equal(x, embedded_digits(CONFIG, 1))
    # An embedding of four pixels has rank four, and blank patches stay blank.
    assert torch.linalg.matrix_rank(x.flatten(0, 1)) == 4
    assert (x.abs().amax(2) == 0).any()


def test_autograd_rate_agrees_with_differences_in_time():
    memory, x = memory_of(CONFIG, 0, 16), embedded_digits(CONFIG, 0)
    step = 1e-5
    ahead, behind = (memory.energy(x + sign * step * memory.velocity(x)) for sign in (1, -1))
    assert torch.allclose(autograd_rate(memory, x), (ahead - behind) / (2 * step), rtol=1e-6)


def test_identities_hold_to_machine_precision(result):
    summary = result.summary
    assert summary["block_error"] < 1e-14 and summary["gauge_error"] < 1e-13 and summary["rate_error"] < 1e-12
    assert summary["largest_rise"] <= 0 and summary["largest_rate"] <= 0


def test_energy_is_its_integrated_rate():
    """Simpson's rule on Runge-Kutta's points, both of fourth order: half the step leaves about a sixteenth of the difference."""
    trials = [trial(replace(CONFIG, steps=steps), 0) for steps in (60, 120)]
    coarse, fine = (np.abs(one["energy"].numpy() - one["energy_from_rate"]).max() for one in trials)
    assert 8 < coarse / fine < 32


def test_the_fast_limit_is_of_first_order():
    x = embedded_digits(CONFIG, 3)[:2]
    found = fast_limit(CONFIG, 3, x)
    assert found["fast_errors"].diff().max() < 0
    assert 0.9 < found["fast_order"] < 1.1


def test_a_trial_depends_on_its_seed_alone():
    first, again, other = trial(CONFIG, 0), trial(CONFIG, 0), trial(CONFIG, 1)
    assert torch.equal(first["energy"], again["energy"])
    assert not torch.equal(first["energy"], other["energy"])


@pytest.mark.parametrize("name", ["energy_along_flow", "fast_limit", "leak_as_gauge"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() for ax in picture.axes) and picture.axes[-1].get_xlabel()
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_energy_figure_plots_the_means(result):
    ax = figures.energy_along_flow(result).axes[0]
    expected = np.mean([one["energy_from_rate"] for one in result.trials], axis=0)
    assert any(np.array_equal(line.get_ydata(), expected) for line in ax.lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_a_scale_without_its_device_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("hopmix.memory.hopfield_mixer.experiment.digit_patches", lambda size: pytest.fail("computed"))
    for folder in (None, tmp_path):
        with pytest.raises(ValueError, match="device: 'cuda' is not available here; "):
            EXPERIMENT.run("gpu", folder=folder, progress=False)
    assert not list(tmp_path.rglob("*.json"))
