"""Docstrings, which are plain text here, as reStructuredText for the API pages.

Prose may hold ``(batch, *shape)``, `code` and $mathematics$ as they are; an indented paragraph is shown as written;
a heading underlined with dashes is followed by "name : what it is" entries; "(page: book/….md)" becomes a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SPANS = re.compile(r"(:\w+:`[^`]+`|``.+?``|`[^`]+`|\$[^$]+\$)")


def prose(text: str) -> str:
    """Escape what reStructuredText would read as markup, and translate code and mathematics."""
    text = re.sub(r"\(page: (book/[\w/-]+)\.md\)", r"(:doc:`/\1`)", text)
    result, spanned = "", False
    for piece in filter(None, _SPANS.split(text)):
        span = bool(_SPANS.fullmatch(piece))
        if not span:
            piece_out = re.sub(r"([\\*|`]|_(?!\w))", r"\\\1", piece)
        elif piece.startswith((":", "``")):
            piece_out = piece
        elif piece.startswith("`"):
            piece_out = f"`{piece}`"
        else:
            piece_out = f":math:`{piece[1:-1]}`"
        # Code and roles must not touch a letter: an escaped space keeps them apart without showing.
        touching = result and re.match(r"\w", piece[0] if spanned else result[-1])
        result += ("\\ " if touching and span != spanned else "") + piece_out
        spanned = span
    return result


def entries(lines: list[str]) -> Iterator[str]:
    """A definition list from "name : text" lines with indented continuations."""
    for item in re.split(r"\n(?=\S)", "\n".join(lines)):
        name, colon, text = " ".join(item.split()).partition(" : ")
        if colon:
            yield from (f"``{name}``", f"    {prose(text)}")
        else:
            yield from (prose(name), "")
    yield ""


def restructured(text: str) -> list[str]:
    result: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.split("\n")
        if lines[0].lstrip().startswith(">>>"):
            result += [*lines, ""]
        elif len(lines) > 1 and re.fullmatch(r"-{3,}", lines[1].strip()):
            result += [f"**{lines[0].strip()}**", "", *entries(lines[2:])]
        elif all(line.startswith("    ") for line in lines):
            result += ["::", "", *(f"    {line}" for line in lines), ""]
        elif re.match(r"\s*[-*] ", lines[0]):
            result += ["- " + prose(" ".join(item.split())) for item in re.split(r"(?:^|\n)\s*[-*] ", block) if item.strip()] + [""]
        else:
            result += [prose(" ".join(block.split())), ""]
    return result


def translate(app, what, name, thing, options, lines) -> None:
    lines[:] = restructured("\n".join(lines))


def tidy(app, what, name, thing, options, signature, annotation):
    """A dataclass shows a default it makes anew each time as <factory>, which is not Python and stops the links."""
    return (signature.replace("<factory>", "..."), annotation) if signature else None


def setup(app):
    app.connect("autodoc-process-docstring", translate)
    app.connect("autodoc-process-signature", tidy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
