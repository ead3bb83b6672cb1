"""What every page of the site gets: how to cite it, its notebook, and nothing from the network.

- At the foot, "Cite this page": permalink and BibTeX of the page and of the sources it cites.
- Beside the page of a notebook, an .ipynb that a reader can run; links to Colab and Binder only where
  HOPMIX_REPOSITORY_URL names a public repository.
- Canonical addresses only where HOPMIX_SITE_URL is set.
"""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path

import jupytext
import nbformat

from hopmix import cite


def repository_url() -> str | None:
    """HOPMIX_REPOSITORY_URL, such as https://github.com/owner/name; None where it is unset.

    Raises:
        ValueError: for anything but the https address of an owner's repository.
    """
    url = os.environ.get("HOPMIX_REPOSITORY_URL", "").rstrip("/").removesuffix(".git")
    if not url:
        return None
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", url):
        raise ValueError(f"HOPMIX_REPOSITORY_URL must be like https://github.com/owner/name, not {url!r}")
    return url


def configure(app, config) -> None:
    # Raw cell outputs may hold formulas that Sphinx does not know of, so every page gets MathJax.
    app.set_html_assets_policy("always")
    if cite.site_url():
        config.html_baseurl = cite.site_url() + "/"
    if repository_url():
        config.html_theme_options.update(repository_url=repository_url(), use_repository_button=True)


def is_notebook(env, docname: str) -> bool:
    return "kernelspec" in env.metadata[docname]


def source_keys(env, docname: str) -> list[str]:
    """Keys of the sources that the page cites, in the order of their first mention."""
    references = env.get_domain("cite").citation_refs
    return list(dict.fromkeys(t.key for ref in references if ref.docname == docname for t in ref.targets))


def notebook_links(docname: str, source: str) -> str:
    """The line under the title: download, and launch where the repository is public."""
    name = docname.rpartition("/")[2]
    links = [f'<a href="{name}.ipynb" download>Download notebook</a>']
    url = repository_url()
    if url and url.startswith("https://github.com/"):
        path = url.removeprefix("https://github.com/")
        colab = f"https://colab.research.google.com/github/{path}/blob/gh-pages/{docname}.ipynb"
        binder = f"https://mybinder.org/v2/gh/{path}/HEAD?urlpath=lab/tree/{source}"
        links += [f'<a href="{colab}">Open in Colab</a>', f'<a href="{binder}">Open in Binder</a>']
    return f'<p class="hopmix-links">{" · ".join(links)}</p>'


def citation_block(app, docname: str) -> str:
    title = app.env.titles[docname].astext()
    item = cite.page(docname, title=title, source_keys=source_keys(app.env, docname))
    address = item.permalink if cite.site_url() else docname.rpartition("/")[2] + ".html"

    def bibtex(text: str) -> str:
        code = app.builder.highlighter.highlight_block(text, "bibtex")
        return f'<div class="highlight-bibtex notranslate">{code}</div>'

    parts = [
        '<section class="hopmix-cite"><details><summary>Cite this page</summary>',
        f'<p>Permalink: <a href="{escape(address)}">{escape(item.permalink)}</a></p>',
        bibtex(item.bibtex),
    ]
    if item.sources:
        parts += ["<p>The sources it cites:</p>", bibtex("\n\n".join(item.sources))]
    return "\n".join([*parts, "</details></section>"])


def name_equation_links(body: str) -> str:
    """Every permalink beside an equation says which equation it is: a screen reader reads a list of links without their neighbours."""
    return re.sub(r'(<span class="eqno">\(([^()<]+)\)<a class="headerlink")', r'\1 aria-label="Link to equation \2"', body)


def finish_page(app, pagename, templatename, context, doctree) -> None:
    if app.builder.name != "html" or doctree is None:
        return
    body = context["body"]
    if is_notebook(app.env, pagename) and pagename != app.config.root_doc:
        body = body.replace("</h1>", "</h1>\n" + notebook_links(pagename, app.env.doc2path(pagename, base=False)), 1)
    if 'class="hopmix-ledger"' in body:
        app.add_js_file("ledger.js", defer="defer")
    # The ledger's table marks the keys of its sources; where their entries stand is known only here.
    sources = app.builder.get_relative_uri(pagename, "book/bibliography")
    body = re.sub(r'<span class="claim-source" data-key="([^"]+)">([^<]+)</span>', rf'<a href="{sources}#cite-\1">\2</a>', body)
    body = name_equation_links(body)
    context["body"] = body + citation_block(app, pagename)


def runnable_notebook(source: Path) -> nbformat.NotebookNode:
    """The page as a notebook without outputs; where the repository is known, its first cell installs hopmix."""
    if source.suffix == ".md":
        notebook = jupytext.read(source, fmt={"extension": ".md", "format_name": "myst"})
    else:
        notebook = nbformat.read(source, as_version=4)
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    url = repository_url()
    if url:
        install = nbformat.v4.new_code_cell(f'%pip install --quiet "hopmix[train] @ git+{url}"')
        notebook.cells.insert(0, install)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # jupytext draws them at random: the file would change at every build
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def write_notebooks(app, exception) -> None:
    if exception or app.builder.name != "html":
        return
    for docname in app.env.found_docs:
        if is_notebook(app.env, docname):
            target = Path(app.outdir) / f"{docname}.ipynb"
            nbformat.write(runnable_notebook(Path(app.env.doc2path(docname))), target)


def setup(app):
    # Jupyter Book sets it for sphinx-comments, which is not loaded.
    app.add_config_value("comments_config", {}, "html")
    app.connect("config-inited", configure)
    # After the theme's own handlers, which set the body's neighbours.
    app.connect("html-page-context", finish_page, priority=900)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
