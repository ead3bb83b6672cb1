"""Statements in the literature's public code that a check refutes (page: book/memory/lagrangian.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.claim import Evidence, Refutation, erratum
from hopmix.memory.lagrangian import LayerNorm
from hopmix.memory.lagrangian.claims import SEEDS

_EPS = 1e-5


@erratum(
    source="hoover2022hamux",
    where="Public code (bhoov/hamux), src/hamux/lagrangians.py: `lagr_layernorm` with a shift, for layers of several tokens",
    says=r"With `axis=-1` the value is $\sum_i\bigl(C\gamma\sigma_i+\sum_{jJ}\delta_Jx_{jJ}\bigr)$: the term of the shift is summed over all tokens, then added once for each of them. "
    r"The activation that belongs to it, `_simple_layernorm`, has the shift once.",
    corrected=r"$\sum_iC\gamma\sigma_i+\sum_{jJ}\delta_Jx_{jJ}$. The other value has $S\delta$ in its gradient; for one token, or without a shift, the two agree. `lagr_spherical_norm` has the same form.",
)
def shift_once_per_token() -> Refutation:
    published = corrected = 0.0
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        x, shift = torch.randn(4, 6, generator=generator, dtype=torch.float64), torch.randn(6, generator=generator, dtype=torch.float64)
        expected = 1.3 * torch.nn.functional.layer_norm(x, (6,), eps=_EPS) + shift
        published = max(published, _distance(_as_found(x.requires_grad_(True), 1.3, shift), x, expected))
        corrected = max(corrected, _distance(LayerNorm("token", gain=1.3, shift=shift, eps=_EPS).value(x[None]).sum(), x, expected))
    what = "gradient of the Lagrangian against LayerNorm with a shift, 4 tokens, relative"
    return Refutation(
        published=Evidence.at_most(what, published, 1e-12, seeds=SEEDS),
        corrected=Evidence.at_most(what, corrected, 1e-12, seeds=SEEDS),
    )


def _as_found(x: Tensor, gain: float, shift: Tensor) -> Tensor:
    deviation = (x.var(-1, correction=0, keepdim=True) + _EPS).sqrt()
    return (x.shape[-1] * gain * deviation + (shift * x).sum()).sum()


def _distance(value: Tensor, x: Tensor, expected: Tensor) -> float:
    (gradient,) = torch.autograd.grad(value, x)
    return float((gradient - expected).norm() / expected.norm())
