"""The chapter's derivation against numpy, its experiment at the smallest scale, its small memories and figures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from hopmix.memory.hierarchical import derivation as chapter
from hopmix.memory.hierarchical import examples, figures
from hopmix.memory.hierarchical.derivation import DERIVATION
from hopmix.memory.hierarchical.experiment import EXPERIMENT, Counter, distances, memory_of, trial
from hopmix.testing import assert_descends

CONFIG = replace(EXPERIMENT.scales["smoke"], seeds=1, batch=2)


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_it_is_the_derivation_of_its_chapter_and_uses_every_definition():
    assert DERIVATION.name == "memory/hierarchical"
    assert DERIVATION.label("energy-rate") == "hierarchical-energy-rate"
    used = {name for step in DERIVATION.steps for name in step.using}
    assert [step.id for step in DERIVATION.steps if step.kind == "definition" and step.id not in used] == []


@pytest.mark.parametrize("step_id", ["energy-rate", "linear-energy", "linear-rate", "eliminated-energy", "eliminated-rate", "eliminated-cost", "effective-time-constant"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_the_linear_energy_is_that_of_the_library():
    """E_1 by numpy from the step's own right side, and the memory's energy."""
    memory = examples.random_memory({"a": 2, "b": 3}, {"a": "quadratic", "b": "quadratic"}, {}, [("a", "b")], seed=1)
    state = memory.random_state(seed=2)
    xi = np.zeros((5, 5))
    xi[2:, :2], xi[:2, 2:] = memory.synapses[0].operator.weight.numpy(), memory.synapses[0].returning.weight.numpy().T
    x = np.concatenate([value.numpy()[0] for value in state.values()])
    right = DERIVATION["linear-energy"].statement.rhs.subs(chapter.M, 5).doit()
    values = {chapter.x[k + 1]: x[k] for k in range(5)} | {chapter.Xi[k + 1, n + 1]: xi[k, n] for k in range(5) for n in range(5)}
    assert float(right.subs(values)) == pytest.approx(float(memory.energy(state)), abs=1e-12)


def test_the_pair_moves_as_derived():
    """The closed form of the step, evaluated, against the library's flow."""
    memory, start = examples.pair(1.5), {"a": 0.8, "b": -0.3}
    state = {name: torch.full((1, 1), value, dtype=torch.float64) for name, value in start.items()}
    times, states = memory.flow(state, 2.0, 200)
    form = DERIVATION["pair-first"].statement.rhs.subs({chapter.w: 1.5, chapter.a_0: 0.8, chapter.b_0: -0.3})
    expected = sp.lambdify(chapter.t, form)(times.numpy())
    np.testing.assert_allclose(states["a"][:, 0, 0].numpy(), expected, atol=1e-9)
    energy = sp.lambdify(chapter.t, DERIVATION["pair-energy-value"].statement.rhs.subs({chapter.w: 1.5, chapter.a_0: 0.8, chapter.b_0: -0.3}))
    merged = {name: x.flatten(0, 1) for name, x in states.items()}
    np.testing.assert_allclose(memory.energy(merged).numpy(), energy(times.numpy()), atol=1e-8)


def test_a_rotor_without_angle_is_symmetric_and_falls():
    memory = examples.rotor(0.0, 2.0)
    assert memory.symmetric and not examples.rotor(1.0).symmetric
    assert_descends(memory, memory.random_state(batch=8), time=3.0, steps=60)
    x = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    weight, angle = math.sqrt(2.0), 0.5
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    expected = weight * torch.tanh(weight * x) @ turn.mT - x
    torch.testing.assert_close(examples.rotor(angle, 2.0).velocity(x), expected, rtol=1e-13, atol=1e-13)


def test_a_slow_gelu_gains_energy():
    with pytest.raises(AssertionError, match="the energy of sample 0 rises"):
        hidden = torch.full((1, 1), -1.4, dtype=torch.float64)
        assert_descends(examples.slow_gelu(), {"visible": torch.nn.functional.gelu(hidden), "hidden": hidden}, time=0.05, steps=5)


def test_a_counter_is_the_memory_and_counts():
    counter = Counter(memory_of(CONFIG, 0))
    state = counter._unpack(memory_of(CONFIG, 0).random_state(3))
    assert all(torch.equal(a, b) for a, b in zip(counter.velocity(state).values(), memory_of(CONFIG, 0).velocity(state).values(), strict=True))
    assert counter.evaluations == 3


def test_distances_shrink_as_predicted():
    found = distances(CONFIG, 3)
    assert found["adiabatic"].diff().max() < 0 and (found["corrected"] < 0.5 * found["adiabatic"]).all()
    predicted = found["slope"] * torch.tensor(CONFIG.fast_time_constants, dtype=torch.float64)
    assert 0.8 < float(found["adiabatic"][-1] / predicted[-1]) < 1.2


def test_a_trial_depends_on_its_seed_alone():
    small = replace(CONFIG, time=0.2, fast_time_constants=(0.08, 0.04, 0.02), stiff_time_constants=(0.1,))
    first, again, other = trial(small, 0), trial(small, 0), trial(small, 1)
    assert torch.equal(first["adiabatic"], again["adiabatic"])
    assert not torch.equal(first["adiabatic"], other["adiabatic"])


def test_the_experiment_finds_the_orders_and_that_elimination_is_cheapest(result):
    summary = result.summary
    assert 0.95 < summary["adiabatic_order"] < 1.05 and 1.8 < summary["corrected_order"] < 2.2 and 0.95 < summary["coefficient"] < 1.05
    for one in result.trials:
        assert one["cost_RK45"][-1] > one["cost_RK45"][0] and max(one["cost_eliminated"]) < min(one["cost_RK45"])


@pytest.mark.parametrize("name", ["fast_layers", "costs"])
def test_figures_show_the_result(result, name):
    picture = getattr(figures, name)(result)
    assert all(ax.get_ylabel() and ax.get_xlabel() for ax in picture.axes)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_states_come_to_rest_along_null_directions_too():
    """Softmax and LayerNorm do not see constants, which cost no energy: the leak removes them, and the limit is a fixed point."""
    kinds = {"a": "layer_norm", "b": "softmax", "c": "tanh"}
    memory = examples.random_memory({"a": 5, "b": 4, "c": 3}, kinds, {"b": 0.5}, [("a", "b"), ("b", "c"), ("c", "a")], symmetric=True, gain=0.8, seed=1)
    start = {name: x + 7 for name, x in memory.random_state(batch=4, seed=2).items()}  # far out along the constants
    _, states = memory.flow(start, 120.0, 360)
    end = {name: x[-1] for name, x in states.items()}
    assert all(v.abs().max() < 1e-10 for v in memory.velocity(end).values())
    for name in ("a", "b"):
        assert end[name].mean(1).abs().max() < 4 and end[name].std(1).min() > 1e-2


@pytest.mark.parametrize("name", ["landscapes", "guarantees"])
def test_figures_of_small_memories(name):
    picture = getattr(figures, name)()
    assert all(ax.get_ylabel() for ax in picture.axes)
    assert picture._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: examples.pair("1"), TypeError, "forward must be a real number, got '1'"),
        (lambda: examples.pair(1.0, math.inf), ValueError, "backward must be finite, got inf"),
        (lambda: examples.ring(None), TypeError, "weight must be a real number, got None"),
        (lambda: examples.ring(kind="none"), ValueError, "no Lagrangian is called 'none'"),
        (lambda: examples.rotor(0.1, -1.0), ValueError, "gain must be positive and finite, got -1.0"),
        (lambda: examples.rotor(math.nan), ValueError, "angle must be finite, got nan"),
        (lambda: examples.slow_gelu(0), ValueError, "time_constant must be positive and finite, got 0"),
        (lambda: examples.random_memory({"a": 1, "b": 1}, {"a": "relu"}, {}, [("a", "b")]), ValueError, "kinds must name the layers of sizes, a, b, got a"),
        (lambda: examples.random_memory({"a": 1}, {"a": "relu"}, {}, [("a", "c")]), ValueError, "pairs names c; the layers of sizes are a"),
        (lambda: examples.random_memory({"a": 1}, {"a": "relu"}, {"b": 2.0}, []), ValueError, "time_constants names b; the layers of sizes are a"),
        (lambda: examples.random_memory({"a": 0, "b": 1}, {"a": "relu", "b": "relu"}, {}, [("a", "b")]), ValueError, "shape of layer 'a' must be one or more positive integers"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
