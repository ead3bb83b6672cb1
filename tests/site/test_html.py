"""The site's files: every link and anchor arrives, every equation can be linked to, every notebook is there."""

import functools
import json
import re
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup

from hopmix import cite


@functools.cache
def soup(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@functools.cache
def anchors(path):
    return {element["id"] for element in soup(path).find_all(id=True)}


def test_links_arrive(site, docname):
    page = site / f"{docname}.html"
    broken = []
    for element in soup(page).find_all(["a", "img", "script", "link", "source"]):
        target = element.get("href") or element.get("src")
        parts = urlsplit(target or "")
        if not target or parts.scheme in ("data", "mailto"):
            continue
        if parts.scheme or parts.netloc:
            # Addresses elsewhere may be linked to, never loaded.
            assert element.name == "a", f"{docname} loads {target}"
            continue
        path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not path.is_file() or (parts.fragment and path.suffix == ".html" and unquote(parts.fragment) not in anchors(path)):
            broken.append(target)
    assert not broken


def test_equations_have_permalinks(site, docname):
    labelled = soup(site / f"{docname}.html").select("div.math[id]")
    for equation in labelled:
        link = equation.select_one("a.headerlink")
        assert link["href"] == f"#{equation['id']}"
    if docname.startswith("book/memory/"):
        assert labelled


def test_no_address_is_invented(site, docname):
    text = (site / f"{docname}.html").read_text("utf-8")
    assert 'rel="canonical"' not in text and "thebe" not in text.lower()


def test_page_ends_with_its_citation(site, docname):
    block = soup(site / f"{docname}.html").select_one(".hopmix-cite")
    assert block.select_one("pre").get_text().startswith("@misc{hopmix-")
    assert block.select_one("p a")["href"] == docname.rpartition("/")[2] + ".html"


def test_notebooks_can_be_run(site, docname):
    """Each page with cells has a valid notebook beside it, with all its cells and no output."""
    source = next(path for suffix in (".md", ".ipynb") if (path := site.parents[1] / f"{docname}{suffix}").is_file())
    cells = len(re.findall(r"^```\{code-cell\}", source.read_text("utf-8"), re.MULTILINE)) if source.suffix == ".md" else None
    if source.suffix == ".ipynb":
        cells = sum(cell["cell_type"] == "code" for cell in json.loads(source.read_text("utf-8"))["cells"])
    target = site / f"{docname}.ipynb"
    assert target.is_file() == bool(cells)
    if cells:
        notebook = nbformat.read(target, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert len(code) == cells and not any(cell.outputs for cell in code)
        assert notebook.metadata.kernelspec.name == "python3"


@functools.cache
def executed(build):
    """The code of each page in the execution cache, with the counts that its kernel gave the cells."""
    pages = (nbformat.read(path, as_version=4) for path in build.glob("cells/*/executed/*/base.ipynb"))
    codes = ([cell for cell in page.cells if cell.cell_type == "code"] for page in pages)
    return {tuple(cell.source.strip() for cell in code): [cell.execution_count for cell in code] for code in codes}


def test_every_cell_was_run(site, docname):
    path = site / f"{docname}.ipynb"
    if path.is_file():
        code = tuple(cell.source.strip() for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        assert executed(site.parent)[code] == list(range(1, len(code) + 1))
        assert len(soup(site / f"{docname}.html").select("div.cell")) >= len(code)


def test_pictures_have_words(site, docname):
    article = soup(site / f"{docname}.html").find("article")
    assert [image["src"] for image in article.find_all("img") if not image.get("alt", "").strip()] == []


def test_every_label_arrives(site, monkeypatch):
    """What hopmix cite prints for each label is an address on the site."""
    monkeypatch.delenv("HOPMIX_SITE_URL", raising=False)
    lost = []
    for label, citation in cite.citations().items():
        page, _, fragment = citation.permalink.partition("#")
        path = site / unquote(page)
        if not path.is_file() or (fragment and fragment not in anchors(path)):
            lost.append(label)
    assert lost == []
