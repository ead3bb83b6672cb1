"""The denoiser's parts: images and their judges, filters against brute force, the model against the memory it is made of."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hopmix.memory.denoiser import (
    Denoiser,
    corrupted,
    cosine,
    denoiser_memory,
    fit,
    linear_filter,
    posterior_mean,
    restoration_loss,
    ridge_filter,
    squared_error,
    standardised,
    wiener_filter,
)
from hopmix.memory.denoiser.training import target_of
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse, fixed_point
from hopmix.memory.lagrangian import LayerNorm, ReLU
from hopmix.training import digit_patches

SHAPE = (4, 5)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def memory_of(seed=0, **options):
    return denoiser_memory(SHAPE, 12, weight_scale=0.2, seed=seed, **options).requires_grad_(False)


@given(st.integers(0, 10**6), st.floats(0.1, 50), st.floats(-50, 50))
def test_standardised_images_forget_grey_level_and_contrast(seed, contrast, grey):
    images = normal(seed, 3, *SHAPE)
    found = standardised(contrast * images + grey)
    torch.testing.assert_close(found, torch.nn.functional.layer_norm(images, SHAPE, eps=0.0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(cosine(contrast * images + grey, images), torch.ones(3, dtype=torch.float64))


def test_the_judges_against_numpy():
    a, b = normal(0, 6, *SHAPE), normal(1, 6, *SHAPE)
    expected = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a.numpy(), b.numpy())]
    np.testing.assert_allclose(cosine(a, b).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(squared_error(a, b).numpy(), [np.mean((x - y) ** 2) for x, y in zip(a.numpy(), b.numpy())], rtol=1e-12)


def test_noise_has_its_strength_and_its_seed():
    images = torch.zeros(400, *SHAPE, dtype=torch.float64)
    noisy = corrupted(images, 0.7, seed=3)
    assert torch.equal(noisy, corrupted(images, 0.7, seed=3)) and not torch.equal(noisy, corrupted(images, 0.7, seed=4))
    # The variance of 8000 squares of normal numbers is known: 2 / 8000, relative.
    assert abs(float(noisy.square().mean()) / 0.49 - 1) < 4 * (2 / 8000) ** 0.5 and abs(float(noisy.mean())) < 4 * 0.7 / 8000**0.5
    assert torch.equal(corrupted(images, 0.0), images)


def test_the_wiener_filter_is_the_limit_of_least_squares():
    clean = normal(0, 30, *SHAPE) @ normal(1, 5, 5)
    many = corrupted(clean.repeat(2000, 1, 1), 1.0, seed=2)
    design = torch.cat([many.flatten(1), torch.ones(len(many), 1, dtype=torch.float64)], 1)
    fitted = torch.linalg.lstsq(design, clean.flatten(1).repeat(2000, 1)).solution
    fresh = corrupted(clean, 1.0, seed=3)
    expected = torch.cat([fresh.flatten(1), torch.ones(30, 1, dtype=torch.float64)], 1) @ fitted
    difference = wiener_filter(clean, 1.0)(fresh).flatten(1) - expected
    # 60000 noisy copies fix 21 coefficients for each pixel: a relative error of about sqrt(21 / 60000).
    assert difference.norm() / expected.norm() < 3 * (21 / 60000) ** 0.5


def test_the_ridge_filter_is_ridge_regression_with_the_best_ridge():
    clean, validation = normal(0, 60, *SHAPE), normal(1, 40, *SHAPE)
    ridges, errors, filters = (0.0, 0.3, 1.0, 10.0), [], []
    stream = torch.Generator().manual_seed(7)
    noisy, tried = corrupted(clean, 0.5, stream), corrupted(validation, 0.5, stream)
    x, y = clean.flatten(1).numpy(), noisy.flatten(1).numpy()
    for ridge in ridges:
        # Ridge regression as least squares with the ridge as further observations.
        a = np.vstack([y - y.mean(0), np.sqrt(ridge * 60) * np.eye(20)])
        b = np.vstack([x - x.mean(0), np.zeros((20, 20))])
        matrix = np.linalg.lstsq(a, b, rcond=None)[0]
        filters.append((tried.flatten(1).numpy() - y.mean(0)) @ matrix + x.mean(0))
        errors.append(np.mean((filters[-1] - validation.flatten(1).numpy()) ** 2))
    restore, ridge = ridge_filter(clean, 0.5, validation, ridges, seed=7)
    assert ridge == ridges[int(np.argmin(errors))]
    np.testing.assert_allclose(restore(tried).flatten(1).numpy(), filters[int(np.argmin(errors))], rtol=1e-9, atol=1e-10)


def test_the_posterior_mean_by_simulation():
    """Draw stored images and noise, and average the images whose noisy version came close to the given one."""
    stored = normal(0, 3, 2, 1)
    stream = torch.Generator().manual_seed(1)
    chosen = torch.randint(3, (400_000,), generator=stream)
    noisy = corrupted(stored[chosen], 0.8, stream)
    given_ = stored[0] + torch.tensor([[0.3], [-0.4]], dtype=torch.float64)
    near = (noisy - given_).flatten(1).norm(dim=1) < 0.1
    draws = stored[chosen[near]]
    error = draws.std(0) / len(draws) ** 0.5
    # The window is so small that its curvature, about 0.1^2, is within the statistical error.
    assert ((posterior_mean(stored, 0.8)(given_[None])[0] - draws.mean(0)).abs() < 4 * error + 0.01).all()


def test_a_linear_filter_is_its_matrix():
    matrix, mean, images = normal(0, 20, 20), normal(1, *SHAPE), normal(2, 3, *SHAPE)
    expected = torch.stack([mean.flatten() + matrix @ (image - mean).flatten() for image in images]).reshape(3, *SHAPE)
    torch.testing.assert_close(linear_filter(matrix, mean)(images), expected)


def test_the_memory_is_layernorm_and_a_dense_synapse():
    memory, noisy = memory_of(eps=0.0), normal(0, 3, *SHAPE)
    weight = memory.synapses[0].operator.weight
    x = noisy
    for _ in range(4):
        g = torch.nn.functional.layer_norm(x, SHAPE, eps=0.0).flatten(1)
        x = 0.7 * x + 0.3 * (torch.relu(g @ weight.T) @ weight).reshape(-1, *SHAPE)
    expected = torch.nn.functional.layer_norm(x, SHAPE, eps=0.0)
    torch.testing.assert_close(Denoiser(memory, steps=4, step_size=0.3)(noisy), expected)


def test_two_layers_that_see_the_same_are_one():
    weight, noisy = 0.2 * normal(0, 12, 20), normal(1, 3, *SHAPE)
    for tau in (0.0, 1.0):
        visible = Layer("visible", SHAPE, LayerNorm())
        both = [Layer("a", (5,), ReLU(), tau), Layer("b", (7,), ReLU(), tau)]
        two = HierarchicalMemory([visible, *both], [Synapse("visible", "a", Dense(weight[:5])), Synapse("visible", "b", Dense(weight[5:]))])
        one = HierarchicalMemory([visible, Layer("hidden", (12,), ReLU(), tau)], [Synapse("visible", "hidden", Dense(weight))])
        found, expected = (Denoiser(memory, steps=6, step_size=0.2)(noisy) for memory in (two, one))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_slow_hidden_units_begin_at_zero():
    denoiser = Denoiser(memory_of(adiabatic=False))
    start = denoiser.start(normal(0, 3, *SHAPE))
    assert set(start) == {"visible", "hidden"} and not start["hidden"].any()


@pytest.mark.parametrize("drive", [0.0, 0.8])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_path_is_the_retrieval_and_lowers_the_energy(drive, activation):
    denoiser = Denoiser(memory_of(activation=activation), steps=6, step_size=0.4, drive=drive)
    noisy = normal(1, 4, *SHAPE)
    path = denoiser.path(noisy)
    assert len(path) == 7 and torch.equal(path[0], noisy) and len(denoiser.path(noisy, 20)) == 21
    torch.testing.assert_close(denoiser.seen(path[-1]), denoiser(noisy))
    energy = torch.stack([denoiser.energy(state, noisy) for state in denoiser.path(noisy, 40)]).detach()
    assert (energy.diff(dim=0) <= 1e-12 * energy.abs().max()).all() and (energy[-1] < energy[0]).all()
    expected = denoiser.memory.energy(noisy) - drive * (noisy * torch.nn.functional.layer_norm(noisy, SHAPE, eps=1e-6)).sum((1, 2))
    torch.testing.assert_close(energy[0], expected)


def test_at_rest_the_image_is_a_most_probable_one():
    """No image of the same norm has a lower energy nearby."""
    denoiser = Denoiser(memory_of(), drive=1.0, step_size=0.9, differentiate="implicit").requires_grad_(False)
    noisy = normal(2, 2, *SHAPE)
    shown = denoiser(noisy)
    rest = fixed_point(denoiser.memory, noisy, drive={"visible": noisy})
    torch.testing.assert_close(shown, denoiser.seen(rest), rtol=1e-7, atol=1e-7)
    best, others = denoiser.energy(rest, noisy), [denoiser.energy(rest + 0.05 * normal(seed, 2, *SHAPE), noisy) for seed in range(50)]
    assert all((energy >= best - 1e-9).all() for energy in others)


def test_targets():
    images = 3 + normal(0, 4, *SHAPE)
    torch.testing.assert_close(target_of(images), standardised(images))
    torch.testing.assert_close(target_of(images, "unit").flatten(1).norm(dim=1), torch.ones(4, dtype=torch.float64))
    denoiser = Denoiser(memory_of())
    expected = squared_error(denoiser(images), standardised(images)).mean()
    torch.testing.assert_close(restoration_loss(denoiser, images, images), expected)


@pytest.mark.parametrize("options", [{}, {"drive": 0.5}, {"drive": 1.0, "differentiate": "implicit", "step_size": 0.9, "tolerance": 1e-3}], ids=str)
def test_training_restores_digits(options):
    digits = standardised(digit_patches(8)[0].reshape(-1, 8, 8)[:400]).float()
    train, test = digits[:300], digits[300:]
    denoiser = Denoiser(denoiser_memory((8, 8), 40, dtype=torch.float32), steps=3, **options)
    weights = [p.detach().clone() for p in denoiser.parameters()]
    losses = fit(denoiser, train, noise=1.0, epochs=8, batch_size=100, seed=1)
    assert losses[-1] < 0.8 * losses[0] and all(not torch.equal(a, b) for a, b in zip(weights, denoiser.parameters()))
    with torch.no_grad():
        noisy = corrupted(test, 1.0, seed=2)
        assert cosine(denoiser(noisy), test).mean() > cosine(noisy, test).mean() + 0.1
    again = Denoiser(denoiser_memory((8, 8), 40, dtype=torch.float32), steps=3, **options)
    assert fit(again, train, noise=1.0, epochs=8, batch_size=100, seed=1) == losses


IMAGES = normal(0, 3, *SHAPE)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: standardised(torch.ones(2, 3, 3)), ValueError, "images must differ within each image, but 2 of 2 have one grey level"),
        (lambda: standardised(torch.ones(3)), ValueError, r"images must be \(batch, \*shape\), got shape \(3,\)"),
        (lambda: standardised(IMAGES.numpy()), TypeError, "images must be a floating-point torch.Tensor, got ndarray"),
        (lambda: corrupted(IMAGES, -1), ValueError, "noise must be finite and not negative, got -1"),
        (lambda: corrupted(IMAGES.long(), 1.0), TypeError, "images must be a floating-point torch.Tensor, got dtype torch.int64"),
        (lambda: cosine(IMAGES, IMAGES[:2]), ValueError, "restored and clean must have one shape"),
        (lambda: wiener_filter(IMAGES, 0), ValueError, "noise must be positive and finite, got 0"),
        (lambda: wiener_filter(IMAGES, 1.0)(IMAGES[:, :2]), ValueError, r"noisy must have shape \(batch, 4, 5\), got \(3, 2, 5\)"),
        (lambda: ridge_filter(IMAGES, 1.0, IMAGES, ridges=()), ValueError, "ridges is empty"),
        (lambda: ridge_filter(IMAGES, 1.0, IMAGES, ridges=(-1,)), ValueError, "each of ridges must be finite and not negative, got -1"),
        (lambda: posterior_mean(IMAGES, 1.0)(IMAGES[:, :2]), ValueError, r"noisy must have shape \(batch, 4, 5\), got \(3, 2, 5\)"),
        (lambda: posterior_mean(IMAGES, 1.0)(IMAGES.float()), TypeError, "noisy has dtype torch.float32"),
        (lambda: cosine(IMAGES, IMAGES.float()), TypeError, "restored and clean must have one dtype and device"),
        (lambda: ridge_filter(IMAGES, 1.0, IMAGES, ridges=3), TypeError, "ridges must be a sequence of numbers, got 3"),
        (lambda: ridge_filter(IMAGES, 1.0, IMAGES[:, :2]), ValueError, r"validation must have shape \(batch, 4, 5\)"),
        (lambda: fit(None, IMAGES, 1.0), TypeError, "denoiser must be a Denoiser, got NoneType"),
        (lambda: denoiser_memory(SHAPE, 0), ValueError, "hidden must be a positive integer, got 0"),
        (lambda: denoiser_memory(SHAPE, 3, adiabatic=1), TypeError, "adiabatic must be True or False, got 1"),
        (lambda: denoiser_memory(SHAPE, 3, activation=3), TypeError, "activation must be the name of a Lagrangian"),
        (lambda: denoiser_memory(SHAPE, 3, weight_scale=0), ValueError, "weight_scale must be positive and finite, got 0"),
        (lambda: Denoiser(3), TypeError, "memory must be a HierarchicalMemory, got int"),
        (lambda: Denoiser(HierarchicalMemory([Layer("a", (2,), ReLU()), Layer("b", (2,), ReLU())], [Synapse("a", "b", Dense(torch.eye(2)))])), ValueError, "memory must have a dynamic layer 'visible', got a, b"),
        (lambda: fit(Denoiser(memory_of()), IMAGES, 1.0, target="norm"), ValueError, "target must be one of layernorm, unit; got 'norm'"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
