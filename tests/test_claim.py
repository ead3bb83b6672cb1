"""Claims measure, refuse what is malformed, are found without a list, and reuse only verdicts of the same sources."""

import importlib
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hopmix import cite
from hopmix.claim import KINDS, Claim, Erratum, Evidence, Refutation, claim, claims, errata, erratum, evidence_folder, source_keys

MODULE = """
    from pathlib import Path
    from hopmix.claim import Evidence, Refutation, claim, erratum

    RUNS = Path(__file__).with_name("runs")

    def _count():
        RUNS.write_text(RUNS.read_text() + "x" if RUNS.exists() else "x")

    @claim(statement="Rabbits dig $3$ holes.", source="digger2001holes, p. 3", kind="finding")
    def holes():
        _count()
        return Evidence.between("holes", 3, 2, 4, unit="holes", seeds=(0, 1), spread=0.1, detail="in sand")

    @claim(statement="Rabbits fly.", source="this book", kind="theorem")
    def flight():
        return Evidence.at_least("height", float("nan"), 1.0)

    @erratum(source="owl1999night", where="Table 2", says="$1+1=3$", corrected="$1+1=2$")
    def addition():
        return Refutation(Evidence.at_most("difference", 1.0, 0.0), Evidence.at_most("difference", 0.0, 0.0))
"""

numbers = st.floats(allow_nan=False)


@given(numbers, numbers)
def test_bounds_include_their_ends_and_agree_with_order(measured, bound):
    assert Evidence.at_most("x", measured, bound).holds == (not measured > bound)
    assert Evidence.at_least("x", measured, bound).holds == (not measured < bound)
    low, high = sorted((measured, bound))
    assert Evidence.between("x", measured, low, high).holds
    assert Evidence.at_most("x", bound, bound).holds and Evidence.at_least("x", bound, bound).holds
    if low < high:
        outside = math.nextafter(low, -math.inf)
        assert not Evidence.between("x", outside, low, high).holds or outside == low


def test_nan_never_holds():
    nan = float("nan")
    for evidence in (Evidence.at_most("x", nan, 1), Evidence.at_least("x", nan, 1), Evidence.between("x", nan, 0, 1)):
        assert evidence.holds is False


def test_measurements_may_be_tensors_and_numpy_numbers():
    evidence = Evidence.at_most("x", torch.tensor(0.5, dtype=torch.float64), np.float64(1), seeds=np.arange(2), spread=np.float32(0.25))
    assert (evidence.measured, evidence.bound, evidence.seeds, evidence.spread) == (0.5, 1.0, (0, 1), 0.25)
    assert {type(evidence.measured), type(evidence.bound), type(evidence.spread)} == {float}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", 1.0, "<", 2.0), "relation: '<' is unknown; allowed: <=, >=, between"),
        (("x", 1.0, "<=", (1, 2)), "bound: .* does not fit '<='"),
        (("x", 1.0, "between", 2.0), "bound: 2.0 does not fit 'between'"),
        (("x", 1.0, "between", (1, 2, 3)), "does not fit"),
        (("x", 1.0, "between", (2, 1)), "low <= high"),
        (("x", 1.0, "<=", float("nan")), "bound: nan is no bound"),
    ],
)
def test_bad_evidence_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Evidence(*arguments)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"what": ""}, ValueError, "what: '' is empty"),
        ({"what": None}, ValueError, "what: None is empty"),
        ({"spread": -0.1}, ValueError, "spread: -0.1 is negative"),
        ({"spread": "wide"}, TypeError, "spread: 'wide' is str; allowed: a number"),
        ({"measured": None}, TypeError, "measured: None is NoneType; allowed: a number"),
        ({"bound": None}, TypeError, "bound: None is NoneType; allowed: a number"),
        ({"seeds": 3}, TypeError, "seeds: 3 is int; allowed: whole numbers"),
        ({"seeds": ["a"]}, TypeError, "seeds: .* is list"),
    ],
)
def test_evidence_names_what_is_wrong_with_it(change, error, words):
    with pytest.raises(error, match=words):
        Evidence(**{"what": "x", "measured": 1.0, "relation": "<=", "bound": 2.0} | change)


def test_a_refutation_holds_evidence_only():
    evidence = Evidence.at_most("x", 1, 0)
    with pytest.raises(TypeError, match="corrected: float is no evidence; allowed: Evidence"):
        Refutation(evidence, 1.0)
    with pytest.raises(TypeError, match="published: NoneType is no evidence"):
        Refutation(None, evidence)


def test_an_evidence_folder_must_not_be_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("HOPMIX_EVIDENCE", str(tmp_path / "new"))
    assert evidence_folder() == tmp_path / "new"
    (tmp_path / "new").touch()
    with pytest.raises(ValueError, match="HOPMIX_EVIDENCE: .*new' is a file; allowed: a folder"):
        evidence_folder()
    monkeypatch.setenv("HOPMIX_EVIDENCE", "")
    assert evidence_folder() is None


@pytest.mark.parametrize(
    ("published", "corrected", "stands"), [(True, True, False), (True, False, False), (False, True, True), (False, False, False)]
)
def test_a_refutation_stands_only_when_the_published_fails_and_the_corrected_holds(published, corrected, stands):
    def evidence(holds):
        return Evidence.at_most("x", 0.0 if holds else 2.0, 1.0)

    assert Refutation(evidence(published), evidence(corrected)).holds is stands


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "guess"}, f"kind: 'guess' is unknown; allowed: {', '.join(KINDS)}"),
        ({"source": " "}, "source: ' ' is empty"),
        ({"statement": ""}, "statement: '' is empty"),
        ({"source": None}, "source: None is empty"),
    ],
)
def test_a_malformed_claim_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        claim(**{"statement": "s", "source": "this book", "kind": "identity"} | arguments)
    if "source" in arguments:
        with pytest.raises(ValueError, match=words):
            erratum(**{"where": "w", "says": "s", "corrected": "c"} | arguments)


def test_a_function_with_arguments_is_refused_but_defaults_are_fine():
    make = claim(statement="s", source="this book", kind="identity")
    with pytest.raises(TypeError, match=r"needs\(size\) needs arguments; allowed: none"):

        @make
        def needs(size): ...

    @make
    def has_default(size=3):
        return Evidence.at_most("size", size, 3)

    assert has_default.check().holds


def test_a_claim_must_return_evidence():
    @claim(statement="s", source="this book", kind="identity")
    def forgetful():
        return 3.0

    with pytest.raises(TypeError, match="forgetful returned float; allowed: Evidence"):
        forgetful.check()

    @erratum(source="this book", where="w", says="s", corrected="c")
    def half():
        return Evidence.at_most("x", 0, 1)

    with pytest.raises(TypeError, match="half returned Evidence; allowed: Refutation"):
        half.check()


def test_claims_are_discovered_named_and_checked(house):
    house.chapter("burrow/rabbit", claims=MODULE)
    house.chapter("nest/owl", claims="from hopmix.burrow.rabbit.claims import holes\nalias = holes\n")
    assert [c.name for c in claims()] == ["burrow.rabbit.flight", "burrow.rabbit.holes"]
    assert [e.name for e in errata()] == ["burrow.rabbit.addition"]
    assert [c.name for c in claims("burrow")] == [c.name for c in claims("burrow/rabbit")] == [c.name for c in claims()]
    assert claims("nest") == []
    flight, holes = (c.check() for c in claims())
    assert (holes.name, holes.holds, holes.word, holes.evidence.measured) == ("burrow.rabbit.holes", True, "holds", 3.0)
    assert (flight.holds, flight.word) == (False, "not reproduced")
    assert errata()[0].check().word == "stands"
    assert holes.claim.part == "burrow"
    assert holes.seconds > 0


@pytest.mark.parametrize("part", ["burro", "burrow/rab", "hopmix", ""])
def test_an_unknown_part_is_refused(house, part):
    house.chapter("burrow/rabbit", claims=MODULE)
    with pytest.raises(ValueError, match=f"part: '{part}' has no chapter; allowed: .*burrow/rabbit"):
        claims(part)


def test_a_name_used_twice_in_one_module_is_refused(house):
    for i, second in enumerate(('@claim(statement="b", source="this book", kind="identity")', '@erratum(source="s", where="w", says="s", corrected="c")')):
        house.chapter(
            f"burrow/rabbit{i}",
            claims=f"""
            from hopmix.claim import claim, erratum
            @claim(statement="a", source="this book", kind="identity")
            def same(): ...
            {second}
            def same(): ...
            """,
        )
        with pytest.raises(ValueError, match=rf"the name 'burrow.rabbit{i}.same' is already taken"):
            importlib.import_module(f"hopmix.burrow.rabbit{i}.claims")


def test_reloading_a_module_of_claims_is_no_duplicate(house):
    house.chapter("burrow/rabbit", claims=MODULE)
    module = importlib.import_module("hopmix.burrow.rabbit.claims")
    first = module.holes
    importlib.reload(module)
    assert module.holes is not first
    assert [c.name for c in claims()] == ["burrow.rabbit.flight", "burrow.rabbit.holes"]


def _runs(house):
    return len((house.sources / "burrow" / "rabbit" / "runs").read_text())


def test_verdicts_are_stored_and_reused_while_the_sources_are_the_same(house, tmp_path, monkeypatch):
    house.chapter("burrow/rabbit", claims=MODULE)
    _, holes = claims()
    holes.check(), holes.check()
    assert _runs(house) == 2  # live without a store
    store = tmp_path / "deep" / "evidence"
    monkeypatch.setenv("HOPMIX_EVIDENCE", str(store))
    first, second = holes.check(), holes.check()
    assert _runs(house) == 3
    assert second == first
    (house.sources / "burrow" / "new.py").write_text("")
    assert holes.check().evidence == first.evidence
    assert _runs(house) == 4
    monkeypatch.setattr("hopmix.claim.library_versions", lambda: {"numpy": "0"})
    holes.check()
    assert _runs(house) == 5


def test_a_claim_from_elsewhere_is_never_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("HOPMIX_EVIDENCE", str(tmp_path / "store"))
    calls = []

    @claim(statement="s", source="this book", kind="identity")
    def counted():
        calls.append(1)
        return Evidence.at_most("x", 0, 1)

    counted.check(), counted.check()
    assert len(calls) == 2
    assert not (tmp_path / "store").exists()


def test_every_kind_of_verdict_survives_the_store(house, tmp_path, monkeypatch):
    house.chapter("burrow/rabbit", claims=MODULE)
    monkeypatch.setenv("HOPMIX_EVIDENCE", str(tmp_path))
    for entry in [*claims(), *errata()]:
        live, stored = entry.check(), entry.check()
        assert repr(stored.evidence) == repr(live.evidence)  # repr, as NaN differs from itself
        assert stored.seconds == live.seconds


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"key": 1}', "KEY", '{"seconds": 1}', "\0"])
def test_a_broken_store_is_measured_again_and_repaired(house, tmp_path, monkeypatch, text):
    house.chapter("burrow/rabbit", claims=MODULE)
    monkeypatch.setenv("HOPMIX_EVIDENCE", str(tmp_path))
    holes = claims()[1]
    expected = holes.check()
    path = tmp_path / "burrow.rabbit.holes.json"
    if text == "KEY":  # the right key, but nothing under it
        text = json.dumps({"key": json.loads(path.read_text())["key"], "seconds": 1.0})
    path.write_text(text)
    assert holes.check().evidence == expected.evidence
    assert _runs(house) == 2
    assert holes.check().evidence == expected.evidence
    assert _runs(house) == 2


def test_source_keys():
    assert source_keys("this book") == source_keys(None) == source_keys(()) == ()
    assert source_keys("a2001b (Theorem 2); this book; c1999d: eq. 3") == ("a2001b", "c1999d")
    assert source_keys(("this book", "a2001b")) == ("a2001b",)


def test_the_books_claims_are_well_formed():
    known = cite.bibliography()
    entries = [*claims(), *errata()]
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert isinstance(entry, (Claim, Erratum))
        keys = source_keys(entry.source)
        assert set(keys) <= set(known), entry.name
        assert keys or entry.source == "this book", entry.name
