"""The book's own Sphinx extensions, without Sphinx."""

import os
import subprocess
import sys

import nbformat
import pytest

HEADER = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n  display_name: Python 3\n---\n"


@pytest.fixture(autouse=True)
def extensions(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath / "book" / "_ext")
    for variable in ("HOPMIX_SITE_URL", "HOPMIX_REPOSITORY_URL"):
        monkeypatch.delenv(variable, raising=False)


def test_links_to_services_need_a_repository(monkeypatch):
    import book_pages

    assert book_pages.notebook_links("book/a/b", "book/a/b.md").count("<a") == 1
    monkeypatch.setenv("HOPMIX_REPOSITORY_URL", "https://github.com/owner/name.git")
    links = book_pages.notebook_links("book/a/b", "book/a/b.md")
    assert "/github/owner/name/blob/gh-pages/book/a/b.ipynb" in links and "/gh/owner/name/HEAD?urlpath=lab/tree/book/a/b.md" in links


@pytest.mark.parametrize("wrong", ["github.com/owner/name", "http://github.com/owner/name", 'https://github.com/owner/"name', "https://github.com/owner"])
def test_wrong_repository(monkeypatch, wrong):
    import book_pages

    monkeypatch.setenv("HOPMIX_REPOSITORY_URL", wrong)
    with pytest.raises(ValueError, match="HOPMIX_REPOSITORY_URL must be like"):
        book_pages.repository_url()


def test_notebook_installs_only_from_a_known_repository(monkeypatch, tmp_path):
    import book_pages

    page = tmp_path / "page.md"
    page.write_text(HEADER + "# Title\n\n```{code-cell} ipython3\n:tags: [remove-input]\n\n1 + 1\n```\n")
    notebook = book_pages.runnable_notebook(page)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [("markdown", "# Title"), ("code", "1 + 1")]
    assert nbformat.writes(notebook) == nbformat.writes(book_pages.runnable_notebook(page))
    monkeypatch.setenv("HOPMIX_REPOSITORY_URL", "https://github.com/owner/name")
    assert book_pages.runnable_notebook(page).cells[0].source == '%pip install --quiet "hopmix[train] @ git+https://github.com/owner/name"'


def test_cache_follows_what_cells_can_see(monkeypatch, tmp_path):
    import book_execution

    (tmp_path / "book").mkdir()
    (tmp_path / "results").mkdir()
    references = tmp_path / "book" / "references.bib"
    references.write_text("@misc{a}")
    seen = [book_execution.cache_folder(tmp_path)]
    assert book_execution.cache_folder(tmp_path) == seen[0]
    for change in (
        lambda: references.write_text("@misc{b}"),
        lambda: (tmp_path / "results" / "run.json").write_text("{}"),
        lambda: monkeypatch.setenv("HOPMIX_SITE_URL", "https://example.org"),
        lambda: monkeypatch.setattr(book_execution, "source_digest", lambda: "another library"),
    ):
        change()
        seen.append(book_execution.cache_folder(tmp_path))
    assert len(set(seen)) == len(seen)


def test_summaries_run_after_the_chapters(tmp_path):
    import book_execution

    pages = {"book/index": HEADER, "book/plain": "", "book/memory/room": HEADER}
    for name, header in pages.items():
        path = tmp_path / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + "# Title\n")
    toc = "format: jb-book\nroot: book/index\nchapters:\n- file: book/plain\n- file: book/memory/room\n"
    (tmp_path / "_toc.yml").write_text(toc)
    assert [path.stem for path in book_execution.pages_with_cells(tmp_path)] == ["room", "index"]
    (tmp_path / "_toc.yml").write_text(toc + "- file: book/gone\n")
    with pytest.raises(FileNotFoundError, match="book/gone"):
        book_execution.pages_with_cells(tmp_path)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("(batch, *shape) of x_", [r"(batch, \*shape) of x\_", ""]),
        ("The `gain` of ``eps`` in $x_a$s.", [r"The ``gain`` of ``eps`` in :math:`x_a`\ s.", ""]),
        ("A page (page: book/memory/room.md).", ["A page (:doc:`/book/memory/room`).", ""]),
        ("Words:\n\n    x = 1*2", ["Words:", "", "::", "", "        x = 1*2", ""]),
        (">>> 2*3\n6", [">>> 2*3", "6", ""]),
        ("Raises\n------\nValueError : a *\n    and b.\n", ["**Raises**", "", "``ValueError``", r"    a \* and b.", ""]),
        ("- one *\n  more\n- two", [r"- one \* more", "- two", ""]),
    ],
)
def test_docstrings(text, expected):
    import book_docstrings

    assert book_docstrings.restructured(text) == expected


def test_permalinks_of_equations_say_which():
    import book_pages

    link = '<span class="eqno">(1.7)<a class="headerlink" href="#equation-a" title="Link to this equation">#</a></span>'
    named = book_pages.name_equation_links(f'{link}<h2>(2)<a class="headerlink" href="#b">#</a></h2>')
    assert named.count("aria-label") == 1 and 'class="headerlink" aria-label="Link to equation 1.7" href="#equation-a"' in named


@pytest.mark.parametrize(("variable", "value"), [("HOPMIX_SITE_URL", "https://a:b"), ("HOPMIX_REPOSITORY_URL", "github.com/owner/name")])
def test_wrong_settings_end_the_build_before_it_starts(monkeypatch, request, variable, value):
    script = request.config.rootpath / "book" / "_ext" / "build.py"
    done = subprocess.run([sys.executable, script, "html"], capture_output=True, text=True, env={**os.environ, variable: value}, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(variable) and repr(value) in done.stderr
