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
        "holds  burrow.rabbit.dig: 2 holes ≥ 1 holes\n",
        "not reproduced  burrow.rabbit.fly: not a number ≥ 1\n",
        "stands  burrow.rabbit.table: published 1 ≤ 0, corrected 0 ≤ 0\n",
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "burrow.rabbit.digg"], "nothing to verify is called 'burrow.rabbit.digg'; the nearest: burrow.rabbit.dig"),
        (["verify", ""], "nothing to verify is called ''"),
        (["run", "burrow.rabit"], "no experiment is called 'burrow.rabit'; the nearest: burrow.rabbit"),
        (["run", "burrow.rabbit", "--scale", "gpu"], "burrow.rabbit has no scale 'gpu'; it has smoke, laptop"),
        (["run", "burrow.rabbit", "--scale", "huge"], "huge"),
        (["cite", "rabbit-sqare"], "nothing is called 'rabbit-sqare'; the nearest: rabbit-square"),
        (["derive", "burrow/rabit"], "no derivation is called 'burrow/rabit'; the nearest: burrow/rabbit"),
        (["list", "claim"], "'claim'"),
        (["lists"], "lists"),
        (["cite"], "Missing argument"),
        (["verify", "--strikt"], "--strikt"),
        ([], "Missing command"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_is_not_understood_is_one_line_and_exit_code_2(burrow, hopmix_command, arguments, words, flags):
    code, out, err = hopmix_command(*arguments, *(flags if arguments and arguments[0] != "lists" else []))
    assert (code, out) == (2, "")
    assert one_line(err) and words in err


@pytest.mark.parametrize("command", ["cite", "derive", "run", "verify"])
def test_nothing_that_is_typed_is_evaluated(burrow, hopmix_command, command, tmp_path):
    target = tmp_path / "evaluated"
    for text in (f"__import__('pathlib').Path({str(target)!r}).touch()", "../../etc/passwd", "os.system", "\\input{x}", "x" * 5000):
        code, out, err = hopmix_command(command, text)
        assert (code, out) == (2, "") and one_line(err)
    assert not target.exists()


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
