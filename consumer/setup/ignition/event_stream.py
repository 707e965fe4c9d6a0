"""An Event Stream of an Ignition gateway, 8.3 or later, as the files of a project.

Nothing here was tried on a live gateway: the shapes are those of projects that are in use. What is
there already is changed key by key, and what nobody here knows of stays as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from consumer.errors import ConfigurationError
from consumer.setup.ignition.difference import difference
from consumer.setup.ignition.handler import MARK, Key, handler_body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.setup.ignition.resource_folder import Files

KIND: Final = ("com.inductiveautomation.eventstream", "event-streams")
"""Module and type of the resource."""
CONFIG: Final = "config.json"
RESOURCE: Final = "resource.json"
NAMES: Final = (CONFIG, RESOURCE)
"""The files of the resource."""

ACTOR: Final = "sparkplug-zerobus"
INGEST_PATH: Final = "/ingest/batch"

_INGEST_PATHS: Final = ("/ingest", "/ingest/batch")
_RETRY: Final = {"delayMs": 1000, "maxDelayMs": 30_000, "multiplier": 2, "abort": True}
_SOURCE: Final = "ignition.tagEvent"
_SCRIPT: Final = "ignition.script"
_PROVIDER: Final = re.compile(r"\[[^\[\]/]+\].")
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f]")
_TEXT: Final = {"encoding": "UTF-8"}

# What a new Event Stream has; of one that is there it stays as it is.
_NEW: Final[dict[str, Any]] = {
    "filter": {"enabled": False, "userCode": "\treturn True"},
    "transform": {"enabled": False, "userCode": "\treturn event.data"},
    "transformEncoder": {"type": "ignition.jsonObject", "properties": _TEXT},
    "onError": {"enabled": False, "userCode": ""},
}
_KNOWN: Final = {*_NEW, "enabled", "source", "sourceEncoder", "batch", "handlers"}
_NEW_RESOURCE: Final[dict[str, Any]] = {
    "scope": "G",
    "version": 1,
    "restricted": False,
    "overridable": True,
    "files": [CONFIG],
    "attributes": {},
}


class Timing(NamedTuple):
    """How long events are collected, in milliseconds: after each of them, and at most."""

    debounce_ms: int
    max_wait_ms: int


TIMINGS: Final = {
    "fast": Timing(50, 500),
    "default": Timing(100, 1000),
    "slow": Timing(500, 5000),
}
"""For tags that change fast, as usual, and slowly."""


@dataclass(frozen=True, slots=True)
class EventStream:
    """What an Event Stream is to do.

    Attributes:
        name: its name, with slashes for folders.
        tags: paths of tags with their provider; `**` at the end is all below a folder.
        url: where it posts.
        key: the ingest key it posts with.
        timing: how long it collects events.
        queue: as many events wait at most; then the oldest ones are dropped by the gateway.
        retries: how often a post is tried again.
        enabled: whether it runs.
    """

    name: str
    tags: tuple[str, ...]
    url: str
    key: Key = field(default_factory=Key)
    timing: Timing = TIMINGS["default"]
    queue: int = 100_000
    retries: int = 10
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written.

    Attributes:
        before: content of the files that are there.
        after: content of the files afterwards; empty if nothing is to be changed.
        notes: what somebody should know who looks at it, as sentences.
    """

    before: Files
    after: Files
    notes: tuple[str, ...] = ()

    def difference(self) -> str:
        """The difference as lines, scripts as lines of their own, without keys."""
        own = {each["userCode"] for each in _NEW.values() if "userCode" in each}
        return "\n".join(
            line
            for name, known in ((CONFIG, _KNOWN), (RESOURCE, _NEW_RESOURCE.keys()))
            if name in self.after
            for line in difference(name, self.before.get(name), self.after[name], known, own)
        )


def read_tags(lines: Iterable[str]) -> tuple[str, ...]:
    """Paths of tags, one a line; empty lines and those that begin with # are left out.

    Raises:
        ConfigurationError: a line is no path with a provider, or there is none.
    """
    found = dict.fromkeys(line.strip() for line in lines)
    paths = tuple(each for each in found if each and not each.startswith("#"))
    for path in paths:
        if not _PROVIDER.match(path) or _UNFIT.search(path):
            raise ConfigurationError(
                f"{path!r} is no path of a tag with its provider, such as [default]Line 1/Speed, "
                "or [default]Line 1/** for all below"
            )
    if not paths:
        raise ConfigurationError("no tags: give paths, such as [default]Line 1/**")
    return paths


def ingest_url(url: str) -> str:
    """The address that events are posted to, from that of a consumer.

    Raises:
        ConfigurationError: it cannot be one.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        shown = url.rpartition("@")[2]  # what is before may be a password
        raise ConfigurationError(f"{shown!r} is no address: {error}") from None
    path = parts.path.rstrip("/")
    is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in {"http", "https"} or not host or not is_plain or not url.isascii():
        raise ConfigurationError(
            f"{url.rpartition('@')[2]!r} is no address of a consumer, such as "
            "http://consumer:8099 or https://consumer.example/ingest/batch"
        )
    if not path:
        path = INGEST_PATH
    elif not path.endswith(_INGEST_PATHS):
        raise ConfigurationError(f"{url!r} does not end in /ingest/batch, where events are taken")
    return f"{parts.scheme}://{parts.netloc}{path}"


def change(stream: EventStream, before: Files, now: float) -> Change:
    """What is to be written so that an Event Stream does what it should.

    Args:
        stream: what it is to do.
        before: content of the files that are there, None for those that are not.
        now: seconds since 1970 UTC.

    Raises:
        ConfigurationError: what is there is none that is known, and stays as it is.
    """
    notes: list[str] = []
    config = _object(CONFIG, before[CONFIG])
    resource = _object(RESOURCE, before[RESOURCE])
    new_config = _new_config(stream, config, notes)
    new_resource = _new_resource(resource, notes)
    if new_config == config and new_resource == resource:
        return Change(before, {}, tuple(notes))
    attributes = dict(new_resource["attributes"])
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes["lastModification"] = {"actor": ACTOR, "timestamp": at}
    new_resource["attributes"] = attributes
    after: Files = {CONFIG: _encoded(new_config), RESOURCE: _encoded(new_resource)}
    return Change(before, after, tuple(notes))


def change_back(before: Files, kept: Files) -> Change:
    """What is to be written so that the files are again as in a backup."""
    after = {name: content for name, content in kept.items() if content != before.get(name)}
    return Change(before, after)


def _object(name: str, content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"{name} is there and is no JSON object; look at it, or move it away"
        )
    return found


def _new_config(
    stream: EventStream, config: dict[str, Any] | None, notes: list[str]
) -> dict[str, Any]:
    there = config or {}
    kind = _part(there, "source").get("type", _SOURCE)
    if kind != _SOURCE:
        raise ConfigurationError(
            f"the Event Stream {stream.name} is there, and its source is {kind!r}, not tag events; "
            "take another name"
        )
    handlers, others = _handlers(stream, there)
    wanted: dict[str, Any] = {
        "enabled": stream.enabled,
        "source": {
            "type": _SOURCE,
            "config": {
                "paths": list(stream.tags),
                "changeTypes": ["VALUE", "QUALITY"],
                "skipInitialValues": False,
            },
        },
        "batch": {
            "debounceMs": stream.timing.debounce_ms,
            "maxWaitMs": stream.timing.max_wait_ms,
            "maxQueueSize": stream.queue,
            "overflow": "DROP_OLDEST",
        },
    }
    if not others or "sourceEncoder" not in there:
        wanted["sourceEncoder"] = {"type": "ignition.jsonObject", "properties": _TEXT}
    else:
        notes.append(
            f"handlers that others made stay ({others}), and so does the encoder, which is theirs, "
            "too: they get the events of these tags and at these times"
        )
    made = _laid_over(there, wanted, CONFIG, _KNOWN, notes)
    made["handlers"] = handlers
    for key, value in _NEW.items():
        made.setdefault(key, value)
    for key, what in (("filter", "what it lets through"), ("transform", "what it returns")):
        if _part(made, key).get("enabled"):
            notes.append(f"{CONFIG}: the {key} is on and stays: the handler gets {what}")
    return made


def _handlers(stream: EventStream, there: dict[str, Any]) -> tuple[list[Any], int]:
    """All handlers, with ours, and how many are of others."""
    found = there.get("handlers", [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ConfigurationError(f"{CONFIG}: handlers is no list of objects; look at it")
    made = {
        "enabled": True,
        "type": _SCRIPT,
        "config": {"userCode": handler_body(stream.url, stream.name, stream.key)},
        "failureStrategy": {
            "type": "RETRY",
            "retryPolicy": {"type": "EXPONENTIAL", "retryCount": stream.retries, **_RETRY},
        },
    }
    ours = [index for index, each in enumerate(found) if _is_ours(each)]
    if len(ours) > 1:
        raise ConfigurationError(
            f"{CONFIG} has {len(ours)} handlers that were made here: each event would be posted as "
            "often; take all but one of them out"
        )
    handlers = list(found)
    if ours:
        handlers[ours[0]] = _laid_over(found[ours[0]], made, CONFIG, set(made), [])
    else:
        handlers.append(made)
    return handlers, len(handlers) - 1


def _is_ours(handler: dict[str, Any]) -> bool:
    code = _part(handler, "config").get("userCode")
    return isinstance(code, str) and MARK in code


def _new_resource(resource: dict[str, Any] | None, notes: list[str]) -> dict[str, Any]:
    if resource is None:
        return dict(_NEW_RESOURCE)
    version = resource.get("version", 1)
    files = resource.get("files", [])
    attributes = resource.get("attributes", {})
    if version != 1 or not isinstance(files, list) or not isinstance(attributes, dict):
        raise ConfigurationError(
            f"{RESOURCE} is there and is of a form that is not known (version {version!r}); "
            "nothing is written"
        )
    made = _laid_over(resource, {}, RESOURCE, set(_NEW_RESOURCE), notes)
    made["files"] = files if CONFIG in files else [*files, CONFIG]
    made["attributes"] = attributes
    for key, value in _NEW_RESOURCE.items():
        made.setdefault(key, value)
    return made


def _laid_over(
    there: dict[str, Any], wanted: dict[str, Any], where: str, known: set[str], notes: list[str]
) -> dict[str, Any]:
    """What is there with what is wanted over it; what is not known stays, and is noted."""
    unknown = sorted(set(there) - known)
    if unknown:
        notes.append(f"{where}: not known here, and left as they are: {', '.join(unknown)}")
    made = dict(there)
    for key, value in wanted.items():
        old = there.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            made[key] = _laid_over(old, value, f"{where}, {key}", set(value), notes)
        else:
            made[key] = value
    return made


def _part(there: dict[str, Any], key: str) -> dict[str, Any]:
    found = there.get(key, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{CONFIG}: {key} is no object; look at it")
    return found


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode("ascii")
    except ValueError:
        raise ConfigurationError(
            "what is there holds a number without an end, which no JSON holds; nothing is written"
        ) from None
