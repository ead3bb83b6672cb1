"""The leak as a change of scale: skip and leaky forms of one dynamics (page: book/memory/hopfield_mixer.md)."""

import torch
from torch import Tensor

from hopmix.arguments import check_finite, number


def skip_to_leaky(trajectory: Tensor, start: float = 1.0) -> tuple[Tensor, Tensor]:
    """The leaky trajectory that a trajectory with skip connections is, up to scale.

    If y_{n+1} = y_n + F(g(y_n)) and g does not see the scale of its argument (layer
    normalisation with eps = 0), then x_n = y_n / (s + n) obeys x_{n+1} = (1 - h_n) x_n + h_n F(g(x_n))
    with h_n = 1 / (s + n + 1), for any s > 0.

    Parameters
    ----------
    trajectory : (steps + 1, ...), the y_n, for example from ``memory.iterate(state, [1.0] * steps)``.
    start : s.

    Returns
    -------
    leaky : (steps + 1, ...), the x_n.
    step_sizes : (steps,), the h_n: ``memory.iterate(leaky[0], step_sizes, leak=True)`` gives ``leaky``.

    Raises
    ------
    TypeError : start is no real number, or the trajectory no floating-point tensor.
    ValueError : start is not positive and finite, or the trajectory is empty or not finite.
    """
    start = number("start", start, "positive")
    if not isinstance(trajectory, Tensor) or not trajectory.is_floating_point():
        found = f"dtype {trajectory.dtype}" if isinstance(trajectory, Tensor) else type(trajectory).__name__
        raise TypeError(f"trajectory must be a floating-point torch.Tensor, got {found}")
    if trajectory.dim() == 0 or len(trajectory) == 0:
        raise ValueError(f"trajectory must be (steps + 1, ...), got shape {tuple(trajectory.shape)}")
    check_finite("trajectory", trajectory)
    scale = start + torch.arange(len(trajectory), dtype=trajectory.dtype, device=trajectory.device)
    return trajectory / scale.view(-1, *[1] * (trajectory.dim() - 1)), 1 / scale[1:]
