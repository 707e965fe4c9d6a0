"""What is found in a workspace, without the types of the SDK."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL_PRIVILEGES: Final = "ALL_PRIVILEGES"


class Identity(NamedTuple):
    """Who asks: a user's name, or the application id of a service principal."""

    name: str


class Principal(NamedTuple):
    """A service principal: the number that the workspace gave it, and its application id."""

    number: str
    application_id: str
    name: str


class Warehouse(NamedTuple):
    """A SQL warehouse; `state` is RUNNING, STOPPED or another word of the service."""

    warehouse_id: str
    name: str
    state: str
    serverless: bool

    def __str__(self) -> str:
        kind = ", serverless" if self.serverless else ""
        return f"{self.name} ({self.warehouse_id}, {self.state}{kind})"


class FoundColumn(NamedTuple):
    """A column as the workspace has it; its type in capital letters."""

    name: str
    type_text: str
    nullable: bool
    is_generated: bool = False


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table or a view as the workspace has it.

    Attributes:
        kind: MANAGED, EXTERNAL, VIEW or another word of the service.
        form: DELTA or another format; empty for a view.
        columns: in their order.
        properties: by name, among them features of Delta.
        query: of a view.
    """

    name: str
    kind: str
    form: str
    columns: tuple[FoundColumn, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


class Granted(NamedTuple):
    """A privilege that a principal has: on the object itself, or inherited from another one."""

    privilege: str
    inherited_from: str


def lacking(granted: tuple[Granted, ...], wanted: tuple[str, ...], *, itself: bool) -> list[str]:
    """Privileges that are wanted and not granted.

    Args:
        granted: what the principal has.
        wanted: what it needs.
        itself: whether it must be granted on the object itself, not be inherited.
    """
    has = {each.privilege for each in granted if not (itself and each.inherited_from)}
    return [] if ALL_PRIVILEGES in has else [each for each in wanted if each not in has]
