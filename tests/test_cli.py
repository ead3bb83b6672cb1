"""The command line answers on stdout, complains in one line on stderr, and exits with the right code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pybtex.database import parse_string

import hopmix
from hopmix.cite import labels
from hopmix.cli import main

CLAIMS = """
    from hopmix.claim import Evidence, Refutation, claim, erratum
    @claim(statement="Rabbits dig.", source="digger2001holes", kind="finding")
    def dig():
        return Evidence.at_least("holes", 2, 1, unit="holes")
    @claim(statement="Rabbits fly.", source="this book", kind="finding")
    def fly():
        return Evidence.at_least("height", float("nan"), 1)
    @erratum(source="owl1999night", where="Table 2", says="a", corrected="b")
    def table():
        return Refutation(Evidence.at_most("gap", 1, 0), Evidence.at_most("gap", 0, 0))
"""
BROKEN = """
    from hopmix.claim import Evidence, claim
    @claim(statement="Foxes break.", source="this book", kind="finding")
    def crash():
        raise ZeroDivisionError("no\\nholes")
"""
DERIVATION = """
    import sympy as sp
    from hopmix.derivation import Derivation
    DERIVATION = Derivation("burrow/{name}", "How a {name} digs", ["digger2001holes"], {{}})
    x = sp.Symbol("x", real=True)
    DERIVATION.define("depth", sp.Eq(sp.Symbol("d"), x + 1), "Depth.")
    DERIVATION.exact("square", sp.Eq((x + 1) ** 2, x**2 {sign} 2 * x + 1), "Multiply out.")
"""
EXPERIMENT = """
    from hopmix.experiment import Experiment
    EXPERIMENT = Experiment("burrow.rabbit", 1, {"smoke": {"seeds": 2}, "laptop": {"seeds": 4}}, lambda c: list(range(c["seeds"])),
                            lambda c, key: {"depth": key / 3}, lambda c, trials: {"mean": sum(t["depth"] for t in trials) / len(trials), "all": [1] * 9})
"""


@pytest.fixture
def burrow(house):
    house.chapter("burrow/rabbit", claims=CLAIMS, derivation=DERIVATION.format(name="rabbit", sign="+"), experiment=EXPERIMENT)
    return house


@pytest.fixture
def hopmix_command(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return call


def one_line(text):
    return text.startswith("hopmix: ") and text.count("\n") == 1 and text.endswith("\n")


def test_list(burrow, hopmix_command):
    code, out, err = hopmix_command("list")
    assert (code, err) == (0, "")
    assert "claims (2)\n  burrow.rabbit.dig  Rabbits dig.\n  burrow.rabbit.fly  Rabbits fly.\n" in out
    assert hopmix_command("list", "experiments") == (0, "burrow.rabbit  smoke, laptop\n", "")
    code, out, _ = hopmix_command("list", "--json")
    content = json.loads(out)
    assert list(content) == ["chapters", "claims", "derivations", "errata", "experiments"]
    assert content["derivations"] == [{"name": "burrow/rabbit", "about": "How a rabbit digs"}]
    _, out, _ = hopmix_command("list", "labels", "--json")
    assert [entry["name"] for entry in json.loads(out)["labels"]] == labels() != []


def test_verify_all(burrow, hopmix_command):
    code, out, err = hopmix_command("verify")
    assert (code, err) == (0, "")
    for line in (
        "verified  burrow/rabbit: 2 steps",
        "holds  burrow.rabbit.dig: measured 2 holes, to be ≥ 1 holes\n",
        "not reproduced  burrow.rabbit.fly: measured not a number, to be ≥ 1\n",
        "stands  burrow.rabbit.table: as found, measured 1, to be ≤ 0; corrected, measured 0, to be ≤ 0\n",
        "1 of 1 derivations verified, 1 of 2 claims hold, 1 of 1 errata stand\n",
    ):
        assert line in out


def test_strict_fails_on_what_is_not_reproduced(burrow, hopmix_command):
    code, out, err = hopmix_command("verify", "--strict")
    assert (code, err) == (1, "hopmix: failed: burrow.rabbit.fly\n")
    assert "holds  burrow.rabbit.dig" in out
    assert hopmix_command("verify", "--strict", "burrow.rabbit.dig", "burrow.rabbit.table")[0] == 0


@pytest.mark.parametrize(
    ("name", "derivations", "claims", "errata"),
    [("burrow.rabbit.dig", 0, 1, 0), ("burrow.rabbit.table", 0, 0, 1), ("burrow/rabbit", 1, 2, 1), ("burrow.rabbit", 1, 2, 1), ("burrow", 1, 2, 1)],
)
def test_verify_by_name(burrow, hopmix_command, name, derivations, claims, errata):
    burrow.chapter("burrow/rabbit_hole", claims=CLAIMS)  # a name that begins like another's is another
    extra = 2 if name == "burrow" else 0
    code, out, _ = hopmix_command("verify", name, name, "--json")
    report = json.loads(out)
    assert code == 0
    assert (len(report["derivations"]), len(report["claims"]), len(report["errata"])) == (derivations, claims + extra, errata + extra // 2)


def test_verify_json_is_json_even_with_nan(burrow, hopmix_command):
    code, out, err = hopmix_command("verify", "--json")
    report = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert (code, err, report["ok"]) == (0, "", True)
    dig, fly = report["claims"]
    assert list(dig) == ["error", "evidence", "kind", "name", "ok", "seconds", "source", "verdict"]
    assert dig["evidence"]["measured"] == 2.0 and dig["evidence"]["holds"] is True
    assert (fly["ok"], fly["verdict"], fly["evidence"]["measured"]) == (False, "not reproduced", "nan")
    assert report["errata"][0]["evidence"]["published"]["bound"] == 0.0
    assert list(report["derivations"][0]) == ["error", "name", "ok", "seconds", "steps"]


def test_a_claim_that_raises_fails_and_the_others_still_run(burrow, hopmix_command):
    burrow.chapter("burrow/fox", claims=BROKEN)
    code, out, err = hopmix_command("verify")
    assert (code, err) == (1, "hopmix: failed: burrow.fox.crash\n")
    assert "FAILED  burrow.fox.crash: ZeroDivisionError: no" in out
    assert "holds  burrow.rabbit.dig" in out
    code, out, _ = hopmix_command("verify", "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["claims"][0]["verdict"]) == (1, False, "error")


def test_a_wrong_derivation_fails_by_name(burrow, hopmix_command):
    burrow.chapter("burrow/fox", derivation=DERIVATION.format(name="fox", sign="-"))
    code, out, err = hopmix_command("verify")
    assert (code, err) == (1, "hopmix: failed: burrow/fox\n")
    assert "FAILED  burrow/fox: " in out and "square" in out
    assert "verified  burrow/rabbit" in out
    code, out, err = hopmix_command("derive", "burrow/fox")
    assert (code, out) == (1, "") and one_line(err) and "square" in err


def test_run(burrow, hopmix_command, tmp_path):
    folder = tmp_path / "a folder"
    code, out, err = hopmix_command("run", "burrow.rabbit", "--folder", folder)
    assert (code, err) == (0, "")
    assert "burrow.rabbit at scale smoke: 2 trials" in out and "mean: 0.167" in out and "all: [1, 1, 1, 1, 1, 1, …]" in out
    assert str(folder / "burrow.rabbit.smoke.json") in out
    code, out, _ = hopmix_command("run", "burrow/rabbit", "--folder", folder, "--json")
    assert out == (folder / "burrow.rabbit.smoke.json").read_text()
    assert json.loads(out)["summary"]["mean"] == (0 / 3 + 1 / 3) / 2
    code, out, _ = hopmix_command("run", "burrow.rabbit", "--folder", folder, "--scale", "laptop", "--json")
    assert len(json.loads(out)["trials"]) == 4


def test_run_says_what_is_wrong_with_a_result_and_fresh_mends_it(burrow, hopmix_command, tmp_path):
    path = tmp_path / "burrow.rabbit.smoke.json"
    path.write_text("{")
    code, out, err = hopmix_command("run", "burrow.rabbit", "--folder", tmp_path)
    assert (code, out) == (1, "") and one_line(err) and "is no JSON" in err
    assert hopmix_command("run", "burrow.rabbit", "--folder", tmp_path, "--fresh")[0] == 0
    path.write_text(path.read_text().replace('"seeds": 2', '"seeds": 7'))
    code, _, err = hopmix_command("run", "burrow.rabbit", "--folder", tmp_path)
    assert code == 1 and one_line(err) and "config.seeds (7 in the file, 2 now)" in err
    (tmp_path / "file").touch()
    code, _, err = hopmix_command("run", "burrow.rabbit", "--folder", tmp_path / "file")
    assert code == 1 and one_line(err)


def test_cite(burrow, hopmix_command, monkeypatch):
    code, out, err = hopmix_command("cite", "rabbit-square")
    assert (code, err) == (0, "")
    link, bibtex = out.split("\n", 1)
    assert link == "book/burrow/rabbit.html#equation-rabbit-square"
    entries = parse_string(bibtex, "bibtex").entries
    assert list(entries) == ["hopmix-rabbit-square", "digger2001holes"]
    _, out, _ = hopmix_command("cite", "rabbit-square", "--json")
    assert list(json.loads(out)) == ["bibtex", "kind", "label", "permalink", "source_keys", "sources", "title"]
    monkeypatch.setenv("HOPMIX_SITE_URL", "nowhere")
    code, _, err = hopmix_command("cite", "rabbit-square")
    assert code == 2 and one_line(err) and "HOPMIX_SITE_URL: 'nowhere'" in err


def test_derive(burrow, hopmix_command, tmp_path):
    target = tmp_path / "rabbit.tex"
    code, out, err = hopmix_command("derive", "burrow/rabbit", "--latex", target)
    assert (code, err) == (0, "")
    assert out.startswith("How a rabbit digs\n") and "rabbit-square (exact" in out and "Multiply out." in out
    assert target.read_text().startswith("\\documentclass") and "\\end{document}" in target.read_text()
    _, out, _ = hopmix_command("derive", "burrow.rabbit", "--json")
    content = json.loads(out)
    assert [step["label"] for step in content["steps"]] == ["rabbit-depth", "rabbit-square"]
    assert list(content) == ["latex", "name", "steps", "title"] and content["latex"] is None
    code, out, err = hopmix_command("derive", "burrow/rabbit", "--latex", tmp_path / "none" / "a.tex")
    assert (code, out) == (1, "") and one_line(err) and "No such file" in err
    assert str(tmp_path / "none" / "a.tex") in err and ".tmp" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "burrow.rabbit.digg"], "nothing to verify is called 'burrow.rabbit.digg'; the nearest: burrow.rabbit.dig"),
        (["verify", ""], "nothing to verify is called ''"),
        (["run", "burrow.rabit"], "no experiment is called 'burrow.rabit'; the nearest: burrow.rabbit"),
        (["run", "burrow.rabbit", "--scale", "gpu"], "burrow.rabbit has no scale 'gpu'; it has smoke, laptop"),
        (["run", "burrow.rabbit", "--scale", "huge"], "burrow.rabbit has no scale 'huge'; it has smoke, laptop"),
        (["run", "burrow.rabbit", "--scale", "labtop"], "no scale 'labtop'; the nearest: laptop; it has smoke, laptop"),
        (["cite", "rabbit-sqare"], "nothing is called 'rabbit-sqare'; the nearest: rabbit-square"),
        (["derive", "burrow/rabit"], "no derivation is called 'burrow/rabit'; the nearest: burrow/rabbit"),
        (["list", "clams"], "no kind of thing is called 'clams'; the nearest: claims; there are chapters, derivations, claims"),
        (["lists"], "no command is called 'lists'; the nearest: list; there are list, verify, run, cite, derive."),
        (["derive", "burrow/rabbit", "--latex", ""], "--latex: '' is no name; allowed: a file"),
        (["derive", "burrow/rabbit", "--latex", "/"], "--latex: '/' is a folder; allowed: a file"),
        (["cite"], "Missing argument"),
        (["verify", "--strikt"], "--strikt"),
        ([], "Missing command"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_is_not_understood_is_one_line_and_exit_code_2(burrow, hopmix_command, arguments, words, flags):
    code, out, err = hopmix_command(*arguments, *(flags if arguments and arguments[0] != "lists" else []))
    assert (code, out) == (2, "")
    assert one_line(err) and words in err and "Value error" not in err


@pytest.mark.parametrize("command", ["cite", "derive", "run", "verify"])
def test_nothing_that_is_typed_is_evaluated(burrow, hopmix_command, command, tmp_path):
    target = tmp_path / "evaluated"
    for text in (f"__import__('pathlib').Path({str(target)!r}).touch()", "../../etc/passwd", "os.system", "\\input{x}", "x" * 5000):
        code, out, err = hopmix_command(command, text)
        assert (code, out) == (2, "") and one_line(err)
    assert not target.exists()


NEEDY = """
    from hopmix.claim import Evidence, claim
    @claim(statement="Moles read.", source="this book", kind="finding")
    def read():
        raise ImportError("install it with  pip install 'hopmix[train]'")
"""
MISTAKEN = """
    from hopmix.claim import Evidence, claim
    @claim(statement="Moles err.", source="this book", kind="finding")
    def err():
        from hopmix.chapter import no_such_thing
"""


@pytest.mark.parametrize("flags", [[], ["--strict"]])
def test_a_claim_whose_library_is_absent_is_not_checked_and_no_failure(burrow, hopmix_command, flags):
    burrow.chapter("burrow/mole", claims=NEEDY)
    code, out, err = hopmix_command("verify", "burrow.mole", "burrow.rabbit.dig", *flags)
    assert (code, err) == (0, "")
    assert "not checked  burrow.mole.read: needs hopmix[train]\n" in out
    assert out.endswith("0 of 0 derivations verified, 1 of 1 claims hold, 0 of 0 errata stand; 1 not checked: needs hopmix[train]\n")
    report = json.loads(hopmix_command("verify", "burrow.mole", "--json", *flags)[1])
    assert (report["ok"], report["claims"][0]["verdict"], report["claims"][0]["ok"]) == (True, "not checked", False)


def test_a_wrong_import_inside_hopmix_is_a_failure(burrow, hopmix_command):
    burrow.chapter("burrow/mole", claims=MISTAKEN)
    code, out, err = hopmix_command("verify", "burrow.mole")
    assert (code, err) == (1, "hopmix: failed: burrow.mole.err\n") and "FAILED  burrow.mole.err: ImportError" in out


BROKEN_RUN = """
    from hopmix.experiment import Experiment
    def trial(config, key):
        {body}
    EXPERIMENT = Experiment("burrow.mole", 1, {{"smoke": {config}}}, lambda c: [0], trial, lambda c, trials: {{"b": 1, "a": {{"d": 2, "c": 3}}}})
"""


@pytest.mark.parametrize(
    ("body", "config", "words"),
    [
        ("raise ImportError('the digits: pip install \\'hopmix[train]\\'')", {}, "hopmix: the digits: pip install 'hopmix[train]'"),
        ("return {}", {"device": "cuda:99"}, "config.device: 'cuda:99' is not available here"),
        ("return {}", {"device": "burrow"}, "config.device: 'burrow' is not available here"),
    ],
)
def test_a_run_that_lacks_a_library_or_a_device_says_so_in_one_line(burrow, hopmix_command, tmp_path, body, config, words):
    burrow.chapter("burrow/mole", experiment=BROKEN_RUN.format(body=body, config=config))
    code, out, err = hopmix_command("run", "burrow.mole", "--folder", tmp_path / "results")
    assert (code, out) == (1, "") and one_line(err) and words in err
    assert not (tmp_path / "results" / ".partial").exists()


@pytest.mark.parametrize("body", ["return 1 / 0", "from hopmix.chapter import no_such_thing"])
def test_a_mistake_in_a_trial_keeps_its_traceback(burrow, tmp_path, body):
    burrow.chapter("burrow/mole", experiment=BROKEN_RUN.format(body=body, config={}))
    with pytest.raises((ZeroDivisionError, ImportError)):
        main(["run", "burrow.mole", "--folder", str(tmp_path / "results")])


def test_a_summary_is_printed_alike_when_run_and_when_loaded(burrow, hopmix_command, tmp_path):
    burrow.chapter("burrow/mole", experiment=BROKEN_RUN.format(body="return {}", config={}))
    fresh, loaded = (hopmix_command("run", "burrow.mole", "--folder", tmp_path) for _ in range(2))
    assert fresh == loaded and "  a: {'c': 3, 'd': 2}\n  b: 1\n" in fresh[1]


def test_a_result_of_other_sources_is_loaded_with_a_note(burrow, hopmix_command, tmp_path):
    _, first, err = hopmix_command("run", "burrow.rabbit", "--folder", tmp_path, "--json")
    assert err == ""
    path = tmp_path / "burrow.rabbit.smoke.json"
    content = json.loads(first)
    content["provenance"]["sources"] = "0123456789abcdef"
    path.write_text(json.dumps(content))
    code, out, err = hopmix_command("run", "burrow.rabbit", "--folder", tmp_path, "--json")
    assert code == 0 and json.loads(out)["trials"] == content["trials"]
    assert one_line(err) and "other sources 0123456789ab (now " in err and "--fresh" in err


def test_an_evidence_folder_that_is_a_file_is_refused_at_once(burrow, hopmix_command, monkeypatch, tmp_path):
    (tmp_path / "evidence").touch()
    monkeypatch.setenv("HOPMIX_EVIDENCE", str(tmp_path / "evidence"))
    code, out, err = hopmix_command("verify", "burrow.rabbit.dig")
    assert (code, out) == (2, "") and one_line(err) and "HOPMIX_EVIDENCE: " in err and "is a file; allowed: a folder" in err


def test_version(hopmix_command):
    assert hopmix_command("--version") == (0, f"hopmix {hopmix.__version__}\n", "")


def test_a_page_is_cited_by_its_file_too(burrow, hopmix_command):
    assert hopmix_command("cite", "book/burrow/rabbit.md") == hopmix_command("cite", "book/burrow/rabbit") == hopmix_command("cite", "burrow/rabbit")


@pytest.mark.parametrize(("closed", "arguments", "code"), [("stdout", "list chapters", 0), ("stderr", "lists", 2)])
def test_a_closed_stream_is_no_traceback(tmp_path, closed, arguments, code):
    shell = f'"{sys.executable}" -m hopmix.cli {arguments} {">&-" if closed == "stdout" else "2>&-"}'
    environment = os.environ | {"PYTHONPATH": str(Path(hopmix.__file__).parent.parent)}
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def _process(*arguments, **variables):
    environment = os.environ | {"PYTHONPATH": str(Path(hopmix.__file__).parent.parent)} | variables
    return subprocess.Popen([sys.executable, "-m", "hopmix.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_the_command_as_a_process():
    with _process("list", "chapters") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"memory/hopfield_mixer" in out.split()


@pytest.mark.parametrize("unbuffered", ["", "1"])  # the pipe breaks at the end, or at the first word
def test_a_reader_that_leaves_early_is_no_error(unbuffered):
    with _process("list", "chapters", PYTHONUNBUFFERED=unbuffered) as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait(60)
    assert err == b"" and process.returncode == 1
