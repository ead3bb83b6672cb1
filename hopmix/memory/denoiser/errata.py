"""What the literature's public code does otherwise, with the check (page: book/memory/denoiser.md)."""

from __future__ import annotations

import torch

from hopmix.claim import Evidence, Refutation, erratum
from hopmix.memory.denoiser.training import target_of
from hopmix.training import digit_patches

_SEEDS = tuple(range(16))
_PAPER = "karakida2024hierarchical"


@erratum(
    source=_PAPER,
    where="Public code (Toshihiro-Ota/paramixer), denoising demo notebook: the training loss",
    says=r"The loss is the mean square of $g-u$, with $g$ from `F.layer_norm`, of norm $\sqrt N$, and $u$ the clean image divided by its norm.",
    corrected=r"Two vectors of such different norms cannot agree: by {eq}`denoiser-unit-gap` the loss is at least $(\sqrt N-1)^2/N$, which is 0.93 for $N=784$, and a perfect restoration does not reach 0. "
    r"Compared with the standardised clean image it does, and the loss reads as $2(1-\cos)$, see {eq}`denoiser-loss-cosine`. What is trained is the same.",
)
def target_of_norm_one() -> Refutation:
    losses: dict[str, list[float]] = {"unit": [], "layernorm": []}
    images = digit_patches(8)[0].reshape(-1, 8, 8)
    for seed in _SEEDS:
        clean = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:64]]
        shown = torch.nn.functional.layer_norm(clean, (8, 8), eps=0.0)
        for target, found in losses.items():
            found.append(float((shown - target_of(clean, target)).square().mean()))
    what = "loss of a perfect restoration, the memory showing the clean digit itself"
    return Refutation(
        published=Evidence.at_most(what, min(losses["unit"]), 1e-12, seeds=_SEEDS, detail=f"bound for 64 pixels {(64**0.5 - 1) ** 2 / 64:.4f}"),
        corrected=Evidence.at_most(what, max(losses["layernorm"]), 1e-12, seeds=_SEEDS),
    )
