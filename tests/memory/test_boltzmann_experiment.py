"""The chapter's experiment and its figures, at the smallest scale."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.memory.boltzmann import figures
from hopmix.memory.boltzmann.experiment import EXPERIMENT, correlations, digits, dilution, enumerated, fit_all, fitted, pairs, trial

CONFIG = replace(EXPERIMENT.scales["smoke"], units=(4, 8), gradient_units=(8,), training=300, em_steps=5, epochs=1)


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_digits_are_split_by_the_seed():
    train, test = digits(CONFIG, 0)
    assert train.shape == (300, 64) and test.shape == (1497, 64) and train.dtype == torch.float64
    assert float(train.min()) == 0 and float(train.max()) == 8
    again, other = digits(CONFIG, 0)[0], digits(CONFIG, 1)[0]
    assert torch.equal(train, again) and not torch.equal(train, other)
    assert float(torch.cat([train, test]).sum()) == pytest.approx(float(torch.cat(digits(CONFIG, 1)).sum()))


def test_errors_are_those_of_the_missing_pixels():
    train, test = digits(CONFIG, 2)
    found = fit_all(CONFIG, 2, train, test, ("em",))
    missing = ~(torch.rand(test.shape, generator=torch.Generator().manual_seed(2)) > 0.5)
    assert float(found["zero_fill"]) == pytest.approx(float(test[missing].square().mean()))
    assert float(found["mean_fill"]) == pytest.approx(float((test - train.mean(0))[missing].square().mean()))
    machine = fitted(CONFIG, "em", 8, train, 2)
    assert float(found["em_nll"][1]) == pytest.approx(-float(machine.log_likelihood(test).mean()))
    assert float(found["em_filled"][1]) < float(found["mean_fill"]) < float(found["zero_fill"])


def test_pairs_are_mean_products():
    s = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, -1.0]], dtype=torch.float64)
    assert torch.allclose(pairs(s), torch.tensor([1.0, 1.0, -1.0]).double() / 3)
    assert torch.allclose(pairs(s, torch.tensor([1.0, 0.0, 0.0]).double()), torch.tensor([-1.0, 1.0, -1.0]).double())


def test_gibbs_is_near_the_enumeration():
    found = correlations(replace(CONFIG, chains=4000, sweeps=20), 5)
    for order in (2, 4):
        assert float((found[f"gibbs_{order}"] - enumerated(order)).abs().max()) < 5 / np.sqrt(4000)


def test_the_dilute_limit_meets_its_leading_order():
    found = dilution(replace(CONFIG, suppressions=(0.0, 10.0)), 3)
    assert found["dilute"][1] == pytest.approx(found["dilute_theory"][1], rel=1e-3)
    assert found["dilute"][0] < found["dilute_theory"][0]


def test_only_the_first_trial_keeps_pictures(result):
    assert "image_true" in result.trials[0] and "image_true" not in result.trials[1]
    seen = np.array(result.trials[0]["image_true"])[:, :32]
    assert all(np.array_equal(np.array(result.trials[0][name])[:, :32], seen) for name in ("image_mean", "image_few", "image_many"))


def test_a_trial_depends_on_its_seed_alone():
    first, again, other = trial(CONFIG, 1), trial(CONFIG, 1), trial(CONFIG, 2)
    assert torch.equal(first["sgd_nll"], again["sgd_nll"]) and not torch.equal(first["sgd_nll"], other["sgd_nll"])


@pytest.mark.parametrize("name", ["training", "dilute_limit", "gibbs_against_enumeration"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() for ax in picture.axes) and picture.axes[-1].get_xlabel()
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_pictures_of_images_and_of_the_plane(result):
    strips = figures.reconstructions(result)
    shown = result.config["shown"]
    assert [ax.get_ylabel() for ax in strips.axes[::shown]] == ["digit", "seen", "mean image", "5 units", "30 units", "samples", "their means"]
    whole, seen = (strips.axes[row * shown + 2].images[0].get_array() for row in (0, 1))
    assert np.array_equal(whole[:4], seen[:4]) and np.isnan(seen.filled(np.nan)[4:]).all()
    assert np.array_equal(whole.flatten(), result.trials[0]["image_true"][2])
    for picture in (strips, figures.landscape()):
        assert picture._repr_png_().startswith(b"\x89PNG")


def test_the_training_figure_plots_the_means(result):
    expected = np.mean([one["em_nll"] for one in result.trials], axis=0)
    lines = figures.training(result).axes[0].lines
    assert any(np.array_equal(line.get_ydata(), expected) for line in lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_a_scale_without_its_device_is_refused():
    with pytest.raises(ValueError, match="device: 'cuda' is not available here; "):
        EXPERIMENT.run("gpu", progress=False)
