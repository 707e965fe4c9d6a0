"""Environments for Sparkplug implementations that cannot live beside the product.

They are made once, from lock files, in the user's cache: tests of any checkout find them
there, and so do tests that run at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_REQUIREMENTS = Path(__file__).parents[2] / "requirements"
_SECONDS = 90.0


class UnavailableError(Exception):
    """What the environment is made of is not to be had on this machine."""


def python_of(name: str) -> Path:
    """The interpreter of an environment with requirements/peers-<name>.lock in it.

    Raises:
        UnavailableError: the packages cannot be installed.
    """
    lock = _REQUIREMENTS / f"peers-{name}.lock"

    def install(directory: Path) -> None:
        _run(sys.executable, "-m", "venv", directory)
        pip = [directory / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
        _run(*pip, "install", "--quiet", "--require-hashes", "-r", lock)

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _made(f"{name}-python{version}", lock, install) / "bin" / "python"


def packages_of(name: str) -> Path:
    """A folder for PYTHONPATH with what requirements/peers-<name>.lock lists, and only that.

    Raises:
        UnavailableError: there is no ready-made package for this machine, or no index.
    """
    lock = _REQUIREMENTS / f"peers-{name}.lock"

    def install(directory: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        kinds = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
        _run(*pip, *kinds, "--target", directory, "-r", lock)

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _made(f"{name}-for-python{version}", lock, install)


def node_modules_of(name: str) -> Path:
    """A folder with the node_modules of requirements/peers-<name>/package-lock.json.

    Raises:
        UnavailableError: node or npm is missing, or the packages cannot be installed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    source = _REQUIREMENTS / f"peers-{name}"

    def install(directory: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(source / file, directory)
        # Programs of the packages' own are not run.
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", directory)

    return _made(f"{name}-node", source / "package-lock.json", install)


def _made(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """The directory of an environment, filled by `install` unless that was done before."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "sparkplug-zerobus" / "peers" / f"{name}-{digest}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{directory.name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        complete = directory / "complete"
        if not complete.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            install(directory)
            complete.touch()
    return directory


def _run(*command: str | Path) -> None:
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} took more than {_SECONDS:.0f} s") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UnavailableError(f"{Path(command[0]).name} failed: {''.join(last)}")
