"""How a test says which assertions of the specification it checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PROPERTY: Final = "conformance"
"""Name under which a test's report carries the assertion it checked."""

CHECKS: Final[list[tuple[str, Check]]] = []
"""The assertions of the test modules imported so far, each with what checks it."""


class Kind(StrEnum):
    """Whom an assertion binds, and with it what its test can show."""

    HOST = "host"
    """The host itself: the test looks at what it does."""
    EDGE = "edge node"
    """Edge nodes: the test looks at what the host does with those that keep it or break it."""
    NOT_APPLICABLE = "n.a."
    """Something this host never does: the test looks that it does not."""


class Seen(StrEnum):
    """Where a test looks."""

    WIRE = "MQTT packets"
    """As a proxy between the host and the server recorded them."""
    SUBSCRIBER = "subscriber"
    """As clients subscribed to `#` received them."""
    ROWS = "landed rows"
    """As they are in the Delta table."""
    COUNTS = "counts"
    """As the host counted them by reason, in /status and /metrics."""


@dataclass(frozen=True)
class Check:
    """What one test case has to say about one assertion."""

    kind: Kind
    seen: tuple[Seen, ...]
    text: str

    def note(self, tck_id: str) -> dict[str, str]:
        """What goes with the test's report, which has to pass between processes."""
        return {
            "id": tck_id,
            "kind": self.kind.value,
            "seen": ", ".join(each.value for each in self.seen),
            "text": self.text,
        }


def tck(
    *ids: str, kind: Kind = Kind.HOST, seen: tuple[Seen, ...], checks: str
) -> Callable[[Any], Any]:
    """Make a test check these assertions, each in a case whose id is the tck-id.

    Several ids are for requirements that the specification states several times. A test
    that takes an argument `tck_id` is told which one it is.

    Args:
        ids: the specification's names of the assertions, without "tck-id-".
        kind: whom they bind.
        seen: where the test looks.
        checks: what is checked, for docs/conformance.md; for Kind.NOT_APPLICABLE with the
            reason why the assertion does not apply.
    """
    check = Check(kind, seen, checks)
    CHECKS.extend((tck_id, check) for tck_id in ids)
    cases = [
        pytest.param(tck_id, id=tck_id, marks=pytest.mark.tck(tck_id, check)) for tck_id in ids
    ]

    def mark(test: Any) -> Any:
        parametrized = pytest.mark.parametrize("tck_id", cases, indirect=True)
        return pytest.mark.usefixtures("tck_id")(parametrized(test))

    return mark
