"""Networks of one shape, trained beside each other (page: book/mixers/wide_sparse.md)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.mixers.wide_sparse.networks import WideNetwork
from hopmix.training.loop import train


class Ensemble:
    """Networks of one shape with weights of their own, run as one: a small network alone would leave most time to overhead.

    Training minimises the sum of their losses with Adam, whose steps are entry by entry, so none sees another.
    """

    def __init__(self, networks: Sequence[WideNetwork]):
        self.parameters, self.buffers = torch.func.stack_module_state(list(networks))
        self._network = networks[0]

    def _call(self, parameters: dict, buffers: dict, x: Tensor, method: str) -> Tensor | list[Tensor]:
        named = [{f"network.{name}": value for name, value in group.items()} for group in (parameters, buffers)]
        return torch.func.functional_call(_Method(self._network, method), tuple(named), (x,))

    def __call__(self, x: Tensor, method: str = "forward"):
        """(members, batch, inputs) to what ``forward`` or ``hidden`` of each gives, the members along the first axis."""
        return torch.func.vmap(self._call, in_dims=(0, 0, 0, None))(self.parameters, self.buffers, x, method)

    def fit(self, x: Tensor, labels: Tensor, *, epochs: int, batch_size: int, learning_rate: float, seed: int) -> list[float]:
        """Train on x (samples, members, inputs) and labels (samples, members); returns the mean loss of each epoch."""
        members = x.shape[1]

        def loss(x: Tensor, labels: Tensor, _) -> Tensor:
            scores = self(x.transpose(0, 1))  # (members, batch, outputs)
            return members * F.cross_entropy(scores.flatten(0, 1), labels.T.flatten())

        return train(
            self.parameters.values(), loss, (x, labels), epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed
        )

    def accuracy(self, x: Tensor, labels: Tensor) -> Tensor:
        """The share of right answers of each member on x (samples, members, inputs): (members,)."""
        with torch.no_grad():
            scores = self(x.transpose(0, 1))
        return (scores.argmax(-1) == labels.T).double().mean(1)


class _Method(torch.nn.Module):
    """A module whose forward is another method of a network."""

    def __init__(self, network: WideNetwork, method: str):
        super().__init__()
        self.network, self.method = network, method

    def forward(self, x: Tensor):
        return getattr(self.network, self.method)(x)
