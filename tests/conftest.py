"""A small house of its own for tests of the machinery: parts and chapters that exist for one test only."""

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import settings

import hopmix
import hopmix.derivation  # before a test hides the real sources from the importer
from hopmix import cite

# No test is timed, and a busy machine is no error.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")


class House:
    """Chapters written by a test; while it lives, discovery and source digests see them alone."""

    def __init__(self, root: Path):
        self.sources = root / "sources"
        self.book = root / "book"
        for folder in (self.sources, self.book):
            folder.mkdir()
        (self.book / "references.bib").write_text("@misc{digger2001holes, title={Holes}, year={2001}}\n@book{owl1999night, title={Night}}\n")

    def chapter(self, address: str, page: str | None = None, **modules: str) -> None:
        """Write hopmix.<part>.<chapter> with the given modules, and the chapter's page."""
        part, name = address.split("/")
        package = self.sources / part / name
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").write_text(f'"""The room of {name} (page: book/{address}.md)."""\n')
        for module, text in modules.items():
            (package / f"{module}.py").write_text(dedent(text))
        self.page(address, page or f"# The page of {name}\n")
        importlib.invalidate_caches()

    def page(self, name: str, text: str) -> None:
        path = self.book / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


@pytest.fixture
def house(tmp_path, monkeypatch):
    for variable in ("HOPMIX_EVIDENCE", "HOPMIX_SITE_URL", "HOPMIX_REPOSITORY_URL"):
        monkeypatch.delenv(variable, raising=False)
    made = House(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(hopmix, "__path__", [str(made.sources)])
    monkeypatch.setattr(cite, "book_root", lambda: made.book)
    yield made
    for name in set(sys.modules) - before:
        if name.startswith("hopmix."):
            del sys.modules[name]
    for part in made.sources.iterdir():
        vars(hopmix).pop(part.name, None)
