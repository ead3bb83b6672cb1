"""Models from and to the state dicts of two public libraries (page: book/mixers/blocks.md).

The names were read in the sources of timm (``mlp_mixer.py``) and of Toshihiro-Ota/paramixer (``models/layers.py``,
``models/mixers.py``). What the entries mean is checked in the tests by a second forward pass, written from those sources
on the raw state dict; neither library is run, and no published checkpoint was available.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hopmix.arguments import available_device, check_finite, choice, size
from hopmix.mixers.blocks.block import ORDERS
from hopmix.mixers.blocks.model import Mixer

CONVENTIONS = ("timm", "paramixer")
_WEIGHTS = ("free", "symmetric", "asymmetric")


def from_state_dict(
    state_dict: Mapping[str, Tensor],
    convention: str,
    image_size: int | tuple[int, int] | None = None,
    patch_size: int | None = None,
    order: str | None = None,
    weights: str | None = None,
    n_iter: int = 1,
    drop_path: float = 0.0,
    device: torch.device | str | None = None,
) -> Mixer:
    """The model whose weights a state dict holds, in evaluation mode; tensors are copied.

    Parameters
    ----------
    convention : "timm" is its MlpMixer: serial, free weights, LayerNorm per token, biases everywhere.
        "paramixer" is karakida2024hierarchical's code: joint LayerNorm with elementwise gain, no biases in the branches.
        There ``fc2`` is (hidden, size) and the one tied weight of the symmetric model, and (size, hidden) and the
        breaking term of the asymmetric model, where ``fc1`` is tied.
    image_size : None is a square image, from the number of tokens.
    patch_size, order : None takes them from the state dict; otherwise they must agree with it.
    weights : "free", "symmetric" or "asymmetric". A state dict of "paramixer" with both fc1 and fc2 may be a free or an
        asymmetric model, and nothing in it tells which: then it must be given.
    n_iter : turns through each block, which the state dict does not tell either.
    device : None leaves the tensors where they are.

    Raises
    ------
    TypeError : an entry is no floating-point tensor, or its dtype is not that of the others.
    ValueError : naming the entries that are missing, unknown or of another shape, and arguments that do not fit.
    """
    choice("convention", convention, CONVENTIONS)
    _check_entries(state_dict)
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    depth = _depth(shapes)
    order = _agree("order", choice("order", order, ORDERS) if order is not None else None, _order_of(shapes, convention))
    weights = _weights(weights, shapes, convention)
    stem, (classes, _) = _shape(shapes, "stem.proj.weight", 4), _shape(shapes, "head.weight", 2)
    outer = _shape(shapes, "blocks.0.mlp_tokens.fc2.weight", 2)
    token_hidden, tokens = outer if weights == "symmetric" else outer[::-1]
    inner = _shape(shapes, "blocks.0.mlp_channels.fc2.weight", 2)
    channel_hidden = inner[0] if weights == "symmetric" else inner[1]
    patch_size = _agree("patch_size", None if patch_size is None else size("patch_size", patch_size), stem[2])
    model = Mixer(
        image_size=_image_size(image_size, patch_size, tokens),
        patch_size=patch_size,
        in_channels=stem[1],
        num_classes=classes,
        depth=depth,
        dim=stem[0],
        # The nearest ratios that round down to these numbers of hidden units.
        mlp_ratio=[(hidden + 0.5) / stem[0] for hidden in (token_hidden, channel_hidden)],
        order=order,
        weights=weights,
        norm="token" if convention == "timm" else "joint",
        n_iter=n_iter,
        bias=convention == "timm",
        drop_path=drop_path,
        device="meta",
        dtype=state_dict["stem.proj.weight"].dtype,
    )
    places = dict(_places(model))
    _check_shapes(shapes, {name: _published(module, key, transposed) for name, (module, key, transposed) in places.items()})
    device = available_device(device)
    for name, (module, key, transposed) in places.items():
        tensor = state_dict[name].detach()
        copy = (tensor.mT if transposed else tensor).to(device if device is not None else tensor.device).clone(memory_format=torch.contiguous_format)
        module.register_parameter(key, torch.nn.Parameter(copy))
    return model.eval()


def to_state_dict(model: Mixer, convention: str) -> dict[str, Tensor]:
    """The model's weights in the names and shapes of a convention, as ``from_state_dict`` reads them; tensors are copied.

    Raises
    ------
    ValueError : the convention has no such model; the message says why.
    """
    choice("convention", convention, CONVENTIONS)
    if not isinstance(model, Mixer):
        raise TypeError(f"model must be a Mixer, got {type(model).__name__}")
    block = model.blocks[0]
    norm = block.norm if block.order == "parallel" else block.token_norm
    found = {
        "order": block.order, "weights": block.token.weights, "norm": norm.norm, "gain": norm.kind,
        "activation": block.token.activation, "bias": block.token.bias is not None, "eps": norm.eps,
    }  # fmt: skip
    allowed = {"gain": ("elementwise",), "activation": ("gelu",), "eps": (1e-6,)}
    if convention == "timm":
        allowed |= {"order": ("serial",), "weights": ("free",), "norm": ("token",), "bias": (True,)}
    else:
        allowed |= {"weights": _WEIGHTS, "norm": ("joint",), "bias": (False,)}
    for argument, values in allowed.items():
        if found[argument] not in values:
            words = ", ".join(map(str, values))
            raise ValueError(f"model: {convention} has no Mixer with {argument} {found[argument]!r}; allowed: {words}")
    return {
        name: (getattr(module, key).mT if transposed else getattr(module, key)).detach().clone(memory_format=torch.contiguous_format)
        for name, (module, key, transposed) in _places(model)
    }


def _places(model: Mixer) -> Iterator[tuple[str, tuple[torch.nn.Module, str, bool]]]:
    """Published name -> (module, name of its parameter, whether the two are transposed), in the published order."""
    yield "stem.proj.weight", (model.stem, "weight", False)
    yield "stem.proj.bias", (model.stem, "bias", False)
    for number, block in enumerate(model.blocks):
        prefix = f"blocks.{number}"
        norms = {"norm": "norm"} if block.order == "parallel" else {"norm1": "token_norm", "norm2": "channel_norm"}
        for published, own in norms.items():
            yield f"{prefix}.{published}.weight", (getattr(block, own), "gain", False)
            yield f"{prefix}.{published}.bias", (getattr(block, own), "shift", False)
        for published, mixing in (("mlp_tokens", block.token), ("mlp_channels", block.channel)):
            if mixing.weights == "symmetric":
                yield f"{prefix}.{published}.fc2.weight", (mixing, "inward", False)
                continue
            second = "outward" if mixing.weights == "free" else "breaking"
            for layer, weight, bias in (("fc1", "inward", "hidden_bias"), ("fc2", second, "bias")):
                yield f"{prefix}.{published}.{layer}.weight", (mixing, weight, layer == "fc2")
                if mixing.bias is not None:
                    yield f"{prefix}.{published}.{layer}.bias", (mixing, bias, False)
    yield "norm.weight", (model.norm, "gain", False)
    yield "norm.bias", (model.norm, "shift", False)
    yield "head.weight", (model, "head_weight", False)
    yield "head.bias", (model, "head_bias", False)


def _published(module: torch.nn.Module, key: str, transposed: bool) -> tuple[int, ...]:
    shape = tuple(getattr(module, key).shape)
    return shape[::-1] if transposed else shape


def _check_entries(state_dict: object) -> None:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping from names to tensors, got {type(state_dict).__name__}")
    for name, tensor in state_dict.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            found = f"dtype {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"state_dict: {name} must be a floating-point torch.Tensor, got {found}")
        check_finite(f"state_dict: {name}", tensor)
    dtypes = {tensor.dtype: name for name, tensor in state_dict.items()}
    if len(dtypes) > 1:
        found = ", ".join(f"{dtype} ({name})" for dtype, name in dtypes.items())
        raise TypeError(f"state_dict: all entries must have one dtype, got {found}")


def _shape(shapes: dict[str, tuple[int, ...]], name: str, axes: int) -> tuple[int, ...]:
    if name not in shapes:
        raise ValueError(f"state_dict: missing {name}")
    if len(shapes[name]) != axes:
        raise ValueError(f"state_dict: {name} must have {axes} axes, got shape {shapes[name]}")
    return shapes[name]


def _depth(shapes: dict[str, tuple[int, ...]]) -> int:
    numbers = [int(match[1]) for name in shapes if (match := re.match(r"blocks\.(\d{1,4})\.", name))]
    if not numbers:
        raise ValueError("state_dict: missing blocks.0, there is no block")
    return max(numbers) + 1


def _order_of(shapes: dict[str, tuple[int, ...]], convention: str) -> str:
    return "serial" if convention == "timm" or "blocks.0.norm1.weight" in shapes else "parallel"


def _weights(weights: str | None, shapes: dict[str, tuple[int, ...]], convention: str) -> str:
    if weights is not None:
        choice("weights", weights, _WEIGHTS)
    if convention == "timm":
        return _agree("weights", weights, "free")
    if "blocks.0.mlp_tokens.fc1.weight" not in shapes:
        return _agree("weights", weights, "symmetric")
    if weights is None:
        raise ValueError("weights must be given: a state dict with fc1 and fc2 is a free or an asymmetric model, and does not tell which")
    if weights == "symmetric":
        raise ValueError("weights must be one of free, asymmetric for a state dict with fc1 and fc2; got 'symmetric'")
    return weights


def _agree(argument: str, given: object, found: object) -> object:
    if given is not None and given != found:
        raise ValueError(f"{argument} must be {found!r}, as in the state dict, got {given!r}")
    return found


def _image_size(given: int | tuple[int, int] | None, patch_size: int, tokens: int) -> int | tuple[int, int]:
    if given is None:
        side = round(tokens**0.5)
        if side * side != tokens:
            raise ValueError(f"image_size must be given: {tokens} tokens are no square")
        return side * patch_size
    return given


def _check_shapes(found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    problems = []
    if missing := [name for name in wanted if name not in found]:
        problems.append(f"missing {_some(missing)}")
    if unknown := [name for name in found if name not in wanted]:
        problems.append(f"unknown {_some(unknown)}")
    if wrong := [f"{name} {found[name]} (must be {wanted[name]})" for name in wanted if name in found and found[name] != wanted[name]]:
        problems.append(f"of another shape {_some(wrong)}")
    if problems:
        raise ValueError(f"state_dict: {'; '.join(problems)}")


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
