"""Statements in the literature's public code that a check refutes (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.claim import Evidence, Refutation, erratum
from hopmix.memory.hierarchical import HierarchicalMemory
from hopmix.memory.hopfield_mixer.claims import SEEDS, relative
from hopmix.memory.hopfield_mixer.compile import to_mixer_block
from hopmix.memory.hopfield_mixer.three_layer import three_layer_memory

_PAPER = "karakida2024hierarchical"
_SIZES = {"tokens": 4, "channels": 6, "token_hidden": 12, "channel_hidden": 10}


def _memory(seed: int, **options) -> HierarchicalMemory:
    return three_layer_memory(**_SIZES, seed=seed, **options).requires_grad_(False)


def _state(seed: int, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(batch, _SIZES["tokens"], _SIZES["channels"], generator=generator, dtype=torch.float64)


def _layer_norm(x: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[1:], eps=0.0)


def _centred_norm(x: Tensor) -> Tensor:
    """|x - mean|: (batch,)."""
    return (x - x.mean((1, 2), keepdim=True)).flatten(1).norm(dim=1)


@erratum(
    source=_PAPER,
    where="Public code (Toshihiro-Ota/paramixer), demo notebook: Lagrangian of the visible layer",
    says=r"$L_v=\sqrt{\sum_{iI}(x_{iI}-\bar x)^2}$, whose activation is taken to be `F.layer_norm`.",
    corrected=r"$L_v=N\sqrt{\frac1N\sum_{iI}(x_{iI}-\bar x)^2+\epsilon}$; without the factor $\sqrt N$ the gradient is LayerNorm$/\sqrt N$, see {eq}`hopfield-mixer-layernorm-root-n`.",
)
def layernorm_lagrangian_root_n() -> Refutation:
    published = corrected = 0.0
    for seed in SEEDS:
        x = _state(seed).requires_grad_(True)
        (gradient,) = torch.autograd.grad(_centred_norm(x).sum(), x)
        size = x[0].numel()
        published = max(published, relative(gradient, _layer_norm(x)))
        corrected = max(corrected, relative(gradient * size**0.5, _layer_norm(x)))
    return _difference("gradient of the Lagrangian against LayerNorm", published, corrected)


@erratum(
    source=_PAPER,
    where="Public code (Toshihiro-Ota/paramixer), demo notebook: energy of the visible layer",
    says=r"The energy contains $x\cdot g-L_v$ with $g$ from `F.layer_norm` and $L_v=|x-\bar x|$, that is $(\sqrt N-1)|x-\bar x|$.",
    corrected=r"With the Lagrangian that belongs to LayerNorm this term is $0$ at $\epsilon=0$, see {eq}`hopfield-mixer-visible-energy-value`. The other one grows with the state: from a small state the sum rises, from a large one, such as the notebook starts from, it falls.",
)
def visible_energy_root_n() -> Refutation:
    small, large = _share_of_rises(0.05), _share_of_rises(10.0)
    what = "share of symmetric memories (Kronecker synapses, 4 tokens, 6 channels) whose energy rises from a small state, 0.05 normal"
    return Refutation(
        published=Evidence.at_most(what, small["found"], 0.0, seeds=SEEDS, detail=f"from 10 normal: {large['found']:.2f}"),
        corrected=Evidence.at_most(what, small["corrected"], 0.0, seeds=SEEDS, detail=f"from 10 normal: {large['corrected']:.2f}"),
    )


def _share_of_rises(scale: float) -> dict[str, float]:
    rises = {"found": 0, "corrected": 0}
    for seed in SEEDS:
        memory = _memory(seed, eps=0.0)
        _, states = memory.flow(scale * _state(seed, batch=1), 0.5, 200)
        states = states.flatten(0, 1)
        energy = memory.energy(states)
        extra = (states[0].numel() ** 0.5 - 1) * _centred_norm(states)
        rises["found"] += _rises(energy + extra)
        rises["corrected"] += _rises(energy)
    return {key: value / len(SEEDS) for key, value in rises.items()}


def _rises(energy: Tensor) -> bool:
    """Whether it rises anywhere by more than rounding, 64 units of the largest value."""
    return bool((energy.diff() > 64 * torch.finfo(energy.dtype).eps * energy.abs().max()).any())


@erratum(
    source=_PAPER,
    where="Public code (Toshihiro-Ota/paramixer), demo notebook: from the memory to the Mixer",
    says=r"The hidden units are driven by the sum of the activations over the other axis, and this is related to the token and channel mixing of a Mixer by the sign $\approx$.",
    corrected=r"Only Kronecker synapses $W\otimes 1_C$ and $1_S\otimes V$ give the Mixer's mixing, and then exactly, see {eq}`hopfield-mixer-mixer`; sums over the other axis belong to rank-one synapses, see {eq}`hopfield-mixer-rank-one`.",
)
def rank_one_is_not_mixing() -> Refutation:
    published, corrected = [], []
    for seed in SEEDS:
        x, block = _state(seed), to_mixer_block(_memory(seed))
        published.append(_distance(_memory(seed, synapses="rank_one").velocity(x, leak=False), block(x) - x))
        corrected.append(_distance(_memory(seed).velocity(x, leak=False), block(x) - x))
    what = "relative distance of the memory's drive from the Mixer's two branches, same weights, best common factor allowed"
    return Refutation(
        published=Evidence.at_most(what, min(published), 0.1, seeds=SEEDS, detail=f"from {min(published):.2f} to {max(published):.2f}"),
        corrected=Evidence.at_most(what, max(corrected), 0.1, seeds=SEEDS),
    )


def _distance(found: Tensor, expected: Tensor) -> float:
    """|c found - expected| / |expected| for the best number c."""
    factor = (found * expected).sum() / found.square().sum()
    return float((factor * found - expected).norm() / expected.norm())


@erratum(
    source=_PAPER,
    where="Public code (Toshihiro-Ota/paramixer), demo notebook: energy of the asymmetric network",
    says=r"With $\widetilde W=\xi^{vs}-(\xi^{sv})^\top$ the energy is that of the symmetric network plus $\frac12\,g\cdot\widetilde W f(Wg)$, and likewise for the channels.",
    corrected=r"If it is meant as the adiabatic limit of the general energy, see {eq}`hopfield-mixer-energy`, the sign is the opposite, $-\frac12\,g\cdot\widetilde W f(Wg)$.",
)
def pseudo_energy_sign() -> Refutation:
    published = corrected = 0.0
    for seed in SEEDS:
        memory, x = _memory(seed, asymmetry=1.0), _state(seed)
        g, f = memory.activations(x), torch.nn.functional.gelu
        token, channel = memory.synapses
        symmetric = -(memory.layers[1].lagrangian.value(g["visible"].mT @ token.operator.token.T))
        symmetric = symmetric - memory.layers[2].lagrangian.value(g["visible"] @ channel.operator.channel.T)
        symmetric = symmetric + memory.layers[0].lagrangian.legendre(x)
        excess = [synapse.feedback.token if synapse is token else synapse.feedback.channel for synapse in (token, channel)]
        excess = [excess[0] - token.operator.token, excess[1] - channel.operator.channel]
        hidden = f(token.operator.token @ g["visible"]), f(g["visible"] @ channel.operator.channel.T)
        term = ((excess[0].T @ hidden[0] + hidden[1] @ excess[1]) * g["visible"]).flatten(1).sum(1) / 2
        general = _stacked_energy(memory, x)
        published = max(published, relative(symmetric + term, general))
        corrected = max(corrected, relative(symmetric - term, general))
    return _difference("reduced energy against the general energy with the hidden layers at their drive", published, corrected)


def _stacked_energy(memory: HierarchicalMemory, x: Tensor) -> Tensor:
    """sum x.g - L - (1/2) sum g.Xi g over all layers, written out layer by layer: (batch,)."""
    states, g = memory.complete(x), memory.activations(x)
    energy = sum((states[layer.name] * g[layer.name]).flatten(1).sum(1) - layer.lagrangian.value(states[layer.name]) for layer in memory.layers)
    for synapse in memory.synapses:
        up = (synapse.operator.apply(g[synapse.source]) * g[synapse.target]).flatten(1).sum(1)
        down = (synapse.feedback.apply(g[synapse.source]) * g[synapse.target]).flatten(1).sum(1)
        energy = energy - (up + down) / 2
    return energy


@erratum(
    source=_PAPER,
    where="Public code (Toshihiro-Ota/paramixer), models: LayerNorm of the symmetric Mixer",
    says="The symmetric Mixer uses `nn.LayerNorm` over (tokens, channels) with an elementwise gain.",
    corrected="Read as the symmetric memory, this is exact at initialisation only: a gain that differs between entries, as training makes it, has an asymmetric Jacobian, so LayerNorm is no gradient and there is no Lagrangian. A scalar gain, with any shift, keeps the structure.",
)
def elementwise_gain() -> Refutation:
    published = corrected = 0.0
    for seed in SEEDS:
        x = _state(seed, batch=1)
        generator = torch.Generator().manual_seed(seed)
        gain = 1 + 0.3 * torch.randn(x.shape[1:], generator=generator, dtype=torch.float64)
        shift = torch.randn(x.shape[1:], generator=generator, dtype=torch.float64)
        published = max(published, _asymmetry(lambda z, gain=gain: _layer_norm(z) * gain, x))
        corrected = max(corrected, _asymmetry(lambda z, shift=shift: 1.3 * _layer_norm(z) + shift, x))
    return _difference("antisymmetric part of LayerNorm's Jacobian, relative; gain 1 + 0.3 normal, or 1.3", published, corrected)


def _asymmetry(function, x: Tensor) -> float:
    jacobian = torch.autograd.functional.jacobian(function, x).reshape(x.numel(), x.numel())
    return float((jacobian - jacobian.T).norm() / (2 * jacobian.norm()))


def _difference(what: str, published: float, corrected: float) -> Refutation:
    """Both hold or fall by the same bound."""
    return Refutation(
        published=Evidence.at_most(what, published, 1e-12, seeds=SEEDS),
        corrected=Evidence.at_most(what, corrected, 1e-12, seeds=SEEDS),
    )
