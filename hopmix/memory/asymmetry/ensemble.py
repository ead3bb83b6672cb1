"""Many memories with asymmetric synapses, evaluated all at once (page: book/memory/asymmetry.md)."""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hopmix.arguments import available_device, check_batch, check_finite, floating_dtype, generator, number, size
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.lagrangian import Lagrangian, LayerNorm, lagrangian
from hopmix.memory.lagrangian.base import Elementwise, inner


class Ensemble:
    """Networks with fast hidden units, each with synapses and a state of its own.

        dx/dt = F(g) - x,    F = Z^T f(W g),    g = gain LN(x)

    One index runs over all visible neurons (tokens and channels together), another over all hidden
    ones. The networks are the first axis of every tensor, so a hundred of them cost one product.
    Time is in units of the visible time constant.

    Parameters
    ----------
    forward : W, (networks, hidden, visible).
    feedback : Z, of the same shape. Where it equals W the network is symmetric.
    activation : name or instance of an elementwise Lagrangian; "quadratic" makes the hidden units linear, f(u) = u.
    gain, eps : of the joint LayerNorm of the visible layer.

    Source: karakida2024hierarchical for the network; everything else is derived on the page.

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self, forward: Tensor, feedback: Tensor, activation: str | Lagrangian = "gelu", gain: float = 1.0, eps: float = 0.0
    ):
        for name, weight in (("forward", forward), ("feedback", feedback)):
            if not isinstance(weight, Tensor) or not weight.is_floating_point():
                raise TypeError(f"{name} must be a floating-point torch.Tensor, got {type(weight).__name__}")
            if weight.dim() != 3 or weight.numel() == 0 or weight.shape[2] < 2:
                raise ValueError(f"{name} must be (networks, hidden, visible) with two or more visible neurons, got {tuple(weight.shape)}")
            check_finite(name, weight)
        check_batch("feedback", feedback, tuple(forward.shape[1:]), forward)
        if len(feedback) != len(forward):
            raise ValueError(f"feedback must be for {len(forward)} networks, as forward is, got {len(feedback)}")
        hidden = lagrangian(activation)
        if not isinstance(hidden, Elementwise):
            raise TypeError(f"activation must be elementwise, such as 'quadratic', 'relu', 'gelu' or 'tanh', got {activation!r}")
        self.forward, self.feedback, self.hidden = forward, feedback, hidden
        self.gain, self.eps = number("gain", gain, "positive"), number("eps", eps, "zero")
        self.norm = LayerNorm("joint", gain=self.gain, eps=self.eps)
        self._returning = feedback.mT.contiguous()

    def __len__(self) -> int:
        return len(self.forward)

    @property
    def visible(self) -> int:
        return self.forward.shape[2]

    @cached_property
    def pace(self) -> Tensor:
        """|W| |Z|, product of the spectral norms, (networks, 1): where f has slopes up to one, no activation moves at a higher rate in the clock of ``clock_flow``."""
        norms = torch.linalg.matrix_norm(self.forward, ord=2) * torch.linalg.matrix_norm(self.feedback, ord=2)
        return norms[:, None]

    def select(self, which: Tensor | Sequence[int] | slice) -> "Ensemble":
        """The networks at these places, or where a mask is True, as an ensemble. Raises ValueError for places that are none."""
        try:
            if not isinstance(which, slice | Tensor):
                which = torch.tensor(list(which)) if len(which) else slice(0)
            which = torch.arange(len(self))[which.cpu() if isinstance(which, Tensor) else which].to(self.forward.device)
        except (IndexError, TypeError, ValueError):
            raise ValueError(f"which must be places from 0 to {len(self) - 1}, a slice or a mask, got {which!r}") from None
        if which.dim() != 1 or len(which) == 0:
            raise ValueError(f"which must choose one network or more, as a list, got {which.tolist()}")
        return Ensemble(self.forward[which], self.feedback[which], self.hidden, self.gain, self.eps)

    def turned(self, angles: Tensor) -> "Ensemble":
        """Feedback cos(angle) W + sin(angle) Z with an angle for each network: (networks,)."""
        check_batch("angles", angles, (), self.forward)
        check_finite("angles", angles)
        if len(angles) != len(self):
            raise ValueError(f"angles must be one for each of the {len(self)} networks, got {len(angles)}")
        angles = angles[:, None, None]
        return Ensemble(self.forward, angles.cos() * self.forward + angles.sin() * self.feedback, self.hidden, self.gain, self.eps)

    def with_activation(self, activation: str | Lagrangian, gain: float | None = None) -> "Ensemble":
        """The same synapses with other hidden units, and perhaps another gain."""
        return Ensemble(self.forward, self.feedback, activation, self.gain if gain is None else gain, self.eps)

    def random_state(self, seed: int | torch.Generator = 0, scale: float = 1.0) -> Tensor:
        """(networks, visible), independent normal entries of standard deviation ``scale``."""
        state = torch.randn(len(self), self.visible, generator=generator(seed), dtype=torch.float64)
        return state.mul_(number("scale", scale)).to(self.forward.device, self.forward.dtype)

    def radius(self, x: Tensor) -> Tensor:
        """rho = sqrt(var(x) + eps), what LayerNorm divides by: (networks, 1)."""
        self.check_state(x)
        return (x.var(1, correction=0, keepdim=True) + self.eps).sqrt()

    def activation(self, x: Tensor) -> Tensor:
        """g: (networks, visible)."""
        self.check_state(x)
        return self.norm.activation(x)

    def drive(self, g: Tensor) -> Tensor:
        """F = Z^T f(W g): (networks, visible)."""
        self._check_shape("g", g)
        return _product(self._returning, self.hidden.activation(_product(self.forward, g)))

    def velocity(self, x: Tensor) -> Tensor:
        """dx/dt = F(g) - x: (networks, visible)."""
        return self.drive(self.activation(x)) - x

    def clock_velocity(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """dt/ds = rho / gain, (networks, 1), and dx/ds, (networks, visible), for LayerNorm's own clock s.

        For integrators: unlike the other methods it does not look at what it is given.
        """
        centred = x - x.mean(1, keepdim=True)
        rho = (centred.square().mean(1, keepdim=True) + self.eps).sqrt()
        tempo = rho / self.gain
        return tempo, tempo * (self.drive(centred / tempo) - x)

    def energy(self, x: Tensor, k: float = 0.5) -> Tensor:
        """The pseudo-energy E_k = E_v - sum Phi(W g) - k g . (Z - W)^T f(W g): (networks,).

        k = 1/2 is the energy of the general memory with its hidden layer at rest.
        """
        k, g = number("k", k), self.activation(x)
        u = _product(self.forward, g)
        excess = inner(_product(self.feedback - self.forward, g), self.hidden.activation(u))
        return self.norm.legendre(x, g) - self.hidden.value(u) - k * excess

    def energy_rate(self, x: Tensor, k: float = 0.5) -> Tensor:
        """dE_k/dt along the flow, in closed form: (networks,).

        - v . H v + (1 - k) dg/dt . A^T f(W g) - k g . A^T D W dg/dt,   A = Z - W,  D = diag f'(W g),  v = dx/dt
        """
        k, g = number("k", k), self.activation(x)
        velocity = self.drive(g) - x
        turning = self.norm.hessian_product(x, velocity)
        u, excess = _product(self.forward, g), self.feedback - self.forward
        carried = self.hidden.hessian_product(u, _product(self.forward, turning))
        gained = (1 - k) * inner(_product(excess, turning), self.hidden.activation(u))
        return gained - k * inner(_product(excess, g), carried) - inner(velocity, turning)

    def jacobian(self, x: Tensor) -> Tensor:
        """d velocity / dx = Z^T D W H - 1: (networks, visible, visible)."""
        g = self.activation(x)
        slope = self.hidden.curvature(_product(self.forward, g))
        response = self._returning @ (slope[..., None] * self.forward)
        centred, rho = x - x.mean(1, keepdim=True), self.radius(x)[..., None]
        unit = torch.eye(self.visible, dtype=x.dtype, device=x.device)
        along = centred[:, :, None] * centred[:, None, :] / (self.visible * rho.square())
        return self.gain / rho * response @ (unit - 1 / self.visible - along) - unit

    def operator(self) -> Tensor:
        """M = Z^T W, which is all that linear hidden units leave of the synapses: (networks, visible, visible)."""
        return self._returning @ self.forward

    def memory(self, index: int) -> HierarchicalMemory:
        """One of the networks as a hierarchical memory of two layers: the same dynamics, from other code."""
        if (index := size("index", index, least=0)) >= len(self):
            raise ValueError(f"index must be from 0 to {len(self) - 1}, got {index}")
        operator, feedback = Dense(self.forward[index]), Dense(self.feedback[index])
        layers = [
            Layer("visible", (self.visible,), LayerNorm("joint", gain=self.gain, eps=self.eps)),
            Layer("hidden", (self.forward.shape[1],), self.hidden, time_constant=0.0),
        ]
        return HierarchicalMemory(layers, [Synapse("visible", "hidden", operator, feedback)]).requires_grad_(False)

    def check_state(self, x: object, name: str = "x") -> None:
        """TypeError, ValueError : x is not one finite state for each network."""
        self._check_shape(name, x)
        check_finite(name, x)

    def _check_shape(self, name: str, x: object) -> None:
        check_batch(name, x, (self.visible,), self.forward)
        if len(x) != len(self):
            raise ValueError(f"{name} must hold one state for each of the {len(self)} networks, got {len(x)}")


def check_ensemble(ensemble: object) -> None:
    """TypeError : no Ensemble."""
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"ensemble must be an Ensemble, got {type(ensemble).__name__}; mixer_ensemble makes one")


def mixer_ensemble(
    networks: int,
    tokens: int,
    channels: int,
    token_hidden: int,
    channel_hidden: int,
    activation: str | Lagrangian = "gelu",
    angles: Sequence[float] = (0.0,),
    gain: float = 1.0,
    eps: float = 0.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | torch.Generator = 0,
) -> Ensemble:
    """Mixer memories whose feedback is turned away from the transpose by an angle: Z = cos(angle) W + sin(angle) R.

    W and R hold the Kronecker synapses of a token memory and a channel memory, drawn independently as
    in ``three_layer_memory``: normal, with variance 1/tokens and 1/channels. At angle 0 the memory is
    symmetric, at pi/2 its two directions know nothing of each other, and the size of the feedback is the same throughout.

    Returns
    -------
    networks x len(angles) networks, those of the first angle first. Every angle has the same draws.

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """
    networks, tokens, channels = size("networks", networks), size("tokens", tokens), size("channels", channels)
    token_hidden, channel_hidden = size("token_hidden", token_hidden), size("channel_hidden", channel_hidden)
    if tokens * channels < 2:
        raise ValueError("tokens, channels must make two or more visible neurons, got one")
    if not isinstance(angles, Sequence | Tensor | np.ndarray) or isinstance(angles, str):
        raise TypeError(f"angles must be a list of real numbers, got {angles!r}")
    angles = [number("each of angles", angle) for angle in angles]
    if not angles:
        raise ValueError("angles must be one or more real numbers, got none")
    dtype, device, stream = floating_dtype(dtype, torch.float64), available_device(device), generator(seed)

    def draw(hidden: int, seen: int) -> Tensor:
        return torch.randn(networks, hidden, seen, generator=stream, dtype=torch.float64) / math.sqrt(seen)

    def stacked() -> Tensor:
        token, channel = draw(token_hidden, tokens), draw(channel_hidden, channels)
        unit_c, unit_s = torch.eye(channels, dtype=token.dtype), torch.eye(tokens, dtype=token.dtype)
        by_token = torch.einsum("nai,IJ->naIiJ", token, unit_c).flatten(3, 4).flatten(1, 2)
        by_channel = torch.einsum("ij,nbI->nibjI", unit_s, channel).flatten(3, 4).flatten(1, 2)
        return torch.cat([by_token, by_channel], 1)

    forward, other = (stacked().to(device, dtype).repeat(len(angles), 1, 1) for _ in range(2))
    turns = torch.tensor(angles, dtype=dtype, device=device).repeat_interleave(networks)
    return Ensemble(forward, other, activation, gain, eps).turned(turns)


def _product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """(networks, n, m) and (networks, m) give (networks, n)."""
    return torch.bmm(matrices, vectors[..., None])[..., 0]
