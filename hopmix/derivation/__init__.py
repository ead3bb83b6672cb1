"""Derivations that a machine has checked: named sympy statements with reasons and checks, rendered as labelled equations."""

from hopmix.derivation.checks import VerificationError
from hopmix.derivation.derivation import CheckedStep, Derivation, Report, Step
from hopmix.derivation.explicit import function_with_derivative
from hopmix.derivation.mutation import assert_mutants_fail, mutants
from hopmix.derivation.rate import Rate

__all__ = [
    "CheckedStep",
    "Derivation",
    "Rate",
    "Report",
    "Step",
    "VerificationError",
    "assert_mutants_fail",
    "derivations",
    "function_with_derivative",
    "mutants",
]


def derivations() -> dict[str, Derivation]:
    """Every chapter's derivation by chapter, found as ``DERIVATION`` in the modules named ``derivation``."""
    from hopmix.chapter import modules_named

    return {name: module.DERIVATION for name, module in modules_named("derivation").items()}
