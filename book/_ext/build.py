"""Build the book: `python book/_ext/build.py html` (the site) or `… pdf` (one file).

The cells run first, on all cores, into the execution cache; then Jupyter Book builds from it with every
warning an error. `make book`, `make pdf` and the browser tests all come through here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

import book_execution
import book_pages
from book_execution import ROOT
from hopmix import cite

BUILD = ROOT / "_build"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def settings_digest() -> str:
    """Digest of what shapes every page and Sphinx does not watch: the settings, the extensions, the versions."""
    paths = [ROOT / "_config.yml", ROOT / "_toc.yml", ROOT / "requirements.lock", *sorted((ROOT / "book" / "_ext").glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def jupyter_book(output: Path, builder: str, *options: str) -> None:
    """Run Jupyter Book into `output`/_build; SystemExit when it fails.

    Sphinx warns about a page only when it reads it, so a build that was interrupted or failed must not leave
    its doctrees behind: the next one would find nothing to warn about and pass. Other settings start afresh too.
    """
    complete = output / "_build" / f".complete-{builder}"
    if not complete.exists() or complete.read_text() != settings_digest():
        for stale in (".doctrees", builder):
            shutil.rmtree(output / "_build" / stale, ignore_errors=True)
    complete.unlink(missing_ok=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "--quiet"]
    command += ["--path-output", str(output), "--builder", builder, *options, str(ROOT)]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise SystemExit("The book was not built: each warning above is an error.")
    complete.write_text(settings_digest())


def build_html() -> Path:
    """The site under _build/html, up to date; at once when nothing changed."""
    jupyter_book(ROOT, "html", "-W", "-n", "--keep-going")
    return BUILD / "html" / "index.html"


def build_pdf() -> Path:
    """All pages in one, printed by Chromium: needs no TeX."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("make pdf prints with Chromium, and found none of " + ", ".join(BROWSERS) + " on the PATH.")
    jupyter_book(BUILD / "pdf", "singlehtml")
    output = BUILD / "pdf" / "_build" / "singlehtml"
    # Sphinx writes the addresses of styles and pictures as seen from the output's root, wherever the first page lies.
    page = Path(shutil.copy(output / "book" / "index.html", output / "hopmix.html"))
    target = BUILD / "hopmix.pdf"
    profile = BUILD / "chromium"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--no-pdf-header-footer", "--virtual-time-budget=120000", f"--user-data-dir={profile}"]
    target.unlink(missing_ok=True)
    subprocess.run([browser, *flags, f"--print-to-pdf={target}", page.as_uri()], check=True, stderr=subprocess.DEVNULL)
    shutil.rmtree(profile, ignore_errors=True)
    if not target.exists():
        raise SystemExit(f"{browser} printed nothing.")
    return target


def check_settings() -> None:
    """The environment's addresses, before minutes of work go into a site that has them wrong; SystemExit with code 2."""
    try:
        cite.site_url()
        book_pages.repository_url()
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def build(kind: str) -> Path:
    BUILD.mkdir(exist_ok=True)
    os.environ.setdefault("HOPMIX_EVIDENCE", str(BUILD / "evidence"))
    with FileLock(BUILD / ".lock"):
        book_execution.fill()
        return {"html": build_html, "pdf": build_pdf}[kind]()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("html", "pdf"):
        raise SystemExit(__doc__)
    check_settings()
    built = build(sys.argv[1]).relative_to(ROOT)
    print(f"The book is {built}" + (" (make serve shows it)." if sys.argv[1] == "html" else "."))
