"""The Ledger and the Errata: the registry's verdicts as HTML and MyST for the pages, and numbers written for people."""

import html
import inspect
import math
import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from hopmix.chapter import anchor, page_of
from hopmix.claim import Erratum, Evidence, Verdict, claims, errata, source_keys

RELATION_SIGNS = {"<=": "≤", ">=": "≥"}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_number(value: float, unit: str = "", digits: int = 3) -> str:
    """A number for people: ``digits`` significant digits, fewer only when they say it exactly; powers of ten for the very large or
    small, whole numbers whole.

    >>> format_number(4.4409e-16), format_number(0.12894), format_number(2, "s"), format_number(10000), format_number(1e-12), format_number(0.5)
    ('4.44 × 10⁻¹⁶', '0.129', '2 s', '10000', '10⁻¹²', '0.5')
    """
    value = float(value)
    if math.isnan(value):
        text = "not a number"
    elif math.isinf(value):
        text = "∞" if value > 0 else "−∞"
    elif value == int(value) and abs(value) < 1e6:
        text = str(int(value))
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        power = int(exponent)
        if -4 < power < 5:
            text = f"{value:.{max(digits - 1 - power, 0)}f}"
            text = text.rstrip("0") if "." in text and float(text) == value else text
        else:
            exact = float(f"{mantissa}e{power}") == value
            mantissa = mantissa.rstrip("0").rstrip(".") if exact else mantissa
            text = f"{mantissa} × 10{str(power).translate(_SUPERSCRIPTS)}".removeprefix("1 × ")
    return f"{text.replace('-', '−')} {unit}".rstrip()


def format_bound(evidence: Evidence) -> str:
    """The bound in words and signs, such as "≤ 10⁻¹²", with its unit."""
    if evidence.relation == "between":
        low, high = (format_number(end, digits=_digits(evidence)) for end in evidence.bound)
        return f"between {low} and {high} {evidence.unit}".rstrip()
    return f"{RELATION_SIGNS[evidence.relation]} {format_number(evidence.bound, evidence.unit, _digits(evidence))}"


def format_measured(evidence: Evidence) -> str:
    """The measured number, with its spread over the seeds if it has one, and its unit."""
    text = format_number(evidence.measured, digits=_digits(evidence))
    if evidence.spread is not None:
        text += f" ± {format_number(evidence.spread, digits=2)}"
    return f"{text} {evidence.unit}".rstrip()


def _digits(evidence: Evidence) -> int:
    """Three, or as many as it takes for a measured number beside its bound to look different from it if it is."""
    ends = evidence.bound if isinstance(evidence.bound, tuple) else (evidence.bound,)
    for digits in range(3, 17):
        shown = format_number(evidence.measured, digits=digits)
        if all(end == evidence.measured or format_number(end, digits=digits) != shown for end in ends):
            return digits
    return 17


def format_seeds(seeds: tuple[int, ...]) -> str:
    """Seeds as "0–9" where they run, else listed; "none needed" for a measurement without chance.

    >>> format_seeds((0, 1, 2, 3)), format_seeds((3, 7)), format_seeds(())
    ('0–3', '3, 7', 'none needed')
    """
    if not seeds:
        return "none needed"
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """{"total": …, "holds": …, "not reproduced": …}."""
    kept = [verdict.holds for verdict in verdicts]
    return {"total": len(kept), "holds": sum(kept), "not reproduced": len(kept) - sum(kept)}


def ledger_html(verdicts: Iterable[Verdict]) -> str:
    """The Ledger as one HTML table, the counts above it; a row is a ``tr`` with the claim's anchor as its id.

    Mathematics between dollars is left to MathJax as \\(…\\) in a span of class math; all other text is escaped. Cells carry
    data-label, so that a narrow screen can show each row as a card; rows carry data-part, data-kind and data-verdict.
    """
    verdicts = sorted(verdicts, key=lambda verdict: verdict.name)
    tally = counts(verdicts)
    lines = [
        f'<p class="hopmix-ledger-counts"><strong>{tally["total"]}</strong> claims: <strong>{tally["holds"]}</strong> hold, '
        f'<strong>{tally["not reproduced"]}</strong> not reproduced.</p>',
        '<table class="hopmix-ledger">',
        "<thead><tr>" + "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS) + "</tr></thead>",
        "<tbody>",
        *map(_row, verdicts),
        "</tbody>",
        "</table>",
    ]
    return "\n".join(lines) + "\n"


_COLUMNS = ("Claim", "Verdict", "Measured", "Bound", "Kind", "Source", "Seeds", "Seconds")


def _row(verdict: Verdict) -> str:
    claim, evidence = verdict.claim, verdict.evidence
    label = anchor("claim", claim.name)
    word = "holds" if verdict.holds else "fails"
    what = f'<div class="claim-what">{html_text(evidence.what)}</div>'
    if evidence.detail:
        what += f'<div class="claim-detail">{html_text(evidence.detail)}</div>'
    cells = (
        f'{html_text(claim.statement)} <a class="claim-link" href="#{label}" aria-label="link to this claim">#</a>{what}{_code_html(claim)}',
        f'<span class="claim-verdict">{html.escape(verdict.word)}</span>',
        html.escape(format_measured(evidence)),
        html.escape(format_bound(evidence)),
        html.escape(claim.kind),
        _source_html(claim.source),
        html.escape(format_seeds(evidence.seeds)),
        html.escape(format_number(verdict.seconds, digits=2)),
    )
    row = (
        f'<tr id="{label}" class="claim-{word}" data-part="{html.escape(claim.part)}" data-kind="{html.escape(claim.kind)}" '
        f'data-verdict="{html.escape(verdict.word)}">'
    )
    # One div in each cell: a card lays out the label and the content as two columns.
    return row + "".join(f'<td data-label="{name}"><div>{cell}</div></td>' for name, cell in zip(_COLUMNS, cells, strict=True)) + "</tr>"


def html_text(text: str) -> str:
    """MyST text as HTML: everything escaped, $…$ and $$…$$ as MathJax's own delimiters, `…` as code.

    >>> html_text("a < b, $x < y$, `z`, 5 \\\\$")
    'a &lt; b, <span class="math notranslate nohighlight">\\\\(x &lt; y\\\\)</span>, <code>z</code>, 5 $'
    """
    pieces = re.split(r"(\\\$|\$\$.+?\$\$|\$(?:\\.|[^$\\])+\$|`[^`]+`)", text, flags=re.DOTALL)
    return "".join(map(_piece, pieces))


def _piece(piece: str) -> str:
    if piece == r"\$":
        return "$"
    math_span = '<span class="math notranslate nohighlight">{}</span>'
    if len(piece) > 4 and piece.startswith("$$") and piece.endswith("$$"):
        return math_span.format(rf"\[{html.escape(piece[2:-2])}\]")
    if len(piece) > 2 and piece.startswith("$") and piece.endswith("$"):
        return math_span.format(rf"\({html.escape(piece[1:-1])}\)")
    if len(piece) > 2 and piece.startswith("`") and piece.endswith("`"):
        return f"<code>{html.escape(piece[1:-1])}</code>"
    return html.escape(piece)


def _source_html(source: str) -> str:
    # The keys are marked, not linked: where an entry stands on the bibliography's page is the page's business.
    text = html.escape(source)
    for key in source_keys(source):
        marked = f'<span class="claim-source" data-key="{html.escape(key)}">{html.escape(short_source(key))}</span>'
        text = re.sub(rf"(?<![\w-]){re.escape(html.escape(key))}(?![\w-])", lambda _, marked=marked: marked, text, count=1)
    return text


def short_source(key: str) -> str:
    """First author and year, as a bib key tells them.

    >>> short_source("krotov2021hierarchical"), short_source("lecun")
    ('Krotov 2021', 'lecun')
    """
    found = re.match(r"([a-z]+)(\d{4})", key)
    return f"{found[1].capitalize()} {found[2]}" if found else key


def _code_html(claim) -> str:
    """The claim's name, which opens to its code; with HOPMIX_REPOSITORY_URL set, a link to the file there too."""
    name, module = html.escape(claim.name), claim.function.__module__
    code = f'<pre class="claim-code" tabindex="0">{html.escape(inspect.getsource(claim.function).strip())}</pre>'
    address = os.environ.get("HOPMIX_REPOSITORY_URL", "").rstrip("/")
    if address:
        if not re.match(r"https?://[^/\s]", address):
            raise ValueError(f"HOPMIX_REPOSITORY_URL: {address!r} is no address; allowed: http:// or https://…")
        code += f'<a href="{html.escape(address)}/blob/HEAD/{html.escape(module.replace(".", "/"))}.py">the whole file</a>'
    return f'<details class="claim-name"><summary>{name}</summary>{code}</details>'


def chapter_claims_markdown(chapter: str, verdicts: Iterable[Verdict] | None = None) -> str:
    """The chapter's claims with their evidence as a MyST list, each with a link to its row of the Ledger.

    verdicts: by default the chapter's claims are checked now. Raises ValueError for an unknown chapter.
    """
    if verdicts is None:
        verdicts = [claim.check() for claim in claims(chapter)]
    # Plain HTML links: the row is made by a page's cell, so no cross-reference can know it when this page is read.
    ledger = "../" * (len(PurePosixPath(page_of(chapter)).parts) - 2) + "ledger.html"
    lines = []
    for verdict in sorted(verdicts, key=_order_on_page):
        link = f'<a href="{ledger}#{anchor("claim", verdict.name)}">{html.escape(verdict.claim.kind)}</a>'
        lines.append(f"- **{verdict.word}** ({link}): {_one_line(verdict.claim.statement)}  \n  [{_evidence_markdown(verdict.evidence)}]{{.claim-what}}")
    return "\n".join(lines) + "\n" if lines else "This chapter makes no claim.\n"


def errata_markdown(verdicts: Iterable[Verdict] | None = None, part: str | None = None) -> str:
    """The errata as MyST: one admonition each, whose name is the erratum's anchor.

    verdicts: by default those of all errata (of one part or chapter, if named), checked now.
    """
    if verdicts is None:
        verdicts = [entry.check() for entry in errata(part)]
    blocks = [_erratum_block(verdict) for verdict in sorted(verdicts, key=_order_on_page)]
    return "\n".join(blocks) if blocks else "No erratum is known.\n"


def _order_on_page(verdict: Verdict) -> tuple:
    """The order in which a module states them, which follows its chapter."""
    function = verdict.claim.function
    return function.__module__, function.__code__.co_firstlineno, verdict.name


def _erratum_block(verdict: Verdict) -> str:
    entry: Erratum = verdict.claim
    published, corrected = verdict.evidence.published, verdict.evidence.corrected
    seeds = f" (seeds {format_seeds(corrected.seeds)})" if corrected.seeds else ""
    body = (
        f"**As found:**\n\n{entry.says.strip()}\n\n**Corrected:**\n\n{entry.corrected.strip()}\n\n"
        f"**The correction {verdict.word}:** {_one_line(corrected.what)}{seeds}\n\n"
        f"| form | measured | to be |\n| --- | --- | --- |\n"
        f"| as found | {_measured_cell(published)} | {format_bound(published)} |\n"
        f"| corrected | {_measured_cell(corrected)} | {format_bound(corrected)} |\n\n"
        f"Code: `{entry.function.__module__}.{entry.function.__name__}`."
    )
    keys = source_keys(entry.source)
    cited = f"{{cite}}`{','.join(keys)}`" if keys else entry.source
    # Tildes, as a title may hold backticks; more of them than any run inside, so that the texts may hold fences of their own.
    fence = "~" * (1 + max((len(run) for run in re.findall(r"~{3,}", body)), default=2))
    word = "stands" if verdict.holds else "fails"
    return (
        f"{fence}{{admonition}} {_one_line(entry.where)} ({cited})\n:name: {anchor('erratum', entry.name)}\n"
        f":class: hopmix-erratum erratum-{word}\n\n{body}\n{fence}\n"
    )


def _measured_cell(evidence: Evidence) -> str:
    return format_measured(evidence) + (f" ({_one_line(evidence.detail)})" if evidence.detail else "")


def _evidence_markdown(evidence: Evidence) -> str:
    text = f"{_one_line(evidence.what)}: {format_measured(evidence)}, to be {format_bound(evidence)}"
    if evidence.seeds:
        text += f" (seeds {format_seeds(evidence.seeds)})"
    return text + (f"; {_one_line(evidence.detail)}" if evidence.detail else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def show_ledger(part: str | None = None):
    """For a notebook: check the claims (of one part or chapter, if named) and display them as the Ledger's table."""
    from IPython.display import HTML

    return HTML(ledger_html([claim.check() for claim in claims(part)]))


def show_claims(chapter: str):
    """For a notebook: the chapter's claims, checked now."""
    from IPython.display import Markdown

    return Markdown(chapter_claims_markdown(chapter))


def show_errata(part: str | None = None):
    """For a notebook: the errata, checked now."""
    from IPython.display import Markdown

    return Markdown(errata_markdown(part=part))
