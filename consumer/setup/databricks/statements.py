"""SQL on a warehouse: sent, waited for, and its rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from consumer.errors import WorkspaceError
from consumer.network import one_line
from consumer.setup.databricks.sdk import asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.sql import ResultData, StatementResponse

    from consumer.setup.databricks.found import Warehouse

Row = list[str | None]

_FIRST_POLL: Final = 0.5
_LONGEST_POLL: Final = 5.0
_WAITING: Final = {"PENDING", "RUNNING"}
_REFUSED: Final = ("PERMISSION_DENIED", "INSUFFICIENT_PERMISSIONS")


class Statements:
    """Runs statements on one SQL warehouse, one after the other.

    Args:
        client: of the SDK.
        warehouse: where they run; one that is stopped is started by the first of them.
        timeout: seconds for which a statement is waited for; then it is cancelled.
        tell: gets a line about a statement that is not done yet, again and again.
        pause: waits for so many seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        client: WorkspaceClient,
        warehouse: Warehouse,
        *,
        timeout: float,
        tell: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self.warehouse = warehouse
        self._timeout = timeout
        self._tell = tell
        self._pause = pause
        self._clock = clock

    def run(self, sql: str, what: str, *, right: str = "") -> list[Row]:
        """Run one statement; its rows, values as text.

        Args:
            sql: the statement.
            what: what it does, for errors, such as `making table plant.scada.tag_events`.
            right: who may do it.

        Raises:
            WorkspaceError: it failed, or did not end in time.
        """
        from databricks.sdk.service.sql import (  # noqa: PLC0415 - see sdk.py
            ExecuteStatementRequestOnWaitTimeout,
        )

        statements = self._client.statement_execution
        begun = self._clock()
        with asking(what, right=right):
            response = statements.execute_statement(
                sql,
                self.warehouse.warehouse_id,
                wait_timeout="5s",
                on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CONTINUE,
            )
            pause = _FIRST_POLL
            while (state := _state(response)) in _WAITING:
                waited = self._clock() - begun
                if waited >= self._timeout:
                    self._give_up(response, what, state)
                self._tell(f"{what}: {state} for {waited:.0f} s on {self.warehouse.name}")
                self._pause(pause)
                pause = min(pause * 2, _LONGEST_POLL)
                response = statements.get_statement(response.statement_id or "")
            if state != "SUCCEEDED":
                raise _failure(response, what, right)
            return self._rows(response)

    def _give_up(self, response: StatementResponse, what: str, state: str) -> None:
        self._client.statement_execution.cancel_execution(response.statement_id or "")
        raise WorkspaceError(
            f"{what}: still {state} after {self._timeout:g} s on {self.warehouse}; cancelled",
            "see whether the warehouse starts, and run this again; --timeout gives it more seconds",
        )

    def _rows(self, response: StatementResponse) -> list[Row]:
        rows: list[Row] = []
        part: ResultData | None = response.result
        while part is not None:
            rows += [list(row) for row in part.data_array or ()]
            if part.next_chunk_index is None:
                break
            part = self._client.statement_execution.get_statement_result_chunk_n(
                response.statement_id or "", part.next_chunk_index
            )
        return rows


def _state(response: StatementResponse) -> str:
    status = response.status
    return status.state.value if status is not None and status.state is not None else ""


def _failure(response: StatementResponse, what: str, right: str) -> WorkspaceError:
    error = response.status.error if response.status is not None else None
    text = one_line((error.message if error is not None else "") or _state(response))
    mend = "see the text of the error"
    if any(word in text for word in _REFUSED):
        mend = f"needs {right or 'more rights'}: ask an administrator"
    return WorkspaceError(f"{what}: {text}", mend)
