"""The attentional Boltzmann machine: energy, exact likelihood, sampling, missing values (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopmix.arguments import available_device, check_batch, check_finite, choice, floating_dtype, generator, number, size
from hopmix.memory.boltzmann.mixture import GaussianMixture


class AttentionalBoltzmannMachine(torch.nn.Module):
    """A density on R^visible whose energy descends by one step of attention.

        E(v) = |v - b|^2 / 2 - (1/beta) log sum_mu exp(beta (W v + c)_mu),    p(v) = exp(-beta E(v)) / Z
        log Z = log sum_mu exp(beta (|w_mu|^2 / 2 + w_mu . b + c_mu)) + (visible / 2) log(2 pi / beta)

    It is a mixture of `hidden` Gaussians of covariance 1/beta, so likelihood, samples and conditional means are exact. W is
    (hidden, visible), b (visible,), c (hidden,); all three are parameters. Every method is batched and differentiable.

    Parameters
    ----------
    inverse_temperature : beta > 0, also that of the softmax.
    dtype : None is float64, the precision of the book's theory.
    seed : W is normal with variance 1/visible, b and c are zero.

    Sources: ota2023attention for the model; the form with biases, temperature and missing values is derived on the page.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        visible: int,
        hidden: int,
        inverse_temperature: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        visible, hidden = size("visible", visible), size("hidden", hidden)
        self.inverse_temperature = number("inverse_temperature", inverse_temperature, "positive")
        dtype, device, stream = floating_dtype(dtype, torch.float64), available_device(device), generator(seed)
        # Drawn in float64 on the CPU, so that a seed means the same machine everywhere.
        weight = torch.randn(hidden, visible, generator=stream, dtype=torch.float64) / math.sqrt(visible)
        self.weight = torch.nn.Parameter(weight.to(device, dtype))
        self.visible_bias = torch.nn.Parameter(torch.zeros(visible, device=device, dtype=dtype))
        self.hidden_bias = torch.nn.Parameter(torch.zeros(hidden, device=device, dtype=dtype))

    @classmethod
    def from_weights(
        cls, weight: Tensor, visible_bias: Tensor | None = None, hidden_bias: Tensor | None = None, inverse_temperature: float = 1.0
    ) -> AttentionalBoltzmannMachine:
        """A machine with these numbers, copied: weight (hidden, visible), biases (visible,) and (hidden,), None for zero.

        Raises TypeError and ValueError as the constructor does, and for tensors that do not fit each other or are not finite.
        """
        if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.dim() != 2 or weight.numel() == 0:
            found = f"{weight.dtype} {tuple(weight.shape)}" if isinstance(weight, Tensor) else type(weight).__name__
            raise TypeError(f"weight must be a floating-point tensor (hidden, visible), got {found}")
        hidden, visible = weight.shape
        machine = cls(visible, hidden, inverse_temperature, device=weight.device, dtype=weight.dtype)
        values = {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
        machine.set(**{name: value for name, value in values.items() if value is not None})
        return machine

    @classmethod
    def from_mixture(cls, mixture: GaussianMixture, visible_bias: Tensor | None = None) -> AttentionalBoltzmannMachine:
        """The machine whose density is the mixture, exactly: w = m - b, c = (log weight) / beta - |w|^2 / 2 - w . b.

        visible_bias : any b gives the same density; None is zero. Raises TypeError for no mixture, ValueError for a component of
        weight zero, which no finite c gives.
        """
        if not isinstance(mixture, GaussianMixture):
            raise TypeError(f"mixture must be a GaussianMixture, got {type(mixture).__name__}")
        if not bool((mixture.weights > 0).all()):
            raise ValueError(f"mixture has a weight of {float(mixture.weights.min()):g}; allowed: all weights above 0")
        machine = cls.from_weights(mixture.means, visible_bias, inverse_temperature=mixture.precision)
        machine.set_mixture(mixture.weights, mixture.means)
        return machine

    @torch.no_grad()
    def set(self, **values: Tensor) -> None:
        """Overwrite parameters in place by name. Raises ValueError for another shape or entries that are not finite, TypeError for no tensor."""
        parameters = dict(self.named_parameters())
        for name, value in values.items():
            parameter = parameters[choice("the name of a parameter", name, parameters)]
            if not isinstance(value, Tensor):
                raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
            if value.shape != parameter.shape:
                raise ValueError(f"{name} must have shape {tuple(parameter.shape)}, got {tuple(value.shape)}")
            check_finite(name, value)
            parameter.copy_(value)

    @torch.no_grad()
    def set_mixture(self, weights: Tensor, means: Tensor) -> None:
        """Make the density the mixture with these weights (hidden,) and means (hidden, visible), keeping b and beta."""
        weight = means - self.visible_bias
        quadratic = weight.square().sum(1) / 2 + weight @ self.visible_bias
        self.set(weight=weight, hidden_bias=weights.log() / self.inverse_temperature - quadratic)

    @property
    def hidden(self) -> int:
        return self.weight.shape[0]

    @property
    def visible(self) -> int:
        return self.weight.shape[1]

    def fields(self, v: Tensor) -> Tensor:
        """W v + c: (batch, visible) to (batch, hidden)."""
        check_batch("v", v, (self.visible,), self.weight)
        check_finite("v", v)
        return torch.nn.functional.linear(v, self.weight, self.hidden_bias)

    def energy(self, v: Tensor) -> Tensor:
        """E(v): (batch, visible) to (batch,)."""
        beta, fields = self.inverse_temperature, self.fields(v)
        return (v - self.visible_bias).square().sum(1) / 2 - torch.logsumexp(beta * fields, 1) / beta

    def exponents(self) -> Tensor:
        """|w_mu|^2 / 2 + w_mu . b + c_mu, whose softmax at beta are the mixture's weights: (hidden,)."""
        return self.weight.square().sum(1) / 2 + self.weight @ self.visible_bias + self.hidden_bias

    def log_partition(self) -> Tensor:
        """log Z, the constant included: a scalar."""
        beta = self.inverse_temperature
        return torch.logsumexp(beta * self.exponents(), 0) + self.visible / 2 * math.log(2 * math.pi / beta)

    def log_likelihood(self, v: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(v), or log p of the observed entries alone: (batch,).

        observed : bool, (visible,) or (batch, visible); entries of v that are not observed may be anything, NaN too.
        """
        if observed is None:
            return -self.inverse_temperature * self.energy(v) - self.log_partition()
        beta = self.inverse_temperature
        observed = self._mask(v, observed)
        known = observed.to(v.dtype)
        distance = torch.where(observed, v - self.visible_bias, 0.0).square().sum(1) / 2
        marginal = torch.logsumexp(beta * self._observed_fields(v, observed), 1) - torch.logsumexp(beta * self.exponents(), 0)
        return marginal - beta * distance - known.sum(1) / 2 * math.log(2 * math.pi / beta)

    def responsibilities(self, v: Tensor) -> Tensor:
        """softmax(beta (W v + c)), the posterior of the hidden unit: (batch, hidden)."""
        return torch.softmax(self.inverse_temperature * self.fields(v), 1)

    def update(self, v: Tensor) -> Tensor:
        """b + W^T softmax(beta (W v + c)): one step of attention, the mean field, the denoiser: (batch, visible)."""
        return self.visible_bias + self.responsibilities(v) @ self.weight

    def score(self, v: Tensor) -> Tensor:
        """The gradient of log p: beta (update(v) - v), (batch, visible)."""
        return self.inverse_temperature * (self.update(v) - v)

    @torch.no_grad()
    def gradient(self, v: Tensor) -> dict[str, Tensor]:
        """The gradient of the mean log-likelihood of a batch, in closed form, by parameter name.

        beta times: <r v^T> - pi (b + w) for W, <v - b> - W^T pi for b, <r> - pi for c.
        """
        beta, r = self.inverse_temperature, self.responsibilities(v)
        if len(v) == 0:
            raise ValueError("v must hold at least one sample, got none")
        pi = torch.softmax(beta * self.exponents(), 0)
        return {
            "weight": beta * (r.mT @ v / len(v) - pi[:, None] * (self.visible_bias + self.weight)),
            "visible_bias": beta * ((v - self.visible_bias).mean(0) - pi @ self.weight),
            "hidden_bias": beta * (r.mean(0) - pi),
        }

    def as_mixture(self) -> GaussianMixture:
        """The same density as weights, means b + w and precision beta."""
        weights = torch.softmax(self.inverse_temperature * self.exponents(), 0)
        return GaussianMixture(weights, self.visible_bias + self.weight, self.inverse_temperature)

    def sample(self, samples: int, seed: int | torch.Generator = 0) -> Tensor:
        """Independent exact samples: (samples, visible)."""
        return self.as_mixture().sample(samples, seed)

    def reconstruct(self, v: Tensor, observed: Tensor) -> Tensor:
        """Fill in what is missing by its exact conditional mean: (batch, visible).

            v_m = b_m + W_m^T softmax(beta (W_o v_o + c + |w_m|^2 / 2 + w_m . b_m))

        observed : bool, (visible,) or (batch, visible), a mask for each sample; what is not observed may be anything, NaN too.

        Raises
        ------
        TypeError, ValueError : v or observed of another kind or shape, an observed entry that is not finite.
        """
        observed = self._mask(v, observed)
        r = torch.softmax(self.inverse_temperature * self._observed_fields(v, observed), 1)
        return torch.where(observed, v, self.visible_bias + r @ self.weight)

    def _observed_fields(self, v: Tensor, observed: Tensor) -> Tensor:
        """The fields with the missing entries integrated out: (batch, hidden)."""
        missing = (~observed).to(v.dtype)
        integrated = missing @ (self.weight.square() / 2 + self.weight * self.visible_bias).mT
        return torch.where(observed, v, 0.0) @ self.weight.mT + self.hidden_bias + integrated

    def _mask(self, v: Tensor, observed: Tensor) -> Tensor:
        check_batch("v", v, (self.visible,), self.weight)
        if not isinstance(observed, Tensor) or observed.dtype != torch.bool:
            found = observed.dtype if isinstance(observed, Tensor) else type(observed).__name__
            raise TypeError(f"observed must be a bool tensor, True where v is known, got {found}")
        if observed.shape not in ((self.visible,), v.shape):
            raise ValueError(f"observed must have shape {(self.visible,)} or {tuple(v.shape)}, got {tuple(observed.shape)}")
        observed = observed.expand(v.shape)
        check_finite("v where it is observed", torch.where(observed, v, 0.0))
        return observed

    def forward(self, v: Tensor) -> Tensor:
        return self.update(v)

    def extra_repr(self) -> str:
        return f"visible={self.visible}, hidden={self.hidden}, inverse_temperature={self.inverse_temperature:g}"


def check_machine(machine: object) -> None:
    """TypeError for anything but an ``AttentionalBoltzmannMachine``."""
    if not isinstance(machine, AttentionalBoltzmannMachine):
        raise TypeError(f"machine must be an AttentionalBoltzmannMachine, got {type(machine).__name__}")
