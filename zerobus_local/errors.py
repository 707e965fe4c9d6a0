"""Typed errors: those a caller of this package sees, and those a client is told.

The numbered texts ("... Error Code: N, Error State: M.") have the shape of the
service's own. Only numbers that were observed from it are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

STREAM_TIMEOUT = 6002
"""A stream has lived as long as one may."""
RECORD_ERROR = 4044
"""A record could not be decoded."""
SCHEMA_ERROR = 8001
"""The stream's schema does not fit the table."""


class LocalZerobusError(Exception):
    """The base class of what this package raises on purpose."""


class TableConflictError(LocalZerobusError):
    """A table of that name exists, with another schema."""


class DataDirInUseError(LocalZerobusError):
    """Another server writes into the data directory."""


class CommitError(LocalZerobusError):
    """A Delta commit failed and was repeated in vain: nothing of it is in the table."""


class SchemaError(LocalZerobusError):
    """A record descriptor is unusable, or does not fit the table."""


class RecordError(LocalZerobusError):
    """One record is wrong.

    Attributes:
        index: its position in the list that was to be decoded.
        text: what is wrong, as the client is told.
    """

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index
        self.text = text


class Refusal(LocalZerobusError):  # noqa: N818 - not a defect here: the answer a client gets
    """A stream is to end with this gRPC status.

    The SDK never retries INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED,
    NOT_FOUND, OUT_OF_RANGE and UNIMPLEMENTED; it retries every other code.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def numbered(text: str, code: int, state: int = 0) -> str:
    """`text` with the service's error suffix."""
    return f"{text.rstrip('.')}. Error Code: {code}, Error State: {state}."
