"""The table of contents, the pages' headers, and the names that pages and code use for each other."""

import json
import re
from pathlib import Path

import pytest
import yaml
from sphinx_external_toc.parsing import parse_toc_yaml

from hopmix.chapter import modules_named, page_of
from hopmix.cite import bibliography

ROOT = Path(__file__).parents[2]
TOC = list(parse_toc_yaml(ROOT / "_toc.yml"))
PAGES = [path for path in sorted((ROOT / "book").rglob("*.md")) if not path.relative_to(ROOT / "book").parts[0].startswith("_")]
LABS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOURCES = sorted((ROOT / "hopmix").rglob("*.py"))


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_toc_is_complete():
    assert sorted(TOC) == sorted(name(path.with_suffix("")) for path in [*PAGES, *LABS])


def test_chapters_with_a_derivation_claims_or_experiment_are_in_the_toc():
    rooms = {chapter for module in ("derivation", "claims", "experiment") for chapter in modules_named(module)}
    assert rooms and {page_of(chapter) for chapter in rooms} <= set(TOC)
    labs = {f"notebooks/{chapter.replace('/', '_')}" for chapter in modules_named("experiment")}
    assert labs <= set(TOC)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_with_cells_have_the_header_that_runs_them(page):
    text = page.read_text("utf-8")
    if re.search(r"^[`:]{3,}\{code-cell\}", text, re.MULTILINE):
        header = yaml.safe_load(text.split("---\n")[1])
        assert header["file_format"] == "mystnb" and header["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_have_one_title(page):
    text = re.sub(r"^(```+|~~~+).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# \S", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("lab", LABS, ids=name)
def test_labs_hold_a_scale_and_no_output(lab):
    cells = [cell for cell in json.loads(lab.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    parameters = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(parameters) == 1 and "scale" in "".join(parameters[0]["source"])


def test_pages_named_in_the_code_exist():
    named = {page for path in SOURCES for page in re.findall(r"\(page: ([\w/.-]+)\)", path.read_text("utf-8"))}
    assert named and [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def test_sources_named_in_the_code_are_in_the_bibliography():
    """Keys are authorYEARword, so they can be told from other words."""
    known = bibliography()
    used = {key for path in SOURCES for key in re.findall(r"\b[a-z]{2,}(?:19|20)\d\d[a-z]{2,}\b", path.read_text("utf-8"))}
    assert used and sorted(used - set(known)) == []


def test_no_equation_is_quoted_by_number():
    """Numbers change when a chapter grows; labels do not. Numbers of equations in the literature come with their source."""
    quoted = [(name(p), m) for p in PAGES for m in re.findall(r"(?:[Ee]quation|[Ee]q\.)\s*\(?\d+\.\d+\)?", p.read_text("utf-8"))]
    assert quoted == []
