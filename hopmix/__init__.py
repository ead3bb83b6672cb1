"""hopmix: an executable book, and its library, on how hierarchical associative memories become MLP-Mixers.

Importing this package imports nothing else: a part (``hopmix.memory``, …) is loaded when it is first named.

>>> import hopmix
>>> hopmix.__version__
'0.1.0'
"""

__version__ = "0.1.0"
__date__ = "2026-11-24"


def __getattr__(name: str):
    from importlib import import_module
    from importlib.util import find_spec

    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module 'hopmix' has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    from pkgutil import iter_modules

    return sorted({*globals(), *(module.name for module in iter_modules(__path__))})
