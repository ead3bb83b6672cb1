"""A linear layer with connections at random places (page: book/mixers/wide_sparse.md)."""

import scipy.sparse
import torch
from torch import Tensor

from hopmix.arguments import available_device, generator, size
from hopmix.mixers.kronecker.wide_linear import WideLinear, as_array, normal_weight

# Above this density one dense product is faster than gathering and scattering; it costs memory, not connections.
_DENSE_FROM = 0.03


class SparseLinear(WideLinear):
    """x -> (M * A) x with a static random mask M that has exactly ``connections`` ones, anywhere.

    Only the values at the ones exist, so training cannot leave the mask. Their variance is gain^2 over the mean number of
    connections of an output, connections / outputs.

    Parameters
    ----------
    connections : from 1 to inputs * outputs.

    Shape: (batch, inputs) to (batch, outputs). ``values`` is (connections,); the buffer ``places`` has their positions row by row,
    frozen, in the state dict, drawn from the seed before the values. Source: golubeva2021wider.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        connections: int,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        wide, high, count = size("inputs", inputs), size("outputs", outputs), size("connections", connections)
        if count > wide * high:
            raise ValueError(f"connections must be at most inputs * outputs = {wide * high}, got {connections!r}")
        super().__init__(wide, high, count)
        stream = generator(seed)
        self.register_buffer("places", _subset(wide * high, count, stream).to(available_device(device)))
        self.values = normal_weight(count, fan_in=count / high, gain=gain, seed=stream, device=device, dtype=dtype)

    def _apply_to(self, x: Tensor) -> Tensor:
        if self.density >= _DENSE_FROM:
            matrix = torch.zeros(self.outputs * self.inputs, dtype=self.values.dtype, device=self.values.device)
            return x @ matrix.scatter(0, self.places, self.values).reshape(self.outputs, self.inputs).mT
        sent = x.mT.index_select(0, self.places % self.inputs) * self.values[:, None]  # (connections, batch)
        return torch.zeros(self.outputs, len(x), dtype=sent.dtype, device=sent.device).index_add(0, self.places // self.inputs, sent).mT

    def matrix(self) -> scipy.sparse.csr_array:
        places = self.places.cpu().numpy()
        return scipy.sparse.csr_array((as_array(self.values), (places // self.inputs, places % self.inputs)), shape=(self.outputs, self.inputs))


def _subset(population: int, count: int, stream: torch.Generator) -> Tensor:
    """A sorted subset of 0 … population - 1 with ``count`` members, each as likely, without a list of all where few are wanted."""
    if 4 * count >= population:
        return torch.randperm(population, generator=stream)[:count].sort().values
    # Draw with repetition in order of arrival until enough distinct ones have come: the first of them are a random subset.
    drawn = torch.randint(population, (2 * count,), generator=stream)
    while True:
        distinct, place = drawn.unique(return_inverse=True)
        if len(distinct) >= count:
            arrival = torch.full((len(distinct),), len(drawn)).scatter_reduce(0, place, torch.arange(len(drawn)), "amin")
            return distinct[arrival.argsort()[:count]].sort().values
        drawn = torch.cat([drawn, torch.randint(population, (count,), generator=stream)])
