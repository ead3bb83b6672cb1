"""The shape of the house: arrows, sizes, pages, and what the library never does."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hopmix
from hopmix.chapter import chapters, modules_named, stem
from hopmix.derivation import derivations
from hopmix.experiment import experiments

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "hopmix"
SOURCES = sorted(LIBRARY.rglob("*.py"))

# Who may use whom among the subjects: a new part is one line.
MAY_USE = {
    "mixers": set(),
    "memory": {"mixers"},
    "kernels": {"mixers"},
    "attention": {"memory", "kernels"},
    "optimisation": {"mixers", "kernels"},
    "transformers": {"mixers", "kernels", "attention", "optimisation"},
    "learning": {"mixers", "kernels", "attention", "optimisation"},
    "atlas": {"mixers", "memory", "kernels", "attention", "optimisation", "transformers", "learning"},
}
PARTS = [part for part in MAY_USE if (LIBRARY / part).is_dir()]
SUBJECT_SOURCES = [path for path in SOURCES if path.relative_to(LIBRARY).parts[0] in MAY_USE]
# The only modules that may load sympy or matplotlib when they are imported.
HEAVY_MODULES = {"derivation.py", "plotting.py", "figures.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Dotted names that a source imports, "package.name" for names taken from a package; also those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively: addresses are written in full here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def lint(config: Path, root: Path) -> subprocess.CompletedProcess:
    # In a process of its own: the linter keeps what it has seen, and it must look at these sources.
    code = "import sys; sys.path.insert(0, sys.argv[2]); from importlinter.cli import lint_imports; sys.exit(lint_imports(config_filename=sys.argv[1], no_cache=True))"
    return subprocess.run([sys.executable, "-c", code, config, root], capture_output=True, text=True, cwd=root)


def test_import_contracts():
    done = lint(ROOT / "pyproject.toml", ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("path", "line", "words"),
    [
        ("mixers/a.py", "import hopmix.memory", "hopmix.mixers is not allowed to import hopmix.memory"),
        ("training/a.py", "from hopmix.mixers import a", "hopmix.training is not allowed to import hopmix.mixers"),
        ("claim.py", "import hopmix.training", "hopmix.claim is not allowed to import hopmix.training"),
        ("testing.py", "def f():\n    import hopmix.memory", "hopmix.testing is not allowed to import hopmix.memory"),
        ("memory/a.py", "import hopmix.cli", "hopmix.memory is not allowed to import hopmix.cli"),
        ("chapter.py", "import hopmix.claim", "hopmix.chapter is not allowed to import hopmix.claim"),
        ("utils.py", "", "hopmix.utils"),
    ],
)
def test_the_contracts_can_break(tmp_path, path, line, words):
    """The same contracts over a small copy of the house with one wrong arrow, or one module that has no place."""
    package = tmp_path / "hopmix"
    modules = ["cli", "report", "ledger", "cite", "experiment", "result", "claim", "provenance", "chapter", "testing"]
    for module in [*(f"{module}.py" for module in modules), "training/a.py", "mixers/a.py", "memory/a.py", path]:
        target = package / module
        target.parent.mkdir(parents=True, exist_ok=True)
        (target.parent / "__init__.py").touch()
        target.touch()
    settings = ROOT / "pyproject.toml"
    assert path == "utils.py" or lint(settings, tmp_path).returncode == 0
    (package / path).write_text(line + "\n")
    done = lint(settings, tmp_path)
    assert done.returncode == 1
    assert words in " ".join(done.stdout.split())


@pytest.mark.parametrize("path", SUBJECT_SOURCES, ids=name_of)
def test_subjects_use_only_what_their_line_allows_and_no_private_names(path):
    part = path.relative_to(LIBRARY).parts[0]
    for name in imports(path):
        head, *rest = name.split(".")
        if head != "hopmix" or rest[0] not in MAY_USE or rest[0] == part:
            continue
        assert rest[0] in MAY_USE[part], f"{name_of(path)} imports {name}"
        assert not any(piece.startswith("_") for piece in rest), f"{name_of(path)} imports the private {name}"


def test_every_part_has_its_line():
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages - {"derivation", "training", "plotting"} == set(PARTS)


def test_importing_the_models_loads_neither_sympy_nor_matplotlib():
    models = [module_of(path) for path in SUBJECT_SOURCES if path.name not in HEAVY_MODULES]
    models += ["hopmix.training", "hopmix.claim", "hopmix.experiment", "hopmix.cite", "hopmix.ledger", "hopmix.cli", "hopmix.testing"]
    code = (
        "import importlib, sys\n"
        "import hopmix\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    loaded = {'sympy', 'matplotlib'} & set(sys.modules)\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *models], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_importing_hopmix_alone_loads_nothing_heavy():
    code = "import sys, hopmix; assert not {'torch', 'numpy', 'scipy', 'sympy', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_fits_in_a_head(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 350, f"{name_of(path)} has {lines} lines; allowed: 350"
    forbidden = {"utils", "helpers", "common", "core"}
    assert not forbidden & set(path.relative_to(LIBRARY).with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_it_is(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring and docstring.splitlines()[0].strip()


@pytest.mark.parametrize("path", SUBJECT_SOURCES, ids=name_of)
def test_every_subject_module_names_its_page(path):
    first = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
    match = re.search(r"\(page: (book/[\w/]+\.md)\)\.?$", first)
    assert match, f"{name_of(path)}: its first line is {first!r}; allowed: one that ends in (page: book/….md)"
    assert (ROOT / match[1]).is_file(), f"{name_of(path)} names {match[1]}, which does not exist"


# Calls through which text becomes code, or a file from elsewhere becomes objects.
FORBIDDEN_CALLS = {"eval", "exec", "sympify", "S", "parse_expr", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib"}
RANDOM_GLOBALS = {"manual_seed", "set_num_threads", "set_default_dtype", "set_default_device"}


def offences(source: str) -> list[str]:
    """What a source does that the library never does."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last, owner = called.split(".")[-1], called.rpartition(".")[0]
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            # strict=True makes sympify refuse text, so that it only turns objects into sympy's.
            strict = last == "sympify" and keywords.get("strict") == "True"
            if last in FORBIDDEN_CALLS and owner in ("", "sp", "sympy", "builtins") and not strict and called != "S":
                found.append(called)
            if called == "torch.load" and keywords.get("weights_only") != "True":
                found.append("torch.load without weights_only=True")
            if owner in ("np", "numpy") and last == "load" and keywords.get("allow_pickle", "False") != "False":
                found.append("np.load with pickle")
            if owner == "torch" and last in RANDOM_GLOBALS or owner in ("np.random", "numpy.random") and last not in ("default_rng", "SeedSequence", "Generator", "PCG64"):
                found.append(called)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_the_library_evaluates_no_text_unpickles_nothing_and_leaves_global_state_alone(path):
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "eval('1')", "sp.sympify(x)", "sympify(x)", "sp.S(text)", "torch.load(p)",
        "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "np.random.seed(0)", "np.random.rand()", "torch.manual_seed(0)",
        "exec(text)", "sp.parse_expr(text)", "torch.set_num_threads(1)",
    ],
)  # fmt: skip
def test_the_scan_sees_every_offence(source):
    assert len(offences(source)) == 1


def test_the_scan_lets_the_allowed_pass():
    source = "model.eval()\ntorch.load(p, weights_only=True)\nnp.random.default_rng(0)\ntorch.Generator().manual_seed(0)\nre.compile('a')\nnp.load(p)\nsp.sympify(3, strict=True)"
    assert offences(source) == []


@pytest.mark.parametrize("chapter", chapters())
def test_every_chapter_has_its_page_and_tests_and_its_lab_if_it_has_an_experiment(chapter):
    assert (ROOT / "book" / f"{chapter}.md").is_file()
    part, name = chapter.split("/")
    assert list((ROOT / "tests" / part).glob(f"test_{name}*.py")) or list((ROOT / "tests" / part / name).glob("test_*.py"))
    assert f"file: book/{chapter}\n" in (ROOT / "_toc.yml").read_text() + "\n"
    if chapter in modules_named("experiment"):
        assert (ROOT / "notebooks" / f"{part}_{name}.ipynb").is_file()
        assert chapter.replace("/", ".") in experiments()


def test_a_page_beside_a_package_of_its_name_is_that_chapters_page():
    rooms = {f"{path.parent.parent.name}/{path.parent.name}" for path in LIBRARY.glob("*/*/__init__.py")}
    pages = {path.relative_to(ROOT / "book").with_suffix("").as_posix() for path in (ROOT / "book").glob("*/*.md")}
    assert rooms & pages == set(chapters())


def test_derivations_carry_their_chapters_name_and_stems_do_not_collide():
    stems = [stem(chapter) for chapter in chapters()]
    assert len(set(stems)) == len(stems)  # equation labels begin with them
    for chapter, derivation in derivations().items():
        assert derivation.name == chapter
        assert all(derivation.label(step.id).startswith(f"{stem(chapter)}-") for step in derivation.steps)


def test_version_and_date_are_said_once_and_alike():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == hopmix.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: [\"']?([\w.]+)", citation, re.MULTILINE)[1] == hopmix.__version__
    assert re.search(r"^date-released: [\"']?([\d-]+)", citation, re.MULTILINE)[1] == hopmix.__date__
