"""What `hopmix verify` says of one derivation, claim or erratum, and of them all: a row for machines with a line for people."""

from hopmix.claim import Claim, Erratum, Evidence
from hopmix.ledger import format_bound, format_measured, format_number

NOT_CHECKED = "not checked"
_EXTRA = "needs hopmix[train]"


def verify_derivation(name: str, derivation) -> dict:
    """Check a derivation: {"name", "ok", "steps", "seconds", "error" (None where there is none), "line"}."""
    from hopmix.derivation import VerificationError  # loads sympy

    try:
        rows = derivation.verify().rows
    except VerificationError as error:
        message = str(error)
        return {"name": name, "ok": False, "steps": 0, "seconds": 0.0, "error": message, "line": f"FAILED  {name}: {message}"}
    seconds = sum(row.seconds for row in rows)
    line = f"verified  {name}: {len(rows)} steps, {format_number(seconds, 's', 2)}"
    return {"name": name, "ok": True, "steps": len(rows), "seconds": seconds, "error": None, "line": line}


def verify_claim(entry: Claim | Erratum) -> dict:
    """Check a claim or erratum: {"name", "kind", "source", "ok", "verdict", "seconds", "evidence", "error", "line"}.

    One that needs a library of the extra "train" which is not installed has the verdict "not checked".
    """
    row = {"name": entry.name, "kind": entry.kind, "source": entry.source, "ok": False, "seconds": None, "evidence": None}
    try:
        verdict = entry.check()
    except Exception as error:  # whatever a claim's own code raises is that claim's failure, and the others still get their turn
        message = f"{type(error).__name__}: {error}"
        if is_absent_extra(error):
            return {**row, "verdict": NOT_CHECKED, "error": message, "line": f"{NOT_CHECKED}  {entry.name}: {_EXTRA}"}
        return {**row, "verdict": "error", "error": message, "line": f"FAILED  {entry.name}: {message}"}
    found = verdict.evidence
    if isinstance(found, Evidence):
        evidence, text = _evidence(found), _held_against(found)
    else:
        evidence = {"published": _evidence(found.published), "corrected": _evidence(found.corrected)}
        text = f"as found, {_held_against(found.published)}; corrected, {_held_against(found.corrected)}"
    line = f"{verdict.word}  {entry.name}: {text}"
    return {**row, "ok": verdict.holds, "verdict": verdict.word, "seconds": verdict.seconds, "evidence": evidence, "error": None, "line": line}


def is_absent_extra(error: Exception) -> bool:
    """Whether an error says that another library is absent; a wrong import inside hopmix is a mistake of its own."""
    return isinstance(error, ImportError) and not (error.name or "").startswith("hopmix")


def failed(row: dict, strict: bool) -> bool:
    """Whether a row is a failure: what could not be checked is none."""
    return row.get("verdict") != NOT_CHECKED and bool(row["error"] or (strict and not row["ok"]))


def tally(report: dict) -> str:
    """The closing line: how many of those checked are as they should be, and how many could not be checked."""

    def kept(rows: list[dict]) -> str:
        checked = [row for row in rows if row.get("verdict") != NOT_CHECKED]
        return f"{sum(row['ok'] for row in checked)} of {len(checked)}"

    text = f"{kept(report['derivations'])} derivations verified, {kept(report['claims'])} claims hold, {kept(report['errata'])} errata stand"
    absent = sum(row["verdict"] == NOT_CHECKED for row in [*report["claims"], *report["errata"]])
    return f"{text}; {absent} {NOT_CHECKED}: {_EXTRA}" if absent else text


def _held_against(evidence: Evidence) -> str:
    return f"measured {format_measured(evidence)}, to be {format_bound(evidence)}"


def _evidence(evidence: Evidence) -> dict:
    return {**vars(evidence), "holds": evidence.holds}
