"""The training loop against closed forms and a loop written out."""

import pytest
import torch

from hopmix.training import train


def problem(seed=0, rows=64, columns=3):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    weights = torch.randn(columns, generator=generator, dtype=torch.float64)
    return inputs, inputs @ weights + 0.1 * torch.randn(rows, generator=generator, dtype=torch.float64)


def squares(weight):
    return lambda inputs, targets, generator: (inputs @ weight - targets).square().mean()


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_it_finds_the_least_squares_solution(optimiser):
    inputs, targets = problem()
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    history = train([weight], squares(weight), (inputs, targets), epochs=400, batch_size=64, learning_rate=0.1, optimiser=optimiser)
    expected = torch.linalg.lstsq(inputs, targets[:, None]).solution[:, 0]
    assert (weight - expected).abs().max() < 1e-4
    assert len(history) == 400
    assert history[-1] == pytest.approx(float((inputs @ expected - targets).square().mean()), rel=1e-6)


def test_full_batch_sgd_is_gradient_descent_written_out():
    inputs, targets = problem(1)
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    train([weight], squares(weight), (inputs, targets), epochs=5, batch_size=100, learning_rate=0.05, optimiser="sgd", schedule="constant")
    by_hand = torch.zeros(3, dtype=torch.float64)
    for _ in range(5):
        by_hand -= 0.05 * 2 * inputs.T @ (inputs @ by_hand - targets) / len(inputs)
    assert torch.allclose(weight.detach(), by_hand, rtol=1e-12)


def test_an_epoch_sees_every_row_once_and_its_loss_is_the_mean_over_rows():
    rows = torch.arange(10.0)
    weight, seen = torch.nn.Parameter(torch.zeros(1)), []

    def loss(batch, generator):
        seen.append(batch)
        return batch.mean() + 0 * weight.sum()

    history = train([weight], loss, (rows,), epochs=2, batch_size=4, learning_rate=0.1)
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    assert torch.equal(torch.cat(seen[:3]).sort().values, rows)
    assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))
    assert history == pytest.approx([4.5, 4.5])


def test_the_seed_decides_everything_and_global_state_is_untouched():
    inputs, targets = problem(2)
    before, found = torch.get_rng_state(), []
    for seed in (3, 3, 4):
        weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        noisy = lambda x, y, g, w=weight: ((x + torch.randn(x.shape, generator=g, dtype=x.dtype)) @ w - y).square().mean()  # noqa: E731
        train([weight], noisy, (inputs, targets), epochs=2, batch_size=16, learning_rate=0.1, seed=seed)
        found.append(weight.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(before, torch.get_rng_state())


def test_the_cosine_schedule_ends_at_zero():
    weight = torch.nn.Parameter(torch.zeros(1))
    path = []

    def loss(batch, generator):
        path.append(float(weight.detach()))
        return weight.sum()

    train([weight], loss, (torch.zeros(1),), epochs=8, batch_size=1, learning_rate=1.0, optimiser="sgd")
    steps = torch.tensor([*path, float(weight.detach())]).diff().neg()
    assert torch.allclose(steps, (1 + torch.cos(torch.pi * torch.arange(8) / 8)) / 2, atol=1e-6)


def test_a_loss_that_is_not_finite_is_an_error_before_the_step():
    weight = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(FloatingPointError, match="epoch 1; use a smaller learning_rate"):
        train([weight], lambda batch, generator: weight.sum() * float("nan"), (torch.zeros(2),), epochs=1, batch_size=2, learning_rate=0.1)
    assert float(weight.detach()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": []}, "parameters is empty"),
        ({"data": ()}, "data must be tensors of one length"),
        ({"data": (torch.zeros(2), torch.zeros(3))}, r"lengths \[2, 3\]"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"optimiser": "newton"}, "optimiser"),
        ({"schedule": "steps"}, "schedule"),
    ],
)
def test_bad_arguments_are_named(change, words):
    weight = torch.nn.Parameter(torch.zeros(1))
    options = {"parameters": [weight], "loss": lambda *_: weight.sum(), "data": (torch.zeros(2),), "epochs": 1, "batch_size": 1, "learning_rate": 0.1}
    with pytest.raises((ValueError, TypeError), match=words):
        train(**{**options, **change})
