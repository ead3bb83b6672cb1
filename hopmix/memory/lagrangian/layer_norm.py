"""The Lagrangian whose activation is layer normalisation (page: book/memory/lagrangian.md)."""

import math

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Lagrangian, NoConjugate, check_direction, check_state, infinite_where, inner, rounding, total
from hopmix.arguments import check_finite, choice, number

_AXES = ("joint", "token")


class LayerNorm(Lagrangian):
    """L(x) = gain N sqrt(var(x) + eps) + sum shift x, so that g = gain LN(x) + shift.

    N is the number of normalised entries. The factor N (not sqrt N, as in the norm |x - mean|)
    is what makes the gradient equal ``torch.nn.functional.layer_norm`` exactly.
    With axes "token" the first term is summed over the tokens.

    Parameters
    ----------
    axes : "joint" normalises over all axes of the layer at once, "token" over the last axis alone.
    gain : a number, a scalar tensor, or a scalar ``torch.nn.Parameter`` (then it is trained).
    shift : any tensor that broadcasts to the layer's shape, or None. A Parameter is trained.
    eps : non-negative, added to the variance. With eps = 0 constant states have no activation.

    Raises
    ------
    TypeError : eps or gain is no real number, shift no floating-point tensor.
    ValueError : unknown axes, a negative eps, a gain that is not one finite number, a shift that is not finite.
    """

    def __init__(self, axes: str = "joint", gain: float | Tensor = 1.0, shift: Tensor | None = None, eps: float = 1e-6):
        super().__init__()
        self.axes = choice("axes", axes, _AXES)
        self.eps = number("eps", eps, "zero")
        if isinstance(gain, Tensor) and gain.dim() > 0:
            raise ValueError(
                f"gain must be a scalar, got a tensor of shape {tuple(gain.shape)}: an elementwise gain makes the "
                "Jacobian of the activation asymmetric, so no Lagrangian has it as its gradient. "
                "An elementwise shift is allowed"
            )
        value = 1.0 if isinstance(gain, Tensor) and gain.is_meta else number("gain", gain)
        if shift is not None:
            if not isinstance(shift, Tensor):
                raise TypeError(f"shift must be a torch.Tensor or None, got {type(shift).__name__}")
            if not shift.is_floating_point():
                raise TypeError(f"shift must be a floating-point torch.Tensor or None, got dtype {shift.dtype}")
            check_finite("shift", shift)
        if isinstance(gain, torch.nn.Parameter):
            self.gain = gain
        else:
            # A 0-dimensional float64 buffer never promotes a float32 state.
            self.register_buffer("gain", gain if isinstance(gain, Tensor) else torch.tensor(value, dtype=torch.float64))
        if isinstance(shift, torch.nn.Parameter):
            self.shift = shift
        else:
            self.register_buffer("shift", shift)

    @property
    def convex(self) -> bool:
        return bool(self.gain >= 0)

    @property
    def null_directions(self) -> str:
        whole = "constants" if self.eps else "constants and the state"
        return whole if self.axes == "joint" else f"{whole}, token by token"

    def normalised_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The trailing axes of a layer of this shape that are normalised together."""
        return tuple(shape) if self.axes == "joint" else tuple(shape[-1:])

    def value(self, x: Tensor) -> Tensor:
        _, deviation, count = self._moments(x)
        value = self.gain * count * total(deviation)
        return value if self.shift is None else value + inner(x, self.shift)

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        if self.eps == 0:
            self._moments(x)  # refuses constant states, where layer_norm would give NaN
        g = torch.nn.functional.layer_norm(x, self.normalised_shape(x.shape[1:]), eps=self.eps) * self.gain
        return g if self.shift is None else g + self.shift

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        centred, deviation, _ = self._moments(x)
        dims = self._dims(x)
        direction = centred / deviation
        along = (direction * v).mean(dims, keepdim=True)
        # The two null directions for eps = 0: v constant (removed by the mean), v along x (by ``along``).
        return self.gain / deviation * (v - v.mean(dims, keepdim=True) - direction * along)

    def legendre(self, x: Tensor, activation: Tensor | None = None) -> Tensor:
        """-gain N eps / sqrt(var + eps): for eps = 0 the layer's own energy vanishes.

        In closed form, because x . g - L cancels almost completely.
        """
        _, deviation, count = self._moments(x)
        return -self.gain * count * self.eps * total(deviation.reciprocal())

    def conjugate(self, y: Tensor) -> Tensor:
        """-sqrt(N eps) sqrt(gain^2 N - |y - shift|^2) where y - shift has mean 0 and length at most gain sqrt(N), else infinite."""
        check_state(y, "y")
        if self.gain < 0:
            raise NoConjugate("LayerNorm with a negative gain is not convex and has no conjugate in closed form")
        dims, count = self._dims(y), math.prod(self.normalised_shape(y.shape[1:]))
        z = y if self.shift is None else y - self.shift
        square, room = z.square().sum(dims, keepdim=True), self.gain**2 * count
        outside = (z.mean(dims, keepdim=True).abs() > rounding(y) * self.gain) | (square > room * (1 + rounding(y)))
        if self.eps == 0:
            return total(infinite_where(outside, 0 * square))
        return total(infinite_where(outside, -math.sqrt(count * self.eps) * (room - square).clamp(min=0).sqrt()))

    def null_projection(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        centred, deviation, _ = self._moments(x)
        dims = self._dims(x)
        constant = v.mean(dims, keepdim=True).expand_as(v)
        if self.eps > 0:
            return constant
        direction = centred / deviation
        return constant + direction * (direction * v).mean(dims, keepdim=True)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if self.shift is not None:
            wanted = tuple(self.shift.shape)
            fits = len(wanted) <= len(shape) and all(a in (1, b) for a, b in zip(wanted[::-1], shape[::-1]))
            if not fits:
                raise ValueError(f"shift of shape {wanted} does not broadcast to a layer of shape {shape}")

    def _dims(self, x: Tensor) -> tuple[int, ...]:
        return tuple(range(1, x.dim())) if self.axes == "joint" else (-1,)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor, int]:
        """x - mean, sqrt(var + eps) with the axes kept, and N."""
        check_state(x)
        dims = self._dims(x)
        centred = x - x.mean(dims, keepdim=True)
        variance = centred.square().mean(dims, keepdim=True)
        if self.eps == 0 and bool((variance == 0).any()):
            raise ValueError("x is constant over the normalised axes: with eps=0 LayerNorm is undefined there")
        return centred, (variance + self.eps).sqrt(), math.prod(self.normalised_shape(x.shape[1:]))

    def extra_repr(self) -> str:
        return f"axes={self.axes!r}, eps={self.eps}"
