"""The keys of HTTP: whose a text is, in constant time, also when their files change."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import stat
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consumer.config import key_problem, read_secret
from consumer.network import read_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.config import HttpKey

_LOG = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOCAL: Final = "local"
"""In place of the name of a key: a program on this machine, while none is needed."""

_MOST_WRONG: Final = 10
_WRONG_SECONDS: Final = 60.0
_MOST_ADDRESSES: Final = 1_000
_UNFIT: Final = b""


class Role(StrEnum):
    """What somebody may do; the operator may do what the others may."""

    READER = "reader"
    INGEST = "ingest"
    OPERATOR = "operator"

    def may(self, role: Role) -> bool:
        """Whether this role suffices where that one is asked for."""
        return self is role or self is Role.OPERATOR


@dataclass(slots=True)
class Key:
    """A key that is in force, by its digest; one whose file is unfit has none."""

    name: str
    role: Role
    source_system_id: str
    networks: tuple[Network, ...]
    digest: bytes = field(repr=False)
    path: Path | None = field(default=None, repr=False)
    seen: tuple[int, ...] | None = None  # it may have changed since it was read, before the start

    def is_taken_from(self, address: str) -> bool:
        """Whether the key is taken from a client at this address."""
        if not self.networks:
            return True
        client = read_address(address)
        return client is not None and any(client in network for network in self.networks)


class Keys:
    """All keys. Used on the event loop; `look` from any thread.

    Args:
        configured: what the configuration says of them.
        clock: monotonic seconds.

    Attributes:
        requests: how many were made with each key, by its name; LOCAL where none is needed.
    """

    def __init__(self, configured: Sequence[HttpKey], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys = [_made(each) for each in configured]
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.requests = Counter({LOCAL: 0} | {each.name: 0 for each in self._keys})

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, text: str) -> Key | None:
        """Whose key a text is. All are compared, each in constant time."""
        digest = _digest(text)
        found = None
        for each in self._keys:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found

    def holds(self, name: str, digest: bytes) -> bool:
        """Whether the key of this name still has this digest."""
        return any(
            each.name == name and hmac.compare_digest(each.digest, digest) for each in self._keys
        )

    def is_guessing(self, address: str) -> bool:
        """Note a wrong key from an address; whether there were too many of late."""
        now = self._clock()
        since, count = self._wrong.pop(address, (now, 0))
        if now - since > _WRONG_SECONDS:
            since, count = now, 0
        self._wrong[address] = since, count + 1
        if len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return count >= _MOST_WRONG

    def look(self) -> None:
        """Read the files again that have changed: not for the event loop, a disk may be slow.

        A key whose file is gone, or holds nothing that can be a key, is out of force.
        """
        for each in self._keys:
            if each.path is None:
                continue
            seen = _seen(each.path)
            if seen == each.seen:
                continue
            each.seen = seen
            text, problem = "", "is no regular file"
            if seen or not each.path.exists():  # a pipe would have to be waited for
                try:
                    text = read_secret(each.path)
                    problem = key_problem(text)
                except ValueError as error:
                    problem = str(error)
            digest = _UNFIT if problem else _digest(text)
            if problem:
                _LOG.warning(
                    "http.keys: the key %s is out of force: its file %s", each.name, problem
                )
            elif digest != each.digest:
                _LOG.info("http.keys: the key %s was read again from its file", each.name)
            each.digest = digest


def _made(configured: HttpKey) -> Key:
    path = Path(configured.key_file) if configured.key_file else None
    if path is not None and path.exists() and not _seen(path):
        path = None  # a pipe can be read once
    return Key(
        configured.name,
        Role(configured.role),
        configured.source_system_id,
        tuple(ipaddress.ip_network(each) for each in configured.addresses),
        _digest(configured.key.get_secret_value()),
        path,
    )


def _digest(text: str) -> bytes:
    """A digest, so that all comparisons are of the same length. Keys are random: no salt."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _seen(path: Path) -> tuple[int, ...]:
    """What changes when a file does; nothing if there is no regular file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    if not stat.S_ISREG(found.st_mode):
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
