"""Sinks and cycles of many networks, theory against simulation (page: book/memory/asymmetry.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.asymmetry.clock import COLLAPSED, CONVERGED, OSCILLATING, UNDECIDED, classify, clock_flow, cycle_frequency, late_motion
from hopmix.memory.asymmetry.ensemble import Ensemble, mixer_ensemble
from hopmix.memory.asymmetry.spectrum import Prediction, predict

ACTIVATIONS = ("quadratic", "gelu", "relu")
KS = (-0.5, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one draw of ``networks`` networks, the same at every angle.

    angles from 0 to a right angle; duration and steps of the clock for the classification; gains of LayerNorm for GELU at the last angle;
    token numbers ``sizes`` (with as many channels) for the eigenvalues alone, of ``spectra`` networks at each angle;
    the pseudo-energies up to ``time`` in ``time_steps`` steps.
    """

    seeds: int
    networks: int
    spectra: int
    tokens: int = 4
    channels: int = 3
    token_hidden: int = 8
    channel_hidden: int = 6
    angles: int = 9
    duration: float = 1500.0
    steps: int = 1500
    gains: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    sizes: tuple[int, ...] = (2, 3, 4, 6)
    time: float = 10.0
    time_steps: int = 400
    device: str = "cpu"


def angles(config: Config) -> list[float]:
    return [0.5 * math.pi * step / (config.angles - 1) for step in range(config.angles)]


def drawn(config: Config, seed: int, activation: str, turns: list[float]) -> Ensemble:
    """The networks of one seed at each of these angles, those of the first angle first."""
    return mixer_ensemble(
        config.networks, config.tokens, config.channels, config.token_hidden, config.channel_hidden, activation, turns,
        device=config.device, seed=seed,
    )  # fmt: skip


def trial(config: Config, seed: int) -> dict:
    """One draw: shares of networks by angle, by gain and by time."""
    linear = drawn(config, seed, "quadratic", angles(config))
    theory, start = predict(linear), linear.random_state(10_000 + seed)
    found = {"theory_oscillating": _share(theory.oscillates, config.angles), "spectra": spectra(config, seed)}
    for activation in ACTIVATIONS:
        ensemble, x = linear.with_activation(activation), start
        if activation == "gelu":
            ensemble, x = _with_gains(config, ensemble, start)
        motion = late_motion(ensemble, x, config.duration, config.steps)
        outcome, other = classify(motion).split([len(linear), len(ensemble) - len(linear)])
        found[f"{activation}_oscillating"] = _share(outcome == OSCILLATING, config.angles)
        found[f"{activation}_undecided"] = _share(outcome == UNDECIDED, config.angles)
        if activation == "gelu":
            found["gain_oscillating"] = _share(other == OSCILLATING, len(config.gains))
        if activation == "quadratic":
            found |= held_against(theory, outcome) | frequencies(linear, theory, outcome, motion.states)
    return found | pseudo_energies(config, seed)


def _with_gains(config: Config, ensemble: Ensemble, start: Tensor) -> tuple[Ensemble, Tensor]:
    """The ensemble and, behind it, its networks at the last angle once for each gain: a gain does what the same factor on W does."""
    last, times = slice(-config.networks, None), len(config.gains)
    forward = torch.cat([ensemble.forward, *(gain * ensemble.forward[last] for gain in config.gains)])
    feedback = torch.cat([ensemble.feedback, ensemble.feedback[last].repeat(times, 1, 1)])
    return Ensemble(forward, feedback, ensemble.hidden), torch.cat([start, start[last].repeat(times, 1)])


def _share(these: Tensor, groups: int) -> list[float]:
    return these.view(groups, -1).double().mean(1).tolist()


def held_against(theory: Prediction, outcome: Tensor) -> dict:
    """How many networks the classifier decided, and how many of them otherwise than the eigenvalues."""
    expected = torch.where(theory.oscillates, OSCILLATING, CONVERGED).masked_fill(~theory.survives, COLLAPSED)
    decided = outcome != UNDECIDED
    return {"decided": int(decided.sum()), "wrong": int((decided & (outcome != expected)).sum()), "collapsed": int((outcome == COLLAPSED).sum())}


def frequencies(ensemble: Ensemble, theory: Prediction, outcome: Tensor, states: Tensor) -> dict:
    """Predicted and simulated frequencies of the cycles, where 600 units of the clock hold about three turns or more."""
    w = theory.turning / ensemble.pace[:, 0]
    which = ((outcome == OSCILLATING) & theory.oscillates & (w > 0.03)).nonzero()[:, 0]
    if len(which) == 0:
        return {"frequency_theory": [], "frequency_simulated": []}
    few = ensemble.select(which)
    times, visited = clock_flow(few, states[which], 600.0, 1200)
    activations = few.norm.activation(visited.flatten(0, 1)).view_as(visited)
    return {"frequency_theory": theory.frequency[which], "frequency_simulated": cycle_frequency(times, activations)}


def spectra(config: Config, seed: int) -> list[list[float]]:
    """The share of networks whose eigenvalues say that they oscillate, by size and angle."""
    shares = []
    for tokens in config.sizes:
        ensemble = mixer_ensemble(
            config.spectra, tokens, tokens, 2 * tokens, 2 * tokens, "quadratic", angles(config), device=config.device, seed=20_000 + seed
        )
        shares.append(_share(predict(ensemble).oscillates, config.angles))
    return shares


def pseudo_energies(config: Config, seed: int) -> dict:
    """The share of GELU networks whose E_k rises, by k and time, for feedback W + R with R drawn as W is."""
    loose = drawn(config, seed, "gelu", [0.5 * math.pi])
    ensemble = Ensemble(loose.forward, loose.forward + loose.feedback, "gelu")
    times, states = time_flow(ensemble, ensemble.random_state(30_000 + seed), config.time, config.time_steps)
    times, states = times[::8], states[::8]
    rising = [[float((ensemble.energy_rate(x, k) > 0).double().mean()) for x in states] for k in KS]
    return {"rising_times": times, "rising": rising}


def time_flow(ensemble: Ensemble, x: Tensor, time: float, steps: int) -> tuple[Tensor, Tensor]:
    """The flow by fixed Runge-Kutta steps of the time t: times (steps + 1,) and states (steps + 1, networks, visible)."""
    visited, h = [x], time / steps
    for _ in range(steps):
        x = visited[-1]
        k1 = ensemble.velocity(x)
        k2 = ensemble.velocity(x + h / 2 * k1)
        k3 = ensemble.velocity(x + h / 2 * k2)
        visited.append(x + h / 6 * (k1 + 2 * (k2 + k3) + ensemble.velocity(x + h * k3)))
    return torch.linspace(0, time, steps + 1, dtype=x.dtype, device=x.device), torch.stack(visited)


def summarise(config: Config, trials: list[dict]) -> dict:
    """Shares at the right angle with their standard errors, the classifier's errors, and the frequencies' deviation."""
    total = config.seeds * config.networks * config.angles
    theory, simulated = (np.concatenate([one[f"frequency_{name}"] for one in trials]) for name in ("theory", "simulated"))
    summary = {
        "networks": total,
        "undecided_share": 1 - sum(one["decided"] for one in trials) / total,
        "wrong_share": sum(one["wrong"] for one in trials) / max(1, sum(one["decided"] for one in trials)),
        "collapsed_share": sum(one["collapsed"] for one in trials) / total,
        "frequencies": len(theory),
        "frequency_error": float(np.median(np.abs(simulated / theory - 1))) if len(theory) else 0.0,
    }
    for name in ("theory", *ACTIVATIONS):
        shares = np.array([one[f"{name}_oscillating"][-1] for one in trials])
        summary[f"{name}_at_right_angle"] = float(shares.mean())
        summary[f"{name}_error"] = float(shares.std(ddof=1) / math.sqrt(len(shares))) if len(shares) > 1 else 0.0
    return summary


EXPERIMENT = Experiment(
    "memory.asymmetry",
    version=1,
    scales={
        "smoke": Config(seeds=2, networks=4, spectra=8, angles=3, duration=400.0, steps=400, gains=(0.1, 10.0), sizes=(2, 3), time_steps=200),
        "laptop": Config(seeds=16, networks=6, spectra=16),
        "gpu": Config(
            seeds=64, networks=48, spectra=64, tokens=8, channels=8, token_hidden=16, channel_hidden=16, angles=17, duration=6000.0, steps=6000,
            sizes=(2, 3, 4, 6, 8), device="cuda",
        ),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)  # fmt: skip
