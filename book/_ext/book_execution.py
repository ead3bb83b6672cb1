"""Which executed cells may be reused, and running the others on all cores.

The execution cache knows a page by its cells alone, so an edit of the library would leave the old output on
every page. Here the cache lies in a folder named by a digest of all that the cells can see: the library,
committed results, the bibliography, the addresses of the site and the repository and the versions of the numerical packages.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from hopmix.provenance import source_digest

ROOT = Path(__file__).resolve().parents[2]
SEEN_BY_CELLS = ("matplotlib", "numpy", "scikit-learn", "scipy", "sympy", "torch")
READERS = {".md": "myst_nb_md", ".ipynb": "nbformat"}


def cache_folder(root: Path = ROOT) -> Path:
    """The folder of the execution cache that is valid now (it may not exist yet)."""
    addresses = [os.environ.get(name, "") for name in ("HOPMIX_SITE_URL", "HOPMIX_REPOSITORY_URL")]
    seen = [source_digest(), {name: version(name) for name in SEEN_BY_CELLS}, addresses]
    for path in sorted([root / "book" / "references.bib", *(root / "results").glob("**/*.json")]):
        if ".partial" not in path.parts:
            seen.append([path.relative_to(root).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()])
    digest = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
    return root / "_build" / "cells" / digest[:20]


def pages_with_cells(root: Path = ROOT) -> list[Path]:
    """The pages of the table of contents that have code, chapters and labs before the pages that sum them up.

    The landing page, the ledger and the errata show every claim; they come last, when the chapters have
    already computed theirs.
    """
    from myst_nb.core.read import is_myst_markdown_notebook
    from sphinx_external_toc.parsing import parse_toc_yaml

    pages = []
    for name in parse_toc_yaml(root / "_toc.yml"):
        path = next((path for suffix in READERS if (path := root / f"{name}{suffix}").is_file()), None)
        if path is None:
            raise FileNotFoundError(f"_toc.yml names the page {name}, but there is neither {name}.md nor {name}.ipynb")
        if path.suffix == ".ipynb" or is_myst_markdown_notebook(path.read_text("utf-8")):
            pages.append(path)
    return sorted(pages, key=lambda path: path.parent == root / "book")


def fill(root: Path = ROOT, timeout: int = 300) -> None:
    """Run every page that the cache does not hold yet, one process per core, and drop the caches of other versions.

    Raises:
        SystemExit: naming each page that failed, with the traceback of its cell.
    """
    from jupyter_cache import get_cache
    from jupyter_cache.executors.utils import create_cache_bundle, single_nb_execution
    from traitlets.config import Config

    folder = cache_folder(root)
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    cache = get_cache(folder)

    # Without it a kernel warns that other users of the machine could read along.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})

    def run(notebook):
        folder = str(Path(notebook.uri).parent)
        return single_nb_execution(notebook.nb, cwd=folder, timeout=timeout, allow_errors=False, config=config)

    failures = []
    pages = pages_with_cells(root)
    for summaries in (False, True):
        todo = []
        for path in pages:
            if (path.parent == root / "book") is summaries:
                read = {"type": "plugin", "name": READERS[path.suffix]}
                notebook = cache.get_project_notebook(cache.add_nb_to_project(str(path), read_data=read).pk)
                try:
                    cache.match_cache_notebook(notebook.nb)
                except KeyError:
                    todo.append(notebook)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for notebook, result in zip(todo, pool.map(run, todo)):
                name = Path(notebook.uri).relative_to(root).as_posix()
                if result.err:
                    failures.append(f"{name}\n{result.exc_string}")
                    print(f"failed {name}", file=sys.stderr)
                else:
                    bundle = create_cache_bundle(notebook, result.cwd, None, result.time, None)
                    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
                    print(f"ran {name} ({result.time:.0f} s)")
    if failures:
        raise SystemExit("\n".join(failures))


def choose_cache(app, config) -> None:
    config.nb_execution_cache_path = str(cache_folder(Path(app.srcdir)))


def setup(app):
    app.connect("config-inited", choose_cache)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
