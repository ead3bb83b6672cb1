"""Retrieval as a layer that is trained: by unrolling its steps, or by differentiating its rest (page: book/memory/hierarchical.md)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hopmix.arguments import choice, number, size
from hopmix.memory.hierarchical.fixed_point import Pull, Values, flat, rest_of, settings, settle, tolerance_for, unflat
from hopmix.memory.hierarchical.memory import HierarchicalMemory, check_memory
from hopmix.memory.hierarchical.state import State, all_finite


class Retrieval(torch.nn.Module):
    """From the state where a retrieval begins to the state where it ends, differentiable in the memory's weights.

    "unrolled" makes ``steps`` Euler steps x + h (F(g) - x) and keeps them all for the backward pass.
    "implicit" goes on to the rest x = T(x), T(x) = F(g(x)) + drive, and keeps only that: with J the Jacobian of T there,

        dloss/dtheta = w . dT/dtheta,    w = dloss/dx + J^T w,

    and w is found by products with J^T alone, so the memory it takes does not grow with the steps. Its iteration has the same
    spectrum as the flow's own, so it converges where the flow comes to rest. I - J is invertible at a stable rest even
    with LayerNorm, whose flat directions (Hessian 0) are directions in which J is 0 and the leak alone acts.

    At rest the state where the retrieval began is forgotten, except for the choice of the basin: the implicit gradient with
    respect to it is zero, and None is what autograd gives. Data that shall be differentiated, or that shall shape the rest, enter as
    held layers (``clamp``) or as a constant input (``drive``). First derivatives only.

    Parameters
    ----------
    steps, step_size : of the unrolled form; step_size also of the way to the rest, in units of the shortest time constant.
    leak : False makes unrolled steps x + h F(g), as a network with skip connections does; such a flow has no rest.
    tolerance, max_steps, acceleration : as of ``fixed_point``, for the rest and for w, where the tolerance is relative to dloss/dx.

    Source: bai2019deep for differentiating a fixed point.

    Raises
    ------
    TypeError, ValueError : naming the argument; in ``forward`` also as ``fixed_point`` does.
    FloatingPointError : in ``forward``, where unrolled steps leave the finite numbers.
    NotConverged : in ``forward``, and in the backward pass where the rest is not stable.
    RuntimeError : in the backward pass with create_graph=True.
    """

    def __init__(
        self,
        memory: HierarchicalMemory,
        steps: int = 20,
        step_size: float = 0.5,
        leak: bool = True,
        differentiate: str = "unrolled",
        tolerance: float | None = None,
        max_steps: int = 5000,
        acceleration: int = 8,
    ):
        super().__init__()
        check_memory(memory)
        self.memory = memory
        self.steps, self.step_size = size("steps", steps), number("step_size", step_size, "positive")
        self.differentiate = choice("differentiate", differentiate, ("unrolled", "implicit"))
        if not isinstance(leak, bool):
            raise TypeError(f"leak must be True or False, got {leak!r}")
        if not leak and differentiate == "implicit":
            raise ValueError("leak must be True for implicit differentiation: without the leak the flow has no rest")
        self.leak = leak
        self._options = settings(tolerance, max_steps, step_size, acceleration)

    def forward(self, state: State, clamp: Mapping[str, Tensor] | None = None, drive: Mapping[str, Tensor] | None = None) -> State:
        """The final state, (batch, *shape) or a dict of them, in the structure of ``state``; clamped layers hold their value."""
        pull = Pull(self.memory, clamp, drive)
        values = pull.begin(state)
        if self.differentiate == "unrolled":
            for step in range(self.steps):
                pulled = pull(values, self.leak)
                values = {name: x.add(pulled[name], alpha=self.step_size) for name, x in values.items()}
                if not all_finite(values):
                    raise FloatingPointError(f"the state is no longer finite at step {step + 1} of {self.steps}; use a smaller step_size than {self.step_size:g}")
        else:
            values = self._rest(pull, values)
        return pull.finish(values, state)

    def _rest(self, pull: Pull, values: Values) -> Values:
        with torch.no_grad():
            values, _ = rest_of(pull, values, self._options)
        if not torch.is_grad_enabled():
            return values
        at = {name: x.detach() for name, x in values.items()}
        shapes = {name: x.shape for name, x in at.items()}
        # T(x) at the rest, whose value is the rest and whose graph leads to weights, clamp and drive.
        pulled = pull(at)
        image = flat({name: x + pulled[name] for name, x in at.items()})
        if not image.requires_grad:
            return values

        def linearised():
            """w -> J^T w - w; its graph is built anew in the backward pass, so that until then nothing is kept but the rest."""
            with torch.enable_grad():
                free = {name: x.clone().requires_grad_(True) for name, x in at.items()}
                moved = flat(pull(free))
            leaves = list(free.values())

            def product(w: Tensor) -> Tensor:
                gradients = torch.autograd.grad(moved, leaves, w, retain_graph=True)
                return torch.cat([gradient.flatten(1) for gradient in gradients], 1)

            return product

        return unflat(_AtRest.apply(image, linearised, self._options), shapes)

    def extra_repr(self) -> str:
        return f"steps={self.steps}, step_size={self.step_size:g}, leak={self.leak}, differentiate={self.differentiate!r}"


class _AtRest(torch.autograd.Function):
    """The identity, whose backward pass solves w = v + J^T w for the incoming v."""

    @staticmethod
    def forward(ctx, image: Tensor, linearised, options: dict) -> Tensor:
        ctx.linearised, ctx.options = linearised, options
        return image.clone()

    @staticmethod
    def backward(ctx, incoming: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # the sign of create_graph=True
            raise RuntimeError("implicit retrieval has first derivatives only; use create_graph=False, or differentiate='unrolled'")
        product, length = ctx.linearised(), incoming.norm(dim=1)
        options = {**ctx.options, "tolerance": tolerance_for(ctx.options["tolerance"], incoming)}
        w, _ = settle(
            lambda w: incoming + product(w),
            incoming,
            lambda w: length,
            near=float("inf"),
            what="the backward pass did not converge, so the rest may not be stable",
            **options,
        )
        return w, None, None
