"""A synapse: two layers joined by an operator and its feedback (page: book/memory/hierarchical.md)."""

import torch

from hopmix.memory.hierarchical.operators import Operator


class Synapse(torch.nn.Module):
    """Joins layer ``source`` to layer ``target``.

    The target receives ``operator.apply(g_source)``, the source ``feedback.adjoint(g_target)``.
    Without feedback the operator itself is used both ways: the synapse is symmetric, and the
    memory has an energy that never rises where the Lagrangians are convex.

    Raises
    ------
    TypeError : source or target is no name, operator or feedback is no Operator.
    ValueError : source and target are the same layer.
    """

    def __init__(self, source: str, target: str, operator: Operator, feedback: Operator | None = None):
        super().__init__()
        for name, value in (("source", source), ("target", target)):
            if not isinstance(value, str) or not value:
                raise TypeError(f"{name} of a synapse must be a layer's name, a non-empty string, got {value!r}")
        for name, value in (("operator", operator), ("feedback", feedback)):
            if not isinstance(value, Operator) and not (name == "feedback" and value is None):
                found = type(value).__name__
                raise TypeError(f"{name} of synapse {source!r} -> {target!r} must be an Operator, got {found}")
        if source == target:
            raise ValueError(f"a synapse must join two layers, got {source!r} as source and as target")
        self.source = source
        self.target = target
        self.operator = operator
        self.feedback = None if feedback is operator else feedback

    @property
    def symmetric(self) -> bool:
        """Whether both directions use the same operator (the same object, not only equal weights)."""
        return self.feedback is None

    @property
    def returning(self) -> Operator:
        """The operator whose adjoint carries the target's activation back to the source."""
        return self.operator if self.feedback is None else self.feedback

    def extra_repr(self) -> str:
        return f"{self.source!r} -> {self.target!r}, symmetric={self.symmetric}"
