"""docs/decoding.md, "What is held until its birth comes": the shelf, and how things leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.node import Held
from oracle.rows import Rows

if TYPE_CHECKING:
    from oracle.arrivals import Arrival, Message
    from oracle.node import Node

HELD_SECONDS = 600
MEBIBYTE = 1024 * 1024


class Holding(Rows):
    """Holds messages per node, and gives up on them.

    Attributes:
        now: monotonic seconds.
        nodes: all edge nodes, by server, group and node.
        dead_letters: (message, reason) of everything that was given up.
    """

    def __init__(
        self,
        *,
        hold_messages: int = 10_000,
        hold_bytes: int = 16 * MEBIBYTE,
        hold_bytes_of_all: int = 256 * MEBIBYTE,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hold_messages = hold_messages
        self.hold_bytes = hold_bytes
        self.hold_bytes_of_all = hold_bytes_of_all
        self.now = 0.0
        self.nodes: dict[tuple[str, str, str], Node] = {}
        self.dead_letters: list[tuple[Arrival, str]] = []

    def hold(
        self,
        node: Node,
        message: Message,
        reason: str,
        *,
        waits_for: str | None = None,
        is_whole: bool = True,
    ) -> None:
        """Put a message on its node's shelf; of one that is unread nothing is left to wait."""
        if not message.unread:
            self.put(node, Held(message, reason, waits_for, self.now, is_whole))

    def put(self, node: Node, held: Held) -> None:
        """The oldest on the shelf make room if they must."""
        node.held.append(held)
        while (
            len(node.held) > self.hold_messages
            or sum(held.size for held in node.held) > self.hold_bytes
        ):
            self.give_up(node.held.pop(0).message, "hold_full")
        while (
            sum(held.size for each in self.nodes.values() for held in each.held)
            > self.hold_bytes_of_all
        ):
            largest = min(
                self.nodes,
                key=lambda key: (-sum(held.size for held in self.nodes[key].held), key),
            )
            self.give_up(self.nodes[largest].held.pop(0).message, "hold_full")

    def give_up(self, message: Message, reason: str) -> None:
        self.dead_letters.append((message.arrival, reason))

    def take(self, node: Node, waits_for: str | None) -> list[Held]:
        """What waited for the birth of this device, or of the node; it is held no longer."""
        taken = [held for held in node.held if held.waits_for == waits_for]
        node.held = [held for held in node.held if held.waits_for != waits_for]
        return taken

    def keep_late_birth(self, node: Node, message: Message) -> None:
        self.counts["late_birth"] += 1
        node.late_birth = Held(message, "late_birth", None, self.now)

    def session_ended(self, node: Node) -> None:
        """No birth will come for what is held."""
        for held in node.held:
            self.give_up(held.message, "session_ended")
        node.held.clear()
        if node.late_birth is not None:
            self.give_up(node.late_birth.message, "session_ended")
            node.late_birth = None

    def expire(self) -> None:
        """Give up what is too old."""
        for node in self.nodes.values():
            for held in list(node.held):
                if self.now - held.since >= HELD_SECONDS:
                    node.held.remove(held)
                    self.give_up(held.message, held.reason)
