"""Brute force for the chapter's theorems: the least value of a loss, by descent (page: book/mixers/wide_sparse.md)."""

from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch
from torch import Tensor


def least_value(loss: Callable[..., Tensor], *shapes: tuple[int, ...], seed: int) -> float:
    """The least value of a loss of several tensors, by BFGS from a random start."""
    sizes = [int(np.prod(shape)) for shape in shapes]

    def value(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        flat = torch.from_numpy(numbers.copy()).requires_grad_(True)
        found = loss(*(part.reshape(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)))
        found.backward()
        return float(found.detach()), flat.grad.numpy()

    start = np.random.default_rng(seed).normal(size=sum(sizes))
    return float(scipy.optimize.minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).fun)
