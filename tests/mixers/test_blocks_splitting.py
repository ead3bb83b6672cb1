"""Parallel and serial steps: closed forms, differences by hand, and the experiment with its figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.mixers import Mixer, MixerBlock
from hopmix.mixers.blocks import figures, parallel_step, serial_step, splitting_term
from hopmix.mixers.blocks.experiment import EXPERIMENT, block_of, digit_images, embedded_digits, flow_and_variation, many_blocks, run_in_order, small_steps, trial

CONFIG = EXPERIMENT.scales["smoke"]


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("order", ["parallel", "serial"])
def test_at_step_one_the_steps_are_the_blocks_own(order):
    block, x = MixerBlock(4, 6, 5, 7, order=order, dtype=torch.float64), draw(0, 3, 4, 6)
    step = parallel_step if order == "parallel" else serial_step
    torch.testing.assert_close(step(block, x), block(x), rtol=1e-14, atol=1e-14)
    assert not torch.allclose(step(block, x), (serial_step if order == "parallel" else parallel_step)(block, x), rtol=1e-2)


def test_channels_first_by_hand():
    block, x = MixerBlock(4, 6, 5, 7, dtype=torch.float64), draw(0, 3, 4, 6)
    y = x + 0.3 * block.channel_branch(x)
    torch.testing.assert_close(serial_step(block, x, 0.3, first="channel"), y + 0.3 * block.token_branch(y), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("first", ["token", "channel"])
@pytest.mark.parametrize("order", ["parallel", "serial"])
def test_the_splitting_term_is_a_central_difference(order, first):
    block, x, h = MixerBlock(4, 6, 5, 7, order=order, gain="scalar", dtype=torch.float64), draw(1, 3, 4, 6), 1e-5
    one, other = (block.token_branch, block.channel_branch)[:: 1 if first == "token" else -1]
    expected = (other(x + h * one(x)) - other(x - h * one(x))) / (2 * h)
    torch.testing.assert_close(splitting_term(block, x, first), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda b, x: serial_step(b, x, first="tokens"), ValueError, "first must be one of token, channel; got 'tokens'"),
        (lambda b, x: splitting_term(b, x, first=0), ValueError, "first must be one of token, channel; got 0"),
        (lambda b, x: parallel_step(b, x, "1"), TypeError, "step must be a real number, got '1'"),
        (lambda b, x: serial_step(b, x[0]), ValueError, r"x must have shape \(batch, 4, 6\), got \(4, 6\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(MixerBlock(4, 6, 5, 7, dtype=torch.float64), draw(0, 3, 4, 6))


def test_small_steps_of_linear_branches_are_the_leading_term_to_rounding():
    """Nothing of higher order is left where branches are linear and the norm too: with a huge eps, and its root as gain, it only centres."""
    block = block_of(CONFIG, 0, 16, activation="identity", gain="scalar", eps=1e14)
    block.norm.gain.fill_(1e7)
    found = small_steps(CONFIG, block, embedded_digits(CONFIG, 0, 3))
    np.testing.assert_allclose(found["difference"], found["leading"], rtol=1e-6)
    assert found["order"] == pytest.approx(2, abs=1e-5) and found["coefficient"] == pytest.approx(1, abs=1e-5)


def test_the_variation_is_the_difference_of_neighbouring_flows():
    """The flow of F + G + a DG F, minus that of F + G, over a."""
    block, x, a, steps = block_of(CONFIG, 1, 16), embedded_digits(CONFIG, 1, 2), 1e-4, 8
    end, variation = flow_and_variation(block, x, steps)

    def flow(strength):
        def field(y):
            return block.token_branch(y) + block.channel_branch(y) + strength * splitting_term(block, y)

        y, h = x, 1 / steps
        for _ in range(steps):
            k1 = field(y)
            k2 = field(y + h / 2 * k1)
            k3 = field(y + h / 2 * k2)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + field(y + h * k3))
        return y

    torch.testing.assert_close(flow(0.0), end, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close((flow(a) - flow(-a)) / (2 * a), variation, rtol=1e-5, atol=1e-6)


def test_many_blocks_agree_with_iterated_steps_by_hand():
    block, x = block_of(CONFIG, 0, 16), embedded_digits(CONFIG, 0, 1)
    found = many_blocks(CONFIG, block, x)
    end, _ = flow_and_variation(block, x, CONFIG.flow_steps)
    serial = serial_step(block, serial_step(block, x, 0.5), 0.5)
    parallel = parallel_step(block, parallel_step(block, x, 0.5), 0.5)
    assert found["deep_difference"][1] == pytest.approx(float((serial - parallel).norm() / (end - x).norm()), rel=1e-12)


@pytest.mark.parametrize("order", ["parallel", "serial"])
def test_running_in_its_own_order_is_the_model(order):
    model = Mixer(8, 2, 1, 10, 2, 8, order=order, seed=1)
    with torch.no_grad():
        model.head_weight.add_(draw(3, 10, 8).float())
        images = digit_images()[0][:5]
        found, added, differ = run_in_order(model, images, serial=order == "serial")
        torch.testing.assert_close(found, model(images))
        swapped = Mixer(8, 2, 1, 10, 2, 8, order="serial" if order == "parallel" else "parallel", seed=1)
        for block, other in zip(model.blocks, swapped.blocks, strict=True):
            other.token, other.channel = block.token, block.channel
        swapped.stem, swapped.head_weight = model.stem, model.head_weight
        torch.testing.assert_close(run_in_order(model, images, serial=order != "serial")[0], swapped(images))
        x = model.embed(images)
        assert added[0] == pytest.approx(float((model.blocks[0](x) - x).norm() / x.norm()), rel=1e-5)
        assert differ[0] == pytest.approx(float((model.blocks[0](x) - swapped.blocks[0](x)).norm() / (model.blocks[0](x) - x).norm()), rel=1e-5)


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_the_experiment_finds_second_order(result):
    for kind in ("paramixer", "symmixer", "asymmixer", "signedmixer"):
        assert result.summary[f"{kind}_order"] == pytest.approx(2, abs=1e-3)
        assert result.summary[f"{kind}_coefficient"] == pytest.approx(1, abs=1e-3)
    assert result.summary["deep_coefficient"] == pytest.approx(1, abs=0.05)


def test_a_trial_depends_on_its_seed_alone():
    config = replace(CONFIG, training_images=50)
    first, again, other = (trial(config, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert first["paramixer_coefficient"] != other["paramixer_coefficient"]


def test_digits_are_images_row_by_row():
    images, labels = digit_images()
    from sklearn.datasets import load_digits

    np.testing.assert_allclose(images[:, 0], load_digits().images / 16)
    assert images.shape == (1797, 1, 8, 8) and labels.shape == (1797,)


@pytest.mark.parametrize("name", ["small_steps", "many_blocks", "swapped_order"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() for ax in picture.axes) and picture.axes[-1].get_xlabel()
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_the_picture_shows_four_blocks():
    picture = figures.four_blocks()
    assert [ax.get_title() for ax in picture.axes] == ["Mixer (vanilla)", "ParaMixer", "SymMixer", "AsymMixer"]
    assert picture._repr_png_().startswith(b"\x89PNG")
