"""What arguments may be: plain forms of numpy's and torch's, and words for all else that blocks and memories do not reach."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from hopmix.arguments import available_device, check_batch, check_finite, floating_dtype, generator, number, size


@pytest.mark.parametrize("value", [2, 2.0, Fraction(2), np.int8(2), np.float32(2), np.array([[2.0]]), torch.tensor(2), torch.tensor([2.0])])
def test_numbers_become_floats(value):
    found = number("a", value, "positive")
    assert type(found) is float and found == 2.0


@pytest.mark.parametrize("value", [True, np.True_, None, "2", 2j, [2.0], np.ones(2), torch.ones(2), torch.tensor(True), torch.tensor(2j)])
def test_all_else_is_no_number(value):
    with pytest.raises(TypeError, match="a must be a real number, got "):
        number("a", value)


def test_a_number_that_is_trained_is_read_without_a_warning():
    assert number("a", torch.nn.Parameter(torch.tensor([0.5]))) == 0.5


@pytest.mark.parametrize(
    "value, least, words",
    [
        (float("nan"), "", "a must be finite, got nan"),
        (-1, "zero", "a must be finite and not negative, got -1"),
        (0, "positive", "a must be positive and finite, got 0"),
        (torch.tensor(float("inf")), "", "a must be finite, got tensor"),
    ],
)
def test_numbers_out_of_range(value, least, words):
    with pytest.raises(ValueError, match=words):
        number("a", value, least)
    assert number("a", 0, "zero") == 0 and number("a", -1) == -1


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_sizes_become_integers(value):
    found = size("a", value)
    assert type(found) is int and found == 3


@pytest.mark.parametrize("value", [0, -1, True, np.True_, torch.tensor(True), 3.0, np.float64(3), "3", None, [3]])
def test_all_else_is_no_size(value):
    with pytest.raises(ValueError, match="a must be a positive integer, got "):
        size("a", value)


def test_generators_pass_through_and_seeds_start_them():
    stream = torch.Generator().manual_seed(5)
    assert generator(stream) is stream
    numbers = [torch.rand(2, generator=generator(seed)) for seed in (5, np.int64(5), stream)]
    assert torch.equal(numbers[0], numbers[1]) and torch.equal(numbers[0], numbers[2])


def test_devices_and_dtypes():
    assert available_device(None) is None and available_device("cpu") == torch.device("cpu") == available_device(torch.device("cpu"))
    assert floating_dtype(None, torch.float32) == torch.float32 and floating_dtype(torch.float64, torch.float32) == torch.float64


def test_tensors_without_data_pass_as_finite():
    check_finite("a", torch.empty(2, device="meta"))
    with pytest.raises(ValueError, match="a has entries that are not finite"):
        check_finite("a", torch.tensor([0.0, float("-inf")], requires_grad=True))


def test_a_batch_with_free_sizes():
    weight = torch.ones(1)
    check_batch("a", torch.ones(2, 3, 4), (3, None), weight)
    with pytest.raises(ValueError, match=r"a must have shape \(batch, 3, any\), got \(2, 4, 4\)"):
        check_batch("a", torch.ones(2, 4, 4), (3, None), weight)
    with pytest.raises(TypeError, match="a has dtype torch.float64, but the weights torch.float32"):
        check_batch("a", torch.ones(2, 3, 4).double(), (3, None), weight)
