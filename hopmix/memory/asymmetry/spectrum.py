"""What the eigenvalues of a linear network say of its dynamics (page: book/memory/asymmetry.md)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import size
from hopmix.memory.asymmetry.ensemble import Ensemble, check_ensemble


@dataclass(frozen=True)
class Prediction:
    """The late dynamics of networks with linear hidden units, each tensor (networks,).

    growth, turning : a and w of the rightmost eigenvalue a + iw of P M P on centred states, w >= 0.
    gap : how far the next real part lies to the left of a; infinite where there is none.

    Where ``survives`` is False the state collapses and the two last properties mean nothing.
    """

    growth: Tensor
    turning: Tensor
    gap: Tensor
    gain: float
    eps: float

    @property
    def survives(self) -> Tensor:
        """Whether the state keeps a length: gain a > sqrt(eps)."""
        return self.gain * self.growth > self.eps**0.5

    @property
    def oscillates(self) -> Tensor:
        """Whether the activations turn for ever."""
        return self.survives & (self.turning > 0)

    @property
    def frequency(self) -> Tensor:
        """w / a, radians per visible time constant."""
        return self.turning / self.growth

    @property
    def rate(self) -> Tensor:
        """gap / a: how fast the direction nears the leading line or plane, per visible time constant (on average over a turn, if it turns)."""
        return self.gap / self.growth


def centred_basis(visible: int, like: Tensor) -> Tensor:
    """Orthonormal columns that span the states of mean zero: (visible, visible - 1), of the dtype and device of ``like``."""
    visible = size("visible", visible, least=2)
    if not isinstance(like, Tensor):
        raise TypeError(f"like must be a torch.Tensor, got {type(like).__name__}")
    basis = torch.zeros(visible, visible - 1, dtype=like.dtype, device=like.device)
    for column in range(visible - 1):  # Helmert's basis
        basis[: column + 1, column] = 1.0
        basis[column + 1, column] = -(column + 1.0)
    return basis / basis.norm(dim=0)


def centred_operator(ensemble: Ensemble) -> Tensor:
    """P M P on centred states, in the basis of ``centred_basis``: (networks, visible - 1, visible - 1)."""
    check_ensemble(ensemble)
    basis = centred_basis(ensemble.visible, ensemble.forward)
    return basis.T @ ensemble.operator() @ basis


def predict(ensemble: Ensemble) -> Prediction:
    """Read the late dynamics off the eigenvalues of P M P. Exact for linear hidden units, whatever the ensemble's own are.

    Derived on the page. An eigenvalue counts as complex where torch finds it so: the real Schur form has
    a block of size two there, and a real pair too close for rounding may look like one.
    """
    values = torch.linalg.eigvals(centred_operator(ensemble).cpu())
    order = torch.argsort(values.real, dim=1, descending=True, stable=True)
    values = values.gather(1, order)
    growth, turning = values.real[:, 0], values.imag[:, 0].abs()
    # The conjugate of a complex rightmost eigenvalue is no neighbour.
    neighbours = torch.nn.functional.pad(values.real, (0, 2), value=-torch.inf)
    following = torch.where(turning > 0, neighbours[:, 2], neighbours[:, 1])
    device = ensemble.forward.device
    return Prediction(growth.to(device), turning.to(device), (growth - following).to(device), ensemble.gain, ensemble.eps)
