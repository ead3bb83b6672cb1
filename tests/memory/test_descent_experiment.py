"""The chapter's experiment and its figures, at the smallest scale."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.memory.descent import TiedMixer, figures
from hopmix.memory.descent.experiment import EXPERIMENT, energies, trial
from hopmix.training import digit_patches

CONFIG = EXPERIMENT.scales["smoke"]


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_no_bound_is_exceeded_and_relu_never_rises(result):
    summary = result.summary
    assert summary["exceeded"] == summary["safe_rises"] == summary["relu_rises"] == 0
    assert summary["shared_exceeded"] == summary["unshared_exceeded"] == 0
    assert summary["steps"] == 2 * (500 * 2 + 50 * 4) * 13
    assert summary["identity_error"] < 1e-12 and 0 < summary["tightness"] <= 1


def test_energies_of_a_shared_block_are_one_curve_and_those_of_others_are_not():
    patches = digit_patches(2)[0][:20]
    sizes = dict(tokens=16, pixels=4, channels=8, token_hidden=8, channel_hidden=12, depth=4)
    shared = energies(TiedMixer(**sizes, dtype=torch.float32, seed=1), patches)
    assert torch.allclose(shared["measured"], shared["terms"], rtol=1e-12)
    assert bool((shared["measured"] <= shared["bound"] + 1e-12).all())
    assert shared["largest_rise"] < 0 and shared["rising_share"] == 0
    unshared = energies(TiedMixer(**sizes, sharing="none", dtype=torch.float32, seed=1), patches)
    assert unshared["own"] < 0 < unshared["largest_rise"]


def test_energies_leaves_the_model_in_its_dtype():
    model = TiedMixer(16, 4, 8, 8, 12, depth=2, dtype=torch.float32)
    energies(model, digit_patches(2)[0][:3])
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_trial_depends_on_its_key_alone():
    small = replace(CONFIG, networks=50, small_networks=10, shown=3)
    first, again, other = (trial(small, ["networks", seed]) for seed in (0, 0, 1))
    assert torch.equal(first["shown_change"], again["shown_change"]) and not torch.equal(first["shown_change"], other["shown_change"])


def test_points_of_the_figure_lie_below_the_theory(result):
    for one in result.trials:
        if one["kind"] == "networks":
            assert (np.array(one["shown_change"]) <= 1 - np.array(one["shown_safety"]) + 1e-9).all()


@pytest.mark.parametrize("name", ["rises", "change_against_safety", "energy_along_blocks", "unshared"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() for ax in picture.axes) and picture.axes[-1].get_xlabel()
    assert picture._repr_png_().startswith(b"\x89PNG")
