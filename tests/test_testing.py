"""Each shipped assertion passes where the property holds and says what it saw where it does not."""

import numpy as np
import pytest
import torch

from hopmix.memory import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.lagrangian import Quadratic, Tanh
from hopmix.testing import (
    assert_descends,
    assert_gradient,
    assert_hessian,
    assert_matches_simulation,
    assert_symmetric_jacobian,
)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class WrongSlope(Tanh):
    def activation(self, x):
        return 1.001 * torch.tanh(x)


class WrongCurvature(Tanh):
    def curvature(self, x):
        return 1.001 * super().curvature(x)


def two_neurons(forward, back):
    """a' = back b - a, b' = forward a - b."""
    layers = [Layer("a", (1,), Quadratic()), Layer("b", (1,), Quadratic())]
    one = torch.ones(1, 1, dtype=torch.float64)
    feedback = None if back == forward else Dense(back * one)
    return HierarchicalMemory(layers, [Synapse("a", "b", Dense(forward * one), feedback)])


def test_descends():
    state = {"a": torch.tensor([[0.0], [0.5]]).double(), "b": torch.zeros(2, 1).double()}
    assert_descends(two_neurons(0.5, 0.5), state)
    with pytest.raises(AssertionError, match="the energy of sample 1 rises from 0.125 to .* between t = 0 and 0.01; it rises in"):
        assert_descends(two_neurons(2.0, -6.0), state, time=0.1, steps=10)
    # At rest nothing moves: an energy that stays is no rise.
    assert_descends(two_neurons(2.0, -6.0), {name: 0 * x for name, x in state.items()})


def test_gradient_and_hessian():
    x, v = draw(0, 3, 4), draw(1, 3, 4)
    assert_gradient(Tanh(), x)
    assert_hessian(Tanh(), x, v)
    assert_hessian(Quadratic(), x, v)
    assert_gradient(Tanh(), x.float())
    with pytest.raises(AssertionError, match="activation and gradient of the value differ by up to 0.000"):
        assert_gradient(WrongSlope(), x)
    assert_gradient(WrongSlope(), x, tolerance=2e-3)
    with pytest.raises(AssertionError, match="hessian_product and derivative of the activation differ"):
        assert_hessian(WrongCurvature(), x, v)
    with pytest.raises(AssertionError, match="not finite"):
        assert_gradient(Tanh(), torch.full((1, 2), torch.nan))


def test_symmetric_jacobian():
    a, x = draw(2, 4, 4), draw(3, 4)
    assert_symmetric_jacobian(lambda x: (a + a.mT) @ x, x)
    with pytest.raises(AssertionError, match=r"the Jacobian is not symmetric: \|J - J\^T\| = .* exceeds"):
        assert_symmetric_jacobian(lambda x: a @ x, x)
    with pytest.raises(AssertionError, match=r"maps shape \(4,\) to \(3,\): its Jacobian is not square"):
        assert_symmetric_jacobian(lambda x: a[:3] @ x, x)


def test_matches_simulation():
    samples = np.random.default_rng(0).normal([1.0, -2.0], [1.0, 0.1], size=(400, 2))
    assert_matches_simulation([1.0, -2.0], samples)
    with pytest.raises(AssertionError, match=r"theory -2.1 .* outside 4 standard errors at 1 of 2 entries, worst at \(1,\)"):
        assert_matches_simulation([1.0, -2.1], samples)
    assert_matches_simulation([1.0, -2.1], samples, standard_errors=40)
    assert_matches_simulation(0.3, np.full((5, 2), 0.1) * 3)
    with pytest.raises(AssertionError, match="outside 4 standard errors at 2 of 2 entries"):
        assert_matches_simulation(0.3 + 1e-12, np.full((5, 2), 0.3))
    for bad, words in ((samples[:1], "at least two samples"), (samples[:, :1], "does not fit"), (samples * np.nan, "not finite")):
        with pytest.raises(AssertionError, match=words):
            assert_matches_simulation([1.0, -2.0], bad)
