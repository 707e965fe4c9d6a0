"""What is said of servers that are not connected while somebody listens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.cli.output import echo

if TYPE_CHECKING:
    from consumer.tap import Listening


class Troubles:
    """Says on stderr when the connection to a server is lost, and when it is there again.

    Args:
        heard: knows the connections.
    """

    def __init__(self, heard: Listening) -> None:
        self._heard = heard
        self._told: dict[str, str] = {}

    def tell(self) -> None:
        """Say what is new."""
        problems = self._heard.problems
        for server, problem in problems.items():
            if self._told.get(server) != problem:
                echo(f"{server} is not connected: {problem}", err=True)
        for server in self._told.keys() - problems.keys():
            echo(f"{server} is connected again", err=True)
        self._told = problems
