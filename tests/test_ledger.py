"""The Ledger's HTML is well formed and safe, and its numbers are right to the digits shown."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hopmix import ledger
from hopmix.claim import Claim, Erratum, Evidence, Refutation, Verdict
from hopmix.ledger import (
    chapter_claims_markdown,
    counts,
    errata_markdown,
    format_bound,
    format_measured,
    format_number,
    format_seeds,
    html_text,
    ledger_html,
)

VOID = {"br", "img", "hr", "input"}


class Page(HTMLParser):
    """Text, tags and attributes of HTML; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def verdict(name="memory.hopfield_mixer.energy_rate", statement="It holds.", source="this book", kind="identity", evidence=None):
    def function(): ...

    function.__module__ = "hopmix.memory.hopfield_mixer.claims"
    function.__name__ = name.split(".")[-1]
    return Verdict(Claim(name, statement, source, kind, function), evidence or Evidence.at_most("error", 1e-16, 1e-12), 0.25)


HOLDS = verdict()
FAILS = verdict("mixers.zoo.wins", "It <wins> & $a<b$", "krotov2021large, eq. 3", "finding", Evidence.at_least("wins", 0.25, 0.5, unit="%", seeds=(0, 1, 2)))


@given(st.floats(-1e307, 1e307))
def test_shown_numbers_are_right_to_three_digits(value):
    text = format_number(value).replace("−", "-")
    if re.search("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]", text):
        mantissa, power = text.split(" × 10") if "×" in text else ("1", text[2:])
        text = f"{mantissa}e{power.translate(str.maketrans('⁻⁰¹²³⁴⁵⁶⁷⁸⁹', '-0123456789'))}"
    assert float(text) == pytest.approx(value, rel=5.001e-3, abs=0)
    assert len(format_number(value)) <= 16


@given(st.integers(-999_999, 999_999))
def test_whole_numbers_stay_whole(value):
    assert format_number(value).replace("−", "-") == str(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-0.0, "0"), (1e-3, "0.001"), (9.996e-4, "0.00100"), (9.994e-4, "9.99 × 10⁻⁴"), (99996.4, "1.00 × 10⁵"), (1234.5, "1234"), (2.5, "2.5"), (2.504, "2.50"),
        (1e6, "10⁶"), (-1e-12, "−1 × 10⁻¹²"), (1.0001e-12, "1.00 × 10⁻¹²"), (-1.5e-20, "−1.5 × 10⁻²⁰"), (float("inf"), "∞"), (float("-inf"), "−∞"), (float("nan"), "not a number"),
    ],
)  # fmt: skip
def test_numbers_at_the_edges(value, text):
    assert format_number(value) == text


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_a_number_beside_another_bound_never_looks_equal_to_it(measured, bound):
    assume(measured != bound)
    evidence = Evidence.at_most("x", measured, bound)
    assert format_measured(evidence) != format_bound(evidence).removeprefix("≤ ")


def test_evidence_in_words():
    evidence = Evidence.between("x", 3, 2, 4.5, unit="bits", spread=0.125)
    assert (format_measured(evidence), format_bound(evidence)) == ("3 ± 0.12 bits", "between 2 and 4.5 bits")
    assert format_bound(Evidence.at_least("x", 1, 0.5, unit="bits")) == "≥ 0.5 bits"
    assert format_bound(Evidence.at_most("x", 1, 1e-12)) == "≤ 10⁻¹²"


def test_seeds_in_words():
    assert [format_seeds(s) for s in ((), (5,), (0, 1), (2, 3, 4), (0, 2, 4))] == ["none needed", "5", "0, 1", "2–4", "0, 2, 4"]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cc"]), max_size=80))
def test_any_text_is_escaped_and_reads_back(text):
    page = Page(html_text(text))
    assert {tag for tag, _ in page.tags} <= {"span", "code"}
    if not re.search(r"[$`\\]", text):
        assert page.text == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("energy $E<0$ falls", r"energy \(E<0\) falls"),
        ("$$a_{1} & b$$", r"\[a_{1} & b\]"),
        (r"costs 5 \$ and $x$", r"costs 5 $ and \(x\)"),
        ("one $ alone", "one $ alone"),
        ("`x<y`", "x<y"),
        (r"$\{x\}$ and $\$$", r"\(\{x\}\) and \(\$\)"),
    ],
)
def test_mathematics_is_left_to_mathjax(text, seen):
    page = Page(html_text(text))
    assert page.text == seen
    assert all("math" in attributes["class"].split() for attributes in page.attributes("span"))
    assert bool(page.attributes("span")) == (r"\(" in seen or r"\[" in seen)


def test_the_table_has_a_row_for_each_claim_with_all_that_a_reader_needs():
    page = Page(ledger_html([FAILS, HOLDS]))
    rows = [row for row in page.attributes("tr") if "id" in row]
    assert rows == [
        {"id": "claim-memory-hopfield-mixer-energy-rate", "class": "claim-holds", "data-part": "memory", "data-kind": "identity", "data-verdict": "holds"},
        {"id": "claim-mixers-zoo-wins", "class": "claim-fails", "data-part": "mixers", "data-kind": "finding", "data-verdict": "not reproduced"},
    ]
    assert page.attributes("table") == [{"class": "hopmix-ledger"}]
    heads = len(page.attributes("th"))
    labels = [cell["data-label"] for cell in page.attributes("td")]
    assert labels == labels[:heads] * 2
    for words in (r"It <wins> & \(a<b\)", "10⁻¹⁶", "≤ 10⁻¹²", "0.25 %", "≥ 0.5 %", "0–2", "Krotov 2021, eq. 3", "memory.hopfield_mixer.energy_rate", "def function(): ...", "2 claims: 1 hold, 1 not"):
        assert words in page.text


def test_counts():
    assert counts([HOLDS, FAILS, HOLDS]) == {"total": 3, "holds": 2, "not reproduced": 1}
    assert counts([]) == {"total": 0, "holds": 0, "not reproduced": 0}


def test_the_file_is_linked_only_to_a_known_repository(monkeypatch):
    monkeypatch.delenv("HOPMIX_REPOSITORY_URL", raising=False)
    links = [a["href"] for a in Page(ledger_html([HOLDS])).attributes("a")]
    assert links == ["#claim-memory-hopfield-mixer-energy-rate"]
    monkeypatch.setenv("HOPMIX_REPOSITORY_URL", "https://example.org/code/")
    links = [a["href"] for a in Page(ledger_html([HOLDS])).attributes("a")]
    assert links[1] == "https://example.org/code/blob/HEAD/hopmix/memory/hopfield_mixer/claims.py"
    monkeypatch.setenv("HOPMIX_REPOSITORY_URL", "javascript:alert(1)")
    with pytest.raises(ValueError, match="HOPMIX_REPOSITORY_URL: 'javascript:alert\\(1\\)' is no address"):
        ledger_html([HOLDS])


def test_hostile_text_stays_text():
    nasty = "\"><script>alert('x')</script>"
    hostile = verdict("memory.a.b", nasty, nasty, "finding", Evidence.at_most(nasty, 1, 2, unit=nasty, detail=nasty))
    page = Page(ledger_html([hostile]))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(nasty) >= 5


def test_a_chapters_claims_link_to_the_ledger():
    text = chapter_claims_markdown("memory/hopfield_mixer", [HOLDS, FAILS])
    assert '<a href="../ledger.html#claim-memory-hopfield-mixer-energy-rate">identity</a>' in text
    assert text.count("\n- **") + text.startswith("- **") == 2
    assert "**not reproduced**" in text and "0.25 %, to be ≥ 0.5 % (seeds 0–2)" in text
    assert chapter_claims_markdown("memory/hopfield_mixer", []) == "This chapter makes no claim.\n"


def test_a_chapters_claims_are_checked_when_none_are_given(house):
    house.chapter(
        "burrow/rabbit",
        claims="""
        from hopmix.claim import Evidence, claim
        @claim(statement="Rabbits dig.", source="this book", kind="finding")
        def dig():
            return Evidence.at_least("holes", 2, 1)
        """,
    )
    assert "Rabbits dig." in chapter_claims_markdown("burrow/rabbit")
    assert "Rabbits dig." in ledger.show_ledger().data
    assert "Rabbits dig." in ledger.show_claims("burrow/rabbit").data
    assert ledger.show_errata().data == "No erratum is known.\n"
    with pytest.raises(ValueError, match="part: 'burrow/fox' has no chapter"):
        chapter_claims_markdown("burrow/fox")


def _erratum(says, stands):
    def function(): ...

    function.__module__ = "hopmix.memory.hopfield_mixer.claims"
    entry = Erratum("memory.hopfield_mixer.root_n", "karakida2024hierarchical", "Eq. 3", says, "$x=2$", function)
    return Verdict(entry, Refutation(Evidence.at_most("gap", 1, 0.5), Evidence.at_most("gap", 0 if stands else 1, 0.5)), 1.0)


def test_an_erratum_is_one_block_with_its_anchor():
    from markdown_it import MarkdownIt

    for stands, word, says in ((True, "stands", "```{math}\nx = 1\n```"), (False, "fails", "~~~~{math}\nx = 1\n~~~~")):
        text = errata_markdown([_erratum(says, stands)])
        tokens = MarkdownIt().parse(text)
        assert [token.type for token in tokens] == ["fence"]  # the fence inside did not end the block
        assert tokens[0].info.startswith("{admonition} Eq. 3 ({cite}`karakida2024hierarchical`)")
        assert f":name: erratum-memory-hopfield-mixer-root-n\n:class: hopmix-erratum erratum-{word}\n" in tokens[0].content
        assert "x = 1" in tokens[0].content and "$x=2$" in tokens[0].content
        assert "| as found | 1 | ≤ 0.5 |" in tokens[0].content
        assert f"| corrected | {0 if stands else 1} | ≤ 0.5 |" in tokens[0].content
