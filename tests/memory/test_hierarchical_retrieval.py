"""Gradients through retrieval: implicit against unrolled, against finite differences and linear algebra; what each keeps in memory."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from hopmix.memory import Dense, HierarchicalMemory, Layer, Synapse, three_layer_memory
from hopmix.memory.hierarchical import NotConverged, Retrieval, fixed_point
from hopmix.memory.lagrangian import Quadratic, Tanh, lagrangian

SIZES = {"tokens": 4, "channels": 5, "token_hidden": 8, "channel_hidden": 9}


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chain(seed=0, kinds=("tanh", "gelu", "softmax"), taus=(1.0, 0.5, 1.0)):
    """Three layers in a row with trained synapses, the last asymmetric."""
    layers = [Layer(name, (n,), lagrangian(kind), tau) for name, n, kind, tau in zip("abc", (4, 6, 3), kinds, taus)]
    weights = [torch.nn.Parameter(0.6 * normal(seed + k, *shape)) for k, shape in enumerate([(6, 4), (3, 6), (3, 6)])]
    return HierarchicalMemory(layers, [Synapse("a", "b", Dense(weights[0])), Synapse("b", "c", Dense(weights[1]), Dense(weights[2]))])


def gradients(retrieval, state, **given):
    """Of a fixed linear function of the end, in the weights and in everything given."""
    leaves = [x.requires_grad_(True) for part in given.values() for x in part.values()]
    end = retrieval(state, **given)
    ends = list(end.values()) if isinstance(end, dict) else [end]
    loss = sum((x * normal(99 + k, *x.shape[1:])).sum() for k, x in enumerate(ends))
    return torch.autograd.grad(loss, [*retrieval.memory.parameters(), *leaves], allow_unused=True)


def assert_agree(found, expected, tolerance=1e-8):
    for one, other in zip(found, expected, strict=True):
        if one is None or other is None:  # a held layer hears nothing, so weights that lead to it have no gradient
            assert one is other
            continue
        assert (one - other).abs().max() <= tolerance * (1 + other.abs().max())


@pytest.mark.parametrize(
    "options",
    [{}, {"asymmetry": 0.3}, {"activation": "relu", "eps": 0.0}, {"activation": "relu", "hidden_time_constant": 0.5}, {"norm": "token", "synapses": "rank_one"}],
    ids=str,
)
def test_implicit_is_long_unrolled(options):
    memory = three_layer_memory(**SIZES, seed=2, **options)
    # Something to pull the state: without it a slow memory needs thousands of steps to compare with.
    state = memory.random_state(batch=3, seed=1)
    drive = {"visible": 3 * normal(5, 3, 4, 5)}
    unrolled = Retrieval(memory, steps=1500, step_size=0.5)
    implicit = Retrieval(memory, step_size=0.5, differentiate="implicit", tolerance=1e-12)
    assert_agree(gradients(implicit, state, drive=drive), gradients(unrolled, state, drive=drive))


@pytest.mark.parametrize("held", ["a", "c"])
def test_held_layers_are_inputs_with_a_gradient(held):
    memory = chain()
    state = memory.random_state(batch=4, seed=3)
    clamp, drive = {held: normal(7, *state[held].shape)}, {"b": normal(8, 4, 6)}
    found = gradients(Retrieval(memory, differentiate="implicit", tolerance=1e-12), state, clamp=clamp, drive=drive)
    assert_agree(found, gradients(Retrieval(memory, steps=600), state, clamp=clamp, drive=drive))
    assert all(bool(x.abs().max() > 1e-3) for x in found[-2:])


def test_implicit_against_finite_differences():
    memory = chain(seed=4)
    state, drive = memory.random_state(batch=1, seed=0), normal(1, 1, 4)
    retrieval = Retrieval(memory, differentiate="implicit", tolerance=1e-13)
    weights = [w.detach().clone().requires_grad_(True) for w in memory.parameters()]

    def end(drive, *weights):
        names = [name for name, _ in memory.named_parameters()]
        found = torch.func.functional_call(retrieval, {f"memory.{name}": w for name, w in zip(names, weights)}, (state,), {"drive": {"a": drive}})
        return tuple(found.values())

    assert torch.autograd.gradcheck(end, (drive.requires_grad_(True), *weights), eps=1e-5, atol=1e-8, rtol=1e-8, fast_mode=True)


def test_linear_neurons_against_linear_algebra():
    """x = (1 - X)^-1 I, so dloss/dI = (1 - X^T)^-1 v and dloss/dX = (1 - X^T)^-1 v x^T."""
    weight, back = 0.4 * normal(0, 3, 3), 0.4 * normal(1, 3, 3)
    up, down = torch.nn.Parameter(weight), torch.nn.Parameter(back)
    layers = [Layer("a", (3,), Quadratic()), Layer("b", (3,), Quadratic(), 0.3)]
    memory = HierarchicalMemory(layers, [Synapse("a", "b", Dense(up), Dense(down))])
    drive = {"a": normal(2, 5, 3), "b": normal(3, 5, 3)}
    found = gradients(Retrieval(memory, differentiate="implicit", tolerance=1e-13), memory.random_state(batch=5), drive=drive)
    zero = torch.zeros(3, 3, dtype=torch.float64)
    system = torch.eye(6, dtype=torch.float64) - torch.cat([torch.cat([zero, back.T], 1), torch.cat([weight, zero], 1)])
    rest = torch.linalg.solve(system, torch.cat([drive["a"], drive["b"]], 1).T).T.detach()
    v = torch.cat([normal(99, 3), normal(100, 3)]).expand(5, 6)
    w = torch.linalg.solve(system.T, v.T).T
    assert_agree(found, (w[:, 3:].T @ rest[:, :3], rest[:, 3:].T @ w[:, :3], w[:, :3], w[:, 3:]), 1e-11)


def test_flat_directions_of_layernorm_leave_the_system_invertible():
    """At eps = 0 LayerNorm's Hessian kills the state and constants: J has them as null vectors, and 1 - J acts on them as 1."""
    memory = three_layer_memory(**SIZES, seed=1, eps=0.0)
    rest = fixed_point(memory.requires_grad_(False), memory.random_state(seed=2), tolerance=1e-13)
    jacobian = torch.autograd.functional.jacobian(lambda x: memory.velocity(x, leak=False), rest).reshape(20, 20)
    for direction in (rest.flatten(), torch.ones(20, dtype=torch.float64)):
        assert (jacobian @ direction).norm() < 1e-9 * direction.norm()
    eigenvalues = torch.linalg.eigvals(torch.eye(20, dtype=torch.float64) - jacobian)
    assert ((eigenvalues - 1).abs() < 1e-6).sum() >= 2 and eigenvalues.abs().min() > 1e-3


def kept_bytes(call):
    """Bytes of the tensors that autograd keeps for the backward pass, weights and what is shared counted once."""
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        end = call()
    return sum(kept.values()), end


def test_what_the_backward_pass_keeps():
    memory = three_layer_memory(**SIZES, seed=2)
    state = memory.random_state(batch=64, seed=1)
    short, long = (kept_bytes(lambda s=s: Retrieval(memory, steps=s)(state))[0] for s in (10, 100))
    implicit = Retrieval(memory, differentiate="implicit")
    rest, _ = kept_bytes(lambda: implicit(state))
    once, _ = kept_bytes(lambda: Retrieval(memory, steps=1)(state))
    assert 9 < long / short < 11
    # One evaluation at the rest, however long the way: the longer retrieval comes from a far smaller tolerance.
    assert rest < 1.5 * once
    further = Retrieval(memory, differentiate="implicit", tolerance=1e-13)
    assert kept_bytes(lambda: further(state))[0] == rest


def test_the_start_matters_only_by_its_basin():
    memory = chain()
    state = {name: x.requires_grad_(True) for name, x in memory.random_state(batch=2).items()}
    end = Retrieval(memory, differentiate="implicit")(state)
    found = torch.autograd.grad(sum(x.sum() for x in end.values()), list(state.values()), allow_unused=True)
    assert found == (None, None, None)
    # The truth is the limit of the unrolled gradient, which vanishes with the steps.
    sizes = [max(float(g.abs().max()) for g in torch.autograd.grad(sum(x.sum() for x in Retrieval(memory, steps=s)(state).values()), list(state.values()))) for s in (20, 100, 200)]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[2] < 1e-8


def test_unrolled_steps_are_those_of_the_memory():
    memory = three_layer_memory(**SIZES, seed=3)
    state = memory.random_state(batch=2)
    for leak in (True, False):
        expected = memory.iterate(state, [0.3] * 7, leak=leak)[-1]
        torch.testing.assert_close(Retrieval(memory, steps=7, step_size=0.3, leak=leak)(state), expected, rtol=1e-13, atol=1e-13)
    slow = three_layer_memory(**SIZES, seed=3, time_constant=2.0, hidden_time_constant=0.5)
    state = slow.random_state(batch=2)
    expected, found = slow.iterate(state, [0.15] * 7, leak=True), Retrieval(slow, steps=7, step_size=0.3)(state)
    for name in state:  # step sizes are in units of the shortest time constant
        torch.testing.assert_close(found[name], expected[name][-1], rtol=1e-13, atol=1e-13)


def test_it_is_a_module_that_trains():
    """A held input and a target for the other end: gradient descent through the rest reaches it."""
    memory = chain(seed=6)
    retrieval = Retrieval(memory, differentiate="implicit")
    assert {id(p) for p in retrieval.parameters()} == {id(p) for p in memory.parameters()} and "implicit" in repr(retrieval)
    state, clamp, target = memory.random_state(batch=3), {"a": normal(1, 3, 4)}, 0.3 * normal(2, 3, 6)
    optimiser, losses = torch.optim.Adam(retrieval.parameters(), lr=0.05), []
    for _ in range(40):
        optimiser.zero_grad()
        loss = (retrieval(state, clamp=clamp)["b"] - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_without_gradients_there_is_no_graph():
    memory = three_layer_memory(**SIZES)
    retrieval = Retrieval(memory, differentiate="implicit")
    state = memory.random_state(batch=2)
    with torch.no_grad():
        assert not retrieval(state).requires_grad
    assert retrieval(state).requires_grad
    memory.requires_grad_(False)
    assert not retrieval(state).requires_grad
    torch.testing.assert_close(retrieval(state), fixed_point(memory, state), rtol=1e-12, atol=1e-12)


def test_second_derivatives_are_refused():
    memory = chain()
    end = Retrieval(memory, differentiate="implicit")(memory.random_state(batch=2))
    with pytest.raises(RuntimeError, match="implicit retrieval has first derivatives only"):
        torch.autograd.grad(end["a"].square().sum(), memory.synapses[0].operator.weight, create_graph=True)


def test_no_rest_is_an_error_in_either_direction():
    memory = three_layer_memory(**SIZES)
    with pytest.raises(NotConverged, match="did not come to rest"):
        Retrieval(memory, differentiate="implicit", max_steps=4)(memory.random_state())
    strong = torch.nn.Parameter(torch.full((1, 1), 3.0, dtype=torch.float64))
    layers = [Layer("a", (1,), Tanh()), Layer("b", (1,), Tanh())]
    memory = HierarchicalMemory(layers, [Synapse("a", "b", Dense(strong))])
    origin = {name: torch.zeros(1, 1, dtype=torch.float64) for name in "ab"}
    # The origin is a rest, but not a stable one, so the plain backward iteration diverges as the flow would.
    end = Retrieval(memory, differentiate="implicit", acceleration=0)(origin)
    with pytest.raises(NotConverged, match="the rest may not be stable"):
        (end["a"] + end["b"]).sum().backward()
    growing = HierarchicalMemory([Layer("a", (1,), Quadratic()), Layer("b", (1,), Quadratic())], [Synapse("a", "b", Dense(strong))])
    with pytest.raises(FloatingPointError, match="no longer finite at step .* of 3000"):
        Retrieval(growing, steps=3000)({name: torch.ones(1, 1, dtype=torch.float64) for name in "ab"})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps must be a positive integer, got 0"),
        ({"step_size": 0}, ValueError, "step_size must be positive and finite, got 0"),
        ({"differentiate": "adjoint"}, ValueError, "differentiate must be one of unrolled, implicit; got 'adjoint'"),
        ({"leak": False, "differentiate": "implicit"}, ValueError, "leak must be True for implicit differentiation"),
        ({"leak": 1}, TypeError, "leak must be True or False, got 1"),
        ({"tolerance": -1}, ValueError, "tolerance must be positive and finite, got -1"),
        ({"max_steps": 0}, ValueError, "max_steps must be a positive integer, got 0"),
    ],
)
def test_errors(options, error, words):
    with pytest.raises(error, match=words):
        Retrieval(chain(), **options)
