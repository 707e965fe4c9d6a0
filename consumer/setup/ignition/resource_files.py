"""Resources as files of a gateway's data directory, for those that are set up by files.

`config/resources/core/<module>/<type>/<name>/` holds `config.json` and `resource.json`. Whether
a resource is enabled stands in the latter, so a config can look healthy while its resource is
disabled. Files with a password cannot be made outside the gateway, which encrypts it with a key
of its own: passwords are references to its secret providers.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from consumer.errors import ConfigurationError, ResourceFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from consumer.setup.ignition.plan import Step

_UNFIT = frozenset('/\\:*?"<>|')


def write_resource_files(folder: Path, steps: Iterable[Step], now: float) -> list[Path]:
    """Write the files of each resource of a plan below a folder, over none that is there.

    Args:
        folder: becomes what `config/resources/core` is in a data directory.
        steps: the resources, whole.
        now: seconds since 1970 UTC, for `lastModification`.

    Returns:
        The folder of each resource.

    Raises:
        ConfigurationError: a name cannot be that of a folder.
        ResourceFileError: a file is there already, or cannot be written.
    """
    todo = tuple(steps)
    for step in todo:  # all of them before the first is written
        _check(step)
    made = []
    for step in todo:
        path = folder / step.kind.module / step.kind.type / step.name
        files = {"config.json": step.config, "resource.json": _resource(step, now)}
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                with (path / name).open("x", encoding="ascii") as file:
                    file.write(json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise ResourceFileError(
                f"{error.filename}: cannot be written: {error.strerror}; give --files an empty "
                "folder"
            ) from None
        made.append(path)
    return made


def _check(step: Step) -> None:
    """Look whether a resource can be written as files.

    Raises:
        ConfigurationError: its name cannot be that of a folder, or it holds an encrypted secret.
    """
    if step.name.startswith(".") or _UNFIT & set(step.name) or not step.name.isprintable():
        raise ConfigurationError(f"the name {step.name!r} cannot be that of a folder")
    if any(_is_embedded(value) for value in step.config.values()):
        raise ConfigurationError(
            f"{step.kind.type} {step.name!r} holds a secret that only its own gateway can "
            "read; make it a Referenced one with --secret-provider and --secret-name"
        )


def _is_embedded(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "Embedded"


def _resource(step: Step, now: float) -> dict[str, Any]:
    """The form that published projects write for resources of a gateway."""
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "scope": "A",
        "description": step.before.description if step.before else "",
        "version": 1,
        "restricted": False,
        "overridable": True,
        "files": ["config.json"],
        "attributes": {
            "enabled": True,
            "lastModification": {"actor": "sparkplug-zerobus", "timestamp": when},
        },
    }
