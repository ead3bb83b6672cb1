"""The derivation of the wide form says what its chapter promises, and its formulas agree with numpy on real arrays."""

import numpy as np
import pytest
import sympy as sp

from hopmix.mixers.wide_sparse import counts
from hopmix.mixers.wide_sparse import derivation as chapter
from hopmix.mixers.wide_sparse.derivation import DERIVATION

MAIN = ["vec", "block-form", "activation", "token-branch", "channel-branch", "gram", "bound", "width-at-ratio", "fewest", "monarch", "slices", "shared", "norms", "nuclear"]


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "mixers/wide_sparse" and DERIVATION.label("vec") == "wide-sparse-vec"


@pytest.mark.parametrize("step_id", MAIN)
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


def test_counts_are_those_of_the_library():
    numbers = {chapter.S: 5, chapter.C: 8, chapter.q: 3}
    found = counts(5, 8, 3)
    omega = DERIVATION["omega"].statement.rhs.subs(numbers)
    assert float(omega) == found.connections
    at = {chapter.Omega: omega, chapter.m: found.width, chapter.q: 3}
    assert float(DERIVATION["fewest"].statement.rhs.subs(at)) == found.trainable


def test_block_form_with_numpys_permutation_matrices():
    s, c, hidden = 2, 3, 4
    v = np.arange(1.0, 13).reshape(hidden, c)

    def commutation(rows, columns):
        index = np.arange(rows * columns).reshape(columns, rows).T.ravel()
        return np.eye(rows * columns)[index]

    dense = commutation(hidden, s) @ np.kron(np.eye(s), v) @ commutation(s, c)
    np.testing.assert_array_equal(dense, np.kron(v, np.eye(s)))
    entry = DERIVATION["channel-weight"].statement
    for i, a, j, big_j in np.ndindex(s, hidden, s, c):
        value = entry.rhs.subs({chapter.i: i + 1, chapter.A: a + 1, chapter.j: j + 1, chapter.J: big_j + 1})
        value = value.subs({e: v[int(e.indices[0]) - 1, int(e.indices[1]) - 1] for e in value.atoms(sp.Indexed)})
        assert float(value) == dense[i + a * s, j + big_j * s]
