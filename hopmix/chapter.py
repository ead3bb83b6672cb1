"""The book's rooms: which chapters exist, and the address each has in the library and in the book.

A chapter is a package two levels below ``hopmix`` whose docstring's first line names its own page: ``hopmix.memory.hopfield_mixer``,
which names book/memory/hopfield_mixer.md, is the chapter "memory/hopfield_mixer". A package that names another page is a tool that
the chapters of its part share. Chapters are found by looking at the files, so nothing here knows a subject by name.

>>> page_of("memory/hopfield_mixer"), stem("memory/hopfield_mixer"), anchor("claim", "memory.hopfield_mixer.energy_rate")
('book/memory/hopfield_mixer', 'hopfield-mixer', 'claim-memory-hopfield-mixer-energy-rate')
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import hopmix


def _inside(folders: list[str]) -> list[tuple[str, bool]]:
    """(name, is a package) of the public modules in these folders; nothing is imported."""
    return [(found.name, found.ispkg) for found in iter_modules(folders) if not found.name.startswith("_")]


def _folders(chapter: str) -> list[str]:
    part, name = chapter.split("/")
    spec = find_spec(f"hopmix.{part}")
    return [str(Path(folder) / name) for folder in spec.submodule_search_locations or ()]


def chapters() -> tuple[str, ...]:
    """All chapters, sorted: ("memory/hopfield_mixer", …). Imports none of them."""
    found = []
    for part, is_package in _inside(list(hopmix.__path__)):
        if is_package:
            folders = find_spec(f"hopmix.{part}").submodule_search_locations or ()
            found += [f"{part}/{name}" for name, is_package in _inside(list(folders)) if is_package]
    return tuple(sorted(chapter for chapter in set(found) if _names_its_page(chapter)))


def _names_its_page(chapter: str) -> bool:
    # Read, not imported: listing the chapters must not load torch.
    for folder in _folders(chapter):
        source = Path(folder, "__init__.py")
        if source.is_file():
            docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
            return f"{page_of(chapter)}.md" in docstring.partition("\n")[0]
    return False


def modules_named(name: str) -> dict[str, ModuleType]:
    """Import ``hopmix.<part>.<chapter>.<name>`` of every chapter that has it; chapter -> module, in sorted order.

    Existence is decided by the files, so an ImportError inside such a module is never mistaken for its absence.
    """
    return {
        chapter: import_module(f"{package_of(chapter)}.{name}")
        for chapter in chapters()
        if name in {found for found, _ in _inside(_folders(chapter))}
    }


def package_of(chapter: str) -> str:
    """"memory/hopfield_mixer" -> "hopmix.memory.hopfield_mixer"."""
    return "hopmix." + chapter.replace("/", ".")


def page_of(chapter: str) -> str:
    """"memory/hopfield_mixer" -> "book/memory/hopfield_mixer", the page's name in the built book."""
    return f"book/{chapter}"


def stem(chapter: str) -> str:
    """The chapter's part of a label: "memory/hopfield_mixer" -> "hopfield-mixer"."""
    return chapter.split("/")[-1].replace("_", "-")


def anchor(kind: str, label: str) -> str:
    """The HTML id of a labelled thing: kind and label joined by "-", with "." and "_" turned into "-"."""
    return f"{kind}-{label}".replace(".", "-").replace("_", "-")
