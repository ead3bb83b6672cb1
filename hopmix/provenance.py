"""Where a number came from, and how it reaches the disk without ever being half there."""

import errno
import os
import platform
import secrets
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hopmix

LIBRARIES = ("numpy", "scipy", "sympy", "torch")


def source_digest(*packages: str) -> str:
    """sha256 (64 hex digits) over the names and bytes of the sources of ``packages``, by default all of hopmix.

    packages: dotted names, a module or a package with all that is below it. The digest depends on where a file lies inside
    hopmix, never on where hopmix lies. Raises ValueError for a name that has no sources.

    >>> source_digest("hopmix.provenance") == source_digest("hopmix.provenance") != source_digest("hopmix.chapter")
    True
    """
    digest = sha256()
    sources: dict[str, Path] = {}
    for package in packages or ("hopmix",):
        found = _sources(package)
        if not found:
            raise ValueError(f"packages: {package!r} has no sources in hopmix; allowed: hopmix, or a module below it")
        sources |= found
    for name, path in sorted(sources.items()):
        content = path.read_bytes()
        # Lengths keep two files from being read as one with the same bytes in all.
        digest.update(f"{len(name)} {name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(package: str) -> dict[str, Path]:
    head, *rest = package.split(".")
    if head != "hopmix":
        return {}
    found = {}
    for root in map(Path, hopmix.__path__):
        base = root.joinpath(*rest)
        module = base.with_name(f"{base.name}.py") if rest else base / "__init__.py"
        for path in [module, *base.rglob("*.py")]:
            name = path.relative_to(root).as_posix()
            # Editors and notebooks leave hidden copies about.
            if path.is_file() and "/." not in f"/{name}":
                found[name] = path
    return found


def library_versions() -> dict[str, str | None]:
    """Versions of the numerical libraries as installed, None for one that is not; imports none of them."""
    found: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found


def provenance() -> dict:
    """What made a number: versions, commit, digest of the sources, device, platform, threads. Holds no path and no host name.

    commit and dirty are None when hopmix is not running from its own git checkout. The device is the GPU if this process
    has used one. threads are torch's, or the number of usable cores when torch is not loaded.
    """
    commit, dirty = _commit()
    torch = sys.modules.get("torch")
    device, threads = "cpu", _usable_cores()
    if torch is not None:
        threads = torch.get_num_threads()
        if torch.cuda.is_initialized():
            device = torch.cuda.get_device_name()
    return {
        "hopmix": hopmix.__version__,
        "commit": commit,
        "dirty": dirty,
        "sources": source_digest(),
        "python": platform.python_version(),
        **library_versions(),
        "device": device,
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": threads,
    }


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _commit() -> tuple[str | None, bool | None]:
    root = Path(hopmix.__file__).resolve().parent.parent
    # A checkout inside which hopmix merely happens to be installed says nothing about hopmix.
    if Path(_git(root, "rev-parse", "--show-toplevel") or os.devnull).resolve() != root:
        return None, None
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return None, None
    return commit, bool(_git(root, "status", "--porcelain", "--", "hopmix"))


def _git(folder: Path, *arguments: str) -> str | None:
    # GIT_DIR and its kin (set inside git hooks) would point at some other repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=environment, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def write_atomically(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` so that at every moment, even after a power cut, the file is the old or the new one.

    The text goes to a hidden temporary file in the same folder, is flushed to the disk, and takes the name in one step.
    If anything raises, the temporary file is removed and the old file stays. The folder must exist. Raises ValueError for a path
    that names no file, and OSError, naming ``path``, where it cannot be written.
    """
    if not os.fspath(path):
        raise ValueError(f"path: {path!r} names no file; allowed: a file in an existing folder")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
    try:
        _write_atomically(path, text)
    except OSError as error:
        if error.errno is None:
            raise
        # The reader knows the target, not the temporary file beside it.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    # Opened by hand rather than with tempfile, whose files stay readable by their owner only.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
