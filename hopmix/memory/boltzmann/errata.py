"""Statements in the literature's public code that a check refutes (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopmix.claim import Evidence, Refutation, erratum
from hopmix.memory.boltzmann.claims import SEEDS, normal, random_machine
from hopmix.memory.boltzmann.grid import grid_of
from hopmix.training.digits import digit_patches

_PAPER = "ota2023attention"
_CODE = "As found in the public code (Toshihiro-Ota/AttnBM, attnbm.py)"


def _code_loss(machine, v: Tensor) -> Tensor:
    """The energy plus log-sum-exp of the exponents, as the code has it: (batch,)."""
    return machine.energy(v) + torch.logsumexp(machine.exponents(), 0)


def _code_filled(machine, v: Tensor, observed: Tensor) -> Tensor:
    """The weights' share of the conditional mean alone, as the code has it: (batch, visible)."""
    missing = (~observed).to(v.dtype)
    attention = torch.softmax(torch.where(observed, v, 0.0) @ machine.weight.mT + (machine.weight * missing).square().sum(1) / 2, 1)
    return torch.where(observed, v, attention @ machine.weight)


@erratum(
    source=_PAPER,
    where=f"{_CODE}: the loss that is logged",
    says="The value logged for an epoch is the sum of the batches' mean losses over the number of samples, printed as the loss.",
    corrected="The mean loss is the sum of batch means over the number of *batches*; what is logged is smaller by the batch size, a factor of 5 as shipped.",
)
def logged_loss() -> Refutation:
    published = corrected = 0.0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, beta=1.0), normal(seed, 60, 5)
        mean = float(_code_loss(machine, v).mean())
        batches = [float(_code_loss(machine, batch).mean()) for batch in v.split(5)]
        published = max(published, abs(sum(batches) / len(v) - mean) / abs(mean))
        corrected = max(corrected, abs(sum(batches) / len(batches) - mean) / abs(mean))
    return _difference("relative difference to the mean loss over all samples, batches of 5", published, corrected, 1e-12)


@erratum(
    source=_PAPER,
    where=f"{_CODE}: `AttnBM.loss`, read as a negative log-likelihood",
    says=r"The loss is $E(v)+\log\sum_\mu e^{\frac12|w_\mu|^2+w_\mu\cdot b+c_\mu}$.",
    corrected=r"The log partition function also has $\frac N2\log 2\pi$, see {eq}`boltzmann-partition`. Training does not notice; a comparison with other models does: 720 nats at $N=784$.",
)
def missing_constant() -> Refutation:
    published = corrected = 0.0
    for seed in SEEDS:
        machine = random_machine(seed, beta=1.0)
        v, area = grid_of(machine)
        loss = _code_loss(machine, v)
        published = max(published, abs(math.log(float((-loss).exp().sum() * area))))
        corrected = max(corrected, abs(math.log(float((-loss - machine.visible / 2 * math.log(2 * math.pi)).exp().sum() * area))))
    return _difference("log of the integral of exp(-loss), which is 0 for a log-likelihood; two visible units", published, corrected, 1e-9)


@erratum(
    source=_PAPER,
    where=f"{_CODE}: `AttnBM.reconstruct`, for a model trained with `--bc`",
    says=r"Missing values are filled in by $W_m^\top\mathrm{softmax}(W_ov_o+\frac12|w_{m,\mu}|^2)$, also where $b$ and $c$ are trained.",
    corrected=r"With biases, $b_m+W_m^\top\mathrm{softmax}(W_ov_o+c+\frac12|w_{m,\mu}|^2+w_{m,\mu}\cdot b_m)$, see {eq}`boltzmann-conditional-mean`. Without biases the code is exact.",
)
def biases_in_reconstruction() -> Refutation:
    published, corrected, bare = [], [], 0.0
    observed = torch.tensor([True, False])
    for seed in SEEDS:
        machine, v = random_machine(seed, beta=1.0), normal(seed, 1, 2)
        expected = _mean_by_quadrature(machine, v)
        published.append(abs(float(_code_filled(machine, v, observed)[0, 1]) - expected))
        corrected.append(abs(float(machine.reconstruct(v, observed)[0, 1]) - expected))
        machine.set(visible_bias=torch.zeros(2).double(), hidden_bias=torch.zeros(3).double())
        bare = max(bare, abs(float(_code_filled(machine, v, observed)[0, 1]) - _mean_by_quadrature(machine, v)))
    what = "difference to the conditional mean by quadrature, one of two entries missing, normal biases"
    return Refutation(
        published=Evidence.at_most(what, max(published), 1e-10, seeds=SEEDS, detail=f"smallest of the seeds {min(published):.2f}; without biases {bare:.0e}"),
        corrected=Evidence.at_most(what, max(corrected), 1e-10, seeds=SEEDS),
    )


def _mean_by_quadrature(machine, v: Tensor) -> float:
    line = torch.linspace(-14, 14, 4001, dtype=torch.float64)
    density = (-machine.energy(torch.stack([v[0, 0].expand(len(line)), line], 1))).exp()
    return float((density * line).sum() / density.sum())


@erratum(
    source=_PAPER,
    where=f"{_CODE}: `zca_whitening`",
    says=r"Observations by variables, whitened with the covariance of the *samples* over pixels, applied to images that are not centred.",
    corrected=r"Whitening needs the covariance of the *pixels* over images. Where there are fewer images than pixels the two agree, by the singular value decomposition, once the same mean is subtracted; as found, one direction, the brightness, keeps a larger variance.",
)
def whitening_over_samples() -> Refutation:
    pixels = digit_patches(1)[0].squeeze(2)
    published, corrected = [], []
    for seed in SEEDS:
        x = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))[:40]]
        u, s, _ = torch.linalg.svd(torch.cov(x, correction=0))
        published.append(_spread(u @ torch.diag((s + 1e-12).rsqrt()) @ u.mT @ x))
        left, s, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
        kept = s > 1e-10 * s[0]
        corrected.append(_spread(left[:, kept] @ right[kept]))
    what = "largest over smallest nonzero variance of the whitened pixels, less 1; 40 digits"
    return Refutation(
        published=Evidence.at_most(what, max(published), 1e-6, seeds=SEEDS, detail=f"from {min(published):.1f} to {max(published):.1f}"),
        corrected=Evidence.at_most(what, max(corrected), 1e-6, seeds=SEEDS),
    )


def _spread(x: Tensor) -> float:
    variances = torch.linalg.eigvalsh(torch.cov(x.mT, correction=0))
    variances = variances[variances > 1e-9 * variances.max()]
    return float(variances.max() / variances.min() - 1)


def _difference(what: str, published: float, corrected: float, bound: float) -> Refutation:
    """Both hold or fall by the same bound."""
    return Refutation(
        published=Evidence.at_most(what, published, bound, seeds=SEEDS),
        corrected=Evidence.at_most(what, corrected, bound, seeds=SEEDS),
    )
