"""The files of one resource of an Ignition project: read, written whole or not at all, kept.

A resource is a folder `projects/<project>/<module>/<type>/<name>` in a gateway's data directory,
with a `resource.json` that lists its files. Whatever is written here replaces what was there only
after that was copied into a backup, and no backup is ever written over.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consumer.errors import ConfigurationError, ResourceFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BACKUPS: Final = Path("sparkplug-zerobus", "backups")
"""Where backups are kept, below a gateway's data directory."""

_ABSENT: Final = "absent.json"
"""In a backup: the names of files that were not there."""
_STAMP: Final = "%Y-%m-%dT%H-%M-%S"
_MOST_IN_A_SECOND: Final = 1000
_UNFIT: Final = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')

Files = dict[str, bytes | None]
"""Content by the name of the file; None for one that is not there."""


@dataclass(frozen=True, slots=True)
class ResourceFolder:
    """Where a resource is, and where its backups are kept.

    Attributes:
        path: the folder of the resource, which need not exist.
        backups: the folder of its backups, which need not exist.
        project: the folder of the project, which exists.
    """

    path: Path
    backups: Path
    project: Path

    def read(self, *names: str) -> Files:
        """The content of files.

        Raises:
            ResourceFileError: one cannot be read.
        """
        return {name: _read(self.path / name) for name in names}

    def write(self, files: Mapping[str, bytes | None], now: float, *, secret: bool) -> Path:
        """Replace files, each at once, after what was there was copied into a new backup.

        Args:
            files: content by name; None takes a file away.
            now: seconds since 1970 UTC, for the name of the backup.
            secret: nobody but the owner may read what is written.

        Returns:
            The backup.

        Raises:
            ResourceFileError: something cannot be written. What is not replaced by then is as it
                was.
        """
        with _told(self.path):
            backup = self._keep(self.read(*files), now)
            _make_folder(self.path)
            for name, content in files.items():
                self._clear(name)
                if content is not None:
                    _replace(self.path / name, content, secret=secret)
                elif (self.path / name).exists():
                    (self.path / name).unlink()
            with contextlib.suppress(OSError):
                self.path.rmdir()  # where nothing is left
        return backup

    def stamps(self) -> list[str]:
        """Names of the backups, oldest first."""
        with _told(self.backups):
            if not self.backups.is_dir():
                return []
            found = [each.name for each in self.backups.iterdir() if (each / _ABSENT).is_file()]
        return sorted(found, key=_order)

    def kept(self, stamp: str) -> Files:
        """What is in a backup.

        Args:
            stamp: its name; empty for the newest.

        Raises:
            ConfigurationError: there is none of this name.
            ResourceFileError: it cannot be read.
        """
        stamps = self.stamps()
        if not stamps:
            raise ConfigurationError(f"there is no backup in {self.backups}")
        if stamp and stamp not in stamps:
            raise ConfigurationError(f"no backup {stamp}; there are: {', '.join(stamps)}")
        folder = self.backups / (stamp or stamps[-1])
        with _told(folder):
            absent: Files = dict.fromkeys(json.loads((folder / _ABSENT).read_bytes()))
            names = sorted(each.name for each in folder.iterdir() if each.name != _ABSENT)
        return absent | {name: _read(folder / name) for name in names}

    def _clear(self, name: str) -> None:
        """Take away what was begun of a file when the program was killed: a key may be in it."""
        begun = re.compile(re.escape(f".{name}.") + "[a-z0-9_]{8}")
        for each in self.path.iterdir():
            if begun.fullmatch(each.name):
                each.unlink(missing_ok=True)

    def _keep(self, files: Files, now: float) -> Path:
        """Copy files into a new backup; whoever writes at the same time gets another one."""
        self.backups.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
        for number in range(1, _MOST_IN_A_SECOND):
            folder = self.backups / (stamp if number == 1 else f"{stamp}_{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                break
        else:
            raise ResourceFileError(f"{self.backups} has too many backups of {stamp}")
        for name, content in files.items():
            if content is not None:
                _replace(folder / name, content, secret=True)
        absent = [name for name, content in files.items() if content is None]
        _replace(folder / _ABSENT, json.dumps(absent).encode(), secret=True)  # last: it is whole
        return folder


def resource_folder(
    data_dir: Path, project: str, kind: tuple[str, str], name: str, backups: Path | None = None
) -> ResourceFolder:
    """The folder of a resource.

    Args:
        data_dir: the data directory of a gateway.
        project: name of a project that exists.
        kind: module and type, such as (`com.inductiveautomation.eventstream`, `event-streams`).
        name: of the resource; slashes for folders that it is in.
        backups: in place of the folder of backups below `data_dir`.

    Raises:
        ConfigurationError: there is no such project, or a name cannot be one of a folder.
    """
    _check_name("project", project)
    for part in name.split("/"):
        _check_name("Event Stream", part)
    root = data_dir / "projects" / project
    if not (root / "project.json").is_file():
        raise ConfigurationError(
            f"no project in {root}: it has no project.json; give the gateway's data directory "
            "(such as /usr/local/bin/ignition/data) and the name of a project of it"
        )
    path = root.joinpath(*kind, *name.split("/"))
    if not path.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(f"{path} leads out of the project {root}")
    kept = (backups or data_dir / BACKUPS).joinpath(project, kind[1], *name.split("/"))
    return ResourceFolder(path, kept, root)


def _check_name(what: str, name: str) -> None:
    if not name or name != name.strip() or name.startswith(".") or _UNFIT.search(name):
        raise ConfigurationError(f"{name!r} cannot be the name of a folder for the {what}")
    if "/" in name:
        raise ConfigurationError(f"{name!r} cannot be the name of a {what}: it has a slash")


def _order(stamp: str) -> tuple[str, int]:
    at, _, number = stamp.partition("_")
    return at, int(number or "1") if (number or "1").isdecimal() else 0


def _read(path: Path) -> bytes | None:
    with _told(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _replace(path: Path, content: bytes, *, secret: bool) -> None:
    """Write a file so that whoever reads it sees the old one or the new one, on the disk."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o600 if secret else _mode_like(path))
            _give_to_owner_of(path.parent, file.fileno())
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _mode_like(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o644


def _make_folder(path: Path) -> None:
    """Make a folder and those that it is in, of the owner of the first one that is there."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _give_to_owner_of(path.parent, path)


def _give_to_owner_of(folder: Path, made: Path | int) -> None:
    """The gateway must be able to read and change what root writes for it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise ResourceFileError(f"{where}: {(error.strerror or str(error)).lower()}") from error
