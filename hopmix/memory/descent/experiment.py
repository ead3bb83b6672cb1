"""Random networks at every step size, and trained Mixers on digits: does the energy fall (page: book/memory/descent.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.descent.block import block_memory
from hopmix.memory.descent.bound import concavity, descent_bound
from hopmix.memory.descent.ensemble import draw_networks, step_changes
from hopmix.memory.descent.tied_mixer import TiedMixer, accuracy, fit
from hopmix.training.digits import digit_patches

# A change counts as a rise, or as above its bound, from this share of the energies on: some thousand rounding units.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Config:
    """Sizes of one study.

    A trial of kind "networks" draws random networks of two sizes (tokens, channels, token_hidden, channel_hidden): `tiny`, three neurons and two hidden
    units without a channel memory, where rises are found, and `small`. A trial of kind "mixer" trains a Mixer with one shared block and one with a block for each depth.
    """

    network_seeds: int
    mixer_seeds: int
    networks: int = 8000
    small_networks: int = 500
    tiny: tuple[int, ...] = (3, 1, 2, 1)
    small: tuple[int, ...] = (4, 6, 8, 12)
    skip_steps: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
    leaky_steps: tuple[float, ...] = (0.1, 0.3, 0.6, 0.8, 1.0)
    shown: int = 60
    patch_size: int = 2
    channels: int = 24
    token_hidden: int = 32
    channel_hidden: int = 64
    depth: int = 6
    train_images: int = 1000
    test_images: int = 200
    epochs: int = 20
    batch_size: int = 50
    learning_rate: float = 1e-2
    device: str = "cpu"


def trial(config: Config, key: list) -> dict:
    """("networks" or "mixer", seed)."""
    kind, seed = key
    return {"kind": kind, **(_networks(config, seed) if kind == "networks" else _mixer(config, seed))}


def _networks(config: Config, seed: int) -> dict:
    """Shares of rises by step size for each case, the number of bounds exceeded, and a few networks to look at."""
    generator = torch.Generator().manual_seed(seed)
    found: dict = {"rises": {}, "steps": 0, "exceeded": 0, "unsafe_rises": 0, "safe_rises": 0, "largest_safety_of_a_rise": 0.0}
    tight = []
    for size, networks in (("tiny", config.networks), ("small", config.small_networks)):
        drawn = draw_networks(networks, *getattr(config, size), branches="token" if size == "tiny" else "both", device=config.device, seed=generator)
        # The tiny networks have one channel, so there is nothing to normalise in a token.
        for norm in ("joint", "token") if size == "small" else ("joint",):
            for activation in ("gelu", "relu"):
                for leak, steps in ((False, config.skip_steps), (True, config.leaky_steps)):
                    shares = []
                    for step_size in steps:
                        one = step_changes(drawn, step_size, leak, activation, norm)
                        rose = one["change"] > ROUNDING * one["scale"]
                        safe = one["safety"] >= 1
                        shares.append(rose.double().mean())
                        found["steps"] += networks
                        found["exceeded"] += int((one["change"] > one["bound"] + ROUNDING * one["scale"]).sum())
                        found["safe_rises"] += int((rose & safe).sum())
                        found["unsafe_rises"] += int((rose & ~safe).sum())
                        if bool(rose.any()):
                            found["largest_safety_of_a_rise"] = max(found["largest_safety_of_a_rise"], float(one["safety"][rose].max()))
                        fell = one["change"] < -ROUNDING * one["scale"]
                        tight.append((one["bound"] / one["change"])[fell & safe].median())
                    found["rises"][f"{size} {norm} {activation} {'leak' if leak else 'skip'}"] = torch.stack(shares)
    found["tightness"] = torch.stack(tight).nanmedian()
    found |= _scatter(config, generator)
    return found


def _scatter(config: Config, generator: torch.Generator) -> dict:
    """Change in units of the most that concavity can give, concavity |dg|^2 / 2, against the safety, for tiny GELU networks at random steps.

    In these units the bound is 1 - safety, for joint LayerNorm without eps.
    """
    drawn = draw_networks(40 * config.shown, *config.tiny, branches="token", device=config.device, seed=generator)
    safety, change = [], []
    for step_size in config.skip_steps[2:]:
        one = step_changes(drawn, step_size, False, "gelu", "joint", eps=0.0)
        unit = one["bound"] / (1 - one["safety"])
        seen = (one["safety"] < 3) & (unit > 1e-6 * one["scale"])
        safety.append(one["safety"][seen][: config.shown])
        change.append((one["change"] / unit)[seen][: config.shown])
    return {"shown_safety": torch.cat(safety), "shown_change": torch.cat(change)}


def _mixer(config: Config, seed: int) -> dict:
    patches, labels = digit_patches(config.patch_size)
    order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))
    patches, labels = patches[order].to(config.device, torch.float32), labels[order].to(config.device)
    training, test = slice(config.train_images), slice(config.train_images, None)
    found: dict = {}
    for sharing in ("all", "none"):
        model = TiedMixer(
            patches.shape[1], patches.shape[2], config.channels, config.token_hidden, config.channel_hidden, config.depth,
            sharing=sharing, device=config.device, dtype=torch.float32, seed=seed,
        )  # fmt: skip
        seen = patches[test][: config.test_images].double()
        before = energies(model, seen)
        fit(
            model, patches[training], labels[training],
            epochs=config.epochs, batch_size=config.batch_size, learning_rate=config.learning_rate, seed=seed,
        )  # fmt: skip
        found[sharing] = {"accuracy": accuracy(model, patches[test], labels[test]), "before": before, "after": energies(model, seen)}
    return found


@torch.no_grad()
def energies(model: TiedMixer, patches: Tensor) -> dict:
    """Energy per visible neuron along the network, in float64: means over the images, and the worst over images and blocks.

    measured : of block 0 at every depth, (depth + 1,). terms, bound : the start plus what the exact terms, or the bounds, add up to. own : the largest
    change of a block's own energy. largest_rise : that of block 0's energy. safety : (depth,), means over the images.
    """
    dtype = model.embed.dtype
    model.double()
    states = model.states(patches)
    size = states[0][0].numel()
    memories = [block_memory(model.block(depth)) for depth in range(model.depth)]
    steps = [descent_bound(memory, state) for memory, state in zip(memories, states, strict=False)]
    visible = memories[0].layers[0].lagrangian
    measured = torch.stack([memories[0].energy(x) - visible.legendre(x) for x in states]) / size
    start = steps[0].before / size

    def along(changes: list[Tensor]) -> Tensor:
        return torch.cat([start[None], start + torch.stack(changes).cumsum(0) / size]).mean(1)

    found = {
        "measured": measured.mean(1),
        "terms": along([-one.work - one.bregman for one in steps]),
        "bound": along([one.bound for one in steps]),
        "identity_error": max(((one.change + one.work + one.bregman).abs() / (one.before.abs() + one.after.abs())).max() for one in steps),
        "exceeded": sum(int((one.change > one.bound + ROUNDING * one.before.abs()).sum()) for one in steps),
        "own": max(one.change.max() for one in steps) / size,
        "largest_rise": measured.diff(dim=0).max(),
        "rising_share": (measured.diff(dim=0) > 0).double().mean(),
        "safety": torch.stack([one.safety.mean() for one in steps]),
        "least_safety": torch.stack([one.safety.min() for one in steps]),
        "concavity": concavity(memories[0]),
        "gain": visible.gain,
    }
    model.to(dtype)
    return found


def summarise(config: Config, trials: list[dict]) -> dict:
    """Counts over all networks; means and standard errors over the trained Mixers."""
    networks = [one for one in trials if one["kind"] == "networks"]
    mixers = [one for one in trials if one["kind"] == "mixer"]
    found = {key: sum(one[key] for one in networks) for key in ("steps", "exceeded", "safe_rises", "unsafe_rises")}
    found["relu_rises"] = sum(float(np.sum(shares)) for one in networks for case, shares in one["rises"].items() if "relu" in case)
    found["largest_safety_of_a_rise"] = max(one["largest_safety_of_a_rise"] for one in networks)
    found["tightness"] = float(np.mean([one["tightness"] for one in networks]))
    for sharing, name in (("all", "shared"), ("none", "unshared")):
        accuracies = np.array([one[sharing]["accuracy"] for one in mixers])
        found[f"{name}_accuracy"] = accuracies.mean()
        found[f"{name}_accuracy_error"] = accuracies.std(ddof=1) / np.sqrt(len(accuracies)) if len(accuracies) > 1 else 0.0
        found[f"{name}_largest_change"] = max(one[sharing][when]["own"] for one in mixers for when in ("before", "after"))
        found[f"{name}_rising_share"] = float(np.mean([one[sharing]["after"]["rising_share"] for one in mixers]))
        found[f"{name}_exceeded"] = sum(one[sharing][when]["exceeded"] for one in mixers for when in ("before", "after"))
    found["identity_error"] = max(one[sharing][when]["identity_error"] for one in mixers for sharing in ("all", "none") for when in ("before", "after"))
    return found


EXPERIMENT = Experiment(
    "memory.descent",
    version=1,
    scales={
        "smoke": Config(network_seeds=2, mixer_seeds=2, networks=500, small_networks=50, shown=10, depth=3, train_images=200, test_images=40, epochs=3),
        "laptop": Config(network_seeds=16, mixer_seeds=6),
        "gpu": Config(
            network_seeds=64, mixer_seeds=16, networks=200_000, small_networks=20_000, channels=128, token_hidden=128, channel_hidden=512, depth=12,
            test_images=797, epochs=150, learning_rate=3e-3, device="cuda",
        ),
    },
    trials=lambda config: [["networks", seed] for seed in range(config.network_seeds)] + [["mixer", seed] for seed in range(config.mixer_seeds)],
    trial=trial,
    summarise=summarise,
)  # fmt: skip
