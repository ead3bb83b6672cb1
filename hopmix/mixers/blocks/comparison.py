"""The blocks side by side, each row measured on the block itself (page: book/mixers/blocks.md)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hopmix.mixers.blocks.block import MixerBlock
from hopmix.mixers.blocks.presets import PRESETS, preset

_NAMES = {
    "vanilla": ("Mixer (vanilla)", "a second norm", "vanilla-count"),
    "paramixer": ("ParaMixer", "nothing more", "parallel-count"),
    "symmixer": ("SymMixer", "a scalar gain, for the energy", "symmetric-count"),
    "asymmixer": ("AsymMixer", "a penalty on $D$: without one it can be any ParaMixer", "parallel-count"),
    "signedmixer": ("signed control", "a scalar gain, for the energy", "symmetric-count"),
}
_WEIGHTS = {"free": "free $O$", "symmetric": "tied, $O=W$", "asymmetric": "tied and broken, $O=W+D$", "signed": r"tied, $O=\mathrm{diag}(s)\,W$"}


@dataclass(frozen=True)
class Row:
    """One kind of block.

    asymmetry : |J - J^T| / |J| for the Jacobian J of token plus channel mixing in the normalised activations, at random.
    energy : whether a joint energy exists: the branches are a gradient and read the same activations.
    formula : id of the step of the chapter's derivation that counts the parameters of a block.
    block_parameters, model_parameters : counted on the model S/16 with ten classes.
    """

    name: str
    order: str
    weights: str
    asymmetry: float
    energy: bool
    formula: str
    block_parameters: int
    model_parameters: int
    needs: str


def comparison(seed: int | torch.Generator = 0) -> list[Row]:
    """The four blocks and the signed control, at the sizes of Mixer-S/16 with ten classes.

    Raises ValueError, TypeError for what is no seed.
    """
    rows = []
    for kind, (name, needs, formula) in _NAMES.items():
        model = preset(f"{kind}_s16", num_classes=10, device="meta")
        options = {key: PRESETS[f"{kind}_s16"][key] for key in ("order", "weights")}
        asymmetry = jacobian_asymmetry(MixerBlock(6, 5, 7, 8, **options, dtype=torch.float64, seed=seed), seed)
        rows.append(
            Row(
                name, options["order"], options["weights"], asymmetry,
                options["order"] == "parallel" and asymmetry < 1e-12,
                formula, _count(model.blocks[0]), _count(model), needs,
            )
        )  # fmt: skip
    return rows


def jacobian_asymmetry(block: MixerBlock, seed: int | torch.Generator = 0) -> float:
    """|J - J^T| / |J| (Frobenius) for the Jacobian J of Tok + Ch at normally distributed activations."""
    stream = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    g = torch.randn(1, block.tokens, block.channels, generator=stream, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda g: block.token_mixing(g) + block.channel_mixing(g), g)
    jacobian = jacobian.reshape(g.numel(), g.numel())
    return float((jacobian - jacobian.mT).norm() / jacobian.norm())


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def comparison_table(seed: int | torch.Generator = 0) -> str:
    """The rows of ``comparison`` as a table in Markdown, with the verified formulas for the counts."""
    from sympy import latex

    from hopmix.mixers.blocks.derivation import DERIVATION

    lines = [
        "| block | order | output weights | energy; asymmetry of its Jacobian | parameters of a block; S/16 in millions | needs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in comparison(seed):
        DERIVATION.check(row.formula)
        formula = latex(DERIVATION[row.formula].statement.rhs)
        energy = f"{'yes' if row.energy else 'no'}; {row.asymmetry:.0e}" if row.asymmetry < 1e-3 else f"no; {row.asymmetry:.2f}"
        count = f"${formula}$; {row.model_parameters / 1e6:.1f}"
        lines.append(f"| {row.name} | {row.order} | {_WEIGHTS[row.weights]} | {energy} | {count} | {row.needs} |")
    return "\n".join(lines)
