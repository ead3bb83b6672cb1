"""The commands around the book: make, and what continuous integration runs."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")}


@pytest.fixture
def make(tmp_path):
    """make in a folder that has nothing but the Makefile, this Python as its environment and an empty site."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").touch()
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)

    def call(*arguments):
        # The environment counts as made: nothing here may install anything.
        return subprocess.run(["make", "--old-file", ".venv/.ready", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return call


def test_serve_says_that_a_port_is_taken(make):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = make("serve", f"PORT={port}")
    first = done.stderr.splitlines()[0]
    assert done.returncode != 0 and "The book is at" not in done.stdout and "Traceback" not in done.stderr
    assert first.startswith(f"Port {port} is taken")


def test_clean_removes_what_unfinished_runs_left(make, tmp_path):
    (tmp_path / "results" / ".partial").mkdir(parents=True)
    (tmp_path / "results" / "kept.json").touch()
    assert make("clean").returncode == 0
    assert os.listdir(tmp_path / "results") == ["kept.json"]


def test_lab_starts_for_root(make):
    assert ("--allow-root" in make("--dry-run", "lab").stdout) == (os.getuid() == 0)


def test_the_site_is_published_after_the_tests():
    jobs = yaml.safe_load(WORKFLOWS["publish"])["jobs"]
    assert jobs["publish"]["needs"] == "test" and jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert "bash .ci/run" in WORKFLOWS["test"] and re.search(r"^  workflow_call:$", WORKFLOWS["test"], re.MULTILINE)


@pytest.mark.parametrize(
    ("repository", "own", "address"),
    [
        ("Owner/name", "", "https://owner.github.io/name"),
        ("Owner/Owner.github.io", "", "https://owner.github.io"),
        ("Owner/name", "https://example.org", "https://example.org"),
    ],
)
def test_the_address_of_the_site(tmp_path, repository, own, address):
    steps = yaml.safe_load(WORKFLOWS["publish"])["jobs"]["publish"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == "The address of the site"]
    owner = repository.split("/")[0]
    variables = {"GITHUB_REPOSITORY": repository, "GITHUB_REPOSITORY_OWNER": owner, "GITHUB_ENV": str(tmp_path / "env"), "SITE_URL": own}
    subprocess.run(["bash", "-e", "-c", script], env={**os.environ, **variables}, check=True)
    assert (tmp_path / "env").read_text() == f"HOPMIX_SITE_URL={address}\n"


def test_absent_programs_fail_the_tests_of_continuous_integration():
    assert "\nexport CI=true\n" in (ROOT / ".ci" / "run").read_text("utf-8")
