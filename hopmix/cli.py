"""The command line: list, verify, run, cite and derive.

Answers go to stdout (only JSON there with --json), progress and errors to stderr. Exit codes: 0 done, 1 something failed its check,
2 the command was not understood. What is typed is looked up among the known names, never evaluated.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hopmix import cite as citing
from hopmix.chapter import chapters
from hopmix.claim import Claim, Erratum, Evidence, claims, errata
from hopmix.experiment import CorruptResult, ExperimentBusy, NotFinite, ResultMismatch, experiments
from hopmix.ledger import format_bound, format_measured, format_number
from hopmix.provenance import write_atomically

app = typer.Typer(
    name="hopmix",
    help="The library and the checks of an executable book on associative memories and MLP-Mixers.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else, on stdout.")]


class Kind(StrEnum):
    chapters = "chapters"
    derivations = "derivations"
    claims = "claims"
    errata = "errata"
    experiments = "experiments"
    labels = "labels"


class Scale(StrEnum):
    smoke = "smoke"
    laptop = "laptop"
    gpu = "gpu"


class UsageError(Exception):
    """The command cannot be understood: exit code 2."""


class Failure(Exception):
    """Something failed its check: exit code 1."""


@app.command("list")
def list_(kind: Annotated[Kind | None, typer.Argument(help="What to list; everything but the labels if left out.")] = None, as_json: Json = False) -> None:
    """List what the book holds, by name."""
    kinds = [kind] if kind else [each for each in Kind if each is not Kind.labels]
    found = {each.value: _listing(each) for each in kinds}
    if as_json:
        _print_json(found)
        return
    for name, entries in found.items():
        if not kind:
            print(f"{name} ({len(entries)})")
        for entry in entries:
            print(f"{'' if kind else '  '}{entry['name']}" + (f"  {entry['about']}" if entry["about"] else ""))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Derivations, claims, errata, chapters or parts; all if left out.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a claim is not reproduced, too.")] = False,
    as_json: Json = False,
) -> None:
    """Check derivations, claims and errata now."""
    chosen_derivations, chosen = _choose(names or [])
    report: dict[str, Any] = {"ok": True, "derivations": [], "claims": [], "errata": []}
    for name, derivation in _bar(chosen_derivations.items(), "derivations"):
        report["derivations"].append(_verify_derivation(name, derivation))
    for entry in _bar(chosen, "claims"):
        report["claims" if isinstance(entry, Claim) else "errata"].append(_verify_claim(entry))
    rows = [*report["derivations"], *report["claims"], *report["errata"]]
    broken = [row["name"] for row in rows if row["error"] or (strict and not row["ok"])]
    report["ok"] = not broken
    if as_json:
        _print_json(report)
    else:
        for row in rows:
            print(row["line"])
        print(_tally(report))
    if broken:
        raise Failure(f"failed: {', '.join(broken)}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="An experiment, such as memory.hopfield_mixer.")],
    scale: Annotated[Scale, typer.Option(help="smoke: seconds; laptop: minutes; gpu: the full study.")] = Scale.smoke,
    folder: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Run even if there is a result, and replace it when done.")] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment, or load its result; a killed run goes on where it was."""
    known = experiments()
    if name.replace("/", ".") not in known:
        raise UsageError(f"no experiment is called {name!r}{citing.did_you_mean(name, list(known))}")
    experiment = known[name.replace("/", ".")]
    if scale.value not in experiment.scales:
        raise UsageError(f"{experiment.name} has no scale {scale.value!r}; it has {', '.join(experiment.scales)}")
    result = experiment.run(scale.value, folder=folder, fresh=fresh)
    if as_json:
        sys.stdout.write(result.to_json())
        return
    print(f"{result.name} at scale {result.scale}: {len(result.trials)} trials, {format_number(result.wall_seconds, 's')} on {result.device}")
    for key, value in result.summary.items():
        print(f"  {key}: {_short(value)}")
    print(f"in {folder / f'{result.name}.{result.scale}.json'}")


@app.command()
def cite(label: Annotated[str, typer.Argument(help="A chapter, page, equation, claim, erratum or figure.")], as_json: Json = False) -> None:
    """Print the permalink and BibTeX of a label, and the BibTeX of its sources."""
    try:
        citing.site_url()
    except ValueError as error:
        raise UsageError(str(error)) from None
    found = citing.find(label)
    if as_json:
        _print_json(vars(found))
        return
    print("\n\n".join([found.permalink, found.bibtex, *found.sources]))


@app.command()
def derive(
    name: Annotated[str, typer.Argument(help="A derivation, such as memory/hopfield_mixer.")],
    latex: Annotated[Path | None, typer.Option(help="Write a LaTeX document that stands alone to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Check a derivation and show its steps."""
    known = _derivations()
    matching = [key for key in known if name.replace(".", "/") == key]
    if not matching:
        raise UsageError(f"no derivation is called {name!r}{citing.did_you_mean(name, list(known))}")
    derivation = known[matching[0]]
    # What is shown is what was checked.
    checked = _verify_derivation(matching[0], derivation)
    if checked["error"]:
        raise Failure(checked["error"])
    if latex is not None:
        write_atomically(latex, derivation.to_latex())
    steps = [
        {
            "id": step.id,
            "label": derivation.label(step.id),
            "kind": str(step.kind),
            "statement": str(step.statement),
            "because": step.because,
            "source": step.source,
        }
        for step in derivation.steps
    ]
    if as_json:
        _print_json({"name": matching[0], "title": derivation.title, "latex": None if latex is None else str(latex), "steps": steps})
        return
    print(derivation.title)
    for step in steps:
        print(f"\n{step['label']} ({step['kind']}, {step['source']})\n  {step['statement']}\n  {step['because']}")
    if latex is not None:
        print(f"\nin {latex}")


def main(arguments: list[str] | None = None) -> None:
    """The entry point: run a command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ≤ still gets its answer
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as `head` does; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except _CLICK_ERROR as error:
        _exit(f"{error.format_message()} See hopmix --help.", 2)
    except (UsageError, citing.UnknownLabel) as error:
        _exit(str(error), 2)
    except (Failure, ResultMismatch, CorruptResult, ExperimentBusy, NotFinite, OSError) as error:
        _exit(str(error), 1)
    except typer.Abort:
        _exit("interrupted", 1)
    sys.exit(code if isinstance(code, int) else 0)


# typer carries its own copy of click in some versions; the class is found through the one name that it exports.
_CLICK_ERROR = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _exit(message: str, code: int) -> None:
    print(f"hopmix: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _listing(kind: Kind) -> list[dict[str, str]]:
    if kind is Kind.chapters:
        pairs = [(name, "") for name in chapters()]
    elif kind is Kind.derivations:
        pairs = [(name, derivation.title) for name, derivation in _derivations().items()]
    elif kind is Kind.claims:
        pairs = [(claim.name, claim.statement) for claim in claims()]
    elif kind is Kind.errata:
        pairs = [(entry.name, entry.where) for entry in errata()]
    elif kind is Kind.experiments:
        pairs = [(name, ", ".join(experiment.scales)) for name, experiment in experiments().items()]
    else:
        pairs = [(label, "") for label in citing.labels()]
    return [{"name": name, "about": " ".join(about.split())} for name, about in pairs]


def _derivations() -> dict:
    from hopmix.derivation import derivations  # loads sympy

    return derivations()


def _choose(names: list[str]) -> tuple[dict, list[Claim | Erratum]]:
    """The derivations, claims and errata that the names mean: one of them, or all of a chapter or part."""
    known = _derivations()
    entries = [*claims(), *errata()]
    if not names:
        return known, entries
    every = sorted({*known, *(entry.name for entry in entries), *chapters(), *(chapter.split("/")[0] for chapter in chapters())})
    wanted_derivations, wanted = {}, {}
    for name in names:
        dotted = name.replace("/", ".")
        below = {key: known[key] for key in known if f"{key.replace('/', '.')}.".startswith(f"{dotted}.")}
        inside = {entry.name: entry for entry in entries if f"{entry.name}.".startswith(f"{dotted}.")}
        if not below and not inside and name not in every:
            raise UsageError(f"nothing to verify is called {name!r}{citing.did_you_mean(name, every)}")
        wanted_derivations |= below
        wanted |= inside
    return wanted_derivations, list(wanted.values())


def _verify_derivation(name: str, derivation) -> dict:
    from hopmix.derivation import VerificationError

    try:
        rows = derivation.verify().rows
    except VerificationError as error:
        message = str(error)
        return {"name": name, "ok": False, "steps": 0, "seconds": 0.0, "error": message, "line": f"FAILED  {name}: {message}"}
    seconds = sum(row.seconds for row in rows)
    line = f"verified  {name}: {len(rows)} steps, {format_number(seconds, 's', 2)}"
    return {"name": name, "ok": True, "steps": len(rows), "seconds": seconds, "error": None, "line": line}


def _verify_claim(entry: Claim | Erratum) -> dict:
    about = {"name": entry.name, "kind": entry.kind, "source": entry.source}
    try:
        verdict = entry.check()
    except Exception as error:  # whatever a claim's own code raises is that claim's failure, and the others still get their turn
        message = f"{type(error).__name__}: {error}"
        line = f"FAILED  {entry.name}: {message}"
        return {**about, "ok": False, "verdict": "error", "seconds": None, "evidence": None, "error": message, "line": line}
    found = verdict.evidence
    if isinstance(found, Evidence):
        evidence, text = _evidence(found), f"{format_measured(found)} {format_bound(found)}"
    else:
        evidence = {"published": _evidence(found.published), "corrected": _evidence(found.corrected)}
        text = f"published {format_measured(found.published)} {format_bound(found.published)}"
        text += f", corrected {format_measured(found.corrected)} {format_bound(found.corrected)}"
    line = f"{verdict.word}  {entry.name}: {text}"
    return {**about, "ok": verdict.holds, "verdict": verdict.word, "seconds": verdict.seconds, "evidence": evidence, "error": None, "line": line}


def _evidence(evidence: Evidence) -> dict:
    return {**vars(evidence), "holds": evidence.holds}


def _tally(report: dict) -> str:
    def kept(rows: list[dict]) -> str:
        return f"{sum(row['ok'] for row in rows)} of {len(rows)}"

    return (
        f"{kept(report['derivations'])} derivations verified, {kept(report['claims'])} claims hold, {kept(report['errata'])} errata stand"
    )


def _print_json(value: Any) -> None:
    print(json.dumps(_jsonable(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))


def _jsonable(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become the words "nan", "inf" and "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items() if key != "line"}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value


def _short(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return format_number(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value[:6]))}{', …' if len(value) > 6 else ''}]"
    return str(value)


def _bar(items: Iterable, title: str) -> Iterable:
    if not sys.stderr.isatty():
        return items
    from tqdm.auto import tqdm

    return tqdm(list(items), desc=title, leave=False)


if __name__ == "__main__":
    main()
