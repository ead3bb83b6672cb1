"""The memory on handwritten digits: energy, its rate, the fast limit and the gauge (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import cumulative_simpson
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.hopfield_mixer.compile import to_mixer_block
from hopmix.memory.hopfield_mixer.gauge import skip_to_leaky
from hopmix.memory.hopfield_mixer.three_layer import three_layer_memory
from hopmix.training.digits import digit_patches, patch_embed


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one draw of weights, embedding and images.

    steps Runge-Kutta steps up to `time` for the energy along the flow; `depth` blocks for the gauge; `hidden_time_constants`
    (each half the one before) with
    `fast_steps` steps up to `fast_time` on `fast_images` images for the approach to the adiabatic limit.
    """

    seeds: int
    images: int
    patch_size: int = 2
    channels: int = 32
    token_hidden: int = 32
    channel_hidden: int = 64
    time: float = 3.0
    steps: int = 240
    depth: int = 24
    fast_images: int = 4
    hidden_time_constants: tuple[float, ...] = (0.08, 0.04, 0.02, 0.01)
    fast_time: float = 1.0
    fast_steps: int = 160
    device: str = "cpu"


def embedded_digits(config: Config, seed: int) -> Tensor:
    """Random digits as (images, tokens, channels), float64, by an embedding that belongs to the seed too.

    Entries have mean square one over the batch. The length is a choice of unit: LayerNorm does not see it.
    """
    patches, _ = digit_patches(config.patch_size)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(patches), generator=generator)[: config.images]
    x = patch_embed(patches[chosen], config.channels, generator)
    return (x / x.square().mean().sqrt()).to(config.device)


def memory_of(config: Config, seed: int, tokens: int, **options):
    return three_layer_memory(
        tokens, config.channels, config.token_hidden, config.channel_hidden, device=config.device, seed=seed, **options
    ).requires_grad_(False)


def autograd_rate(memory, state: Tensor) -> Tensor:
    """dE/dt as autograd's gradient of the energy along the velocity: (batch,). It knows nothing of the identity it is held against."""
    state = state.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(memory.energy(state).sum(), state)
    return (gradient * memory.velocity(state)).flatten(1).sum(1).detach()


def trial(config: Config, seed: int) -> dict:
    """One seed: curves are means over the images, errors are the largest over images and times. Energies are per visible neuron."""
    x = embedded_digits(config, seed)
    size = x[0].numel()
    memory = memory_of(config, seed, x.shape[1])
    times, states = memory.flow(x, config.time, config.steps)
    merged = states.flatten(0, 1)
    energy, rate = (values.reshape(len(times), -1) / size for values in (memory.energy(merged), memory.energy_rate(merged)))
    rate_by_autograd = autograd_rate(memory, merged).reshape(len(times), -1) / size
    integral = cumulative_simpson(rate.cpu().numpy(), x=times.cpu().numpy(), axis=0, initial=0.0) + energy[0].cpu().numpy()
    block = to_mixer_block(memory)
    stepped = memory.step(merged)
    return {
        "times": times,
        "energy": energy.mean(1),
        "energy_from_rate": integral.mean(1),
        "largest_rise": energy.diff(dim=0).max(),
        "largest_rate": rate.max(),
        "rate_error": ((rate - rate_by_autograd).abs() / rate_by_autograd.abs().amax(0)).max(),
        "block_error": (block(merged) - stepped).abs().max() / stepped.abs().max(),
        **_gauge(config, seed, x),
        **fast_limit(config, seed, x[: config.fast_images]),
    }


def _gauge(config: Config, seed: int, x: Tensor) -> dict:
    """A network with skip connections and the leaky network it is up to length, at eps = 0 where this is exact."""
    memory = memory_of(config, seed, x.shape[1], eps=0.0)
    skip = memory.iterate(x, [1.0] * config.depth)
    rescaled, step_sizes = skip_to_leaky(skip)
    leaky = memory.iterate(rescaled[0], step_sizes, leak=True)
    radius = [states.flatten(2).square().mean(2).sqrt().mean(1) for states in (skip, leaky)]
    energy = [memory.energy(states.flatten(0, 1)).reshape(len(states), -1) / x[0].numel() for states in (skip, leaky)]
    return {
        "skip_radius": radius[0],
        "leaky_radius": radius[1],
        "skip_energy": energy[0].mean(1),
        "leaky_energy": energy[1].mean(1),
        "gauge_error": (leaky - rescaled).abs().amax() / rescaled.abs().amax(),
    }


def fast_limit(config: Config, seed: int, x: Tensor) -> dict:
    """Distance between the memory with slow hidden layers and the adiabatic one, against the hidden time constant.

    The hidden layers start at their drive. The distance is the largest over time of the root mean square, relative to that of the state.
    """
    adiabatic = memory_of(config, seed, x.shape[1])
    _, reference = adiabatic.flow(x, config.fast_time, config.fast_steps)
    start = adiabatic.complete(x)
    errors = []
    for time_constant in config.hidden_time_constants:
        slow = memory_of(config, seed, x.shape[1], hidden_time_constant=time_constant)
        _, states = slow.flow(start, config.fast_time, config.fast_steps)
        distance = (states["visible"] - reference).flatten(1).square().mean(1).sqrt()
        errors.append(distance.max() / reference.square().mean().sqrt())
    errors = torch.stack(errors)
    return {"fast_errors": errors, "fast_order": _order(np.array(config.hidden_time_constants), errors.cpu().numpy())}


def _order(time_constants: np.ndarray, errors: np.ndarray) -> float:
    """The power of the time constant with which the error vanishes.

    The slopes of the double logarithmic plot approach it with an error that is itself linear in the time constant, so the last two
    slopes, at time constants that halve, are extrapolated.
    """
    slopes = np.diff(np.log(errors)) / np.diff(np.log(time_constants))
    return float(2 * slopes[-1] - slopes[-2])


def summarise(config: Config, trials: list[dict]) -> dict:
    """Largest errors over seeds; means and standard errors where there is a spread."""
    worst = {key: max(one[key] for one in trials) for key in ("largest_rise", "largest_rate", "rate_error", "block_error", "gauge_error")}
    orders = np.array([one["fast_order"] for one in trials])
    deviation = max(np.abs(np.subtract(one["energy"], one["energy_from_rate"])).max() for one in trials)
    spread = float(orders.std(ddof=1) / np.sqrt(len(orders))) if len(orders) > 1 else 0.0
    return {**worst, "integral_error": float(deviation), "fast_order": float(orders.mean()), "fast_order_error": spread}


EXPERIMENT = Experiment(
    "memory.hopfield_mixer",
    version=1,
    scales={
        "smoke": Config(seeds=2, images=4, steps=120, depth=6, hidden_time_constants=(0.04, 0.02, 0.01)),
        "laptop": Config(seeds=16, images=16),
        "gpu": Config(
            seeds=64, images=1024, patch_size=1, channels=256, token_hidden=128, channel_hidden=1024, depth=96, device="cuda"
        ),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)
