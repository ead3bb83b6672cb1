"""What leaves the repository: the README's code, the citation file, the wheel."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import jsonschema
import pytest
import yaml

import hopmix
from hopmix.memory.hopfield_mixer.figures import correspondence

ROOT = Path(__file__).parents[2]


def run(*arguments, **options):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert "one step of the memory is the block: True" in run("-W", "error", "-c", code)


def test_picture_is_drawn_by_the_code():
    stream = io.BytesIO()
    correspondence().savefig(stream, format="svg", metadata={"Date": None})
    assert (ROOT / "book" / "_assets" / "correspondence.svg").read_bytes() == stream.getvalue(), "make picture draws it again"
    for page in ("README.md", "book/index.md"):
        assert "_assets/correspondence.svg" in (ROOT / page).read_text("utf-8")


def test_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    # The schema of the Citation File Format 1.2.0 (Druskat and others, CC BY 4.0), with dates as YAML text.
    jsonschema.validate(citation, json.loads(Path(__file__).with_name("citation-1.2.0.schema.json").read_text("utf-8")))
    assert (citation["version"], citation["date-released"]) == (hopmix.__version__, hopmix.__date__)


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == hopmix.__version__
    assert f"## {hopmix.__version__} ({hopmix.__date__})" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_licences():
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert "Section 8 – Interpretation." in (ROOT / "LICENSE-TEXT").read_text("utf-8")
    assert (ROOT / "book" / "_assets" / "mathjax" / "LICENSE").is_file()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ".", cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_library_and_the_text(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = HeaderParser().parsestr(archive.read(next(n for n in names if n.endswith("/METADATA"))).decode())
    assert {"hopmix/_book/references.bib", "hopmix/_book/memory/hopfield_mixer.md"} <= set(names)
    others = [n for n in names if not (n.endswith((".py", ".md", ".bib")) or ".dist-info/" in n)]
    assert others == [] and not [n for n in names if n.startswith(("book/", "tests/", "hopmix/_book/_"))]
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-4.0"
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-TEXT"}
    core = {re.match(r"[\w-]+", need)[0] for need in metadata.get_all("Requires-Dist") if "extra ==" not in need}
    assert core == {"numpy", "scipy", "sympy", "torch", "matplotlib", "tqdm", "typer"}


def test_wheel_works(wheel, tmp_path):
    """Installed away from the checkout, it imports, knows its labels, and its command answers."""
    home = tmp_path / "installed here"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", home, wheel)
    environment = {**os.environ, "PYTHONPATH": str(home)}
    for variable in ("HOPMIX_SITE_URL", "HOPMIX_REPOSITORY_URL"):
        environment.pop(variable, None)
    code = "import hopmix; print(hopmix.__file__); print(hopmix.cite.find('memory/hopfield_mixer').permalink)"
    place, permalink = run("-P", "-c", code, cwd=tmp_path, env=environment).splitlines()
    assert Path(place).is_relative_to(home) and permalink == "book/memory/hopfield_mixer.html"
    command = "import sys; sys.argv = ['hopmix', 'list', 'chapters']; from hopmix.cli import main; sys.exit(main())"
    assert "memory/hopfield_mixer" in run("-P", "-c", command, cwd=tmp_path, env=environment)
