"""Digests depend on sources alone, and a file is never half written."""

import json
import os
import re
import stat
import subprocess
import sys

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hopmix
from hopmix import provenance as module
from hopmix.provenance import provenance, source_digest, write_atomically


def test_digest_changes_with_any_byte_any_name_and_any_file(house, monkeypatch):
    house.chapter("burrow/rabbit", claims="A = 1\n")
    seen = {source_digest()}
    source = house.sources / "burrow" / "rabbit" / "claims.py"
    source.write_text("A = 2\n")
    seen.add(source_digest())
    source.rename(source.with_name("claim.py"))
    seen.add(source_digest())
    source.with_name("empty.py").touch()
    seen.add(source_digest())
    assert len(seen) == 4
    source.with_name("notes.txt").write_text("not a source")
    hidden = source.parent / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "copy.py").write_text("A = 3\n")
    assert source_digest() in seen


def test_digest_does_not_depend_on_the_place(house, monkeypatch, tmp_path):
    house.chapter("burrow/rabbit", claims="A = 1\n")
    before = source_digest()
    moved = tmp_path / "elsewhere with a space"
    house.sources.rename(moved)
    monkeypatch.setattr(hopmix, "__path__", [str(moved)])
    assert source_digest() == before
    moved.rename(house.sources)


def test_moving_bytes_from_one_file_to_the_next_changes_the_digest(house):
    house.chapter("burrow/rabbit", a="x = 1\ny = 2\n", b="z = 3\n")
    before = source_digest()
    folder = house.sources / "burrow" / "rabbit"
    (folder / "a.py").write_text("x = 1\n")
    (folder / "b.py").write_text("y = 2\nz = 3\n")
    assert source_digest() != before


def test_digest_of_named_packages_ignores_the_rest(house):
    house.chapter("burrow/rabbit", claims="A = 1\n")
    house.chapter("nest/owl", claims="A = 1\n")
    one, both = source_digest("hopmix.burrow"), source_digest("hopmix.burrow", "hopmix.nest")
    (house.sources / "nest" / "owl" / "claims.py").write_text("A = 2\n")
    assert source_digest("hopmix.burrow") == one
    assert source_digest("hopmix.burrow", "hopmix.nest") != both
    assert source_digest("hopmix.nest", "hopmix.burrow") == source_digest("hopmix.burrow", "hopmix.nest")


@pytest.mark.parametrize("name", ["hopmix.no_such_part", "numpy", ""])
def test_digest_of_nothing_is_an_error(name):
    with pytest.raises(ValueError, match=re.escape(f"packages: {name!r} has no sources")):
        source_digest(name)


def test_provenance_says_what_is_installed():
    found = provenance()
    assert found["hopmix"] == hopmix.__version__
    assert found["numpy"] == numpy.__version__
    assert found["torch"] == torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["threads"] == torch.get_num_threads()
    assert os.uname().nodename not in json.dumps(found)


def _checkout(folder):
    package = folder / "hopmix"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    return package, git


def test_commit_and_dirty_flag(tmp_path, monkeypatch):
    package, git = _checkout(tmp_path)
    monkeypatch.setattr(hopmix, "__file__", str(package / "__init__.py"))
    assert (provenance()["commit"], provenance()["dirty"]) == (None, None)
    git("add", "hopmix")
    git("commit", "--quiet", "-m", "first")
    assert (provenance()["commit"], provenance()["dirty"]) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "notes").write_text("not about the library")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert provenance()["dirty"] is False
    (package / "new.py").write_text("")
    assert provenance()["dirty"] is True


def test_a_checkout_around_an_installed_copy_is_not_its_commit(tmp_path, monkeypatch):
    package, git = _checkout(tmp_path)
    git("add", "hopmix")
    git("commit", "--quiet", "-m", "first")
    inner = tmp_path / "venv" / "hopmix"
    inner.mkdir(parents=True)
    monkeypatch.setattr(hopmix, "__file__", str(inner / "__init__.py"))
    assert provenance()["commit"] is None


def test_provenance_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance()["commit"] is None


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_written_text_is_on_the_disk_byte_for_byte(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("a") / "é name.json"
    write_atomically(path, text)
    assert path.read_bytes() == text.encode()
    assert os.listdir(path.parent) == [path.name]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")

    def refuse(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(module.os, "replace", refuse)
    with pytest.raises(OSError, match="disk gone"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_target_that_cannot_be_written_is_named_and_the_temporary_file_is_not(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for target, error in (("folder", IsADirectoryError), ("none/a.json", FileNotFoundError), ("file/a.json", NotADirectoryError)):
        with pytest.raises(error) as found:
            write_atomically(tmp_path / target, "text")
        assert found.value.filename == str(tmp_path / target) and ".tmp" not in str(found.value)
    with pytest.raises(ValueError, match="path: '' names no file"):
        write_atomically("", "text")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_text_reaches_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source, target):
        calls.append("rename")
        assert os.path.dirname(source) == os.path.dirname(target)
        real_replace(source, target)

    monkeypatch.setattr(module.os, "fsync", sync)
    monkeypatch.setattr(module.os, "replace", replace)
    write_atomically(tmp_path / "a", "text")
    assert calls == ["file", "rename", "folder"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode
