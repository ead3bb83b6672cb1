"""Citing: from any label (page, chapter, equation, theorem, claim, erratum, figure) to a permalink and to BibTeX for it and its sources.

The address of the published site is one setting, the environment variable HOPMIX_SITE_URL. Without it links are relative and the
BibTeX has no url: nothing is invented.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import hopmix
from hopmix.chapter import anchor, chapters, page_of, stem
from hopmix.claim import claims, errata, source_keys

AUTHOR = "The hopmix authors"


class UnknownLabel(KeyError):
    """A label that nothing in the book has; the message names the nearest ones."""

    def __str__(self) -> str:
        return self.args[0]


@dataclass(frozen=True)
class Citation:
    """One citable thing. kind: page, chapter, equation, theorem, claim, erratum or figure; sources: the raw BibTeX entries of source_keys."""

    label: str
    kind: str
    title: str
    permalink: str
    bibtex: str
    sources: tuple[str, ...] = ()
    source_keys: tuple[str, ...] = ()


def site_url() -> str | None:
    """HOPMIX_SITE_URL without a final slash, None if it is not set. Raises ValueError unless it is an http(s) address."""
    text = os.environ.get("HOPMIX_SITE_URL", "")
    if not text:
        return None
    if not _is_site(text):
        raise ValueError(f"HOPMIX_SITE_URL: {text!r} is no address of a site; allowed: http://… or https://…, without ? and #")
    return text.rstrip("/")


def _is_site(text: str) -> bool:
    # Braces, quotes and spaces would break out of the BibTeX and HTML the address is put into.
    if re.search(r"[\s{}\"'<>\\?#]", text):
        return False
    try:
        parts = urlsplit(text)
        sound = parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:  # a port that is no number, half a bracket
        return False
    return sound and parts.scheme in ("http", "https") and bool(parts.hostname)


def permalink(docname: str, fragment: str = "") -> str:
    """The address of a page ("book/memory/hopfield_mixer") or of an anchor on it; relative to the site's root without a site address.

    Raises ValueError for an empty name of a page.
    """
    if not docname.strip("/ "):
        raise ValueError(f"docname: {docname!r} names no page; allowed: one such as 'book/index'")
    address = f"{quote(docname.strip('/'))}.html" + (f"#{quote(fragment)}" if fragment else "")
    return f"{site_url()}/{address}" if site_url() else address


def book_root() -> Path:
    """The folder with the book's pages: in the installed package, else in the checkout. Raises FileNotFoundError without either."""
    package = Path(hopmix.__file__).resolve().parent
    for folder in (package / "_book", package.parent / "book"):
        if (folder / "references.bib").is_file():
            return folder
    raise FileNotFoundError("the book's pages are neither in the installed package nor beside it; install hopmix from a wheel or run it in its checkout")


def bibliography() -> dict[str, str]:
    """key -> raw entry of the book's references.bib."""
    return dict(_parsed((book_root() / "references.bib").read_text(encoding="utf-8")))


@lru_cache(maxsize=1)
def _parsed(text: str) -> dict[str, str]:
    return parse_bibtex(text)


def parse_bibtex(text: str) -> dict[str, str]:
    """Split BibTeX into raw entries by counting braces; text between entries is a comment, as BibTeX has it.

    Raises ValueError for an entry that never ends or stands in parentheses, and for a key used twice.

    >>> parse_bibtex("@misc{a1, title={On {B}}}  words  @book{b2, year=1999}")
    {'a1': '@misc{a1, title={On {B}}}', 'b2': '@book{b2, year=1999}'}
    """
    entries: dict[str, str] = {}
    # An address such as name@host is no entry, nor are words in parentheses, which have no key with a comma.
    start = re.compile(r"(?<!\w)@(\w+)\s*(?:\{\s*([^\s,{}]*)|\(\s*([^\s,(){}=]+)\s*,)")
    position = 0
    while match := start.search(text, position):
        if match[3]:
            if match[1].lower() != "comment":
                raise ValueError(f"text: the BibTeX entry {match[3]!r} stands in parentheses; allowed: @{match[1]}{{…}}")
            position = match.end()
            continue
        depth, position = 0, text.index("{", match.start())
        while True:
            if position >= len(text):
                raise ValueError(f"text: the BibTeX entry {match[2]!r} never ends; allowed: as many }} as {{")
            if text[position] == "\\":
                position += 1
            elif text[position] in "{}":
                depth += 1 if text[position] == "{" else -1
            position += 1
            if depth == 0:
                break
        if match[1].lower() in ("comment", "preamble", "string"):
            continue
        if match[2] in entries:
            raise ValueError(f"text: the BibTeX key {match[2]!r} is used twice; allowed: once")
        entries[match[2]] = text[match.start() : position]
    return entries


def page(docname: str, title: str | None = None, source_keys: tuple[str, ...] = ()) -> Citation:
    """The citation of a whole page, a chapter's or another.

    title: by default the first heading of the page's text. Raises UnknownLabel for a page without title or text, KeyError for a
    source that is not in the bibliography.
    """
    chapter = docname.removeprefix("book/")
    is_chapter = docname != chapter and chapter in chapters()
    title = title or _titles().get(docname)
    if not title:
        raise UnknownLabel(_unknown(docname, list(_titles())))
    kind, label = ("chapter", chapter) if is_chapter else ("page", docname)
    return _citation(label, kind, title, docname, "", source_keys)


def find(label: str) -> Citation:
    """The citation of a label, of the HTML anchor that ends a permalink, or of a page by its file ("book/memory/hopfield_mixer.md").

    Raises UnknownLabel, naming the nearest labels, and TypeError for what is no text.
    """
    if not isinstance(label, str):
        raise TypeError(f"label: {label!r} is {type(label).__name__}; allowed: str")
    known = []
    wanted = label.removesuffix(".md")
    for name, fragment, make in _items():
        if wanted in (name, fragment) and wanted:
            return make()
        known.append(name)
    raise UnknownLabel(_unknown(label, known))


def labels() -> list[str]:
    """Everything that can be cited: pages, chapters, equations, theorems, claims, errata and figures, sorted."""
    return sorted(name for name, _, _ in _items())


def citations() -> dict[str, Citation]:
    """Everything that can be cited, by label: one walk, where ``find`` walks for each label."""
    return {name: make() for name, _, make in _items()}


def nearest(name: str, known: list[str]) -> list[str]:
    """Up to three known names that look like ``name`` or hold it, the most alike first.

    >>> nearest("memroy", ["memory", "mixers"]), nearest("rate", ["memory.energy_rate", "gelu"])
    (['memory'], ['memory.energy_rate'])
    """
    alike = get_close_matches(name, known, n=3, cutoff=0.55)
    return [*alike, *(other for other in known if name and name in other and other not in alike)][:3]


def did_you_mean(name: str, known: list[str]) -> str:
    """A closing clause for an error about an unknown name."""
    alike = nearest(name, known)
    return f"; the nearest: {', '.join(alike)}" if alike else f"; there are {len(known)}, none like it: see hopmix list"


def _unknown(label: str, known: list[str]) -> str:
    return f"label: nothing is called {label!r}{did_you_mean(label, known)}"


def _items() -> Iterator[tuple[str, str, partial]]:
    """(label, anchor, how to make its citation) of all there is, cheapest to find first."""
    known = chapters()
    for docname, title in _titles().items():
        if docname.removeprefix("book/") in known:
            chapter = docname.removeprefix("book/")
            yield chapter, docname, partial(_chapter, chapter, title)
        else:
            yield docname, "", partial(page, docname)
    for docname, figure, title in _figures():
        yield figure, "", partial(_on_page, figure, "figure", title, docname)
    for docname, theorem, title in _theorems():
        yield theorem, "", partial(_on_page, theorem, "theorem", title, docname)
    for claim in claims():
        fragment = anchor("claim", claim.name)
        yield claim.name, fragment, partial(_citation, claim.name, "claim", claim.statement, "book/ledger", fragment, source_keys(claim.source))
    for entry in errata():
        fragment = anchor("erratum", entry.name)
        title = f"Erratum: {entry.where}"
        yield entry.name, fragment, partial(_citation, entry.name, "erratum", title, "book/errata", fragment, source_keys(entry.source))
    for chapter, derivation in _derivations().items():
        for step in derivation.steps:
            label = derivation.label(step.id)
            keys = source_keys(step.source) or source_keys(derivation.sources)
            title = f"{derivation.title}: equation {step.id}"
            yield label, f"equation-{label}", partial(_citation, label, "equation", title, page_of(chapter), f"equation-{label}", keys)


def _chapter(chapter: str, title: str) -> Citation:
    return page(page_of(chapter), title, _sources_of(chapter))


def _on_page(label: str, kind: str, title: str, docname: str) -> Citation:
    return _citation(label, kind, title, docname, label, _sources_of(docname.removeprefix("book/")))


def _sources_of(chapter: str) -> tuple[str, ...]:
    derivation = _derivations().get(chapter)
    return source_keys(derivation.sources) if derivation else ()


def _derivations() -> dict:
    from hopmix.derivation import derivations  # loads sympy

    return derivations()


def _pages() -> Iterator[tuple[str, str]]:
    """(docname, text) of the book's pages; folders that start with _ hold no pages."""
    root = book_root()
    for path in sorted(root.rglob("*.md")):
        inside = path.relative_to(root)
        if not any(part.startswith(("_", ".")) for part in inside.parts):
            yield f"book/{inside.with_suffix('').as_posix()}", path.read_text(encoding="utf-8")


def _titles() -> dict[str, str]:
    titles = {}
    for docname, text in _pages():
        heading = re.search(r"^# +(.+?)\s*$", re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
        titles[docname] = heading[1] if heading else docname
    return titles


def _figures() -> Iterator[tuple[str, str, str]]:
    """(docname, label, title) of the figures that the pages name."""
    titles = _titles()
    for docname, text in _pages():
        for match in re.finditer(r"^\s*:?name: *[\"']?(fig-[a-z0-9-]+)", text, re.MULTILINE):
            prefix = f"fig-{stem(docname)}-"
            yield docname, match[1], f"{titles[docname]}: figure, {match[1].removeprefix(prefix).removeprefix('fig-').replace('-', ' ')}"


def _theorems() -> Iterator[tuple[str, str, str]]:
    """(docname, label, title) of the theorems and propositions of the pages; proofs belong to them."""
    titles = _titles()
    for docname, text in _pages():
        for match in re.finditer(r"^:::+\{prf:(?!proof)\w+\} *(.*)\n:label: *(\S+)", text, re.MULTILINE):
            yield docname, match[2], f"{titles[docname]}: {match[1] or match[2]}"


def _citation(label: str, kind: str, title: str, docname: str, fragment: str, source_keys: tuple[str, ...] = ()) -> Citation:
    entries = bibliography() if source_keys else {}
    for key in source_keys:
        if key not in entries:
            raise KeyError(f"source: {label} cites {key!r}, which is not in references.bib{did_you_mean(key, list(entries))}")
    link = permalink(docname, fragment)
    keys = tuple(dict.fromkeys(source_keys))
    return Citation(label, kind, title, link, _bibtex(label, kind, title, link), tuple(entries[key] for key in keys), keys)


def _bibtex(label: str, kind: str, title: str, link: str) -> str:
    day = date.fromisoformat(hopmix.__date__)
    fields = {
        "title": f"{{{latex_text(title)}}}",
        "author": f"{{{AUTHOR}}}",
        "year": str(day.year),
        "month": str(day.month),
        "date": hopmix.__date__,
        "version": hopmix.__version__,
        "howpublished": "hopmix, an executable book",
        "note": f"{kind.capitalize()} {latex_text(label)}, version {hopmix.__version__}",
    }
    if site_url():
        fields["url"] = link
    key = "hopmix-" + re.sub(r"[^A-Za-z0-9-]+", "-", label)
    return f"@misc{{{key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items()) + "}"


_LATEX = {"\\": r"\textbackslash{}", **{c: f"\\{c}" for c in "&%#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "$": r"\$"}


def latex_text(text: str) -> str:
    """Page text as LaTeX: everything special escaped except mathematics between dollars, whose braces are kept balanced.

    >>> latex_text(r"50 % of a_b and $x_{i} < 1$")
    '50 \\\\% of a\\\\_b and $x_{i} < 1$'
    """
    pieces = re.split(r"(\$\$?(?:\\.|[^$\\])+\$\$?)", " ".join(text.split()))
    return "".join(piece if i % 2 and _balanced(piece) else "".join(_LATEX.get(c, c) for c in piece) for i, piece in enumerate(pieces))


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0
