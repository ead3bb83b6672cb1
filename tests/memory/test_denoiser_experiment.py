"""The chapter's experiment, its figures and its derivation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.memory.denoiser import Denoiser, corrupted, denoiser_memory, figures, standardised
from hopmix.memory.denoiser import derivation as chapter
from hopmix.memory.denoiser.derivation import DERIVATION
from hopmix.memory.denoiser.experiment import EXPERIMENT, along, images_of, judged, noises_of, trial, variant

CONFIG = EXPERIMENT.scales["smoke"]


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


@pytest.mark.parametrize("name", ["digits", "photographs"])
def test_no_image_is_in_two_parts(name):
    parts = images_of(CONFIG, name, 0)
    assert [len(part) for part in parts] == [300, 60, 100]
    for part in parts:
        torch.testing.assert_close(part.flatten(1).mean(1), torch.zeros(len(part)), rtol=0, atol=1e-6)
        torch.testing.assert_close(part.flatten(1).square().mean(1), torch.ones(len(part)))
    if name == "digits":
        together = {tuple(image.flatten().tolist()) for image in torch.cat(parts)}
        assert len(together) == 460
    assert not torch.equal(parts[0], images_of(CONFIG, name, 1)[0])


def test_every_trial_judges_all_methods_at_its_noises(result):
    assert [one["set"] for one in result.trials] == ["digits", "digits", "photographs"]
    for one in result.trials:
        expected = len(noises_of(CONFIG, one["set"]))
        assert {len(values) for values in one["cosine"].values()} == {expected}
        assert set(one["cosine"]) == {"noisy", "ridge", "linear", "stored", "start"} and set(one["variants"]) == set(CONFIG.variants)
        assert all(-1 <= value <= 1 for values in one["cosine"].values() for value in values)


def test_the_error_allows_one_factor():
    clean = standardised(torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    close, error = judged(lambda y: 7 * y, clean, clean, (clean, clean))
    assert close == pytest.approx(1) and error == pytest.approx(0, abs=1e-12)
    noisy = corrupted(clean, 1.0, 1)
    _, error = judged(lambda y: y, clean, noisy, (clean, noisy))
    best = min(float((c * noisy - clean).square().mean()) for c in np.linspace(0, 1, 2001))
    assert error == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("name", ["start", "driven", "simultaneous", "kronecker", "rest"])
def test_every_variant_restores_and_its_energy_falls(name):
    """Untrained; the largest scale has variants that the others do not."""
    denoiser = variant(name, CONFIG, (8, 8), 0).requires_grad_(False)
    clean = images_of(CONFIG, "digits", 0)[2][:10]
    noisy = corrupted(clean, 1.0, 0)
    assert denoiser(noisy).shape == clean.shape
    found = along(denoiser, clean, noisy, 12)
    assert len(found["cosine"]) == 13 and float(found["largest_rise"]) <= 1e-12


def test_the_largest_scale_names_only_what_there_is():
    full = EXPERIMENT.scales["gpu"]
    assert set(full.variants) == {"start", "driven", "simultaneous", "kronecker", "rest"} and full.device == "cuda"
    small = replace(full, seeds=1, photograph_seeds=0, hidden=8, noises=(1.0,), train=60, validation=20, test=20, epochs=1, batch_size=60, long=2, device="cpu")
    assert set(trial(small, ["digits", 0])["variants"]) == set(full.variants)


def test_a_trial_depends_on_its_key_alone():
    first, again, other = trial(CONFIG, ["digits", 0]), trial(CONFIG, ["digits", 0]), trial(CONFIG, ["digits", 1])
    assert first["cosine"] == again["cosine"] and first["cosine"] != other["cosine"]


@pytest.mark.parametrize("name", ["noise_levels", "methods", "along_retrieval"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert picture.axes[-1].get_xlabel() and picture._repr_png_().startswith(b"\x89PNG")


def test_the_figure_of_methods_shows_the_summary(result):
    ax = figures.methods(result).axes[0]
    shown = {round(float(line.get_xdata()[0]), 9) for line in ax.lines if len(line.get_xdata()) == 1}
    assert {round(result.summary[f"digits_{name}"], 9) for name in ("noisy", "linear", "start", "driven")} <= shown
    assert {label.get_text() for label in ax.get_yticklabels()} >= {"Wiener filter", "memory, image as start"}


def test_the_figures_of_a_memory():
    clean = images_of(CONFIG, "digits", 0)[2][:3]
    noisy = corrupted(clean, 1.0, 0)
    denoiser = Denoiser(denoiser_memory((8, 8), 30, dtype=torch.float32, weight_mean=0.2), steps=2)
    strip = figures.restoration(denoiser, clean, noisy)
    assert [ax.get_title() for ax in strip.axes[:4]] == ["noisy", "step 1", "step 2", "clean"]
    np.testing.assert_allclose(strip.axes[2].images[0].get_array(), standardised(denoiser(noisy).detach())[0].numpy(), rtol=1e-4, atol=1e-5)
    fields = figures.receptive_fields(denoiser, count=7, columns=3)
    drawn = [ax.images[0].get_array() for ax in fields.axes if ax.images]
    norms = [float(np.linalg.norm(field)) for field in drawn]
    weight = denoiser.memory.synapses[0].operator.weight.detach()
    expected = (weight - weight.mean(1, keepdim=True)).norm(dim=1).sort(descending=True).values[:7]
    np.testing.assert_allclose(norms, expected.numpy(), rtol=1e-5)
    plane = figures.digit_landscape(denoiser, clean, noisy, ("a", "b", "c"), steps=2)
    stars = [tuple(line.get_xydata()[0]) for line in plane.axes[0].lines if line.get_marker() == "*"]
    np.testing.assert_allclose(stars, [(-1, 0), (1, 0), (0, 1)], atol=1e-9)


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "memory/denoiser" and DERIVATION.label("unit-gap") == "denoiser-unit-gap"
    for step_id in ("loss-cosine", "unit-gap", "shift-up", "demo-is-leaky", "driven-rate", "implicit", "wiener", "posterior"):
        assert DERIVATION[step_id].kind == "exact"
        assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


def test_the_wiener_step_is_the_gradient_of_numpys_risk():
    rng = np.random.default_rng(0)
    a, y, sigma, size = rng.normal(size=(2, 2)), rng.normal(size=(3, 2)), 0.7, 1e-6

    def risk(a):
        return np.sum((y @ a.T - y) ** 2) / 3 + sigma**2 * np.sum(a**2)

    covariance = y.T @ y / 3
    right = DERIVATION["wiener"].statement.rhs.subs({chapter.N: 2, chapter.sigma: sigma})
    for row in range(2):
        for column in range(2):
            step = np.zeros((2, 2))
            step[row, column] = size
            expected = (risk(a + step) - risk(a - step)) / (2 * size)
            value = right.subs({chapter.i: row + 1, chapter.j: column + 1}).doit()
            value = value.subs({chapter.A[r + 1, c + 1]: a[r, c] for r in range(2) for c in range(2)})
            value = value.subs({chapter.S[r + 1, c + 1]: covariance[r, c] for r in range(2) for c in range(2)})
            assert float(value) == pytest.approx(expected, rel=1e-6)
