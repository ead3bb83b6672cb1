"""Every label leads to a permalink and to BibTeX that another BibTeX reader accepts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pybtex.database import parse_string

import hopmix
from hopmix import cite
from hopmix.cite import UnknownLabel, bibliography, find, labels, latex_text, nearest, page, parse_bibtex, permalink, site_url

CLAIMS = """
    from hopmix.claim import Evidence, Refutation, claim, erratum
    @claim(statement="Of 3 % & $x_{i}$ _many_ #1 {holes}", source="digger2001holes, p. 3; owl1999night", kind="finding")
    def deep_holes():
        return Evidence.at_least("x", 1, 0)
    @erratum(source="owl1999night", where="Eq. 4 of chapter 2", says="a", corrected="b")
    def night_sum():
        return Refutation(Evidence.at_most("x", 1, 0), Evidence.at_most("x", 0, 0))
"""
DERIVATION = """
    import sympy as sp
    from hopmix.derivation import Derivation
    DERIVATION = Derivation("burrow/mole_rat", "How a mole rat digs", ["digger2001holes"], {})
    x = sp.Symbol("x", real=True)
    DERIVATION.exact("square-law", sp.Eq((x + 1) ** 2, x**2 + 2 * x + 1), "Multiply out.")
    DERIVATION.exact("own", sp.Eq((x + 2) ** 2, x**2 + 4 * x + 4), "Again.", source="owl1999night")
"""
PAGE = """
    ---
    kernelspec: {name: python3}
    ---
    # Mole rats dig 50 % deeper

    ```{code-cell}
    ---
    mystnb:
      figure:
        name: fig-mole-rat-energy-descent
    ---
    # Not a title
    ```

    :::{prf:theorem} Deeper is warmer
    :label: thm-mole-rat-warm

    It is.
    :::

    :::{prf:proof}
    :label: no-label-of-ours
    Dig.
    :::
"""


@pytest.fixture
def burrow(house):
    house.chapter("burrow/mole_rat", page=PAGE, claims=CLAIMS, derivation=DERIVATION)
    house.page("ledger", "# The Ledger\n")
    house.page("errata", "# Errata\n")
    house.page("_ext/notes", "# Not a page\n")
    return house


def test_labels_are_all_that_can_be_cited(burrow):
    assert labels() == [
        "book/errata", "book/ledger", "burrow.mole_rat.deep_holes", "burrow.mole_rat.night_sum", "burrow/mole_rat",
        "fig-mole-rat-energy-descent", "mole-rat-own", "mole-rat-square-law", "thm-mole-rat-warm",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "kind", "link", "sources"),
    [
        ("book/ledger", "page", "book/ledger.html", ()),
        ("burrow/mole_rat", "chapter", "book/burrow/mole_rat.html", ("digger2001holes",)),
        ("book/burrow/mole_rat", "chapter", "book/burrow/mole_rat.html", ("digger2001holes",)),
        ("mole-rat-square-law", "equation", "book/burrow/mole_rat.html#equation-mole-rat-square-law", ("digger2001holes",)),
        ("equation-mole-rat-square-law", "equation", "book/burrow/mole_rat.html#equation-mole-rat-square-law", ("digger2001holes",)),
        ("mole-rat-own", "equation", "book/burrow/mole_rat.html#equation-mole-rat-own", ("owl1999night",)),
        ("burrow.mole_rat.deep_holes", "claim", "book/ledger.html#claim-burrow-mole-rat-deep-holes", ("digger2001holes", "owl1999night")),
        ("burrow.mole_rat.night_sum", "erratum", "book/errata.html#erratum-burrow-mole-rat-night-sum", ("owl1999night",)),
        ("thm-mole-rat-warm", "theorem", "book/burrow/mole_rat.html#thm-mole-rat-warm", ("digger2001holes",)),
        ("fig-mole-rat-energy-descent", "figure", "book/burrow/mole_rat.html#fig-mole-rat-energy-descent", ("digger2001holes",)),
    ],
)
def test_every_kind_of_label(burrow, monkeypatch, label, kind, link, sources):
    found = find(label)
    assert (found.kind, found.permalink, found.source_keys) == (kind, link, sources)
    assert found.sources == tuple(bibliography()[key] for key in sources)
    assert "url" not in found.bibtex
    monkeypatch.setenv("HOPMIX_SITE_URL", "https://example.org/book-site/")
    placed = find(label)
    assert placed.permalink == f"https://example.org/book-site/{link}"
    (entry,) = parse_string(placed.bibtex, "bibtex").entries.values()
    assert entry.fields["url"] == placed.permalink
    assert (entry.fields["version"], entry.fields["date"], entry.fields["year"]) == (hopmix.__version__, hopmix.__date__, hopmix.__date__[:4])
    assert latex_text(found.label) in entry.fields["note"]


def test_all_citations_at_once_are_those_found_one_by_one(burrow):
    assert cite.citations() == {label: find(label) for label in labels()}


def test_titles(burrow):
    assert find("burrow/mole_rat").title == "Mole rats dig 50 % deeper"
    assert "title = {{Mole rats dig 50 \\% deeper}}" in find("burrow/mole_rat").bibtex
    assert r"{{Of 3 \% \& $x_{i}$ \_many\_ \#1 \{holes\}}}" in find("burrow.mole_rat.deep_holes").bibtex
    assert find("mole-rat-square-law").title == "How a mole rat digs: equation square-law"
    assert find("thm-mole-rat-warm").title == "Mole rats dig 50 % deeper: Deeper is warmer"
    assert find("fig-mole-rat-energy-descent").title == "Mole rats dig 50 % deeper: figure, energy descent"


@pytest.mark.parametrize("label", ["mole-rat-square-lew", "deep_holes", "", "x" * 200, "__import__('os')"])
def test_an_unknown_label_names_the_nearest(burrow, label):
    with pytest.raises(UnknownLabel) as error:
        find(label)
    assert isinstance(error.value, KeyError)
    assert str(error.value).startswith(f"label: nothing is called {label!r}")
    expected = {"mole-rat-square-lew": "mole-rat-square-law", "deep_holes": "burrow.mole_rat.deep_holes"}.get(label, "see hopmix list")
    assert expected in str(error.value)


def test_a_label_is_text(burrow):
    with pytest.raises(TypeError, match="label: None is NoneType; allowed: str"):
        find(None)


def test_a_page_is_found_by_its_file(burrow):
    assert find("book/burrow/mole_rat.md") == find("burrow/mole_rat")
    assert find("book/ledger.md") == find("book/ledger")


def test_a_page_can_be_cited_with_what_it_cites(burrow):
    found = page("book/burrow/mole_rat", source_keys=("owl1999night", "digger2001holes", "owl1999night"))
    assert (found.kind, found.label, found.source_keys) == ("chapter", "burrow/mole_rat", ("owl1999night", "digger2001holes"))
    assert page("notebooks/memory", title="A lab").permalink == "notebooks/memory.html"
    with pytest.raises(UnknownLabel, match="nothing is called 'book/legder'; the nearest: book/ledger"):
        page("book/legder")
    with pytest.raises(KeyError, match="'digger2001hole', which is not in references.bib; the nearest: digger2001holes"):
        page("book/ledger", source_keys=("digger2001hole",))


@pytest.mark.parametrize("address", ["example.org", "ftp://example.org", "https://", "https://a b", " https://a", "https://a/#x", "https://a/#", "https://a/?q", "https://a/?", 'https://a/"}',
    "javascript:x", "https://:80", "https://a:", "https://a:b", "https://a:70000", "https://a:0", "https://[a", "https://@", "https:a"])  # fmt: skip
def test_a_site_address_that_is_none_is_refused(monkeypatch, address):
    monkeypatch.setenv("HOPMIX_SITE_URL", address)
    with pytest.raises(ValueError, match="HOPMIX_SITE_URL: .* is no address of a site; allowed: http://… or https://…"):
        site_url()


def test_permalinks(monkeypatch):
    monkeypatch.delenv("HOPMIX_SITE_URL", raising=False)
    assert site_url() is None
    assert permalink("book/index") == "book/index.html"
    monkeypatch.setenv("HOPMIX_SITE_URL", "")
    assert site_url() is None
    monkeypatch.setenv("HOPMIX_SITE_URL", "http://example.org:8000/a//")
    assert permalink("/book/a b", "c#d") == "http://example.org:8000/a/book/a%20b.html#c%23d"
    for nothing in ("", "/", " "):
        with pytest.raises(ValueError, match="docname: .* names no page; allowed: one such as 'book/index'"):
            permalink(nothing)


names = st.text("abcdefgh0123456789_-", min_size=1, max_size=8)
values = st.recursive(st.text("ab =,\"@%", max_size=6), lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + " ".join(parts) + "}"), max_leaves=5)


@given(st.dictionaries(names, values, max_size=5), st.sampled_from(["", "\n% a comment\n", "words "]))
def test_the_splitter_finds_exactly_the_entries(entries, between):
    raw = {key: f"@misc{{{key},\n  title = {{{value}}}\n}}" for key, value in entries.items()}
    text = between + between.join(raw.values()) + between
    assert parse_bibtex(text) == raw


def test_the_splitter_on_odd_text():
    assert parse_bibtex("@comment{a, b} @STRING{x = 1} @Misc { k1 , title={\\}}}") == {"k1": "@Misc { k1 , title={\\}}}"}
    assert parse_bibtex("me@home{x} @misc{k1, a=1} see @someone (or me, him) @comment(a, b) @") == {"k1": "@misc{k1, a=1}"}
    with pytest.raises(ValueError, match="text: the BibTeX entry 'k2' stands in parentheses; allowed: @misc{…}"):
        parse_bibtex("@misc{k1, a=1} @misc( k2 , a=1)")
    with pytest.raises(ValueError, match="'k2' never ends"):
        parse_bibtex("@misc{k1, a=1} @misc{k2, title={a}")
    with pytest.raises(ValueError, match="'k1' is used twice"):
        parse_bibtex("@misc{k1, a=1} @misc{k1, a=1}")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), min_size=1, max_size=40))
def test_no_title_breaks_out_of_its_entry(text):
    entry = f"@misc{{key, title = {{{{{latex_text(text)}}}}}, year = {{2000}}}}"
    assert parse_bibtex(entry + " @misc{next, a=1}") == {"key": entry, "next": "@misc{next, a=1}"}


def test_mathematics_in_titles_is_kept_and_the_rest_escaped():
    assert latex_text(r"$\frac{a}{b}$ of a_b^2 \ ~") == r"$\frac{a}{b}$ of a\_b\textasciicircum{}2 \textbackslash{} \textasciitilde{}"
    assert latex_text("$x{$") == r"\$x\{\$"


def test_nearest():
    assert nearest("energy-rte", ["energy-rate", "energy", "zebra"])[0] == "energy-rate"
    assert nearest("zzz", ["energy"]) == []
    assert nearest("", ["energy"]) == []


def test_the_bibliography_is_read_alike_by_another_reader():
    ours = bibliography()
    theirs = parse_string((cite.book_root() / "references.bib").read_text(), "bibtex").entries
    assert list(ours) == list(theirs)
    for key, entry in theirs.items():
        assert entry.fields["title"] and entry.persons["author"], key
        assert re.fullmatch(r"[a-z]+(19|20)\d\d[a-z]+", key)
        assert entry.fields["year"].isdigit()
        if "eprint" in entry.fields:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields["eprint"]), key
            assert entry.fields["url"].endswith(entry.fields["eprint"]), key


def test_the_book_is_found_in_the_package_or_beside_it(tmp_path, monkeypatch):
    package = tmp_path / "hopmix"
    (package / "_book").mkdir(parents=True)
    monkeypatch.setattr(hopmix, "__file__", str(package / "__init__.py"))
    with pytest.raises(FileNotFoundError, match="the book's pages are neither in the installed package nor beside it"):
        cite.book_root()
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "references.bib").touch()
    assert cite.book_root() == tmp_path / "book"
    (package / "_book" / "references.bib").touch()
    assert cite.book_root() == package / "_book"


def test_every_label_of_the_book_can_be_cited(monkeypatch):
    monkeypatch.setenv("HOPMIX_SITE_URL", "https://example.org")
    known = labels()
    assert len(known) == len(set(known))
    for label, fragment, make in cite._items():
        found = make()
        assert found.permalink.startswith("https://example.org/book/"), label
        assert fragment == "" or found.permalink.endswith(fragment) or fragment == f"book/{label}", label
        entries = parse_string("\n".join([found.bibtex, *found.sources]), "bibtex").entries
        assert len(entries) == 1 + len(found.source_keys), label
