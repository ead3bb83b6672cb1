"""Pictures of a memory's energy and of its retrieval (page: book/memory/hierarchical.md).

>>> import torch
>>> from hopmix.memory import three_layer_memory
>>> from hopmix.memory.plots import landscape, project
>>> memory = three_layer_memory(tokens=4, channels=6, token_hidden=8, channel_hidden=12).requires_grad_(False)
>>> first, second = memory.random_state(batch=2)
>>> surface = landscape(memory.energy, torch.zeros(4, 6, dtype=torch.float64), first, second, extent=2.0, size=25)
>>> surface.values.shape                                     # row: along second, column: along first
torch.Size([25, 25])
>>> bool(torch.allclose(project(first, surface.plane), torch.tensor([1.0, 0.0], dtype=torch.float64)))
True

``energy_landscape``, ``trajectories`` and ``retrieval_strip`` draw; they load matplotlib when they are first asked for.
"""

from importlib import import_module

from hopmix.memory.plots.surface import Landscape, Plane, landscape, plane, project

_DRAWING = ("energy_landscape", "trajectories", "retrieval_strip")

__all__ = ["Plane", "Landscape", "plane", "landscape", "project", *_DRAWING]


def __getattr__(name: str):
    if name in _DRAWING:
        return getattr(import_module("hopmix.memory.plots.figures"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
