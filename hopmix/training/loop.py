"""One training loop for everything that a chapter trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hopmix.arguments import choice, generator, number, size

_OPTIMISERS = {
    "adamw": lambda parameters, rate, decay: torch.optim.AdamW(parameters, lr=rate, weight_decay=decay),
    "sgd": lambda parameters, rate, decay: torch.optim.SGD(parameters, lr=rate, weight_decay=decay),
}
_SCHEDULES = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
}


def train(
    parameters: Iterable[torch.nn.Parameter],
    loss: Callable[..., Tensor],
    data: Sequence[Tensor],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    optimiser: str = "adamw",
    schedule: str = "cosine",
    seed: int | torch.Generator = 0,
    progress: bool = False,
) -> list[float]:
    """Minimise ``loss`` over ``parameters`` in place, by minibatches without replacement.

    Parameters
    ----------
    loss : called as ``loss(*batch, generator)`` with the chosen rows of every tensor in ``data`` and the
        generator for whatever noise it draws (on the CPU); returns a scalar, the mean over the batch.
    data : tensors with one length along the first axis, on the parameters' device.
    schedule : "cosine" takes the learning rate from its value to zero over all steps, "constant" leaves it.
    seed : of the order of the batches and of the noise; the same seed gives the same weights on a CPU.

    Returns
    -------
    The mean loss of each epoch, weighted by the batches' lengths.

    Raises
    ------
    ValueError, TypeError : no parameters, no data or of different lengths, an argument out of its range.
    FloatingPointError : the loss is no longer finite; the weights are those before that step.
    """
    parameters, data = list(parameters), tuple(data)
    if not parameters:
        raise ValueError("parameters is empty: there is nothing to train")
    if not data or len({len(tensor) for tensor in data}) > 1 or len(data[0]) == 0:
        raise ValueError(f"data must be tensors of one length from 1 on, got lengths {[len(tensor) for tensor in data]}")
    epochs, batch_size = size("epochs", epochs), size("batch_size", batch_size)
    rate, decay = number("learning_rate", learning_rate, "positive"), number("weight_decay", weight_decay, "zero")
    step_with = _OPTIMISERS[choice("optimiser", optimiser, tuple(_OPTIMISERS))](parameters, rate, decay)
    steps = epochs * math.ceil(len(data[0]) / batch_size)
    shape = _SCHEDULES[choice("schedule", schedule, tuple(_SCHEDULES))]
    schedule_with = torch.optim.lr_scheduler.LambdaLR(step_with, lambda done: shape(min(done / steps, 1.0)))
    stream, history = generator(seed), []
    for epoch in tqdm(range(epochs), desc="training", disable=None if progress else True, leave=False):
        losses = []
        for chosen in torch.randperm(len(data[0]), generator=stream).split(batch_size):
            batch = [tensor[chosen.to(tensor.device)] for tensor in data]
            step_with.zero_grad(set_to_none=True)
            value = loss(*batch, stream)
            if not bool(value.isfinite()):
                raise FloatingPointError(f"the loss is {float(value.detach())} in epoch {epoch + 1}; use a smaller learning_rate")
            value.backward()
            step_with.step()
            schedule_with.step()
            losses.append(value.detach() * len(chosen))
        history.append(float(torch.stack(losses).sum() / len(data[0])))
    return history
