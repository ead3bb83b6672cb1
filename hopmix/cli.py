"""The command line: list, verify, run, cite and derive.

Answers go to stdout (only JSON there with --json), progress and errors to stderr. Exit codes: 0 done, 1 something failed its check,
2 the command was not understood. What is typed is looked up among the known names, never evaluated.
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import hopmix
from hopmix import cite as citing
from hopmix.chapter import chapters
from hopmix.claim import Claim, Erratum, claims, errata, evidence_folder
from hopmix.experiment import ExperimentBusy, MissingDevice, experiments
from hopmix.ledger import format_number
from hopmix.provenance import write_atomically
from hopmix.report import failed, is_absent_extra, tally, verify_claim, verify_derivation
from hopmix.result import CorruptResult, NotFinite, ResultMismatch

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


class UsageError(Exception):
    """The command cannot be understood: exit code 2."""


class Failure(Exception):
    """Something failed its check: exit code 1."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"hopmix {hopmix.__version__}")
        raise typer.Exit


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)] = False) -> None:
    pass


@app.command("list")
def list_(kind: Annotated[str | None, typer.Argument(help=f"What to list: {', '.join(Kind)}; everything but the labels if left out.")] = None, as_json: Json = False) -> None:
    """List what the book holds, by name."""
    if kind is not None and kind not in list(Kind):
        raise UsageError(_no_such("kind of thing", kind, list(Kind)))
    kinds = [Kind(kind)] if kind else [each for each in Kind if each is not Kind.labels]
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
    _setting(evidence_folder)
    chosen_derivations, chosen = _choose(names or [])
    report: dict[str, Any] = {"ok": True, "derivations": [], "claims": [], "errata": []}
    for name, derivation in _bar(chosen_derivations.items(), "derivations"):
        report["derivations"].append(verify_derivation(name, derivation))
    for entry in _bar(chosen, "claims"):
        report["claims" if isinstance(entry, Claim) else "errata"].append(verify_claim(entry))
    rows = [*report["derivations"], *report["claims"], *report["errata"]]
    broken = [row["name"] for row in rows if failed(row, strict)]
    report["ok"] = not broken
    if as_json:
        _print_json(report)
    else:
        for row in rows:
            print(row["line"])
        print(tally(report))
    if broken:
        raise Failure(f"failed: {', '.join(broken)}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="An experiment, such as memory.hopfield_mixer.")],
    scale: Annotated[str, typer.Option(help="smoke: seconds; laptop: minutes; gpu: the full study.")] = "smoke",
    folder: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Run even if there is a result, and replace it when done.")] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment, or load its result; a killed run goes on where it was."""
    known = experiments()
    if name.replace("/", ".") not in known:
        raise UsageError(f"no experiment is called {name!r}{citing.did_you_mean(name, list(known))}")
    experiment = known[name.replace("/", ".")]
    if scale not in experiment.scales:
        alike = citing.nearest(scale, list(experiment.scales))
        raise UsageError(f"{experiment.name} has no scale {scale!r}; {_nearest_are(alike)}it has {', '.join(experiment.scales)}")
    try:
        result = experiment.run(scale, folder=folder, fresh=fresh)
    except ImportError as error:
        if not is_absent_extra(error):
            raise
        raise Failure(str(error)) from error
    otherwise = result.made_otherwise()
    if otherwise:
        print(f"hopmix: note: this result was made by other {otherwise}; --fresh makes it anew", file=sys.stderr)
    if as_json:
        sys.stdout.write(result.to_json())
        return
    print(f"{result.name} at scale {result.scale}: {len(result.trials)} trials, {format_number(result.wall_seconds, 's')} on {result.device}")
    for key, value in json.loads(result.to_json())["summary"].items():  # in the file's order, also before it is loaded
        print(f"  {key}: {_short(value)}")
    print(f"in {folder / f'{result.name}.{result.scale}.json'}")


@app.command()
def cite(label: Annotated[str, typer.Argument(help="A chapter, page, equation, theorem, claim, erratum or figure.")], as_json: Json = False) -> None:
    """Print the permalink and BibTeX of a label, and the BibTeX of its sources."""
    _setting(citing.site_url)
    found = citing.find(label)
    if as_json:
        _print_json(vars(found))
        return
    print("\n\n".join([found.permalink, found.bibtex, *found.sources]))


@app.command()
def derive(
    name: Annotated[str, typer.Argument(help="A derivation, such as memory/hopfield_mixer.")],
    latex: Annotated[str | None, typer.Option(help="Write a LaTeX document that stands alone to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Check a derivation and show its steps."""
    known = _derivations()
    matching = [key for key in known if name.replace(".", "/") == key]
    if not matching:
        raise UsageError(f"no derivation is called {name!r}{citing.did_you_mean(name, list(known))}")
    if latex is not None and (not latex or Path(latex).is_dir()):
        raise UsageError(f"--latex: {latex!r} is {'a folder' if latex else 'no name'}; allowed: a file, which may exist")
    derivation = known[matching[0]]
    # What is shown is what was checked.
    checked = verify_derivation(matching[0], derivation)
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
        _print_json({"name": matching[0], "title": derivation.title, "latex": latex, "steps": steps})
        return
    print(derivation.title)
    for step in steps:
        print(f"\n{step['label']} ({step['kind']}, {step['source']})\n  {step['statement']}\n  {step['because']}")
    if latex is not None:
        print(f"\nin {latex}")


def main(arguments: list[str] | None = None) -> None:
    """The entry point: run a command and exit with its code."""
    # A stream that the caller has closed is None; the answer then goes nowhere, and the exit code still tells.
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w", encoding="utf-8") for stream in (sys.stdout, sys.stderr))
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
        _exit(f"{_understandable(error.format_message())} See hopmix --help.", 2)
    except (UsageError, citing.UnknownLabel) as error:
        _exit(str(error), 2)
    except (Failure, ResultMismatch, CorruptResult, ExperimentBusy, MissingDevice, NotFinite, OSError) as error:
        _exit(str(error), 1)
    except typer.Abort:
        _exit("interrupted", 1)
    sys.exit(code if isinstance(code, int) else 0)


# typer carries its own copy of click in some versions; the class is found through the one name that it exports.
_CLICK_ERROR = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _understandable(message: str) -> str:
    """A complaint of the parser of arguments, with the nearest command where none is called so, and a full stop."""
    unknown = re.match(r"No such command '(.*?)'", message)
    if unknown:
        message = _no_such("command", unknown[1], [command.name or command.callback.__name__ for command in app.registered_commands])
    return message.replace("Value error, ", "").rstrip(".?") + "."


def _no_such(what: str, name: str, known: list[str]) -> str:
    return f"no {what} is called {name!r}; {_nearest_are(citing.nearest(name, known))}there are {', '.join(known)}"


def _nearest_are(alike: list[str]) -> str:
    return f"the nearest: {', '.join(alike)}; " if alike else ""


def _setting(read) -> None:
    """Read an environment variable that a command depends on; a wrong one is a usage error."""
    try:
        read()
    except ValueError as error:
        raise UsageError(str(error)) from None


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
